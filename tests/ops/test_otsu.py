"""Tests of Otsu's threshold."""

import chex
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from skimage import filters

from jaxvision.ops import otsu


class OtsuTest(chex.TestCase):
  @parameterized.parameters(range(4))
  def test_agrees_with_skimage_on_whole_levels(self, seed):
    rng = np.random.default_rng(seed)
    dark, bright = rng.normal(60, 12, 700), rng.normal(160, 30, 300)
    levels = np.clip(np.round(np.concatenate([dark, bright, [0, 255]])), 0, 255)
    found = otsu.otsu(jnp.asarray(levels.reshape(2, -1), jnp.float32))
    self.assertEqual(
      float(found.value), filters.threshold_otsu(levels.astype(np.uint8))
    )
    np.testing.assert_array_equal(
      found.mask, levels.reshape(2, -1) > float(found.value)
    )

  @chex.variants(with_jit=True, without_jit=True)
  def test_scale_and_shift_do_not_matter(self):
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.random((9, 7)), jnp.float32)
    run = self.variant(otsu.otsu)
    first, second = run(image), run(0.01 * image + 3)
    self.assertLess(np.mean(np.asarray(first.mask) != second.mask), 0.05)
    self.assertAlmostEqual(
      float(second.value), 0.01 * float(first.value) + 3, delta=2e-4
    )

  def test_one_value_has_nothing_above(self):
    found = otsu.otsu(jnp.full((4, 4), 0.25))
    self.assertFalse(np.any(found.mask))
    self.assertEqual(float(found.value), 0.25)

  def test_large_images_do_not_round(self):
    # Between two spikes all levels part equally well: the lowest wins.
    histogram = np.zeros(256, np.int32)
    histogram[[40, 200]] = 5_000_001, 2_999_999
    self.assertEqual(int(otsu.otsu_level(jnp.asarray(histogram))), 40)


if __name__ == "__main__":
  absltest.main()
