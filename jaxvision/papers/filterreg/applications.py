"""What the paper does with it: arms, cloth, rooms, objects by their features."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import kinematics, nearest, rigid
from jaxvision.papers.filterreg import (
  articulated,
  baselines,
  data,
  deformable,
  registration,
)
from jaxvision.papers.filterreg.registration import Settings


class Tracking(NamedTuple):
  """A model followed through T frames.

  Attributes:
    points: [T, M, 3] where the model was found, metres.
    errors: [T] mean distance from where its points were, metres.
    unmoved: [T] the same without any registration.
  """

  points: chex.Array
  errors: chex.Array
  unmoved: chex.Array


def track_arm(
  model: articulated.Model,
  positions: chex.Array,
  clouds: chex.Array,
  settings: articulated.Settings,
) -> Tracking:
  """Follows an arm from its true posture in the first frame on.

  Args:
    model: points on bodies.
    positions: [T, J] true joint positions.
    clouds: [T, N, 3] observations.
    settings: of the articulated registration.
  """

  def follow(guess, frame):
    truth, cloud = frame
    # What the camera cannot have seen has no counterpart.
    is_seen = data.faces_camera(model, kinematics.forward(model.tree, guess))
    facing = model._replace(points=jnp.where(is_seen[:, None], model.points, jnp.nan))
    found = articulated.solve(facing, cloud, settings, positions=guess).positions
    placed, true, start = (
      articulated.place(model, kinematics.forward(model.tree, angles))
      for angles in (found, truth, positions[0])
    )
    return found, (placed, _distance(placed, true), _distance(start, true))

  _, found = jax.lax.scan(follow, positions[0], (positions, clouds))
  return Tracking(*found)


def track_sheet(
  nodes: int,
  amounts: chex.Array,
  key: chex.PRNGKey,
  settings: deformable.Settings,
  *,
  noise: float = 0.001,
  outliers: int = 200,
) -> tuple[Tracking, chex.Array]:
  """Follows a sheet that bends, from rest on; returns also the clouds, [T, N, 3].

  The graph of each frame is that of rest; its points start where they were found.

  Args:
    nodes: number of the graph's nodes.
    amounts: [T] of `data.bend`.
    key: of noise and outliers.
    settings: of the deformable registration.
    noise: standard deviation in metres.
    outliers: number of them, around the sheet.
  """
  rest = data.sheet()
  graph = deformable.make_graph(rest, nodes)

  def follow(carry, frame):
    points, positions = carry
    amount, key = frame
    truth = data.bend(rest, amount)
    observed = data.corrupt(key, truth, outliers=outliers, noise=noise / 0.45)
    current = graph._replace(nodes=positions)
    found = deformable.solve(current, points, observed, settings)
    moved = rigid.apply(found.transforms, positions[:, None])[:, 0]
    outcome = found.points, _distance(found.points, truth), _distance(rest, truth)
    return (found.points, moved), (outcome, observed)

  keys = jax.random.split(key, amounts.shape[0])
  _, (found, observed) = jax.lax.scan(follow, (rest, graph.nodes), (amounts, keys))
  return Tracking(*found), observed


def register_views(views: data.View) -> dict[str, np.ndarray]:
  """Registers each view of a room to the one before it.

  Returns:
    {method: [T - 1] deviation of the relative rotation, degrees}.
  """
  plane = Settings(objective="plane", sigma=0.2, smallest_sigma=0.03, max_iterations=50)
  point = Settings(sigma=0.2, smallest_sigma=0.03, max_iterations=50)
  steps = {
    "FilterReg, point to plane": lambda model, seen, normals: registration.solve(
      model, seen, plane, normals=normals
    ),
    "FilterReg, point to point": lambda model, seen, normals: registration.solve(
      model, seen, point
    ),
    "ICP, point to plane": lambda model, seen, normals: baselines.icp(
      model, seen, normals=normals, overlap=0.9, max_iterations=50
    ),
    "ICP, point to point": lambda model, seen, normals: baselines.icp(
      model, seen, overlap=0.9, max_iterations=50
    ),
  }
  truth = jnp.matmul(rigid.invert(views.pose[:-1]), views.pose[1:], precision="highest")
  found = {"no registration": jnp.tile(jnp.eye(4), (truth.shape[0], 1, 1))}
  for name, step in steps.items():
    # One pair after the other: all at once would wait for the slowest one.
    register = jax.jit(
      lambda arguments, step=step: jax.lax.map(lambda a: step(*a).transform, arguments)
    )
    found[name] = register((views.points[1:], views.points[:-1], views.normals[:-1]))
  return {name: rotation_errors(value, truth) for name, value in found.items()}


def rotation_errors(transforms: chex.Array, truth: chex.Array) -> np.ndarray:
  """Returns the mean over axes of the absolute Euler angles between both, degrees."""
  left = jnp.matmul(
    jnp.swapaxes(truth[:, :3, :3], 1, 2), transforms[:, :3, :3], precision="highest"
  )
  roll = jnp.arctan2(left[:, 2, 1], left[:, 2, 2])
  pitch = jnp.arcsin(jnp.clip(-left[:, 2, 0], -1, 1))
  yaw = jnp.arctan2(left[:, 1, 0], left[:, 0, 0])
  return np.rad2deg(np.mean(np.abs(np.stack([roll, pitch, yaw])), axis=0))


def register_by_features(
  keys: chex.PRNGKey, *, count: int, outliers: float, noise: float, success: float
) -> dict[str, np.ndarray]:
  """Registers objects in any pose by noisy descriptors, without a first guess.

  Args:
    keys: [K] of the trials.
    count: points of each cloud.
    outliers: ratio of points with random descriptors, added to both clouds.
    noise: of the descriptors.
    success: pose error in metres up to which a trial counts.

  Returns:
    {method: [K] bool, whether each trial succeeded}.
  """

  def make(key):
    trial_key, *rest = jax.random.split(key, 5)
    trial = data.rigid_trial(trial_key, count=count, outliers=outliers, degrees=180.0)
    inverse = rigid.invert(trial.truth)
    own = trial.model, rigid.apply(inverse, trial.observation)
    found = []
    for points, key_one, key_two in zip(own, rest[:2], rest[2:], strict=True):
      features = data.descriptors(key_one, points, noise)
      random = data.descriptors(key_two, points, 100.0)
      is_surface = (jnp.arange(points.shape[0]) < count)[:, None]
      found.append(jnp.where(is_surface, features, random))
    return trial, found

  def by_features(trial, features):
    return registration.solve_by_features(trial.model, trial.observation, *features)

  def feature_icp(trial, features):
    """Nearest descriptors, one Kabsch, and trimmed ICP from there."""
    index, distance = nearest.nearest(features[0], features[1])
    weights = (distance <= jnp.median(distance)).astype(distance.dtype)
    start = rigid.fit(trial.model, trial.observation[index], weights)
    return baselines.icp(
      trial.model, trial.observation, overlap=0.9, initial=start, max_iterations=20
    )

  trials = jax.jit(jax.vmap(make))(keys)
  outcome = {}
  for name, method in (("FilterReg", by_features), ("feature ICP", feature_icp)):
    transforms = jax.jit(jax.vmap(method))(*trials).transform
    errors = jax.vmap(registration.pose_error)(
      transforms, trials[0].truth, trials[0].surface
    )
    outcome[name] = np.asarray(errors) <= success
  return outcome


def _distance(points, truth):
  return jnp.mean(jnp.linalg.norm(points - truth, axis=-1))
