"""Pictures of maps, of the points found in them, and of thresholds and counts."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.papers.weighted_hausdorff.evaluation import Prediction
from jaxvision.papers.weighted_hausdorff.extraction import Located
from jaxvision.papers.weighted_hausdorff.free_maps import FreeMap

_INCHES = 1.5  # of a picture's side
_TRUTH, _FOUND = "#00e5ff", "#ff2d2d"


def located_figure(columns: Mapping[str, Sequence[tuple[Prediction, Located]]]):
  """Returns a figure with rows of images, of each variant's map and what it finds.

  Args:
    columns: {variant: predictions and what was located}, of the same images in the
      same order.
  """
  first = next(iter(columns.values()))
  figure, axes = _axes(1 + len(columns), len(first))
  for axis, (prediction, _) in zip(axes[0], first, strict=True):
    axis.imshow(prediction.image)
    _mark(axis, prediction.truth, _TRUTH, "o")
  _title(axes[0][0], "truth")
  for row, (name, found) in zip(axes[1:], columns.items(), strict=True):
    largest = max(float(located.saliency.max()) for _, located in found)
    for axis, (prediction, located) in zip(row, found, strict=True):
      _show_map(axis, located.saliency, largest)
      _mark(axis, prediction.truth, _TRUTH, "o")
      _mark(axis, located.points, _FOUND, "x")
      axis.set_xlabel(
        f"{prediction.count:.1f} of {len(prediction.truth)}", fontsize=7, labelpad=1
      )
    _title(row[0], f"{name}\n0 to {largest:.2f}")
  return figure


def free_figure(maps: Mapping[int, FreeMap]):
  """Returns a figure of free maps, a row for each seed, and how their loss fell."""
  from matplotlib import ticker

  names = list(next(iter(maps.values())).maps)
  figure, axes = _axes(len(maps), len(names) + 1)
  for row, (seed, free) in zip(axes, maps.items(), strict=True):
    for axis, name in zip(row, names, strict=False):
      _show_map(axis, free.maps[name])
      _mark(axis, free.points, _TRUTH, "o")
    row[-1].plot(free.losses, lw=1)
    row[-1].set_yscale("log")
    row[-1].yaxis.set_minor_formatter(ticker.NullFormatter())
    row[-1].set_xticks([0, len(free.losses)])
    row[-1].tick_params(labelsize=6)
    row[-1].set_frame_on(True)
    _title(row[0], f"seed {seed}")
  for axis, name in zip(axes[0], (*names, "loss of both"), strict=True):
    axis.set_title(name, fontsize=8)
  return figure


def threshold_figure(scores: Mapping[str, Mapping[str, float]]):
  """Returns a figure of the F-score by threshold, fixed ones as a line.

  Args:
    scores: {variant: {name of the method: F}}; fixed ones are called "fixed 0.5".
  """
  from matplotlib import figure

  made = figure.Figure((5.0, 2.8))
  axis = made.subplots()
  for index, (variant, by_method) in enumerate(scores.items()):
    color = f"C{index}"
    fixed = {
      float(name.removeprefix("fixed ")): value
      for name, value in by_method.items()
      if name.startswith("fixed ")
    }
    axis.plot(
      list(fixed), list(fixed.values()), f"{color}o-", label=f"{variant}: fixed"
    )
    others = {k: v for k, v in by_method.items() if not k.startswith("fixed ")}
    for style, (name, value) in zip(("--", ":"), others.items(), strict=False):
      axis.axhline(value, color=color, ls=style, label=f"{variant}: {name}")
  axis.set_xlabel("threshold")
  axis.set_ylabel("F, percent")
  axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
  return made


def count_figure(predictions: Mapping[str, Sequence[Prediction]]):
  """Returns a figure of estimated counts over the true ones."""
  from matplotlib import figure

  made = figure.Figure((2.8 * len(predictions), 2.8))
  axes = made.subplots(1, len(predictions), squeeze=False)[0]
  for axis, (name, some) in zip(axes, predictions.items(), strict=True):
    pairs = np.array([(len(one.truth), one.count) for one in some])
    most = float(pairs.max()) + 0.5
    axis.plot([0, most], [0, most], color="0.7", lw=1)
    axis.plot(*pairs.T, "o", ms=3, alpha=0.6)
    axis.set_title(name, fontsize=9)
    axis.set_xlabel("true number", fontsize=8)
    axis.tick_params(labelsize=7)
  axes[0].set_ylabel("estimate", fontsize=8)
  return made


def overlay(image: np.ndarray, points: np.ndarray) -> np.ndarray:
  """Returns an image [h, w, 3] uint8 with a cross at each point [K, 2]."""
  image = image.copy()
  reach = max(2, round(min(image.shape[:2]) / 60))
  thick = max(0, reach // 4)
  for row, column in np.round(points).astype(int):
    for rows, columns in ((reach, thick), (thick, reach)):
      image[_around(row, rows), _around(column, columns)] = (255, 30, 30)
  return image


def heat(saliency: np.ndarray) -> np.ndarray:
  """Returns a map [h, w] in [0, 1] as colours [h, w, 3] uint8."""
  from matplotlib import colormaps

  colors = colormaps["magma"](np.clip(saliency, 0, 1))[..., :3]
  return np.uint8(np.round(255 * colors))


def _around(place, reach):
  return slice(max(place - reach, 0), max(place + reach + 1, 0))


def _axes(rows, columns):
  from matplotlib import figure

  made = figure.Figure((_INCHES * columns + 0.8, (_INCHES + 0.15) * rows))
  axes = made.subplots(rows, columns, squeeze=False)
  for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_frame_on(False)
  made.subplots_adjust(0.1, 0.03, 0.99, 0.95, 0.06, 0.12)
  return made, axes


def _title(axis, text):
  axis.set_ylabel(text, fontsize=8)


def _show_map(axis, saliency, largest=1.0):
  axis.imshow(saliency, vmin=0, vmax=largest, cmap="magma", interpolation="nearest")


def _mark(axis, points, color, marker):
  if len(points):
    face = "none" if marker == "o" else color
    axis.scatter(
      points[:, 1],
      points[:, 0],
      s=26,
      marker=marker,
      facecolors=face,
      edgecolors=color if marker == "o" else None,
      linewidths=1,
    )
