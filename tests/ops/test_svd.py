"""Tests of the polar projection, its two derivatives, and principal axes."""

import chex
import hypothesis
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxvision.ops import svd

FEW = hypothesis.settings(max_examples=20, deadline=None)
polar_projection = jax.jit(svd.polar_projection)
polar = jax.jit(svd.polar)
orthonormality_error = jax.jit(svd.orthonormality_error)


@jax.jit
def gradient(x, cotangent):
  return jax.vjp(svd.polar_projection, x)[1](cotangent)[0]


@jax.jit
def tangent_of(x, direction):
  return jax.jvp(svd.polar_projection, (x,), (direction,))[1]


def with_singular_values(values, rows=7, seed=0):
  """Returns U S V^T of random U and V in float64."""
  rng = np.random.default_rng(seed)
  u, _ = np.linalg.qr(rng.normal(size=(rows, len(values))))
  v, _ = np.linalg.qr(rng.normal(size=(len(values), len(values))))
  return u * np.asarray(values) @ v.T


def primitives_of(jaxpr):
  """Returns the names of all primitives, also of inner jaxprs."""
  names = []
  for equation in jaxpr.eqns:
    names.append(equation.primitive.name)
    for inner in jax.extend.core.jaxprs_in_params(equation.params):
      names += primitives_of(inner)
  return names


class PolarProjectionTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_scaled_and_mixed_orthonormal_columns_are_found_again(self):
    p = with_singular_values([1.0, 1.0, 1.0])
    mixing = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 4.0]])
    x = jnp.asarray(p @ mixing, jnp.float32)  # P H with H positive definite
    np.testing.assert_allclose(self.variant(svd.polar_projection)(x), p, atol=1e-6)

  @hypothesis.given(
    hnp.arrays(np.float32, (5, 3), elements=st.floats(-10, 10, width=32)),
  )
  @FEW
  def test_columns_are_orthonormal_and_none_are_closer(self, x):
    p = polar_projection(x)
    self.assertLess(float(orthonormality_error(p)), 1e-5)
    # <P, X> is the nuclear norm, the most that orthonormal columns can reach.
    nuclear = np.linalg.svd(x, compute_uv=False).sum()
    self.assertAlmostEqual(float(jnp.vdot(p, x)), nuclear, delta=1e-4 * (1 + nuclear))

  @parameterized.parameters(
    ([3.0, 2.0, 0.5],), ([1.0, 1.0, 1.0],), ([2.0, 2.0, 1e-2],), ([0.7],)
  )
  def test_derivatives_agree_with_finite_differences(self, values):
    with jax.enable_x64(True):
      x = jnp.asarray(with_singular_values(values))
      rng = np.random.default_rng(1)
      direction, cotangent = jnp.asarray(rng.normal(size=(2, *x.shape)))
      step = 1e-5
      ahead, behind = (polar_projection(x + s * direction) for s in (step, -step))
      expected = (np.asarray(ahead) - np.asarray(behind)) / (2 * step)
      tangent = tangent_of(x, direction)
      scale = np.max(np.abs(expected))
      np.testing.assert_allclose(tangent, expected, atol=1e-5 * scale)
      # Reverse mode is the transpose.
      np.testing.assert_allclose(
        np.vdot(gradient(x, cotangent), direction),
        np.vdot(cotangent, tangent),
        rtol=1e-9,
      )

  def test_at_orthonormal_columns_the_gradient_is_the_tangent_projection(self):
    p = jnp.asarray(with_singular_values([1.0] * 4), jnp.float32)
    cotangent = jax.random.normal(jax.random.key(0), p.shape)
    inner = p.T @ cotangent
    expected = cotangent - p @ (inner + inner.T) / 2
    np.testing.assert_allclose(gradient(p, cotangent), expected, atol=1e-5)

  def test_gradient_is_at_right_angles_to_the_matrix_and_falls_with_its_size(self):
    x = jax.random.normal(jax.random.key(0), (9, 4))
    cotangent = jax.random.normal(jax.random.key(1), x.shape)
    found = gradient(x, cotangent)
    self.assertLess(abs(float(jnp.vdot(found, x))), 1e-4)
    np.testing.assert_allclose(gradient(10 * x, cotangent), found / 10, atol=1e-6)
    np.testing.assert_allclose(polar_projection(10 * x), polar_projection(x), atol=1e-6)

  def test_gradient_does_not_depend_on_the_choice_of_singular_vectors(self):
    # Turning rows or columns turns projection and gradient, though LAPACK then
    # chooses other vectors in the space of the repeated values.
    x = jnp.asarray(with_singular_values([2.0, 2.0, 1.0, 1.0]), jnp.float32)
    cotangent = jax.random.normal(jax.random.key(1), x.shape)
    found = gradient(x, cotangent)
    for seed in range(3):
      left = jnp.asarray(with_singular_values([1.0] * 7, 7, seed), jnp.float32)
      right = jnp.asarray(with_singular_values([1.0] * 4, 4, seed), jnp.float32)
      turned = gradient(left @ x @ right, left @ cotangent @ right)
      np.testing.assert_allclose(turned, left @ found @ right, atol=2e-5)

  def test_backward_pass_calls_no_svd_and_forward_one(self):
    x = jnp.ones((6, 3))
    forward = jax.make_jaxpr(lambda x: jax.vjp(svd.polar_projection, x)[0])(x)
    self.assertEqual(primitives_of(forward.jaxpr).count("svd"), 1)
    _, pull_back = jax.vjp(svd.polar_projection, x)
    backward = primitives_of(jax.make_jaxpr(pull_back)(x).jaxpr)
    self.assertNotIn("svd", backward)
    self.assertIn("dot_general", backward)

  def test_batches_are_projected_one_by_one(self):
    stack = jax.random.normal(jax.random.key(0), (2, 3, 6, 4))
    one_by_one = jnp.stack(
      [jnp.stack([polar_projection(x) for x in row]) for row in stack]
    )
    np.testing.assert_allclose(polar_projection(stack), one_by_one, atol=1e-6)
    mapped = jax.jit(jax.vmap(jax.vmap(svd.polar_projection)))(stack)
    np.testing.assert_allclose(mapped, one_by_one, atol=1e-6)
    cotangents = jax.random.normal(jax.random.key(1), stack.shape)
    np.testing.assert_allclose(
      gradient(stack, cotangents)[1, 2],
      gradient(stack[1, 2], cotangents[1, 2]),
      atol=1e-5,
    )

  def test_wide_empty_and_integer_matrices_are_refused_by_name(self):
    for function in (svd.polar_projection, svd.polar, svd.orthonormality_error):
      with self.assertRaisesRegex(ValueError, r"x must be .* M >= R >= 1"):
        function(jnp.ones((3, 4)))
      with self.assertRaisesRegex(ValueError, "x must be"):
        function(jnp.ones((3, 0)))
      with self.assertRaisesRegex(ValueError, "x must be"):
        function(jnp.ones(3))
      with self.assertRaises(AssertionError):
        function(jnp.ones((4, 3), int))


