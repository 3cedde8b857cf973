"""Pictures of what was synthesised, beside the labels that it was made from."""

import numpy as np

from jaxvision.data import label_scenes
from jaxvision.papers.spade.variants import DataSet

_GOLDEN = 0.61803398875


def palette(classes: int) -> np.ndarray:
  """Returns [classes, 3] uint8 colours, the scenes' own where they are these."""
  if classes == len(label_scenes.CLASSES):
    return label_scenes.PALETTE
  hues = np.arange(classes) * _GOLDEN % 1
  phases = 2 * np.pi * (hues[:, None] + np.arange(3) / 3)
  bright = (0.55 + 0.45 * (np.arange(classes) % 3) / 2)[:, None]
  return np.uint8(np.round(255 * bright * (0.5 + 0.5 * np.cos(phases))))


def class_names(data: str) -> tuple[str, ...]:
  """Returns what the classes of a data set are called, () where that is not known."""
  return label_scenes.CLASSES if data == "scenes" else ()


def color_labels(labels: np.ndarray, classes: DataSet) -> np.ndarray:
  """Returns colours [..., H, W, 3] in [0, 1] of labels [..., H, W], unknown black."""
  colors = np.zeros((256, 3), np.uint8)
  colors[: classes.num_classes] = palette(classes.num_classes)
  return (colors[np.clip(labels, 0, 255)] / 255).astype(np.float32)
