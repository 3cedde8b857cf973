"""Pictures of disparities."""

from collections.abc import Mapping, Sequence

import numpy as np

_MAP = "turbo"


def colored(disparity: np.ndarray, largest: float) -> np.ndarray:
  """Returns [H, W, 3] uint8 colours of [H, W] disparities; unknown ones are black."""
  import matplotlib

  shown = matplotlib.colormaps[_MAP](np.clip(disparity / largest, 0, 1))[..., :3]
  shown[~np.isfinite(disparity)] = 0
  return np.round(255 * shown).astype(np.uint8)


def disparity_figure(
  rows: Sequence[Mapping[str, np.ndarray]],
  largest: float,
  titles: Mapping[str, str] | None = None,
):
  """Returns a figure of one row a scene: colour images and disparities by name.

  Args:
    rows: {name: [H, W, 3] image in [0, 1] or [H, W] disparity}, alike for all scenes.
    largest: disparity at the end of the scale, pixels.
    titles: what stands above a column instead of its name.
  """
  from matplotlib import pyplot

  names = list(rows[0])
  height, width = next(iter(rows[0].values())).shape[:2]
  columns = len(names)
  size = (2.6 * columns, 2.6 * height / width * len(rows) + 0.9)
  figure, axes = pyplot.subplots(
    len(rows), columns, figsize=size, squeeze=False, layout="constrained"
  )
  for row, line in zip(rows, axes, strict=True):
    for name, axis in zip(names, line, strict=True):
      axis.set_axis_off()
      if row[name].ndim == 3:
        axis.imshow(row[name])
        continue
      shown = np.where(np.isfinite(row[name]), row[name], np.nan)
      mappable = axis.imshow(shown, cmap=_MAP, vmin=0, vmax=largest)
  for name, axis in zip(names, axes[0], strict=True):
    axis.set_title((titles or {}).get(name, name), fontsize=10)
  figure.colorbar(mappable, ax=axes, label="disparity, pixels", shrink=0.8)
  pyplot.close(figure)
  return figure
