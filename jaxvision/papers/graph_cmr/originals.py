"""Annotations made of the files that the data sets' own authors distribute.

Archives lie in images/ of a set's directory as they were unpacked:

  lsp    lsp_dataset_original/ and lsp_dataset/, each with joints.mat and images/;
         upi-s1h/data/lsp/ of the archive upi-s1h.zip
  mpii   mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat; images/
  coco   annotations/person_keypoints_train2014.json; train2014/
  up3d   up-3d/; for the test split namesUPlsp.txt of the authors' repository

Human3.6M may not be passed on in any form; `human36m` turns its arrays into people.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from etils import epath

from jaxvision import published
from jaxvision.data import archives, files, images
from jaxvision.errors import UserError
from jaxvision.papers.graph_cmr import annotations, keypoints

Person = dict[str, Any]

BOX_FACTOR = 1.2  # of a box's side around all joints
_BOX = 200.0
_LSP_TRAINING = 1000  # pictures; the others are for tests
_LSP_JOINTS = 14  # the first 14 of ours, in the same order
# COCO's 17 joints from the sixth on: shoulders, elbows, wrists, hips, knees, ankles.
_COCO_BODY = (16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9)
_COCO_FACE = {19: 0, 20: 1, 21: 2, 22: 3, 23: 4}
# Places of MPII's 16 joints among the 24, and of Human3.6M's 17.
_MPII_PLACES = (0, 1, 2, 3, 4, 5, 14, 15, 12, 13, 6, 7, 8, 9, 10, 11)
_H36M_PLACES = (14, 3, 4, 5, 2, 1, 0, 16, 12, 17, 18, 9, 10, 11, 8, 7, 6)
_H36M_EVERY = 5  # frames
_H36M_CAMERA = "60457274"  # the frontal one, of protocol 2
_UP3D_NAME = "_image.png"


def lsp_train(root: epath.Path) -> Iterator[Person]:
  """Yields the people of Leeds Sports Pose's first pictures, in full resolution."""
  folder = "lsp_dataset_original"
  for name, joints in _lsp(root, folder)[:_LSP_TRAINING]:
    yield _around(f"{folder}/images/{name}.jpg", joints)


def lsp_test(root: epath.Path) -> Iterator[Person]:
  """Yields the people of its other pictures, with silhouettes and parts."""
  folder = "lsp_dataset"
  for name, joints in _lsp(root, folder)[_LSP_TRAINING:]:
    labels = f"upi-s1h/data/lsp/{name}"
    yield _around(f"{folder}/images/{name}.jpg", joints) | {
      "maskname": f"{labels}_segmentation.png",
      "partname": f"{labels}_part_segmentation.png",
    }


def _lsp(root, folder):
  """Returns (name, joints [14, 2]) of all pictures."""
  path = root / folder / "joints.mat"
  joints = archives.read_mat(path).get("joints")
  if joints is None or joints.ndim != 3 or joints.shape[:2] != (3, _LSP_JOINTS):
    found = None if joints is None else joints.shape
    raise UserError(f"{path}: joints is {found}, not (3, {_LSP_JOINTS}, pictures)")
  places = np.moveaxis(joints[:2], (0, 2), (2, 0)).astype(np.float64)
  return [(f"im{number:04d}", own) for number, own in enumerate(places, 1)]


def _around(name, joints):
  """Returns a person whose box is around the first 14 joints."""
  part = np.zeros((keypoints.COUNT, 3))
  part[: len(joints), :2], part[: len(joints), 2] = joints, 1
  center, scale = box(joints.min(axis=0), joints.max(axis=0))
  return {"imgname": name, "center": center, "scale": scale, "part": part}


