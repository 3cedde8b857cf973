"""Tests of folding a batch normalisation into the layer before it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops.folding import fold_batch_norm


class FoldingTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_one_layer_does_what_both_did(self):
    keys = jax.random.split(jax.random.key(0), 7)
    x, kernel = (
      jax.random.normal(k, s) for k, s in zip(keys[:2], [(9, 4), (4, 3)], strict=True)
    )
    bias, scale, offset, mean = (jax.random.normal(k, (3,)) for k in keys[2:6])
    variance = jax.random.uniform(keys[6], (3,)).at[0].set(0.0)
    fold = self.variant(lambda *a, **k: fold_batch_norm(*a, **k, epsilon=1e-3))
    norm = {"scale": scale, "offset": offset, "mean": mean, "variance": variance}
    for own in (bias, None):
      before = x @ kernel + (0.0 if own is None else own)
      expected = (before - mean) / jnp.sqrt(variance + 1e-3) * scale + offset
      folded, shift = fold(kernel, own, **norm)
      np.testing.assert_allclose(x @ folded + shift, expected, rtol=1e-4, atol=1e-4)

  def test_other_widths_are_refused(self):
    three, four = jnp.ones(3), jnp.ones(4)
    with self.assertRaises(AssertionError):
      fold_batch_norm(
        jnp.ones((4, 3)),
        None,
        scale=three,
        offset=three,
        mean=four,
        variance=three,
        epsilon=1e-5,
      )


if __name__ == "__main__":
  absltest.main()
