"""Local quadratic fits: exactness, weights, what is missing."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import strategies

from jaxvision.ops import local_fit

fit = jax.jit(local_fit.fit)


@jax.jit
def slope_of_the_gradient(xy, values):
  """Returns the derivative of the fitted gradient's sum by the values."""
  return jax.grad(lambda v: jnp.sum(local_fit.fit(xy, v, jnp.ones(25)).gradient))(
    values
  )


def offsets(side=5, pitch=1.5, shift=(0.0, 0.0)):
  steps = (np.arange(side) - side // 2) * pitch
  x, y = np.meshgrid(steps, steps)
  return jnp.asarray(np.stack([x, y], -1).reshape(-1, 2) + shift, jnp.float32)


def quadratic(xy, a=0.02, b=-0.03, c=0.01, d=0.4, e=-0.2, f=80.0):
  x, y = xy[..., 0], xy[..., 1]
  return a * x**2 + b * y**2 + c * x * y + d * x + e * y + f


class LocalFitTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_quadratics_are_recovered(self):
    xy = offsets()
    weights = jnp.asarray(local_fit.gaussian_window(5, 2.0), jnp.float32)
    found = self.variant(local_fit.fit)(xy, quadratic(xy), weights)
    self.assertTrue(bool(found.valid))
    np.testing.assert_allclose(found.value, 80.0, rtol=1e-6)
    np.testing.assert_allclose(found.gradient, [0.4, -0.2], atol=1e-5)
    np.testing.assert_allclose(found.hessian, [[0.04, 0.01], [0.01, -0.06]], atol=1e-5)
    self.assertLess(float(found.mean_residual), 2e-5)

  @hypothesis.settings(max_examples=25, deadline=None)
  @hypothesis.given(
    strategies.floats(0.01, 100.0),
    strategies.lists(strategies.integers(0, 24), max_size=12, unique=True),
  )
  def test_scale_and_missing_values_change_no_gradient(self, pitch, missing):
    xy = offsets(pitch=pitch)
    values = np.array(quadratic(xy / pitch))
    values[missing] = np.nan
    found = fit(xy, jnp.asarray(values), jnp.ones(25))
    if found.valid:
      np.testing.assert_allclose(found.gradient * pitch, [0.4, -0.2], atol=2e-3)
    else:
      self.assertGreater(len(missing), 4)

  def test_weights_count_squared_as_factors_of_rows(self):
    rng = np.random.default_rng(0)
    xy, values = np.asarray(offsets(), np.float64), rng.normal(size=25)
    weights = rng.uniform(0.1, 1, 25)
    x, y = xy.T
    design = np.stack([x**2, y**2, x * y, x, y, np.ones(25)], 1)
    expected = np.linalg.lstsq(weights[:, None] * design, weights * values)[0]
    found = fit(*(jnp.asarray(part, jnp.float32) for part in (xy, values, weights)))
    np.testing.assert_allclose(found.gradient, expected[3:5], atol=1e-4)
    np.testing.assert_allclose(
      found.mean_residual, np.mean(np.abs(design @ expected - values)), rtol=1e-3
    )

  def test_undetermined_neighbourhoods_are_flagged_and_finite(self):
    xy = offsets()
    line = jnp.stack([xy[:, 0], xy[:, 0]], axis=-1)
    few = jnp.where(jnp.arange(25) < 5, quadratic(xy), jnp.nan)
    cases = ((line, quadratic(xy)), (xy, few), (xy, jnp.full(25, jnp.nan)))
    for where, values in cases:
      found = fit(where, values, jnp.ones(25))
      self.assertFalse(bool(found.valid))
      chex.assert_tree_all_finite(found)
      gradient = slope_of_the_gradient(where, values)
      self.assertTrue(bool(jnp.all(jnp.isfinite(gradient))))

  def test_gradient_passes_through_the_fit(self):
    xy = offsets()
    weights = jnp.ones(25)
    by_x = jax.grad(lambda v: local_fit.fit(xy, v, weights).gradient[0])
    rate = jax.jit(by_x)(quadratic(xy))
    expected = xy[:, 0] / jnp.sum(xy[:, 0] ** 2)  # of the slope of symmetric offsets
    np.testing.assert_allclose(rate, expected, atol=1e-5)

  def test_windows_are_nan_beyond_the_border(self):
    around = local_fit.windows(jnp.arange(12.0).reshape(3, 4), 3)
    self.assertEqual(around.shape, (3, 4, 9))
    np.testing.assert_array_equal(around[1, 1], [0, 1, 2, 4, 5, 6, 8, 9, 10])
    self.assertEqual(int(jnp.sum(jnp.isnan(around[0, 0]))), 5)

  def test_eigenvalues_and_their_gradient_where_they_meet(self):
    matrix = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    np.testing.assert_allclose(local_fit.symmetric_eigenvalues(matrix), [1, 3])
    gradient = jax.grad(lambda m: jnp.sum(local_fit.symmetric_eigenvalues(m)))(
      jnp.eye(2)
    )
    np.testing.assert_allclose(gradient, jnp.eye(2))


if __name__ == "__main__":
  absltest.main()
