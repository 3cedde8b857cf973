"""Tests of rscnn: procedural shapes, data sources, prediction, figures."""

import json
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from etils import epath

from jaxvision.data import clouds, meshes, modelnet, ply, shapenet_part
from jaxvision.errors import UserError
from jaxvision.papers.rscnn import (
  data,
  evaluation,
  figures,
  prediction,
  real_meshes,
  shapes,
)
from jaxvision.papers.rscnn.training import Model


class ShapesTest(parameterized.TestCase):
  @parameterized.parameters(*shapes.CLASSES)
  def test_points_lie_in_the_unit_sphere_with_unit_normals(self, name):
    points, normals, parts = shapes.draw(name, np.random.default_rng(0), 400)
    reach = np.linalg.norm(points, axis=1)
    self.assertAlmostEqual(reach.max(), 1.0, places=5)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-5)
    self.assertEqual(set(parts), set(range(len(shapes.PARTS[name]))))

  @parameterized.parameters("sphere", "cube", "cylinder", "cone", "pyramid")
  def test_normals_of_convex_shapes_point_outward(self, name):
    points, normals, _ = shapes.draw(name, np.random.default_rng(1), 400)
    self.assertTrue(np.all(np.sum(points * normals, axis=1) > 0))

  @parameterized.parameters("torus", "helix", "mug")
  def test_normals_of_tubes_point_away_from_near_points(self, name):
    # A step outward leaves the surface's own neighbourhood behind it.
    points, normals, parts = shapes.draw(name, np.random.default_rng(2), 1500)
    tube = parts == len(shapes.PARTS[name]) - 1
    points, normals = points[tube], normals[tube]
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    count = max(len(points) // 40, 8)
    near = points[np.argsort(distances, axis=1)[:, :count]].mean(axis=1)
    self.assertGreater(np.mean(np.sum((points - near) * normals, axis=1) > 0), 0.9)

  def test_sets_are_reproducible_and_numbered(self):
    first = shapes.draw_set(("mug", "chair"), 2, 50, seed=0)
    again = shapes.draw_set(("mug", "chair"), 2, 50, seed=0)
    other = shapes.draw_set(("mug", "chair"), 2, 50, seed=1)
    for name, values in first.items():
      np.testing.assert_array_equal(values, again[name])
    self.assertFalse(np.array_equal(first["points"], other["points"]))
    self.assertEqual(first["label"].tolist(), [0, 0, 1, 1])
    self.assertEqual(set(first["parts"][2:].ravel()), {2, 3, 4})
    self.assertEqual(shapes.part_numbers(("mug", "chair"))["chair"], (2, 3, 4))


class DataTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_batches_of_procedural_shapes(self):
    train, test = data.load("part_shapes", None, points=30, each=(3, 2))
    self.assertEqual((len(train), len(test)), (9, 6))
    batch = next(
      data.training_batches(train, "part_shapes", batch_size=4, points=30, seed=0)
    )
    shapes_of = data.batch_shapes("part_shapes", 4, 30)
    self.assertEqual(
      {name: (leaf.shape, leaf.dtype) for name, leaf in batch.items()},
      {name: (leaf.shape, leaf.dtype) for name, leaf in shapes_of.items()},
    )
    batches = list(data.testing_batches(test, "part_shapes", batch_size=4, points=30))
    self.assertEqual([b["points"].shape for b in batches], [(4, 30, 3)] * 2)
    np.testing.assert_array_equal(batches[1]["weight"], [1, 1, 0, 0])

  def test_modelnet(self):
    folder = self.root / "downloads" / "manual" / "modelnet40" / modelnet.FOLDER
    drawn = np.random.default_rng(0).normal(size=(3, 40, 3)).astype(np.float32)
    modelnet.write(folder, {s: [(drawn, [0, 5, 39])] for s in ("train", "test")})
    train, _ = data.load("modelnet40", self.root, points=40)
    batch = next(
      data.training_batches(train, "modelnet40", batch_size=3, points=40, seed=0)
    )
    order = np.argsort(batch["label"])
    np.testing.assert_array_equal(batch["points"][order], drawn)
    self.assertEqual(
      {name: leaf.shape for name, leaf in batch.items()},
      {name: s.shape for name, s in data.batch_shapes("modelnet40", 3, 40).items()},
    )

  def test_shapenet_part(self):
    folder = self.root / "downloads" / "manual" / "shapenet_part"
    folder = folder / shapenet_part.FOLDER
    (folder / "train_test_split").mkdir(parents=True)
    (folder / "03797390").mkdir()
    (folder / "synsetoffset2category.txt").write_text("Mug\t03797390\n")
    for split in shapenet_part.SPLITS:
      names = [f"shape_data/03797390/{split}"]
      path = folder / "train_test_split" / f"shuffled_{split}_file_list.json"
      path.write_text(json.dumps(names))
      points, normals, parts = shapes.draw("mug", np.random.default_rng(0), 60)
      path = folder / "03797390" / f"{split}.txt"
      shapenet_part.write(path, 3 + 5 * points, normals, parts + 36)
    train, test = data.load("shapenet_part", self.root, points=100)
    self.assertEqual((len(train), len(test)), (2, 1))
    (batch,) = data.testing_batches(test, "shapenet_part", batch_size=1, points=100)
    self.assertEqual(batch["points"].shape, (1, 100, 3))  # drawn with replacement
    self.assertLessEqual(np.linalg.norm(batch["points"], axis=-1).max(), 1.0001)
    self.assertEqual(set(batch["parts"].ravel()), {36, 37})
    self.assertEqual(batch["label"].tolist(), [shapenet_part.CATEGORIES.index("Mug")])

  def test_real_data_need_a_directory(self):
    with self.assertRaisesRegex(UserError, "modelnet40 is read from --data_dir"):
      data.load("modelnet40", None, points=10)


class ReadPointsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = epath.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)

  def test_every_format(self):
    x, y, z = self.points.T
    np.savetxt(self.root / "a.txt", np.c_[self.points, np.ones(20)])
    np.savetxt(self.root / "b.xyz", self.points, delimiter=",")
    np.save(self.root / "c.npy", self.points.astype(np.float64))
    np.savez(self.root / "d.npz", points=self.points)
    clouds.write_pcd(self.root / "e.pcd", {"x": x, "y": y, "z": z})
    ply.write_ply_vertices(self.root / "f.ply", {"x": x, "y": y, "z": z})
    for path in sorted(self.root.iterdir()):
      found = prediction.read_points(path, 16)
      self.assertEqual(found.dtype, np.float32, path)
      np.testing.assert_allclose(found, self.points, atol=1e-5, err_msg=str(path))

  def test_meshes_are_sampled(self):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)
    mesh = meshes.Mesh(vertices, np.array([[0, 1, 2]]))
    meshes.write_mesh(self.root / "one.off", mesh)
    found = prediction.read_points(self.root / "one.off", 16)
    self.assertLen(found, prediction.SAMPLES)
    np.testing.assert_allclose(found[:, 2], 0)

  @parameterized.parameters(
    ("few", np.zeros((3, 3)), "3 points, fewer than 16"),
    ("empty", np.zeros((0, 3)), "0 points, fewer than 16"),
    ("one", np.ones((20, 3)), "all points are in one place"),
    ("nan", np.full((20, 3), np.nan), "20 of 20 points are not finite"),
    ("flat", np.zeros((20, 2)), r"\[20, 2\] float64 are no points"),
    ("text", np.array(["a"] * 20), "are no points"),
  )
  def test_clouds_that_are_none_name_their_file(self, name, array, message):
    path = self.root / f"{name}.npy"
    np.save(path, array)
    with self.assertRaisesRegex(UserError, rf"{name}\.npy: .*{message}"):
      prediction.read_points(path, 16)

  def test_damaged_files_name_themselves(self):
    (self.root / "a.txt").write_text("1 2 x\n")
    (self.root / "b.txt").write_text("\n")
    (self.root / "c.npy").write_bytes(b"none")
    np.savez(self.root / "d.npz", cloud=self.points)
    (self.root / "e.jpg").write_bytes(b"")
    messages = (
      "damaged",
      "fewer than",
      "damaged",
      "no array 'points'",
      "are read from",
    )
    for path, message in zip(sorted(self.root.iterdir()), messages, strict=True):
      with self.assertRaisesRegex(UserError, rf"{path.name}: .*{message}"):
        prediction.read_points(path, 16)

  def test_clouds_of_any_size_are_brought_to_the_networks(self):
    for count in (5, 20, 50):
      found = prediction.choose(self.points, count)
      self.assertEqual(found.shape, (count, 3))
      self.assertAlmostEqual(np.linalg.norm(found, axis=1).max(), 1.0, places=5)
    self.assertLen(np.unique(prediction.choose(self.points, 50), axis=0), 20)


