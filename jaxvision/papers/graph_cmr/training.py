"""Training: all at once, or the mesh first and then what reads it (M12, M13).

The state keeps the body, which is fixed, under "body" of its model state.
"""

import functools
from collections.abc import Mapping
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxvision.ops import skinning, sparse
from jaxvision.papers.graph_cmr import camera as cameras
from jaxvision.papers.graph_cmr import keypoints, losses, variants
from jaxvision.papers.graph_cmr.body import Body, sizes_of
from jaxvision.papers.graph_cmr.network import (
  Encoder,
  Parameters,
  Prediction,
  Regressor,
  with_mesh,
)
from jaxvision.train import Stage, State, gradient_step

Batch = Mapping[str, chex.Array]
BODY, FROZEN = "body", "frozen"
_STATISTICS = "batch_stats"


def true_mesh(body: Body, batch: Batch) -> tuple[chex.Array, chex.Array]:
  """Returns the rotations [B, K, 3, 3] and vertices [B, V, 3] of a batch's bodies."""
  rotations = skinning.axis_angles_to_rotations(batch["pose"])
  return rotations, skinning.forward(body.model, rotations, batch["shape"])[0]


def mesh_losses(
  body: Body,
  vertices: chex.Array,
  camera: chex.Array,
  batch: Batch,
  true_vertices: chex.Array,
  keypoint_error: losses.KeypointError = "square",
) -> dict[str, chex.Array]:
  """Returns the losses of vertices, and of joints in space and in the image."""
  joints = jnp.einsum("jv,bvc->bjc", body.keypoints, vertices)
  places = cameras.project(joints, camera)
  return {
    "vertices": losses.shape_loss(vertices, true_vertices, batch["has_smpl"]),
    "keypoints": losses.keypoint_loss(places, batch["keypoints"], keypoint_error),
    "joints": losses.joint_loss(joints, batch["joints"], batch["has_joints"]),
  }


def parameter_losses(
  parameters: Parameters, true_rotations: chex.Array, batch: Batch
) -> dict[str, chex.Array]:
  """Returns the weighted losses of rotations and shape numbers."""
  found = losses.parameter_losses(
    parameters.rotations,
    parameters.shape,
    true_rotations,
    batch["shape"],
    batch["has_smpl"],
  )
  return {name: losses.PARAMETER_WEIGHTS[name] * loss for name, loss in found.items()}


def all_losses(
  prediction: Prediction,
  body: Body,
  batch: Batch,
  keypoint_error: losses.KeypointError = "square",
) -> dict[str, chex.Array]:
  """Returns the losses of what is predicted; those of the readout begin "readout/"."""
  mesh, parameters = prediction
  true_rotations, true_vertices = true_mesh(body, batch)
  truth = batch, true_vertices, keypoint_error
  parts = mesh_losses(body, mesh.vertices, mesh.camera, *truth)
  if parameters is None:
    return parts
  of_parameters = parameter_losses(parameters, true_rotations, batch)
  if mesh.coarse is None:
    return parts | of_parameters
  detached = jax.lax.stop_gradient(mesh.camera)
  read = mesh_losses(body, parameters.vertices, detached, *truth)
  return parts | {f"readout/{k}": v for k, v in (read | of_parameters).items()}


def apply(
  network: Regressor,
  params: Any,
  model_state: Mapping[str, Any],
  images: chex.Array,
  *,
  train: bool = False,
) -> tuple[Prediction, Mapping[str, Any]]:
  """Returns a network's prediction, and its batch normalisations' new statistics."""
  variables = {"params": params, _STATISTICS: model_state[_STATISTICS]}
  if not train:
    made = network.apply(variables, images, model_state[BODY])
    return made, model_state[_STATISTICS]
  made, changed = network.apply(
    variables, images, model_state[BODY], train=True, mutable=[_STATISTICS]
  )
  return made, changed[_STATISTICS]


def stage(
  name: str,
  network: Regressor,
  optimizer: optax.GradientTransformation,
  batch: dict[str, jax.ShapeDtypeStruct],
  body: Body,
  keypoint_error: losses.KeypointError = "square",
) -> Stage:
  """Returns the training of a network, with its readout where it has one.

  Args:
    name: of the stage.
    network: what trains.
    optimizer: of all its parameters.
    batch: shapes of the global batch, see `data.batch_shapes`.
    body: or one of the same sizes, which `with_body` replaces.
    keypoint_error: see `losses.keypoint_loss`.
  """

  def init(key):
    images = jnp.zeros((1, *batch["images"].shape[1:]))
    own = jax.tree.map(jnp.asarray, body)
    variables = network.init(key, images, own)
    model_state = {_STATISTICS: variables.get(_STATISTICS, {}), BODY: own}
    return State.create(key, variables["params"], optimizer, model_state=model_state)

  def forward(state, batch):
    return apply(network, state.params, state.model_state, batch["images"])[0]

  step = _step(network, optimizer, keypoint_error)
  return Stage(name, init, step, batch, forward)


