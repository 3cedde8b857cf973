"""Every tracker's errors on pairs whose motion is known (M13)."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.inverse_compositional import (
  icp,
  losses,
  preprocessing,
)
from jaxvision.papers.inverse_compositional.regressors import Regressor
from jaxvision.papers.inverse_compositional.tracker import Tracker
from jaxvision.train import jit_once

Errors = dict[str, np.ndarray]


def measure(
  tracker: Tracker | Regressor,
  variables: tuple[dict, dict],
  pairs: Mapping[str, np.ndarray],
  *,
  iterations: int | None = None,
  batch: int = 40,
) -> Errors:
  """Returns the errors of a tracker on pairs, see `errors`, and what it found.

  That is "pose" [N, 4, 4], and "weights" [N, H, W] of the finest level if it learns
  them.

  Args:
    tracker: of `variants.make`.
    variables: its parameters and statistics.
    pairs: arrays [N, ...] as the trackers take them, with "pose" [N, 4, 4] and perhaps
      "mask0" [N, H, W], the object that moves.
    iterations: K_iter, if other than the tracker's.
    batch: pairs at once.
  """
  track = _tracking(tracker, iterations)
  parts = [jax.device_get(track(variables, part)) for part in _parts(pairs, batch)]
  count = len(pairs["pose"])
  found = {name: np.concatenate([p[name] for p in parts])[:count] for name in parts[0]}
  return errors(found["pose"], pairs, tracker.depth_range) | found


def measure_icp(
  pairs: Mapping[str, np.ndarray],
  depth_range: tuple[float, float],
  *,
  point_to_plane: bool,
  batch: int = 40,
) -> Errors:
  """Returns the errors of ICP on the depths of pairs; arguments as for `measure`."""
  align = _icp(depth_range, point_to_plane)
  poses = np.concatenate([np.asarray(align(part)) for part in _parts(pairs, batch)])
  return errors(poses[: len(pairs["pose"])], pairs, depth_range)


def errors(
  poses: np.ndarray, pairs: Mapping[str, np.ndarray], depth_range: tuple[float, float]
) -> Errors:
  """Returns the errors [N] of poses [N, 4, 4].

  Returns:
    "epe": 3-D end point error in centimetres; "angle" in degrees and "distance" in
    centimetres of the relative pose; "success": within 5 cm and 5 degrees; "finite":
    whether the pose is.
  """
  values = _errors(
    poses,
    pairs["pose"],
    pairs["depth0"],
    pairs["intrinsics"],
    pairs.get("mask0"),
    depth_range,
  )
  return {name: np.asarray(value) for name, value in values.items()}


def summary(measured: Errors) -> dict[str, float]:
  """Returns the mean and median of what `errors` returns, for a table."""
  return {
    "EPE mean, cm": float(np.mean(measured["epe"])),
    "EPE median, cm": float(np.median(measured["epe"])),
    "angle, degrees": float(np.mean(measured["angle"])),
    "distance, cm": float(np.mean(measured["distance"])),
    "success, %": 100 * float(np.mean(measured["success"])),
  }


def pooled(runs: list[Errors]) -> Errors:
  """Returns the errors of several seeds, one behind the other."""
  return {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}


def _parts(pairs: Mapping[str, np.ndarray], batch: int) -> list[dict[str, Any]]:
  """Returns the pairs in batches of one size, the last filled up by its last pair."""
  count = len(pairs["pose"])
  batch = min(batch, count)
  index = np.minimum(np.arange(-(-count // batch) * batch), count - 1)
  names = ("image0", "image1", "depth0", "depth1", "intrinsics")
  return [
    {name: pairs[name][some] for name in names} for some in index.reshape(-1, batch)
  ]


@functools.cache
def _tracking(tracker, iterations):
  options = {} if iterations is None else {"iterations": iterations}

  @jit_once
  def track(variables, batch):
    found = tracker.track(*variables, batch, **options)
    outcome = {"pose": found.poses[:, -1]}
    if getattr(tracker, "estimator", "none") == "learned":
      outcome["weights"] = found.weights[-1][..., 0]
    return outcome

  return track


@functools.cache
def _icp(depth_range, point_to_plane):
  @jit_once
  def align(batch):
    depths = batch["depth0"], batch["depth1"]
    valid = [preprocessing.is_in_range(depth, *depth_range) for depth in depths]
    return icp.icp(*depths, batch["intrinsics"], *valid, point_to_plane=point_to_plane)

  return align


@functools.partial(jax.jit, static_argnums=5)
def _errors(poses, truth, depth, intrinsics, mask, depth_range):
  invalid = ~preprocessing.is_in_range(depth, *depth_range)
  if mask is not None:
    invalid |= ~mask
  angle, distance = losses.relative_pose_error(poses, truth)
  end_points = losses.end_point_error(poses, truth, depth, intrinsics, invalid)
  return {
    "epe": losses.CENTIMETRES * end_points,
    "angle": jnp.rad2deg(angle),
    "distance": losses.CENTIMETRES * distance,
    "success": losses.is_success(poses, truth),
    "finite": jnp.all(jnp.isfinite(poses), axis=(-2, -1)),
  }