class BadMatricesTest(parameterized.TestCase):
  @hypothesis.given(
    st.integers(0, 2), st.floats(0, 1e3, width=32), st.integers(0, 1000)
  )
  @FEW
  def test_rank_deficient_matrices_are_flagged_and_all_stays_finite(
    self, rank, size, seed
  ):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(5, rank)), rng.normal(size=(rank, 3))
    x = np.float32(size) * (factors[0] @ factors[1]).astype(np.float32)
    found = polar(x)
    self.assertFalse(bool(found.is_determined))
    self.assertLess(float(orthonormality_error(found.projection)), 1e-5)
    chex.assert_tree_all_finite((found, gradient(x, jnp.ones((5, 3)))))

  @hypothesis.given(
    hnp.arrays(np.float32, (4, 2), elements=st.floats(-1, 1, width=32)),
    st.integers(0, 7),
    st.sampled_from([np.nan, np.inf, -np.inf]),
  )
  @FEW
  def test_matrices_that_are_not_finite_are_flagged(self, x, where, value):
    x.flat[where] = value
    found = polar(x)
    self.assertFalse(bool(found.is_determined))
    self.assertLess(float(orthonormality_error(found.projection)), 1e-6)
    np.testing.assert_array_equal(found.singular_values, [0.0, 0.0])
    self.assertTrue(np.isnan(polar_projection(np.full((4, 2), np.nan))).all())

  def test_good_matrices_are_not_flagged(self):
    stack = jnp.stack([jnp.eye(4, 2), jnp.zeros((4, 2)), jnp.full((4, 2), jnp.nan)])
    found = polar(stack)
    np.testing.assert_array_equal(found.is_determined, [True, False, False])
    np.testing.assert_allclose(found.singular_values[0], [1.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(found.projection[0], np.eye(4, 2), atol=1e-6)


class OrthonormalTest(absltest.TestCase):
  def test_random_columns_are_orthonormal_and_favour_no_sign(self):
    keys = jax.random.split(jax.random.key(0), 400)
    draw = jax.jit(jax.vmap(lambda key: svd.random_orthonormal(key, 5, 3)))
    stack = draw(keys)
    self.assertLess(float(jnp.max(orthonormality_error(stack))), 1e-5)
    # Each entry has variance 1 / 5, so that a mean of 400 is within 0.1 of 0.
    self.assertLess(float(jnp.max(jnp.abs(jnp.mean(stack, axis=0)))), 0.1)
    self.assertNotEqual(float(stack[0, 0, 0]), float(stack[1, 0, 0]))

  def test_more_columns_than_rows_are_refused(self):
    with self.assertRaisesRegex(ValueError, "4 orthonormal columns .* 3 rows"):
      svd.random_orthonormal(jax.random.key(0), 3, 4)

  def test_error_is_the_largest_deviation_from_the_identity(self):
    p = jnp.eye(3, 2).at[0, 0].set(2.0)
    self.assertAlmostEqual(float(orthonormality_error(p)), 3.0)

  def test_principal_axes_carry_the_variances_in_order(self):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    samples = rng.normal(size=(4000, 3)) * [1.0, 5.0, 2.0] @ turn.T + 7.0
    samples = jnp.asarray(samples, jnp.float32)
    covariance = svd.covariance(samples)
    np.testing.assert_allclose(
      covariance, np.cov(np.asarray(samples).T, bias=True), rtol=1e-3, atol=1e-3
    )
    axes, variances = svd.principal_axes(covariance, 2)
    np.testing.assert_allclose(variances, [25.0, 4.0], rtol=0.1)
    # Eigenvectors have no sign.
    aligned = np.abs(np.asarray(axes).T @ turn[:, [1, 2]])
    np.testing.assert_allclose(aligned, np.eye(2), atol=0.05)
    with self.assertRaises(AssertionError):
      svd.principal_axes(covariance, 4)


if __name__ == "__main__":
  absltest.main()