@functools.cache  # variants that differ only in their state share what is compiled
def _step(
  network: Regressor,
  optimizer: optax.GradientTransformation,
  keypoint_error: losses.KeypointError,
):
  def loss_fn(params, model_state, batch, rng):
    del rng
    prediction, statistics = apply(
      network, params, model_state, batch["images"], train=True
    )
    parts = all_losses(prediction, model_state[BODY], batch, keypoint_error)
    return sum(parts.values()), (parts, {**model_state, _STATISTICS: statistics})

  return gradient_step(loss_fn, optimizer)


def optimizer(
  rate: float, steps: int, final_rate: float = 1.0, camera_rate: float = 1.0
) -> optax.GradientTransformation:
  """Returns Adam.

  Args:
    rate: learning rate.
    steps: until a cosine has fallen to its last value.
    final_rate: that value's share of the rate; 1 for a constant rate.
    camera_rate: share of the rate for cameras of graph networks. A step moves what all
      vertices give the camera, and can switch off all ReLUs before it for good.
  """

  def adam(share):
    own = share * rate
    if final_rate != 1.0:
      own = optax.cosine_decay_schedule(own, steps, final_rate)
    return optax.adam(own)

  # As one vector: a hundred small updates take seconds to compile.
  whole = optax.flatten(adam(1.0))
  if camera_rate == 1.0:
    return whole
  return optax.multi_transform({"camera": adam(camera_rate), "rest": whole}, parts_of)


def parts_of(params: Any) -> Any:
  """Returns "camera" for each parameter of a graph network's camera, or "rest"."""
  names = {"camera", "camera_linear"}
  of_graph = names <= params.get("decoder", {}).keys()

  def part(path, _):
    return "camera" if of_graph and names & {key.key for key in path} else "rest"

  return jax.tree_util.tree_map_with_path(part, params)


def pretraining_stage(
  name: str,
  encoder: Encoder,
  optimizer: optax.GradientTransformation,
  batch: dict[str, jax.ShapeDtypeStruct],
) -> Stage:
  """Returns the training of an encoder to tell where joints are in the image.

  It stands for ImageNet's, which small encoders of rendered people cannot begin with.

  Args:
    name: of the stage.
    encoder: what trains, with a linear layer behind it that is given up.
    optimizer: of its parameters.
    batch: shapes of the global batch, see `data.batch_shapes`.
  """
  net = _KeypointRegressor(encoder)

  def init(key):
    variables = net.init(key, jnp.zeros((1, *batch["images"].shape[1:])))
    model_state = {_STATISTICS: variables[_STATISTICS]}
    return State.create(key, variables["params"], optimizer, model_state=model_state)

  def loss_fn(params, model_state, batch, rng):
    del rng
    variables = {"params": params, **model_state}
    places, changed = net.apply(
      variables, batch["images"], train=True, mutable=[_STATISTICS]
    )
    return losses.keypoint_loss(places, batch["keypoints"]), ({}, changed)

  def forward(state, batch):
    return net.apply({"params": state.params, **state.model_state}, batch["images"])

  return Stage(name, init, gradient_step(loss_fn, optimizer), batch, forward)


class _KeypointRegressor(nn.Module):
  encoder: Encoder

  @nn.compact
  def __call__(self, images, *, train=False):
    features = self.encoder(images, train=train)
    places = nn.Dense(2 * keypoints.COUNT, name="keypoints")(features)
    return places.reshape(-1, keypoints.COUNT, 2)


def encoder_of(state: State) -> dict[str, Any]:
  """Returns the encoder's variables of a state of training."""
  statistics = state.model_state[_STATISTICS]
  return {"params": state.params["encoder"], _STATISTICS: statistics["encoder"]}


