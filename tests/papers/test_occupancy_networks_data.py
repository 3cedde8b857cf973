"""Tests of occupancy_networks: solids, drawn batches, files, prediction."""

import functools

import jax
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import archives, binvox, images, meshes, pipeline
from jaxvision.errors import UserError
from jaxvision.ops import voxels
from jaxvision.papers.occupancy_networks import (
  data,
  dataset,
  prediction,
  shapes,
  variants,
)
from jaxvision.papers.occupancy_networks.variants import VARIANTS
from tests.papers.occupancy_networks_small import (
  FAMILIES,
  OBSERVED,
  SIZES,
  FolderTest,
  source,
)


class ShapesTest(parameterized.TestCase):
  def test_solids_fill_the_unit_cube(self):
    for index, family in enumerate(FAMILIES):
      example = source()[index]
      low, high = example["cloud"].min(axis=0), example["cloud"].max(axis=0)
      self.assertLessEqual(max(high.max(), -low.min()), 0.501, family)
      self.assertGreater((high - low).max(), 0.85, family)
      share = example["occupancies"].mean()
      self.assertTrue(0.005 < share < 0.6, (family, share))
      length = np.linalg.norm(example["normals"], axis=1)
      np.testing.assert_allclose(length, 1.0, atol=1e-4)

  def test_distances_are_exact_outside(self):
    """A box's distance against the nearest of many points of its surface."""
    solid = jax.tree.map(lambda part: part[0], shapes.sample(("box",), 1, 3))
    half, r = solid.half[0], solid.rounding[0]
    points = np.random.default_rng(0).uniform(-0.7, 0.7, (50, 3)).astype(np.float32)
    inner = half - r
    expected = np.linalg.norm(np.maximum(np.abs(points) - inner, 0), axis=1) - r
    outside = np.any(np.abs(points) > inner, axis=1)
    found = np.asarray(shapes.signed_distance(solid, points))
    np.testing.assert_allclose(found[outside], expected[outside], atol=1e-5)
    self.assertTrue(np.all(found[~outside] < 0))

  def test_a_mug_is_hollow_and_a_chair_has_a_gap_under_its_seat(self):
    mug, chair = (
      jax.tree.map(lambda part: part[0], shapes.sample((family,), 1, 0))
      for family in ("mug", "chair")
    )
    inside = mug.tube[:3] + np.array([0, 0.5, 0]) * mug.tube[5]
    self.assertGreater(shapes.signed_distance(mug, inside), 0.05)
    bottom = mug.tube[:3] - np.array([0, 0.97, 0]) * mug.tube[5]
    self.assertLess(shapes.signed_distance(mug, bottom), 0)
    seat = chair.center[0]
    self.assertLess(shapes.signed_distance(chair, seat), 0)
    below = np.array([seat[0], -0.4, seat[2]], np.float32)
    self.assertGreater(shapes.signed_distance(chair, below), 0.05)

  def test_the_mesh_encloses_what_is_occupied(self):
    solid = jax.tree.map(lambda part: part[3], shapes.sample(FAMILIES, 4, 0))
    vertices, faces = shapes.mesh(solid, resolution=40)
    self.assertEqual(FAMILIES[3], "torus")
    volume = np.linalg.det(vertices[faces]).sum() / 6
    major, minor = solid.ring[6:]
    exact = 2 * np.pi**2 * major * minor**2
    self.assertAlmostEqual(volume / exact, 1.0, delta=0.03)

  def test_pictures_show_the_object_on_white(self):
    pictures = source()[0]["images"]
    self.assertEqual(pictures.shape, (2, 63, 63, 3))
    self.assertTrue(np.all(pictures[:, 0, 0] == 255))
    covered = np.mean(pictures[..., 0] < 250)
    self.assertTrue(0.1 < covered < 0.8, covered)

  def test_unknown_families_are_told(self):
    with self.assertRaisesRegex(UserError, "'boat'.*chair"):
      data.stand_in(("boat",), 1, 0, points=1, surface=1, resolution=2)


