"""Annotations, crops, rendered people and body files of graph_cmr."""

import json
import pathlib
import pickle
import tempfile

import numpy as np
import scipy.sparse
from absl.testing import absltest, parameterized
from scipy.spatial.transform import Rotation

from jaxvision.data import images, pipeline, stand_in_bodies
from jaxvision.errors import UserError
from jaxvision.ops import sparse
from jaxvision.papers.graph_cmr import (
  annotations,
  augmentation,
  body,
  data,
  dataset,
  keypoints,
  prediction,
  rendering,
)
from jaxvision.papers.graph_cmr.augmentation import Change


def person(seed=0, **changes):
  rng = np.random.default_rng(seed)
  return {
    "imgname": f"{seed}.png",
    "center": np.array([30.0, 20.0]),
    "scale": 0.2,
    "part": np.concatenate([rng.uniform(5, 35, (24, 2)), np.ones((24, 1))], axis=1),
    "S": np.concatenate([rng.normal(size=(24, 3)), np.ones((24, 1))], axis=1),
    "pose": rng.normal(size=72),
    "shape": rng.normal(size=10),
  } | changes


class FolderTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))


class AnnotationsTest(FolderTestCase):
  def test_what_was_written_is_read(self):
    path = self.folder / "people.npz"
    written = [person(0), person(1)]
    annotations.write(path, written)
    found = annotations.read(path)
    for one, other in zip(found, written, strict=True):
      self.assertEqual(one["imgname"], other["imgname"])
      self.assertEqual((one["mask"], one["has_smpl"], one["has_joints"]), ("", 1, 1))
      for name in ("center", "scale", "part", "S", "pose", "shape"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6)

  def test_fields_that_are_not_there_are_not_known(self):
    path = self.folder / "people.npz"
    np.savez(
      path, imgname=np.array([b"a/1.jpg"]), center=np.ones((1, 2)), scale=np.ones(1)
    )
    (one,) = annotations.read(path)
    self.assertEqual(
      (one["imgname"], one["has_smpl"], one["has_joints"]), ("a/1.jpg", 0, 0)
    )
    self.assertEqual(one["part"].sum(), 0)

  @parameterized.parameters(
    ({"pose": np.zeros(69)}, "pose has shape"),
    ({"scale": 0.0}, "person 0 has an empty box"),
    ({"S": np.full((24, 4), np.nan)}, "S is not finite"),
    ({"maskname": 3.0}, "maskname is no list of 1 texts"),
  )
  def test_impossible_fields_are_refused(self, changes, message):
    path = self.folder / "people.npz"
    annotations.write(path, [person(**changes)])
    with self.assertRaisesRegex(UserError, f"people.npz: {message}"):
      annotations.read(path)

  def test_files_that_are_none_are_refused(self):
    path = self.folder / "people.npz"
    np.savez(path, center=np.ones((1, 2)))
    with self.assertRaisesRegex(UserError, "lacks imgname, scale"):
      annotations.read(path)
    np.savez(path, imgname=np.array([{"a": 1}], object))
    with self.assertRaisesRegex(UserError, "people.npz: damaged or not a npz file"):
      annotations.read(path)


