"""Pictures of reconstructions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.data import mesh_pictures

VIEWS = ((0.6, 0.45), (0.6 + np.pi, -0.35))  # from above, and from behind below
CLOUD = (0.25, 0.45, 0.75)


def draw(vertices, faces=None, *, view=0, size=150, up="z", **options) -> np.ndarray:
  """Returns a picture of a normalised mesh or cloud from one of two sides."""
  azimuth, elevation = VIEWS[view]
  return mesh_pictures.draw_mesh(
    vertices,
    faces,
    size=size,
    azimuth=azimuth,
    elevation=elevation,
    extent=1.0,
    up=up,
    **options,
  )


def rows_figure(
  rows: Mapping[str, Sequence[np.ndarray]], titles: Sequence[str] = ()
) -> Any:
  """Returns a figure of named rows of square pictures of one size.

  Args:
    rows: {name: pictures [H, H, 3]}.
    titles: above the columns.
  """
  from matplotlib import figure as figures

  count = max(len(pictures) for pictures in rows.values())
  figure = figures.Figure(figsize=(1.25 * count + 1.0, 1.3 * len(rows) + 0.3))
  axes = figure.subplots(len(rows), count, squeeze=False)
  for row, (name, pictures) in zip(axes, rows.items(), strict=True):
    for axis in row:
      axis.axis("off")
    for axis, picture in zip(row, pictures, strict=False):
      axis.imshow(picture, interpolation="none")
    row[0].text(
      -0.06, 0.5, name, transform=row[0].transAxes, ha="right", va="center", fontsize=9
    )
  for axis, title in zip(axes[0], titles, strict=False):
    axis.set_title(title, fontsize=9)
  figure.subplots_adjust(0.0, 0.0, 1.0, 1.0, 0.02, 0.02)
  return figure


def both_sides(meshes: Sequence[tuple], name: str, **options) -> dict[str, list]:
  """Returns two rows: meshes (vertices, faces) from two sides."""
  return {
    f"{name}{side}": [draw(*mesh[:2], view=view, **options) for mesh in meshes]
    for view, side in enumerate(("", ",\nbehind"))
  }
