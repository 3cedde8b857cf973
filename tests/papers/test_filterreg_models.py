"""Tests of FilterReg's twists, articulated and deformable registration, and files."""

import dataclasses
import functools
import json
import pathlib
import tempfile

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from etils import epath
from hypothesis import strategies as st

from jaxvision.data import clouds, ply
from jaxvision.errors import UserError
from jaxvision.ops import kinematics, rigid
from jaxvision.papers.filterreg import (
  articulated,
  data,
  deformable,
  prediction,
  scans,
  twists,
)
from jaxvision.papers.filterreg.registration import Settings
from jaxvision.train import jit_once


def random_cloud(count=30, seed=0, scale=1.0):
  rng = np.random.default_rng(seed)
  return (scale * rng.normal(size=(count, 3))).astype(np.float32)


forward = jax.jit(kinematics.forward)
spatial_jacobians = jax.jit(kinematics.spatial_jacobians, static_argnames="floating")
place_points = jax.jit(articulated.place)
deform = jax.jit(deformable.deform)
solve_normal = jax.jit(twists.solve_normal)
solve_arm = jit_once(articulated.solve, static_argnames="settings")
solve_sheet = jax.jit(deformable.solve, static_argnames="settings")
assemble_arm = jit_once(articulated.assemble)


@functools.cache
def arm():
  return data.arm(jax.random.key(0), joints=3, points_per_link=60)


