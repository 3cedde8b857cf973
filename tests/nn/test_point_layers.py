"""Tests of the layers on points."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.nn.point_layers import FeaturePropagation, Head, PointBlock
from jaxvision.train import jit_once


class PointLayersTest(absltest.TestCase):
  def test_block_is_its_formula(self):
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    block = PointBlock(4)
    variables = jit_once(block.init, static_argnames="train")(
      jax.random.key(0), x, train=False
    )
    kernel = variables["params"]["linear"]["kernel"]
    self.assertNotIn("bias", variables["params"]["linear"])
    found = block.apply(variables, x, train=False)
    expected = np.maximum(x @ np.asarray(kernel) / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    bare = PointBlock(4, norm=False)
    variables = bare.init(jax.random.key(0), x, train=False)
    self.assertIn("bias", variables["params"]["linear"])
    self.assertNotIn("batch_stats", variables)

  def test_propagation_carries_features_to_finer_points(self):
    rng = np.random.default_rng(0)
    coarse = rng.normal(size=(2, 4, 3)).astype(np.float32)
    fine = np.concatenate([coarse, coarse[:, :2] + 10], axis=1)
    features = rng.normal(size=(2, 4, 5)).astype(np.float32)
    skipped = np.ones((2, 6, 2), np.float32)
    layer = FeaturePropagation((7,))
    variables = layer.init(
      jax.random.key(0), fine, coarse, skipped, features, train=False
    )
    # Interpolated features come first, then those that were skipped.
    mlp = variables["params"]["mlp"]["layer0"]
    kernel = jnp.zeros((7, 7)).at[jnp.arange(7), jnp.arange(7)].set(1.0)
    self.assertEqual(mlp["linear"]["kernel"].shape, kernel.shape)
    mlp["linear"]["kernel"] = kernel
    found = layer.apply(variables, fine, coarse, skipped, features, train=False)
    np.testing.assert_allclose(found[:, :4, :5], np.maximum(features, 0), atol=1e-4)
    np.testing.assert_allclose(found[..., 5:], 1, rtol=1e-4)

  def test_head_drops_out_in_training_only(self):
    x = jnp.ones((4, 6))
    head = Head((50,), 3, norm=False)
    variables = head.init(jax.random.key(0), x, train=False)
    still = [head.apply(variables, x, train=False) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    mixed = [
      head.apply(variables, x, train=True, rngs={"dropout": jax.random.key(seed)})
      for seed in range(2)
    ]
    self.assertGreater(float(jnp.max(jnp.abs(mixed[0] - mixed[1]))), 1e-3)


if __name__ == "__main__":
  absltest.main()
