"""Pictures of regressed meshes over what the network saw, and from the side."""

import numpy as np

from jaxvision.papers.graph_cmr import rendering

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
