"""Small shapes and sizes that the tests of occupancy_networks share."""

import functools
import pathlib
import tempfile

from absl.testing import parameterized

from jaxvision.papers.occupancy_networks import data, shapes, variants

SIZES = variants.Sizes(
  c_dim=6,
  image_encoder="simple_conv",
  point_hidden=4,
  voxel_widths=(2, 3),
  hidden=8,
  simple_hidden=8,
  z_dim=3,
  latent_hidden=4,
  embeddings=4,
  points=16,
  r2n2_widths=(2, 2, 2, 1),
  psgn_points=9,
  psgn_hidden=6,
)
OBSERVED = {"cloud": 20, "noise": 0.005, "image": 63}
FAMILIES = tuple(shapes.FAMILIES)


@functools.cache
def source():
  return data.stand_in(
    FAMILIES,
    len(FAMILIES),
    0,
    points=400,
    surface=64,
    resolution=8,
    views=2,
    image_size=63,
    near=True,
  )


class FolderTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
