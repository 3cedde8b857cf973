"""What trained networks are measured by, all on the same images."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvision.papers.weighted_hausdorff import (
  data,
  extraction,
  losses,
  metrics,
  training,
)
from jaxvision.papers.weighted_hausdorff.network import Locator


class Prediction(NamedTuple):
  """What a network says of one image, and the truth.

  Attributes:
    image: [h, w, 3] uint8, the original.
    saliency: [H, W], at the network's size.
    count: the estimated one.
    truth: [N, 2] (row, column) in pixels of the original.
  """

  image: np.ndarray
  saliency: np.ndarray
  count: float
  truth: np.ndarray

  @property
  def size(self) -> tuple[int, int]:
    return self.image.shape[:2]


class Predictor:
  """A trained network in inference, compiled once for batches of one size."""

  def __init__(self, network: Locator, params: Any, model_state: Any):
    self.network = network
    self._variables = params, model_state
    self._run = _compiled(network)

  def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns maps [B, H, W] and counts [B] of images [B, H, W, 3] in [0, 1]."""
    return jax.device_get(self._run(*self._variables, images))

  def predict(
    self,
    examples: Iterable[Mapping[str, Any]],
    shape: tuple[int, int],
    batch: int,
  ) -> list[Prediction]:
    """Returns the predictions for examples of any sizes.

    Args:
      examples: as `data.prepare` takes them; without "points" where there is no truth.
      shape: height and width that images are resized to.
      batch: images at a time.
    """
    examples = list(examples)
    found = []
    for first in range(0, len(examples), batch):
      some = examples[first : first + batch]
      images = np.stack([data.resize_image(one["image"], shape) for one in some])
      filled = np.concatenate(
        [images, np.zeros((batch - len(some), *images.shape[1:]))]
      )
      maps, counts = self(filled.astype(np.float32))
      for example, saliency, count in zip(some, maps, counts, strict=False):
        truth = data.points_of(example) if "points" in example else np.zeros((0, 2))
        found.append(Prediction(example["image"], saliency, float(count), truth))
    return found


@functools.cache  # trainings that differ in their seed share it
def _compiled(network):
  @jax.jit
  def run(params, model_state, images):
    located = training.forward(network, params, model_state, images)
    return located.map, located.count

  return run


def locate(
  prediction: Prediction,
  method: extraction.Method,
  *,
  seed: int = 0,
  most_pixels: int | None = None,
) -> extraction.Located:
  """Returns the objects of a prediction; see `extraction.locate`."""
  return extraction.locate(
    prediction.saliency,
    prediction.count,
    prediction.size,
    method=method,
    seed=seed,
    most_points=most_pixels,
  )


def measure(
  predictions: Sequence[Prediction],
  method: extraction.Method,
  radius: float,
  *,
  most_pixels: int | None = None,
) -> metrics.Scores:
  """Returns the scores of predictions.

  Images without objects count in precision and in counts, and have no distance; where
  nothing is found the distance is the diagonal of the map.

  Args:
    predictions: of a set of images.
    method: of thresholding.
    radius: pixels of the original within which a point is found.
    most_pixels: see `extraction.locate`.
  """
  judge = metrics.Judge(radius, skip_empty_truth=True)
  for number, one in enumerate(predictions):
    points = locate(one, method, seed=number, most_pixels=most_pixels).points
    empty = losses.largest_distance(*one.saliency.shape)
    judge.add_points(points, one.truth, empty=empty)
    judge.add_count(one.count, len(one.truth))
  return judge.scores()


def validation(
  network: Locator,
  examples: Sequence[Mapping[str, Any]],
  shape: tuple[int, int],
  batch: int,
  radius: float,
) -> Callable[[Any], dict[str, float]]:
  """Returns state -> what `fit` chooses checkpoints by (M7).

  Args:
    network: what is trained.
    examples: the validation images; those without objects are left out.
    shape: height and width of the network's images.
    batch: images at a time.
    radius: of the F-score that is told besides.
  """
  examples = [one for one in examples if len(data.points_of(one))]

  def evaluate(state):
    predictor = Predictor(network, state.params, state.model_state)
    predictions = predictor.predict(examples, shape, batch)
    scores = measure(predictions, extraction.OTSU, radius)
    return {"ahd": scores.ahd, "f_score": scores.f_score, "mae": scores.mae}

  return evaluate