class AugmentationTest(parameterized.TestCase):
  def test_a_crop_is_the_picture_where_it_is_the_whole_picture(self):
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    image[0, 0], image[0, 1] = 0, 255
    crop = augmentation.crop(image, np.array([20.0, 20.0]), 0.2, 40)
    np.testing.assert_allclose(crop, image, atol=1)

  def test_contrast_is_stretched_as_the_authors_is(self):
    image = np.full((40, 40, 3), 100, np.uint8)
    image[10:20, 10:20] = 150
    center = np.array([20.0, 20.0])
    stretched = augmentation.crop(image, center, 0.2, 40)
    self.assertEqual((stretched.min(), stretched.max()), (0, 255))
    plain = augmentation.crop(image, center, 0.2, 40, stretch=False)
    self.assertEqual((plain.min(), plain.max()), (100, 150))

  def test_outside_the_picture_is_black(self):
    image = np.full((40, 40, 3), 200, np.uint8)
    crop = augmentation.crop(image, np.array([0.0, 20.0]), 0.2, 40)
    self.assertEqual(crop[:, :19].max(), 0)
    self.assertEqual(crop[:, 21:].min(), 255)
    nothing = augmentation.crop(image, np.array([-100.0, 20.0]), 0.2, 40)
    self.assertEqual(nothing.max(), 0)

  @parameterized.product(turn=(0.0, 40.0, -25.0), flipped=(False, True))
  def test_joints_stay_on_what_they_mark(self, turn, flipped):
    image = np.zeros((120, 120, 3), np.uint8)
    marks = np.array([[70.0, 50.0], [45.0, 75.0]])
    for x, y in marks.astype(int):
      image[y - 2 : y + 3, x - 2 : x + 3] = 255
    joints = np.zeros((24, 3))
    joints[[12, 13], :2], joints[[12, 13], 2] = marks, 1  # which mirror to themselves
    change = Change(flipped, np.ones(3), turn, 1.1)
    center, scale = np.array([60.0, 60.0]), 0.5
    prepared = dataset.Preparation(64)
    example = person(image=image, center=center, scale=scale, part=joints)
    example |= {"has_smpl": 1.0, "has_joints": 1.0}

    class Fixed(augmentation.Augmentation):
      def draw(self, rng):
        return change

    prepared = dataset.Preparation(64, Fixed())(example, None)
    for x, y in (prepared["keypoints"][[12, 13], :2] + 1) * 32:
      seen = prepared["images"][int(y) - 2 : int(y) + 2, int(x) - 2 : int(x) + 2]
      self.assertGreater(seen.max(), 0.9)
    self.assertEqual(prepared["images"].shape, (64, 64, 3))

  def test_poses_and_joints_turn_alike(self):
    change = Change(True, np.ones(3), 30.0, 1.0)
    rng = np.random.default_rng(0)
    pose, direction = rng.normal(size=72), rng.normal(size=3)
    turned = augmentation.turn_pose(pose, change)
    # What the root turns is what joints do.
    joints = np.zeros((24, 4))
    joints[12, :3] = Rotation.from_rotvec(pose[:3]).apply(direction)
    found = augmentation.turn_joints(joints, change)[12, :3]
    mirrored = direction * [-1, 1, 1]
    expected = Rotation.from_rotvec(turned[:3]).apply(mirrored)
    np.testing.assert_allclose(found, expected, atol=1e-6)

  def test_draws_keep_to_their_limits(self):
    rng = np.random.default_rng(0)
    drawn = [augmentation.Augmentation().draw(rng) for _ in range(400)]
    self.assertBetween(np.mean([c.flipped for c in drawn]), 0.4, 0.6)
    self.assertBetween(np.mean([c.turn == 0 for c in drawn]), 0.5, 0.7)
    self.assertLessEqual(max(abs(c.turn) for c in drawn), 60)
    gains = np.stack([c.gain for c in drawn])
    self.assertBetween(gains.min(), 0.6, 0.65)
    scales = [c.scale for c in drawn]
    self.assertEqual((min(scales), max(scales)), (0.75, 1.25))
    still = augmentation.NO_AUGMENTATION.draw(rng)
    self.assertEqual((still.flipped, still.turn, still.scale), (False, 0.0, 1.0))
    np.testing.assert_array_equal(still.gain, 1)


