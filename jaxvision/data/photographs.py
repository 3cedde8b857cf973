"""Real photographs that come inside the wheels of scikit-image and scikit-learn.

Nothing is downloaded: the files are read from where pip has put them (extra `demo`).
"""

import importlib.util
import pathlib

import numpy as np

from jaxvision.data import images
from jaxvision.errors import UserError

_COLOR = {
  "astronaut": "skimage/data/astronaut.png",  # 512 × 512, portrait
  "chelsea": "skimage/data/chelsea.png",  # 300 × 451, a cat
  "china": "sklearn/datasets/images/china.jpg",  # 427 × 640, a temple
  "coffee": "skimage/data/coffee.png",  # 400 × 600, a cup on a table
  "flower": "sklearn/datasets/images/flower.jpg",  # 427 × 640
  "hubble": "skimage/data/hubble_deep_field.jpg",  # 872 × 1000, galaxies
  "motorcycle": "skimage/data/motorcycle_left.png",  # 500 × 741, a garage
  "retina": "skimage/data/retina.jpg",  # 1411 × 1411, fundus of an eye
  "rocket": "skimage/data/rocket.jpg",  # 427 × 640, on its pad at night
  "tissue": "skimage/data/ihc.png",  # 512 × 512, stained, under a microscope
}

_GREY = {
  "brick": "skimage/data/brick.png",  # 512 × 512, a wall
  "camera": "skimage/data/camera.png",  # 512 × 512, a cameraman in a park
  "clock": "skimage/data/clock_motion.png",  # 300 × 400, blurred by motion
  "coins": "skimage/data/coins.png",  # 303 × 384
  "grass": "skimage/data/grass.png",  # 512 × 512
  "gravel": "skimage/data/gravel.png",  # 512 × 512
  "moon": "skimage/data/moon.png",  # 512 × 512, surface
  "page": "skimage/data/page.png",  # 191 × 384, printed text
}


def photographs() -> dict[str, np.ndarray]:
  """Returns the colour photographs by name, [H, W, 3] uint8 of different sizes.

  Raises:
    UserError: scikit-image or scikit-learn is not installed.
  """
  return {name: images.read_rgb(_locate(file)) for name, file in _COLOR.items()}


def grey_photographs() -> dict[str, np.ndarray]:
  """Returns the grey photographs by name, [H, W, 1] uint8 of different sizes.

  Raises:
    UserError: scikit-image is not installed.
  """
  return {name: images.read_image(_locate(file)) for name, file in _GREY.items()}


def motorcycle_stereo() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns a rectified stereo pair with measured disparity.

  Focal length 994.978 px, principal points 311.193 (left) and 342.279 (right), baseline
  193.001 mm.

  Returns:
    left and right images, [500, 741, 3] uint8, and the disparity of the left one,
    [500, 741] float32 in pixels: left[y, x] is seen at right[y, x - disparity]. It is
    infinite where it was not measured.

  Raises:
    UserError: scikit-image is not installed.

  Source: Scharstein et al., High-resolution stereo datasets with subpixel-accurate
    ground truth, GCPR 2014, at a quarter of its resolution.
  """
  left = images.read_rgb(_locate("skimage/data/motorcycle_left.png"))
  right = images.read_rgb(_locate("skimage/data/motorcycle_right.png"))
  with np.load(_locate("skimage/data/motorcycle_disp.npz")) as content:
    return left, right, content["arr_0"]


def _locate(file: str) -> pathlib.Path:
  """Finds a file of an installed package without importing the package."""
  package, _, inside = file.partition("/")
  spec = importlib.util.find_spec(package)
  if spec is None or spec.origin is None:
    raise UserError(
      "the demo photographs come with scikit-image and scikit-learn, which are not "
      "installed: pip install 'jaxvision[demo]'"
    )
  return pathlib.Path(spec.origin).parent / inside
