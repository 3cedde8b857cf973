"""Rows of pictures with a title each, as reports show them."""

from collections.abc import Mapping, Sequence

import numpy as np

_INCHES = 1.25  # of a picture's side
_TITLES = 1.3  # width of the titles at the left, in pictures


def picture_grid(rows: Mapping[str, Sequence[np.ndarray]], columns: Sequence[str] = ()):
  """Returns a matplotlib figure with a titled row of pictures for each name.

  Args:
    rows: {title at the left: pictures [H, W, 3] in [0, 1]}.
    columns: titles at the top, or none.
  """
  from matplotlib import figure

  most = max(map(len, rows.values()))
  made = figure.Figure((_INCHES * (most + _TITLES), _INCHES * len(rows) + 0.3))
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
  left = (_TITLES - 0.05) / (most + _TITLES)
  top = 1 - 0.28 / (_INCHES * len(rows))
  made.subplots_adjust(left, 0.01, 0.995, top, 0.04, 0.04)
  return made
