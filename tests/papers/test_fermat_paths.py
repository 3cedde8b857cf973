"""Fermat paths: detection, flow, branches, surfaces, refinement."""

import dataclasses
import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies

from jaxvision.papers.fermat_paths import (
  baselines,
  branches,
  closed_forms,
  detection,
  flow,
  metrics,
  pipeline,
  poisson_surface,
  refinement,
  scenes,
  studies,
  surfaces,
)

BINS = scenes.bin_centres(1200) * 2  # 0.24 cm
EDGES = dataclasses.replace(detection.CONVEX, count=2)

detect = jax.jit(detection.detect, static_argnums=2)
from_paths = jax.jit(pipeline.from_paths, static_argnums=3)
specular_points = jax.jit(refinement.specular_points, static_argnames="steps")
fit_heights = jax.jit(refinement.fit_heights, static_argnums=2)
intersect = jax.jit(flow.intersect)


@functools.cache
def sphere_wall(grid=11):
  """Wall, exact path lengths and Fermat points of the convex sphere."""
  wall = scenes.wall_grid(grid, 66.0)
  sphere_point = jax.jit(closed_forms.sphere_point)
  points = sphere_point(wall, jnp.array(scenes.CONVEX_CENTER), 38.0)
  return wall, 2 * jnp.linalg.norm(points - wall, axis=-1), points


class DetectionTest(chex.TestCase):
  def test_filter_is_the_convolution_with_its_taps(self):
    signal = np.random.default_rng(0).random((1, 333)).astype(np.float32)
    detector = detection.Detector((1.0,), (0.75,))
    response, _ = detection.filter_responses(jnp.asarray(signal), detector)
    taps = detection.discontinuity_filter(1.0, 0.75)
    expected = np.convolve(signal[0] / signal.max(), taps, mode="same")
    np.testing.assert_allclose(response[0], expected / expected.max(), atol=1e-5)

  def test_edges_and_their_signs(self):
    steps = (BINS > 100) * 1.0 + (BINS > 160) * 0.5 - (BINS > 220) * 0.7
    found = detect(steps[None], BINS, dataclasses.replace(EDGES, count=3))
    np.testing.assert_allclose(found.paths[0], [100, 160, 220], atol=0.24)
    np.testing.assert_array_equal(found.signs[0], [1, 1, -1])
    pulse = (BINS > 100) * 1.0 - (BINS > 160) * 1.2 + 0.2
    rising = detect(pulse[None], BINS, detection.Detector(count=1))
    np.testing.assert_allclose(rising.paths[0], [100], atol=0.24)
    falling = detect(pulse[None], BINS, dataclasses.replace(EDGES, count=1))
    np.testing.assert_allclose(falling.paths[0], [160], atol=0.24)
    self.assertEqual(int(falling.signs[0, 0]), -1)

  def test_parabola_finds_edges_between_bins_and_has_a_gradient(self):
    subbin = dataclasses.replace(EDGES, count=1, subbin=True)

    def path(edge):
      transient = jax.nn.sigmoid((BINS - edge) / 0.5)
      return detect(transient[None], BINS, subbin).paths[0, 0]

    edges = jnp.linspace(120.0, 120.24, 5)
    found, slopes = jax.jit(jax.vmap(jax.value_and_grad(path)))(edges)
    np.testing.assert_allclose(found - found[0], edges - edges[0], atol=0.02)
    np.testing.assert_allclose(slopes, 1.0, atol=0.1)

  @hypothesis.settings(max_examples=15, deadline=None)
  @hypothesis.given(strategies.sampled_from([np.nan, np.inf, 0.0, -1.0]))
  def test_unusable_transients_are_missing_not_errors(self, value):
    good = (BINS > 100) * 1.0
    found = detect(jnp.stack([jnp.full_like(good, value), good]), BINS, EDGES)
    self.assertTrue(bool(jnp.all(jnp.isnan(found.paths[0]))))
    np.testing.assert_array_equal(found.signs[0], 0)
    np.testing.assert_allclose(found.paths[1, 0], 100, atol=0.24)

  def test_bins_may_differ_between_transients(self):
    good = jnp.stack([(BINS > 100) * 1.0] * 2)
    found = detect(good, jnp.stack([BINS, BINS + 7]), EDGES)
    np.testing.assert_allclose(found.paths[1, 0] - found.paths[0, 0], 7.0, atol=1e-3)

  def test_filters_keep_their_width_on_other_bins(self):
    scaled = detection.scaled_to_bins(detection.VASE, 0.24)
    self.assertEqual(scaled.sigmas, (0.375,))

  def test_empty_transients_are_refused(self):
    with self.assertRaisesRegex(ValueError, "no bins"):
      detection.detect(jnp.zeros((2, 0)), jnp.zeros(0), EDGES)

  def test_first_return_is_the_shortest(self):
    paths = jnp.array([[5.0, 3.0], [jnp.nan, 4.0], [jnp.nan, jnp.nan]])
    found = detection.first_returns(detection.Detection(paths, paths, paths))
    np.testing.assert_array_equal(found, [3.0, 4.0, jnp.nan])


