"""Meshes of the user's own pictures of people."""

import dataclasses
import json
import pathlib

import numpy as np
from etils import epath
from PIL import Image

from jaxvision.data import files, images, meshes
from jaxvision.errors import UserError
from jaxvision.papers.graph_cmr import augmentation, figures
from jaxvision.papers.graph_cmr.body import Surface
from jaxvision.papers.graph_cmr.evaluation import Predictor

_CONFIDENT = 0.2  # of OpenPose's joints
_FACTOR = 1.2  # of the box around them


@dataclasses.dataclass(frozen=True)
class Person:
  """One person in a picture.

  Attributes:
    path: the picture's file.
    crop: [S, S, 3] float32 in [0, 1].
    center: (x, y) of the box in pixels.
    scale: its side over 200 pixels.
    box: where the box is from.
  """

  path: epath.Path
  crop: np.ndarray
  center: np.ndarray
  scale: float
  box: str


def read(path: epath.PathLike, size: int, *, stretch: bool = True) -> Person:
  """Reads a picture, and the box of the person in it.

  The box is that of `<name>_bbox.json` ({"bbox": [x, y, width, height]}), or around the
  joints of `<name>_openpose.json`, or the whole picture.

  Args:
    path: PNG or JPEG.
    size: of the crop, in pixels.
    stretch: see `augmentation.crop`.

  Raises:
    UserError: a missing or damaged file, or a box without a pixel of the picture.
  """
  path = epath.Path(path)
  image = images.read_rgb(path)
  height, width = image.shape[:2]
  center, scale, source = _box(path, height, width)
  half = scale * augmentation.BOX / 2
  if not (-half < center[0] < width + half and -half < center[1] < height + half):
    raise UserError(f"{source}: its box shows nothing of {path}")
  crop = augmentation.crop(image, center, scale, size, stretch=stretch)
  return Person(path, crop / 255, center, scale, source)


def predict(predictor: Predictor, surface: Surface, person: Person) -> dict:
  """Returns {"mesh": [V, 3], "read": [V, 3] or None, "camera": [3], "overlay"}.

  Raises:
    UserError: the network's vertices are not finite.
  """
  made = predictor(person.crop[None])
  vertices, camera = np.asarray(made.mesh.vertices)[0], np.asarray(made.mesh.camera)[0]
  if not (np.all(np.isfinite(vertices)) and np.all(np.isfinite(camera))):
    raise UserError(f"{person.path}: its mesh is not finite")
  found = {"mesh": vertices, "read": None, "camera": camera}
  if made.parameters is not None:
    found["rotations"] = np.asarray(made.parameters.rotations)[0]
    found["shape"] = np.asarray(made.parameters.shape)[0]
    if made.mesh.coarse is not None:
      found["read"] = np.asarray(made.parameters.vertices)[0]
  drawn = [found["mesh"]] + ([found["read"]] if found["read"] is not None else [])
  shown = [figures.magnify(person.crop, 224)]
  shown += [figures.over(person.crop, v, surface.faces, camera) for v in drawn]
  shown += [figures.beside(drawn[-1], surface.faces, camera)]
  side = len(shown[0])
  found["overlay"] = np.concatenate([_resized(one, side) for one in shown], axis=1)
  return found


def write(
  out: epath.Path, surface: Surface, found: list[tuple[Person, dict]]
) -> list[dict]:
  """Writes <name>.obj, <name>_read.obj, <name>.png and predictions.json.

  The meshes are in the camera's axes: x to the right, y downwards, z away, metres.

  Returns:
    predictions.json's rows.
  """
  rows = []
  used: dict[str, int] = {}
  for person, made in found:
    stem = pathlib.PurePath(person.path.name).stem
    used[stem] = used.get(stem, -1) + 1
    stem += f"-again{used[stem]}" if used[stem] else ""
    for name, key in ((f"{stem}.obj", "mesh"), (f"{stem}_read.obj", "read")):
      if made[key] is not None:
        shape = meshes.Mesh(made[key].astype(np.float64), surface.faces)
        meshes.write_mesh(out / name, shape)
    images.write_png(out / f"{stem}.png", np.uint8(np.round(255 * made["overlay"])))
    rows.append(
      {
        "file": str(person.path),
        "mesh": f"{stem}.obj",
        "read": f"{stem}_read.obj" if made["read"] is not None else None,
        "picture": f"{stem}.png",
        "box": person.box,
        "center": np.asarray(person.center, float).tolist(),
        "scale": person.scale,
        "camera": made["camera"].tolist(),
        "shape": made["shape"].tolist() if "shape" in made else None,
        "rotations": made["rotations"].tolist() if "rotations" in made else None,
      }
    )
  files.write_bytes(out / "predictions.json", json.dumps(rows, indent=2).encode())
  return rows


def _box(path, height, width):
  """Returns center, scale and source of the box of a picture's person."""
  boxed = path.with_name(f"{path.stem}_bbox.json")
  if boxed.exists():
    with files.decoding(boxed, "box"):
      x, y, w, h = map(float, json.loads(files.read_bytes(boxed))["bbox"])
      if min(w, h) <= 0 or not np.all(np.isfinite([x, y, w, h])):
        raise ValueError(f"a box of {w:g} x {h:g} pixels")
    return np.array([x + w / 2, y + h / 2]), max(w, h) / augmentation.BOX, str(boxed)
  posed = path.with_name(f"{path.stem}_openpose.json")
  if posed.exists():
    with files.decoding(posed, "file of OpenPose"):
      people = json.loads(files.read_bytes(posed))["people"]
      joints = np.reshape(people[0]["pose_keypoints_2d"], (-1, 3))
      seen = joints[joints[:, 2] > _CONFIDENT, :2]
      side = float(np.ptp(seen, axis=0).max())
      if side <= 0:
        raise ValueError("its joints are at one place")
    return seen.mean(axis=0), side / augmentation.BOX * _FACTOR, str(posed)
  side = max(height, width)
  return np.array([width / 2, height / 2]), side / augmentation.BOX, "whole picture"


def _resized(image, side):
  if len(image) == side:
    return image
  pixels = Image.fromarray(np.uint8(np.round(255 * np.clip(image, 0, 1))))
  resized = pixels.resize((side, side), Image.Resampling.BILINEAR)
  return np.asarray(resized, np.float64) / 255
