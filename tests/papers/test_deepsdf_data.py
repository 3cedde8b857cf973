"""Tests of DeepSDF's preprocessing, files, completion, baseline and measures."""

import csv
import functools
import io
import json
import pathlib
import tempfile
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import trimesh
from absl.testing import absltest, parameterized

from jaxvision.data import archives, meshes, ply, shape_families
from jaxvision.errors import UserError
from jaxvision.papers.deepsdf import (
  atlasnet,
  completion,
  data,
  dataset,
  decoder,
  evaluation,
  prediction,
  preprocessing,
  published,
  reconstruction,
)
from jaxvision.papers.deepsdf.dataset import Instance
from tests.published import assembler

BALL = trimesh.creation.icosphere(3, 2.0)
VERTICES, FACES = (
  np.asarray(BALL.vertices) + np.array([5.0, 0, 0]),
  np.asarray(BALL.faces),
)


class PreprocessingTest(parameterized.TestCase):
  def test_normalisation_ignores_unused_vertices_and_inverts(self):
    vertices = np.concatenate([VERTICES, [[99.0, 0, 0]]])
    frame = preprocessing.normalization(vertices, FACES)
    moved = frame.apply(VERTICES)
    self.assertAlmostEqual(np.linalg.norm(moved, axis=1).max(), 1 / 1.03, places=5)
    np.testing.assert_allclose(frame.offset, [-5, 0, 0], atol=1e-3)
    np.testing.assert_allclose(frame.invert(moved), VERTICES, atol=1e-9)

  @parameterized.parameters(
    ([[0, 0, 0]], np.zeros((0, 3), int), "no faces"),
    ([[0, 0, 0]], [[0, 0, 0]], "one point"),
    ([[0, 0, 0], [np.nan, 0, 0]], [[0, 1, 1]], "not finite"),
  )
  def test_meshes_without_size_are_refused(self, vertices, faces, message):
    with self.assertRaisesRegex(UserError, message):
      preprocessing.normalization(np.array(vertices, float), np.array(faces))

  def test_one_triangle_and_faces_without_area_are_refused(self):
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]])
    for faces, message in (
      ([[0, 1, 2]], "no inside"),
      ([[0, 0, 1]], "no face .* seen"),
    ):
      with self.assertRaisesRegex(UserError, message):
        preprocessing.sample_mesh(
          0, corners, np.array(faces), count=50, cameras=8, size=20
        )

  def test_samples_of_a_ball_are_its_distances(self):
    samples, frame, shell = preprocessing.sample_mesh(
      0, VERTICES, FACES, count=3000, cameras=12, size=120
    )
    self.assertTrue(shell.is_good)
    self.assertEqual(shell.bad_triangles, 0)
    radius = 2.0 * frame.scale
    # Normals point outwards, because cameras are outside.
    outward = np.sum(shell.points * shell.normals, axis=1)
    np.testing.assert_allclose(outward, radius, atol=0.01)
    for side, sign in ((samples.pos, 1), (samples.neg, -1)):
      true = np.linalg.norm(side[:, :3], axis=1) - radius
      self.assertLess(np.abs(side[:, 3] - true).max(), 0.03)
      self.assertLess(np.abs(side[:, 3] - true).mean(), 3e-3)
      np.testing.assert_array_equal(np.sign(side[:, 3]), sign)
    self.assertGreater(len(samples.pos) + len(samples.neg), 2500)
    self.assertGreater(np.mean(np.abs(samples.pos[:, 3]) < 0.1), 0.5)

  def test_inside_out_and_open_meshes(self):
    turned = preprocessing.visible_shell(
      VERTICES / 3 - [5 / 3, 0, 0], FACES[:, ::-1], cameras=6, size=60
    )
    self.assertGreater(np.sum(turned.points * turned.normals, axis=1).min(), 0)
    # A single triangle is seen from both sides.
    triangle = np.array([[0.5, 0, 0], [-0.5, 0, 0], [0, 0.5, 0]])
    sheet = preprocessing.visible_shell(triangle, np.array([[0, 1, 2]]), size=60)
    self.assertEqual(sheet.bad_triangles, 1)
    self.assertFalse(sheet.is_good)
    with self.assertRaisesRegex(UserError, "no face"):
      preprocessing.visible_shell(triangle, np.array([[0, 1, 1]]), size=20)
    with self.assertRaisesRegex(UserError, "fewer than 11"):
      preprocessing.vote_distances(triangle, triangle, triangle)

  def test_votes(self):
    rng = np.random.default_rng(0)
    plane = rng.uniform(-1, 1, (5000, 3)) * [1, 1, 0]
    up = np.tile([0.0, 0, 1], (5000, 1))
    queries = np.array([[0, 0, 0.05], [0, 0, -0.05], [0, 0, 0.5]])
    found, agreed = preprocessing.vote_distances(queries, plane, up)
    np.testing.assert_allclose(found[:2], [0.05, -0.05], atol=1e-6)
    self.assertGreaterEqual(found[2], 0.5)  # the nearest point, not its plane
    self.assertTrue(agreed.all())
    mixed = up * np.where(rng.random(5000) < 0.5, 1, -1)[:, None]
    _, agreed = preprocessing.vote_distances(queries, plane, mixed)
    self.assertFalse(agreed.any())

  def test_where_samples_lie(self):
    surface = np.zeros((7, 3))
    points = preprocessing.query_points(np.random.default_rng(0), surface, 10_000)
    self.assertEqual(points.shape, (10_000, 3))
    self.assertAlmostEqual(points[:4700].std(), 0.005**0.5, delta=1e-3)
    self.assertAlmostEqual(points[4700:9400].std(), 0.0005**0.5, delta=3e-4)
    self.assertAlmostEqual(points[9400:].std(), 3**-0.5, delta=0.03)


class DatasetTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.instance = Instance("ShapeNetV2", "03001627", "abc")

  def test_a_mesh_becomes_the_authors_files(self):
    meshes.write_mesh(self.folder / "abc.ply", meshes.Mesh(VERTICES, FACES))
    good = dataset.preprocess(
      self.folder / "abc.ply",
      self.folder / "data",
      self.instance,
      count=500,
      cameras=6,
      size=60,
    )
    self.assertTrue(good)
    root = self.folder / "data"
    with np.load(root / "SdfSamples/ShapeNetV2/03001627/abc.npz") as stored:
      self.assertCountEqual(stored.files, ["pos", "neg"])
      self.assertEqual((stored["pos"].dtype, stored["pos"].shape[1]), (np.float32, 4))
    points = dataset.read_surface(root / "SurfaceSamples/ShapeNetV2/03001627/abc.ply")
    self.assertEqual(points.shape, (30_000, 3))
    radii = np.linalg.norm(points - [5, 0, 0], axis=1)
    np.testing.assert_allclose(radii, 2, atol=0.03)
    frame = dataset.read_normalization(
      root / "NormalizationParameters/ShapeNetV2/03001627/abc.npz"
    )
    np.testing.assert_allclose(frame.offset, [-5, 0, 0], atol=1e-3)
    self.assertIn("ShapeNetV2", json.loads((root / ".datasources.json").read_text()))

    path = self.folder / "split.json"
    path.write_text(json.dumps({"ShapeNetV2": {"03001627": ["abc"]}}))
    self.assertEqual(dataset.read_split(path), [self.instance])
    dataset.write_split(path, [self.instance, Instance("ShapeNetV2", "1", "x")])
    self.assertLen(dataset.read_split(path), 2)
    source = dataset.SampleSource(root, [self.instance])
    self.assertCountEqual(source[0], ["shape", "pos", "neg"])
    self.assertLen(source, 1)
    with self.assertRaisesRegex(UserError, r"x\.npz and 0 more"):
      dataset.SampleSource(root, [Instance("ShapeNetV2", "1", "x")])

  def test_nan_rows_are_left_out_and_damage_is_told(self):
    rows = np.ones((5, 4), np.float32)
    rows[2, 3] = np.nan
    path = self.folder / "one.npz"
    archives.write_npz(path, {"pos": rows, "neg": -np.ones((2, 4), np.float32)})
    self.assertLen(dataset.read_samples(path).pos, 4)
    for arrays, message in (
      ({"pos": rows}, "lacks samples 'neg'"),
      ({"pos": rows, "neg": rows[:, :3]}, "lacks samples 'neg'"),
      ({"pos": rows, "neg": rows[2:3]}, "no sample in 'neg'"),
    ):
      archives.write_npz(path, arrays)
      with self.assertRaisesRegex(UserError, message):
        dataset.read_samples(path)
    archives.write_npz(path, {"offset": np.zeros(3), "scale": np.zeros(1)})
    with self.assertRaisesRegex(UserError, "out of range"):
      dataset.read_normalization(path)
    (self.folder / "broken.json").write_text("[1, 2]")
    with self.assertRaisesRegex(UserError, "broken.json"):
      dataset.read_split(self.folder / "broken.json")
    ply.write_ply_vertices(self.folder / "a.ply", {"x": np.zeros(3, np.float32)})
    with self.assertRaisesRegex(UserError, "no points x, y, z"):
      dataset.read_surface(self.folder / "a.ply")

  def test_results_are_written(self):
    mesh = meshes.Mesh(VERTICES, FACES)
    dataset.write_reconstruction(self.folder, self.instance, mesh, np.ones(4))
    path = self.folder / "Meshes/ShapeNetV2/03001627/abc.ply"
    self.assertLen(meshes.read_mesh(path).vertices, len(VERTICES))
    nothing = meshes.Mesh(VERTICES[:0], FACES[:0])
    dataset.write_reconstruction(self.folder, self.instance, nothing, np.ones(4))
    self.assertIn(b"element face 0", path.read_bytes())
    dataset.write_chamfer(self.folder / "e/chamfer.csv", [(self.instance, 0.5)])
    lines = list(csv.reader(io.StringIO((self.folder / "e/chamfer.csv").read_text())))
    self.assertEqual(
      lines, [["shape", "chamfer_dist"], ["ShapeNetV2/03001627/abc", "0.5"]]
    )