def mpii(root: epath.Path) -> Iterator[Person]:
  """Yields the people of MPII's training pictures whose 16 joints are all annotated.

  The authors read the lists of A. Newell's pose-hg-train, which leave out the people
  that it keeps for validation.
  """
  path = root / "mpii_human_pose_v1_u12_2" / "mpii_human_pose_v1_u12_1.mat"
  content = archives.read_mat(path, simplify=True).get("RELEASE")
  with files.decoding(path, "MATLAB file of MPII's annotations"):
    pictures = _listed(content["annolist"])
    is_training = np.atleast_1d(content["img_train"])
    if len(pictures) != len(is_training):
      raise ValueError(f"{len(pictures)} pictures, {len(is_training)} splits")
    for picture, used in zip(pictures, is_training, strict=True):
      if not used:
        continue
      for one in _listed(picture["annorect"]):
        points = one.get("annopoints")
        # What a person lacks is an empty array, or no field at all.
        if not isinstance(points, dict) or np.size(one.get("scale", ())) != 1:
          continue
        part = np.zeros((keypoints.COUNT, 3))
        for point in _listed(points["point"]):
          part[_MPII_PLACES[int(point["id"])]] = point["x"], point["y"], 1
        if np.sum(part[:, :2] > 0) < 2 * len(_MPII_PLACES):
          continue
        yield {
          "imgname": f"images/{picture['image']['name']}",
          "center": np.array([one["objpos"]["x"], one["objpos"]["y"]], np.float64),
          "scale": float(one["scale"]),
          "part": part,
        }


def _listed(value):
  """Returns MATLAB's struct array as a list; one struct is read as a dict."""
  return [value] if isinstance(value, dict) else list(value)


def coco(root: epath.Path) -> Iterator[Person]:
  """Yields the people of COCO 2014's training pictures with a whole body."""
  path = root / "annotations" / "person_keypoints_train2014.json"
  with files.decoding(path, "COCO annotation file"):
    content = json.loads(files.read_bytes(path))
    names = {one["id"]: one["file_name"] for one in content["images"]}
    for person in content["annotations"]:
      joints = np.array(person["keypoints"], np.float64).reshape(-1, 3)
      joints[:, 2] = joints[:, 2] > 0
      if joints.shape != (17, 3) or joints[5:, 2].sum() < len(_COCO_BODY):
        continue
      part = np.zeros((keypoints.COUNT, 3))
      part[: len(_COCO_BODY)] = joints[list(_COCO_BODY)]
      for ours, theirs in _COCO_FACE.items():
        part[ours] = joints[theirs]
      x, y, width, height = person["bbox"]
      center, scale = box((x, y), (x + width, y + height))
      name = f"train2014/{names[person['image_id']]}"
      yield {"imgname": name, "center": center, "scale": scale, "part": part}


def up3d_train(root: epath.Path) -> Iterator[Person]:
  """Yields the people of UP-3D's trainval.txt."""
  return _up3d(root, root / "up-3d" / "trainval.txt")


def up3d_test(root: epath.Path) -> Iterator[Person]:
  """Yields those of its people that are in LSP's test pictures."""
  return _up3d(root, root / "namesUPlsp.txt")


def _up3d(root, listed):
  for line in files.read_bytes(listed).decode().split():
    name = line.lstrip("/")
    if not name.endswith(_UP3D_NAME):
      raise UserError(f"{listed}: {line} is no name of a picture")
    stem = f"{root / 'up-3d' / name.removesuffix(_UP3D_NAME)}"
    path = f"{stem}_joints.npy"
    with files.decoding(path, "NPY file"):
      joints = np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False)
      part = np.zeros((keypoints.COUNT, 3))
      part[:_LSP_JOINTS] = joints[:3].T
    # The body that was fitted, drawn on white.
    path = f"{stem}_render_light.png"
    center, scale = silhouette_box(images.read_rgb(path).min(axis=-1) < 255, path)
    yield {
      "imgname": f"up-3d/{name}",
      "center": center,
      "scale": scale,
      "part": part,
      **up3d_parameters(f"{stem}_body.pkl"),
    }


def up3d_parameters(path: epath.PathLike) -> dict[str, np.ndarray]:
  """Returns "pose" [72] and "shape" [10] of a *_body.pkl, executing nothing of it."""
  fields = published.load(path)
  found = {}
  for ours, theirs, length in (("pose", "pose", 72), ("shape", "betas", 10)):
    values = fields.get(theirs)
    if values is None or values.size < length:
      raise UserError(f"{path}: lacks {theirs}: it is no body of UP-3D")
    found[ours] = values.reshape(-1)[:length].astype(np.float32)
  return found


