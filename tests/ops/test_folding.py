"""Tests of folding a batch normalisation into the layer before it."""

import chex
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops.folding import fold_batch_norm


class FoldingTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_one_layer_does_what_both_did(self):
    rng = np.random.default_rng(0)
    x, kernel = (rng.normal(size=s).astype(np.float32) for s in ((9, 4), (4, 3)))
    bias, scale, offset, mean = rng.normal(size=(4, 3)).astype(np.float32)
    variance = np.append(0, rng.uniform(size=2)).astype(np.float32)
    fold = self.variant(lambda *a, **k: fold_batch_norm(*a, **k, epsilon=1e-3))
    norm = {"scale": scale, "offset": offset, "mean": mean, "variance": variance}
    for own in (bias, None):
      before = x @ kernel + (0.0 if own is None else own)
      expected = (before - mean) / np.sqrt(variance + 1e-3) * scale + offset
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