class DatasetTest(FolderTestCase):
  def prepare(self, name, files):
    root = self.folder / "downloads" / "manual" / name
    (root / "extras").mkdir(parents=True)
    (root / "images").mkdir()
    for file, people in files.items():
      annotations.write(root / "extras" / file, people)
      for one in people:
        for key in ("imgname", "maskname"):
          if key in one:
            picture = np.full(
              (40, 60, 3) if key == "imgname" else (40, 60), 9, np.uint8
            )
            images.write_png(root / "images" / one[key], picture)
    return root

  def test_a_set_is_built_and_prepared(self):
    some = {
      "lsp_dataset_original_train.npz": [person(0), person(1)],
      "lsp_dataset_test.npz": [person(2, maskname="m.png")],
    }
    self.prepare("lsp", some)
    mixed = dataset.Mixture(
      [dataset.load("lsp", "train", self.folder)], [1.0], dataset.Preparation(32)
    )
    self.assertLen(mixed, 2)
    batches = pipeline.batches(
      mixed, batch_size=2, seed=0, transform=mixed.transform, shuffle=False
    )
    batch = next(batches)
    for name, shape in data.batch_shapes(2, 32).items():
      self.assertEqual(
        (batch[name].shape, batch[name].dtype), (shape.shape, shape.dtype)
      )
    np.testing.assert_allclose(batch["pose"][1], person(1)["pose"], rtol=1e-4)
    test = dataset.load("lsp", "test", self.folder)
    found = dataset.labels(test[0])
    self.assertEqual(found.silhouette.sum(), 40 * 60)
    self.assertIsNone(found.parts)

  def test_missing_files_are_named(self):
    with self.assertRaisesRegex(UserError, "missing in .*: extras/mpii_train.npz. Unp"):
      dataset.load("mpii", "train", self.folder)
    root = self.prepare("coco", {"coco_2014_train.npz": [person(0)]})
    (root / "images" / "0.png").unlink()
    with self.assertRaisesRegex(UserError, "0.png: no such file"):
      dataset.load("coco", "train", self.folder)

  def test_mixtures_draw_from_all_sets(self):
    prepare = lambda example, rng: example  # noqa: E731
    mixed = dataset.Mixture(["ab", "xyz"], [0.5, 0.5], prepare)
    rng = np.random.default_rng(0)
    drawn = {mixed.transform(2, rng) for _ in range(20)}
    self.assertEqual((len(mixed), drawn), (3, {"a", "z"}))
    for shares in dataset.MIXTURES.values():
      self.assertAlmostEqual(sum(shares.values()), 1)
      self.assertLessEqual(set(shares), set(dataset.BUILDERS))


class RenderedTest(absltest.TestCase):
  def test_people_stand_upright_within_the_picture(self):
    own, surface = body.stand_in()
    for inputs in ("rgb", "parts", "textured"):
      made = data.stand_ins(own, surface, 6, 0, size=32, inputs=inputs)
      for example in (made[i] for i in range(6)):
        places = example["keypoints"][:, :2]
        self.assertLess(np.abs(places).max(), 1.05)
        seen = example["labels"] > 0
        self.assertBetween(seen.mean(), 0.02, 0.5)
        if inputs != "rgb":
          self.assertTrue(np.all(example["images"][~seen] == 0))
        head, pelvis = (keypoints.NAMES.index(name) for name in ("head", "pelvis"))
        self.assertLess(places[head, 1], places[pelvis, 1])  # y points downwards
      again = data.stand_ins(own, surface, 6, 0, size=32, inputs=inputs)
      np.testing.assert_array_equal(again[3]["images"], made[3]["images"])
    batch = data.to_batch(made[0], None)
    shapes = data.batch_shapes(1, 32)
    self.assertEqual(set(batch), set(shapes))
    for name, leaf in shapes.items():
      self.assertEqual(np.shape(batch[name]), leaf.shape[1:])

  def test_of_a_closed_body_the_back_is_not_seen(self):
    own, surface = body.stand_in()
    made = data.poses(3, 0)
    cameras = np.array([1.0, 0.0, 0.0]), np.array([0.8, 0.1, 0.2])
    for vertices in data.posed(own, made["pose"], made["shape"]):
      for camera in cameras:
        arguments = vertices, surface.faces, camera, 48
        whole = rendering.render(*arguments)
        found = rendering.render_closed(*arguments)
        self.assertGreater(np.mean(found.face == whole.face), 0.99)
        np.testing.assert_array_equal(found.mask, whole.mask)


