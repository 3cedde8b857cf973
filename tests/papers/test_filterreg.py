"""Tests of FilterReg's E-step, rigid registration and baselines."""

import dataclasses
import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import permutohedral, rigid
from jaxvision.papers.filterreg import (
  baselines,
  correspondences,
  data,
  evaluation,
  registration,
)
from jaxvision.papers.filterreg.correspondences import Mixture
from jaxvision.papers.filterreg.registration import Settings
from jaxvision.train import jit_once

COUNT = 300
# Small clouds are sparse: σ must not become smaller than their points are apart.
SETTINGS = Settings(smallest_sigma=0.008, max_iterations=60)
DEGENERATE = dataclasses.replace(SETTINGS, max_iterations=4)


# Clouds of at most SIZE points, padded to it, are solved by one compiled function.
SIZE = COUNT + COUNT // 2
solve_exactly = jit_once(registration.solve, static_argnames="settings")
icp_exactly = jit_once(baselines.icp, static_argnames="max_iterations")
solve_by_features = jit_once(
  registration.solve_by_features, static_argnames="refinement"
)
coherent_point_drift = jit_once(
  baselines.coherent_point_drift, static_argnames="max_iterations"
)


def padded(rows):
  """Returns rows [N, K] with as many of NaN behind them as make it SIZE."""
  missing = np.full((SIZE - len(rows), rows.shape[1]), np.nan, np.float32)
  return np.concatenate([np.asarray(rows), missing])


def solve(model, observation, settings=SETTINGS, *, initial=None, **rows):
  """Returns what registration.solve does; its weights are of the model's own points."""
  found = solve_exactly(
    padded(model),
    padded(observation),
    settings=settings,
    initial=np.eye(4, dtype=np.float32) if initial is None else initial,
    **{name: padded(each) for name, each in rows.items()},
  )
  return found._replace(weights=found.weights[: len(model)])


def icp(model, observation, overlap=1.0, **rows):
  """Returns what baselines.icp does."""
  rows = {name: padded(each) for name, each in rows.items()}
  overlap = np.float32(overlap)
  return icp_exactly(padded(model), padded(observation), overlap=overlap, **rows)


@functools.cache
def trial(outliers=0.0, degrees=30.0, seed=0):
  make = functools.partial(
    data.rigid_trial, count=COUNT, outliers=outliers, degrees=degrees
  )
  return jax.tree.map(np.asarray, jit_once(make)(jax.random.key(seed)))


@functools.partial(jit_once, static_argnums=3)
def sums_at(features, values, queries, mixture):
  prepared = correspondences.prepare(features, values, mixture)
  return correspondences.sums(prepared, queries, mixture)


gaussian_filter = jit_once(permutohedral.gaussian_filter, static_argnames="blur")


@functools.cache
def normals():
  """Returns a cloud that is moved a little, with its normals."""
  points, directions = jit_once(data.sample_surface, static_argnums=1)(
    jax.random.key(5), COUNT
  )
  return np.asarray(points), np.asarray(directions)


def error_mm(found, problem):
  return 1e3 * float(
    registration.pose_error(found.transform, problem.truth, problem.surface)
  )


