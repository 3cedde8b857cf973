"""What networks are worth: errors of joints and meshes, in millimetres."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import pipeline
from jaxvision.ops import rotations, sparse
from jaxvision.papers.graph_cmr import keypoints, metrics, rendering, training
from jaxvision.papers.graph_cmr.augmentation import BOX
from jaxvision.papers.graph_cmr.body import NUM_PARTS, Body, Surface
from jaxvision.papers.graph_cmr.dataset import Labels
from jaxvision.papers.graph_cmr.network import Prediction, Regressor
from jaxvision.papers.graph_cmr.readout import ParameterReadout
from jaxvision.train import State, jit_once

Example = Mapping[str, Any]
MILLIMETRES = 1000.0


@dataclasses.dataclass(frozen=True)
class Predictor:
  """A trained network, compiled once for each size of batch.

  Attributes:
    network: what was trained.
    params: its parameters.
    model_state: its statistics and the body.
  """

  network: Regressor
  params: Any
  model_state: Mapping[str, Any]

  @classmethod
  def of(cls, network: Regressor, state: State) -> "Predictor":
    """Returns the predictor of a state of training."""
    return cls(network, state.params, state.model_state)

  @property
  def body(self) -> Body:
    return self.model_state[training.BODY]

  def __call__(self, images: np.ndarray) -> Prediction:
    """Returns what is seen in images [B, H, W, 3] in [0, 1]."""
    run = training.compiled(self.network)
    return run(self.params, dict(self.model_state), images)


def batches(
  source: pipeline.Source, prepare: Callable, count: int, size: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
  """Yields (real examples, batch) of a source's first examples, in its order.

  The last batch is filled up with its last example, so that all have one size.
  """
  count = min(count, len(source))
  for first in range(0, count, size):
    some = [prepare(source[i], None) for i in range(first, min(first + size, count))]
    real = len(some)
    some += [some[-1]] * (size - real)
    yield real, {name: np.stack([one[name] for one in some]) for name in some[0]}


@jit_once  # variants that predict the same things share what is compiled
def _errors(body, neighbours, batch, prediction):
  """Returns errors [B] of predictions, by their names."""
  true_rotations, true_vertices = training.true_mesh(body, batch)
  true_joints = metrics.evaluated_joints(true_vertices, body.h36m)

  def of(vertices):
    joints = metrics.evaluated_joints(vertices, body.h36m)
    found = {
      "MPJPE": metrics.joint_error(joints, true_joints),
      "reconstruction": metrics.reconstruction_error(joints, true_joints),
      "shape": metrics.shape_error(vertices, true_vertices),
      "roughness": metrics.roughness(vertices, true_vertices, neighbours),
    }
    return {name: MILLIMETRES * value for name, value in found.items()}

  found = of(prediction.mesh.vertices)
  if prediction.parameters is not None:
    parameters = prediction.parameters
    angle = rotations.geodesic(parameters.rotations, true_rotations)
    found["rotation"] = jnp.rad2deg(jnp.mean(angle, axis=-1))
    if prediction.mesh.coarse is not None:
      read = of(parameters.vertices)
      found |= {f"read {name}": value for name, value in read.items()}
  parts = training.all_losses(prediction, body, batch)
  mesh_loss = sum(parts[name] for name in ("vertices", "keypoints", "joints"))
  return found | {"loss": jnp.broadcast_to(mesh_loss, (len(true_joints),))}


def measure(
  predictor: Predictor,
  surface: Surface,
  source: pipeline.Source,
  prepare: Callable,
  count: int,
  size: int,
) -> dict[str, float]:
  """Returns mean errors, in millimetres, over examples whose bodies are known.

  Args:
    predictor: the network.
    surface: tells which vertices are neighbours.
    source: examples with pose and shape.
    prepare: makes one of a batch.
    count: how many, at most.
    size: of the batches.

  Returns:
    "MPJPE", "reconstruction", "shape", "roughness" of the mesh, and "read ..." of what
    was read off it; "rotation" in degrees; "loss" of the mesh as in training.
  """
  neighbours = jax.tree.map(jnp.asarray, surface.neighbours)
  rows = []
  for real, batch in batches(source, prepare, count, size):
    prediction = predictor(batch["images"])
    found = _errors(predictor.body, neighbours, batch, prediction)
    rows.append({name: np.asarray(value)[:real] for name, value in found.items()})
  return {
    name: float(np.mean(np.concatenate([row[name] for row in rows])))
    for name in rows[0]
  }


@functools.cache  # readouts of different seeds share it
def _readout_errors(reads):
  @jax.jit
  def run(variables, body, pose, shape):
    true_rotations, vertices = training.true_mesh(body, {"pose": pose, "shape": shape})
    coarse = sparse.matmul(body.down, vertices)
    found, numbers, _ = reads.apply(variables, coarse, body.reference)
    # What knows nothing but the mean would say.
    mean = rotations.orthogonalize(jnp.mean(true_rotations, axis=0))
    mean = jnp.broadcast_to(mean, found.shape)
    return {
      "rotation": jnp.rad2deg(jnp.mean(rotations.geodesic(found, true_rotations))),
      "mean rotation": jnp.rad2deg(jnp.mean(rotations.geodesic(mean, true_rotations))),
      "shape_numbers": jnp.mean(jnp.abs(numbers - shape)),
    }

  return run


def measure_readout(
  reads: ParameterReadout,
  variables: Mapping[str, Any],
  body: Body,
  poses: Mapping[str, np.ndarray],
) -> dict[str, float]:
  """Returns errors of parameters that are read off the true meshes.

  Args:
    reads: the readout.
    variables: its own.
    body: the body.
    poses: "pose" [n, 72] and "shape" [n, S].

  Returns:
    "rotation", the mean angle in degrees; "mean rotation", that of each joint's mean
    rotation; and "shape_numbers", the mean absolute error.
  """
  own = jax.tree.map(jnp.asarray, body)
  found = _readout_errors(reads)(variables, own, poses["pose"], poses["shape"])
  return {name: float(value) for name, value in found.items()}


def measure_joints(
  predictor: Predictor,
  source: pipeline.Source,
  prepare: Callable,
  count: int,
  size: int,
) -> dict[str, float]:
  """Returns errors against measured joints, as on Human3.6M.

  Arguments as `measure`; examples have "joints" about the pelvis.
  """
  errors = {"MPJPE": [], "reconstruction": []}
  chosen = list(keypoints.EVALUATED)
  for real, batch in batches(source, prepare, count, size):
    truth = jnp.asarray(batch["joints"][:, chosen, :3])
    prediction = predictor(batch["images"])
    for prefix, vertices in _meshes(prediction):
      found = metrics.evaluated_joints(vertices, predictor.body.h36m)
      for name, error in (
        ("MPJPE", metrics.joint_error(found, truth)),
        ("reconstruction", metrics.reconstruction_error(found, truth)),
      ):
        values = MILLIMETRES * np.asarray(error)[:real]
        errors.setdefault(prefix + name, []).append(values)
  return {name: float(np.mean(np.concatenate(own))) for name, own in errors.items()}


def measure_segmentation(
  predictor: Predictor,
  surface: Surface,
  source: pipeline.Source,
  prepare: Callable,
  labels: Callable[[Example], Labels],
  count: int,
  size: int,
) -> dict[str, float]:
  """Returns accuracy and F1 of silhouettes and parts, in the whole pictures.

  Args:
    predictor: the network; what it reads off the mesh is drawn, where it does.
    surface: faces and their parts.
    source: examples.
    prepare: makes one of a batch.
    labels: says what an example's pixels show.
    count: how many, at most.
    size: of the batches.
  """
  whole, parts = metrics.Segmentation(2), metrics.Segmentation(NUM_PARTS)
  number = 0
  for real, batch in batches(source, prepare, count, size):
    prediction = predictor(batch["images"])
    *_, (_, vertices) = _meshes(prediction)
    vertices, cameras = np.asarray(vertices), np.asarray(prediction.mesh.camera)
    for own, camera in list(zip(vertices, cameras, strict=True))[:real]:
      truth = labels(source[number])
      number += 1
      height, width = truth.silhouette.shape
      square = max(height, width)
      camera = rendering.uncropped(camera, truth.center, BOX * truth.scale, square)
      seen = rendering.render(own, surface.faces, camera, square)
      whole.add(seen.mask.astype(int)[:height, :width], truth.silhouette)
      if truth.parts is not None and surface.parts is not None:
        found = rendering.part_labels(seen, surface.parts)
        parts.add(found[:height, :width], truth.parts)
  return {
    "silhouette accuracy": whole.accuracy,
    "silhouette F1": whole.f1,
    "part accuracy": parts.accuracy,
    "part F1": parts.f1,
  }


def _meshes(prediction):
  """Yields what was regressed, and what was read off it where that was."""
  yield "", prediction.mesh.vertices
  if prediction.parameters is not None and prediction.mesh.coarse is not None:
    yield "read ", prediction.parameters.vertices
