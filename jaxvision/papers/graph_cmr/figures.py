"""Pictures of regressed meshes over what the network saw, and from the side."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxvision.data.picture_grids import picture_grid
from jaxvision.papers.graph_cmr import data, rendering
from jaxvision.papers.graph_cmr.body import Body, Surface
from jaxvision.papers.graph_cmr.evaluation import Predictor

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


def compared(
  body: Body,
  surface: Surface,
  batch: Mapping[str, np.ndarray],
  cameras: Sequence[np.ndarray],
  predictors: Mapping[str, Predictor],
) -> tuple[Any, Any]:
  """Returns figures of what networks make of people: over pictures, from the side.

  Args:
    body: of the people.
    surface: its faces.
    batch: of at least as many people as there are cameras.
    cameras: [3] the true ones of those that are shown.
    predictors: by the networks' names.
  """
  count = len(cameras)
  truth = data.posed(body, batch["pose"][:count], batch["shape"][:count])
  images = batch["images"][:count]
  shown = {"input": [magnify(image) for image in images]}
  each = zip(truth, cameras, strict=True)
  side = {"truth": [beside(own, surface.faces, camera) for own, camera in each]}
  for name, predictor in predictors.items():
    made = jax.tree.map(lambda x: np.asarray(x)[:count], predictor(batch["images"]))
    drawn = {name: made.mesh.vertices}
    if made.parameters is not None and made.mesh.coarse is not None:
      drawn[f"{name}, read"] = made.parameters.vertices
    for title, vertices in drawn.items():
      each = list(zip(vertices, made.mesh.camera, images, strict=True))
      shown[title] = [over(i, v, surface.faces, c) for v, c, i in each]
      side[title] = [beside(v, surface.faces, c) for v, c, _ in each]
  return picture_grid(shown), picture_grid(side)
