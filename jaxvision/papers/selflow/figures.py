"""Pictures: flow in colours beside the truth, occlusion, errors."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from jaxvision.data import flow_pictures
from jaxvision.papers.selflow import data, hallucination
from jaxvision.train import jit_once


def flow_figure(rows: Sequence[Mapping[str, np.ndarray]]):
  """Returns a figure of clips, a row each, with the wheel of colours.

  Args:
    rows: {title: array} of each clip: [H, W, 3] images, [H, W, 2] flow, [H, W] masks.
      The flow of a row has the scale of its own "true flow", or of its longest; what
      is longer is shown as if on the rim.
  """
  from matplotlib import pyplot as plt

  titles = list(rows[0])
  height, width = next(iter(rows[0].values())).shape[:2]
  cell = 2.1
  figure, axes = plt.subplots(
    len(rows),
    len(titles) + 1,
    figsize=(cell * (len(titles) + 0.5), cell * height / width * len(rows) + 0.3),
    width_ratios=[1] * len(titles) + [0.5],
    layout="constrained",
    squeeze=False,
  )
  for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
    flows = [array for array in row.values() if array.shape[-1:] == (2,)]
    scale = row.get(
      "true flow", np.concatenate(flows) if flows else np.zeros((1, 1, 2))
    )
    largest = max(float(np.hypot(*np.moveaxis(scale, -1, 0)).max()), 1e-3)
    for axis, (title, array) in zip(line, row.items(), strict=False):
      if array.ndim == 2:
        axis.imshow(array, cmap="gray", vmin=0, vmax=1)
      elif array.shape[-1] == 2:
        axis.imshow(
          flow_pictures.flow_picture(_clipped(array, largest), largest=largest)
        )
      else:
        axis.imshow(np.clip(array, 0, 1))
      if number == 0:
        axis.set_title(title, fontsize=8)
    line[-1].imshow(flow_pictures.wheel_picture(96))
    line[-1].set_title(f"rim: {largest:.1f} px", fontsize=7)
    line[-1].axis("off")
  for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])
  return figure


def _clipped(flow: np.ndarray, largest: float) -> np.ndarray:
  """Returns flow [H, W, 2] of at most this length."""
  length = np.maximum(np.hypot(flow[..., 0], flow[..., 1]), 1e-9)[..., None]
  # A hair less, so that rounding leads none beyond.
  return flow * np.minimum(0.99999 * largest / length, 1.0)


def clip_figure(
  clips: Mapping[str, np.ndarray],
  noc: tuple[np.ndarray, np.ndarray],
  occ: tuple[np.ndarray, np.ndarray],
):
  """Returns `flow_figure` of four clips, from many occluded pixels to few.

  Args:
    clips: as data.clips returns them.
    noc: flow [N, H, W, 2] and occlusion [N, H, W] by the first network.
    occ: by the second one.
  """
  hidden = clips["occluded"][:, 0]
  step = max(len(hidden) // 4, 1)
  picked = np.argsort(hidden.mean(axis=(1, 2)))[::-step][:4]
  return flow_figure(
    [
      {
        "frame t": clips["frames"][i, data.MIDDLE],
        "frame t + 1": clips["frames"][i, data.MIDDLE + 1],
        "true flow": clips["flow"][i, 0],
        "noc": noc[0][i],
        "occ": occ[0][i],
        "occluded": hidden[i].astype(float),
        "occluded, by occ": occ[1][i],
      }
      for i in picked
    ]
  )


def image_figure(rows: Sequence[Mapping[str, np.ndarray]]):
  """Returns a figure of images [H, W, 3], a row each."""
  from matplotlib import pyplot as plt

  height, width = next(iter(rows[0].values())).shape[:2]
  figure, axes = plt.subplots(
    len(rows),
    len(rows[0]),
    figsize=(2.1 * len(rows[0]), 2.1 * height / width * len(rows) + 0.3),
    layout="constrained",
    squeeze=False,
  )
  for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
    for axis, (title, image) in zip(line, row.items(), strict=True):
      axis.imshow(np.clip(image, 0, 1))
      axis.set_xticks([])
      axis.set_yticks([])
      if number == 0:
        axis.set_title(title, fontsize=8)
  return figure


def noise_figure(images: np.ndarray, labels: np.ndarray):
  """Returns a figure of images with noise in superpixels and in rectangles.

  Args:
    images: [N, H, W, 3] in [0, 1].
    labels: [N, H, W] superpixels.
  """

  @jit_once
  def fill(key, images, labels):
    return {
      f"noise: {noise}": hallucination.hallucinate(
        key, images[None], labels, noise, (0,)
      )
      for noise in ("superpixels", "rectangles")
    }

  filled = {
    title: np.asarray(frames)[0]
    for title, frames in fill(jax.random.key(0), images, labels).items()
  }
  edges = np.zeros(labels.shape, bool)
  edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
  edges[:, :, 1:] |= labels[:, :, 1:] != labels[:, :, :-1]
  outlined = np.where(edges[..., None], (1.0, 1.0, 0.0), images)
  shown = {"frame t + 1": images, "superpixels": outlined} | filled
  return image_figure(
    [{title: array[i] for title, array in shown.items()} for i in range(len(images))]
  )


def error_figure(rows: Mapping[str, Mapping[str, float]]):
  """Returns a figure of EPE over all, visible and occluded pixels of each training."""
  from matplotlib import pyplot as plt

  regions = {"EPE all": "all", "EPE noc": "visible", "EPE occ": "occluded"}
  figure, axis = plt.subplots(
    figsize=(7.2, 0.42 * len(rows) + 1.4), layout="constrained"
  )
  places = np.arange(len(rows))
  for number, (name, label) in enumerate(regions.items()):
    values = [row[name] for row in rows.values()]
    bars = axis.barh(places + 0.27 * (number - 1), values, 0.25, label=label)
    axis.bar_label(bars, fmt="%.2f", fontsize=6, padding=2)
  axis.set_yticks(places, list(rows), fontsize=8)
  axis.invert_yaxis()
  axis.set_xlabel("end point error, px")
  axis.margins(x=0.1)
  axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
  return figure
