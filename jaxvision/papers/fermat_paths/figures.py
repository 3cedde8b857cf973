"""The figures of the report: transients, branches, surfaces, normals."""

import io
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.papers.fermat_paths import (
  detection,
  poisson_surface,
  scenes,
  surfaces,
)

_RISING, _FALLING = "#d6336c", "#1c7ed6"
_FRONT, _SIDE = (0.45, 0.35), (1.35, 0.25)  # turns about y, then about x, radians


def branches_figure(
  transients: np.ndarray,
  bins: np.ndarray,
  paths: np.ndarray,
  signs: np.ndarray,
  positions: np.ndarray,
  detector: detection.Detector,
):
  """Returns a figure of the transients along a line of the wall and their branches.

  Args:
    transients: [W, m].
    bins: [m] cm.
    paths: [W, K] detected, cm; NaN where there is none.
    signs: [W, K] +1 rising, -1 falling.
    positions: [W] of the wall points along the line, cm.
    detector: that detected them.
  """
  from matplotlib import pyplot as plt

  transients = np.nan_to_num(np.asarray(transients, np.float64))
  scale = np.maximum(transients.max(axis=1, keepdims=True), 1e-30)
  bright = np.sqrt(np.maximum(transients, 0) / scale)
  seen = np.isfinite(paths)
  low, high = _limits(bins, bright, paths[seen])
  figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.6), layout="constrained", width_ratios=(1.1, 1)
  )
  half = 0.5 * float(positions[1] - positions[0])
  edges = (positions[0] - half, positions[-1] + half, bins[0], bins[-1])
  left.imshow(bright.T, origin="lower", aspect="auto", extent=edges, cmap="gray")
  for sign, color, name in ((1, _RISING, "rises"), (-1, _FALLING, "falls")):
    row, branch = np.nonzero(seen & (signs == sign))
    left.plot(
      positions[row], paths[row, branch], ".", ms=4, color=color, label=f"{name}"
    )
  left.set_ylim(low, high)
  left.set_xlabel("along the wall, cm")
  left.set_ylabel("path length, cm")
  left.set_title("transients (square root) and their discontinuities")
  left.legend(loc="upper center", framealpha=0.9, ncols=2)

  line = len(positions) // 4
  response, _ = detection.filter_responses(
    jnp.asarray(transients[line : line + 1], jnp.float32), detector
  )
  right.plot(bins, transients[line] / scale[line], color="black", label="transient")
  right.plot(
    bins, np.asarray(response[0]), color="#f08c00", lw=1, label="filters' response"
  )
  for path, sign in zip(paths[line], signs[line], strict=True):
    if np.isfinite(path):
      right.axvline(path, color=_RISING if sign > 0 else _FALLING, ls="--", lw=1)
  right.set_xlim(low, high)
  right.set_xlabel("path length, cm")
  right.set_title(f"one transient, at {positions[line]:.0f} cm")
  right.legend(frameon=False)
  return figure


def surfaces_figure(found: Mapping[str, tuple], height: float = 2.6):
  """Returns a figure of reconstructed surfaces beside the truth, from two sides.

  Args:
    found: {title: (Surface, Surface or None)}, ours and the truth.
    height: of a row, inches.
  """
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(
    len(found),
    4,
    figsize=(10.5, height * len(found) + 0.3),
    layout="constrained",
    squeeze=False,
  )
  titles = ("truth", "reconstructed", "truth, from the side", "reconstructed")
  for row, (title, (ours, truth)) in zip(axes, found.items(), strict=True):
    for axis, surface, view in zip(
      row, (truth, ours, truth, ours), (_FRONT, _FRONT, _SIDE, _SIDE), strict=True
    ):
      draw_surface(axis, surface, view, frame=truth if truth is not None else ours)
    row[0].set_ylabel(title)
  for axis, title in zip(axes[0], titles, strict=True):
    axis.set_title(title)
  return figure


