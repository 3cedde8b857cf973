"""Tests of the maps onto intervals."""

import chex
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import bounded


class BoundedTest(chex.TestCase):
  def test_references(self):
    zero = jnp.zeros(())
    np.testing.assert_allclose(bounded.affine_sigmoid(zero, 1.0, 4.0), 2.5)
    np.testing.assert_allclose(bounded.affine_softplus(zero, 0.1, 0.7), 0.7, rtol=1e-6)

  @chex.variants(with_jit=True, without_jit=True)
  def test_inverses(self):
    latent = jnp.linspace(-8, 8, 17)

    def there_and_back(latent):
      inside = bounded.affine_sigmoid(latent, -1.0, 2.0)
      above = bounded.affine_softplus(latent, 0.5, 3.0)
      return (
        bounded.inverse_affine_sigmoid(inside, -1.0, 2.0),
        bounded.inverse_affine_softplus(above, 0.5, 3.0),
      )

    for back in self.variant(there_and_back)(latent):
      np.testing.assert_allclose(back, latent, atol=2e-3)

  def test_inverse_softplus_of_large_values(self):
    np.testing.assert_allclose(
      bounded.inverse_softplus(jnp.array([1e-4, 1.0, 90.0, 1e30])),
      [np.log(np.expm1(1e-4)), np.log(np.expm1(1.0)), 90.0, 1e30],
      rtol=1e-6,
    )

  def test_empty_intervals_are_refused(self):
    with self.assertRaisesRegex(ValueError, "must lie below"):
      bounded.affine_sigmoid(jnp.zeros(1), 2.0, 2.0)


if __name__ == "__main__":
  absltest.main()