class DrawingTest(parameterized.TestCase):
  @parameterized.parameters(*VARIANTS)
  def test_batches_are_as_announced(self, name):
    variant = VARIANTS[name]
    expected = data.batch_shapes(variant, SIZES, 3, resolution=8, cloud=20, image=63)
    batches = pipeline.batches(
      source(),
      batch_size=3,
      seed=0,
      transform=data.drawing(variant, SIZES, **OBSERVED),
    )
    batch = next(batches)
    found = jax.tree.map(lambda a: (a.shape, a.dtype), batch)
    announced = jax.tree.map(lambda s: (s.shape, s.dtype), expected)
    self.assertEqual(found, announced)

  def draw(self, name, seed=0, points=16):
    sizes = variants.Sizes(points=points)
    draw = data.drawing(VARIANTS[name], sizes, **OBSERVED)
    return draw(source()[0], np.random.default_rng(seed))

  def test_equal_sampling_is_half_inside(self):
    drawn = self.draw("pointcloud_equal", points=40)
    self.assertEqual(drawn["occupancies"].sum(), 20)
    self.assertLess(self.draw("pointcloud", points=40)["occupancies"].sum(), 12)

  def test_surface_sampling_is_half_near_the_surface(self):
    drawn = self.draw("pointcloud_surface", points=300)
    distance = _distance_to(source()[0]["cloud"], drawn["points"])
    self.assertLess(np.mean(distance[150:]), 0.6 * np.mean(distance[:150]))

  def test_occupancies_belong_to_their_points(self):
    solid = jax.tree.map(lambda part: part[0], shapes.sample(FAMILIES, 1, 0))
    for name in ("pointcloud", "pointcloud_equal", "pointcloud_surface"):
      drawn = self.draw(name)
      inside = np.asarray(shapes.signed_distance(solid, drawn["points"])) < 0
      np.testing.assert_array_equal(inside, drawn["occupancies"] > 0, name)

  def test_clouds_are_noisy_and_evaluation_repeats_itself(self):
    observe = functools.partial(
      data.observe, VARIANTS["pointcloud"], source()[0], 7, **OBSERVED
    )
    np.testing.assert_array_equal(observe(), observe())
    distance = _distance_to(source()[0]["cloud"], observe())
    self.assertTrue(0.004 < distance.mean() < 0.015, distance.mean())

  def test_crops_keep_three_quarters_of_a_picture_or_more(self):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.stack([np.tile(ramp, (64, 1))] * 3, axis=-1)
    example = {"images": [picture], "index": 0}
    draw = data.drawing(
      VARIANTS["image_psgn"], SIZES, cloud=1, noise=0, image=64, augment=True
    )
    example["cloud"] = source()[0]["cloud"]
    spans = []
    for seed in range(20):
      row = draw(example, np.random.default_rng(seed))["inputs"][0, :, 0]
      spans.append(row[-1] - row[0])
    self.assertGreater(min(spans), 0.75**0.5 - 0.05)
    self.assertGreater(max(spans) - min(spans), 0.05)

  def test_a_shape_without_inside_is_told(self):
    example = source()[0] | {"occupancies": np.zeros(400, bool)}
    draw = data.drawing(VARIANTS["pointcloud_equal"], SIZES, **OBSERVED)
    with self.assertRaisesRegex(UserError, "shape 0: no points inside"):
      draw(example, np.random.default_rng(0))


def _distance_to(cloud, points):
  return np.linalg.norm(points[:, None] - cloud, axis=-1).min(axis=1)


