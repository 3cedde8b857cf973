"""Tests of the Birkhoff polytope's geometry."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import birkhoff, sinkhorn

RNG = np.random.default_rng(0)
project = jax.jit(birkhoff.project)
retract = jax.jit(birkhoff.retract, static_argnames="sweeps")
inner = jax.jit(birkhoff.inner)
riemannian_gradient = jax.jit(birkhoff.riemannian_gradient)


def doubly_stochastic(size, mixture=1.0, seed=0):
  """Returns float64 [size, size]: a permutation moved by `mixture` to another point."""
  rng = np.random.default_rng(seed)
  other = np.exp(1.5 * rng.normal(size=(size, size)))
  for _ in range(3000):
    other /= other.sum(1, keepdims=True)
    other /= other.sum(0)
  return (1 - mixture) * np.eye(size)[rng.permutation(size)] + mixture * other


def dense_projection(point, ambient):
  """Returns Theorem 2's projection by least squares on all 2n equations, float64."""
  size = len(point)
  system = np.block([[np.eye(size), point], [point.T, np.eye(size)]])
  right = np.concatenate([ambient.sum(1), ambient.sum(0)])
  solved = np.linalg.lstsq(system, right, rcond=1e-14)[0]
  return ambient - (solved[:size, None] + solved[size:]) * point


class ProjectionTest(chex.TestCase):
  @parameterized.parameters(1.0, 0.3, 1e-2, 1e-4, 1e-7)
  def test_is_least_squares_up_to_the_vertices_in_float32(self, mixture):
    point = doubly_stochastic(9, mixture)
    ambient = point * RNG.normal(size=(9, 9))
    expected = dense_projection(point, ambient)
    found = project(point.astype(np.float32), ambient.astype(np.float32))
    # What a retraction exponentiates, so that the smallest entries count as well.
    np.testing.assert_allclose(found / point, expected / point, atol=2e-3)

  @hypothesis.settings(max_examples=15, deadline=None)
  @hypothesis.given(st.integers(0, 2**32 - 1))
  def test_is_tangent_idempotent_and_orthogonal(self, seed):
    rng = np.random.default_rng(seed)
    point = np.asarray(doubly_stochastic(6, 0.8, seed), np.float32)
    ambient, other = rng.normal(size=(2, 6, 6)).astype(np.float32)
    tangent = project(point, ambient)
    np.testing.assert_allclose(tangent.sum(0), 0, atol=1e-4)
    np.testing.assert_allclose(tangent.sum(1), 0, atol=1e-4)
    np.testing.assert_allclose(project(point, tangent), tangent, atol=1e-4)
    rest = inner(point, ambient - tangent, project(point, other))
    self.assertLess(abs(float(rest)), 1e-3 * np.linalg.norm(ambient / np.sqrt(point)))

  def test_a_batch_of_vectors_shares_one_system(self):
    points = np.stack([doubly_stochastic(5, 1.0, seed) for seed in range(3)])
    points = points.astype(np.float32)
    vectors = RNG.normal(size=(4, 3, 5, 5)).astype(np.float32)
    project_all = jax.jit(lambda p, v: birkhoff.project_all(birkhoff.projector(p), v))
    found = project_all(points, vectors)
    for index in range(4):
      np.testing.assert_allclose(
        found[index], project(points, vectors[index]), atol=1e-6
      )

  def test_transport_is_the_plain_projection(self):
    point = np.asarray(doubly_stochastic(5, 1.0, 1), np.float32)
    to = np.asarray(doubly_stochastic(5, 1.0, 2), np.float32)
    vector = project(point, RNG.normal(size=(5, 5)).astype(np.float32))
    moved = jax.jit(birkhoff.transport)(point, to, vector)
    np.testing.assert_allclose(moved, dense_projection(to, vector), atol=1e-5)
    # geoopt's would multiply by the point.
    wrong = riemannian_gradient(to, vector)
    self.assertGreater(np.max(np.abs(moved - wrong)), 1e-2)

  def test_riemannian_gradient_is_the_steepest_direction(self):
    # <grad U, V>_X is the derivative of U along every tangent V.
    point = np.asarray(doubly_stochastic(6), np.float32)
    euclidean = RNG.normal(size=(6, 6)).astype(np.float32)
    found = riemannian_gradient(point, euclidean)
    for _ in range(3):
      tangent = project(point, point * RNG.normal(size=(6, 6)).astype(np.float32))
      derivative = np.sum(euclidean * tangent)
      self.assertAlmostEqual(
        float(inner(point, found, tangent)), float(derivative), places=4
      )


