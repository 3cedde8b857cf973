"""The figures of the report."""

from collections.abc import Mapping, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import rigid, robust
from jaxvision.papers.robust_loss import data, registration, regression
from jaxvision.papers.robust_loss.likelihoods import TITLES
from jaxvision.train import jit_once

_ALPHAS = (2.0, 1.0, 0.0, -2.0, -np.inf)
_CHANNELS = {"pixels": "RGB", "dct": "YUV", "wavelets": "YUV"}


def losses():
  """Returns a matplotlib figure of the loss, its weight, and both over α."""
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
  x = np.linspace(-6.0, 6.0, 481, dtype=np.float32)
  loss, weight = jax.jit(robust.loss), jax.jit(robust.weight)
  colors = plt.cm.plasma(np.linspace(0.0, 0.85, len(_ALPHAS)))
  for alpha, color in zip(_ALPHAS, colors, strict=True):
    label = f"α = {alpha:g}".replace("-inf", "-∞")
    axes[0].plot(x, loss(x, alpha, 1.0), color=color, label=label)
    axes[1].plot(x, weight(x, alpha, 1.0), color=color)
  axes[0].set(ylim=(0, 5), title="loss ρ(x, α, 1)", xlabel="x / c")
  axes[0].legend(loc="upper center", fontsize=8)
  axes[1].set(title="weight of a residual", xlabel="x / c")
  alphas = np.linspace(-8.0, 2.0, 201, dtype=np.float32)
  surface = loss(np.tile(x, (201, 1)), alphas[:, None], 1.0)
  shown = axes[2].contourf(x, alphas, np.minimum(surface, 6.0), 24, cmap="viridis")
  axes[2].set(title="loss over shape (cut at 6)", xlabel="x / c", ylabel="α")
  figure.colorbar(shown, ax=axes[2])
  for axis in axes[:2]:
    axis.grid(alpha=0.3)
  return figure


def shape_maps(maps: Mapping[str, tuple[chex.Array, chex.Array]]):
  """Returns a figure of the learned α and c of every coefficient.

  Args:
    maps: {representation: (α, c)}, [H, W, 3] each.
  """
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(
    len(maps), 6, figsize=(13.5, 2.35 * len(maps)), layout="constrained", squeeze=False
  )
  for row, (representation, (alpha, scale)) in zip(axes, maps.items(), strict=True):
    logs = np.log10(np.asarray(scale))
    # Each row has its own colours: wavelets have small α, pixels large ones.
    highest = np.ceil(10 * np.max(alpha)) / 10
    row[0].set_ylabel(TITLES[representation])
    for channel, name in enumerate(_CHANNELS[representation]):
      shapes = row[channel].imshow(
        alpha[..., channel], vmin=0, vmax=highest, cmap="magma"
      )
      row[channel].set_title(f"α of {name}")
      scales = row[3 + channel].imshow(
        logs[..., channel], vmin=logs.min(), vmax=logs.max(), cmap="viridis"
      )
      row[3 + channel].set_title(f"log₁₀ c of {name}")
    figure.colorbar(shapes, ax=row[:3], shrink=0.9, pad=0.01)
    figure.colorbar(scales, ax=row[3:], shrink=0.9, pad=0.01)
  _without_ticks(axes)
  return figure


def line_fits(key: chex.PRNGKey):
  """Returns a figure of one regression among outliers."""
  from matplotlib import pyplot as plt

  x, y = regression.points(key)
  figure, axis = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
  axis.plot(x, y, "o", color="0.55", markersize=4, label="points")
  ends = np.array([0.0, 1.0])
  for loss, color in (("squared", "#b42318"), ("adaptive", "#1a7f37")):
    line = regression.fit(x, y, loss)
    label = "squared error"
    if loss == "adaptive":
      label = f"adaptive: α = {line.alpha:.2f}, c = {line.scale:.3f}"
    axis.plot(ends, line.slope * ends + line.offset, color=color, label=label)
  truth = regression.SLOPE * ends + regression.OFFSET
  axis.plot(ends, truth, "k:", label="truth")
  axis.set(xlabel="x", ylabel="y")
  axis.legend(fontsize=8)
  axis.grid(alpha=0.3)
  return figure