class ShapenetTest(FolderTest):
  def write(self):
    for category, models in (("03001627", (0, 3)), ("02691156", (1,))):
      for model in models:
        dataset.write_model(self.folder / category / f"m{model}", source()[model])
      names = "\n".join(f"m{model}" for model in models)
      (self.folder / category / "test.lst").write_text(names + "\n")
    (self.folder / "metadata.yaml").write_text(
      "'02691156':\n  id: '02691156'\n  name: airplane,aeroplane,plane\n"
      "'03001627':\n  id: '03001627'\n  name: chair\n"
    )

  def test_the_authors_layout_is_read(self):
    self.write()
    read = dataset.ShapeNet(self.folder, "test", VARIANTS["pointcloud_surface"])
    self.assertEqual(len(read), 3)
    example, original = read[1], source()[0]
    self.assertEqual(example["category"], "03001627")
    np.testing.assert_array_equal(example["occupancies"], original["occupancies"])
    half = original["points"].astype(np.float16).astype(np.float32)
    difference = example["points"] - half
    self.assertTrue(0.5e-4 < difference.std() < 2e-4)  # half precision is blurred
    np.testing.assert_array_equal(read[1]["points"], example["points"])
    np.testing.assert_allclose(example["cloud"], original["cloud"], atol=5e-4)
    np.testing.assert_array_equal(
      example["near_occupancies"], original["near_occupancies"]
    )
    draw = data.drawing(VARIANTS["pointcloud_surface"], SIZES, **OBSERVED)
    self.assertEqual(draw(example, np.random.default_rng(0))["points"].shape, (16, 3))

  def test_voxels_and_pictures_are_read(self):
    self.write()
    grids = dataset.ShapeNet(self.folder, "test", VARIANTS["voxels"], ("chair",))
    np.testing.assert_array_equal(grids[1]["voxels"], source()[3]["voxels32"])
    views = dataset.ShapeNet(self.folder, "test", VARIANTS["image"], ("plane",))
    self.assertEqual(len(views), 1)
    pictures = views[0]["images"]
    self.assertEqual((len(pictures), pictures[1].shape), (2, (63, 63, 3)))
    error = np.abs(pictures[1].astype(int) - source()[1]["images"][1]).mean()
    self.assertLess(error, 4.0)  # JPEG

  def test_unpacked_occupancies_and_full_precision_are_read_as_they_are(self):
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    inside = np.arange(9) % 3 == 0
    path = self.folder / "points.npz"
    archives.write_npz(path, {"points": points, "occupancies": inside})
    read, occupied = dataset.read_points(path, seed=0)
    np.testing.assert_array_equal(read, points)
    np.testing.assert_array_equal(occupied, inside)

  def test_cameras(self):
    rng = np.random.default_rng(0)
    arrays = {f"world_mat_{i}": rng.normal(size=(3, 4)) for i in range(11)}
    arrays |= {f"camera_mat_{i}": rng.normal(size=(3, 3)) for i in range(11)}
    archives.write_npz(self.folder / "cameras.npz", arrays)
    world, camera = dataset.read_cameras(self.folder / "cameras.npz")
    np.testing.assert_array_equal(world[10], arrays["world_mat_10"])
    np.testing.assert_array_equal(camera[2], arrays["camera_mat_2"])

  def test_what_is_missing_or_damaged_is_named(self):
    variant = VARIANTS["pointcloud"]
    with self.assertRaisesRegex(UserError, "no such folder"):
      dataset.ShapeNet(self.folder / "none", "test", variant)
    with self.assertRaisesRegex(UserError, "test.lst; .*download_data.sh"):
      dataset.ShapeNet(self.folder, "test", variant)
    self.write()
    dataset.category_names.cache_clear()
    with self.assertRaisesRegex(UserError, "no test.lst of boat"):
      dataset.ShapeNet(self.folder, "test", variant, ("boat",))
    read = dataset.ShapeNet(self.folder, "test", variant)
    model = self.folder / "02691156" / "m1"
    points = archives.read_npz(model / "points.npz")
    points["points"][3] = np.nan
    archives.write_npz(model / "points.npz", points)
    with self.assertRaisesRegex(UserError, "m1/points.npz.*not finite"):
      read[0]
    points["points"] = points["points"][:, :2]
    archives.write_npz(model / "points.npz", points)
    with self.assertRaisesRegex(UserError, "m1/points.npz"):
      read[0]
    (model / "points.npz").write_bytes(b"PK broken")
    with self.assertRaisesRegex(UserError, "m1/points.npz"):
      read[0]
    (model / "points.npz").unlink()
    with self.assertRaisesRegex(UserError, "m1/points.npz: no such file"):
      read[0]

  def test_meshes_become_examples(self):
    solid = jax.tree.map(lambda part: part[0], shapes.sample(("torus",), 1, 0))
    vertices, faces = shapes.mesh(solid, resolution=24)
    paths = []
    for number in range(2):
      paths.append(self.folder / f"{number}.ply")
      moved = meshes.Mesh((number + 1) * vertices + number, faces)
      meshes.write_mesh(paths[-1], moved)
    read = dataset.of_meshes(paths, points=500, surface=50, resolution=32)
    self.assertEqual(len(read), 2)
    for example in (read[0], read[1]):
      distances = np.asarray(shapes.signed_distance(solid, example["points"]))
      clear = np.abs(distances) > 0.03
      np.testing.assert_array_equal(example["occupancies"][clear], distances[clear] < 0)
      on = shapes.signed_distance(solid, example["cloud"])
      self.assertLess(np.abs(on).max(), 0.03)
      exact = shapes.signed_distance(solid, voxels.cell_centers(32)) < 0
      self.assertLess(np.mean(np.asarray(exact) != example["voxels"]), 0.02)
    meshes.write_mesh(paths[0], meshes.Mesh(vertices, faces[:0]))
    with self.assertRaisesRegex(UserError, "0.ply.*no faces"):
      dataset.of_meshes(paths, points=50, surface=9, resolution=8)
    with self.assertRaisesRegex(ValueError, "no extent"):
      flat = np.zeros((1, 3), np.int32)
      dataset.describe_mesh(vertices, flat, 0, points=1, surface=1)
    with self.assertRaisesRegex(ValueError, "no area"):
      line = np.array([[0, 0, 1]], np.int32)
      dataset.describe_mesh(vertices, line, 0, points=1, surface=1)


