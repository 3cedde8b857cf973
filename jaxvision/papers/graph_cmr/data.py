"""Rendered stand-in people with everything that is known of them, and batches.

A batch is {"images" [B, S, S, 3] in [0, 1], "keypoints" [B, 24, 3] in [-1, 1] with
whether they are annotated, "joints" [B, 24, 4] in metres with confidences, "pose"
[B, 72] axis-angles, "shape" [B, 10], "has_smpl" [B], "has_joints" [B]}.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from jaxvision.data import photographs, pipeline
from jaxvision.ops import skinning
from jaxvision.papers.graph_cmr import keypoints, rendering
from jaxvision.papers.graph_cmr.augmentation import BOX
from jaxvision.papers.graph_cmr.body import NUM_PARTS, Body, Surface
from jaxvision.papers.graph_cmr.dataset import Labels
from jaxvision.train import jit_once

Inputs = Literal["rgb", "parts", "textured"]

# Joints that people move most: hips, knees, shoulders, elbows.
_ACTIVE = (1, 2, 4, 5, 16, 17, 18, 19)
_TILT = 0.15  # of the whole body, radians
_FILLED = (0.75, 0.95)  # share of the picture's side that a body takes
_SHIFT = 0.06  # of its middle, in halves of the side
_POSED_AT_ONCE = 128

# Of the parts, background first, as the network sees them.
PALETTE = np.array(
  [
    [0.0, 0.0, 0.0],
    [1.0, 0.9, 0.2],
    [0.9, 0.9, 0.9],
    [0.2, 0.9, 0.3],
    [0.9, 0.2, 0.2],
    [0.2, 0.4, 1.0],
    [0.9, 0.3, 0.9],
  ]
)


@dataclasses.dataclass(frozen=True)
class Variation:
  """How much rendered people differ, in radians.

  Attributes:
    yaw: how far they turn to either side from facing the camera, at most.
    spread: standard deviation of each joint's rotation.
    active: the same of hips, knees, shoulders and elbows.
  """

  yaw: float = np.pi
  spread: float = 0.3
  active: float = 0.45


def poses(
  count: int, seed: int, variation: Variation = Variation(), shapes: int = 10
) -> dict[str, np.ndarray]:
  """Returns random bodies: "pose" [count, 72] and "shape" [count, shapes].

  They stand upright before a camera whose y axis points down.

  Args:
    count: how many.
    seed: of all draws.
    variation: of the poses.
    shapes: shape numbers.
  """
  rng = np.random.default_rng(seed)
  spread = np.full(24, variation.spread)
  spread[list(_ACTIVE)] = variation.active
  pose = rng.normal(size=(count, 24, 3)) * spread[:, None]
  # Arms hang rather than stretch out, as people's do.
  pose[:, 16, 2] -= 0.6
  pose[:, 17, 2] += 0.6
  turns = rng.uniform(-variation.yaw, variation.yaw, count)
  tilt = Rotation.from_rotvec(rng.normal(size=(count, 3)) * _TILT)
  upright = Rotation.from_rotvec([np.pi, 0, 0])
  turn = Rotation.from_rotvec(turns[:, None] * np.array([0, 1, 0]))
  pose[:, 0] = (upright * tilt * turn).as_rotvec()
  return {
    "pose": pose.reshape(count, 72).astype(np.float32),
    "shape": rng.normal(size=(count, shapes)).astype(np.float32),
  }


def posed(body: Body, pose: np.ndarray, shape: np.ndarray) -> np.ndarray:
  """Returns vertices [n, V, 3] of n bodies, on the host."""
  made = []
  for first in range(0, len(pose), _POSED_AT_ONCE):
    some = slice(first, first + _POSED_AT_ONCE)
    missing = max(0, first + _POSED_AT_ONCE - len(pose))
    arrays = [np.pad(a[some], ((0, missing), (0, 0))) for a in (pose, shape)]
    vertices = np.asarray(_posed(body.model, *arrays))
    made.append(vertices[: _POSED_AT_ONCE - missing])
  return np.concatenate(made)


@jit_once
def _posed(model, pose, shape):
  rotations = skinning.axis_angles_to_rotations(pose)
  return skinning.forward(model, rotations, shape)[0]


def stand_ins(
  body: Body,
  surface: Surface,
  count: int,
  seed: int,
  *,
  size: int = 64,
  inputs: Inputs = "rgb",
  variation: Variation = Variation(),
) -> pipeline.ArraySource:
  """Returns rendered people, with "camera" [3] and, from parts, "labels" [S, S].

  Args:
    body: the stand-in.
    surface: its faces.
    count: how many people.
    seed: of all draws.
    size: of the pictures.
    inputs: "rgb" shows surfaces by their direction before photographs, "parts" the
      part of each pixel, "textured" where on the template it lies, as DensePose tells
      it, and light.
    variation: of their poses.
  """
  shapes = body.model.shape_directions.shape[-1]
  made = poses(count, seed, variation, shapes)
  vertices = posed(body, made["pose"], made["shape"])
  rng = np.random.default_rng([seed, 1])
  cameras = _cameras(vertices, rng)
  backgrounds = _backgrounds() if inputs == "rgb" else None
  texture = template_colors(body.model.template[surface.faces])
  pictures, labels = [], []
  for own, camera in zip(vertices, cameras, strict=True):
    rendered = rendering.render_closed(own, surface.faces, camera, size)
    labels.append(rendering.part_labels(rendered, surface.parts).astype(np.uint8))
    if inputs == "rgb":
      background = _random_crop(backgrounds, size, rng)
      pictures.append(color_normals(rendered, background))
    elif inputs == "textured":
      pictures.append(color_texture(rendered, texture))
    else:
      pictures.append(color_parts(labels[-1]))
  joints = np.einsum("jv,nvc->njc", body.keypoints, vertices)
  places = cameras[:, None, :1] * (joints[..., :2] + cameras[:, None, 1:])
  ones = np.ones((count, keypoints.COUNT, 1), np.float32)
  return pipeline.ArraySource(
    made
    | {
      "images": np.uint8(np.round(255 * np.stack(pictures))),
      "labels": np.stack(labels),
      "camera": cameras.astype(np.float32),
      "keypoints": np.concatenate([places, ones], axis=-1).astype(np.float32),
      "joints": np.concatenate([joints, ones], axis=-1).astype(np.float32),
      "has_smpl": np.ones(count, np.float32),
      "has_joints": np.ones(count, np.float32),
    }
  )


def color_parts(labels: np.ndarray) -> np.ndarray:
  """Returns colours [H, W, 3] in [0, 1] of parts [H, W]."""
  return PALETTE[np.clip(labels, 0, NUM_PARTS - 1)]


def color_normals(rendered: rendering.Rendered, background: np.ndarray) -> np.ndarray:
  """Returns a picture [H, W, 3] in [0, 1] whose colours are surfaces' directions."""
  color = 0.5 + 0.5 * rendered.normals * np.array([1, -1, -1])
  return np.where(rendered.mask[..., None], color, background)


