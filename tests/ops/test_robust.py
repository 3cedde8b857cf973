"""Tests of the general robust loss, its density and its samples."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.stats
from absl.testing import absltest, parameterized
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxvision.ops import robust

loss, nll, weight = map(jax.jit, (robust.loss, robust.nll, robust.weight))
SPECIAL = (-np.inf, 0.0, 2.0, np.inf)
loss_and_gradients = jax.jit(
  jax.value_and_grad(
    lambda x, alpha, scale: jnp.sum(robust.loss(x, alpha, scale)), argnums=(0, 1, 2)
  )
)


def closed_form(x, alpha, c):
  """The definition in float64, for regular α."""
  z, b = np.square(x / c), np.abs(alpha - 2)
  return b / alpha * ((z / b + 1) ** (alpha / 2) - 1)


class LossTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_limits_have_their_closed_forms(self):
    x = np.linspace(-3, 3, 13, dtype=np.float32)
    z = np.square(x / 0.7)
    either = self.variant(robust.loss)
    for alpha, expected in [
      (-np.inf, 1 - np.exp(-z / 2)),
      (-2.0, 2 * z / (z + 4)),
      (0.0, np.log(z / 2 + 1)),
      (1.0, np.sqrt(z + 1) - 1),
      (2.0, z / 2),
      (np.inf, np.exp(z / 2) - 1),
    ]:
      np.testing.assert_allclose(either(x, alpha, 0.7), expected, rtol=2e-6, atol=1e-7)

  @parameterized.parameters(-20.0, -0.5, -1e-3, 1e-3, 0.5, 1.7, 1.999, 2.001, 3.0)
  def test_value_and_gradients_against_the_definition(self, alpha):
    with jax.enable_x64(True):
      x = jnp.array([-4.0, -0.3, 0.2, 1.5, 30.0])
      np.testing.assert_allclose(
        loss(x, alpha, 1.3), closed_form(np.asarray(x), alpha, 1.3), rtol=1e-9
      )
      values = [np.asarray(x), np.full(5, alpha), np.full(5, 1.3)]
      gradients = loss_and_gradients(*values)[1]
      for index, gradient in enumerate(gradients):
        step = 1e-5 * (np.arange(3) == index)[:, None]
        above, below = np.array(values) + step, np.array(values) - step
        difference = (closed_form(*above) - closed_form(*below)) / 2e-5
        np.testing.assert_allclose(gradient, difference, rtol=1e-4, atol=1e-7)

  def test_second_derivative_by_x(self):
    with jax.enable_x64(True):
      slope = jax.jit(jax.vmap(jax.grad(robust.loss), (0, None, None)))
      curvature = jax.jit(jax.vmap(jax.grad(jax.grad(robust.loss)), (0, None, None)))
      x = jnp.array([-2.0, 0.4])
      for alpha in (-1.5, 0.0, 1.0, 2.0):
        difference = (slope(x + 1e-5, alpha, 0.8) - slope(x - 1e-5, alpha, 0.8)) / 2e-5
        np.testing.assert_allclose(curvature(x, alpha, 0.8), difference, rtol=1e-7)

  @parameterized.parameters(-1e-6, 1e-6, 1e-3, 0.7, 1.6, 2 - 1e-4, 2 + 1e-4)
  def test_derivative_by_alpha_survives_float32(self, alpha):
    x = np.array([0.5, 1.0, 10.0, 1e4], np.float32)
    alphas = np.full(4, alpha, np.float32)
    single = loss_and_gradients(x, alphas, np.ones(4, np.float32))[1][1]
    with jax.enable_x64(True):
      double = loss_and_gradients(*(a.astype(float) for a in (x, alphas, np.ones(4))))
    np.testing.assert_allclose(single, double[1][1], rtol=2e-4)

  @parameterized.parameters(*SPECIAL)
  def test_gradients_at_special_alphas(self, alpha):
    x = np.array([-2.0, 0.0, 0.5], np.float32)
    c = np.float32(1.2)
    _, (by_x, by_alpha, by_scale) = loss_and_gradients(x, np.float32(alpha), c)
    z = np.square(x / c)
    slope = {
      -np.inf: np.exp(-z / 2),
      0.0: 2 / (z + 2),
      2.0: np.ones_like(z),
      np.inf: np.exp(z / 2),
    }[alpha]
    np.testing.assert_allclose(by_x, x / c**2 * slope, rtol=1e-5)
    np.testing.assert_allclose(by_scale, np.sum(-(x**2) / c**3 * slope), rtol=1e-5)
    self.assertEqual(by_alpha, 0.0)

  @parameterized.parameters(-np.inf, -3.0, -1e-4, 0.0, 0.4, 1.0)
  def test_gradient_is_bounded_below_one(self, alpha):
    x = np.concatenate([np.linspace(-50, 50, 999), [-1e25, 1e25]]).astype(np.float32)
    c = np.float32(0.6)
    by_x = np.abs(loss_and_gradients(x, np.float32(alpha), c)[1][0])
    bound = np.exp(-0.5) if np.isinf(alpha) else 1.0
    if alpha < 1 and np.isfinite(alpha):
      bound = ((alpha - 2) / (alpha - 1)) ** ((alpha - 1) / 2)
    self.assertLessEqual(np.max(by_x), bound / c * (1 + 1e-5))
    self.assertTrue(np.all(by_x <= np.abs(x) / c**2 * (1 + 1e-5)))

  @hypothesis.given(
    x=st.floats(-100, 100, width=32),
    alphas=st.tuples(*[st.floats(-50, 4, width=32)] * 2),
    factor=st.floats(0.125, 8, width=32),
  )
  @hypothesis.settings(max_examples=60, deadline=None)
  def test_even_monotone_and_homogeneous(self, x, alphas, factor):
    low, high = np.sort(np.array(alphas, np.float32))
    x = np.array([x, -x, 1.1 * x], np.float32)
    values = np.asarray(loss(x, low, 1.0))
    self.assertEqual(values[0], values[1])
    self.assertGreaterEqual(values[2], values[0] * (1 - 1e-5))
    self.assertTrue(np.all(values <= np.asarray(loss(x, high, 1.0)) * 1.00001 + 1e-6))
    scaled = loss(x * np.float32(factor), low, np.float32(factor))
    np.testing.assert_allclose(scaled, values, rtol=2e-4, atol=1e-6)

  @hypothesis.given(
    x=st.floats(width=32, allow_nan=False, allow_infinity=False),
    alpha=st.floats(width=32, allow_nan=False) | st.sampled_from(SPECIAL),
    scale=st.floats(2.0**-10, 1e10, width=32),
  )
  @hypothesis.settings(max_examples=200, deadline=None)
  def test_nothing_finite_becomes_nan_or_infinite(self, x, alpha, scale):
    values = loss_and_gradients(np.float32(x), np.float32(alpha), np.float32(scale))
    chex.assert_tree_all_finite(values[0])
    # Dividing by a small scale may overflow, but nothing may become NaN.
    self.assertFalse(any(np.isnan(value) for value in values[1]))

  def test_weight_is_that_of_reweighted_least_squares(self):
    x = np.linspace(0.1, 5, 20, dtype=np.float32)
    for alpha in (-np.inf, -2.0, 0.0, 1.0, 1.5, 2.0):
      by_x = loss_and_gradients(x, np.float32(alpha), np.float32(0.5))[1][0]
      np.testing.assert_allclose(
        weight(x, alpha, 0.5), by_x * 0.25 / x, rtol=1e-4, atol=1e-20
      )
    # The line process of fast global registration, μ = 4 c².
    line_process = (1.0 / (1.0 + x**2)) ** 2
    np.testing.assert_allclose(weight(x, -2.0, 0.5), line_process, rtol=1e-5)

  def test_approximate_loss_is_close(self):
    x = np.linspace(-5, 5, 41, dtype=np.float32)
    approximate = jax.jit(robust.approximate_loss)
    for alpha in (-3.0, -1.0, 0.5, 1.0, 1.9, 3.0):
      np.testing.assert_allclose(
        approximate(x, alpha, 1.5), loss(x, alpha, 1.5), atol=1e-4
      )

  def test_half_precision_is_computed_in_single(self):
    x = jnp.array([0.25, 40.0], jnp.bfloat16)
    losses = robust.loss(x, 0.5, 1.0)
    self.assertEqual(losses.dtype, jnp.bfloat16)
    exact = robust.loss(x.astype(jnp.float32), 0.5, 1.0)
    chex.assert_trees_all_equal(losses, exact.astype(jnp.bfloat16))

  def test_vmap_and_broadcasting_agree(self):
    x = jax.random.normal(jax.random.key(0), (4, 3))
    alphas = jnp.array([0.0, 1.0, 2.0, 0.3])
    gradient = jax.jit(jax.grad(lambda x, alpha: jnp.sum(robust.loss(x, alpha, 0.5))))
    np.testing.assert_allclose(
      jax.jit(jax.vmap(gradient))(x, alphas), gradient(x, alphas[:, None]), rtol=1e-6
    )

  def test_wrong_arguments_are_refused(self):
    with self.assertRaisesRegex(AssertionError, "broadcast"):
      robust.loss(jnp.zeros((2,)), jnp.ones(3), 1.0)
    with self.assertRaises(AssertionError):
      robust.loss(jnp.zeros(2, jnp.int32), 1.0, 1.0)


class DensityTest(chex.TestCase):
  def test_known_densities(self):
    x = np.linspace(-4, 4, 9, dtype=np.float32)
    normal = 0.5 * (x / 0.5) ** 2 + np.log(0.5 * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(nll(x, 2.0, 0.5), normal, rtol=1e-6)
    # α = 0 is a Cauchy distribution of scale √2 c.
    cauchy = np.log(np.pi * 0.5 * np.sqrt(2) * (1 + np.square(x / 0.5) / 2))
    np.testing.assert_allclose(nll(x, 0.0, 0.5), cauchy, rtol=1e-6)

  @parameterized.parameters(0.3, 1.0, 1.8, 2.0, 3.0, np.inf)
  def test_density_integrates_to_one(self, alpha):
    density = jax.jit(lambda x: jnp.exp(-robust.nll(x, alpha, 0.7)))
    # x = sinh(t) reaches far into the tails.
    t = np.linspace(-25, 25, 20001)
    integrand = np.asarray(density(np.sinh(t).astype(np.float32))) * np.cosh(t)
    self.assertAlmostEqual(scipy.integrate.trapezoid(integrand, t), 1.0, places=4)

  def test_negative_alpha_has_no_density(self):
    np.testing.assert_array_equal(robust.nll(jnp.ones(2), -0.5, 1.0), [np.inf] * 2)

  def test_gradients_of_the_nll(self):
    with jax.enable_x64(True):
      arguments = jnp.array([0.5, -3.0]), jnp.array([0.7, 2.6]), jnp.array([0.4, 1.4])
      check_grads(
        jax.jit(robust.nll), arguments, order=1, modes=["rev"], rtol=1e-4, eps=1e-5
      )

  def test_students_t_is_scipys(self):
    x = np.linspace(-6, 6, 7, dtype=np.float32)
    for degrees in (0.4, 1.0, 5.0):
      expected = -scipy.stats.t.logpdf(x, degrees, scale=0.3)
      np.testing.assert_allclose(
        robust.students_t_nll(x, degrees, 0.3), expected, rtol=1e-5, atol=2e-6
      )

  @parameterized.parameters(0.0, 0.5, 1.0, 2.0, 4.0, np.inf)
  def test_samples_follow_the_density(self, alpha):
    draws = np.sort(sample(jax.random.key(3), np.float32(alpha)))
    t = np.linspace(-14, 14, 8001)
    density = np.exp(-np.asarray(nll(np.sinh(t), alpha, 0.5))) * np.cosh(t)
    cumulative = scipy.integrate.cumulative_trapezoid(density, t, initial=0)
    expected = np.interp(np.arcsinh(draws), t, cumulative / cumulative[-1])
    steps = np.arange(draws.size + 1) / draws.size
    distance = max(np.max(steps[1:] - expected), np.max(expected - steps[:-1]))
    self.assertLess(distance, 0.015)

  def test_samples_broadcast(self):
    draw = jax.jit(robust.sample)
    draws = draw(jax.random.key(0), jnp.ones((3, 1)), jnp.ones(4))
    self.assertEqual(draws.shape, (3, 4))
    chex.assert_tree_all_finite(draws)


@jax.jit
def sample(key, alpha):
  return robust.sample(key, alpha, 0.5, (20_000,))


if __name__ == "__main__":
  absltest.main()
