"""Pictures of regressed meshes over what the network saw, and from the side."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.papers.graph_cmr import rendering

_INCHES = 1.35
_MAGNIFIED = 192  # pixels along a drawn picture


def turned(vertices: np.ndarray, angle: float = np.pi / 2) -> np.ndarray:
  """Returns vertices [V, 3] turned about the vertical through their middle."""
  middle = vertices.mean(axis=0)
  cosine, sine = np.cos(angle), np.sin(angle)
  rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
  return (vertices - middle) @ rotation.T + middle


def magnify(image: np.ndarray, size: int = _MAGNIFIED) -> np.ndarray:
  """Returns a picture [S, S, 3] with its pixels repeated to about `size`."""
  factor = max(1, size // len(image))
  return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)


def over(
  image: np.ndarray, vertices: np.ndarray, faces: np.ndarray, camera: np.ndarray
) -> np.ndarray:
  """Returns a mesh drawn over a (magnified) picture."""
  return rendering.overlay(magnify(image), vertices, faces, camera)


def beside(
  vertices: np.ndarray, faces: np.ndarray, camera: np.ndarray, size: int = _MAGNIFIED
) -> np.ndarray:
  """Returns a mesh seen from its side, on white."""
  blank = np.ones((size, size, 3))
  return rendering.overlay(blank, turned(vertices), faces, camera, 1.0)


def grid(rows: Mapping[str, Sequence[np.ndarray]], columns: Sequence[str] = ()):
  """Returns a figure with a titled row of pictures [H, W, 3] for each name.

  Args:
    rows: {title at the left: pictures in [0, 1]}.
    columns: titles at the top, or none.
  """
  from matplotlib import figure

  most = max(map(len, rows.values()))
  made = figure.Figure((_INCHES * (most + 1.1), _INCHES * len(rows) + 0.3))
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
  top = 1 - 0.28 / (_INCHES * len(rows))
  made.subplots_adjust(1.05 / (most + 1.1), 0.01, 0.995, top, 0.04, 0.04)
  return made
