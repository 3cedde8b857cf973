"""From images with points to the batches that are trained on."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from PIL import Image

from jaxvision.data import counting_scenes, pipeline
from jaxvision.errors import UserError

FLIPS = 0.5  # probability of each
BORDER = 0.02  # share of a side by which labels may lie outside; they are clipped

Example = dict[str, Any]


def scenes(kind: str, count: int, size: int, seed: int) -> pipeline.ArraySource:
  """Returns procedural examples: "plants", from none to twelve, or "eyes", one each."""
  make = {
    "plants": counting_scenes.random_plants,
    "eyes": counting_scenes.random_eyes,
  }[kind]
  return pipeline.ArraySource(make(count, size, seed))


def points_of(example: Example) -> np.ndarray:
  """Returns the points [N, 2] of an example, in pixels of its image."""
  points = np.asarray(example["points"], np.float32).reshape(-1, 2)
  return points[example["valid"]] if "valid" in example else points


def prepare(
  example: Example,
  rng: np.random.Generator | None,
  *,
  shape: tuple[int, int],
  most_points: int,
  flips: tuple[bool, bool] = (True, True),
) -> dict[str, np.ndarray]:
  """Returns an example as the network and the losses take it.

  Args:
    example: {"image": [h, w, 3] uint8, "points": [N, 2] (row, column) in its pixels,
      perhaps padded, then with "valid" [N]}, perhaps "name".
    rng: of the flips; None for none.
    shape: height and width that images are resized to.
    most_points: number that points are padded to.
    flips: whether images are mirrored left to right, and top to bottom.

  Returns:
    image [H, W, 3] float32 in [0, 1], points [most_points, 2] float32 in its pixels,
    rounded, valid [most_points] bool, and size [2] float32, the original's.

  Raises:
    UserError: there are more points than most_points, or than pixels.
  """
  image, points = example["image"], points_of(example)
  height, width = image.shape[:2]
  check_points(points, (height, width), shape, most_points, example.get("name"))
  if rng is not None:
    for is_wanted, axis in zip(flips, (1, 0), strict=True):
      if is_wanted and rng.random() < FLIPS:
        image = np.flip(image, axis)
        points = points.copy()
        points[:, axis] = image.shape[axis] - 1 - points[:, axis]
  resized = resize_image(image, shape)
  scaled = np.round(points * (np.array(shape) / (height, width)))
  padded = np.full((most_points, 2), -1, np.float32)
  padded[: len(points)] = np.clip(scaled, 0, shape)
  return {
    "image": resized,
    "points": padded,
    "valid": np.arange(most_points) < len(points),
    "size": np.array([height, width], np.float32),
  }


def check_points(points, size, shape, most_points: int, name=None) -> None:
  """Raises a UserError where points [N, 2] cannot be those of an image."""
  name = _text(name)
  pixels = shape[0] * shape[1]
  if len(points) > pixels:
    raise UserError(
      f"{name}: {len(points)} points, more than the {pixels} pixels of a map of "
      f"{shape[0]} x {shape[1]}"
    )
  if len(points) > most_points:
    raise UserError(
      f"{name}: {len(points)} points, more than --config.most_points={most_points}"
    )
  size = np.array(size)
  outside = np.any((points < -BORDER * size) | (points > (1 + BORDER) * size), axis=1)
  if np.any(outside):
    row, column = points[np.argmax(outside)]
    raise UserError(
      f"{name}: the point ({row:g}, {column:g}) lies outside the image of {size[0]} x "
      f"{size[1]}"
    )


def _text(name):
  if name is None:
    return "an image"
  return name.decode() if isinstance(name, bytes) else str(name)


def resize_image(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Returns an image [h, w, 3] uint8 as [H, W, 3] float32 in [0, 1]."""
  if image.shape[:2] != tuple(shape):
    picture = Image.fromarray(np.ascontiguousarray(image))
    image = np.asarray(picture.resize(shape[::-1], Image.Resampling.BILINEAR))
  return image.astype(np.float32) / 255


def transform(
  shape: tuple[int, int], most_points: int, flips: tuple[bool, bool]
) -> Callable[[Example, np.random.Generator | None], dict[str, np.ndarray]]:
  """Returns `prepare` with these arguments."""
  return functools.partial(prepare, shape=shape, most_points=most_points, flips=flips)


def batch_shapes(
  batch: int, shape: tuple[int, int], most_points: int
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of a batch."""
  return {
    "image": jax.ShapeDtypeStruct((batch, *shape, 3), np.float32),
    "points": jax.ShapeDtypeStruct((batch, most_points, 2), np.float32),
    "valid": jax.ShapeDtypeStruct((batch, most_points), np.bool_),
    "size": jax.ShapeDtypeStruct((batch, 2), np.float32),
  }
