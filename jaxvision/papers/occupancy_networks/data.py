"""Training examples and batches, of the stand-in shapes or of ShapeNet alike.

An example is a dict of what is stored of one shape: points [N, 3] with occupancies [N],
cloud and normals [M, 3], voxels [R, R, R], images (a sequence of [H, W, 3] uint8), and
the index of the shape. `drawing` turns it into what a variant trains on.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxvision.data import pipeline
from jaxvision.errors import UserError
from jaxvision.papers.occupancy_networks import shapes
from jaxvision.papers.occupancy_networks.variants import Sizes, Variant

Example = dict[str, Any]


def stand_in(
  families: tuple[str, ...],
  count: int,
  seed: int,
  *,
  points: int,
  surface: int,
  resolution: int,
  views: int = 0,
  image_size: int = 64,
  near: bool = False,
) -> pipeline.ArraySource:
  """Returns examples of procedural solids, in memory.

  Args:
    families: keys of `shapes.FAMILIES`.
    count: shapes.
    seed: of shapes and points.
    points: stored of each, uniform in the cube.
    surface: points stored of each surface.
    resolution: of the observed voxels; those of 32^3 that R2N2 learns are there too.
    views: pictures of each, from all around; 0 for none.
    image_size: pixels along their sides.
    near: whether also points near the surface are stored.
  """
  for family in families:
    if family not in shapes.FAMILIES:
      known = ", ".join(shapes.FAMILIES)
      raise UserError(f"no family of shapes is called {family!r}: there are {known}")
  solids = shapes.sample(families, count, seed)
  grids = tuple(sorted({resolution, 32}))
  arrays = shapes.describe(
    solids, seed, count=points, surface=surface, grids=grids, near=near
  )
  arrays["voxels"] = arrays[f"voxels{resolution}"]
  arrays["index"] = np.arange(count, dtype=np.int32)
  if views:
    # Views begin anywhere, so that no two shapes are seen from the same sides.
    start = np.random.default_rng([seed, 2]).uniform(0, 2 * np.pi, (count, 1))
    azimuth = start + np.linspace(0, 2 * np.pi, views, endpoint=False)
    pictures = shapes.photograph(solids, azimuth.astype(np.float32), size=image_size)
    arrays["images"] = np.round(255 * np.asarray(pictures)).astype(np.uint8)
  return pipeline.ArraySource(arrays)


def batch_shapes(
  variant: Variant, sizes: Sizes, batch: int, *, cloud: int, resolution: int, image: int
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of a variant's batch.

  Args:
    variant: what trains.
    sizes: of its network.
    batch: shapes in it.
    cloud: points of an observed cloud.
    resolution: of observed voxels.
    image: pixels along an image's sides.
  """

  def floats(*shape):
    return jax.ShapeDtypeStruct((batch, *shape), np.float32)

  shapes_of = {}
  if variant.task != "unconditional":
    shapes_of["inputs"] = {
      "image": floats(image, image, 3),
      "pointcloud": floats(cloud, 3),
      "voxels": floats(*(resolution,) * 3),
      "representation": jax.ShapeDtypeStruct((batch,), np.int32),
    }[variant.task]
  if variant.output == "r2n2":
    side = 4 * 2 ** (len(sizes.r2n2_widths) - 1)
    return shapes_of | {"voxels": floats(side, side, side)}
  if variant.output == "psgn":
    return shapes_of | {"cloud": floats(sizes.psgn_points, 3)}
  points = sizes.points_of(variant)
  return shapes_of | {"points": floats(points, 3), "occupancies": floats(points)}


def drawing(
  variant: Variant,
  sizes: Sizes,
  *,
  cloud: int,
  noise: float,
  image: int,
  augment: bool = False,
) -> Callable[[Example, np.random.Generator], dict[str, np.ndarray]]:
  """Returns what draws a variant's training example from a stored one (M3).

  Args:
    variant: what trains.
    sizes: of its network.
    cloud: points of an observed cloud.
    noise: standard deviation of their noise.
    image: pixels along an image's sides.
    augment: whether images are cropped at random (M15).
  """
  how = _Observing(cloud, noise, image, train=True, augment=augment)
  return functools.partial(_draw, variant, sizes, how)


def observe(
  variant: Variant, example: Example, seed: int, *, cloud: int, noise: float, image: int
) -> np.ndarray | None:
  """Returns what a variant sees of a shape at evaluation: its first view, a cloud, ...

  Args:
    variant: what is evaluated.
    example: a stored one.
    seed: of the cloud's points and noise.
    cloud, noise, image: see `drawing`.
  """
  rng = np.random.default_rng([seed, int(example["index"])])
  return _observe(variant.task, example, rng, _Observing(cloud, noise, image))


def resize(picture: np.ndarray, size: int) -> np.ndarray:
  """Returns a picture [H, W, 3] uint8 as [size, size, 3] float32 in [0, 1]."""
  from PIL import Image

  if picture.shape[:2] != (size, size):
    scaled = Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR)
    picture = np.asarray(scaled)
  return picture.astype(np.float32) / 255


@dataclasses.dataclass(frozen=True)
class _Observing:
  """How shapes are observed, in training or not."""

  cloud: int
  noise: float
  image: int
  train: bool = False
  augment: bool = False


def _draw(variant, sizes, how, example, rng):
  drawn = {}
  if variant.task != "unconditional":
    drawn["inputs"] = _observe(variant.task, example, rng, how)
  if variant.output == "r2n2":
    return drawn | {"voxels": example["voxels32"].astype(np.float32)}
  if variant.output == "psgn":
    chosen = rng.integers(len(example["cloud"]), size=sizes.psgn_points)
    return drawn | {"cloud": example["cloud"][chosen]}
  count = sizes.points_of(variant)
  points, occupancies = example["points"], example["occupancies"]
  if variant.sampling == "equal":
    inside = np.flatnonzero(occupancies)
    outside = np.flatnonzero(~occupancies)
    half = count // 2
    if not len(inside) or not len(outside):
      raise UserError(f"shape {example['index']}: no points inside, or none outside")
    chosen = np.concatenate(
      [rng.choice(outside, half), rng.choice(inside, count - half)]
    )
  elif variant.sampling == "surface":
    half = count // 2
    first = rng.integers(len(points), size=half)
    second = rng.integers(len(example["near_points"]), size=count - half)
    drawn["points"] = np.concatenate([points[first], example["near_points"][second]])
    inside = [occupancies[first], example["near_occupancies"][second]]
    drawn["occupancies"] = np.concatenate(inside).astype(np.float32)
    return drawn
  else:
    chosen = rng.integers(len(points), size=count)
  drawn["points"] = points[chosen]
  drawn["occupancies"] = occupancies[chosen].astype(np.float32)
  return drawn


def _observe(task, example, rng, how):
  if task == "image":
    views = example["images"]
    picture = views[rng.integers(len(views)) if how.train else 0]
    return resize(_crop(picture, rng) if how.augment else picture, how.image)
  if task == "pointcloud":
    points = example["cloud"]
    chosen = points[rng.integers(len(points), size=how.cloud)]
    return chosen + how.noise * rng.standard_normal(chosen.shape, np.float32)
  if task == "voxels":
    return example["voxels"].astype(np.float32)
  if task == "representation":
    return np.int32(example["index"])
  return None


def _crop(picture, rng):
  """Returns a random square of 3/4 to all of a picture's area."""
  height, width = picture.shape[:2]
  side = round((rng.uniform(0.75, 1.0) * height * width) ** 0.5)
  side = min(side, height, width)
  top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
  return picture[top : top + side, left : left + side]
