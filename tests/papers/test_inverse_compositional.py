"""Tests of inverse_compositional: geometry, weights, solvers, trackers, losses."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from jaxvision.ops import rigid
from jaxvision.papers.inverse_compositional import (
  alignment,
  encoders,
  estimators,
  geometry,
  losses,
  preprocessing,
  solvers,
  variants,
)
from jaxvision.papers.inverse_compositional.tracker import Tracker
from jaxvision.train import jit_once

HEIGHT, WIDTH = 12, 16
INTRINSICS = jnp.array([[20.0, 21.0, 7.5, 5.5]])
SMALL = {
  "scales": (((4, 1),), ((4, 2),)),
  "estimator_layers": ((4, 1), (1, 1)),
  "hidden": (8,),
}


@functools.cache
def compiled(solver, iterations):
  """Returns a solver (level, weights, pose) -> pose, compiled once for all tests."""
  return jit_once(functools.partial(getattr(solvers, solver), iterations=iterations))


residual_of = jax.jit(alignment.residual)
pose_loss = jax.jit(losses.pose_loss)
end_point_error = jax.jit(losses.end_point_error)
relative_pose_error = jax.jit(losses.relative_pose_error)
warp = jax.jit(geometry.warp)
exp_rotation, exp_twist = jax.jit(rigid.exp_rotation), jax.jit(rigid.exp_twist)


def random_poses(count, seed=0):
  twists = np.random.default_rng(seed).uniform(-0.1, 0.1, (count, 6))
  return exp_twist(twists.astype(np.float32))


def cone_level(shift=0.0, depth=None):
  """Two views of a cone of brightness, whose gradient is 1 everywhere.

  The second view is the first one moved to the right by `shift` pixels.
  """
  u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))

  def cone(u):
    return jnp.asarray(np.hypot(u - 5.3, v - 4.2), jnp.float32)[None, ..., None]

  if depth is None:
    depth = 0.4 + 0.02 * ((u // 4 + v // 4) % 2)
  depth = jnp.asarray(np.broadcast_to(depth, (1, HEIGHT, WIDTH)), jnp.float32)
  return alignment.make_level(cone(u), cone(u - shift), depth, depth, INTRINSICS)


def random_batch(pairs=2, height=HEIGHT, width=WIDTH):
  rng = np.random.default_rng(0)
  batch = {
    f"image{view}": rng.random((pairs, height, width, 3), np.float32) for view in (0, 1)
  }
  batch |= {
    f"depth{view}": rng.uniform(0.3, 4, (pairs, height, width)).astype(np.float32)
    for view in (0, 1)
  }
  return batch | {"intrinsics": np.repeat(np.asarray(INTRINSICS), pairs, axis=0)}


class GeometryTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.rays = geometry.pixel_rays(HEIGHT, WIDTH, INTRINSICS)
    key = jax.random.key(0)
    self.depth = jax.random.uniform(key, (1, HEIGHT, WIDTH), minval=0.2, maxval=1.0)

  def test_projection_of_moved_points(self):
    poses = random_poses(3)[None]
    points, inverse = warp(self.rays, self.depth, poses, INTRINSICS)
    shown = geometry.unproject(1 / self.depth, INTRINSICS).reshape(-1, 3)
    fx, fy, cx, cy = INTRINSICS[0]
    for number in range(3):
      x, y, z = rigid.apply(poses[0, number], shown).T
      expected = jnp.stack([fx * x / z + cx, fy * y / z + cy], axis=-1)
      found = points[0, number].reshape(-1, 2)
      np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
      np.testing.assert_allclose(inverse[0, number].ravel(), 1 / z, rtol=1e-4)

  def test_what_is_infinitely_far_moves_with_the_rotation_only(self):
    far = jnp.zeros_like(self.depth)
    pose = random_poses(1)
    turned = pose.at[:, :3, 3].set(0.0)
    warps = [warp(self.rays, far, p, INTRINSICS) for p in (pose, turned)]
    chex.assert_trees_all_close(*warps)

  def test_jacobian_is_the_derivative_at_the_identity(self):
    def moved(twist):
      pose = rigid.exp_twist(twist)[None]
      return warp(self.rays, self.depth, pose, INTRINSICS)[0]

    derivative = jax.jit(jax.jacfwd(moved))(jnp.zeros(6))
    du, dv = geometry.warp_jacobian(self.rays, self.depth, INTRINSICS)
    np.testing.assert_allclose(derivative[..., 0, :], du, atol=1e-3)
    np.testing.assert_allclose(derivative[..., 1, :], dv, atol=1e-3)

  def test_points_behind_the_camera_stay_finite(self):
    pose = jnp.eye(4).at[2, 3].set(-1.0)[None]
    depth = jnp.ones((1, HEIGHT, WIDTH))  # all points come to lie at depth 0
    points, inverse = warp(self.rays, depth, pose, INTRINSICS)
    self.assertTrue(jnp.all(jnp.isfinite(points)) and jnp.all(jnp.isfinite(inverse)))

  def test_visible_is_what_is_inside_and_before(self):
    points = jnp.array([[[[3.0, 2.0], [3.0, 2.0], [-0.1, 2.0], [3.0, 0.0]]]])
    points = jnp.broadcast_to(points, (1, 4, 4, 2))
    inverse = jnp.broadcast_to(jnp.array([0.95, 0.85, 2.0, 2.0]), (1, 4, 4))
    visible = geometry.is_visible(points, inverse, jnp.ones((1, 4, 4)))
    np.testing.assert_array_equal(visible[0, 0], [True, False, False, False])


class PreprocessingTest(absltest.TestCase):
  def test_extremes_of_the_whole_batch_are_unknown(self):
    depth = jnp.array([[[0.5, 1.0]], [[2.0, 5.0]]])
    np.testing.assert_allclose(
      preprocessing.invert_depth(depth), [[[0, 1]], [[0.5, 0]]], rtol=1e-6
    )

  def test_depth_in_range_does_not_depend_on_the_batch(self):
    depth = jnp.array([0.0, 0.5, 1.0, 5.0, jnp.nan, jnp.inf, -1.0])
    valid = preprocessing.is_in_range(depth, 0.5, 5.0)
    inverse = preprocessing.invert_valid_depth(depth, valid)
    np.testing.assert_array_equal(inverse, [0, 0, 1, 0, 0, 0, 0])


class AlignmentTest(absltest.TestCase):
  def test_same_views_leave_no_residual(self):
    residual, visible = residual_of(cone_level(), jnp.eye(4)[None])
    inside = residual[:, 1:, 1:][visible[:, 1:, 1:]]
    self.assertGreater(inside.size, 100)
    np.testing.assert_allclose(inside, 0, atol=1e-5)

  def test_what_is_hidden_is_constant_without_gradient(self):
    level = cone_level()
    level = level._replace(image_depth=level.image_depth + 1.0)  # all stands before

    def total(image):
      residual, _ = residual_of(level._replace(image=image), jnp.eye(4)[None])
      return jnp.sum(residual)

    value, gradient = jax.value_and_grad(total)(level.image)
    self.assertAlmostEqual(value, alignment.OCCLUDED * HEIGHT * WIDTH, places=5)
    np.testing.assert_array_equal(gradient, 0)

  def test_gradient_has_length_one_and_points_uphill(self):
    dx, dy = alignment.feature_gradient(cone_level().template)
    np.testing.assert_allclose(jnp.hypot(dx, dy), 1, atol=1e-4)
    self.assertAlmostEqual(float(dx[0, 4, 12]), 1.0, delta=0.02)
    flat = alignment.feature_gradient(jnp.ones((1, 4, 4, 1)))
    np.testing.assert_array_equal(flat, np.zeros((2, 1, 4, 4)))

  def test_increment_is_inverted(self):
    twist = jnp.array([0.02, -0.03, 0.01, 0.1, 0.2, -0.1])
    increment = rigid.transform(rigid.exp_rotation(twist[:3]), twist[3:])
    pose = random_poses(1)[0]
    found = alignment.apply_inverse(pose, twist)
    np.testing.assert_allclose(found @ increment, pose, atol=1e-6)


class EstimatorsTest(parameterized.TestCase):
  def test_classical_weights(self):
    # Of 0, ±1, ±2, ... the median size is known: the scale is 1.4826 · 2.
    residual = jnp.array([[[0.0, -1, 2, 3, 100]]])
    valid = jnp.ones(residual.shape, bool)
    scale = 1.4826 * 2
    np.testing.assert_allclose(estimators.robust_scale(residual, valid), [[[scale]]])
    limit = estimators.HUBER * scale
    np.testing.assert_allclose(
      estimators.huber(residual, valid), [[[1, 1, 1, 1, limit / 100]]], rtol=1e-6
    )
    share = jnp.array([0, 1, 2, 3]) / (estimators.TUKEY * scale)
    expected = [*np.square(1 - np.square(share)), 0]
    np.testing.assert_allclose(
      estimators.tukey(residual, valid)[0, 0], expected, rtol=1e-5
    )

  def test_scale_counts_valid_pixels_alone(self):
    residual = jnp.array([[[1.0, 1.0, 50.0, 50.0, 50.0]]])
    valid = jnp.array([[[True, True, False, False, False]]])
    self.assertAlmostEqual(
      float(estimators.robust_scale(residual, valid)[0, 0, 0]), 1.4826
    )

  @parameterized.parameters(*estimators.CLASSICAL)
  def test_weights_are_finite_between_0_and_1(self, name):
    weigh = estimators.CLASSICAL[name]
    for residual in (jnp.zeros((1, 3, 3)), jnp.full((1, 3, 3), 1e30)):
      for valid in (jnp.zeros((1, 3, 3), bool), jnp.ones((1, 3, 3), bool)):
        weights = weigh(residual, valid)
        self.assertTrue(jnp.all((weights >= 0) & (weights <= 1)))


class SolversTest(parameterized.TestCase):
  def solve(self, solver, level, iterations=5, weights=None, **options):
    if weights is None:
      weights = jnp.ones((1, HEIGHT, WIDTH))
    solve = compiled(solver, iterations)
    if options:
      solve = getattr(solvers, solver)
      solve = jit_once(functools.partial(solve, iterations=iterations, **options))
    return solve(level, weights, jnp.eye(4)[None])

  @parameterized.parameters("gauss_newton", "levenberg_marquardt")
  def test_alignment_removes_the_residual(self, solver):
    level = cone_level(shift=0.8)
    before, _ = residual_of(level, jnp.eye(4)[None])
    pose = self.solve(solver, level)
    after, visible = residual_of(level, pose)
    self.assertGreater(jnp.mean(visible), 0.7)
    self.assertLess(jnp.median(jnp.abs(after)), 0.15 * jnp.median(jnp.abs(before)))

  def test_levenberg_marquardt_never_raises_the_cost(self):
    level = cone_level(shift=3.0)
    costs = []
    for iterations in range(4):
      pose = self.solve("levenberg_marquardt", level, iterations)
      costs.append(float(jnp.sum(residual_of(level, pose)[0] ** 2)))
    self.assertEqual(costs, sorted(costs, reverse=True))
    self.assertLess(costs[-1], costs[0])

  def test_trust_region_without_damping_is_gauss_newton(self):
    level = cone_level(shift=0.8)

    def no_damping(inputs):
      self.assertEqual(inputs.shape, (1, 6 * 3 + 36))
      return jnp.zeros((1, 6))

    pose = self.solve("trust_region", level, 3, regress=no_damping, samples=3)
    np.testing.assert_allclose(pose, self.solve("gauss_newton", level, 3), atol=1e-6)

  def test_trust_region_with_great_damping_stays(self):
    pose = self.solve(
      "trust_region", cone_level(0.8), 3, regress=lambda z: jnp.full((1, 6), 1e9)
    )
    np.testing.assert_allclose(pose[0], jnp.eye(4), atol=1e-4)

  def test_network_sees_the_gradients_as_columns_and_the_hessian(self):
    level = cone_level(shift=0.8)
    seen = []

    def regress(inputs):
      jax.debug.callback(lambda z: seen.append(np.asarray(z)), inputs)
      return jnp.zeros((1, 6))

    # The border would appear and vanish with the smallest motion.
    weights = jnp.zeros((1, HEIGHT, WIDTH)).at[:, 1:-1, 1:-1].set(1.0)
    options = {"weights": weights, "regress": regress, "samples": 4}
    self.solve("trust_region", level, 1, **options)
    jax.effects_barrier()
    problem = solvers.make_problem(level, weights)
    hessian = problem.hessian[0]
    identity = jnp.eye(4)[None]
    b = solvers.gradient(problem, identity)
    np.testing.assert_allclose(
      seen[0][0, 24:].reshape(6, 6), hessian, rtol=1e-3, atol=1e-2
    )
    # With the largest damping nothing moves, so that the gradient stays.
    np.testing.assert_allclose(
      seen[0][0, :24].reshape(6, 4)[:, 3], b[0], rtol=1e-2, atol=0.05
    )

  @parameterized.parameters("gauss_newton", "levenberg_marquardt")
  def test_without_depth_or_texture_the_pose_stays_finite(self, solver):
    flat = cone_level()._replace(
      template=jnp.ones((1, HEIGHT, WIDTH, 1)), image=jnp.ones((1, HEIGHT, WIDTH, 1))
    )
    for level in (flat, cone_level(0.8, depth=0.0)):
      pose = self.solve(solver, level)
      self.assertTrue(jnp.all(jnp.isfinite(pose)))
    pose = self.solve(solver, flat)
    np.testing.assert_allclose(pose[0], jnp.eye(4), atol=1e-6)

  def test_gradient_through_the_iterations_agrees_with_finite_differences(self):
    with jax.enable_x64(True):
      level = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float64), cone_level(shift=0.83)
      )
      weights = jax.random.uniform(jax.random.key(0), (1, HEIGHT, WIDTH), jnp.float64)
      start = jnp.eye(4, dtype=jnp.float64)[None]
      scale = jax.random.normal(jax.random.key(1), (1, 6), jnp.float64)

      def regress(inputs):
        return jnp.abs(jnp.sin(0.01 * inputs[:, :6] + scale))

      def found(variables):
        image, weights = variables
        solve = functools.partial(
          solvers.trust_region, iterations=1, regress=regress, samples=2
        )
        pose = solve(level._replace(image=image), weights, start)
        return jnp.sum(jnp.sin(jnp.arange(16) * pose.reshape(-1)))

      variables = level.image, weights
      way = jax.tree.map(
        lambda leaf: jax.random.normal(jax.random.key(2), leaf.shape, leaf.dtype),
        variables,
      )
      value, gradient = jit_once(found), jax.jit(jax.grad(found))(variables)
      along = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, way)))
      ahead, behind = (
        value(jax.tree.map(lambda v, w, e=e: v + e * w, variables, way))
        for e in (1e-6, -1e-6)
      )
      self.assertGreater(abs(along), 1e-3)
      np.testing.assert_allclose(along, (ahead - behind) / 2e-6, rtol=1e-4)


class TrackerTest(parameterized.TestCase):
  @parameterized.parameters(
    ("A", 597_280),
    ("A+B", 621_698),
    ("A+B+C", 668_680),
    ("A+B+C, no sharing", 597_280 + 4 * (621_698 - 597_280 + 668_680 - 621_698)),
    ("no learning", 0),
    ("DeepLK", 597_280 - 4 * 9 * 16),
    ("IC-FC-LS", 597_280 + 42 * 128 + 128 + 128 * 256 + 256 + 256 * 6 + 6),
  )
  def test_number_of_parameters(self, name, count):
    tracker = variants.make(name, depth_range=(0.5, 5.0))
    params, _ = jax.eval_shape(tracker.init, jax.random.key(0))
    self.assertEqual(sum(leaf.size for leaf in jax.tree.leaves(params)), count)
    self.assertEqual(tracker.is_learned, count > 0)

  def test_cascade_has_a_network_a_step(self):
    counts = []
    for name in variants.REGRESSORS:
      regressor = variants.make(name, depth_range=(0.5, 5.0))
      variables = jax.eval_shape(regressor.init, jax.random.key(0))
      counts.append(sum(leaf.size for leaf in jax.tree.leaves(variables)))
      track = functools.partial(jax.eval_shape, regressor.track)
      poses = track(*variables, random_batch()).poses
      self.assertEqual(poses.shape, (2, regressor.steps, 4, 4))
    self.assertEqual(counts, [counts[0], counts[0], 3 * counts[0]])

  def test_whatever_the_input_the_pose_is_finite(self):
    tracker = Tracker(**SMALL, iterations=2)
    variables = jit_once(tracker.init)(jax.random.key(0))
    track = jit_once(functools.partial(tracker.track, *variables))
    batch = random_batch()
    found = track(batch)
    self.assertEqual(found.poses.shape, (2, 2, 4, 4))
    self.assertEqual(
      [w.shape for w in found.weights], [(2, 6, 8, 1), (2, HEIGHT, WIDTH, 1)]
    )
    self.assertTrue(np.all((found.weights[1] > 0) & (found.weights[1] < 1)))
    for depth in (0.0, np.nan, np.inf, 1e-9, 1.0):
      damaged = batch | {
        f"depth{i}": np.full_like(batch["depth0"], depth) for i in (0, 1)
      }
      self.assertTrue(np.all(np.isfinite(track(damaged).poses)), depth)
    grey = batch | {f"image{i}": np.full_like(batch["image0"], 0.5) for i in (0, 1)}
    self.assertTrue(np.all(np.isfinite(track(grey).poses)))
    # Each pair is aligned by itself.
    alone = track(
      {name: np.repeat(array[1:], 2, axis=0) for name, array in batch.items()}
    )
    np.testing.assert_allclose(alone.poses[0], found.poses[1], atol=1e-4)

  def test_views_are_normalised_one_after_the_other(self):
    blocks = encoders.ConvBlocks(((3, 1), (2, 2)))
    views = jax.random.normal(jax.random.key(0), (2, 2, 6, 5, 4))
    variables = jit_once(blocks.init)(jax.random.key(1), views[0])
    apply = functools.partial(blocks.apply, train=True, mutable=["batch_stats"])
    apply = jit_once(apply, static_argnames="groups")
    together, updated = apply(variables, views.reshape(4, 6, 5, 4), groups=2)
    state = variables
    for view, ours in zip(views, jnp.split(together, 2), strict=True):
      expected, state = apply({"params": variables["params"], **state}, view)
      np.testing.assert_allclose(ours, expected, atol=1e-5)
    chex.assert_trees_all_close(updated, dict(state), atol=1e-6)

  def test_wrong_shapes_and_names_are_refused(self):
    tracker = Tracker("RGB", "none", "gauss_newton", scales=SMALL["scales"])
    batch = random_batch()
    with self.assertRaises(AssertionError):
      tracker.track({}, {}, batch | {"image1": batch["image1"][:, :-1]})
    with self.assertRaises(AssertionError):
      tracker.track({}, {}, batch | {"depth0": batch["depth0"][:, :-1]})
    with self.assertRaisesRegex(ValueError, "estimator 'cauchy' is none of"):
      Tracker(estimator="cauchy")


class LossesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.depth = jnp.linspace(1, 3, HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH)
    self.valid = jnp.zeros(self.depth.shape, bool)

  def test_translation_moves_all_points_by_its_length(self):
    truth = random_poses(1)
    poses = jnp.stack([truth, truth.at[:, :3, 3].add(jnp.array([0.3, 0.0, 0.4]))], 1)
    views = truth, self.depth, INTRINSICS, self.valid
    np.testing.assert_allclose(end_point_error(poses, *views), [[0, 0.5]], atol=1e-6)
    np.testing.assert_allclose(pose_loss(poses, *views), [0.5], atol=1e-6)

  def test_invalid_points_do_not_count_whatever_they_are(self):
    truth = random_poses(1)
    poses = random_poses(1, seed=1)
    some = self.depth > 2
    expected = end_point_error(poses, truth, self.depth, INTRINSICS, some)
    damaged = jnp.where(some, jnp.nan, self.depth)

    def error(poses):
      return end_point_error(poses, truth, damaged, INTRINSICS, some)[0]

    value, gradient = jax.jit(jax.value_and_grad(error))(poses)
    np.testing.assert_allclose(value, expected[0], rtol=1e-6)
    self.assertTrue(jnp.all(jnp.isfinite(gradient)))
    nothing = end_point_error(poses, truth, damaged, INTRINSICS, ~self.valid)
    self.assertEqual(float(nothing[0]), 0.0)

  def test_exact_pose_has_a_finite_gradient(self):
    truth = random_poses(1)
    gradient = jax.jit(
      jax.grad(
        lambda p: end_point_error(p, truth, self.depth, INTRINSICS, self.valid)[0]
      )
    )(truth)
    np.testing.assert_array_equal(gradient, 0)

  @settings(max_examples=20, deadline=None)
  @given(st.floats(0, 0.5), st.floats(0, 3.0), st.integers(0, 2**20))
  def test_relative_pose_error_is_the_motion_between(self, distance, angle, seed):
    rng = np.random.default_rng(seed)
    axis, way = rng.normal(size=(2, 3))
    vector = angle * axis / np.linalg.norm(axis)
    between = rigid.transform(
      exp_rotation(vector.astype(np.float32)),
      np.asarray(distance * way / np.linalg.norm(way), np.float32),
    )
    pose = random_poses(1, seed % 1000)[0]
    found = relative_pose_error(pose, between @ pose)
    np.testing.assert_allclose(found, [angle, distance], atol=2e-3)

  def test_euler_angles_agree_with_scipy(self):
    rotations = Rotation.random(20, np.random.default_rng(0))
    ours = losses.euler_angles(jnp.asarray(rotations.as_matrix(), jnp.float32))
    np.testing.assert_allclose(ours, rotations.as_euler("xyz"), atol=1e-4)

  def test_success_needs_both_distance_and_angle(self):
    near = exp_twist(jnp.array([0.05, 0, 0, 0.03, 0, 0]))
    turned = exp_twist(jnp.array([0.1, 0, 0, 0.03, 0, 0]))
    away = exp_twist(jnp.array([0.05, 0, 0, 0.06, 0, 0]))
    poses = jnp.stack([near, turned, away])
    truth = jnp.broadcast_to(jnp.eye(4), poses.shape)
    np.testing.assert_array_equal(losses.is_success(poses, truth), [True, False, False])


if __name__ == "__main__":
  absltest.main()
