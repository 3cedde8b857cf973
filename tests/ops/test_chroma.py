"""Tests of chroma subsampling."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import chroma


class ChromaTest(chex.TestCase):
  def test_padding_repeats_the_last_row_and_column(self):
    image = jnp.arange(6.0).reshape(2, 3, 1)
    padded = chroma.pad(image, 4, 4)[..., 0]
    np.testing.assert_array_equal(
      padded, [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]
    )

  @parameterized.parameters(((1, 1), 3, 8), ((1, 2), 3, 8), ((2, 2), 2, 8))
  def test_cells_of_an_odd_image(self, factors, rows, columns):
    image = jnp.arange(27).reshape(3, 9, 1)[:, :7]
    sums = chroma.sum_cells(image, factors)
    chex.assert_shape(sums, (rows, columns, 1))
    chex.assert_type(sums, int)
    first = {(1, 1): 0, (1, 2): 0 + 1, (2, 2): 0 + 1 + 9 + 10}[factors]
    last = {(1, 1): 24, (1, 2): 24 + 24, (2, 2): 4 * 24}[factors]
    self.assertEqual(sums[0, 0, 0], first)
    self.assertEqual(sums[-1, -1, 0], last)

  def test_triangle_filter_of_a_ramp(self):
    ramp = 4 * jnp.arange(4).reshape(1, 4, 1)
    np.testing.assert_array_equal(
      chroma.spread(ramp, (1, 2))[0, :, 0], [0, 4, 12, 20, 28, 36, 44, 48]
    )

  def test_constant_images_stay_constant(self):
    image = np.ones((2, 3, 5, 2), np.float32)
    for factors in chroma.SUBSAMPLING.values():
      area = factors[0] * factors[1]
      sums, doubled = jax.jit(
        lambda image, f=factors: (chroma.sum_cells(image, f), chroma.spread(image, f))
      )(image)
      np.testing.assert_array_equal(sums, area)
      chex.assert_shape(doubled, (2, 3 * factors[0], 5 * factors[1], 2))
      np.testing.assert_array_equal(doubled, area**2)


if __name__ == "__main__":
  absltest.main()
