"""Tests of animated GIFs."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest
from PIL import Image

from jaxvision.data.animations import write_gif


class AnimationsTest(absltest.TestCase):
  def test_frames_come_back_in_order(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    frames = [np.full((6, 9, 3), value, np.uint8) for value in (0, 120, 255)]
    frames[1][:, 4:] = (255, 0, 0)
    write_gif(folder / "a.gif", frames, milliseconds=50)
    with Image.open(folder / "a.gif") as gif:
      self.assertEqual(gif.n_frames, 3)
      self.assertEqual(gif.info["loop"], 0)
      for index, frame in enumerate(frames):
        gif.seek(index)
        self.assertEqual(gif.info["duration"], 50)
        np.testing.assert_array_equal(np.array(gif.convert("RGB")), frame)

  def test_unequal_frames_are_refused(self):
    with self.assertRaises(AssertionError):
      write_gif("a.gif", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)])


if __name__ == "__main__":
  absltest.main()
