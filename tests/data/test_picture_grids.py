"""Rows of pictures with titles."""

import numpy as np
from absl.testing import absltest

from jaxvision.data.picture_grids import picture_grid


class PictureGridTest(absltest.TestCase):
  def test_rows_may_differ_in_length(self):
    one = np.full((4, 6, 3), 2.0)
    made = picture_grid({"first": [one, one / 4], "second": [one]}, ("a", "b"))
    self.assertLen(made.axes, 4)
    shown = [axis.images[0].get_array() for axis in made.axes if axis.images]
    self.assertLen(shown, 3)
    np.testing.assert_array_equal(shown[0], 1.0)  # clipped
    np.testing.assert_array_equal(shown[1], 0.5)
    self.assertEqual([axis.get_title() for axis in made.axes], ["a", "b", "", ""])
    self.assertEqual(made.axes[2].texts[0].get_text(), "second")


if __name__ == "__main__":
  absltest.main()
