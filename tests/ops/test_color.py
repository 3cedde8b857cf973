"""Tests of YCbCr conversions."""

import chex
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import color


class ColorTest(chex.TestCase):
  @parameterized.parameters(
    ((1, 1, 1), (255, 128, 128)),
    ((0, 0, 0), (0, 128, 128)),
    ((1, 0, 0), (76.245, 84.97232, 255.5)),
    ((0, 0, 1), (29.07, 255.5, 107.26544)),
  )
  def test_known_colours(self, rgb, ycbcr_bytes):
    converted = color.rgb_to_ycbcr(jnp.array(rgb, jnp.float32))
    np.testing.assert_allclose(255 * converted, ycbcr_bytes, atol=1e-4)

  @chex.variants(with_jit=True, without_jit=True)
  def test_back_and_forth_is_the_identity(self):
    images = np.random.default_rng(0).uniform(size=(2, 3, 4, 3)).astype(np.float32)
    back = self.variant(lambda x: color.ycbcr_to_rgb(color.rgb_to_ycbcr(x)))(images)
    np.testing.assert_allclose(back, images, atol=2e-6)

  @parameterized.parameters(color.rgb_to_ycbcr, color.ycbcr_to_rgb)
  def test_wrong_channels_and_integers_are_refused(self, convert):
    with self.assertRaisesRegex(AssertionError, "dimension"):
      convert(jnp.zeros((4, 4)))
    with self.assertRaisesRegex(AssertionError, "type"):
      convert(jnp.zeros((4, 3), jnp.uint8))


if __name__ == "__main__":
  absltest.main()
