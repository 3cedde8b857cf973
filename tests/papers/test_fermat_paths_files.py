"""Files of transients in the authors' layout, and the PLY files that are written."""

import pathlib
import tempfile

import hypothesis
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies

from jaxvision.data import archives, meshes
from jaxvision.errors import UserError
from jaxvision.papers.fermat_paths import measurements, point_files

ROWS, COLUMNS, BINS = 3, 4, 7


def arrays(**changes):
  """A grid of 3 rows and 4 columns as the authors' MATLAB files hold it."""
  count = ROWS * COLUMNS
  y, x = np.tile(np.arange(ROWS), COLUMNS), np.repeat(np.arange(COLUMNS), ROWS)
  stored = {
    "transients": np.arange(1.0, count * BINS + 1).reshape(count, BINS),
    "temporalBinCenters": np.arange(BINS)[None] * 0.12 + 100.0,
    "detLocs": np.stack([x, 10.0 * y, np.zeros(count)], axis=1),
    "detGridSize": np.array([[ROWS, COLUMNS]], np.uint8),
    "srcLoc": np.array([[1.0, 2.0, 0.0]]),
    **changes,
  }
  return {name: value for name, value in stored.items() if value is not None}


class MeasurementTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  @parameterized.parameters("mat", "npz")
  def test_columns_come_first(self, suffix):
    path = self.directory / f"scene.{suffix}"
    write = archives.write_mat if suffix == "mat" else archives.write_npz
    write(path, arrays())
    measured = measurements.read(path)
    self.assertEqual(measured.transients.shape, (ROWS, COLUMNS, BINS))
    np.testing.assert_array_equal(measured.wall[2, 1], [1, 20, 0])
    first = measured.transients[2, 1, 0]  # entry 2 + 3 * 1
    self.assertEqual(first, 5 * BINS + 1)
    np.testing.assert_allclose(measured.bins, 100 + 0.12 * np.arange(BINS), rtol=1e-6)
    np.testing.assert_array_equal(measured.source, [1, 2, 0])

  def test_confocal_files_have_no_source_and_bins_may_differ(self):
    path = self.directory / "scene.mat"
    centres = np.arange(12)[:, None] + np.arange(BINS) * 0.12
    archives.write_mat(path, arrays(srcLoc=None, temporalBinCenters=centres))
    measured = measurements.read(path)
    self.assertIsNone(measured.source)
    self.assertEqual(measured.bins.shape, (ROWS, COLUMNS, BINS))
    np.testing.assert_allclose(measured.bins[2, 1], centres[5], rtol=1e-6)

  def test_round_trip(self):
    measured = measurements.from_arrays(arrays())
    again = measurements.from_arrays(measurements.to_arrays(measured))
    for one, other in zip(measured, again, strict=True):
      np.testing.assert_array_equal(one, other)

  def test_damaged_transients_are_missing(self):
    transients = arrays()["transients"].copy()
    transients[5, 2], transients[0] = np.nan, 0.0
    measured = measurements.from_arrays(arrays(transients=transients))
    missing = np.all(np.isnan(measured.transients), axis=-1)
    np.testing.assert_array_equal(np.argwhere(missing), [[0, 0], [2, 1]])

  @parameterized.parameters(
    ({"transients": None}, "holds no transients"),
    ({"transients": np.zeros((12, 0))}, "transients are"),
    ({"transients": np.zeros((12, BINS))}, "no light"),
    ({"transients": np.full((12, BINS), np.nan)}, "no light"),
    ({"transients": np.ones(12)}, "transients|not points by bins"),
    ({"transients": np.ones((12, BINS)) * 1j}, "not of real numbers"),
    ({"detGridSize": np.array([[4, 4]])}, "does not give 12"),
    ({"detGridSize": np.array([[3.5, 4]])}, "not two numbers"),
    ({"detGridSize": None}, "holds no detGridSize"),
    ({"detLocs": np.zeros((12, 2))}, "detLocs"),
    ({"detLocs": np.full((12, 3), np.inf)}, "detLocs"),
    ({"temporalBinCenters": np.zeros((1, BINS))}, "ascending"),
    ({"temporalBinCenters": np.arange(5.0)[None]}, "for 7 bins"),
    ({"srcLoc": np.zeros((1, 2))}, "srcLoc"),
  )
  def test_wrong_arrays_are_named(self, changes, message):
    path = self.directory / "scene.npz"
    archives.write_npz(path, arrays(**changes))
    with self.assertRaisesRegex(UserError, f"scene.npz.*({message})"):
      measurements.read(path)

  def test_missing_and_damaged_files_are_named(self):
    with self.assertRaisesRegex(UserError, "nothing.mat"):
      measurements.read(self.directory / "nothing.mat")
    path = self.directory / "cut.mat"
    archives.write_mat(path, arrays())
    path.write_bytes(path.read_bytes()[:400])
    with self.assertRaisesRegex(UserError, "cut.mat"):
      measurements.read(path)

  @hypothesis.settings(max_examples=25, deadline=None)
  @hypothesis.given(
    name=strategies.sampled_from(sorted(arrays())),
    shape=strategies.lists(strategies.integers(0, 4), min_size=1, max_size=3),
    value=strategies.sampled_from([0.0, -1.0, 3.0, np.nan, np.inf]),
  )
  def test_any_other_array_is_one_line_or_a_measurement(self, name, shape, value):
    try:
      measured = measurements.from_arrays(arrays(**{name: np.full(shape, value)}))
    except ValueError as error:
      self.assertNotIn("\n", str(error))
    else:
      self.assertTrue(np.all(np.isfinite(measured.wall)))
      self.assertTrue(np.any(np.isfinite(measured.transients)))


class PointFilesTest(absltest.TestCase):
  def test_other_readers_understand_them(self):
    directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    rng = np.random.default_rng(0)
    vertices, faces = rng.normal(size=(5, 3)), np.array([[0, 1, 2], [2, 3, 4]])
    point_files.write_surface(directory / "surface.ply", vertices, faces)
    mesh = meshes.read_mesh(directory / "surface.ply")
    np.testing.assert_allclose(mesh.vertices, vertices, rtol=1e-6)
    np.testing.assert_array_equal(mesh.faces, faces)
    point_files.write_points(directory / "points.ply", vertices, -vertices)
    cloud = meshes.read_mesh(directory / "points.ply")
    np.testing.assert_allclose(cloud.vertices, vertices, rtol=1e-6)
    header = (directory / "points.ply").read_bytes().split(b"end_header\n")
    self.assertIn(b"property float nz", header[0])
    stored = np.frombuffer(header[1], "<f4").reshape(5, 6)
    np.testing.assert_allclose(stored[:, 3:], -vertices, rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
