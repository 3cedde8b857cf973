"""Tests of permutation synchronization: energy, solver, sampler, baselines."""

import dataclasses

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.errors import UserError
from jaxvision.ops import birkhoff
from jaxvision.papers.permutation_sync import (
  Problem,
  SamplerConfig,
  SolverConfig,
  check,
  comparison,
  data,
  langevin,
  match_als,
  match_lift,
  metrics,
  solver,
  spectral,
  synchronize,
  uncertainty,
)
from jaxvision.papers.permutation_sync import problem as problems

N, SIZE = 8, 8
EDGES = data.complete_graph(N)
CONFIG = SolverConfig(iterations=80, memory=5)
SAMPLING = SamplerConfig(samples=20)


def swapped(rate=0.2, seed=0, edges=EDGES):
  rng = np.random.default_rng(seed)
  return data.swap_problem(rng, edges, N, SIZE, rate)


def random_points(seed=0):
  return comparison.random_points(seed, 1, N, SIZE)[0]


@jax.jit
def minimize(points, problem, memory, grows):
  return solver.minimize(points, problem, CONFIG, memory, grows)


riemannian_gradient = jax.jit(birkhoff.riemannian_gradient)
energy = jax.jit(problems.energy)
gradient_of = jax.jit(problems.gradient)
energy_and_gradient = jax.jit(problems.energy_and_gradient)
tangent_step = jax.jit(langevin.tangent_step, static_argnums=3)
recall = jax.jit(metrics.recall)


@jax.jit
def _absolute_maps(problem):
  return spectral.absolute_maps(problem, N)


@jax.jit
def round_and_relate(points):
  return problems.relative(metrics.round_maps(points), EDGES)


class EnergyTest(chex.TestCase):
  def test_is_the_soft_hamming_distance_at_permutations(self):
    problem, truth = swapped(0.4)
    differing = 2 * np.sum(
      np.argmax(problem.matches, 2) != np.argmax(data.true_maps(truth, EDGES), 2)
    )
    self.assertGreater(differing, 0)
    self.assertAlmostEqual(float(energy(truth, problem)), differing, places=3)

  def test_gradient_is_autodiffs(self):
    problem, _ = swapped()
    points = random_points()
    expected = jax.jit(jax.grad(problems.energy))(points, problem)
    found = gradient_of(points, problem)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)

  @chex.variants(with_jit=True, without_jit=True)
  def test_half_the_products_give_the_same(self):
    problem, _ = swapped()
    points = random_points()
    value, found = self.variant(problems.energy_and_gradient)(points, problem)
    self.assertAlmostEqual(float(value), float(energy(points, problem)), 3)
    expected = gradient_of(points, problem)
    np.testing.assert_allclose(found, expected, atol=1e-4)

  def test_both_directions_double_it(self):
    problem, _ = swapped()
    both = Problem(
      np.concatenate([problem.edges, problem.edges[:, ::-1]]),
      np.concatenate([problem.matches, problem.matches.swapaxes(1, 2)]),
    )
    points = random_points()
    one, two = (energy_and_gradient(points, p) for p in (problem, both))
    np.testing.assert_allclose(two[0], 2 * one[0], rtol=1e-5)
    np.testing.assert_allclose(two[1], 2 * one[1], rtol=1e-4, atol=1e-4)