def cloud_figure(
  points: np.ndarray, normals: np.ndarray, surface: poisson_surface.Surface
):
  """Returns a figure of oriented points [N, 3] and the surface through them."""
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
  depth = axes[0].scatter(points[:, 0], points[:, 1], c=points[:, 2], s=6)
  axes[0].set_aspect("equal")
  axes[0].set_xlabel("x, cm")
  axes[0].set_ylabel("y, cm")
  axes[0].set_title(f"{len(points)} points, colour: depth in cm")
  figure.colorbar(depth, ax=axes[0], shrink=0.8)
  drawn = slice(None, None, max(len(points) // 400, 1))
  for axis, view, title in ((axes[1], _FRONT, "surface"), (axes[2], _SIDE, "side")):
    draw_surface(axis, surface, view, frame=surface if len(surface.faces) else None)
    axis.set_title(title)
  turned = _turn(points[drawn], _SIDE)
  arrows = _turn(normals[drawn], _SIDE)
  axes[2].quiver(
    *turned[:, :2].T,
    *arrows[:, :2].T,
    color=_RISING,
    width=0.004,
    angles="xy",
    scale_units="xy",
    scale=15 / max(float(np.ptp(turned[:, :2], axis=0).max()), 1e-6),
  )
  axes[2].set_title("from the side, with normals")
  return figure


def normals_figure(errors: Mapping[str, np.ndarray], maps: Mapping[str, np.ndarray]):
  """Returns a figure of the normals' errors.

  Args:
    errors: {way: [N] degrees} to find normals at the same points.
    maps: {way: [H, W] degrees, NaN where there is no normal} by wall point.
  """
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(
    1, 1 + len(maps), figsize=(4.2 + 3.6 * len(maps), 3.7), layout="constrained"
  )
  for way, angle in errors.items():
    share = 100 * (np.arange(len(angle)) + 1) / max(len(angle), 1)
    axes[0].plot(np.sort(angle), share, label=way)
  axes[0].set_xscale("log")
  axes[0].set_xlabel("error of the normal, degrees")
  axes[0].set_ylabel("points, %")
  axes[0].grid(alpha=0.3)
  axes[0].legend(frameon=False)
  highest = max((np.nanquantile(m, 0.95) for m in maps.values()), default=1.0)
  for axis, (way, angle) in zip(axes[1:], maps.items(), strict=True):
    shown = axis.imshow(angle, origin="lower", vmin=0, vmax=highest, cmap="viridis")
    axis.set_title(way)
    axis.set_xticks([])
    axis.set_yticks([])
  figure.colorbar(shown, ax=axes[-1], label="degrees, by wall point")
  return figure


def gallery_figure(samples: int = 2**20):
  """Returns a figure of how each kind of Fermat path shows in a transient (T3)."""
  from matplotlib import pyplot as plt

  wall, small = jnp.zeros((1, 3)), 30.0
  off = wall.at[0, 0].set(45.0)

  def curve(s):
    return jnp.stack([20 - 40 * s, 60 + 0 * s])  # faces the wall

  angle = scenes.SCENES["concaveSphere"].patch
  cases = {
    "minimum: step up": (surfaces.rectangle(60, 60, 60), wall),
    "maximum: step down": (angle, wall.at[0, 0].set(9.0)),
    "saddle: logarithm": (surfaces.paraboloid(60, (0.02, -0.03), small), wall),
    "boundary: square root": (surfaces.rectangle(60, 60, 60), off),
  }
  figure, axes = plt.subplots(1, 5, figsize=(14, 2.9), layout="constrained")
  bins, render = scenes.bin_centres(2400), scenes.render_transients
  for axis, (title, (patch, detector)) in zip(axes, cases.items(), strict=False):
    drawn = jax.jit(lambda patch=patch: surfaces.sample_patch(patch, samples))()
    _draw_transient(axis, bins, render(drawn, detector, bins)[0], title)
  profile = surfaces.sample_curve(curve, samples)
  title = "two dimensions: asymptote, jump"
  _draw_transient(axes[4], bins, render(profile, wall, bins)[0], title)
  axes[0].set_ylabel("intensity")
  return figure


def save(figure, path: epath.PathLike) -> None:
  """Writes a figure as a PNG file, whole or not at all."""
  encoded = io.BytesIO()
  figure.savefig(encoded, format="png", dpi=130, facecolor="white", bbox_inches="tight")
  files.write_bytes(path, encoded.getvalue())


def patch_surface(patch: surfaces.Patch, size: int = 48) -> poisson_surface.Surface:
  """Returns the triangles of a patch over a grid of its parameters."""
  steps = (jnp.arange(size + 1)) / size
  uv = jnp.stack(jnp.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
  vertices = np.asarray(jax.vmap(patch)(uv))
  corner = np.arange(size)[:, None] * (size + 1) + np.arange(size)
  a, b, c, d = corner, corner + size + 1, corner + size + 2, corner + 1
  triangles = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])
  return poisson_surface.Surface(vertices, triangles.reshape(-1, 3))


def draw_surface(axis, surface, view, frame=None) -> None:
  """Draws shaded triangles, the far ones first, seen along z after two turns."""
  from matplotlib import collections

  axis.set_aspect("equal")
  axis.set_xticks([])
  axis.set_yticks([])
  if surface is not None and len(surface.faces):
    corners = _turn(surface.vertices, view)[surface.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = np.linalg.norm(normals, axis=1)
    real = areas > 1e-9 * max(areas.max(), 1e-12)  # a pole has triangles of two corners
    corners, normals = corners[real], normals[real] / areas[real, None]
    light = np.array([-0.4, 0.5, -0.77])
    facing = np.where(normals[:, 2:] > 0, -normals, normals)
    shade = 0.25 + 0.65 * np.clip(facing @ light, 0, 1)
    tint = np.where(normals[:, 2] > 0, 0.72, 1.0)  # back sides are bluish
    colors = np.stack([shade * tint, shade * (0.5 + 0.5 * tint), shade], axis=1)
    order = np.argsort(-corners[:, :, 2].mean(axis=1))
    axis.add_collection(
      collections.PolyCollection(
        corners[order, :, :2],
        facecolors=colors[order],
        edgecolors=colors[order],
        linewidths=0.2,
        rasterized=True,
      )
    )
  if frame is not None and len(frame.vertices):
    seen = _turn(frame.vertices, view)[:, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    pad = 0.06 * (high - low).max()
    axis.set_xlim(low[0] - pad, high[0] + pad)
    axis.set_ylim(low[1] - pad, high[1] + pad)


def _turn(points, view):
  about_y, about_x = view
  x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
  x, z = (
    np.cos(about_y) * x + np.sin(about_y) * z,
    np.cos(about_y) * z - np.sin(about_y) * x,
  )
  y, z = (
    np.cos(about_x) * y - np.sin(about_x) * z,
    np.cos(about_x) * z + np.sin(about_x) * y,
  )
  return np.stack([x, y, z], axis=-1)


def _draw_transient(axis, bins, transient, title):
  bins, transient = np.asarray(bins), np.asarray(transient)
  axis.plot(bins, transient / transient.max(), color="black", lw=1)
  lit = bins[np.flatnonzero(transient > 0)]
  pad = 0.08 * float(lit[-1] - lit[0])
  axis.set_xlim(float(lit[0]) - pad, float(lit[-1]) + pad)
  axis.set_yticks([])
  axis.set_xlabel("path length, cm")
  axis.set_title(title, fontsize=10)


def _limits(bins, bright, paths):
  lit = bins[np.flatnonzero(bright.max(axis=0) > 0.02)]
  ends = np.concatenate([lit[:1], lit[-1:], paths])
  pad = 0.05 * max(np.ptp(ends), 1.0)
  return float(ends.min() - pad), float(ends.max() + pad)
