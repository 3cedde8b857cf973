"""The figures of the report and of predictions."""

from collections.abc import Mapping, Sequence

import numpy as np

_COLORS = {
  "input": "#b8b8b8",
  "spectral": "#8fb3d9",
  "MatchEIG": "#4f86c6",
  "MatchALS": "#7fb069",
  "MatchLIFT": "#4b7f52",
  "ours": "#d1495b",
}


def recall_figure(rows: Sequence[Mapping], methods: Sequence[str]):
  """Returns a figure of recall by method and set, with the spread over problems.

  Args:
    rows: one a set: "set" and, by method, the recalls [B]; a method may be missing.
    methods: in their order.
  """
  from matplotlib import pyplot as plt

  width = 0.86 / len(methods)
  figure, axis = plt.subplots(figsize=(1.9 * len(rows) + 1.8, 4), layout="constrained")
  for index, method in enumerate(methods):
    at = [place for place, row in enumerate(rows) if method in row]
    values = [np.asarray(rows[place][method]) for place in at]
    where = np.array(at) + (index - (len(methods) - 1) / 2) * width
    means = [value.mean() for value in values]
    axis.bar(where, means, width * 0.94, color=_COLORS[method], label=method)
    spread = [value.std() for value in values]
    axis.errorbar(where, means, spread, fmt="none", ecolor="#333333", lw=0.8)
    if method == methods[-1]:
      for x, mean, error in zip(where, means, spread, strict=True):
        axis.text(x, mean + error + 0.015, f"{mean:.2f}", ha="center", fontsize=8)
  labels = [row["set"].replace(", ", "\n", 1) for row in rows]
  axis.set_xticks(range(len(rows)), labels, fontsize=9)
  axis.set_ylim(0, 1.12)
  axis.set_ylabel("recall")
  axis.grid(axis="y", alpha=0.3)
  axis.set_axisbelow(True)
  axis.legend(
    ncols=len(methods), loc="upper center", bbox_to_anchor=(0.5, 1.13), frameon=False
  )
  return figure