def torch_file(path, tensors, prefix):
  """Writes {"epoch", prefix: OrderedDict} as PyTorch's zip file does."""
  with zipfile.ZipFile(path, "w") as archive:
    entries = {}
    for number, (name, tensor) in enumerate(tensors.items()):
      archive.writestr(f"archive/data/{number}", tensor.astype("<f4").tobytes())
      strides = tuple(int(np.prod(tensor.shape[i + 1 :])) for i in range(tensor.ndim))
      entries[name] = assembler.call(
        "torch._utils._rebuild_tensor_v2",
        assembler.storage("FloatStorage", str(number), tensor.size),
        0,
        tensor.shape,
        strides,
        False,
        assembler.ordered_dict({}),
      )
    tree = {"epoch": 3, prefix: assembler.ordered_dict(entries)}
    archive.writestr("archive/data.pkl", assembler.program(assembler.value(tree)))
    archive.writestr("archive/version", "3\n")


class PublishedTest(absltest.TestCase):
  def test_an_experiments_folder_is_read(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    network = decoder.Decoder(4, (12,) * 4, (2,), norm_layers=(0, 1, 2, 3))
    params = jax.jit(lambda k: decoder.init(network, k))(jax.random.key(0))
    tensors = {}
    for name, layer in params.items():
      kernel, prefix = np.asarray(layer["kernel"]).T, f"module.{name}"
      if "scale" in layer:
        tensors[f"{prefix}.weight_g"] = np.asarray(layer["scale"])[:, None]
        tensors[f"{prefix}.weight_v"] = kernel
      else:
        tensors[f"{prefix}.weight"] = kernel
      tensors[f"{prefix}.bias"] = np.asarray(layer["bias"])
    for part in ("ModelParameters", "LatentCodes"):
      (folder / part).mkdir()
    codes = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    torch_file(folder / "ModelParameters/latest.pth", tensors, "model_state_dict")
    torch_file(folder / "LatentCodes/latest.pth", {"weight": codes}, "latent_codes")
    specs = {"CodeLength": 4, "NetworkSpecs": {"dropout": [0, 1], "dropout_prob": 0.2}}
    (folder / "specs.json").write_text(json.dumps(specs))
    found, weights, table = published.load_experiment(folder)
    self.assertEqual((found.dims, found.latent_in), (network.dims, network.latent_in))
    self.assertEqual((found.dropout_layers, found.dropout), ((0, 1), 0.2))
    np.testing.assert_array_equal(table, codes)
    jax.tree.map(np.testing.assert_array_equal, dict(params), weights)

    (folder / "specs.json").write_text(json.dumps({"CodeLength": 5}))
    with self.assertRaisesRegex(UserError, "codes of 5 numbers"):
      published.load_experiment(folder)
    del tensors["module.lin1.bias"]
    with self.assertRaisesRegex(UserError, "lin1.bias"):
      published.convert(tensors)
    with self.assertRaisesRegex(UserError, "no decoder"):
      published.convert({})


class CompletionTest(absltest.TestCase):
  def test_depth_of_a_ball(self):
    vertices = VERTICES / 4 - [5 / 4, 0, 0]  # of radius 0.5
    view = completion.depth_view(vertices, FACES, azimuth=0.4, elevation=0.3)
    np.testing.assert_allclose(np.linalg.norm(view.points, axis=1), 0.5, atol=6e-3)
    outward = np.sum(view.normals * view.points, axis=1) / 0.5
    self.assertGreater(outward.min(), 0.9)
    self.assertGreater((view.points @ view.toward).min(), 0)  # the near half
    outside, inside = completion.observe_surface(view.points, view.normals)
    np.testing.assert_allclose(
      np.linalg.norm(outside[:, :3], axis=1) - 0.5, 0.02, atol=7e-3
    )
    np.testing.assert_allclose(inside[:, 3:], np.tile([-0.02, 0.02], (len(inside), 1)))
    free = completion.free_space(
      np.random.default_rng(0), view.points, view.toward, 300
    )
    self.assertGreater(np.linalg.norm(free[:, :3], axis=1).min(), 0.5)
    self.assertTrue(np.all(np.isinf(free[:, 3])))
    with self.assertRaisesRegex(UserError, "does not see"):
      completion.depth_view(vertices + 9, FACES, azimuth=0.0, elevation=0.0)

  def test_estimated_normals(self):
    points = VERTICES / 4 - [5 / 4, 0, 0]
    normals = completion.estimate_normals(points)
    self.assertGreater(np.sum(normals * points, axis=1).min() / 0.5, 0.98)
    turned = completion.estimate_normals(points, np.array([0.0, 0, 0]))
    self.assertLess(np.sum(turned * points, axis=1).max() / 0.5, -0.98)
    with self.assertRaisesRegex(UserError, "5 points"):
      completion.estimate_normals(points[:5])


class BaselineTest(absltest.TestCase):
  def test_a_sphere_learns_a_ball_and_keeps_its_faces(self):
    vertices, faces = atlasnet.sphere_mesh(2)
    sphere = trimesh.Trimesh(vertices, faces, process=False)
    self.assertTrue(sphere.is_watertight)
    self.assertGreater(sphere.volume, 3.8)
    network = atlasnet.AtlasNetSphere(2, (8,), (16, 16))
    points = np.float32(0.5 * atlasnet.sphere_points(64))[None]
    stage = atlasnet.stage("a", network, optax.adam(0.01), batch=1, points=64)
    state = jax.jit(stage.init)(jax.random.key(0))
    before = stage.forward(state, {"points": points})

    @jax.jit
    def train(state):
      one = {"points": points}
      return jax.lax.scan(lambda s, _: stage.step(s, one), state, length=150)

    state, metrics = train(state)
    self.assertLess(metrics["loss"][-1], 0.1 * metrics["loss"][0])
    meshes_, faces = atlasnet.reconstruct(network, state.params, points)
    radii = np.linalg.norm(meshes_[0], axis=1)
    np.testing.assert_allclose(radii.mean(), 0.5, atol=0.05)
    self.assertEqual(before.shape, (1, 64, 3))

  def test_chamfer_is_evaluations(self):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(40, 3)), rng.normal(size=(50, 3))
    found = atlasnet.chamfer(jnp.float32(first), jnp.float32(second))
    self.assertAlmostEqual(found, evaluation.chamfer(first, second), places=5)