class TheoryTest(parameterized.TestCase):
  @parameterized.parameters(
    ((0.0, 0.0), 1), ((0.1, 0.02), 1), ((-0.05, -0.03), -1), ((0.1, -0.05), 0)
  )
  def test_types(self, curvatures, expected):
    found = closed_forms.stationary_type(jnp.array(curvatures), jnp.array(50.0))
    self.assertEqual(int(found), expected)

  def test_paraboloid_point_is_stationary(self):
    wall, bend = jnp.array([10.0, -4.0, 0.0]), jnp.array([0.02, -0.004])
    point = closed_forms.paraboloid_point(wall, 60.0, bend)
    normal = jnp.append(bend * point[:2], -1.0)
    chex.assert_trees_all_close(
      jnp.cross(normal, wall - point), jnp.zeros(3), atol=1e-3
    )

  def test_signs_of_steps_are_those_of_the_theory(self):
    for name, scene in studies.exact_scenes(4, 2400).items():
      self.assertEqual(studies.sign_agreement(scene), 1.0, name)


class FlowTest(chex.TestCase):
  def test_exact_sphere_is_recovered(self):
    wall, paths, points = sphere_wall()
    found = from_paths(paths[..., None], jnp.ones((11, 11, 1), jnp.int32), wall, SPHERE)
    valid = np.asarray(found.valid[..., 0])
    self.assertEqual(valid.sum(), 25)
    error = np.linalg.norm(found.points[..., 0, :] - points, axis=-1)[valid]
    self.assertLess(error.max(), 0.3)  # the fit's own, of a distance not quadratic
    normals = np.asarray(found.normals[..., 0, :])[valid]
    truth = np.asarray((points - jnp.array(scenes.CONVEX_CENTER)) / 38.0)[valid]
    self.assertLess(np.max(metrics.angles(normals, truth)), 0.3)

  def test_a_tilted_wall_gives_the_same_points(self):
    wall, paths, _ = sphere_wall()
    signs = jnp.ones((11, 11, 1), jnp.int32)
    straight = from_paths(paths[..., None], signs, wall, SPHERE)
    angle = 0.4
    turn = jnp.array(
      [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
      ]
    )
    frames = jnp.broadcast_to(turn.T, (11, 11, 3, 3))  # rows: tangents and normal
    tilted = from_paths(paths[..., None], signs, wall @ turn.T, SPHERE, frames=frames)
    np.testing.assert_allclose(tilted.points, straight.points @ turn.T, atol=2e-3)

  def test_one_source_exactly(self):
    wall, _, _ = sphere_wall()
    source = jnp.array([20.0, 5.0, 0.0])
    point = jnp.array([3.0, 4.0, 70.0])
    far = jnp.linalg.norm(wall - point, axis=-1)
    paths = far + jnp.linalg.norm(source - point)
    directions = (point - wall) / far[..., None]
    sources = jnp.broadcast_to(source, wall.shape)
    found = intersect(paths, wall, directions, sources)
    np.testing.assert_allclose(found, jnp.broadcast_to(point, wall.shape), atol=1e-3)
    confocal = intersect(2 * far, wall, directions, wall)
    np.testing.assert_allclose(
      confocal, intersect(2 * far, wall, directions), atol=1e-3
    )

  def test_normals_halve_the_angle_where_the_midpoint_does_not(self):
    point, normal = jnp.array([0.0, 0.0, 50.0]), jnp.array([0.0, 0.0, -1.0])
    detector, source = jnp.array([10.0, 0.0, 0.0]), jnp.array([-20.0, 0.0, -50.0])
    exact = flow.path_normals(point, detector, source)
    approximate = flow.path_normals(point, detector, source, midpoint=True)
    np.testing.assert_allclose(exact, normal, atol=1e-6)
    self.assertGreater(float(jnp.abs(approximate[0])), 0.05)

  def test_relative_curvatures_tell_the_types(self):
    center = jnp.array([0.0, 0.0, 63.0])
    wall = jnp.array([18.0, -9.0])

    def check(distance, expected):
      gradient, hessian = jax.jit(
        lambda v: (jax.grad(distance)(v), jax.hessian(distance)(v))
      )(wall)
      found = flow.relative_curvatures(gradient, hessian, distance(wall))
      np.testing.assert_allclose(found, [expected, expected], rtol=1e-3)

    def to_center(v):
      return jnp.linalg.norm(jnp.append(v, 0.0) - center)

    s = float(to_center(wall))
    check(to_center, 1.0)  # all rays meet in one point
    check(lambda v: to_center(v) - 38.0, (s - 38) / s)  # k ρ / (1 + k ρ), k = 1 / R
    check(lambda v: to_center(v) + 38.0, (s + 38) / s)  # a maximum

  def test_missing_and_impossible_paths_are_flagged_and_leave_gradients_finite(self):
    wall, paths, _ = sphere_wall()
    paths = paths.at[5, 5].set(jnp.nan).at[2, 8].add(40.0)
    signs = jnp.ones((11, 11, 1), jnp.int32)
    found = from_paths(paths[..., None], signs, wall, SPHERE)
    chex.assert_tree_all_finite((found.points, found.normals))
    self.assertFalse(bool(found.valid[5, 5, 0]))
    self.assertGreater(int(jnp.sum(found.valid)), 10)

    def total(paths):
      return jnp.sum(from_paths(paths[..., None], signs, wall, SPHERE).points ** 2)

    gradient = jax.jit(jax.grad(total))(paths)
    self.assertTrue(bool(jnp.all(jnp.isfinite(gradient))))

  def test_boundary_points_have_a_position_but_no_normal(self):
    wall, _, _ = sphere_wall()
    corner = jnp.array([12.0, -6.0, 60.0])
    paths = 2 * jnp.linalg.norm(wall - corner, axis=-1)[..., None]
    strict = dataclasses.replace(SPHERE, type_margin=0.1)
    found = from_paths(paths, jnp.ones(paths.shape, jnp.int32), wall, strict)
    self.assertEqual(int(jnp.sum(found.valid)), 0)
    flagged = np.asarray(found.boundary[..., 0])
    self.assertEqual(flagged.sum(), 25)
    points = np.asarray(found.points[..., 0, :])[flagged]
    np.testing.assert_allclose(points, np.tile(corner, (25, 1)), atol=0.6)
    np.testing.assert_array_equal(found.normals, 0)


