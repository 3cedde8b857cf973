"""Annotations of graph_cmr made of the data sets' own files."""

import json
import pathlib
import pickle
import tempfile

import numpy as np
import scipy.io
from absl.testing import absltest

from jaxvision.data import images
from jaxvision.errors import UserError
from jaxvision.papers.graph_cmr import annotations, dataset, keypoints, originals

NAMES = keypoints.NAMES


def structs(**fields):
  """Returns MATLAB's struct array [1, N] of lists of N values."""
  count = len(next(iter(fields.values())))
  array = np.empty((1, count), [(name, object) for name in fields])
  for name, values in fields.items():
    for index, value in enumerate(values):
      array[0, index][name] = value
  return array


def points(places, ids):
  return structs(
    point=[
      structs(
        x=[float(x) for x, _ in places],
        y=[float(y) for _, y in places],
        id=[np.uint8(i) for i in ids],
        is_visible=[np.uint8(1)] * len(ids),
      )
    ]
  )


class OriginalsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.data = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.rng = np.random.default_rng(0)

  def folder(self, name, *parts):
    """Returns a directory of a set's images/, made."""
    folder = self.data.joinpath("downloads", "manual", name, "images", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder

  def people(self, name, file):
    root = self.data / "downloads" / "manual" / name
    originals.annotate(root, [file])
    return annotations.read(root / "extras" / file)

  def test_leeds_sports_pose(self):
    joints = self.rng.uniform(10, 90, (3, 14, 1002))
    for archive in ("lsp_dataset_original", "lsp_dataset"):
      folder = self.folder("lsp", archive)
      scipy.io.savemat(folder / "joints.mat", {"joints": joints})
    found = self.people("lsp", "lsp_dataset_original_train.npz")
    self.assertLen(found, 1000)
    self.assertEqual(found[3]["imgname"], "lsp_dataset_original/images/im0004.jpg")
    low, high = joints[:2, :, 3].min(axis=1), joints[:2, :, 3].max(axis=1)
    np.testing.assert_allclose(found[3]["center"], (low + high) / 2, rtol=1e-5)
    self.assertAlmostEqual(found[3]["scale"], 1.2 * max(high - low) / 200, places=5)
    place = NAMES.index("left wrist")
    expected = [*joints[:2, 11, 3], 1]
    np.testing.assert_allclose(found[3]["part"][place], expected, rtol=1e-5)
    self.assertEqual(found[3]["part"][14:].sum(), 0)

    tests = self.people("lsp", "lsp_dataset_test.npz")
    self.assertEqual(
      [tests[1][name] for name in ("imgname", "mask", "parts")],
      [
        "lsp_dataset/images/im1002.jpg",
        "upi-s1h/data/lsp/im1002_segmentation.png",
        "upi-s1h/data/lsp/im1002_part_segmentation.png",
      ],
    )

  def test_other_mat_files_are_refused(self):
    folder = self.folder("lsp", "lsp_dataset")
    scipy.io.savemat(folder / "joints.mat", {"joints": np.zeros((14, 3, 5))})
    with self.assertRaisesRegex(UserError, r"joints.mat: joints is \(14, 3, 5\)"):
      self.people("lsp", "lsp_dataset_test.npz")
    folder = self.folder("mpii", "mpii_human_pose_v1_u12_2")
    path = folder / "mpii_human_pose_v1_u12_1.mat"
    for content in ({"joints": 1.0}, {"RELEASE": {"annolist": np.zeros(2)}}):
      scipy.io.savemat(path, content)
      with self.assertRaisesRegex(UserError, "not a MATLAB file of MPII's annotations"):
        self.people("mpii", "mpii_train.npz")

  def test_mpii(self):
    places = self.rng.uniform(1, 99, (16, 2))
    order = self.rng.permutation(16)
    whole = points(places[order], order)
    half = points(places[:8], range(8))
    place = structs(x=[50.0], y=[60.0])
    nothing = np.zeros((0, 0))
    head = {name: [1.0] * 3 for name in ("x1", "y1", "x2", "y2")}
    people = structs(
      **head,
      annopoints=[whole, half, nothing],
      scale=[2.5, 1.0, nothing],
      objpos=[place, place, nothing],
    )
    only = structs(annopoints=[whole], scale=[1.5], objpos=[place])
    without = structs(x1=[1.0], y1=[2.0])
    release = {
      "annolist": structs(
        image=[structs(name=[f"{i}.jpg"]) for i in range(5)],
        annorect=[people, only, without, only, nothing],
      ),
      "img_train": np.uint8([[1, 0, 1, 1, 1]]),
      "version": "12",
    }
    folder = self.folder("mpii", "mpii_human_pose_v1_u12_2")
    path = folder / "mpii_human_pose_v1_u12_1.mat"
    scipy.io.savemat(path, {"RELEASE": release})
    first, other = self.people("mpii", "mpii_train.npz")
    self.assertEqual(
      (first["imgname"], other["imgname"]), ("images/0.jpg", "images/3.jpg")
    )
    np.testing.assert_allclose(first["center"], [50, 60])
    self.assertEqual((first["scale"], other["scale"]), (2.5, 1.5))
    for name, index in (
      ("right ankle", 0),
      ("pelvis", 6),
      ("thorax", 7),
      ("neck", 8),
      ("top of head", 9),
      ("right wrist", 10),
      ("left wrist", 15),
    ):
      found = first["part"][NAMES.index(name)]
      np.testing.assert_allclose(found, [*places[index], 1], rtol=1e-5)
    self.assertEqual(first["part"][:, 2].sum(), 16)

  def test_people_of_coco_need_a_whole_body(self):
    joints = np.arange(51.0).reshape(17, 3)
    joints[:, 2] = 2
    part = joints.copy()
    part[10, 2] = 0
    content = {
      "images": [{"id": 7, "file_name": "x.jpg"}],
      "annotations": [
        {"image_id": 7, "bbox": [10, 20, 30, 60], "keypoints": j.ravel().tolist()}
        for j in (joints, part)
      ],
    }
    path = self.folder("coco", "annotations") / "person_keypoints_train2014.json"
    path.write_text(json.dumps(content))
    (one,) = self.people("coco", "coco_2014_train.npz")
    self.assertEqual(one["imgname"], "train2014/x.jpg")
    np.testing.assert_allclose(one["center"], [25, 50])
    self.assertAlmostEqual(one["scale"], 1.2 * 60 / 200, places=5)
    np.testing.assert_allclose(one["part"][NAMES.index("right wrist")], [30, 31, 1])
    np.testing.assert_allclose(one["part"][NAMES.index("nose")], [0, 1, 1])
    self.assertEqual(one["part"][12:19].sum(), 0)

  def test_up3d_is_built_of_its_archive(self):
    folder = self.folder("up3d", "up-3d")
    joints = np.concatenate([self.rng.uniform(0, 40, (2, 14)), np.ones((1, 14))])
    render = np.full((40, 50, 3), 255, np.uint8)
    render[5:16, 10:15] = 120
    pose = self.rng.normal(size=72)
    for name in ("00000", "00001"):
      images.write_png(folder / f"{name}_image.png", np.zeros_like(render))
      images.write_png(folder / f"{name}_render_light.png", render)
      np.save(folder / f"{name}_joints.npy", joints)
      body = pickle.dumps({"pose": pose, "betas": np.ones(10)}, 2)
      (folder / f"{name}_body.pkl").write_bytes(body)
    (folder / "trainval.txt").write_text("/00000_image.png\n")
    (folder.parent / "namesUPlsp.txt").write_text("/00001_image.png\n\n")
    (built,) = [dataset.load("up3d", "test", self.data)[0]]
    self.assertEqual(built["name"], b"up-3d/00001_image.png")
    np.testing.assert_allclose(built["center"], [12.5, 10.5])
    np.testing.assert_allclose(built["scale"], 1.2 * 11 / 200, rtol=1e-6)
    np.testing.assert_allclose(built["pose"], pose, rtol=1e-5)
    np.testing.assert_allclose(built["part"][:14], joints.T, rtol=1e-5)
    self.assertEqual(built["has_smpl"], 1)

    path = folder / "00000_body.pkl"
    path.write_bytes(pickle.dumps({"pose": np.arange(72.0)}, 2))
    with self.assertRaisesRegex(UserError, "lacks betas"):
      originals.up3d_parameters(path)
    images.write_png(folder / "00000_render_light.png", np.full_like(render, 255))
    with self.assertRaisesRegex(UserError, "00000_render_light.png: .* no box"):
      list(originals.up3d_train(folder.parent))

  def test_human36m(self):
    positions = self.rng.normal(size=(7, 96)) * 1000
    masks = np.zeros((7, 30, 40), np.uint8)
    masks[:, 10:20, 5:35] = 1
    arguments = "S9", "Walking Dog 1.60457274", positions, masks
    first, sixth = originals.human36m(*arguments)
    self.assertEqual(first["imgname"], "S9_Walking_Dog_1.60457274_000001.jpg")
    self.assertEqual(sixth["imgname"], "S9_Walking_Dog_1.60457274_000006.jpg")
    np.testing.assert_allclose(first["center"], [20, 15])
    self.assertAlmostEqual(first["scale"], 30 / 200)
    own = positions[5].reshape(32, 3)
    for name, index in (("left hip", 6), ("right ankle", 3), ("left wrist", 19)):
      expected = (own[index] - own[11]) / 1000
      np.testing.assert_allclose(sixth["S"][NAMES.index(name), :3], expected)
    self.assertEqual(sixth["S"][:, 3].sum(), 17)
    self.assertLen(list(originals.human36m(*arguments, protocol=2)), 2)
    others = "S9", "Walking 1.54138969", positions, masks
    self.assertEmpty(list(originals.human36m(*others, protocol=2)))

  def test_annotations_that_are_there_stay(self):
    folder = self.folder("lsp", "lsp_dataset")
    (folder / "joints.mat").write_bytes(b"nothing")
    extras = folder.parent.parent / "extras"
    extras.mkdir()
    (extras / "lsp_dataset_test.npz").write_bytes(b"mine")
    originals.annotate(extras.parent, ["lsp_dataset_test.npz", "h36m_train.npz"])
    self.assertEqual((extras / "lsp_dataset_test.npz").read_bytes(), b"mine")


if __name__ == "__main__":
  absltest.main()