def certainty_figure(sets: Mapping[str, tuple[np.ndarray, np.ndarray]], bins: int = 8):
  """Returns a figure of the share of right matches over their certainty.

  Args:
    sets: {name: (certainty, whether right)} of matches, any shape.
    bins: of equally many matches each.
  """
  from matplotlib import pyplot as plt

  figure, (curve, spread) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
  for name, (certainty, is_right) in sets.items():
    certainty, is_right = np.ravel(certainty), np.ravel(is_right)
    order = np.argsort(certainty, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    means = [certainty[part].mean() for part in parts]
    curve.plot(means, [is_right[part].mean() for part in parts], "o-", ms=4, label=name)
    errors = np.cumsum(~is_right[order[::-1]].astype(bool)) / np.arange(
      1, len(order) + 1
    )
    shares = np.arange(1, len(order) + 1) / len(order)
    begin = len(order) // 50  # a share of a few matches says nothing
    spread.plot(100 * shares[begin:], 100 * errors[begin:], label=name)
  curve.plot([0, 1], [0, 1], ":", color="#888888")
  curve.set_xlabel("certainty of a match (mean of a bin)")
  curve.set_ylabel("share of right matches")
  curve.set_xlim(0, 1.02)
  curve.set_ylim(0, 1.02)
  spread.set_xlabel("matches kept, the most certain first, %")
  spread.set_ylabel("wrong among them, %")
  spread.set_ylim(bottom=0)
  for axis in (curve, spread):
    axis.grid(alpha=0.3)
  curve.legend(frameon=False, fontsize=8)
  return figure


def convergence_figure(runs: Mapping[str, np.ndarray]):
  """Returns a figure of U over iterations; one thin line a seed.

  Args:
    runs: {name: [B, iterations + 1]}; each problem's least U is that of all runs.
  """
  from matplotlib import pyplot as plt

  figure, axis = plt.subplots(figsize=(6.8, 3.8), layout="constrained")
  least = np.min([energies.min(axis=1) for energies in runs.values()], axis=0)
  colors = (_COLORS["ours"], _COLORS["MatchEIG"], _COLORS["MatchALS"])
  for (name, energies), color in zip(runs.items(), colors, strict=True):
    for index, energy in enumerate(energies - least[:, None]):
      label = name if index == 0 else None
      axis.plot(energy + 1e-2, color=color, lw=1, alpha=0.8, label=label)
  axis.set_yscale("log")
  axis.set_xlabel("iteration")
  axis.set_ylabel("U above the least that was found")
  axis.grid(alpha=0.3)
  axis.legend(frameon=False)
  return figure


def match_figure(
  images: Sequence[np.ndarray],
  points: Sequence[np.ndarray],
  panels: Sequence[Mapping],
):
  """Returns a figure of pairs of images with their matches, coloured by certainty.

  Args:
    images: [H, W] grey in [0, 1].
    points: [n, 2] key points of each image, pixels.
    panels: one a pair: "images" (i, j), "columns" [n], "certainty" [n], "title" and,
      where it is known, "right" [n] bool: wrong matches are dashed.
  """
  from matplotlib import collections, colors
  from matplotlib import pyplot as plt

  columns = min(2, len(panels))
  rows = -(-len(panels) // columns)
  shapes = [[images[index].shape for index in panel["images"]] for panel in panels]
  aspect = max(max(one[0], other[0]) / (one[1] + other[1] + 8) for one, other in shapes)
  figure, axes = plt.subplots(
    rows,
    columns,
    figsize=(6.2 * columns + 0.8, (6.2 * aspect + 0.4) * rows),
    layout="constrained",
    squeeze=False,
  )
  scale = colors.Normalize(0, 1)
  drawn = None
  for axis in axes.flat:
    axis.axis("off")
  for axis, panel in zip(axes.flat, panels, strict=False):
    one, other = panel["images"]
    left, right = images[one], images[other]
    canvas = np.ones((max(len(left), len(right)), left.shape[1] + right.shape[1] + 8))
    canvas[: len(left), : left.shape[1]] = left
    shift = np.array([left.shape[1] + 8, 0])
    canvas[: len(right), shift[0] :] = right
    axis.imshow(canvas, cmap="gray", vmin=0, vmax=1)
    ends = np.stack([points[one], points[other][panel["columns"]] + shift], axis=1)
    is_right = np.asarray(panel.get("right", np.ones(len(ends), bool)))
    for chosen, style in ((is_right, "solid"), (~is_right, "dashed")):
      lines = collections.LineCollection(
        ends[chosen], cmap="RdYlGn", norm=scale, linewidths=1.3, linestyles=style
      )
      lines.set_array(np.asarray(panel["certainty"])[chosen])
      drawn = axis.add_collection(lines)
    dots = ends.reshape(-1, 2)
    axis.plot(*dots.T, "o", ms=3, mfc="white", mec="black", mew=0.6)
    axis.set_title(panel["title"], fontsize=10)
  figure.colorbar(drawn, ax=axes, shrink=0.7, label="certainty", pad=0.01)
  return figure


def certainty_map_figure(
  certainty: np.ndarray, maps: np.ndarray, titles: Sequence[str]
):
  """Returns a figure of certainty maps [K, n, n], the match of each row marked."""
  from matplotlib import pyplot as plt

  count = len(certainty)
  columns = min(4, count)
  rows = -(-count // columns)
  figure, axes = plt.subplots(
    rows,
    columns,
    figsize=(2.9 * columns + 0.6, 3.1 * rows),
    layout="constrained",
    squeeze=False,
  )
  for axis in axes.flat:
    axis.axis("off")
  for axis, values, match, title in zip(
    axes.flat, certainty, maps, titles, strict=False
  ):
    axis.axis("on")
    drawn = axis.imshow(values, vmin=0, vmax=1, cmap="viridis")
    axis.plot(
      np.argmax(match, axis=1),
      np.arange(len(match)),
      "s",
      ms=4,
      mfc="none",
      mec="white",
    )
    axis.set_title(title, fontsize=10)
    axis.set_xlabel("point of the second image", fontsize=8)
    axis.set_ylabel("point of the first", fontsize=8)
  figure.colorbar(drawn, ax=axes, shrink=0.7, label="certainty")
  return figure
