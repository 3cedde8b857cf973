"""The paper's baseline: AtlasNet-Sphere, an auto-encoder that folds one sphere.

A PointNet makes a code of a cloud; a network moves points of the unit sphere to where
the code says. Trained by the Chamfer distance. A sphere stays a sphere: it cannot get
a hole.

Source: Groueix et al., AtlasNet, CVPR 2018; Section 6 of the paper.
"""

from collections.abc import Mapping
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.train import Stage, State, gradient_step

POINTS = 2500  # that the paper's auto-encoder sees


class AtlasNetSphere(nn.Module):
  """Cloud [..., N, 3] and sphere points [M, 3] -> moved sphere points [..., M, 3].

  Attributes:
    latent_size: numbers of the code.
    encoder: widths of the layers that see one point at a time.
    decoder: widths of the folding network's hidden layers.
  """

  latent_size: int
  encoder: tuple[int, ...] = (64, 128, 256)
  decoder: tuple[int, ...] = (128, 128, 128)

  @nn.compact
  def __call__(self, cloud: chex.Array, sphere: chex.Array) -> chex.Array:
    chex.assert_axis_dimension(cloud, -1, 3)
    chex.assert_shape(sphere, (None, 3))

    def linear(features, width, name):
      # As one matrix: XLA copies a transposed batch of matrices in the gradient.
      flat = nn.Dense(width, name=name)(features.reshape(-1, features.shape[-1]))
      return flat.reshape(*features.shape[:-1], width)

    features = cloud
    for number, width in enumerate(self.encoder):
      features = nn.relu(linear(features, width, f"encoder{number}"))
    code = nn.Dense(self.latent_size, name="code")(jnp.max(features, axis=-2))
    features = nn.Dense(self.decoder[0], name="fold_code")(code)[..., None, :]
    features = features + nn.Dense(self.decoder[0], use_bias=False, name="fold")(sphere)
    for number, width in enumerate(self.decoder[1:]):
      features = linear(nn.relu(features), width, f"decoder{number}")
    return sphere + linear(nn.relu(features), 3, "offset")


def chamfer(first: chex.Array, second: chex.Array) -> chex.Array:
  """Returns both mean squared distances [...] of sets [..., N, 3] and [..., M, 3].

  Differentiable, and quickest for the few hundred points that training takes.
  """
  product = jnp.einsum("...nd,...md->...nm", first, second)
  squares = (
    jnp.sum(jnp.square(first), axis=-1)[..., :, None]
    + jnp.sum(jnp.square(second), axis=-1)[..., None, :]
    - 2 * product
  )
  squares = jnp.maximum(squares, 0.0)
  there = jnp.mean(jnp.min(squares, axis=-1), axis=-1)
  return there + jnp.mean(jnp.min(squares, axis=-2), axis=-1)


def sphere_points(count: int) -> np.ndarray:
  """Returns [count, 3] points of a spiral on the unit sphere."""
  index = np.arange(count) + 0.5
  z = 1 - 2 * index / count
  angle = index * np.pi * (3 - np.sqrt(5))
  ring = np.sqrt(1 - z * z)
  return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], -1).astype("float32")


def sphere_mesh(subdivisions: int = 4) -> tuple[np.ndarray, np.ndarray]:
  """Returns a unit sphere: an icosahedron whose faces were split into four often."""
  golden = (1 + 5**0.5) / 2
  corners = [
    np.roll((0, a, b * golden), shift) for shift in range(3) for a in (-1, 1)
    for b in (-1, 1)
  ]  # fmt: skip
  vertices = np.array(corners, float)
  from scipy import spatial

  faces = spatial.ConvexHull(vertices).simplices
  for _ in range(subdivisions):
    edges = np.sort(faces[:, ((0, 1), (1, 2), (2, 0))].reshape(-1, 2), axis=1)
    edges, where = np.unique(edges, axis=0, return_inverse=True)
    middle = len(vertices) + where.reshape(-1, 3)
    vertices = np.concatenate([vertices, vertices[edges].mean(axis=1)])
    a, b, c = faces.T
    ab, bc, ca = middle.T
    faces = np.concatenate(
      [np.stack(f, -1) for f in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )
  vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
  corners = vertices[faces]
  edges = corners[:, 1:] - corners[:, :1]
  inward = np.sum(np.cross(edges[:, 0], edges[:, 1]) * corners[:, 0], axis=1) < 0
  faces[inward] = faces[inward][:, ::-1]
  return vertices.astype(np.float32), faces.astype(np.int32)


def stage(
  name: str,
  network: AtlasNetSphere,
  optimizer: optax.GradientTransformation,
  *,
  batch: int,
  points: int,
) -> Stage:
  """Returns the stage that trains the auto-encoder; its batch is {"points"}."""
  sphere = jnp.asarray(sphere_points(points))

  def loss_fn(params, model_state, batch, rng):
    del rng
    moved = network.apply({"params": params}, batch["points"], sphere)
    return jnp.mean(chamfer(moved, batch["points"])), ({}, model_state)

  def create(key):
    cloud = jnp.zeros((1, points, 3))
    params = network.init(key, cloud, sphere)["params"]
    return State.create(key, params, optimizer)

  def forward(state, batch):
    return network.apply({"params": state.params}, batch["points"], sphere)

  shapes = {"points": jax.ShapeDtypeStruct((batch, points, 3), jnp.float32)}
  return Stage(name, create, gradient_step(loss_fn, optimizer), shapes, forward)


def draw_points(count: int):
  """Returns the transform {"points": [K, 3]} -> `count` of them, for `pipeline`."""

  def transform(example: dict, rng: np.random.Generator) -> dict:
    chosen = rng.integers(len(example["points"]), size=count)
    return {"points": example["points"][chosen]}

  return transform


def reconstruct(
  network: AtlasNetSphere,
  params: Mapping[str, Any],
  clouds: chex.Array,
  *,
  most: int = POINTS,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns meshes of clouds [S, N, 3]: vertices [S, V, 3] and the faces of all.

  Args:
    network: the auto-encoder.
    params: its parameters.
    clouds: of which the first `most` points are seen.
    most: see there.
  """
  vertices, faces = sphere_mesh()
  moved = jax.jit(network.apply)(
    {"params": params}, clouds[:, :most], jnp.asarray(vertices)
  )
  return np.asarray(moved), faces
