"""Tests of rounding with surrogate gradients."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxvision.ops import rounding

GRID = np.linspace(-6.3, 6.4, 401, dtype=np.float32)


@jax.jit
def rounded_by_every_mode(value):
  return [function(value) for function in rounding.MODES.values()]


def derivative(function, values):
  return jax.jit(jax.vmap(jax.grad(function)))(jnp.asarray(values))


class RoundingTest(chex.TestCase):
  @parameterized.parameters("round", "soft", "soft-codebook")
  def test_exact_modes_return_the_nearest_integer(self, mode):
    rounded = jax.jit(rounding.MODES[mode])(GRID)
    np.testing.assert_array_equal(rounded, np.round(GRID))

  @parameterized.parameters("round", "soft")
  def test_ties_go_to_even(self, mode):
    ties = jnp.array([-1.5, -0.5, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(rounding.MODES[mode](ties), [-2, 0, 0, 2, 2])

  @chex.variants(with_jit=True, without_jit=True)
  def test_sin_is_the_closed_form(self):
    turns = 2 * np.pi * GRID.astype(np.float64)
    np.testing.assert_allclose(
      self.variant(rounding.sin)(GRID), GRID - np.sin(turns) / (2 * np.pi), atol=1e-6
    )
    for function in (rounding.sin, rounding.soft):
      np.testing.assert_allclose(
        self.variant(jax.vmap(jax.grad(function)))(GRID), 1 - np.cos(turns), atol=2e-6
      )

  @parameterized.parameters(1, 4, 7)
  def test_harmonic_is_the_fourier_series(self, terms):
    z = GRID.astype(np.float64)
    k = np.arange(1, terms + 1)[:, None]
    series = np.sum((-1.0) ** k * np.sin(2 * np.pi * k * z) / (np.pi * k), axis=0)
    np.testing.assert_allclose(rounding.harmonic(GRID, terms), z + series, atol=2e-6)

  def test_many_harmonics_approach_rounding(self):
    z = GRID[np.abs(GRID - np.floor(GRID) - 0.5) > 0.1]
    np.testing.assert_allclose(rounding.harmonic(z, 60), np.round(z), atol=0.02)

  def test_large_values_lose_no_digits(self):
    z = jnp.array([1000.25, -2000.75])
    np.testing.assert_allclose(
      rounding.harmonic(z, 1), [1000.25 - 1 / np.pi, -2000.75 - 1 / np.pi], rtol=2e-7
    )

  def test_gradients_of_exact_modes(self):
    np.testing.assert_array_equal(derivative(rounding.hard, GRID), np.zeros_like(GRID))
    np.testing.assert_array_equal(
      derivative(rounding.identity, GRID), np.ones_like(GRID)
    )

  @parameterized.parameters(rounding.sin, functools.partial(rounding.harmonic, terms=3))
  def test_derivatives_to_second_order_agree_with_finite_differences(self, function):
    with jax.enable_x64(True):
      check_grads(
        jax.jit(function), (GRID[::40].astype(np.float64),), order=2, eps=1e-5
      )

  def test_float32_sine_agrees_with_float64(self):
    z = np.random.default_rng(0).uniform(-50, 50, 5000).astype(np.float32)
    sin = jax.jit(rounding.sin)
    single = sin(z), derivative(rounding.sin, z)
    with jax.enable_x64(True):
      z = z.astype(np.float64)
      double = sin(z), derivative(rounding.sin, z)
    np.testing.assert_allclose(single[0], double[0], rtol=2e-7, atol=1e-7)
    np.testing.assert_allclose(single[1], double[1], atol=1e-6)

  @parameterized.parameters("sin", "soft")
  def test_gradient_vanishes_at_integers_and_is_two_at_halves(self, mode):
    points = jnp.array([-3.0, 0.0, 7.0, 0.5, -2.5])
    np.testing.assert_allclose(
      derivative(rounding.MODES[mode], points), [0, 0, 0, 2, 2], atol=1e-6
    )

  @parameterized.parameters(*rounding.MODES)
  def test_dtype_and_shape_are_kept(self, mode):
    for dtype in (jnp.float32, jnp.bfloat16):
      values = jax.ShapeDtypeStruct((2, 3), dtype)
      result = jax.eval_shape(rounding.MODES[mode], values)
      self.assertEqual((result.shape, result.dtype), ((2, 3), dtype))

  @parameterized.parameters(*rounding.MODES)
  def test_integers_are_refused(self, mode):
    with self.assertRaisesRegex(AssertionError, "type"):
      rounding.MODES[mode](jnp.arange(3))

  def test_no_terms_are_refused(self):
    with self.assertRaisesRegex(ValueError, "terms"):
      rounding.harmonic(GRID, 0)

  @settings(max_examples=100, deadline=None)
  @given(st.floats(-1e4, 1e4, width=32))
  def test_every_mode_stays_within_half_an_integer(self, value):
    for result in rounded_by_every_mode(jnp.float32(value)):
      self.assertLessEqual(abs(float(result) - value), 0.5 + 1e-3)


def authors_weights(values, codebook, degrees=50, sharpness=25):
  """The formula of the specification in float64, its eps included."""
  distance = sharpness * (values.astype(np.float64)[:, None] - codebook)
  weights = (1 + distance**2 / degrees) ** (-(degrees + 1) / 2) + 1e-72
  return weights / weights.sum(axis=1, keepdims=True)


class CodebookTest(chex.TestCase):
  codebook = np.arange(-7.0, 9.0)

  def test_weights_are_the_authors_formula(self):
    weights = rounding.codebook_weights(GRID, jnp.asarray(self.codebook, jnp.float32))
    np.testing.assert_allclose(
      weights, authors_weights(GRID, self.codebook), rtol=1e-4, atol=1e-30
    )

  def test_gradient_is_that_of_the_soft_assignment_to_all_codes(self):
    z = GRID.astype(np.float64)
    step = 1e-6
    expected = (
      authors_weights(z + step, self.codebook)
      - authors_weights(z - step, self.codebook)
    ) @ (self.codebook / (2 * step))
    function = functools.partial(rounding.soft_codebook, bits=4)
    np.testing.assert_allclose(derivative(function, GRID), expected, atol=2e-3)

  def test_values_beyond_the_codes_go_to_the_last_one_with_a_finite_gradient(self):
    z = jnp.array([-1e6, -30.0, -7.4, 8.4, 100.0])
    function = functools.partial(rounding.soft_codebook, bits=4)
    np.testing.assert_array_equal(function(z), [-7, -7, -7, 8, 8])
    chex.assert_tree_all_finite(derivative(function, z))

  def test_entropy_of_equal_shares_is_the_logarithm_of_the_codes(self):
    codes = jnp.arange(4.0)
    bits, histogram = rounding.entropy(jnp.tile(codes, 5), codes)
    np.testing.assert_allclose(bits, 2.0, rtol=1e-6)
    np.testing.assert_allclose(histogram, np.full(4, 0.25), rtol=1e-6)

  def test_entropy_of_one_code_is_zero_and_has_a_finite_gradient(self):
    @jax.jit
    @jax.value_and_grad
    def bits_and_gradient(values):
      return rounding.entropy(values, jnp.arange(4.0))[0]

    bits, gradient = bits_and_gradient(jnp.full((6,), 2.0))
    np.testing.assert_allclose(bits, 0.0, atol=1e-6)
    chex.assert_tree_all_finite(gradient)

  def test_entropy_gradient_agrees_with_finite_differences(self):
    with jax.enable_x64(True):
      values = np.linspace(0.05, 2.9, 7)

      @jax.jit
      def bits(values):
        return rounding.entropy(values, jnp.arange(4.0))[0]

      check_grads(bits, (values,), order=1, eps=1e-6)

  def test_no_bits_are_refused(self):
    with self.assertRaisesRegex(ValueError, "bits"):
      rounding.soft_codebook(GRID, bits=0)


if __name__ == "__main__":
  absltest.main()
