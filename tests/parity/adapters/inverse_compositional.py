"""Parity adapters of inverse_compositional: the authors' names and layout (NCHW)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import published as weight_files
from jaxvision.ops import rigid, sampling
from jaxvision.papers.inverse_compositional import (
  alignment,
  encoders,
  estimators,
  geometry,
  losses,
  preprocessing,
  published,
  solvers,
)
from jaxvision.papers.inverse_compositional.tracker import Tracker

# The programs run once: compiling them without optimisation takes half the time.
QUICK = {"xla_backend_optimization_level": 0}


def last(images):
  """NCHW to NHWC."""
  return jnp.moveaxis(jnp.asarray(images), 1, -1)


def first(images):
  """NHWC to NCHW."""
  return jnp.moveaxis(images, -1, 1)


def pose(rotation, translation):
  return rigid.transform(jnp.asarray(rotation), jnp.asarray(translation))


def encoder(parameters, inputs):
  tracker, params, model_state = published.convert(parameters)
  network = encoders.FeaturePyramid(tracker.scales)
  variables = {"params": params["encoder"], "batch_stats": model_state["encoder"]}
  features = jax.jit(network.apply)(variables, last(inputs["x"]))
  return {f"x{scale}": first(x) for scale, x in enumerate(features)}


def m_estimator(parameters, inputs):
  tracker, params, model_state = published.convert(parameters)
  network = estimators.MEstimator(tracker.estimator_layers)
  variables = {
    "params": params["estimator"]["shared"],
    "batch_stats": model_state["estimator"]["shared"],
  }
  views = [last(inputs[name]) for name in ("residual", "x0", "x1", "prior")]
  return {"weight": first(jax.jit(network.apply)(variables, *views))}


def damping(parameters, inputs):
  reader = weight_files.Reader(parameters)
  prefix = next(iter(parameters)).removesuffix("0.0.weight")
  params = published.damping(reader, prefix)
  reader.finish()
  network = solvers.DampingNetwork()
  return {"damping": network.apply({"params": params}, inputs["z"])}


def geometric(parameters, inputs):
  del parameters
  twist = jnp.asarray(inputs["twist"])
  rotation = rigid.exp_rotation(twist)
  half = len(twist) // 2
  translation = jnp.asarray(inputs["t"])
  moved = pose(rigid.exp_rotation(0.1 * twist[:half]), translation)
  inverse = rigid.invert(moved)
  between = pose(rotation[half:], translation[::-1]) @ inverse
  angle, _ = losses.relative_pose_error(
    jnp.broadcast_to(jnp.eye(4, dtype=twist.dtype), (len(twist), 4, 4)),
    pose(rotation, jnp.zeros_like(twist)),
  )

  feature = last(inputs["feature"])
  depth0, depth1 = (jnp.reshape(inputs[f"depth{i}"], feature.shape[:3]) for i in (0, 1))
  everywhere = jnp.ones(depth0.shape, bool)
  inverse0 = preprocessing.invert_valid_depth(depth0, everywhere)
  intrinsics = jnp.asarray(inputs["K"])
  level = alignment.make_level(feature, feature, inverse0, 1 / depth1, intrinsics)
  points, inverse_z = geometry.warp(level.rays, inverse0, moved, intrinsics)
  seen = sampling.bilinear(level.image_depth[..., None], points)[..., 0]
  visible = geometry.is_visible(points, inverse_z, seen)
  dx, dy = alignment.feature_gradient(feature)
  return {
    "rotation": rotation,
    "angle": angle,
    "log": rigid.log_rotation(rotation),
    "euler": losses.euler_angles(rotation),
    "inverse_R": inverse[:, :3, :3],
    "inverse_t": inverse[:, :3, 3],
    "between_R": between[:, :3, :3],
    "between_t": between[:, :3, 3],
    "u": points[:, None, ..., 0],
    "v": points[:, None, ..., 1],
    "inverse_z": inverse_z[:, None],
    "warped": first(sampling.bilinear(feature, points)),
    "occluded": ~visible[:, None],
    "gradient_x": dx[:, None],
    "gradient_y": dy[:, None],
    "jacobian": alignment.jacobian(level).reshape(len(feature), -1, 6),
  }


def in_both_precisions(adapter):
  """Adds the outputs in float32, which the authors' code was released in."""

  def run(parameters, inputs):
    def single(arrays):
      return {
        name: array.astype(np.float32) if array.dtype == np.float64 else array
        for name, array in arrays.items()
      }

    outputs = adapter(parameters, inputs)
    with jax.enable_x64(False):
      singles = adapter(single(parameters), single(inputs))
    return outputs | {f"{name}_float32": array for name, array in singles.items()}

  return run


