"""Tests of the camera files of RealEstate10K."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import realestate
from jaxvision.errors import UserError

LINE = (
  "52553000 0.474 0.843 0.5 0.5 0.0 0.0 "
  "0.99 0.0 0.14107 0.25 0.0 1.0 0.0 -0.5 -0.14107 0.0 0.99 2.0"
)


class RealEstateTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder) / "clip.txt"

  def write(self, *lines):
    self.path.write_text("\n".join(["https://www.youtube.com/watch?v=x", *lines]))
    return self.path

  def test_reads_the_authors_format(self):
    second = LINE.replace("52553000", "52586000")
    cameras = realestate.read_cameras(self.write(LINE, second, ""))
    self.assertEqual(cameras.url, "https://www.youtube.com/watch?v=x")
    np.testing.assert_array_equal(cameras.timestamps, [52553000, 52586000])
    np.testing.assert_allclose(cameras.poses[0, :3, 3], [0.25, -0.5, 2.0])
    np.testing.assert_allclose(cameras.poses[1, 2], [-0.14107, 0, 0.99, 2], rtol=1e-6)
    np.testing.assert_array_equal(cameras.poses[:, 3], [[0, 0, 0, 1]] * 2)
    expected = [[0.474 * 200, 0, 100], [0, 0.843 * 100, 50], [0, 0, 1]]
    np.testing.assert_allclose(cameras.matrix(0, 100, 200), expected, rtol=1e-6)

  def test_writing_and_reading_returns_the_same(self):
    cameras = realestate.read_cameras(self.write(LINE))
    realestate.write_cameras(self.path, cameras)
    again = realestate.read_cameras(self.path)
    self.assertEqual(again.url, cameras.url)
    np.testing.assert_array_equal(again.poses, cameras.poses)
    np.testing.assert_array_equal(again.intrinsics, cameras.intrinsics)

  @parameterized.parameters(
    ("not a camera", "2: not numbers"),
    (LINE.rsplit(" ", 1)[0], "2: 18 numbers"),
    (LINE.replace("2.0", "nan"), "2: 19 numbers, not 19 finite"),
    (LINE.replace("0.474", "-0.474"), "focal"),
    (LINE.replace("0.14107 0.25", "3.0 0.25"), "rotation"),
    ("", "no camera"),
  )
  def test_bad_lines_are_named(self, line, message):
    with self.assertRaisesRegex(UserError, f"clip.txt.*{message}"):
      realestate.read_cameras(self.write(line))

  def test_missing_and_binary_files_are_named(self):
    with self.assertRaisesRegex(UserError, "clip.txt: no such file"):
      realestate.read_cameras(self.path)
    self.path.write_bytes(b"\xff\xfe\x00")
    with self.assertRaisesRegex(UserError, "clip.txt: damaged"):
      realestate.read_cameras(self.path)


if __name__ == "__main__":
  absltest.main()
