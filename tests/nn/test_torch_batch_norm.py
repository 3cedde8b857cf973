"""Tests of batch normalisation with PyTorch's running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.nn.torch_batch_norm import TorchBatchNorm


class TorchBatchNormTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.x = 1.0 + 2.0 * jax.random.normal(jax.random.key(0), (4, 2, 3))
    self.norm = TorchBatchNorm()
    self.variables = self.norm.init(jax.random.key(1), self.x, train=False)

  @parameterized.parameters(0.1, 0.9)
  def test_running_statistics_are_pytorchs(self, momentum):
    y, state = self.norm.apply(
      self.variables, self.x, train=True, momentum=momentum, mutable="batch_stats"
    )
    rows = np.float64(self.x).reshape(8, 3)
    expected = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-5)
    np.testing.assert_allclose(np.reshape(y, (8, 3)), expected, atol=1e-5)
    stats = state["batch_stats"]
    np.testing.assert_allclose(stats["mean"], momentum * rows.mean(0), rtol=1e-5)
    # The variance without bias, 8 / 7 of the batch's own.
    var = 1 - momentum + momentum * rows.var(0, ddof=1)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-5)

  def test_inference_uses_them(self):
    stats = {"mean": jnp.full(3, 2.0), "var": jnp.full(3, 4.0 - 1e-5)}
    y = self.norm.apply(self.variables | {"batch_stats": stats}, self.x, train=False)
    np.testing.assert_allclose(y, (self.x - 2.0) / 2.0, rtol=1e-4, atol=1e-6)

  def test_statistics_are_of_all_devices_where_the_axis_is_bound(self):
    def apply(x):
      return self.norm.apply(self.variables, x, train=True, mutable="batch_stats")

    whole, state = apply(self.x)
    parts, states = jax.vmap(apply, axis_name="batch")(self.x.reshape(2, 2, 2, 3))
    np.testing.assert_allclose(parts.reshape(4, 2, 3), whole, atol=1e-5)
    for name, value in state["batch_stats"].items():
      np.testing.assert_allclose(states["batch_stats"][name][0], value, rtol=1e-5)

  def test_devices_may_keep_to_themselves(self):
    norm = TorchBatchNorm(affine=False, synchronized=False)
    variables = norm.init(jax.random.key(1), self.x, train=False)
    self.assertEqual(set(variables), {"batch_stats"})

    def apply(x):
      return norm.apply(variables, x, train=True, mutable="batch_stats")[0]

    parts = self.x.reshape(2, 2, 2, 3)
    found = jax.vmap(apply, axis_name="batch")(parts)
    for part, y in zip(parts, found, strict=True):
      np.testing.assert_allclose(y, apply(part), atol=1e-5)

  def test_gradient_agrees_with_finite_differences(self):
    def total(x):
      y, _ = self.norm.apply(self.variables, x, train=True, mutable="batch_stats")
      return jnp.sum(jnp.sin(y))

    jax.test_util.check_grads(total, (self.x,), order=1, modes=["rev"], rtol=2e-2)


if __name__ == "__main__":
  absltest.main()