class RetractionTest(chex.TestCase):
  def test_is_first_order(self):
    with jax.enable_x64(True):
      point = jnp.asarray(doubly_stochastic(6))
      vector = project(point, point * RNG.normal(size=(6, 6)))
      errors = []
      for step in (1e-2, 5e-3):
        moved = retract(point, step * vector, sweeps=500, tolerance=1e-14)
        errors.append(np.max(np.abs(moved - point - step * vector)))
    self.assertLess(errors[0], 1e-3)
    # Halving the step quarters what is left of second order.
    self.assertAlmostEqual(errors[0] / errors[1], 4.0, delta=0.3)

  def test_zero_stays(self):
    point = np.asarray(doubly_stochastic(6), np.float32)
    np.testing.assert_allclose(retract(point, 0 * point), point, atol=1e-6)

  @hypothesis.settings(max_examples=20, deadline=None)
  @hypothesis.given(st.integers(0, 2**32 - 1), st.floats(0.01, 4.0))
  def test_ends_feasible_and_inside(self, seed, change):
    point = np.asarray(doubly_stochastic(6, 0.5, seed), np.float32)
    rng = np.random.default_rng(seed)
    vector = project(point, point * rng.normal(size=(6, 6)).astype(np.float32))
    vector = vector * (change / np.max(np.abs(vector / point)))
    moved = retract(point, vector)
    self.assertLess(float(birkhoff.infeasibility(moved)), 1e-3)
    self.assertGreaterEqual(float(moved.min()), birkhoff.LEAST * 0.99)

  @parameterized.parameters(1.0, 8.0)
  def test_is_the_same_in_the_logarithms(self, change):
    point = np.asarray(doubly_stochastic(6), np.float32)
    vector = change * point * RNG.uniform(-1, 1, (6, 6)).astype(np.float32)
    logits = jnp.log(point) + vector / point
    log_sinkhorn = jax.jit(sinkhorn.log_sinkhorn, static_argnames="sweeps")
    expected = np.exp(log_sinkhorn(logits, sweeps=400))
    moved = retract(point, vector, sweeps=400, tolerance=1e-6)
    np.testing.assert_allclose(moved, expected, atol=1e-4)

  def test_huge_changes_do_not_overflow(self):
    point = np.asarray(doubly_stochastic(6), np.float32)
    vector = 200 * point * RNG.normal(size=(6, 6)).astype(np.float32)
    moved = retract(point, vector)
    self.assertTrue(np.all(np.isfinite(moved)))
    self.assertGreaterEqual(float(moved.min()), 0)

  def test_infeasibility_sees_rows_and_columns(self):
    square = jnp.full((4, 4), 0.25)
    self.assertAlmostEqual(float(birkhoff.infeasibility(square)), 0.0, places=6)
    more = square.at[1, 2].add(0.1).at[0, 2].add(-0.1)
    self.assertAlmostEqual(float(birkhoff.infeasibility(more)), 0.1, places=6)
    self.assertAlmostEqual(float(birkhoff.infeasibility(more.T)), 0.1, places=6)


class PointTest(chex.TestCase):
  @parameterized.parameters(2, 5, 9)
  def test_permutations_lie_on_the_sphere_about_the_centre(self, size):
    matrix = np.eye(size)[RNG.permutation(size)]
    distance = np.linalg.norm(matrix - birkhoff.center(size))
    self.assertAlmostEqual(distance, np.sqrt(size - 1), places=5)

  def test_soften_and_random_points_are_doubly_stochastic(self):
    soft = jax.jit(birkhoff.soften)(jnp.eye(5)[jnp.array([2, 0, 1, 4, 3])], 0.3)
    self.assertLess(float(birkhoff.infeasibility(soft)), 1e-6)
    self.assertAlmostEqual(float(soft.min()), 0.06, places=6)
    draw = jax.jit(birkhoff.random_point, static_argnums=1)
    points = draw(jax.random.key(0), (3, 5, 5))
    self.assertLess(float(birkhoff.infeasibility(points).max()), 1e-4)
    self.assertGreater(float(points.min()), 0)


if __name__ == "__main__":
  absltest.main()
