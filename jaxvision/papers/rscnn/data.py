"""Clouds to train and test on: procedural, ModelNet40, ShapeNet-Part."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np
from etils import epath

from jaxvision.data import pipeline
from jaxvision.errors import UserError
from jaxvision.papers.rscnn import shapes

Examples = Any  # at random access: "points", "label", and for labels "normals", "parts"


@dataclasses.dataclass(frozen=True)
class Source:
  """A data set as networks see it.

  Attributes:
    classes: names of the classes or categories.
    parts: numbers of each class's parts; none where parts are not known.
    points: points of every stored cloud that a batch holds.
    has_normals: whether normals are known.
  """

  classes: tuple[str, ...]
  parts: dict[str, tuple[int, ...]]
  points: int
  has_normals: bool

  @property
  def num_parts(self) -> int:
    return sum(map(len, self.parts.values()))


def source(name: str, points: int) -> Source:
  """Returns what a source is, nothing read.

  Args:
    name: "shapes" (procedural), "part_shapes" (those with several parts), "modelnet40"
      or "shapenet_part".
    points: stored points of a cloud.
  """
  if name in _PROCEDURAL:
    classes = _PROCEDURAL[name]
    return Source(classes, shapes.part_numbers(classes), points, True)
  # The readers import TFDS, which procedural data do not need.
  if name == "modelnet40":
    from jaxvision.data import modelnet

    return Source(modelnet.NAMES, {}, points, False)
  from jaxvision.data import shapenet_part

  return Source(shapenet_part.CATEGORIES, shapenet_part.PARTS, points, True)


def load(
  name: str,
  data_dir: epath.PathLike | None,
  *,
  points: int,
  each: tuple[int, int] = (0, 0),
  noise: float = 0.0,
) -> tuple[Examples, Examples]:
  """Returns the examples for training and for testing.

  Args:
    name: see `source`.
    data_dir: where prepared data sets are; procedural shapes need none.
    points: stored points of a cloud; of ShapeNet-Part's files so many are drawn with
      replacement.
    each: procedural shapes a class, for training and for testing.
    noise: of the procedural shapes' coordinates.

  Raises:
    UserError: there is no directory, or files are missing or damaged.
  """
  if name in _PROCEDURAL:
    return tuple(
      pipeline.ArraySource(
        shapes.draw_set(_PROCEDURAL[name], number, points, seed, noise)
      )
      for seed, number in enumerate(each)
    )
  if data_dir is None:
    raise UserError(f"{name} is read from --data_dir=DIR")
  from jaxvision.data import builder

  if name == "modelnet40":
    from jaxvision.data.modelnet import Modelnet40

    sets = (builder.load(Modelnet40, s, data_dir=data_dir) for s in ("train", "test"))
    return tuple(sets)
  from jaxvision.data.shapenet_part import ShapenetPart

  # The paper trains on the validation shapes too.
  read = functools.partial(builder.load, ShapenetPart, data_dir=data_dir)
  return read("train+val"), read("test")


def training_batches(
  examples: Examples, name: str, *, batch_size: int, points: int, seed: int
) -> grain.DatasetIterator:
  """Returns endless shuffled batches of stored clouds.

  Args:
    examples: as `load` returns them.
    name: see `source`.
    batch_size: clouds of one global batch.
    points: of each cloud.
    seed: of the order, and of what is drawn.
  """
  transform = None if name in _PROCEDURAL else functools.partial(prepare, points=points)
  return pipeline.batches(
    examples, batch_size=batch_size, seed=seed, transform=transform
  )


def testing_batches(
  examples: Examples, name: str, *, batch_size: int, points: int
) -> Iterator[dict[str, np.ndarray]]:
  """Yields all examples in order; the last batch is filled up with the first ones.

  Every batch has one shape, so that it is compiled once: "weight" [B] is 0 for the
  examples that fill it up.

  Args:
    examples: as `load` returns them.
    name: see `source`.
    batch_size: clouds at once.
    points: of each cloud.
  """
  for start in range(0, len(examples), batch_size):
    indices = range(start, start + batch_size)
    some = []
    for index in indices:
      example = examples[index % len(examples)]
      if name not in _PROCEDURAL:
        example = prepare(example, np.random.default_rng(index), points=points)
      some.append(example)
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *some)
    yield batch | {"weight": np.array([i < len(examples) for i in indices], np.float32)}


def prepare(
  example: dict[str, Any], rng: np.random.Generator, *, points: int
) -> dict[str, np.ndarray]:
  """Returns a stored example with exactly `points` points, in the unit sphere.

  A cloud of as many points keeps them in their order, as ModelNet40's are; of any other
  so many are drawn with replacement, as of ShapeNet-Part's, which is then normalised.

  Args:
    example: "points" [N, 3], perhaps "normals" [N, 3] and "parts" [N]; "label" or
      "category".
    rng: source of randomness.
    points: number of points.
  """
  label = example["label"] if "label" in example else example["category"]
  clouds = {
    name: np.asarray(example[name])
    for name in ("points", "normals", "parts")
    if name in example
  }
  if "parts" in clouds or len(clouds["points"]) != points:
    chosen = rng.integers(len(clouds["points"]), size=points)
    clouds["points"] = unit_sphere(clouds["points"])
    clouds = {name: values[chosen] for name, values in clouds.items()}
  kinds = {"points": np.float32, "normals": np.float32, "parts": np.int32}
  clouds = {name: values.astype(kinds[name]) for name, values in clouds.items()}
  return clouds | {"label": np.int32(label)}


def unit_sphere(points: np.ndarray) -> np.ndarray:
  """Returns points [N, 3] moved to their mean and scaled into the unit sphere."""
  points = np.asarray(points, np.float64)
  points = points - points.mean(axis=0)
  reach = np.linalg.norm(points, axis=1).max()
  return (points / (reach if reach > 0 else 1.0)).astype(np.float32)


def batch_shapes(
  name: str, batch_size: int, points: int
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of a training batch."""
  cloud = (batch_size, points)
  leaves = {
    "points": jax.ShapeDtypeStruct((*cloud, 3), np.float32),
    "label": jax.ShapeDtypeStruct((batch_size,), np.int32),
  }
  if name != "modelnet40":
    leaves["normals"] = jax.ShapeDtypeStruct((*cloud, 3), np.float32)
    leaves["parts"] = jax.ShapeDtypeStruct(cloud, np.int32)
  return leaves


_PROCEDURAL = {"shapes": shapes.CLASSES, "part_shapes": shapes.WITH_PARTS}
