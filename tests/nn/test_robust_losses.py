"""Tests of the losses that learn their robustness."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from jaxvision.nn import robust_losses
from jaxvision.ops import robust
from jaxvision.train import jit_once


def values_of(loss, x, seed=1):
  """Returns a new loss's variables, its shape and scale, and the losses of x."""

  @jit_once
  def run(key, x):
    variables = loss.init(key, x)
    alpha, scale = (loss.apply(variables, method=m) for m in ("alpha", "scale"))
    return variables, alpha, scale, loss.apply(variables, x)

  return run(jax.random.key(seed), x)


compiled_nll = jit_once(robust.nll)


class AdaptiveLossTest(chex.TestCase):
  def test_starts_where_it_is_told(self):
    loss = robust_losses.AdaptiveLoss((4,), alpha_init=0.5, scale_init=0.3)
    x = jax.random.normal(jax.random.key(0), (7, 4))
    _, alpha, scale, found = values_of(loss, x)
    np.testing.assert_allclose(alpha, [0.5] * 4, rtol=1e-6)
    np.testing.assert_allclose(scale, [0.3] * 4, rtol=1e-6)
    np.testing.assert_allclose(found, compiled_nll(x, 0.5, 0.3), rtol=1e-5)

  def test_equal_bounds_are_exact_constants(self):
    loss = robust_losses.AdaptiveLoss(
      (3,), alpha_low=2.0, alpha_high=2.0, scale_low=0.1, scale_init=0.1
    )
    x = jnp.ones((2, 3))
    variables, alpha, _, found = values_of(loss, x)
    self.assertEmpty(variables)
    np.testing.assert_array_equal(alpha, [2.0] * 3)
    np.testing.assert_allclose(found, compiled_nll(x, 2.0, 0.1), rtol=1e-6)

  def test_learns_the_shape_and_scale_of_its_data(self):
    key = jax.random.key(0)
    truth = jnp.array([0.5, 1.9]), jnp.array([0.3, 2.0])
    x = jit_once(robust.sample, static_argnums=3)(key, *truth, (4096, 2))
    loss = robust_losses.AdaptiveLoss((2,))
    params, *_ = values_of(loss, x)
    optimizer = optax.adam(0.05)

    @jax.jit
    def train(params):
      def step(carry, _):
        params, state = carry
        gradient = jax.grad(lambda params: jnp.mean(loss.apply(params, x)))(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

      return jax.lax.scan(step, (params, optimizer.init(params)), length=300)[0][0]

    params = train(params)
    alpha, scale = (loss.apply(params, method=m) for m in ("alpha", "scale"))
    np.testing.assert_allclose(alpha, truth[0], atol=0.15)
    np.testing.assert_allclose(scale, truth[1], rtol=0.1)

  @parameterized.parameters(
    ({"alpha_low": -1.0}, "alpha_low"),
    ({"alpha_init": 3.0}, "alpha_init=3.0"),
    ({"scale_low": 0.0}, "scale_low"),
    ({"scale_low": 2.0}, "scale_init"),
  )
  def test_wrong_bounds_are_refused(self, options, message):
    with self.assertRaisesRegex(ValueError, message):
      robust_losses.AdaptiveLoss((2,), **options).init(
        jax.random.key(0), jnp.zeros((1, 2))
      )

  def test_other_shapes_are_refused(self):
    with self.assertRaises(AssertionError):
      robust_losses.AdaptiveLoss((2,)).init(jax.random.key(0), jnp.zeros((1, 3)))


class ImageLossTest(chex.TestCase):
  @parameterized.parameters(*robust_losses.REPRESENTATIONS)
  def test_coefficients_hold_the_whole_image(self, representation):
    # A linear map without a null space: its matrix has volume near 1.
    basis = jnp.eye(4 * 6 * 3).reshape(-1, 4, 6, 3)
    matrix = robust_losses.to_coefficients(
      basis, "yuv", representation, levels=2
    ).reshape(72, 72)
    self.assertLess(abs(np.linalg.slogdet(np.asarray(matrix))[1]) / 72, 0.03)

  @parameterized.parameters(*robust_losses.RECONSTRUCTION_LOSSES)
  def test_every_named_loss_trains(self, name):
    for channels in (1, 3):
      loss = robust_losses.reconstruction_loss(name, (5, 4, channels))
      x = 0.1 * jax.random.normal(jax.random.key(0), (2, 5, 4, channels))

      @jax.jit
      def gradients(x, loss=loss):
        variables = loss.init(jax.random.key(1), x)
        total = lambda variables, x: jnp.sum(loss.apply(variables, x))  # noqa: E731
        return jax.grad(total, argnums=(0, 1))(variables, x)

      by_variables, by_x = gradients(x)
      chex.assert_tree_all_finite((by_variables, by_x))
      chex.assert_trees_all_equal_shapes(by_x, x)
      learns = name in ("adaptive", "adaptive_dct", "adaptive_pixels", "students_t")
      self.assertEqual(bool(jax.tree.leaves(by_variables)), learns)

  def test_unknown_names_are_refused(self):
    with self.assertRaisesRegex(ValueError, "'huber' is none of squared"):
      robust_losses.reconstruction_loss("huber", (8, 8, 3))
    with self.assertRaisesRegex(ValueError, "'lab' is none of"):
      robust_losses.to_coefficients(jnp.zeros((1, 8, 8, 3)), "lab")
    with self.assertRaisesRegex(ValueError, "'fft' is none of"):
      robust_losses.to_coefficients(jnp.zeros((1, 8, 8, 3)), "rgb", "fft")


if __name__ == "__main__":
  absltest.main()
