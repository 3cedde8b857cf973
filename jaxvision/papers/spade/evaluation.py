"""What trained generators are measured by, all on the same label maps."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import chex
import jax
import numpy as np

from jaxvision.data import pipeline
from jaxvision.ops import frechet
from jaxvision.papers.spade import data, metrics, semantics, training
from jaxvision.papers.spade.preprocessing import Preprocessing
from jaxvision.papers.spade.segmenter import Judge
from jaxvision.papers.spade.variants import DataSet

Batch = Mapping[str, np.ndarray]


class Synthesizer:
  """A trained generator, in inference, compiled once for batches of one size.

  Args:
    networks: its networks.
    params: {"generator": ..., "encoder": ... where there is one}.
    model_state: the other collections of each.
  """

  def __init__(self, networks: training.Networks, params: Any, model_state: Any):
    self.networks = networks
    self._variables = params, model_state
    self._run = _compiled(networks)

  def __call__(
    self, batch: Batch, key: chex.PRNGKey, style_images: chex.Array | None = None
  ) -> np.ndarray:
    """Returns images [B, H, W, 3] in [0, 1].

    Args:
      batch: {"labels"} and, where they are used, {"instances"}, each [B, H, W] int.
      key: of the styles.
      style_images: [B, h, w, 3] in [0, 1]; None draws styles from N(0, I), where the
        generator starts from one.
    """
    maps = {name: batch[name] for name in ("labels", "instances") if name in batch}
    return np.asarray(self._run(*self._variables, maps, key, style_images))


@functools.cache  # trainings that differ in their seed share it
def _compiled(networks):
  @jax.jit
  def run(params, model_state, batch, key, style_images):
    if style_images is not None:
      style_images = semantics.to_signed(style_images)
    made = training.generate(
      networks,
      params,
      model_state,
      training.encode(networks, batch),
      key,
      style_images=style_images,
    )
    return semantics.from_signed(made.images)

  return run


def batches(
  source: pipeline.Source, count: int, size: int, options: Preprocessing
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the first examples of a source in its order, without random changes."""
  prepare = data.to_batch(options)
  count = min(count, len(source))
  for first in range(0, count, size):
    some = [prepare(source[i], None) for i in range(first, min(first + size, count))]
    yield {name: np.stack([one[name] for one in some]) for name in some[0]}


class Measured(NamedTuple):
  """Scores of a segmenter, and the moments of its features."""

  mean_iou: float
  accuracy: float
  features: frechet.Statistics


def measure(
  judge: Judge,
  examples: Iterable[Batch],
  synthesize: Callable[[Batch, chex.PRNGKey], np.ndarray] | None = None,
) -> Measured:
  """Returns how well images show their labels.

  Args:
    judge: the segmenter.
    examples: batches with labels, and real images.
    synthesize: makes images for a batch; None judges the real ones.
  """
  counts = np.zeros((judge.num_classes,) * 2, np.int64)
  features = []
  for number, batch in enumerate(examples):
    images = batch["images"]
    if synthesize is not None:
      images = synthesize(batch, jax.random.fold_in(jax.random.key(0), number))
    _, found, pooled = judge(images, batch["labels"])
    counts += np.asarray(found)
    features.append(np.asarray(pooled))
  scores = metrics.scores(counts)
  moments = frechet.statistics(np.concatenate(features))
  return Measured(float(scores.mean_iou), float(scores.accuracy), moments)


class Uniform(NamedTuple):
  """What becomes of maps that one class fills.

  Attributes:
    images: [K, H, W, 3], one a class.
    difference: mean absolute difference of two classes' images, over all pairs.
    recognised: share of classes that the segmenter sees in most of their image.
  """

  images: np.ndarray
  difference: float
  recognised: float


def uniform_maps(
  synthesize: Synthesizer, judge: Judge, classes: DataSet, batch: int
) -> Uniform:
  """Returns what a generator makes of each class alone, from one style.

  Args:
    synthesize: the generator.
    judge: the segmenter.
    classes: of the data set.
    batch: maps at a time.
  """
  total, images, hits = classes.num_classes, [], 0
  for first in range(0, total, batch):
    some = np.minimum(np.arange(first, first + batch), total - 1)
    labels = np.tile(some[:, None, None].astype(np.int32), (1, *classes.shape))
    maps = {"labels": labels}
    if classes.instances:
      maps["instances"] = np.zeros_like(labels)  # all of a map is one
    made = synthesize(maps, jax.random.key(0))
    predictions = np.asarray(judge(made, labels)[0])
    count = min(batch, total - first)
    shares = (predictions == labels).mean(axis=(1, 2))[:count]
    hits += int(np.sum(shares > 0.5))
    images.append(made[:count])
  images = np.concatenate(images)
  pairs = [
    np.abs(one - images[i + 1 :]).mean((1, 2, 3)) for i, one in enumerate(images)
  ]
  return Uniform(images, float(np.concatenate(pairs).mean()), hits / total)


class Styles(NamedTuple):
  """How a style picture and chance act on images.

  Attributes:
    correlation: of the mean colour of images with that of their style picture, over
      style pictures, averaged over red, green and blue.
    diversity: standard deviation of a pixel's value over draws of the style.
  """

  correlation: float
  diversity: float


def styles(
  synthesize: Synthesizer, contents: Batch, pictures: np.ndarray, draws: int
) -> Styles:
  """Returns what styles do to a batch of label maps.

  Args:
    synthesize: a generator with an encoder of styles.
    contents: a batch of label maps.
    pictures: [S, H, W, 3] in [0, 1] style pictures.
    draws: of random styles.
  """
  count = len(contents["labels"])
  colors = []
  for number, picture in enumerate(pictures):
    repeated = np.broadcast_to(picture, (count, *picture.shape))
    made = synthesize(contents, jax.random.key(number), repeated)
    colors.append(made.mean(axis=(0, 1, 2)))
  theirs = pictures.mean(axis=(1, 2))
  made = np.stack(colors)
  with np.errstate(invalid="ignore"):  # of images that never change: NaN
    correlation = [np.corrcoef(theirs[:, i], made[:, i])[0, 1] for i in range(3)]
  random = [synthesize(contents, jax.random.key(100 + i)) for i in range(draws)]
  diversity = np.std(np.stack(random), axis=0).mean()
  return Styles(float(np.mean(correlation)), float(diversity))


def distance(a: Measured, b: Measured) -> float:
  """Returns the Fréchet distance of the segmenter's features (not FID)."""
  return frechet.frechet_distance(a.features, b.features)
