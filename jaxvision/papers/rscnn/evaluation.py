"""What trained networks do on test shapes, as they are and disturbed."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.rscnn import augmentation, grouping, metrics, voting
from jaxvision.papers.rscnn.training import Model

Batch = Mapping[str, chex.Array]

SHIFT = 0.2
NORMAL_ESTIMATORS = {"normals": "RS-CNN", "normals_pointnet": "PointNet"}
# Turned about x: training shapes are turned about z at random.
CONDITIONS = {
  "clean": lambda batch: batch,
  "shift +0.2": lambda batch: _moved(batch, SHIFT),
  "shift -0.2": lambda batch: _moved(batch, -SHIFT),
  "turned 90": lambda batch: turned(batch, "x", 90),
  "turned 180": lambda batch: turned(batch, "x", 180),
  "1/2 of the points": lambda batch: _thinned(batch, 2),
  "1/4 of the points": lambda batch: _thinned(batch, 4),
}


def turned(batch: Batch, axis: str, degrees: float) -> dict[str, chex.Array]:
  """Returns a batch whose points and normals are turned about an axis."""
  matrix = augmentation.rotation(axis, degrees)
  return dict(batch) | {
    name: jnp.matmul(batch[name], matrix.T, precision=jax.lax.Precision.HIGHEST)
    for name in ("points", "normals")
    if name in batch
  }


def _moved(batch, shift):
  return dict(batch) | {"points": batch["points"] + shift}


def _thinned(batch, share):
  count = max(batch["points"].shape[1] // share, 1)
  return dict(batch) | {"points": augmentation.thin(batch["points"], count)}


class Evaluator:
  """Runs one network; what it compiles serves all its trainings.

  Attributes:
    model: the network.
  """

  def __init__(self, model: Model, count: int, *, farthest: bool):
    """Takes the network, and how many points it sees.

    Args:
      model: the network.
      count: points.
      farthest: whether they are the farthest from each other of all that are stored,
        else the first ones.
    """
    self.model = model
    self._count, self._farthest = count, farthest
    self._apply = jax.jit(model.apply)
    self._select = jax.jit(self._selected)

  def _selected(self, batch: Batch) -> dict[str, chex.Array]:
    batch = {name: jnp.asarray(values) for name, values in batch.items()}
    # Of all points the farthest ones are all; sampling would only put them in order.
    if self._farthest and self._count < batch["points"].shape[1]:
      chosen = augmentation.farthest_subset(batch["points"], self._count)
      return {
        name: grouping.take(values, chosen) if values.ndim > 1 else values
        for name, values in batch.items()
      }
    return {
      name: values[:, : self._count] if values.ndim > 1 else values
      for name, values in batch.items()
    }

  def outputs(
    self,
    variables: Any,
    batches: Iterable[Batch],
    condition: Callable[[Batch], Batch] = CONDITIONS["clean"],
  ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns what the network gives for all examples, and the examples it saw.

    Args:
      variables: of the network.
      batches: as `data.testing_batches` yields them.
      condition: what is done to each batch.
    """
    outputs, seen = [], []
    for batch in batches:
      batch = condition(self._select(batch))
      output = np.asarray(self._apply(variables, batch))
      real = np.asarray(batch["weight"]) > 0
      outputs.append(output[real])
      seen.append({name: np.asarray(values)[real] for name, values in batch.items()})
    return (
      np.concatenate(outputs),
      jax.tree.map(lambda *leaves: np.concatenate(leaves), *seen),
    )

  def accuracy(
    self,
    variables: Any,
    batches: Iterable[Batch],
    condition: Callable[[Batch], Batch] = CONDITIONS["clean"],
  ) -> float:
    """Returns the share of shapes that are classified correctly."""
    logits, seen = self.outputs(variables, batches, condition)
    return float(metrics.accuracy(jnp.asarray(logits), jnp.asarray(seen["label"])))

  def voted_accuracy(
    self,
    variables: Any,
    batches: Iterable[Batch],
    key: chex.PRNGKey,
    *,
    votes: int,
    candidates: int,
  ) -> float:
    """Returns the accuracy of several votes on each shape (M13)."""
    vote = self._voter(votes, candidates)
    right = total = 0.0
    for number, batch in enumerate(batches):
      shares = np.asarray(
        vote(variables, jax.random.fold_in(key, number), batch["points"])
      )
      correct = np.argmax(shares, axis=1) == batch["label"]
      right += float(np.sum(correct * batch["weight"]))
      total += float(np.sum(batch["weight"]))
    return right / total

  def _voter(self, votes, candidates):
    def vote(variables, key, points):
      return voting.classification_votes(
        lambda seen: self.model.apply(variables, {"points": seen}),
        key,
        points,
        votes=votes,
        count=self._count,
        candidates=candidates,
      )

    return jax.jit(vote)

  def part_ious(
    self,
    variables: Any,
    batches: Iterable[Batch],
    parts: Mapping[str, tuple[int, ...]],
    *,
    key: chex.PRNGKey | None = None,
    votes: int = 1,
  ) -> tuple[dict[str, list[float]], float]:
    """Returns every shape's IoU by category, and the share of points labelled well.

    Args:
      variables: of the network.
      batches: as `data.testing_batches` yields them.
      parts: numbers of each category's parts.
      key: of votes; not needed for one.
      votes: several are averaged (M13).
    """
    names = list(parts)
    ious: dict[str, list[float]] = {name: [] for name in names}
    vote = self._label_voter(votes)
    right = []
    for number, batch in enumerate(batches):
      batch = self._select(batch)
      if votes > 1:
        own = jax.random.fold_in(key, number)
        output = vote(variables, own, batch)
      else:
        output = self._apply(variables, batch)
      for index in np.flatnonzero(np.asarray(batch["weight"]) > 0):
        name = names[int(batch["label"][index])]
        truth = np.asarray(batch["parts"][index])
        found = metrics.predicted_parts(np.asarray(output[index]), parts[name])
        ious[name].append(metrics.shape_iou(found, truth, parts[name]))
        right.append(np.mean(found == truth))
    return ious, float(np.mean(right))

  def _label_voter(self, votes):
    def vote(variables, key, batch):
      return voting.labelling_votes(
        lambda points, key: self.model.apply(
          variables, dict(batch) | {"points": points}, key
        ),
        key,
        batch["points"],
        votes=votes,
      )

    return jax.jit(vote)

  def normal_errors(
    self, variables: Any, batches: Iterable[Batch]
  ) -> tuple[float, float]:
    """Returns the mean 1 - cos and 1 - |cos| of the normals' angles."""
    found, seen = self.outputs(variables, batches)
    cosines = np.sum(found * seen["normals"], axis=-1)
    return float(np.mean(1 - cosines)), float(np.mean(1 - np.abs(cosines)))


