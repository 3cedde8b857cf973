"""Tests of permutation synchronization's problems, readers and predictions."""

import json
import pathlib
import tempfile

import chex
import jax
import numpy as np
import scipy.io
from absl.testing import absltest, parameterized

from jaxvision.data import images
from jaxvision.errors import UserError
from jaxvision.papers.permutation_sync import (
  comparison,
  data,
  dataset,
  keypoints,
  metrics,
  photo_views,
  prediction,
)

EDGES = data.complete_graph(4)


class ProblemsTest(parameterized.TestCase):
  @parameterized.parameters(0.0, 0.15, 0.35)
  def test_swapped_matches_are_permutations_off_by_the_rate(self, rate):
    edges = data.complete_graph(12)
    rng = np.random.default_rng(0)
    problem, truth = data.swap_problem(rng, edges, 12, 16, rate)
    for axis in (1, 2):
      np.testing.assert_array_equal(problem.matches.sum(axis), 1)
    maps = data.true_maps(truth, edges)
    recall = float(metrics.recall(problem.matches, maps))
    # Each copy of a permutation keeps (1 - 2 / n) ^ k of its points at their place.
    kept = (1 - 2 / 16) ** (2 * round(rate * 16))
    self.assertAlmostEqual(recall, kept, delta=0.05)

  def test_edges_are_corrupted_each_for_itself(self):
    problem, _ = data.swap_problem(np.random.default_rng(1), EDGES, 4, 10, 0.3)
    self.assertLess(float(metrics.cycle_consistency(problem.matches, EDGES)), 0.7)

  def test_noisier_views_match_worse(self):
    recalls = []
    for noise in (0.0, 0.05, 0.4):
      rng = np.random.default_rng(0)
      problem, truth = data.view_problem(rng, EDGES, 4, 12, noise=noise)
      recalls.append(
        float(metrics.recall(problem.matches, data.true_maps(truth, EDGES)))
      )
    self.assertEqual(recalls[0], 1.0)
    self.assertGreater(recalls[1], recalls[2] + 0.2)

  @parameterized.parameters((10, 0.0), (10, 0.3), (40, 0.1), (5, 1.0))
  def test_random_graphs_are_connected_and_as_dense_as_asked(self, nodes, density):
    edges = data.random_graph(nodes, density, seed=3)
    self.assertLen(set(map(tuple, edges.tolist())), len(edges))
    self.assertTrue(np.all(edges[:, 0] < edges[:, 1]))
    wanted = max(round(density * nodes * (nodes - 1) / 2), nodes - 1)
    self.assertLen(edges, wanted)
    reached = {0}
    for _ in range(nodes):
      reached |= {int(b) for a, b in edges if a in reached}
      reached |= {int(a) for a, b in edges if b in reached}
    self.assertLen(reached, nodes)

  def test_sets_depend_on_their_seeds_only(self):
    one, two = (comparison.swap_set((3, 4), 4, 6, 0.3) for _ in range(2))
    np.testing.assert_array_equal(one.problems.matches, two.problems.matches)
    self.assertGreater(np.abs(np.diff(one.problems.matches, axis=0)).max(), 0)


corners = jax.jit(keypoints.corners, static_argnums=1)
describe = jax.jit(keypoints.describe)


class KeypointsTest(chex.TestCase):
  def test_corners_of_a_square_are_found(self):
    image = np.zeros((60, 60), np.float32)
    image[20:40, 20:40] = 1
    points, strengths = corners(image, 4)
    expected = np.array([[20, 20], [20, 39], [39, 20], [39, 39]])
    found = np.array(sorted(points.tolist()))
    self.assertLess(np.abs(found - expected).max(), 3)
    self.assertGreater(float(strengths.min()), 0)
    # An edge is no corner.
    response = jax.jit(keypoints.corner_response)(image)
    self.assertLess(float(response[20, 30]), 0.05 * float(response.max()))

  def test_descriptors_ignore_gain_and_tell_patches_apart(self):
    image = np.random.default_rng(0).random((60, 60)).astype(np.float32)
    points = np.float32([[20, 20], [35, 25], [30.5, 30.25]])
    one = np.asarray(describe(image, points))
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(describe(0.5 * image + 0.2, points), one, atol=1e-4)
    self.assertLess(float((one @ one.T)[0, 1]), 0.9)

  def test_orientation_bins_turn_with_the_gradient(self):
    ramp = np.tile(np.linspace(0, 1, 60, dtype=np.float32), (60, 1))
    points = np.float32([[30, 30]] * 3)
    across = np.asarray(describe(ramp, points))[0].reshape(16, 8)
    down = np.asarray(describe(ramp.T, points))[0].reshape(16, 8)
    np.testing.assert_allclose(across[:, 0], down[:, 2], atol=1e-6)
    self.assertGreater(float(across[:, 0].min()), 0.05)
    self.assertLess(float(across[:, 1:].max()), 1e-6)

  def test_flat_images_have_no_corners_and_no_nan(self):
    flat = np.full((60, 60), 0.5, np.float32)
    _, strengths = corners(flat, 4)
    np.testing.assert_array_equal(strengths, 0)
    described = describe(flat, np.full((3, 2), 25.0, np.float32))
    np.testing.assert_array_equal(described, 0)