class CheckTest(parameterized.TestCase):
  def test_takes_what_is_right(self):
    problem, _ = swapped()
    checked = check(problem.edges.tolist(), problem.matches.tolist())
    np.testing.assert_array_equal(checked.matches, problem.matches)
    self.assertEqual(checked.edges.dtype, np.int32)

  @parameterized.parameters(
    ("edges", lambda e, m: (e[:, :1], m), r"\[M, 2\]"),
    ("square", lambda e, m: (e, m[:, :, :-1]), r"\[M, n, n\]"),
    ("rank", lambda e, m: (e, m[0]), r"\[M, n, n\]"),
    ("count", lambda e, m: (e[1:], m), "27 edges, but 28 matches"),
    ("empty", lambda e, m: (e[:0], m[:0]), "no matches"),
    ("loop", lambda e, m: (e * 0 + 3, m), "image 3 with itself"),
    ("negative", lambda e, m: (e - 1, m), "from 0"),
    ("fraction", lambda e, m: (e + 0.5, m), "whole numbers"),
    ("text", lambda e, m: (e, m.astype(str)), "numbers"),
    ("minus", lambda e, m: (e, m - 0.5), "negative"),
    ("several", lambda e, m: (e, 2 * m), "more than once"),
  )
  def test_refuses(self, _, change, message):
    problem, _ = swapped()
    edges, matches = change(problem.edges, problem.matches)
    with self.assertRaisesRegex(UserError, message):
      check(edges, matches, "mine.npz")

  @hypothesis.settings(max_examples=20, deadline=None)
  @hypothesis.given(
    st.integers(0, len(EDGES) - 1), st.integers(0, SIZE - 1), st.sampled_from("pn")
  )
  def test_names_the_edge_of_a_partial_match_or_nan(self, edge, row, kind):
    problem, _ = swapped()
    matches = problem.matches.copy()
    matches[edge, row] = np.nan if kind == "n" else 0
    message = "NaN" if kind == "n" else "is partial"
    with self.assertRaisesRegex(UserError, f"mine: edge {edge} .*{message}"):
      check(problem.edges, matches, "mine")