SPHERE = pipeline.Settings(dataclasses.replace(detection.CONVEX, count=1))


class BranchesTest(absltest.TestCase):
  def test_crossing_branches_keep_their_surface(self):
    x, y = jnp.meshgrid(jnp.arange(12.0), jnp.arange(10.0))
    truth = jnp.stack([100 + 2 * x, 118 - 1.5 * x + 0.3 * y, 150 + 0 * x], axis=-1)
    linked = branches.link(jnp.sort(truth, axis=-1))
    np.testing.assert_allclose(linked, truth, atol=1e-4)

  def test_missing_values_stay_missing_and_nothing_else_is_lost(self):
    x, y = jnp.meshgrid(jnp.arange(8.0), jnp.arange(7.0))
    truth = jnp.stack([100 + x, 120 + y], axis=-1)
    truth = truth.at[3, 4, 0].set(jnp.nan).at[:, 6, 1].set(jnp.nan)
    linked = branches.link(jnp.sort(truth, axis=-1))
    np.testing.assert_array_equal(linked, truth)

  def test_too_many_branches_are_refused(self):
    with self.assertRaisesRegex(ValueError, "permutations"):
      branches.link(jnp.zeros((2, 2, 7)))


class SurfaceTest(absltest.TestCase):
  def test_sphere_is_fitted_and_faces_turn_around_the_normals(self):
    samples = surfaces.sample_patch(surfaces.cap((0, 0, 105.0), 38.0, 1.0), 500)
    points, normals = np.asarray(samples.points), np.asarray(samples.normals)
    surface = poisson_surface.fit_surface(points, normals, resolution=32)
    self.assertGreater(len(surface.faces), 300)
    radius = np.linalg.norm(surface.vertices - [0, 0, 105], axis=1)
    self.assertLess(np.median(np.abs(radius - 38)), 0.15)
    corners = surface.vertices[surface.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = corners.mean(axis=1) - [0, 0, 105]
    self.assertGreater(np.mean(np.sum(across * outward, axis=1) > 0), 0.99)
    self.assertGreater(metrics.completeness(surface.vertices, points, 2.0), 0.95)

  def test_too_few_points_have_no_surface(self):
    surface = poisson_surface.fit_surface(np.zeros((3, 3)), np.zeros((3, 3)))
    self.assertEqual(surface.faces.shape, (0, 3))


class RefinementTest(absltest.TestCase):
  def test_newton_finds_the_specular_points_of_a_known_surface(self):
    bend = jnp.array([0.02, -0.004])
    xy = jax.random.uniform(jax.random.key(0), (600, 2), minval=-30.0, maxval=30.0)
    z = 60 + 0.5 * jnp.sum(bend * xy**2, axis=-1, keepdims=True)
    field = fit_heights(
      jnp.concatenate([xy, z], axis=-1), jnp.ones(600, bool), (8, 8), 1e-6
    )
    wall = jnp.array([[4.0, 6.0, 0.0], [-8.0, 2.0, 0.0]])
    found = specular_points(field, wall, wall[:, :2])
    exact = jax.vmap(lambda v: closed_forms.paraboloid_point(v, 60.0, bend))
    reached = jax.jit(refinement.surface_points)(field, found)
    np.testing.assert_allclose(reached, jax.jit(exact)(wall), atol=0.02)

  def test_envelope_theorem(self):
    """The rate of path lengths with the heights needs no rate of the points."""
    grid = jnp.stack(jnp.meshgrid(jnp.arange(6.0), jnp.arange(6.0)), -1).reshape(-1, 2)
    control = 60 + 0.05 * jnp.sum((grid - 2.5) ** 2, axis=-1).reshape(6, 6)
    field = refinement.HeightField(control, jnp.full(2, -20.0), jnp.full(2, 20.0))
    wall = jnp.array([[3.0, -4.0, 0.0]])
    change = jax.random.uniform(jax.random.key(0), (6, 6))

    @jax.jit
    def length(amount, fixed=None):
      moved = field._replace(control=control + amount * change)
      xy = refinement.specular_points(moved, wall, wall[:, :2], steps=12)
      xy = xy if fixed is None else fixed
      point = refinement.surface_points(moved, xy)
      return refinement.path_length(point, wall)[0]

    still = specular_points(field, wall, wall[:, :2], steps=12)
    numeric = (length(0.05) - length(-0.05)) / 0.1
    np.testing.assert_allclose(
      jax.jit(jax.grad(length))(0.0, still), numeric, rtol=0.02
    )

  def test_refinement_undoes_a_bias(self):
    wall, paths, points = sphere_wall()
    biased = points.reshape(-1, 3) * jnp.array([1.03, 1.03, 1.0]) + jnp.array(
      [0.0, 0.0, 0.8]
    )
    valid = jnp.ones(121, bool).at[7].set(False)
    lengths = paths.reshape(-1).at[7].set(jnp.nan)
    field = fit_heights(biased, valid, (8, 8))
    refined = jax.jit(functools.partial(refinement.refine, iterations=6))(
      field, wall.reshape(-1, 3), lengths, biased[:, :2], valid
    )
    center = jnp.array(scenes.CONVEX_CENTER)

    def error(points):
      away = jnp.abs(jnp.linalg.norm(points - center, axis=-1) - 38)
      return float(jnp.median(away[valid]))

    self.assertLess(error(refined.points), 0.1 * error(biased))
    self.assertLess(float(refined.history[-1]), 0.1 * float(refined.history[0]))
    chex.assert_tree_all_finite(refined)


class BaselinesTest(absltest.TestCase):
  def test_back_projection_peaks_at_a_point(self):
    target = jnp.array([4.0, -2.0, 40.0])
    wall = scenes.wall_grid(5, 40.0).reshape(-1, 3)
    lengths = 2 * jnp.linalg.norm(wall - target, axis=-1)
    transients = jnp.exp(-(((BINS - lengths[:, None]) / 0.5) ** 2))
    voxels = baselines.voxel_grid((-8, -8, 34), (8, 8, 46), 2.0)
    volume = baselines.back_project(transients, BINS, wall, voxels.reshape(-1, 3))
    at = np.unravel_index(int(jnp.argmax(volume)), voxels.shape[:3])
    np.testing.assert_allclose(voxels[at], target)
    filtered = baselines.laplacian_filter(volume.reshape(voxels.shape[:3]))
    self.assertEqual(int(jnp.argmax(filtered)), int(jnp.argmax(volume)))

  def test_normals_of_positions(self):
    steps = jnp.arange(9.0) - 4
    x, y = jnp.meshgrid(steps, steps)
    normal = np.array([0.3, -0.2, -1.0]) / np.linalg.norm([0.3, -0.2, -1.0])
    plane = jnp.stack([x, y, 50 + (0.3 * x - 0.2 * y)], axis=-1)
    valid = jnp.ones((9, 9), bool).at[4, 4].set(False)
    for normals, known in (
      baselines.pca_normals(plane, valid),
      baselines.difference_normals(plane, valid),
    ):
      known = np.asarray(known)
      self.assertFalse(known[4, 4])
      self.assertGreater(known.sum(), 40)
      away = metrics.angles(
        np.asarray(normals)[known], np.tile(normal, (known.sum(), 1))
      )
      self.assertLess(away.max(), 0.1)


class MetricsTest(absltest.TestCase):
  def test_scores(self):
    found = np.array([[10.0, 20.0], [np.nan, 21.0]])
    truth = np.array([[10.1, np.nan], [30.0, 21.1]])
    recall, precision = metrics.detection_scores(found, truth, 0.2)
    self.assertAlmostEqual(recall, 2 / 3)
    self.assertAlmostEqual(precision, 2 / 3)

  def test_completeness_and_sampled_errors(self):
    samples = surfaces.sample_patch(surfaces.rectangle(10, 10, 50), 4096)
    points = np.array([[0.0, 0.0, 50.2], [3.0, 3.0, 49.9]])
    normals = np.array([[0.0, 0.0, -1.0], [0.0, np.sin(0.1), -np.cos(0.1)]])
    errors = metrics.sampled_errors(points, normals, samples)
    np.testing.assert_allclose(errors.distance, [0.2, 0.1], atol=1e-4)
    np.testing.assert_allclose(errors.angle, [0, np.degrees(0.1)], atol=1e-3)
    share = metrics.completeness(points, np.asarray(samples.points), 1.0)
    np.testing.assert_allclose(share, 2 * np.pi / 100, rtol=0.06)


if __name__ == "__main__":
  absltest.main()