class TwistsTest(chex.TestCase):
  def test_point_jacobian_is_the_derivative_of_a_motion(self):
    points = random_cloud(5)
    found = jit_once(
      jax.jacfwd(lambda twist: rigid.apply(twists.twist_transform(twist), points))
    )(jnp.zeros(6))
    np.testing.assert_allclose(twists.point_jacobian(points), found, atol=1e-6)

  def test_translation_is_copied(self):
    found = twists.twist_transform(jnp.array([0.0, 0.0, np.pi / 2, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(found[:3, 3], [1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(found[:3, 0], [0, 1, 0], atol=1e-6)

  @parameterized.parameters("point", "plane")
  def test_systems_are_sums_of_jacobians(self, objective):
    points, targets, normals = (random_cloud(seed=s) for s in range(3))
    rng = np.random.default_rng(3)
    weights = rng.uniform(size=30).astype(np.float32)
    bodies = rng.integers(3, size=30).astype(np.int32)
    jacobians = np.asarray(twists.point_jacobian(points))
    residuals = points - targets
    if objective == "plane":
      jacobians = np.einsum("na,nai->ni", normals, jacobians)[:, None]
      residuals = np.sum(normals * residuals, axis=1, keepdims=True)
      build = functools.partial(twists.plane_systems, points, targets, normals)
    else:
      build = functools.partial(twists.point_systems, points, targets)
    matrix, right = jax.jit(build, static_argnums=2)(weights, bodies, 3)
    for body in range(3):
      mine = bodies == body
      expected = np.einsum(
        "n,nai,naj->ij", weights[mine], jacobians[mine], jacobians[mine]
      )
      np.testing.assert_allclose(matrix[body], expected, rtol=1e-4, atol=1e-4)
      expected = np.einsum(
        "n,nai,na->i", weights[mine], jacobians[mine], residuals[mine]
      )
      np.testing.assert_allclose(right[body], expected, rtol=1e-4, atol=1e-4)

  @hypothesis.given(
    rank=st.integers(0, 6), scale=st.sampled_from([0.0, 1e-30, 1.0, 1e30])
  )
  @hypothesis.settings(max_examples=20, deadline=None)
  def test_any_system_has_a_finite_step(self, rank, scale):
    rows = np.random.default_rng(rank).normal(size=(rank, 6))
    matrix = (scale * rows.T @ rows).astype(np.float32)
    step = solve_normal(matrix, np.ones(6, np.float32))
    self.assertTrue(np.isfinite(step).all())


class ArticulatedTest(chex.TestCase):
  @parameterized.parameters(False, True)
  def test_both_assemblies_are_one(self, floating):
    model = arm()
    placed = forward(model.tree, jnp.array([0.3, -0.5, 0.8]))
    points = place_points(model, placed)
    targets = points + random_cloud(len(points), scale=0.01)
    weights = np.random.default_rng(1).uniform(size=len(points)).astype(np.float32)
    jacobians = spatial_jacobians(model.tree, placed, floating=floating)
    arguments = points, targets, weights, model.bodies, jacobians
    for one, other in zip(
      articulated.assemble(*arguments),
      articulated.assemble_directly(*arguments),
      strict=True,
    ):
      np.testing.assert_allclose(one, other, atol=1e-5 * float(jnp.max(jnp.abs(other))))

  def test_a_step_descends_the_sum_of_squares(self):
    model = arm()
    truth, start = jnp.array([0.3, -0.5, 0.8]), jnp.array([0.25, -0.46, 0.9])

    @jax.jit
    def place(positions):
      return place_points(model, forward(model.tree, positions))

    placed = forward(model.tree, start)
    matrix, right = assemble_arm(
      place(start),
      place(truth),
      jnp.ones(len(model.points)),
      model.bodies,
      spatial_jacobians(model.tree, placed),
    )
    gradient = jax.jit(
      jax.grad(
        lambda positions: 0.5 * jnp.sum(jnp.square(place(positions) - place(truth)))
      )
    )(start)
    np.testing.assert_allclose(right, gradient, atol=1e-4)
    after = start + solve_normal(matrix, right)
    self.assertLess(np.max(np.abs(after - truth)), 0.2 * np.max(np.abs(start - truth)))

  @parameterized.parameters(False, True)
  def test_finds_a_posture_beside_a_table(self, floating):
    model = arm()
    truth = jnp.array([0.3, -0.5, 0.8])
    base = twists.twist_transform(
      floating * jnp.array([0.02, -0.03, 0.04, 0.004, 0.003, -0.005])
    )
    placed = place_points(model, forward(model.tree, truth, base))
    table = random_cloud(100, scale=0.3) * [1, 1, 0] - np.array([0, 0, 0.3])
    observation = np.concatenate([placed, table]).astype(np.float32)
    settings = articulated.Settings(sigma=0.02, floating=floating, max_iterations=40)
    found = solve_arm(
      model,
      observation,
      settings=settings,
      positions=truth + jnp.array([0.06, -0.05, 0.07]),
    )
    self.assertTrue(found.is_valid)
    moved = place_points(model, forward(model.tree, found.positions, found.base))
    error = np.mean(np.linalg.norm(moved - placed, axis=1))
    self.assertLess(error, 0.003)
    if not floating:
      np.testing.assert_array_equal(found.base, np.eye(4))

  @hypothesis.given(nans=st.integers(0, 20), far=st.booleans(), seed=st.integers(0, 99))
  @hypothesis.settings(max_examples=10, deadline=None)
  def test_no_nan_leaves_the_solver(self, nans, far, seed):
    model = arm()
    observation = random_cloud(20, seed, scale=0.1) + (1e4 if far else 0)
    observation[:nans] = np.nan
    found = solve_arm(
      model,
      observation,
      settings=articulated.Settings(max_iterations=2),
      positions=jnp.zeros(3),
    )
    chex.assert_tree_all_finite(found)
    if far or nans == 20:
      self.assertFalse(found.is_valid)
      np.testing.assert_allclose(found.positions, 0, atol=1e-6)


class DeformableTest(chex.TestCase):
  def graph(self):
    points = np.asarray(data.sheet(12, 8, 0.02))
    make = functools.partial(deformable.make_graph, count=9, neighbors=3)
    return points, jit_once(make)(points)

  def test_farthest_points_are_far(self):
    points = np.array([[0, 0, 0], [1, 0, 0], [10, 0, 0], [5, 0, 0]], np.float32)
    np.testing.assert_array_equal(deformable.farthest_points(points, 3), [0, 2, 3])
    same = deformable.farthest_points(np.zeros((4, 3), np.float32), 4)
    self.assertLen(np.unique(same), 4)

  def test_one_motion_of_all_nodes_moves_all_points(self):
    points, graph = self.graph()
    motion = rigid.exp_twist(jnp.array([0.5, -0.2, 0.9, 0.1, 0.2, 0.3]))
    transforms = jnp.broadcast_to(motion, (9, 4, 4))
    np.testing.assert_allclose(
      deform(graph, transforms, points),
      rigid.apply(motion, points),
      atol=1e-5,
    )
    np.testing.assert_allclose(np.sum(graph.shares, axis=1), 1, atol=1e-5)

  def test_equations_are_the_gradient_of_the_energy(self):
    points, graph = self.graph()
    targets = np.asarray(data.bend(points, 3.0))
    weights = np.random.default_rng(0).uniform(size=len(points)).astype(np.float32)
    noise = 0.1 * np.random.default_rng(1).normal(size=(9, 6))
    start = rigid.exp_twist(jnp.asarray(noise, jnp.float32))
    rigidity = 3.0

    def edges(transforms):
      start, end = graph.edges.T
      rest = graph.nodes[start][:, None]
      return rigid.apply(transforms[start], rest) - rigid.apply(transforms[end], rest)

    def energy(steps):
      # Points move by the shares of the twists, as the step's model has it.
      moved = deform(graph, start, points)
      mean = jnp.sum(graph.shares[..., None] * steps[graph.anchors], axis=1)
      moved += jnp.einsum("nai,ni->na", twists.point_jacobian(moved), mean)
      transforms = twists.twist_transform(steps) @ start
      data_term = jnp.sum(weights[:, None] * jnp.square(moved - targets))
      return 0.5 * (data_term + rigidity * jnp.sum(jnp.square(edges(transforms))))

    gradient = jax.jit(jax.grad(energy))(jnp.zeros((9, 6)))
    energy = jit_once(energy)
    moved = deform(graph, start, points)
    matrix, right = jit_once(deformable.assemble)(
      graph, start, moved, targets, weights, rigidity
    )
    np.testing.assert_allclose(right, gradient.ravel(), atol=1e-4)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-4)
    self.assertGreater(np.min(np.linalg.eigvalsh(matrix)), -1e-3)
    after = solve_normal(matrix, right).reshape(9, 6)
    self.assertLess(float(energy(after)), 0.5 * float(energy(jnp.zeros((9, 6)))))

  def test_a_bent_sheet_is_found(self):
    points, graph = self.graph()
    truth = np.asarray(data.bend(points, 3.0))
    settings = deformable.Settings(
      sigma=0.015, rigidity=5.0, inner_iterations=2, max_iterations=15
    )
    found = solve_sheet(graph, points, truth, settings=settings)
    before, after = (
      np.mean(np.linalg.norm(p - truth, axis=1)) for p in (points, found.points)
    )
    self.assertLess(after, 0.5 * before)
    self.assertTrue(found.is_valid)
    chex.assert_tree_all_finite(found)
    np.testing.assert_allclose(
      deform(graph, found.transforms, points), found.points, atol=1e-4
    )
    broken = np.full_like(truth, np.nan)
    lost = solve_sheet(graph, points, broken, settings=settings)
    chex.assert_tree_all_finite(lost)
    self.assertFalse(lost.is_valid)


class ScansTest(chex.TestCase):
  def test_a_scan_sees_the_front_only(self):
    surface = random_cloud(100_000, seed=3)
    surface *= 0.07 / np.linalg.norm(surface, axis=1, keepdims=True)
    pose = rigid.transform(jnp.eye(3), jnp.array([0.0, 0.0, 0.45]))
    seen = np.asarray(jax.jit(scans.scan)(jax.random.key(0), surface, pose))
    seen = seen[np.isfinite(seen).all(axis=1)]
    self.assertGreater(len(seen), 3000)
    radius = np.linalg.norm(seen - [0, 0, 0.45], axis=1)
    self.assertAlmostEqual(np.median(radius), 0.07, delta=0.002)
    self.assertGreater(np.mean(seen[:, 2] < 0.45), 0.95)

  def test_normals_of_a_plane(self):
    intrinsics = jnp.array([[50.0, 0, 10], [0, 50.0, 8], [0, 0, 1]])
    depth = jnp.full((16, 20), 2.0).at[3, 4].set(jnp.inf)
    points, normals = data.back_project(depth, intrinsics)
    np.testing.assert_allclose(points[0], [-0.4, -0.32, 2.0], atol=1e-6)
    np.testing.assert_allclose(normals[-1], [0, 0, -1], atol=1e-6)
    self.assertFalse(np.isfinite(points[3 * 20 + 4]).any())


class FilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.points = random_cloud(6, scale=0.1)

  def test_every_format_is_read(self):
    columns = dict(zip("xyz", self.points.T, strict=True))
    text = "\n".join(" ".join(map(str, row)) for row in self.points)
    ply.write_ply_vertices(self.folder / "cloud.ply", columns)
    clouds.write_pcd(self.folder / "cloud.pcd", columns)
    np.save(self.folder / "cloud.npy", self.points)
    (self.folder / "cloud.txt").write_text(f"# comment\n{text}\n")
    (self.folder / "cloud.csv").write_text("x,y,z\n" + text.replace(" ", ","))
    (self.folder / "cloud.pts").write_text(f"6\n{text}\nnan 0 0\n")
    for path in sorted(self.folder.iterdir()):
      np.testing.assert_allclose(prediction.read_cloud(path), self.points, rtol=1e-6)
    (self.folder / "flat.xyz").write_text("1 2\n3 4\n5 7\n")
    np.testing.assert_array_equal(
      prediction.read_cloud(self.folder / "flat.xyz")[:, 2], 0
    )

  @parameterized.parameters(
    ("a.txt", "", "two or three coordinates"),
    ("a.txt", "1 2 3\n", "1 finite points"),
    ("a.txt", "1 2 3\n" * 5, "at one place"),
    ("a.txt", "nan nan nan\n" * 5, "0 finite points"),
    ("a.txt", "1 2 3\n4 5\n", "damaged"),
    ("a.csv", "only,words\nno,numbers\n", "damaged"),
    ("a.npy", "no array", "damaged"),
    ("a.jpg", "", "point clouds are"),
  )
  def test_bad_files_name_themselves(self, name, content, what):
    path = self.folder / name
    path.write_text(content)
    with self.assertRaisesRegex(UserError, f"{name}.*{what}"):
      prediction.read_cloud(path)

  def test_any_unit_and_place(self):
    problem = jax.jit(functools.partial(data.rigid_trial, count=300, degrees=25.0))(
      jax.random.key(0)
    )
    settings = Settings(smallest_sigma=0.008, max_iterations=60)
    model = 1000 * np.asarray(problem.model, np.float64)  # millimetres
    observation = 1000 * np.asarray(problem.observation, np.float64) + 5000
    found = prediction.align(model, observation, settings)
    self.assertTrue(found.is_valid)
    truth = 1000 * np.asarray(rigid.apply(problem.truth, problem.model)) + 5000
    self.assertLess(np.mean(np.linalg.norm(found.aligned - truth, axis=1)), 4.0)
    np.testing.assert_allclose(
      found.aligned, model @ found.transform[:3, :3].T + found.transform[:3, 3]
    )
    out = epath.Path(self.folder)
    prediction.write(out, ("a", "b"), model, observation, found)
    said = json.loads((out / "transform.json").read_text())
    np.testing.assert_allclose(said["transform"], found.transform)
    self.assertEqual(said["iterations"], dataclasses.asdict(found)["iterations"])
    read = prediction.read_cloud(out / "aligned.ply")
    np.testing.assert_allclose(read, found.aligned, rtol=1e-5)
    self.assertGreater(len((out / "before_after.png").read_bytes()), 10_000)


if __name__ == "__main__":
  absltest.main()