class SolverTest(chex.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_consistent_input_is_recovered_from_random_starts(self, seed):
    problem, truth = swapped(0.0, seed)
    found = minimize(random_points(seed), problem, 5, True)
    np.testing.assert_array_equal(
      round_and_relate(found.points), np.round(data.true_maps(truth, EDGES))
    )
    self.assertLess(float(found.energy), 1e-2)
    self.assertTrue(bool(found.converged))

  def test_energy_never_rises_and_sums_stay_one(self):
    for seed in range(3):
      problem, _ = swapped(0.4, seed)
      for memory in (5, 0):
        found = minimize(random_points(seed), problem, memory, True)
        steps = np.diff(np.asarray(found.energies))
        self.assertLessEqual(steps.max(), 0)
        self.assertLess(steps.min(), -1)
        self.assertLess(float(found.infeasibility), 1e-3)
        self.assertAlmostEqual(
          float(found.energy), float(energy(found.points, problem)), places=2
        )

  def test_ends_where_the_gradient_vanishes(self):
    problem, _ = swapped(0.25, 1)
    start = random_points()
    found = minimize(start, problem, 5, True)
    norms = []
    for points in (start, found.points):
      gradient = riemannian_gradient(points, gradient_of(points, problem))
      norms.append(float(jnp.sum(birkhoff.inner(points, gradient, gradient))) ** 0.5)
    self.assertLess(norms[1], 0.1 * norms[0])

  def test_is_better_than_matcheig_on_swaps(self):
    gains, over_input = [], []
    for seed in range(4):
      problem, truth = swapped(0.13, seed)
      maps = data.true_maps(truth, EDGES)
      start = birkhoff.soften(_absolute_maps(problem))
      found = minimize(start, problem, 5, True)
      ours = recall(round_and_relate(found.points), maps)
      gains.append(ours - recall(_baselines(problem)["MatchEIG"], maps))
      over_input.append(ours - recall(problem.matches, maps))
    self.assertGreaterEqual(np.mean(gains), 0.0)
    self.assertGreater(np.mean(over_input), 0.2)

  def test_solve_vmaps_whole(self):
    some = comparison.swap_set((0, 1), N, SIZE, 0.13)
    found = jax.jit(jax.vmap(lambda p: solver.solve(p, N, CONFIG)))(some.problems)
    np.testing.assert_array_equal(found.components, [1, 1])
    for index in range(2):
      problem = jax.tree.map(lambda a, index=index: a[index], some.problems)
      start = birkhoff.soften(_absolute_maps(problem))
      alone = minimize(start, problem, 5, True)
      self.assertAlmostEqual(
        float(alone.energy), float(found.energy[index]), delta=0.01 * alone.energy
      )
      np.testing.assert_array_equal(
        found.permutations[index], metrics.round_maps(found.points[index])
      )

  def test_recall_does_not_depend_on_the_gauge(self):
    problem, truth = swapped(0.3)
    turn = data.random_permutations(np.random.default_rng(3), 1, SIZE)[0]
    maps = data.true_maps(truth, EDGES)
    one = metrics.recall(problems.relative(truth, EDGES), maps)
    other = metrics.recall(problems.relative(truth @ turn, EDGES), maps)
    self.assertEqual(float(one), 1.0)
    self.assertEqual(float(other), 1.0)
    self.assertAlmostEqual(
      float(energy(truth, problem)),
      float(energy(truth @ turn, problem)),
    )

  def test_nan_ends_at_once(self):
    problem, _ = swapped()
    matches = problem.matches.copy()
    matches[0, 0, 0] = np.nan
    found = minimize(random_points(), problem._replace(matches=matches), 5, True)
    self.assertEqual(int(found.iterations), 0)
    self.assertFalse(bool(found.converged))
    self.assertTrue(np.all(np.isfinite(found.points)))

  def test_wrong_shapes_are_named(self):
    problem, _ = swapped()
    with self.assertRaises(AssertionError):
      solver.minimize(jnp.ones((N, SIZE, SIZE + 1)), problem)
    with self.assertRaises(AssertionError):
      solver.minimize(random_points(), problem._replace(edges=problem.edges[:, :1]))


class SamplerTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.problem, _ = swapped(0.3)
    self.points = random_points()
    self.gradient = gradient_of(self.points, self.problem)

  @parameterized.parameters("scaled", "literal", "exact")
  def test_without_noise_it_is_a_riemannian_gradient_step(self, noise):
    config = SamplerConfig(step=1e-2, noise=noise, clip=None)
    zero = jnp.zeros_like(self.points)
    vector = tangent_step(self.points, self.gradient, zero, config)
    expected = -1e-2 * riemannian_gradient(self.points, self.gradient)
    np.testing.assert_allclose(vector, expected, atol=1e-6)
    moved = jax.jit(langevin.move, static_argnums=2)(self.points, vector, config)
    retracted = jax.jit(birkhoff.retract)(self.points, expected)
    np.testing.assert_allclose(moved, retracted, atol=1e-5)
    self.assertLess(
      float(energy(moved, self.problem)),
      float(energy(self.points, self.problem)),
    )

  def test_exact_noise_has_the_metrics_unit_variance(self):
    # In an orthonormal frame of the tangent space, (n - 1)² directions a matrix.
    config = SamplerConfig(step=0.5, beta=1.0, noise="exact", clip=None)

    @jax.jit
    @jax.vmap
    def square(noise):
      vector = langevin.tangent_step(self.points, 0 * noise, noise, config)
      return birkhoff.inner(self.points, vector, vector)

    rng = np.random.default_rng(0)
    squares = square(rng.normal(size=(400, *self.points.shape)).astype(np.float32))
    self.assertAlmostEqual(float(squares.mean()) / (SIZE - 1) ** 2, 1.0, delta=0.03)

  def test_clip_bounds_the_change(self):
    config = SamplerConfig(step=10.0, clip=3.0)
    vector = tangent_step(self.points, self.gradient, self.gradient, config)
    self.assertLessEqual(float(jnp.max(jnp.abs(vector) / self.points)), 3.0001)

  def test_unknown_noise_is_refused(self):
    config = dataclasses.replace(SAMPLING, noise="white")
    with self.assertRaisesRegex(ValueError, "white"):
      langevin.tangent_step(self.points, self.gradient, self.gradient, config)

  def test_chain_gives_certainty_energies_and_samples(self):
    found = jax.jit(
      lambda key: langevin.sample(key, self.points, self.problem, SAMPLING, thin=1)
    )(jax.random.key(0))
    self.assertEqual(found.points.shape, (20, *self.points.shape))
    np.testing.assert_allclose(found.certainty.sum(2), 1, atol=1e-3)
    expected = jax.jit(uncertainty.certainty)(found.points, self.problem.edges)
    np.testing.assert_allclose(found.certainty, expected, atol=1e-5)
    np.testing.assert_array_equal(found.points[-1], found.last)
    self.assertAlmostEqual(
      float(found.energies[-1]), float(energy(found.last, self.problem)), 2
    )
    self.assertGreater(float(jnp.std(found.points, axis=0).max()), 1e-4)

  def test_colder_chains_have_lower_energy(self):
    start = minimize(self.points, self.problem, 5, True).points

    @jax.jit
    def mean(beta):
      config = SamplerConfig(samples=150, burn_in=50, step=1e-3, beta=beta)
      found = langevin.sample(jax.random.key(1), start, self.problem, config)
      return jnp.mean(found.energies)

    energies = [float(mean(beta)) for beta in (0.05, 0.2, 1.0, 10.0)]
    self.assertEqual(energies, sorted(energies, reverse=True))
    self.assertGreater(energies[0], energies[-1] + 1)


class UncertaintyTest(chex.TestCase):
  def test_top_k_begins_with_the_match_and_goes_on_by_certainty(self):
    certainty = jnp.array([[[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.4, 0.5, 0.1]]])
    maps = jnp.array([[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    np.testing.assert_array_equal(
      uncertainty.top_k(certainty, maps, 2), [[[1, 2], [0, 1], [2, 1]]]
    )
    np.testing.assert_allclose(
      uncertainty.match_certainty(certainty, maps), [[0.2, 0.5, 0.1]]
    )
    with self.assertRaises(ValueError):
      uncertainty.top_k(certainty, maps, 4)

  def test_random_k_is_uniform_over_the_others(self):
    maps = jnp.tile(jnp.eye(4), (3000, 1, 1))
    draw = jax.jit(uncertainty.random_k, static_argnums=2)
    chosen = draw(jax.random.key(0), maps, 2)
    np.testing.assert_array_equal(chosen[..., 0], np.tile(np.arange(4), (3000, 1)))
    counts = np.bincount(np.asarray(chosen[:, 0, 1]), minlength=4) / 3000
    np.testing.assert_allclose(counts, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.03)

  def test_entropy_is_zero_for_one_and_one_for_all(self):
    rows = jnp.array([[[1.0, 0.0], [0.5, 0.5]]])
    np.testing.assert_allclose(uncertainty.entropy(rows), [[0, 1]], atol=1e-5)
    np.testing.assert_array_equal(uncertainty.entropy(jnp.ones((1, 1, 1))), [[0]])

  def test_choice_recall_counts_any_candidate(self):
    truth = jnp.eye(3)[None]
    choices = jnp.array([[[0, 1], [2, 1], [0, 1]]])
    self.assertAlmostEqual(float(metrics.choice_recall(choices, truth)), 2 / 3, 6)

  def test_ranking_is_the_area_under_the_curve(self):
    certainty = np.array([0.9, 0.8, 0.4, 0.4])
    self.assertEqual(comparison.ranking(certainty, np.array([1, 1, 0, 0])), 1.0)
    self.assertEqual(comparison.ranking(certainty, np.array([0, 1, 1, 0])), 0.375)
    self.assertTrue(np.isnan(comparison.ranking(certainty, np.ones(4))))


class MetricsTest(chex.TestCase):
  def test_truth_is_consistent_and_swaps_are_not(self):
    problem, truth = swapped(0.4)
    maps = data.true_maps(truth, EDGES)
    self.assertEqual(float(metrics.cycle_consistency(maps, EDGES)), 1.0)
    self.assertLess(float(metrics.cycle_consistency(problem.matches, EDGES)), 0.8)

  def test_directions_of_edges_do_not_matter(self):
    problem, _ = swapped(0.4)
    turned = np.arange(len(EDGES)) % 2 == 0
    edges = np.where(turned[:, None], EDGES[:, ::-1], EDGES)
    flipped = problem.matches.swapaxes(1, 2)
    matches = np.where(turned[:, None, None], flipped, problem.matches)
    self.assertAlmostEqual(
      float(metrics.cycle_consistency(matches, edges)),
      float(metrics.cycle_consistency(problem.matches, EDGES)),
    )

  def test_a_known_triangle(self):
    identity, swap = np.eye(3), np.eye(3)[[1, 0, 2]]
    edges = np.array([[0, 1], [1, 2], [0, 2]])
    maps = np.stack([identity, identity, swap])
    self.assertAlmostEqual(float(metrics.cycle_consistency(maps, edges)), 1 / 3, 6)
    without = metrics.cycle_consistency(maps[:2], edges[:2])
    self.assertTrue(np.isnan(without))


class BaselinesTest(chex.TestCase):
  @parameterized.parameters("spectral", "MatchEIG", "MatchALS", "MatchLIFT")
  def test_consistent_input_comes_back(self, method):
    problem, truth = swapped(0.0)
    maps = _baselines(problem)[method]
    np.testing.assert_array_equal(maps, np.round(data.true_maps(truth, EDGES)))

  @parameterized.parameters("spectral", "MatchEIG", "MatchALS", "MatchLIFT")
  def test_noise_is_reduced(self, method):
    gains = []
    for seed in range(3):
      problem, truth = swapped(0.13, seed)
      maps = data.true_maps(truth, EDGES)
      found = recall(_baselines(problem)[method], maps)
      gains.append(float(found - recall(problem.matches, maps)))
    self.assertGreater(np.mean(gains), 0.05)

  def test_soft_maps_are_between_zero_and_one(self):
    problem, _ = swapped(0.3)
    for soft in (
      jax.jit(lambda p: match_als.match_als(p, N, iterations=5))(problem),
      jax.jit(lambda p: match_lift.match_lift(p, N, iterations=5))(problem),
    ):
      self.assertGreaterEqual(float(soft.min()), 0)
      self.assertLessEqual(float(soft.max()), 1)

  def test_iterated_eigenvectors_span_those_of_the_dense_matrix(self):
    problem, _ = swapped(0.2)
    values, vectors = spectral._iterate(problem, N)
    values, vectors = values[-SIZE:], vectors[..., -SIZE:].reshape(-1, SIZE)
    dense = np.linalg.eigh(np.asarray(spectral.block_matrix(problem, N)))
    np.testing.assert_allclose(values, dense[0][-SIZE:], rtol=2e-3)
    overlap = np.linalg.svd(dense[1][:, -SIZE:].T @ np.asarray(vectors))[1]
    self.assertGreater(overlap.min(), 0.98)

  def test_block_matrix_is_symmetric_with_identities(self):
    problem, _ = swapped(0.3)
    matrix = np.asarray(spectral.block_matrix(problem, N))
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(matrix[:SIZE, :SIZE], np.eye(SIZE))
    np.testing.assert_array_equal(matrix[:SIZE, SIZE : 2 * SIZE], problem.matches[0])


@jax.jit
def _baselines(problem):
  budget = comparison.Budget(als_iterations=100, lift_iterations=60)
  batched = jax.tree.map(lambda array: jnp.asarray(array)[None], problem)
  found = comparison.baselines(batched, N, budget)
  return {name: maps[0] for name, maps in found.items()}


class SynchronizeTest(absltest.TestCase):
  def test_parts_are_solved_apart_and_flagged(self):
    # Images 0, 2, 4 and images 1, 5, 6; 3 has no edge.
    edges = np.array([[0, 2], [2, 4], [0, 4], [1, 5], [5, 6], [1, 6]])
    rng = np.random.default_rng(0)
    truth = data.random_permutations(rng, 7, SIZE)
    maps = np.asarray(data.true_maps(truth, edges))
    found = synchronize(check(edges, maps), CONFIG, SAMPLING)
    np.testing.assert_array_equal(found.components, [0, 1, 0, 2, 0, 1, 1])
    np.testing.assert_array_equal(found.maps, np.round(maps))
    np.testing.assert_array_equal(found.permutations[[0, 1, 3]], [np.eye(SIZE)] * 3)
    for (i, j), one in zip(edges, maps, strict=True):
      product = found.permutations[i] @ found.permutations[j].T
      np.testing.assert_array_equal(product, np.round(one))
    np.testing.assert_allclose(found.certainty.sum(2), 1, atol=1e-3)
    self.assertEqual(found.candidates.shape, (6, SIZE, 3))
    self.assertTrue(found.converged)


if __name__ == "__main__":
  absltest.main()
