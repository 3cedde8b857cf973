"""Pictures of reconstructions beside what was observed and what is true."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.data.mesh_pictures import draw_mesh

_SIDES = (0.6, 0.6 + np.pi)  # azimuths, in radians
_PIXELS = 220


def draw(vertices: np.ndarray, faces: np.ndarray | None = None) -> np.ndarray:
  """Returns a mesh or cloud of the unit cube from two sides, [2 H, H, 3]."""
  views = [
    draw_mesh(
      vertices, faces, size=_PIXELS, azimuth=azimuth, elevation=0.35, extent=0.7
    )
    for azimuth in _SIDES
  ]
  return np.concatenate(views)


def reconstruction_figure(rows: Sequence[Mapping[str, np.ndarray]]):
  """Returns a figure with a row of pictures for each shape, titled at the top.

  Args:
    rows: {title: picture} of each shape; titles are the first one's.
  """
  from matplotlib import figure

  titles = list(rows[0])
  made = figure.Figure((1.75 * len(titles), 3.5 * len(rows) + 0.3))
  axes = made.subplots(len(rows), len(titles), squeeze=False)
  for line, row in zip(axes, rows, strict=True):
    for axis, title in zip(line, titles, strict=True):
      axis.axis("off")
      if title in row:
        axis.imshow(np.clip(row[title], 0, 1))
  for axis, title in zip(axes[0], titles, strict=True):
    axis.set_title(title, fontsize=9)
  made.subplots_adjust(0, 0, 1, 1 - 0.42 / (3.5 * len(rows) + 0.3), 0.02, 0.02)
  return made


def threshold_figure(curves: Mapping[str, Mapping[float, float]]):
  """Returns a figure of IoU over the threshold.

  Args:
    curves: {variant: {τ: IoU}}.
  """
  from matplotlib import figure

  made = figure.Figure((7.0, 3.6))
  axis = made.subplots()
  for name, curve in curves.items():
    axis.plot(list(curve), list(curve.values()), label=name)
  axis.set_xlabel("threshold τ of the probability")
  axis.set_ylabel("IoU of points")
  axis.set_xlim(0, 1)
  axis.set_ylim(0, None)
  axis.grid(alpha=0.3)
  axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
  made.tight_layout()
  return made