class BodyFilesTest(FolderTestCase):
  def write(self, **changes):
    made = stand_in_bodies.make()
    count, coarse = 696, len(made.selection)
    fields = made.fields | {
      "J_regressor": scipy.sparse.csc_matrix(made.fields["J_regressor"])
    }
    (self.folder / body.SMPL_FILE).write_bytes(pickle.dumps(fields, protocol=2))

    def matrix(row, column, value, shape):
      return scipy.sparse.csc_matrix((value, (row, column)), shape)

    def objects(*items):
      array = np.empty(len(items), object)
      array[:] = items
      return array

    adjacency = [
      matrix(*edges, np.full(len(edges[0]), 2.0), (n, n))
      for edges, n in zip(made.edges, (count, coarse), strict=True)
    ]
    meshes = {
      "A": objects(*adjacency),
      "U": objects(matrix(*made.up, (count, coarse))),
      "D": objects(
        matrix(np.arange(coarse), made.selection, np.ones(coarse), (coarse, count))
      ),
      "F": objects(*made.faces),
    } | changes
    np.savez(self.folder / body.MESH_FILE, **meshes)
    np.save(self.folder / body.EXTRA_FILE, made.extra_joints)
    np.save(self.folder / body.H36M_FILE, made.h36m_joints)

  def test_files_of_the_stand_in_give_the_stand_in(self):
    self.write()
    own, surface = body.read(self.folder)
    expected, of = body.stand_in()
    for name in ("keypoints", "h36m", "reference"):
      np.testing.assert_allclose(getattr(own, name), getattr(expected, name), atol=1e-6)
    for name in ("adjacency", "up", "down"):
      np.testing.assert_allclose(
        sparse.to_dense(getattr(own, name)),
        sparse.to_dense(getattr(expected, name)),
        atol=1e-6,
      )
    np.testing.assert_array_equal(surface.coarse_faces, of.coarse_faces)
    self.assertIsNone(surface.parts)
    self.assertBetween(np.abs(own.reference).max(), 0.5, 1.0)

  def test_missing_and_strange_files_are_told(self):
    with self.assertRaisesRegex(
      UserError, "lacks basicModel.*https://smpl.is.tue.mpg.de"
    ):
      body.read(self.folder)
    self.write(A=np.zeros(3))
    with self.assertRaisesRegex(UserError, "lacks A.0.row: it is no mesh_downsampling"):
      body.read(self.folder)
    self.write()
    np.save(self.folder / body.H36M_FILE, np.zeros((17, 5)))
    with self.assertRaisesRegex(UserError, r"holds \(17, 5\) instead of \(17, 696\)"):
      body.read(self.folder)

  def test_parts_are_looked_up_by_colour(self):
    texture = np.zeros((1, 2, 2, 2, 2, 3))
    texture[0, 0] = (0.1, 0.2, 0.0)
    cube = np.zeros((100, 92, 17))
    cube[10, 20, 0], cube[0, 0, 0] = 4, 2
    np.testing.assert_array_equal(body.face_parts(texture, cube), [4, 2])


class BoxesTest(FolderTestCase):
  def setUp(self):
    super().setUp()
    self.path = self.folder / "one.png"
    images.write_png(self.path, np.full((40, 80, 3), 200, np.uint8))

  def test_boxes_beside_pictures(self):
    whole = prediction.read(self.path, 32)
    np.testing.assert_allclose(whole.center, [40, 20])
    self.assertEqual((whole.scale, whole.box), (0.4, "whole picture"))
    joints = [[10, 10, 0.9], [30, 50, 0.5], [70, 70, 0.1], [0, 0, 0]]
    people = {"people": [{"pose_keypoints_2d": np.ravel(joints).tolist()}]}
    (self.folder / "one_openpose.json").write_text(json.dumps(people))
    posed = prediction.read(self.path, 32)
    np.testing.assert_allclose(posed.center, [20, 30])
    self.assertAlmostEqual(posed.scale, 1.2 * 40 / 200)
    (self.folder / "one_bbox.json").write_text('{"bbox": [10, 5, 20, 30]}')
    boxed = prediction.read(self.path, 32)
    np.testing.assert_allclose(boxed.center, [20, 20])
    self.assertEqual(boxed.crop.shape, (32, 32, 3))

  @parameterized.parameters(
    ('{"bbox": [500, 5, 20, 30]}', "shows nothing of"),
    ('{"bbox": [1, 5, 0, 30]}', "a box of 0 x 30 pixels"),
    ('{"box": 3}', "one_bbox.json: damaged or not a box"),
  )
  def test_boxes_that_are_none(self, text, message):
    (self.folder / "one_bbox.json").write_text(text)
    with self.assertRaisesRegex(UserError, message):
      prediction.read(self.path, 32)

  def test_openpose_that_saw_nobody(self):
    (self.folder / "one_openpose.json").write_text('{"people": []}')
    with self.assertRaisesRegex(UserError, "one_openpose.json"):
      prediction.read(self.path, 32)


if __name__ == "__main__":
  absltest.main()
