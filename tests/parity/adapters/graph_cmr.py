"""Parity adapters of graph_cmr: the authors' names and layout (channels first)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.stand_in_bodies import PARENTS
from jaxvision.nn.graph_convolution import GraphConvolution, normalized_adjacency
from jaxvision.ops import similarity, skinning, sparse
from jaxvision.papers.graph_cmr import (
  augmentation,
  camera,
  keypoints,
  losses,
  metrics,
  network,
  published,
)
from jaxvision.papers.graph_cmr.layers import VertexLinear
from tests.parity.arrays import to_numpy
from tests.parity.harness import largest_error

# What the authors' call of crop_transform says and its tensors do not.
CENTER, SCALE, SIZE, TURN = np.array([70.0, 80.0]), 0.6, (224, 224), 30.0


def channels_last(x):
  return jnp.swapaxes(jnp.asarray(x), 1, 2)


def channels_first(x):
  return jnp.swapaxes(x, 1, 2)


def adjmat(parameters, inputs):
  del parameters
  row, column = np.nonzero(inputs["A"])
  matrix = normalized_adjacency(row, column, len(inputs["A"]))
  return {"A_norm": sparse.to_dense(matrix)}


def graph_conv(parameters, inputs):
  layer = GraphConvolution(parameters["weight"].shape[1])
  params = {"kernel": parameters["weight"], "bias": parameters["bias"]}
  adjacency = sparse.from_dense(inputs["A_norm"])
  return {"y": layer.apply({"params": params}, jnp.asarray(inputs["x"]), adjacency)}


def graph_linear(parameters, inputs):
  layer = VertexLinear(len(parameters["W"]))
  params = {"kernel": parameters["W"].T, "bias": parameters["b"]}
  y = layer.apply({"params": params}, channels_last(inputs["x"]))
  return {"y": channels_first(y)}


def graph_res_block(parameters, inputs):
  block, variables = published.residual_block(parameters)
  adjacency = sparse.from_dense(inputs["A_norm"])

  @jax.jit
  def run(x):
    y, pull_back = jax.vjp(lambda x: block.apply(variables, x, adjacency), x)
    return y, pull_back(2 * y)[0]

  y, gradient = run(channels_last(inputs["x"]))
  return {"y": channels_first(y), "grad": channels_first(gradient)}


def graph_cnn(parameters, inputs):
  loaded = published.graph_cnn(parameters)
  adjacency = sparse.from_dense(inputs["A_norm"])
  reference = jnp.asarray(inputs["ref_vertices"]).T
  # The authors normalise images before the network, ours does in its encoder.
  images = jnp.moveaxis(jnp.asarray(inputs["image"]), 1, -1)
  images = images * jnp.array(network.IMAGE_STD) + jnp.array(network.IMAGE_MEAN)

  @jax.jit
  def run(images):
    of = {
      part: {
        name: tree[part] for name, tree in loaded.variables.items() if part in tree
      }
      for part in ("encoder", "decoder")
    }
    features = loaded.network.encoder.apply(of["encoder"], images)
    made = loaded.network.decoder.apply(of["decoder"], features, reference, adjacency)
    return features, *made

  features, vertices, cameras = run(images)
  return {
    "vertices": channels_first(vertices),
    "camera": cameras,
    "resnet_feature": features,
  }


def smpl_param_regressor(parameters, inputs):
  readout, variables = published.parameter_readout(parameters)
  vertices, reference = jnp.split(jnp.asarray(inputs["x"]), 2, axis=-1)
  rotation, shape, raw = jax.jit(readout.apply)(variables, vertices, reference)
  return {"raw": raw, "rotmat": rotation, "betas": shape}


def rodrigues(parameters, inputs):
  del parameters
  return {"R": skinning.axis_angles_to_rotations(jnp.asarray(inputs["theta"]))[:, 0]}


def orthographic_projection(parameters, inputs):
  del parameters
  return {"x": camera.project(jnp.asarray(inputs["X"]), jnp.asarray(inputs["camera"]))}


def smpl(parameters, inputs):
  del parameters
  model = skinning.BodyModel(
    template=inputs["v_template"],
    shape_directions=inputs["shapedirs"],
    pose_directions=inputs["posedirs"],
    joint_regressor=inputs["J_regressor"],
    weights=inputs["weights"],
    parents=np.maximum(np.array(PARENTS, np.int32), 0),
  )
  regressor = np.concatenate([inputs["J_regressor"], inputs["J_regressor_extra"]])

  @jax.jit
  def run(model, pose, shape):
    rotation = skinning.axis_angles_to_rotations(pose)
    vertices, _ = skinning.forward(model, rotation, shape)
    chosen = regressor[list(keypoints.FROM_BODY)]
    return vertices, jnp.einsum("jv,bvc->bjc", chosen, vertices, precision="highest")

  model = jax.tree.map(jnp.asarray, model)
  vertices, joints = run(
    model, jnp.asarray(inputs["pose"]), jnp.asarray(inputs["beta"])
  )
  return {"vertices": vertices, "joints": joints}


def all_losses(parameters, inputs):
  del parameters
  inputs = {name: jnp.asarray(value) for name, value in inputs.items()}
  of_parameters = losses.parameter_losses(
    inputs["pred_rotmat"],
    inputs["pred_betas"],
    skinning.axis_angles_to_rotations(inputs["gt_pose"]),
    inputs["gt_betas"],
    inputs["has_smpl"],
  )
  return {
    "keypoint_2d": losses.keypoint_loss(
      inputs["pred_keypoints_2d"], inputs["gt_keypoints_2d"]
    ),
    "keypoint_3d": losses.joint_loss(
      inputs["pred_keypoints_3d"], inputs["gt_keypoints_3d"], inputs["has_pose_3d"]
    ),
    "shape": losses.shape_loss(
      inputs["pred_vertices"], inputs["gt_vertices"], inputs["has_smpl"]
    ),
    "pose": of_parameters["rotations"],
    "betas": of_parameters["shape_numbers"],
  }


def procrustes(parameters, inputs):
  del parameters
  source, target = jnp.asarray(inputs["S1"]), jnp.asarray(inputs["S2"])
  return {
    "S1_hat": similarity.align(source, target),
    "error": metrics.reconstruction_error(source, target),
  }


def flip_rotate(parameters, inputs):
  del parameters
  pose = inputs["pose"]
  turned = np.concatenate([augmentation.turn_axis_angle(pose[:3], 25.0), pose[3:]])
  return {
    "kp_flipped": keypoints.mirror(inputs["kp"]),
    "pose_flipped": keypoints.mirror_pose(pose),
    "pose_rotated": turned,
  }


def crop_transform(parameters, inputs):
  del parameters
  points = np.asarray(inputs["points"], np.float64) + 1
  found = [
    augmentation.crop_points(points, CENTER, SCALE, SIZE, turn=turn)
    for turn in (0.0, TURN)
  ]
  return {
    "new_points": np.stack(found, axis=1).reshape(-1, 2),
    "matrix": augmentation.crop_matrix(CENTER, SCALE, SIZE, TURN),
  }


ADAPTERS = {
  name: to_numpy(adapter)
  for name, adapter in {
    "adjmat": adjmat,
    "graph_conv": graph_conv,
    "graph_linear": graph_linear,
    "graph_res_block_64_32": graph_res_block,
    "graph_res_block_32_32": graph_res_block,
    "graph_cnn": graph_cnn,
    "smpl_param_regressor": smpl_param_regressor,
    "rodrigues": rodrigues,
    "orthographic_projection": orthographic_projection,
    "smpl": smpl,
    "losses": all_losses,
    "procrustes": procrustes,
    "flip_rotate": flip_rotate,
    "crop_transform": crop_transform,
  }.items()
}


def _absolute(ours, theirs):
  """The notes ask for 1e-3 absolute: some matrices are projected ill-conditioned."""
  return largest_error(ours, theirs, absolute=True), 1e-3


MEASURES = {"smpl_param_regressor": {"rotmat": _absolute}}