class PhotoViewsTest(chex.TestCase):
  def test_points_follow_the_homographies(self):
    reference = photo_views.load_photographs(96, ("astronaut",))["astronaut"]
    rng = np.random.default_rng(0)
    views = photo_views.make_views(rng, reference, EDGES, 4, 8)
    maps = photo_views.homographies(np.random.default_rng(0), 4, 96)
    first = views.truth[0].T @ views.points[0]  # in the common order
    for index in range(4):
      mine = views.truth[index].T @ views.points[index]
      expected = photo_views.transform(maps[index], first)
      # Both are snapped within two pixels of where they are.
      self.assertLess(float(np.abs(mine - expected).max()), 5)
    recall = metrics.recall(
      views.problem.matches, data.true_maps(views.truth, views.problem.edges)
    )
    self.assertGreater(float(recall), 0.4)

  def test_render_with_the_identity_and_a_shift(self):
    image = np.random.default_rng(0).random((20, 20)).astype(np.float32)
    same = photo_views.render(image, np.eye(3, dtype=np.float32))
    np.testing.assert_allclose(same, image, atol=1e-5)
    shift = np.float32([[1, 0, 3], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(
      photo_views.render(image, shift)[:, 3:], image[:, :-3], atol=1e-5
    )

  def test_same_size_moves_points_with_the_pixels(self):
    image = np.zeros((20, 40, 3), np.uint8)
    image[9:11, 29:31] = 255
    squares, points = photo_views.same_size([image], np.float32([[[29.5, 9.5]]]), 80)
    self.assertEqual(squares.shape, (1, 80, 80))
    x, y = points[0, 0]
    self.assertAlmostEqual(float(x), 59.5)
    self.assertAlmostEqual(float(y), 19.5)
    self.assertGreater(squares[0, 19, 59], 0.8)


class ReadersTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    rng = np.random.default_rng(0)
    self.picture = rng.integers(256, size=(24, 30, 3), dtype=np.uint8)
    self.points = rng.uniform(1, 20, size=(2, 10))

  def make_willow(self):
    manual = self.folder / "willow"
    for name in data.WILLOW:
      (manual / name).mkdir(parents=True)
      for index in range(2):
        stem = manual / name / f"image_{index:03d}"
        images.write_png(stem.with_suffix(".png"), self.picture)
        scipy.io.savemat(stem.with_suffix(".mat"), {"pts_coord": self.points + index})
    return manual

  def test_willow(self):
    manual = self.make_willow()
    found, points = dataset.load_sequence("Duck", self.folder / "built", manual)
    self.assertLen(found, 2)
    np.testing.assert_array_equal(found[1], self.picture)
    np.testing.assert_allclose(points[0], self.points.T - 1, rtol=1e-6)
    np.testing.assert_allclose(points[1], self.points.T, rtol=1e-6)

  def test_willow_with_a_damaged_or_missing_file(self):
    manual = self.make_willow()
    path = manual / "Face" / "image_001.mat"
    for content, message in (
      ({"other": self.points}, "holds no pts_coord"),
      ({"pts_coord": self.points[:, :9]}, r"\[2, 10\], not \[2, 9\]"),
      ({"pts_coord": self.points * np.nan}, "NaN"),
    ):
      scipy.io.savemat(path, content)
      with self.assertRaisesRegex(UserError, f"image_001.mat.*{message}"):
        dataset.read_willow_landmarks(path)
    path.write_bytes(path.read_bytes()[:150])
    with self.assertRaisesRegex(UserError, "image_001.mat"):
      dataset.load_sequence("Face", self.folder / "built", manual)
    with self.assertRaisesRegex(UserError, r"missing in .*Car/\*.png"):
      dataset.load_sequence("Car", self.folder / "other", self.folder / "nothing")
    with self.assertRaisesRegex(UserError, "no set 'Plane'"):
      dataset.load_sequence("Plane", self.folder)

  def test_cmu(self):
    manual = self.folder / "cmu"
    landmarks = np.random.default_rng(1).uniform(0, 20, size=(3, 30, 2))
    for name in data.CMU:
      for kind in ("images", "label"):
        (manual / name / kind).mkdir(parents=True)
      # Ten frames and more are in the order of numbers, not of names.
      for frame, points in zip((0, 2, 10), landmarks, strict=True):
        images.write_png(
          manual / name / "images" / f"{name}.seq{frame}.png", self.picture
        )
        np.savetxt(manual / name / "label" / f"{name}{frame + 1}", points)
    scipy.io.savemat(manual / "hotel" / "label" / "hotel3.mat", {"p": landmarks[1].T})
    (manual / "hotel" / "label" / "hotel3").unlink()
    for name in data.CMU:
      found, points = dataset.load_sequence(name, self.folder / "built", manual)
      self.assertLen(found, 3)
      np.testing.assert_allclose(points, landmarks, rtol=1e-5)

  def test_cmu_labels_that_are_wrong(self):
    path = self.folder / "house1"
    for text, message in (
      ("1 2\n3", "damaged"),
      ("1 2\n" * 29, r"\[30, 2\], not \[29, 2\]"),
      ("nan 2\n" * 30, "NaN"),
      ("a b\n" * 30, "damaged"),
    ):
      path.write_text(text)
      with self.assertRaisesRegex(UserError, f"house1.*{message}"):
        dataset.read_cmu_landmarks(path)


class PredictionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.problem, _ = data.swap_problem(np.random.default_rng(0), EDGES, 4, 5, 0.2)
    self.columns = np.argmax(self.problem.matches, axis=2)

  def read(self, *names, count=8):
    return prediction.read([self.folder / name for name in names], count)

  def test_every_format_gives_the_same_problem(self):
    edges, matches = self.problem.edges, self.problem.matches
    np.savez(self.folder / "a.npz", edges=edges, matches=matches)
    np.savez(self.folder / "b.npz", edges=edges, matches=self.columns)
    for name, stored in (("c", matches), ("d", self.columns + 1)):
      content = {"edges": edges + 1, "matches": stored}
      scipy.io.savemat(self.folder / f"{name}.mat", content)
    content = {"edges": edges.tolist(), "matches": self.columns.tolist()}
    (self.folder / "e.json").write_text(json.dumps(content))
    for name in ("a.npz", "b.npz", "c.mat", "d.mat", "e.json"):
      request = self.read(name)
      np.testing.assert_array_equal(request.problem.edges, edges, name)
      np.testing.assert_array_equal(request.problem.matches, matches, name)
      self.assertLen(request.names, 4)

  def test_files_that_are_wrong_are_named(self):
    edges = self.problem.edges.tolist()
    partial = self.columns.tolist()
    partial[2][3] = -1
    far = self.columns.tolist()
    far[1][0] = 5
    for content, message in (
      ("{", "damaged"),
      ("[1]", "no object"),
      (json.dumps({"edges": edges}), "has no 'matches'"),
      (json.dumps({"edges": edges, "matches": partial}), "edge 2 .* is partial"),
      (json.dumps({"edges": edges, "matches": far}), "edge 1 matches point 0 with 5"),
      (json.dumps({"edges": edges, "matches": "none"}), "arrays of numbers"),
      (json.dumps({"edges": edges, "matches": [[0, 1], [0]]}), "damaged"),
    ):
      (self.folder / "bad.json").write_text(content)
      with self.assertRaisesRegex(UserError, f"bad.json.*{message}"):
        self.read("bad.json")
    (self.folder / "bad.npz").write_bytes(b"PK\3\4 and no more")
    with self.assertRaisesRegex(UserError, "bad.npz"):
      self.read("bad.npz")
    with self.assertRaisesRegex(UserError, "synchronized alone"):
      self.read("bad.npz", "a.png")

  def test_images_that_do_not_do_are_named(self):
    images.write_png(self.folder / "flat.png", np.full((40, 40, 3), 9, np.uint8))
    images.write_png(self.folder / "tiny.png", np.zeros((8, 8, 3), np.uint8))
    with self.assertRaisesRegex(UserError, "flat.png: one image matches nothing"):
      self.read("flat.png")
    with self.assertRaisesRegex(UserError, "flat.png: has 0 corners, not the 8"):
      self.read("flat.png", "tiny.png")
    with self.assertRaisesRegex(UserError, "tiny.png: 8×8 pixels"):
      self.read("tiny.png", "flat.png")
    with self.assertRaisesRegex(UserError, "none.png: no such file"):
      self.read("flat.png", "none.png")


if __name__ == "__main__":
  absltest.main()
