"""The figures of the report: clouds before and after, errors over corruption."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.papers.filterreg.evaluation import FILTERREG, TRIMMED

_MODEL, _OBSERVED = "#d1495b", "#30638e"


def cloud_figure(
  panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
  *,
  view: tuple[int, int] = (12, 60),
  limit: int = 2500,
  size: float = 1.5,
  columns: int | None = None,
):
  """Returns a figure of pairs of clouds.

  Args:
    panels: {title: (model [M, 3], observation [N, 3])}; rows that are not finite are
      left out.
    view: elevation and azimuth in degrees.
    limit: points drawn of each cloud, evenly chosen.
    size: of a point.
    columns: panels in a row; all when None.
  """
  from matplotlib import pyplot as plt

  columns = columns or len(panels)
  rows = -(-len(panels) // columns)
  figure = plt.figure(figsize=(3.6 * columns, 3.8 * rows), layout="constrained")
  for number, (title, clouds) in enumerate(panels.items()):
    axis = figure.add_subplot(rows, columns, number + 1, projection="3d")
    kept = []
    for cloud, color, label in zip(
      clouds, (_MODEL, _OBSERVED), ("model", "observation"), strict=True
    ):
      cloud = np.asarray(cloud)
      cloud = cloud[np.isfinite(cloud).all(axis=1)]
      cloud = cloud[:: max(1, len(cloud) // limit)]
      axis.scatter(*cloud.T, s=size, c=color, label=label, linewidths=0)
      kept.append(cloud)
    both = np.concatenate(kept)
    if len(both):
      low, high = both.min(axis=0), both.max(axis=0)
      half = max((high - low).max() / 2, 1e-9)
      for set_limit, middle in zip(
        (axis.set_xlim, axis.set_ylim, axis.set_zlim), (low + high) / 2, strict=True
      ):
        set_limit(middle - half, middle + half)
    axis.set_box_aspect((1, 1, 1), zoom=1.35)
    axis.view_init(*view)
    axis.set_axis_off()
    axis.set_title(title, fontsize=11)
  handles, labels = figure.axes[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc="outside lower center", ncols=2, markerscale=6)
  return figure


def error_figure(rows: Sequence[Mapping]):
  """Returns a figure of errors over outliers and over noise, a point a trial.

  Args:
    rows: of evaluation.sweep.
  """
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.6), layout="constrained")
  methods = list(dict.fromkeys(row["method"] for row in rows))
  for axis, varied, other, label in (
    (axes[0], "outliers", "noise", "outlier ratio"),
    (axes[1], "noise", "outliers", "noise, diameters of the cloud"),
  ):
    for number, method in enumerate(methods):
      mine = [row for row in rows if row["method"] == method and not row[other]]
      mine.sort(key=lambda row: row[varied])
      if len(mine) < 2:
        continue
      levels = [row[varied] for row in mine]
      color = f"C{number}"
      axis.plot(
        levels, [row["mean_mm"] for row in mine], "o-", color=color, label=method
      )
      for row in mine:
        each = np.maximum(row["errors"], 1e-2)
        axis.plot([row[varied]] * len(each), each, ".", color=color, alpha=0.3)
    axis.set_yscale("log")
    axis.set_xlabel(label)
    axis.grid(alpha=0.3)
  axes[0].set_ylabel("pose error, mm (mean, and each trial)")
  handles, labels = axes[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc="outside right center", frameon=False)
  return figure


def keep_rigid(run, panels: Mapping, rows: Sequence[Mapping]) -> None:
  """Keeps the rigid figures in the run; arguments as above."""
  run.figure(
    "registration",
    cloud_figure(panels),
    "One trial: two samplings of a surface with outliers, before and after.",
  )
  run.figure("errors", error_figure(rows), f"{FILTERREG} beside {TRIMMED}, over all.")
