"""Pictures: extrapolated views beside the truth, and how far exact MPIs reach."""

from collections.abc import Mapping, Sequence

import numpy as np


def view_figure(rows: Sequence[Mapping[str, np.ndarray]]):
  """Returns a figure of scenes, a row each: {title: [H, W, 3] or [H, W] in [0, 1]}."""
  from matplotlib import pyplot as plt

  columns = len(rows[0])
  height, width = next(iter(rows[0].values())).shape[:2]
  figure, axes = plt.subplots(
    len(rows),
    columns,
    figsize=(1.6 * columns, (1.6 * height / width + 0.06) * len(rows) + 0.3),
    layout="constrained",
    squeeze=False,
  )
  for number, row in enumerate(rows):
    for axis, (title, image) in zip(axes[number], row.items(), strict=True):
      axis.imshow(np.clip(image, 0, 1), cmap="gray", vmin=0, vmax=1)
      axis.set_xticks([])
      axis.set_yticks([])
      if number == 0:
        axis.set_title(title, fontsize=8)
  return figure


def range_figure(curves: Mapping[int, Mapping[str, np.ndarray | float]]):
  """Returns a figure of the PSNR of exact MPIs over the shift of the camera."""
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(1, 2, figsize=(7.6, 3.0), layout="constrained")
  for number, curve in curves.items():
    axes[0].plot(curve["shift"], curve["psnr"], label=f"{number} planes")
    axes[1].plot(curve["shift"] / curve["bound"], curve["psnr"])
    color = axes[0].lines[-1].get_color()
    axes[0].axvline(curve["bound"], color=color, linewidth=0.8, linestyle=":")
  axes[1].axvline(1.0, color="black", linewidth=0.8, linestyle=":")
  axes[0].set_xlabel("sideways shift of the camera (bounds dotted)")
  axes[1].set_xlabel("shift, in renderable ranges (M12)")
  axes[0].set_ylabel("PSNR, dB")
  axes[0].legend(frameon=False, fontsize=8)
  for axis in axes:
    axis.grid(alpha=0.3)
  return figure


def strip(frames: Sequence[np.ndarray], gap: int = 2) -> np.ndarray:
  """Returns frames [H, W, 3] side by side, white between them."""
  white = np.ones((frames[0].shape[0], gap, 3), frames[0].dtype)
  parts = [frames[0]]
  for frame in frames[1:]:
    parts += [white, frame]
  return np.concatenate(parts, axis=1)


def enlarged(image: np.ndarray, times: int) -> np.ndarray:
  """Returns an image with every pixel `times` x `times` times."""
  return image.repeat(times, axis=0).repeat(times, axis=1)