class RealMeshesTest(absltest.TestCase):
  def test_errors_are_of_the_meshes_own_normals(self):
    square = np.array([[0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0]], float)
    flat = meshes.Mesh(square, np.array([[0, 1, 2], [0, 2, 3]]))
    point = meshes.Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    estimators = {
      "up": lambda points: jnp.zeros_like(points).at[..., 2].set(-1.0),
      "aside": lambda points: jnp.zeros_like(points).at[..., 0].set(1.0),
    }
    (row,) = real_meshes.errors({"flat": flat, "none": point}, estimators, 40)
    self.assertEqual((row["mesh"], row["up"], row["aside"]), ("flat", 0.0, 1.0))
    self.assertLess(row["fitted planes"], 1e-4)


class FakeNetwork:
  """Says what it is told."""

  def __init__(self, output):
    self.output = output

  def apply(self, variables, points, *others, rngs=None, **named):
    del variables, others, rngs, named
    shape = (1, points.shape[1], *self.output.shape)
    whole = self.output.ndim == 1 and self.output.shape[0] == len(shapes.CLASSES)
    return self.output[None] if whole else jnp.broadcast_to(self.output, shape)


class PredictTest(absltest.TestCase):
  def test_parts_are_those_of_the_class_found(self):
    root = epath.Path(self.enterContext(tempfile.TemporaryDirectory()))
    chair = shapes.CLASSES.index("chair")
    logits = jnp.zeros(len(shapes.CLASSES)).at[chair].set(9.0)
    parts = jnp.array([9.0, 0, 0, 0, 0, 5, 0])  # a mug's body, else a chair's back
    networks = {
      "rscnn": (Model(FakeNetwork(logits), "classification"), {}),
      "parts": (Model(FakeNetwork(parts), "parts", 3), {}),
      "normals": (Model(FakeNetwork(jnp.array([0.0, 0, 2])), "normals"), {}),
    }
    sources = {
      "rscnn": ("shapes", 40, 30),
      "parts": ("part_shapes", 40, 30),
      "normals": ("shapes", 40, 30),
    }
    points, _, _ = shapes.draw("chair", np.random.default_rng(0), 50)
    found = prediction.predict("a/chair.xyz", points, networks, sources)
    self.assertEqual(found.parts["category"], "chair")
    self.assertEqual(found.parts["names"], ["seat", "back", "legs"])
    np.testing.assert_array_equal(found.parts["parts"], 1)
    np.testing.assert_allclose(found.normals, [[0, 0, 1]] * 30, atol=1e-6)
    self.assertRegex(found.line(), r"chair \(100%\); as chair: seat 0%, back 100%")

    prediction.write(root, [found])
    (entry,) = json.loads((root / "predictions.json").read_text())
    self.assertGreater(entry["probabilities"]["chair"], 0.99)
    written = ply.read_ply_vertices(root / entry["cloud"])
    np.testing.assert_allclose(written["x"], found.points[:, 0])
    np.testing.assert_array_equal(written["part"], 1)
    np.testing.assert_allclose(written["nz"], 1, atol=1e-6)
    self.assertTrue((root / entry["picture"]).exists())

  def test_ious_leave_out_what_fills_a_batch_up(self):
    drawn = shapes.draw_set(shapes.WITH_PARTS, 1, 30, seed=0)
    batch = {name: values[:3] for name, values in drawn.items()}
    batch["weight"] = np.float32([1, 1, 0])
    # Everything is a mug's body or a table's top.
    logits = jnp.array([9.0, 0, 9, 0, 9, 0, 0])
    model = Model(FakeNetwork(logits), "parts", 3)
    measure = evaluation.Evaluator(model, 30, farthest=False)
    numbers = shapes.part_numbers(shapes.WITH_PARTS)
    for votes in (1, 3):
      ious, right = measure.part_ious(
        {}, [batch], numbers, key=jax.random.key(0), votes=votes
      )
      self.assertEqual(list(map(len, ious.values())), [1, 1, 0])
      first = [numbers[name][0] for name in ("mug", "table")]
      shares = [np.mean(batch["parts"][i] == part) for i, part in enumerate(first)]
      self.assertAlmostEqual(right, np.mean(shares), places=5)
      self.assertAlmostEqual(ious["mug"][0], shares[0] / 2, places=5)

  def test_colours(self):
    colors = figures.normal_colors(np.eye(3))
    np.testing.assert_allclose(colors[0], [1.0, 0.5, 0.5])
    colors = figures.error_colors(np.array([0.0, 5.0]), 1.0)
    np.testing.assert_allclose(colors, [figures.RIGHT, figures.WRONG])
    self.assertLen(np.unique(figures.part_colors(np.arange(6)), axis=0), 6)
    picture = figures.draw_cloud(np.eye(3), size=40)
    self.assertEqual(picture.shape, (40, 40, 3))


if __name__ == "__main__":
  absltest.main()