def one_level(parameters, inputs):
  if parameters:
    tracker, params, model_state = published.convert(
      {_in_checkpoint(name): array for name, array in parameters.items()}
    )
  else:
    tracker, params, model_state = published.convert({})
  level = alignment.make_level(
    last(inputs["x0"]),
    last(inputs["x1"]),
    jnp.asarray(inputs["inverse_depth0"])[:, 0],
    jnp.asarray(inputs["inverse_depth1"])[:, 0],
    jnp.asarray(inputs["K"]),
  )
  start = jnp.broadcast_to(
    jnp.eye(4, dtype=level.template.dtype), (len(level.template), 4, 4)
  )
  align = functools.partial(tracker.align_level, params, model_state, 0)
  found, weights = jax.jit(align, compiler_options=QUICK)(
    level, start, last(inputs["prior"])
  )
  rotation, translation = found[:, :3, :3], found[:, :3, 3]
  return {
    "R": rotation,
    "t": translation,
    "weights": first(weights),
  }


def _in_checkpoint(name):
  """Returns the name in a whole checkpoint of a name in one level's module."""
  return name.replace("mEstimator.", "mEst_func.").replace(
    "directSolver.", "solver_func."
  )


def track(parameters, inputs, *, encoder):
  tracker, params, model_state = published.convert(
    {
      name: array
      for name, array in parameters.items()
      if not name.startswith("tr_update")
    }
  )
  assert tracker.encoder == encoder
  tracker = Tracker(**{**vars(tracker), "depth_range": None})
  intrinsics = jnp.asarray(inputs["K"])
  batch = {"intrinsics": intrinsics}
  for view in (0, 1):
    image = jnp.asarray(inputs[f"image{view}"], intrinsics.dtype)
    batch[f"image{view}"] = last(image) / 255
    depth = jnp.asarray(inputs[f"depth{view}"], intrinsics.dtype)
    batch[f"depth{view}"] = depth[:, 0]
  track_all = functools.partial(tracker.track, params, model_state)
  run = jax.jit(track_all, compiler_options=QUICK)
  poses = run(batch).poses
  rotations, translations = poses[..., :3, :3], poses[..., :3, 3]
  return {
    "R_levels": rotations,
    "t_levels": translations,
  }


def pose_losses(parameters, inputs):
  del parameters
  translation = jnp.asarray(inputs["t_est"])
  rotation = rigid.exp_rotation(jnp.asarray(inputs["twist_est"]))
  poses = pose(rotation.reshape(*translation.shape[:2], 3, 3), translation)
  truth = pose(inputs["R_gt"], inputs["t_gt"])
  depth = jnp.asarray(inputs["depth0"])[:, 0]
  views = truth, depth, jnp.asarray(inputs["K"]), preprocessing.is_extreme(depth)
  angle, distance = losses.relative_pose_error(poses[:, 0], truth)
  return {
    "loss_train": losses.pose_loss(poses, *views),
    "epe": losses.end_point_error(poses[:, 0], *views),
    "rpe_angle": angle,
    "rpe_translation": distance,
  }


ADAPTERS = {
  "encoder": encoder,
  "m_estimator": m_estimator,
  "damping": damping,
  "geometry": jax.jit(geometric),
  "level_0": in_both_precisions(one_level),
  "level_1": in_both_precisions(one_level),
  "track_no_learning": in_both_precisions(functools.partial(track, encoder="RGB")),
  "track_A": in_both_precisions(functools.partial(track, encoder="ConvRGBD2")),
  "track_ABC": in_both_precisions(functools.partial(track, encoder="ConvRGBD2")),
  "losses": jax.jit(pose_losses),
}


def _flips(ours, theirs):
  """A decision may flip where the test is within 1e-5 of equality, as the notes say."""
  return float(np.mean(ours != theirs)), 1e-3


MEASURES = {"geometry": {"occluded": _flips}}
