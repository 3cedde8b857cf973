"""Tests of the TUM RGB-D format, on files written as the benchmark has them."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from jaxvision.data import images, tum
from jaxvision.errors import UserError

TRUTH = """# ground truth trajectory
# timestamp tx ty tz qx qy qz qw
1305031790.6400 1.0 2.0 3.0 0.0 0.0 0.0 1.0
1305031790.7100 1.5 2.0 3.0 0.0 0.0 0.7071068 0.7071068
1305031790.9900 1.5 2.0 3.0 0.0 0.0 0.0 -1.0
"""


class TumTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def write(self, name, text):
    (self.folder / name).write_text(text)
    return self.folder / name

  def test_sequence_has_the_frames_of_which_all_three_are_there(self):
    self.write("groundtruth.txt", TRUTH)
    # Out of order; the last has no depth, the second no pose within 20 ms.
    self.write(
      "rgb.txt",
      "# color images\n1305031790.713 rgb/b.png\n1305031790.645 rgb/a.png\n"
      "1305031790.781 rgb/c.png\n1305031790.990 rgb/d.png\n",
    )
    self.write(
      "depth.txt",
      "1305031790.640 depth/a.png\n1305031790.709 depth/b.png\n"
      "1305031790.773 depth/c.png\n",
    )
    frames = tum.read_sequence(self.folder)
    self.assertEqual([f.image.name for f in frames], ["a.png", "b.png"])
    self.assertEqual([f.depth.name for f in frames], ["a.png", "b.png"])
    np.testing.assert_allclose(frames[0].pose[:3, 3], [1, 2, 3])
    quarter = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(frames[1].pose[:3, :3], quarter, atol=1e-6)

  def test_nearest_times_are_matched_first_and_none_twice(self):
    matches = tum.associate([0.0, 1.0, 1.01], [0.005, 1.009], largest_difference=0.02)
    self.assertEqual(matches, [(0, 0), (2, 1)])

  @settings(max_examples=20, deadline=None)
  @given(st.integers(0, 2**20))
  def test_trajectory_is_read_as_it_was_written(self, seed):
    rng = np.random.default_rng(seed)
    poses = np.tile(np.eye(4), (5, 1, 1))
    poses[:, :3, :3] = Rotation.random(5, rng).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(5, 3))
    times = np.sort(rng.uniform(0, 1e9, 5).round(4))
    path = self.folder / "trajectory.txt"
    tum.write_trajectory(path, times, poses)
    read_times, read_poses = tum.read_trajectory(path)
    np.testing.assert_allclose(read_times, times, atol=1e-5)
    np.testing.assert_allclose(read_poses, poses, atol=1e-7)

  def test_depth_is_in_metres(self):
    path = self.folder / "depth.png"
    images.write_png(path, np.array([[5000, 0], [2500, 65535]], np.uint16))
    np.testing.assert_allclose(tum.read_depth(path), [[1, 0], [0.5, 13.107]])

  def test_wrong_files_are_named(self):
    path = self.folder / "eight.png"
    images.write_png(path, np.zeros((2, 2), np.uint8))
    with self.assertRaisesRegex(UserError, "eight.png: a depth image is 16-bit grey"):
      tum.read_depth(path)
    with self.assertRaisesRegex(UserError, "rgb.txt: no such file"):
      tum.read_sequence(self.folder)
    for text, message in (
      ("1.0 a.png b.png\n", "list.txt:1: not a time and a file"),
      ("# x\nnan a.png\n", "list.txt:2: not numbers"),
    ):
      with self.assertRaisesRegex(UserError, message):
        tum.read_list(self.write("list.txt", text))
    for line in ("1 2 3", "1 0 0 0 0 0 0 0", "1 0 0 0 0 0 0 x"):
      with self.assertRaisesRegex(UserError, "truth.txt:1: not"):
        tum.read_trajectory(self.write("truth.txt", line))

  def test_sequence_without_a_whole_frame_is_refused(self):
    self.write("groundtruth.txt", TRUTH)
    self.write("rgb.txt", "1.0 rgb/a.png\n")
    self.write("depth.txt", "1.0 depth/a.png\n")
    with self.assertRaisesRegex(UserError, "are of the same moment"):
      tum.read_sequence(self.folder)


if __name__ == "__main__":
  absltest.main()
