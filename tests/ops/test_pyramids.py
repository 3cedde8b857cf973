"""Tests of image pyramids."""

import chex
import numpy as np
from absl.testing import absltest

from jaxvision.ops.pyramids import average_pyramid, max_pyramid

IMAGES = np.random.default_rng(0).normal(size=(2, 11, 9, 3)).astype(np.float32)


class PyramidsTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_each_pixel_reduces_its_square(self):
    for pyramid, reduce in ((average_pyramid, np.mean), (max_pyramid, np.max)):
      levels = self.variant(pyramid, static_argnums=1)(IMAGES, 3)
      self.assertEqual(
        [level.shape for level in levels], [(2, 11, 9, 3), (2, 5, 4, 3), (2, 2, 2, 3)]
      )
      np.testing.assert_array_equal(levels[0], IMAGES)
      for size, level in ((2, levels[1]), (4, levels[2])):
        for row, column in np.ndindex(level.shape[1:3]):
          square = IMAGES[:, row * size :, column * size :][:, :size, :size]
          np.testing.assert_allclose(
            level[:, row, column], reduce(square, axis=(1, 2)), rtol=1e-5, atol=1e-6
          )

  def test_image_smaller_than_a_square_is_refused(self):
    with self.assertRaisesRegex(ValueError, "5 levels of an image of 11 x 9"):
      average_pyramid(IMAGES, 5)


if __name__ == "__main__":
  absltest.main()