class PredictionTest(FolderTest):
  def test_clouds_come_into_the_unit_cube_from_any_file(self):
    rng = np.random.default_rng(0)
    points = rng.uniform([-3, 2, 5], [1, 3, 7], (200, 3))
    np.save(self.folder / "a.npy", points)
    archives.write_npz(self.folder / "a.npz", {"points": points})
    cloud = meshes.Mesh(points, np.zeros((0, 3), np.int32))
    meshes.write_mesh(self.folder / "a.ply", cloud)
    for suffix in ("npy", "npz", "ply"):
      read = prediction.read(self.folder / f"a.{suffix}")
      self.assertEqual(read.task, "pointcloud")
      np.testing.assert_allclose(np.ptp(read.values, axis=0).max(), 1.0, rtol=1e-5)
      placed = read.values * read.size + read.center
      np.testing.assert_allclose(placed, points, atol=1e-4)

  def test_points_are_drawn_on_meshes(self):
    solid = jax.tree.map(lambda part: part[0], shapes.sample(("box",), 1, 0))
    vertices, faces = shapes.mesh(solid, resolution=16)
    mesh = meshes.Mesh(5 * vertices + 1, faces)
    meshes.write_mesh(self.folder / "box.ply", mesh)
    read = prediction.read(self.folder / "box.ply")
    self.assertEqual(read.values.shape, (4096, 3))
    self.assertAlmostEqual(read.size / 5, np.ptp(vertices, axis=0).max(), delta=0.02)

  def test_grids_and_images(self):
    grid = np.zeros((8, 8, 8), bool)
    grid[2:5, 1, 3] = True
    path = self.folder / "g.binvox"
    binvox.write_binvox(path, binvox.Voxels(grid, (1.0, 1.0, 1.0), 2.0))
    read = prediction.read(path)
    np.testing.assert_array_equal(read.center, 2.0)
    taken = prediction.inputs_of(read, resolution=8, **OBSERVED)
    np.testing.assert_array_equal(taken, grid)
    with self.assertRaisesRegex(UserError, r"g.binvox: a grid of \[8, 8, 8\].*32"):
      prediction.inputs_of(read, resolution=32, **OBSERVED)
    images.write_png(self.folder / "p.png", np.full((40, 30, 3), 51, np.uint8))
    read = prediction.read(self.folder / "p.png")
    taken = prediction.inputs_of(read, resolution=8, **OBSERVED)
    self.assertEqual(taken.shape, (63, 63, 3))
    np.testing.assert_allclose(taken, 0.2)

  @parameterized.parameters(
    (np.zeros((0, 3)), r"\[0, 3\]"),
    (np.zeros((5, 2)), r"\[5, 2\]"),
    (np.zeros((5, 3)), "are one"),
    (np.array([[0, 0, np.nan], [1, 1, 1]]), "1 of 2 points are not finite"),
  )
  def test_bad_clouds_are_refused(self, points, message):
    np.save(self.folder / "bad.npy", points)
    with self.assertRaisesRegex(UserError, f"bad.npy.*{message}"):
      prediction.read(self.folder / "bad.npy")

  def test_unknown_missing_and_damaged_files_are_named(self):
    (self.folder / "a.txt").write_text("1 2 3")
    (self.folder / "b.npy").write_bytes(b"nothing")
    grid = binvox.Voxels(np.zeros((4, 4, 4), bool))
    binvox.write_binvox(self.folder / "c.binvox", grid)
    for name, message in (
      ("a.txt", "not one of"),
      ("b.npy", "damaged"),
      ("c.binvox", "no voxel"),
      ("d.ply", "no such file"),
    ):
      with self.assertRaisesRegex(UserError, f"{name}.*{message}"):
        prediction.read(self.folder / name)


if __name__ == "__main__":
  absltest.main()