@functools.cache
def six_shapes():
  return data.make(0, 6, samples=200, surface=2000)


class EvaluationTest(absltest.TestCase):
  def test_measures_of_a_moved_surface(self):
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (3000, 3))
    points[:, 2] = 0
    up = np.tile([0.0, 0, 1], (3000, 1))
    same = evaluation.measure((points, up), (points, up))
    self.assertEqual(
      [same["chamfer"], same["emd"], same["completion"], same["cosine"]], [0, 0, 1, 1]
    )
    moved = evaluation.measure((points + 0.02 * up, -up), (points, up))
    self.assertAlmostEqual(moved["chamfer"], 2 * 0.02**2, places=6)
    self.assertAlmostEqual(moved["accuracy"], 0.02, places=6)
    self.assertAlmostEqual(moved["emd"], 0.02, places=5)
    self.assertEqual((moved["completion"], moved["cosine"]), (0, -1))
    nothing = evaluation.measure((points[:0], up[:0]), (points, up))
    self.assertEqual((nothing["chamfer"], nothing["completion"]), (np.inf, 0))
    self.assertAlmostEqual(evaluation.summary([same, moved])["CD mean"], 0.4, places=5)

  def test_members_of_a_family_fit_it_and_averages_do_not(self):
    shapes = six_shapes()
    self.assertLen(shapes, 6)
    pairs = reconstruction.family_pairs(shapes, 1)
    self.assertEqual(pairs, [(0, 3), (1, 4), (2, 5)])
    one = shapes.shape(1)
    mesh = reconstruction.sample(*shape_families.mesh(one, 65), 2000)
    other = data.midpoint(one, shapes.shape(4))
    near = reconstruction.family_misfit(mesh, other, 2000)
    self.assertLess(near, 4e-3)
    far = reconstruction.family_misfit(mesh, shapes.shape(2), 2000)
    self.assertGreater(far, 3 * near)
    grid = reconstruction.average_grid(one, one, 9)
    expected = shape_families.signed_distance(one, jnp.array([-1.0, -0.75, 1.0]))
    self.assertAlmostEqual(grid[0, 1, 8], expected, places=5)

  def test_half_a_shape(self):
    shapes = six_shapes()
    half = data.half_seen(shapes.samples[0])
    for side, rows in zip(half, shapes.samples[0], strict=True):
      self.assertLess(len(side), len(rows))
      self.assertTrue(np.all(side[:, 2] > 0) and np.all(np.abs(side[:, 3]) < 0.08))


class PredictionTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_clouds_with_and_without_normals(self):
    points = np.float32(VERTICES / 4 - [5 / 4, 0, 0])
    meshes.write_mesh(
      self.folder / "a.ply", meshes.Mesh(points, np.zeros((0, 3), np.int32))
    )
    request = prediction.read(self.folder / "a.ply", samples=10)
    self.assertIsNone(request.frame)
    radii = np.linalg.norm(request.pos[:, :3], axis=1)
    np.testing.assert_allclose(radii, 0.52, atol=2e-3)
    seen = prediction.read(self.folder / "a.ply", samples=10, viewpoint=(0, 0, 3))
    self.assertGreater(np.isinf(seen.pos[:, 3]).sum(), 0)
    inward = {f"n{axis}": -2 * points[:, k] for k, axis in enumerate("xyz")}
    columns = {axis: points[:, k] for k, axis in enumerate("xyz")}
    ply.write_ply_vertices(self.folder / "b.ply", columns | inward)
    request = prediction.read(self.folder / "b.ply", samples=10)
    radii = np.linalg.norm(request.pos[:, :3], axis=1)
    np.testing.assert_allclose(radii, 0.48, atol=2e-3)  # as the file says

  @parameterized.parameters(
    (np.full((20, 3), np.nan), "not finite"),
    (100.0 * np.eye(3), "normalised frame"),
    (np.eye(3), "3 points are fewer"),
    (np.full((20, 3), 0.2), "in one place"),
  )
  def test_useless_clouds_are_named(self, points, message):
    path = self.folder / "cloud.ply"
    meshes.write_mesh(path, meshes.Mesh(points, np.zeros((0, 3), np.int32)))
    with self.assertRaisesRegex(UserError, f"cloud.ply: .*{message}"):
      prediction.read(path, samples=10)
    with self.assertRaisesRegex(UserError, "3 coordinates, not 2"):
      prediction.read(path, samples=10, viewpoint=(0.0, 1.0))

  def test_a_mesh_is_written_in_its_own_frame(self):
    meshes.write_mesh(self.folder / "ball.obj", meshes.Mesh(VERTICES, FACES))
    request = prediction.read(self.folder / "ball.obj", samples=200, cameras=6, size=40)
    mesh = request.frame.apply(VERTICES), FACES
    prediction.write(self.folder / "out", request, mesh, np.zeros(3), 0.5)
    written = meshes.read_mesh(self.folder / "out/ball.ply")
    np.testing.assert_allclose(written.vertices, VERTICES, atol=1e-5)
    self.assertEqual(
      json.loads((self.folder / "out/ball.json").read_text())["error"], 0.5
    )
    self.assertTrue((self.folder / "out/ball.png").exists())


if __name__ == "__main__":
  absltest.main()
