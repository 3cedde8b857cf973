"""Tests of Sinkhorn's scaling."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import strategies as st

from jaxvision.ops import sinkhorn

RNG = np.random.default_rng(0)


class LogSinkhornTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_two_by_two_has_a_closed_form(self):
    # Scaling keeps the cross ratio ad / bc = x² / (1 - x)² of [[x, 1 - x], [1 - x, x]].
    kernel = np.float32([[1.0, 2.0], [3.0, 24.0]])
    scaled = jnp.exp(self.variant(sinkhorn.log_sinkhorn)(jnp.log(kernel)))
    np.testing.assert_allclose(scaled, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], atol=1e-6)

  def test_given_sums_are_met(self):
    rows, columns = np.float32([0.2, 0.3, 0.5]), np.float32([0.7, 0.3])
    scaled = np.exp(
      sinkhorn.log_sinkhorn(
        RNG.normal(size=(4, 3, 2)).astype(np.float32),
        np.tile(np.log(rows), (4, 1)),
        np.tile(np.log(columns), (4, 1)),
        sweeps=200,
        tolerance=1e-6,
      )
    )
    np.testing.assert_allclose(scaled.sum(2), np.tile(rows, (4, 1)), rtol=1e-5)
    np.testing.assert_allclose(scaled.sum(1), np.tile(columns, (4, 1)), rtol=1e-5)

  def test_what_overflows_in_the_matrix_does_not_in_the_logarithms(self):
    logits = jnp.array([[500.0, 0.0], [0.0, -500.0]])
    scaled = sinkhorn.log_sinkhorn(logits)
    np.testing.assert_allclose(np.exp(scaled).sum(1), [1, 1], atol=1e-6)

  def test_forbidden_entries_stay_so_and_empty_rows_make_no_nan(self):
    logits = jnp.log(jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0]]))
    self.assertEqual(float(sinkhorn.log_sinkhorn(logits)[0, 1]), -np.inf)
    empty = logits.at[0].set(-jnp.inf)
    for tolerance in (None, 1e-4):
      scaled = sinkhorn.log_sinkhorn(empty, tolerance=tolerance)
      self.assertFalse(np.any(np.isnan(scaled)))

  def test_gradient_agrees_with_finite_differences(self):
    with jax.enable_x64(True):
      logits = jnp.asarray(RNG.normal(size=(3, 3)))
      function = jax.jit(lambda x: jnp.sum(jnp.exp(sinkhorn.log_sinkhorn(x))[0] ** 2))
      jax.test_util.check_grads(function, (logits,), order=1, modes=["rev"])


class BalanceTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_is_the_logarithms_exponential(self):
    matrices = RNG.uniform(0.05, 1, size=(3, 6, 6)).astype(np.float32)
    balanced = self.variant(sinkhorn.balance)(matrices)
    expected = np.exp(sinkhorn.log_sinkhorn(jnp.log(matrices)))
    np.testing.assert_allclose(balanced, expected, rtol=1e-4)

  @hypothesis.settings(max_examples=20, deadline=None)
  @hypothesis.given(st.integers(0, 2**32 - 1), st.floats(0.1, 4.0))
  def test_sums_are_one_and_cross_ratios_are_kept(self, seed, spread):
    logits = spread * np.random.default_rng(seed).normal(size=(2, 5, 5))
    matrices = np.exp(logits).astype(np.float32)
    balanced = np.asarray(_balance(matrices), np.float64)
    np.testing.assert_allclose(balanced.sum(2), 1, atol=1e-4)
    np.testing.assert_allclose(balanced.sum(1), 1, atol=1e-3)
    kept = np.log(balanced[:, 1:, 1:] * balanced[:, :1, :1])
    kept -= np.log(balanced[:, 1:, :1] * balanced[:, :1, 1:])
    expected = logits[:, 1:, 1:] + logits[:, :1, :1]
    expected -= logits[:, 1:, :1] + logits[:, :1, 1:]
    np.testing.assert_allclose(kept, expected, atol=1e-3)

  def test_a_batch_gives_what_each_matrix_alone_gives(self):
    easy = np.full((4, 4), 0.25, np.float32)
    hard = (np.eye(4) + 1e-3 * RNG.random((4, 4))).astype(np.float32)
    both = _balance(np.stack([easy, hard]))
    np.testing.assert_array_equal(both[0], _balance(easy[None])[0])
    np.testing.assert_array_equal(both[1], _balance(hard[None])[0])

  def test_the_tolerance_ends_the_sweeps(self):
    matrix = RNG.uniform(0.05, 1, size=(4, 4)).astype(np.float32)
    rough = sinkhorn.balance(matrix, tolerance=0.5)
    fine = sinkhorn.balance(matrix, tolerance=1e-6)
    self.assertGreater(np.max(np.abs(rough - fine)), 1e-3)

  def test_other_shapes_are_refused(self):
    with self.assertRaises(AssertionError):
      sinkhorn.balance(jnp.ones((2, 3)))


_balance = jax.jit(lambda matrices: sinkhorn.balance(matrices, sweeps=1000))


if __name__ == "__main__":
  absltest.main()
