"""Pictures: what alignment leaves of the difference between two views."""

import functools
from collections.abc import Mapping, Sequence

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.sampling import bilinear
from jaxvision.papers.inverse_compositional import geometry, preprocessing
from jaxvision.papers.inverse_compositional.evaluation import Errors
from jaxvision.papers.inverse_compositional.variants import LEARNED
from jaxvision.train import jit_once

LARGEST_RESIDUAL = 0.4  # of luminance in [0, 1], shown as the end of the scale


def warped_residual(
  pair: Mapping[str, chex.Array],
  poses: chex.Array,
  depth_range: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
  """Returns what poses leave of the difference of luminance, and the warped images.

  Args:
    pair: "image0", "image1", "depth0", "depth1", "intrinsics" of one pair.
    poses: [N, 4, 4].
    depth_range: metres between which depth counts.

  Returns:
    residuals [N, H, W], NaN where the second view does not show the pixel or its depth
    is not known; warped images [N, H, W, 3], NaN likewise.
  """
  names = ("image0", "image1", "depth0", "depth1", "intrinsics")
  residuals, images = _warped(depth_range)({n: pair[n] for n in names}, poses)
  return np.asarray(residuals), np.asarray(images)


@functools.cache
def _warped(depth_range):
  @jit_once
  def warp(pair, poses):
    depths = [pair[f"depth{i}"][None] for i in (0, 1)]
    inverse = [
      preprocessing.invert_valid_depth(
        depth, preprocessing.is_in_range(depth, *depth_range)
      )
      for depth in depths
    ]
    intrinsics = pair["intrinsics"][None]
    rays = geometry.pixel_rays(*depths[0].shape[1:], intrinsics)
    points, warped_depth = geometry.warp(rays, inverse[0], poses[None], intrinsics)
    seen = bilinear(inverse[1][..., None], points)[..., 0]
    shown = geometry.is_visible(points, warped_depth, seen) & (inverse[0][:, None] > 0)
    images = bilinear(pair["image1"][None], points)[0]
    images = jnp.where(shown[0, ..., None], images, jnp.nan)
    return preprocessing.luminance(images - pair["image0"])[..., 0], images

  return warp


def residual_figure(
  rows: Sequence[Mapping[str, np.ndarray]], weights: Sequence[np.ndarray] = ()
):
  """Returns a figure of pairs, a row each: the template, then residuals.

  Args:
    rows: {title: image} of each pair: [H, W, 3] pictures, [H, W] residuals.
    weights: [H, W] of each pair, in a last column; none when empty.
  """
  from matplotlib import pyplot as plt

  titles = list(rows[0])
  columns = len(titles) + bool(len(weights))
  figure, axes = plt.subplots(
    len(rows),
    columns,
    figsize=(1.75 * columns, 1.42 * len(rows) + 0.35),
    layout="constrained",
    squeeze=False,
  )
  shades = plt.get_cmap("RdBu_r").with_extremes(bad="#d9d9d9")
  for number, row in enumerate(rows):
    for axis, title in zip(axes[number], titles, strict=False):
      image = row[title]
      if image.ndim == 3:
        axis.imshow(np.clip(np.nan_to_num(image, nan=0.85), 0, 1))
      else:
        drawn = axis.imshow(
          image, cmap=shades, vmin=-LARGEST_RESIDUAL, vmax=LARGEST_RESIDUAL
        )
        size = np.nanmean(np.abs(image)) if np.any(np.isfinite(image)) else np.nan
        axis.set_xlabel(f"mean {size:.3f}", fontsize=7, labelpad=2)
      if number == 0:
        axis.set_title(title, fontsize=8)
    if len(weights):
      axes[number, -1].imshow(weights[number], cmap="gray", vmin=0, vmax=1)
      if number == 0:
        axes[0, -1].set_title("weights (B)", fontsize=8)
  for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])
  bar = figure.colorbar(drawn, ax=axes, shrink=0.6, aspect=30, pad=0.01)
  bar.ax.tick_params(labelsize=7)
  label = "second view, warped, minus first: luminance"
  bar.set_label(label if len(rows) > 2 else "luminance", fontsize=7)
  return figure


def error_figure(rows: Mapping[str, Errors]):
  """Returns a figure of how many pairs have at most which error, a line a variant."""
  from matplotlib import pyplot as plt

  figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
  learned_colors = iter(plt.get_cmap("tab10").colors)
  plain_colors = iter(plt.get_cmap("Set2").colors * 2)
  for name, measured in rows.items():
    errors = np.sort(measured["epe"])
    shares = 100 * np.arange(1, len(errors) + 1) / len(errors)
    learned = name in LEARNED
    axis.step(
      np.maximum(errors, 0.05),
      shares,
      where="post",
      label=name,
      color=next(learned_colors if learned else plain_colors),
      linewidth=2 if learned else 1.2,
      linestyle="-" if learned else "--",
    )
  axis.set_xscale("log")
  axis.set_xlabel("3-D end point error, cm")
  axis.set_ylabel("pairs with at most this error, %")
  axis.grid(alpha=0.3)
  axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
  return figure
