"""Tests of the volume-preserving YUV."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import syuv


class SyuvTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_there_and_back(self):
    rgb = jax.random.uniform(jax.random.key(0), (2, 4, 5, 3))
    both = self.variant(lambda rgb: syuv.syuv_to_rgb(syuv.rgb_to_syuv(rgb)))
    np.testing.assert_allclose(both(rgb), rgb, atol=1e-6)

  def test_volume_is_kept(self):
    self.assertAlmostEqual(
      abs(np.linalg.det(np.asarray(syuv.rgb_to_syuv(jnp.eye(3))))), 1.0, places=6
    )

  def test_grey_has_no_colour(self):
    np.testing.assert_allclose(
      syuv.rgb_to_syuv(jnp.full((3,), 0.5)), [0.790114, 0, 0], atol=1e-6
    )


if __name__ == "__main__":
  absltest.main()