def human36m(
  subject: str,
  sequence: str,
  positions: np.ndarray,
  masks: Iterable[np.ndarray],
  protocol: int = 1,
) -> Iterator[Person]:
  """Yields the people of a sequence of Human3.6M, one of every five frames.

  Its poses are CDF files, which a reader of NASA's format opens
  (`cdflib.CDF(path).varget("Pose")[0]`), its masks MATLAB 7.3 files (h5py).

  Args:
    subject: "S9" or "S11".
    sequence: "Directions 1.60457274", the name of its files.
    positions: [frames, 96] of D3_Positions_mono, in millimetres.
    masks: [H, W] of each frame, 1 in the person's box, of ground_truth_bb.
    protocol: 1, or 2 for the frontal camera only.
  """
  if protocol == 2 and not sequence.endswith(f".{_H36M_CAMERA}"):
    return
  for frame, (own, mask) in enumerate(zip(positions, masks, strict=True)):
    if frame % _H36M_EVERY:
      continue
    name = f"{subject}_{sequence.replace(' ', '_')}_{frame + 1:06d}.jpg"
    center, scale = silhouette_box(mask == 1, name, factor=1.0)
    joints = h36m_joints(np.reshape(own, (-1, 3)))
    yield {"imgname": name, "center": center, "scale": scale, "S": joints}


def h36m_joints(positions: np.ndarray) -> np.ndarray:
  """Returns S [24, 4] of Human3.6M's 32 joints.

  Args:
    positions: [32, 3] in millimetres, of the camera.
  """
  chosen = positions[list(keypoints.H36M_32_TO_17)] / 1000.0
  joints = np.zeros((keypoints.COUNT, 4))
  places = list(_H36M_PLACES)
  joints[places, :3] = chosen - chosen[0]
  joints[places, 3] = 1
  return joints


def box(
  low: np.ndarray, high: np.ndarray, factor: float = BOX_FACTOR
) -> tuple[np.ndarray, float]:
  """Returns center [2] and scale of a square around a rectangle of pixels."""
  side = np.max(np.subtract(high, low))
  return np.add(low, high) / 2.0, factor * float(side) / _BOX


def silhouette_box(
  mask: np.ndarray, name: str, factor: float = BOX_FACTOR
) -> tuple[np.ndarray, float]:
  """Returns center and scale of what a mask [H, W] shows.

  Args:
    mask: bool.
    name: what errors call it.
    factor: of the box's side.

  Raises:
    UserError: it shows nothing.
  """
  rows, columns = np.nonzero(mask)
  if not rows.size:
    raise UserError(f"{name}: a silhouette without a pixel has no box")
  high = columns.max() + 1, rows.max() + 1
  return box((columns.min(), rows.min()), high, factor)


# What annotations can be made of: {their file: (a file that is needed, who reads it)}.
SOURCES: dict[str, tuple[str, Callable[[epath.Path], Iterator[Person]]]] = {
  "lsp_dataset_original_train.npz": ("lsp_dataset_original/joints.mat", lsp_train),
  "lsp_dataset_test.npz": ("lsp_dataset/joints.mat", lsp_test),
  "mpii_train.npz": (
    "mpii_human_pose_v1_u12_2/mpii_human_pose_v1_u12_1.mat",
    mpii,
  ),
  "coco_2014_train.npz": ("annotations/person_keypoints_train2014.json", coco),
  "up_3d_trainval.npz": ("up-3d/trainval.txt", up3d_train),
  "up_3d_lsp_test.npz": ("namesUPlsp.txt", up3d_test),
}


def annotate(root: epath.PathLike, names: Iterable[str]) -> None:
  """Writes the annotations that are not there yet, of the originals that are.

  Args:
    root: a set's directory, of extras/ and images/.
    names: of annotation files.

  Raises:
    UserError: an original is damaged.
  """
  root = epath.Path(root)
  for name in names:
    target = root / "extras" / name
    needed, people = SOURCES.get(name, (None, None))
    if needed is None or target.exists() or not (root / "images" / needed).exists():
      continue
    found = list(people(root / "images"))
    target.parent.mkdir(parents=True, exist_ok=True)
    annotations.write(target, found)