def registrations(key: chex.PRNGKey, count: int):
  """Returns a figure of one cloud before and after registration, 80 % outliers."""
  from matplotlib import pyplot as plt

  pairs = jit_once(data.registration, static_argnames="count")(
    key, outliers=0.8, noise=0.0025, count=count
  )
  solve, move = jit_once(registration.solve), jax.jit(rigid.apply)
  schedules = {
    "least squares": registration.fixed(2.0),
    "FGR: scale annealed": registration.scale_annealed(),
    "shape annealed": registration.shape_annealed(),
  }
  poses = {"before: red lines join the pairs": jnp.eye(4)} | {
    title: solve(pairs.source, pairs.target, schedule).transform
    for title, schedule in schedules.items()
  }
  pairs = jax.device_get(pairs)
  figure, axes = plt.subplots(
    1, 4, figsize=(14, 3.9), layout="constrained", sharex=True, sharey=True
  )
  for axis, (title, pose) in zip(axes, poses.items(), strict=True):
    moved = np.asarray(move(pose, pairs.source))
    if axis is axes[0]:
      for one, other in zip(moved[:60], pairs.target[:60], strict=True):
        axis.plot(*zip(one[:2], other[:2], strict=True), color="#b42318", lw=0.4)
    else:
      error = np.sqrt(np.mean(np.sum(np.square(moved - pairs.truth), axis=1)))
      title += f"\nerror {error:.4f}"
    axis.plot(*pairs.truth.T[:2], ".", color="#1f6feb", markersize=4, label="target")
    axis.plot(*moved.T[:2], ".", color="#e8590c", markersize=2, label="source")
    axis.set_title(title, fontsize=10)
    axis.set_aspect("equal")
  axes[0].legend(fontsize=8, loc="best")
  return figure


def embedding(
  points: np.ndarray,
  classes: np.ndarray,
  clusterings: Mapping[str, tuple[np.ndarray, np.ndarray]],
):
  """Returns a figure of points and representatives on the points' principal axes.

  Args:
    points: [N, D].
    classes: [N] which decide the colours.
    clusterings: {title: ([N, D] representatives, [N] labels)}.
  """
  from matplotlib import pyplot as plt

  center = points.mean(axis=0)
  axes_of_points = np.linalg.svd(points - center, full_matrices=False)[2][:2]
  panels = {"the points": (points, None), **clusterings}
  figure, axes = plt.subplots(
    1,
    len(panels),
    figsize=(4.4 * len(panels), 4.2),
    layout="constrained",
    sharex=True,
    sharey=True,
  )
  for axis, (title, (places, labels)) in zip(axes, panels.items(), strict=True):
    flat = (places - center) @ axes_of_points.T
    axis.scatter(*flat.T, c=classes, cmap="tab10", s=7, alpha=0.7, linewidths=0)
    if labels is not None:
      title += f": {len(np.unique(labels))} clusters"
    axis.set_title(title)
    axis.set_xticks([])
    axis.set_yticks([])
  return figure


def autoencoders(
  images: np.ndarray,
  reconstructions: Mapping[str, np.ndarray],
  samples: Mapping[str, np.ndarray],
):
  """Returns a figure of what the VAEs make of images, and what they invent.

  Args:
    images: [N, S, S, 3] in [0, 1].
    reconstructions: {title: [N, S, S, 3]}.
    samples: {title: [N, S, S, 3]} of the same titles.
  """
  from matplotlib import pyplot as plt

  rows = [("images", images)]
  rows += [(f"{title}", found) for title, found in reconstructions.items()]
  rows += [(f"{title},\nfrom the prior", found) for title, found in samples.items()]
  figure, axes = plt.subplots(len(rows), 1, figsize=(9, 0.98 * len(rows)))
  for axis, (title, found) in zip(axes, rows, strict=True):
    framed = np.pad(found, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1.0)
    axis.imshow(np.clip(np.concatenate(framed, axis=1), 0, 1))
    axis.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
  _without_ticks(axes)
  figure.subplots_adjust(hspace=0.04, left=0.2, right=0.99, top=0.99, bottom=0.01)
  return figure


def depths(images: np.ndarray, truth: np.ndarray, guesses: Mapping[str, np.ndarray]):
  """Returns a figure of depth maps, near bright, each scaled to the true median.

  Args:
    images: [N, H, W, 3] in [0, 1].
    truth: [N, H, W] depth; None where it is not known.
    guesses: {title: [N, H, W]}.
  """
  from matplotlib import pyplot as plt

  columns = {"image": images, "truth": truth, **guesses}
  figure, axes = plt.subplots(
    len(images),
    len(columns),
    figsize=(2.1 * len(columns), 1.2 * len(images) + 0.4),
    layout="constrained",
    squeeze=False,
  )
  for column, (title, maps) in enumerate(columns.items()):
    axes[0, column].set_title(title, fontsize=9)
    for row, shown in enumerate(maps):
      if title == "image":
        axes[row, column].imshow(np.clip(shown, 0, 1))
        continue
      near = 1 / (shown * np.median(truth[row]) / np.median(shown))
      axes[row, column].imshow(near, vmin=0, vmax=np.max(1 / truth[row]), cmap="magma")
  _without_ticks(axes)
  return figure


def _without_ticks(axes: Sequence) -> None:
  for axis in np.ravel(axes):
    axis.set_xticks([])
    axis.set_yticks([])