class CorrespondencesTest(chex.TestCase):
  def filtered(self, kernel="exact", sigma=0.03):
    problem, mixture = trial(), Mixture(kernel=kernel)
    values = correspondences.observed_values(problem.observation, None, mixture)
    return sums_at(problem.observation / sigma, values, problem.model / sigma, mixture)

  def test_sums_are_those_of_equation_6(self):
    problem, sigma = trial(), 0.03
    difference = problem.model[:, None] - problem.observation
    kernel = np.exp(-0.5 * np.sum(np.square(difference / sigma), axis=-1))
    found = correspondences.correspond(
      self.filtered(), jnp.float32(sigma), Mixture(), COUNT
    )
    mass = kernel.sum(axis=1)
    near = mass > 0.01
    np.testing.assert_allclose(found.mass[near], mass[near], rtol=1e-4)
    targets = kernel @ problem.observation / mass[:, None]
    np.testing.assert_allclose(found.targets[near], targets[near], atol=1e-5)
    np.testing.assert_allclose(
      found.weights[near], mass[near] / (mass[near] + 0.2), rtol=1e-4
    )
    np.testing.assert_array_equal(found.weights[~near], 0)

  @parameterized.parameters(("lattice", 0.46, 0.4), ("lattice_blur", None, 0.15))
  def test_lattice_is_about_the_exact_sum(self, kernel, scale, tolerance):
    exact, found = (np.asarray(self.filtered(k)) for k in ("exact", kernel))
    near = exact[:, 0] > 5
    ratio = found[near, 0] / exact[near, 0]
    if scale is not None:
      self.assertAlmostEqual(np.median(ratio), scale, delta=0.03)
    means = found[near, 1:4] / found[near, :1] - exact[near, 1:4] / exact[near, :1]
    distance = np.sqrt(np.mean(np.sum(means**2, axis=1))) / 0.03
    self.assertLess(distance, tolerance)

  def test_readings_of_the_outlier_constant(self):
    filtered, sigma = self.filtered(), 0.03
    mass = np.asarray(filtered[:, 0])
    for outliers, constant in (
      ("ratio", 0.25 * 2),
      ("normalised", 0.25 * 2 * (2 * np.pi * sigma**2) ** 1.5),
    ):
      mixture = Mixture(outliers=outliers, outlier_ratio=0.2)
      found = correspondences.correspond(
        filtered, jnp.float32(sigma), mixture, 2 * COUNT
      )
      np.testing.assert_allclose(found.weights, mass / (mass + constant), rtol=1e-4)

  def test_sigma_is_the_weighted_distance_and_stays_in_bounds(self):
    mixture, sigma = Mixture(kernel="exact"), jnp.float32(0.03)
    problem = trial()
    found = correspondences.correspond(self.filtered(), sigma, mixture, COUNT)
    kernel = np.exp(
      -0.5
      * np.sum(np.square(problem.model[:, None] - problem.observation), -1)
      / 0.03**2
    )
    share = kernel / kernel.sum(axis=1, keepdims=True)
    moved = problem.model + np.float32(0.01)
    distances = np.sum(np.square(moved[:, None] - problem.observation), -1)
    weights = np.asarray(found.weights)
    expected = np.sum(weights * np.sum(share * distances, 1)) / (3 * np.sum(weights))
    update = functools.partial(
      correspondences.updated_sigma, sigma, moved, found, mixture
    )
    self.assertAlmostEqual(float(update(0.0, 1.0)), np.sqrt(expected), places=5)
    self.assertEqual(update(1.0, 2.0), sigma)
    self.assertEqual(update(0.0, 1e-3), sigma)
    nothing = jax.tree.map(jnp.zeros_like, found._replace(normals=jnp.zeros(1)))
    self.assertEqual(
      correspondences.updated_sigma(sigma, moved, nothing, mixture, 0.0, 1.0), sigma
    )

  def test_the_filter_of_few_vertices_is_blurred(self):
    rng = np.random.default_rng(0)
    features = (0.1 * rng.normal(size=(1000, 3))).astype(np.float32)
    values = np.ones((1000, 1), np.float32)
    queries = features[:3]
    dense, blurred = (
      sums_at(features, values, queries, Mixture(kernel=kernel))
      for kernel in ("auto", "lattice_blur")
    )
    np.testing.assert_allclose(dense, blurred, rtol=1e-5)
    features, values = features[:100], values[:100]
    sparse = sums_at(features, values, queries, Mixture(kernel="auto"))
    silent = np.concatenate([np.zeros((3, 1), np.float32), values])
    expected = gaussian_filter(np.concatenate([queries, features]), silent, blur=False)
    np.testing.assert_allclose(sparse, expected[:3], rtol=1e-5)