def template_colors(corners: np.ndarray) -> np.ndarray:
  """Returns a colour [F, 3] in [0, 1] for each triangle [F, 3, 3] of the template."""
  places = corners.mean(axis=1)
  low, high = places.min(axis=0), places.max(axis=0)
  return 0.15 + 0.85 * (places - low) / (high - low)


def color_texture(rendered: rendering.Rendered, texture: np.ndarray) -> np.ndarray:
  """Returns a picture [H, W, 3] in [0, 1] of a lit body with such colours [F, 3]."""
  return rendering.shade(rendered, (1.0, 1.0, 1.0)) * texture[rendered.face]


def to_batch(example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
  """Returns what a batch holds of a rendered example."""
  del rng
  kept = {name: example[name] for name in batch_shapes(1, 1) if name != "images"}
  return kept | {"images": example["images"].astype(np.float32) / 255}


def labels(example: dict[str, Any]) -> Labels:
  """Returns what the pixels of a rendered example show."""
  size = example["labels"].shape[0]
  parts = example["labels"].astype(np.int32)
  center = np.array([size / 2, size / 2])
  return Labels((parts > 0).astype(np.int32), parts, center, size / BOX)


def batch_shapes(
  size: int, side: int, shapes: int = 10
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of batches of so many examples of so large pictures."""
  shape = {
    "images": (side, side, 3),
    "keypoints": (keypoints.COUNT, 3),
    "joints": (keypoints.COUNT, 4),
    "pose": (72,),
    "shape": (shapes,),
    "has_smpl": (),
    "has_joints": (),
  }
  return {
    name: jax.ShapeDtypeStruct((size, *own), jnp.float32) for name, own in shape.items()
  }


def pose_shapes(size: int, shapes: int = 10) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of batches of bodies without pictures."""
  whole = batch_shapes(size, 1, shapes)
  return {name: whole[name] for name in ("pose", "shape")}


def _cameras(vertices, rng):
  """Returns cameras [n, 3] that see bodies about the middle of the picture."""
  low, high = vertices[..., :2].min(axis=1), vertices[..., :2].max(axis=1)
  side = (high - low).max(axis=1)
  scale = 2 * rng.uniform(*_FILLED, len(vertices)) / side
  shift = rng.uniform(-_SHIFT, _SHIFT, (len(vertices), 2)) / scale[:, None]
  return np.concatenate([scale[:, None], shift - (low + high) / 2], axis=1)


def _backgrounds():
  """Returns photographs [h, w, 3] uint8, a quarter of their size."""
  return [photo[::2, ::2] for photo in photographs.photographs().values()]


def _random_crop(pictures, size, rng):
  picture = pictures[rng.integers(len(pictures))]
  height, width = picture.shape[:2]
  side = int(rng.integers(size, min(height, width)))
  top, left = rng.integers(height - side), rng.integers(width - side)
  crop = Image.fromarray(picture[top : top + side, left : left + side])
  crop = crop.resize((size, size), Image.Resampling.BOX)
  return np.asarray(crop, np.float64) / 255
