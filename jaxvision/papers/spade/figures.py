"""Pictures of what was synthesised, beside the labels that it was made from."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.data import label_scenes
from jaxvision.papers.spade.variants import DataSet

_INCHES = 1.1  # of a picture's side
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


def grid(rows: Mapping[str, Sequence[np.ndarray]], columns: Sequence[str] = ()):
  """Returns a figure with a titled row of pictures [H, W, 3] for each name.

  Args:
    rows: {title at the left: pictures in [0, 1]}.
    columns: titles at the top, or none.
  """
  from matplotlib import figure

  most = max(map(len, rows.values()))
  made = figure.Figure((_INCHES * (most + 1.3), _INCHES * len(rows) + 0.3))
  axes = made.subplots(len(rows), most, squeeze=False)
  for line, (title, pictures) in zip(axes, rows.items(), strict=True):
    for axis in line:
      axis.axis("off")
    for axis, picture in zip(line, pictures, strict=False):
      axis.imshow(np.clip(picture, 0, 1), interpolation="nearest")
    line[0].text(
      -0.08,
      0.5,
      title,
      transform=line[0].transAxes,
      ha="right",
      va="center",
      fontsize=9,
    )
  for axis, title in zip(axes[0], columns, strict=False):
    axis.set_title(title, fontsize=8)
  left = 1.25 / (most + 1.3)
  made.subplots_adjust(left, 0.01, 0.995, 1 - 0.28 / (_INCHES * len(rows)), 0.04, 0.04)
  return made