class SolveTest(chex.TestCase):
  @parameterized.parameters(0.0, 0.5)
  def test_recovers_the_motion(self, outliers):
    problem = trial(outliers)
    found = solve(problem.model, problem.observation, SETTINGS)
    self.assertLess(error_mm(found, problem), 3.0)
    self.assertTrue(found.is_valid)
    rotation = np.asarray(found.transform)[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    surface, extra = np.split(np.asarray(found.weights), [COUNT])
    if outliers:
      self.assertGreater(np.mean(surface), 2 * np.mean(extra))

  def test_outliers_mislead_nearest_neighbours_more(self):
    problem = trial(0.5)
    ours = solve(problem.model, problem.observation, SETTINGS)
    theirs = icp(problem.model, problem.observation, overlap=0.9)
    self.assertLess(5 * error_mm(ours, problem), error_mm(theirs, problem))

  def test_far_from_the_origin_keeps_its_digits(self):
    problem, far = trial(), np.array([100.0, -50.0, 20.0], np.float32)
    near = solve(problem.model, problem.observation, SETTINGS)
    found = solve(
      problem.model,
      problem.observation + far,
      SETTINGS,
      initial=rigid.transform(jnp.eye(3), jnp.asarray(far)),
    )
    moved = rigid.apply(found.transform, problem.model) - far
    expected = rigid.apply(near.transform, problem.model)
    np.testing.assert_allclose(moved, expected, atol=2e-3)

  def test_many_pairs_in_one_call(self):
    problems = [trial(0.5), trial(0.5, seed=1)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *problems)
    every = jax.vmap(functools.partial(registration.solve, settings=SETTINGS))
    together = jit_once(every)(stacked.model, stacked.observation)
    for index, problem in enumerate(problems):
      alone = solve(problem.model, problem.observation)
      np.testing.assert_allclose(together.transform[index], alone.transform, atol=1e-4)
      self.assertEqual(together.iterations[index], alone.iterations)

  def test_rows_that_are_not_finite_do_not_count(self):
    problem = trial()
    model, observation = problem.model.copy(), problem.observation.copy()
    model[::7], observation[::5, 1] = np.nan, np.inf
    found = solve(model, observation, SETTINGS)
    self.assertLess(error_mm(found, problem), 3.0)
    np.testing.assert_array_equal(found.weights[::7], 0)
    # The same rows left out.
    kept = [cloud[np.isfinite(cloud).all(axis=1)] for cloud in (model, observation)]
    other = solve(*kept, SETTINGS)
    np.testing.assert_allclose(found.transform, other.transform, atol=1e-4)

  def test_planes_align_what_points_do_not(self):
    points, directions = normals()
    truth = rigid.exp_twist(jnp.array([0.1, -0.05, 0.08, 0.004, -0.003, 0.002]))
    model = np.asarray(rigid.apply(rigid.invert(truth), points))
    settings = Settings(
      objective="plane", sigma=0.008, update_sigma=False, max_iterations=15
    )
    found = solve(model, points, settings, normals=directions)
    self.assertLess(1e3 * registration.pose_error(found.transform, truth, model), 0.5)
    with self.assertRaisesRegex(ValueError, "normals"):
      solve(model, points, settings)

  def test_features_find_any_pose(self):
    problem = trial(degrees=170.0)
    inverse = rigid.invert(problem.truth)
    features = [
      data.descriptors(jax.random.key(3), cloud, 0.1)
      for cloud in (problem.model, rigid.apply(inverse, problem.observation))
    ]
    lost = solve(problem.model, problem.observation, SETTINGS)
    found = solve_by_features(
      problem.model, problem.observation, *features, refinement=None
    )
    self.assertGreater(error_mm(lost, problem), 20.0)
    self.assertLess(error_mm(found, problem), 8.0)
    refined = solve(
      problem.model,
      problem.observation,
      dataclasses.replace(SETTINGS, feature_sigma=0.5),
      model_features=features[0],
      observation_features=features[1],
      initial=found.transform,
    )
    self.assertLess(error_mm(refined, problem), 5.0)

  def test_settings_of_probreg_run(self):
    problem = trial()
    found = solve(problem.model, problem.observation, registration.PROBREG)
    self.assertLess(error_mm(found, problem), 10.0)
    self.assertGreaterEqual(float(found.sigma), 0.01)


class BadInputTest(chex.TestCase):
  @hypothesis.given(
    kind=st.sampled_from(["coincident", "line", "far apart", "one point", "random"]),
    scale=st.sampled_from([1e-20, 0.1, 1e6, 1e25]),
    nans=st.integers(0, 8),
    seed=st.integers(0, 1000),
  )
  @hypothesis.settings(max_examples=40, deadline=None)
  def test_no_nan_ever_leaves_a_solver(self, kind, scale, nans, seed):
    rng = np.random.default_rng(seed)
    model, observation = scale * rng.normal(size=(2, 8, 3))
    if kind == "coincident":
      model[:], observation[:] = model[0], observation[0]
    elif kind == "line":
      model[:, 1:] = 0
    elif kind == "far apart":
      observation += 1e3 * scale
    elif kind == "one point":
      model[1:], observation[1:] = np.nan, np.nan
    model[:nans] = np.nan
    observation[8 - nans :, 2] = np.inf
    clouds = model.astype(np.float32), observation.astype(np.float32)
    up = np.tile(np.array([0, 0, 1], np.float32), (8, 1))
    plane = dataclasses.replace(DEGENERATE, objective="plane")
    outcomes = [
      solve_exactly(*clouds, settings=DEGENERATE),
      solve_exactly(*clouds, settings=plane, normals=up),
      icp_exactly(*clouds, overlap=0.9, max_iterations=3),
      coherent_point_drift(*clouds, max_iterations=3),
    ]
    for found in outcomes:
      chex.assert_tree_all_finite(found)
      if kind in ("coincident", "one point", "line") or nans >= 6:
        self.assertFalse(found.is_valid)

  def test_nothing_near_keeps_the_pose(self):
    problem = trial()
    found = solve(problem.model, problem.observation + 50, SETTINGS)
    np.testing.assert_allclose(found.transform, np.eye(4), atol=1e-4)
    self.assertFalse(found.is_valid)
    np.testing.assert_array_equal(found.weights, 0)

  def test_empty_clouds_are_refused(self):
    points = jnp.zeros((4, 3))
    with self.assertRaisesRegex(ValueError, "model has no points"):
      registration.solve(points[:0], points)
    with self.assertRaisesRegex(ValueError, "observation has no points"):
      baselines.icp(points, points[:0])
    with self.assertRaises(AssertionError):
      registration.solve(points[:, :2], points)


class BaselinesTest(chex.TestCase):
  def test_clean_clouds_are_registered_by_all(self):
    problem = trial(degrees=10.0)
    points, directions = normals()
    for found in (
      icp(problem.model, problem.observation),
      icp(problem.model, problem.observation, overlap=0.9),
      coherent_point_drift(problem.model, problem.observation),
    ):
      self.assertLess(error_mm(found, problem), 4.0)
    truth = rigid.exp_twist(jnp.array([0.02, -0.03, 0.02, 0.002, 0.0, 0.001]))
    model = rigid.apply(rigid.invert(truth), points)
    found = icp(model, points, normals=directions)
    self.assertLess(1e3 * registration.pose_error(found.transform, truth, model), 0.5)

  def test_trimming_ignores_what_is_missing(self):
    points = normals()[0]
    truth = rigid.exp_twist(jnp.array([0.05, 0.02, -0.04, 0.001, 0.002, 0.0]))
    model = np.asarray(rigid.apply(rigid.invert(truth), points))
    kept = points[points[:, 2] < 0.02]
    share = len(kept) / len(points)
    errors = [
      float(registration.pose_error(icp(model, kept, overlap).transform, truth, model))
      for overlap in (share, 1.0)
    ]
    self.assertLess(3 * errors[0], errors[1])

  def test_drift_is_its_definition(self):
    problem = trial()
    clouds = registration.center_clouds(problem.model[:40], problem.observation[:150])
    variance = 1e-3
    drift = baselines.drift_expectation(clouds.model, clouds, variance, 0.3)
    model, observed = (np.asarray(c, np.float64) for c in clouds[:2])
    squares = np.sum((model[:, None] - observed) ** 2, axis=-1)
    kernel = np.exp(-squares / (2 * variance))
    constant = (2 * np.pi * variance) ** 1.5 * 0.3 / 0.7 * 40 / 150
    posterior = kernel / (kernel.sum(axis=0) + constant)
    np.testing.assert_allclose(drift.model_mass, posterior.sum(axis=1), rtol=1e-3)
    np.testing.assert_allclose(drift.observed_mass, posterior.sum(axis=0), rtol=1e-3)
    np.testing.assert_allclose(drift.targets, posterior @ observed, atol=1e-4)
    transform, found, _ = baselines.drift_maximization(
      clouds.model, clouds.observation, drift
    )
    moved = np.asarray(rigid.apply(transform, clouds.model))
    residual = np.sum((moved[:, None] - observed) ** 2, axis=-1)
    expected = np.sum(posterior * residual) / (3 * posterior.sum())
    self.assertAlmostEqual(float(found), expected, delta=2e-2 * expected)


class DataTest(chex.TestCase):
  def test_normals_are_those_of_the_surface(self):
    points, directions = normals()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)
    tree = np.linalg.norm(points[:, None] - points, axis=-1)
    near = np.argsort(tree, axis=1)[:, 1:4]
    step = points[near] - points[:, None]
    step /= np.linalg.norm(step, axis=-1, keepdims=True)
    along = np.abs(np.sum(step * directions[:, None], axis=-1))
    self.assertLess(np.mean(along), 0.3)
    outwards = np.sum(directions * (points - points.mean(axis=0)), axis=1)
    self.assertGreater(np.mean(outwards > 0), 0.9)

  def test_euler_errors(self):
    from jaxvision.papers.filterreg import applications

    turn = rigid.exp_twist(jnp.array([[0.0, 0.0, 0.3, 1.0, 1.0, 1.0]]))
    error = applications.rotation_errors(turn, jnp.eye(4)[None])
    np.testing.assert_allclose(error, np.rad2deg(0.3) / 3, rtol=1e-5)

  def test_expectations_are_compared_as_stated(self):
    found = evaluation.compare_expectations(trial(), 0.03)
    self.assertAlmostEqual(found["scale"], 0.46, delta=0.03)
    self.assertLess(found["target_error"], 0.3)


if __name__ == "__main__":
  absltest.main()
