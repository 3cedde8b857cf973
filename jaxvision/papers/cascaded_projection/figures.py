"""The figures of the report: accuracy and error against compression."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_COLORS = {
  "CaP": "#1f5fbf",
  "CaP, PCA start": "#6f9fd8",
  "random": "#999999",
  "L1": "#d9822b",
  "PCA": "#7a4fb5",
  "PCA, re-projected": "#2e9e6b",
  "scratch": "#b03060",
  "uncompressed": "#222222",
}


def keep(
  run,
  rows: Sequence[Mapping[str, Any]],
  curve: Sequence[Mapping[str, Any]],
  layers: Sequence[Mapping[str, Any]],
  network: str,
) -> None:
  """Keeps the figures in the run.

  Args:
    run: where to.
    rows: as `claims` describes them.
    curve: "ratio", "method", "accuracy", "flops_left" of the network at many ratios.
    layers: "layer", "ratio", "error", "accuracy" of layers compressed alone.
    network: the main one.
  """
  rows = [row for row in rows if row["network"] == network]
  run.figure(
    "methods",
    methods_figure(rows),
    "Accuracy of each way to the same widths; a point a seed, a bar their mean.",
  )
  if curve:
    run.figure(
      "compression",
      compression_figure(rows, curve, layers),
      "Left: the whole network compressed, without relaxation; right: one layer at a "
      "time.",
    )


def methods_figure(rows: Sequence[Mapping[str, Any]]):
  """Returns a figure of accuracy by method, one panel a compression."""
  from matplotlib import pyplot as plt

  compressions = list(dict.fromkeys(row["compression"] for row in rows))
  methods = list(dict.fromkeys(row["method"] for row in rows))
  figure, axes = plt.subplots(
    1,
    len(compressions),
    figsize=(1.8 + 3.6 * len(compressions), 0.8 + 0.32 * len(methods)),
    layout="constrained",
    sharey=True,
    squeeze=False,
  )
  for axis, compression in zip(axes[0], compressions, strict=True):
    for place, method in enumerate(methods):
      shares = [
        100 * row["accuracy"]
        for row in rows
        if row["method"] == method and row["compression"] == compression
      ]
      color = _COLORS[method.split(" + ")[0]]
      axis.barh(place, np.mean(shares), color=color, alpha=0.45, height=0.7)
      axis.plot(shares, [place] * len(shares), "o", color=color, markersize=4)
    axis.set_title(f"{compression} of the channels left", fontsize=10)
    axis.set_xlabel("accuracy, %")
    axis.set_xlim(0, 102)
    axis.grid(axis="x", alpha=0.3)
  axes[0, 0].set_yticks(range(len(methods)), methods)
  axes[0, 0].invert_yaxis()
  return figure


def compression_figure(
  rows: Sequence[Mapping[str, Any]],
  curve: Sequence[Mapping[str, Any]],
  layers: Sequence[Mapping[str, Any]],
):
  """Returns a figure of accuracy and of layers' errors against compression."""
  from matplotlib import pyplot as plt

  figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.1), layout="constrained")
  whole = np.mean([r["accuracy"] for r in rows if r["method"] == "uncompressed"])
  left.axhline(100 * whole, color="#222222", linewidth=1, linestyle="--")
  left.text(99, 100 * whole + 1, "uncompressed", fontsize=8, ha="right")
  for method in dict.fromkeys(row["method"] for row in curve):
    mine = sorted(
      (r for r in curve if r["method"] == method), key=lambda r: r["flops_left"]
    )
    left.plot(
      [100 - 100 * row["flops_left"] for row in mine],
      [100 * row["accuracy"] for row in mine],
      "o-",
      color=_COLORS[method],
      label=method,
      markersize=4,
    )
  left.set_xlim(0, 100)
  left.set_ylim(0, 106)
  left.set_xlabel("FLOPs saved, %")
  left.set_ylabel("accuracy, %")
  left.set_title("all layers at once, no relaxation", fontsize=10)
  left.legend(frameon=False, fontsize=8, loc=(0.02, 0.3))
  for layer in dict.fromkeys(row["layer"] for row in layers):
    mine = sorted((r for r in layers if r["layer"] == layer), key=lambda r: -r["ratio"])
    removed = [100 - 100 * row["ratio"] for row in mine]
    right.plot(removed, [row["error"] for row in mine], "o-", label=layer, markersize=4)
  right.set_xlabel("channels removed, %")
  right.set_ylabel("normalised error of features")
  right.set_ylim(bottom=0)
  right.set_title("one layer at a time", fontsize=10)
  right.legend(frameon=False, fontsize=8)
  for axis in (left, right):
    axis.grid(alpha=0.3)
  return figure