def invariances(
  model: Model, variables: Any, points: chex.Array, key: chex.PRNGKey
) -> dict[str, float]:
  """Returns how much set abstractions change with the cloud's place and order (C2).

  Coordinates are rounded to 2^-14 and lie away from the origin, so that a moved cloud
  is the same to the bit, and no point falls where the sampling leaves points out.

  Args:
    model: a classifier.
    variables: its parameters; trained or not.
    points: [B, N, 3] in the unit sphere.
    key: of the permutation.

  Returns:
    The largest change of a feature, in parts of the layer's largest: "translation" by
    0.5 along each axis, and "permutation" of all points but the first. The balls have
    room for every point: of more than they hold, the array's first ones would be taken.
  """
  size = points.shape[1]
  points = jnp.round(points * 2**14) / 2**14 + jnp.array([2.0, 0.0, 0.0])
  roomy = tuple(
    dataclasses.replace(layer, counts=(size - 1,) * len(layer.counts))
    for layer in model.network.layers
  )

  def features(points):
    network = model.network.clone(layers=roomy)
    _, state = network.apply(variables, points, mutable="intermediates")
    seen = state["intermediates"]
    return [seen[f"features{i}"][0] for i in range(len(roomy))]

  run = jax.jit(features)
  expected = run(points)

  def change(other):
    return max(
      float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(a)))
      for a, b in zip(expected, run(other), strict=True)
    )

  order = 1 + jax.random.permutation(key, size - 1)
  permuted = points[:, jnp.concatenate([jnp.zeros(1, order.dtype), order])]
  return {
    "translation": change(points + 0.5),
    "permutation": change(permuted),
  }