def readout_stage(
  name: str,
  network: Regressor | None,
  sizes: variants.Sizes,
  optimizer: optax.GradientTransformation,
  batch: dict[str, jax.ShapeDtypeStruct],
  body: Body,
  keypoint_error: losses.KeypointError = "square",
) -> Stage:
  """Returns the training of the readout alone.

  Args:
    name: of the stage.
    network: which gives the meshes that are read, frozen (see `with_frozen`); None
      reads the true ones.
    sizes: of the readout.
    optimizer: of its parameters.
    batch: shapes of the global batch; without a network "pose" and "shape" suffice.
    body: or one of the same sizes.
    keypoint_error: see `losses.keypoint_loss`.
  """
  reads = variants.readout(sizes, sizes_of(body))

  def init(key):
    own = jax.tree.map(jnp.asarray, body)
    variables = reads.init(key, own.reference[None], own.reference)
    model_state = {_STATISTICS: variables[_STATISTICS], BODY: own}
    if network is not None:
      images = jnp.zeros((1, *batch["images"].shape[1:]))
      frozen = network.init(key, images, own)
      model_state[FROZEN] = {"params": frozen["params"]}
      model_state[FROZEN][_STATISTICS] = frozen.get(_STATISTICS, {})
    return State.create(key, variables["params"], optimizer, model_state=model_state)

  def read(params, model_state, batch, train):
    own = model_state[BODY]
    true_rotations, true_vertices = true_mesh(own, batch)
    if network is None:
      coarse, camera = sparse.matmul(own.down, true_vertices), None
    else:
      frozen = {**model_state, _STATISTICS: model_state[FROZEN][_STATISTICS]}
      made, _ = apply(network, model_state[FROZEN]["params"], frozen, batch["images"])
      coarse, camera = jax.lax.stop_gradient((made.mesh.coarse, made.mesh.camera))
    variables = {"params": params, _STATISTICS: model_state[_STATISTICS]}
    options = {"train": True, "mutable": [_STATISTICS]} if train else {}
    made = reads.apply(variables, coarse, own.reference, **options)
    (rotations, shape, _), changed = made if train else (made, {})
    parameters = with_mesh(own, rotations, shape)
    return parameters, camera, (true_rotations, true_vertices), changed

  def loss_fn(params, model_state, batch, rng):
    del rng
    parameters, camera, truth, changed = read(params, model_state, batch, True)
    true_rotations, true_vertices = truth
    if camera is None:
      everybody = jnp.ones(len(true_vertices))
      batch = {**batch, "has_smpl": everybody}
      parts = {
        "vertices": losses.shape_loss(parameters.vertices, true_vertices, everybody)
      }
    else:
      parts = mesh_losses(
        model_state[BODY],
        parameters.vertices,
        camera,
        batch,
        true_vertices,
        keypoint_error,
      )
    parts |= parameter_losses(parameters, true_rotations, batch)
    return sum(parts.values()), (parts, {**model_state, **changed})

  def forward(state, batch):
    return read(state.params, state.model_state, batch, False)[0]

  return Stage(name, init, gradient_step(loss_fn, optimizer), batch, forward)


def with_body(state: State, body: Body) -> State:
  """Returns a state for this body."""
  own = jax.tree.map(jnp.asarray, body)
  return state.replace(model_state={**state.model_state, BODY: own})


def with_frozen(state: State, trained: State) -> State:
  """Returns the state of a readout that reads what a trained network gives."""
  frozen = {
    "params": trained.params,
    _STATISTICS: trained.model_state[_STATISTICS],
  }
  return state.replace(model_state={**state.model_state, FROZEN: frozen})


def with_encoder(state: State, variables: Mapping[str, Any]) -> State:
  """Returns a state whose encoder begins with these "params" and "batch_stats"."""
  statistics = {**state.model_state[_STATISTICS], "encoder": variables[_STATISTICS]}
  return state.replace(
    params={**state.params, "encoder": variables["params"]},
    model_state={**state.model_state, _STATISTICS: statistics},
  )


def has_readout(state: State) -> bool:
  """Returns whether a readout is trained, alone or with what it reads."""
  return "input_linear" in state.params or "readout" in state.params


def with_readout_kernel(state: State, kernel: chex.Array) -> State:
  """Returns a state whose readout begins with this kernel of its first layer."""
  alone = "input_linear" in state.params
  reads = state.params if alone else state.params["readout"]
  layer = {**reads["input_linear"], "kernel": jnp.asarray(kernel)}
  reads = {**reads, "input_linear": layer}
  return state.replace(params=reads if alone else {**state.params, "readout": reads})


def readout_of(state: State) -> dict[str, Any]:
  """Returns the variables of a readout that was trained alone."""
  return {"params": state.params, _STATISTICS: state.model_state[_STATISTICS]}


@functools.cache
def compiled(network: Regressor):
  """Returns images -> prediction of a network, compiled once."""
  return jax.jit(
    lambda params, model_state, images: apply(network, params, model_state, images)[0]
  )
