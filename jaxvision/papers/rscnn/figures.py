"""Pictures: parts and normals as colours, accuracy under disturbance as bars."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.data.mesh_pictures import draw_mesh
from jaxvision.papers.rscnn import metrics
from jaxvision.papers.rscnn.data import Source

SIZE = 300  # pixels of a cloud's picture
DISC = 0.018  # radius of a point, in parts of the picture
# Colours that stay apart, also for those who see few of them (Okabe and Ito).
_PALETTE = np.array(
  [
    [0.00, 0.45, 0.70],
    [0.90, 0.62, 0.00],
    [0.00, 0.62, 0.45],
    [0.80, 0.47, 0.65],
    [0.34, 0.71, 0.91],
    [0.84, 0.37, 0.00],
    [0.94, 0.89, 0.26],
  ]
)
_TITLES = {
  "rscnn": "RS-CNN",
  "pointnet": "PointNet",
  "frames": "RS-CNN in local frames",
  "point_dropout": "RS-CNN, points dropped in training",
}
MOST_ROWS = 6  # of a figure of clouds
_PREFERRED = ("torus", "mug", "chair", "helix")  # bent and thin ones show the most
WRONG = (0.85, 0.1, 0.1)
RIGHT = (0.78, 0.8, 0.83)


def shown_classes(classes: Sequence[str]) -> list[str]:
  """Returns the classes of which a figure shows one shape each."""
  preferred = [name for name in _PREFERRED if name in classes]
  return preferred or list(classes[:MOST_ROWS])


def part_colors(parts: np.ndarray, first: int = 0) -> np.ndarray:
  """Returns colours [N, 3] of parts [N], of which `first` is the category's first."""
  return _PALETTE[(np.asarray(parts) - first) % len(_PALETTE)]


def normal_colors(normals: np.ndarray) -> np.ndarray:
  """Returns colours [N, 3] of unit normals [N, 3]: their axes as red, green, blue."""
  return np.clip(0.5 + 0.5 * np.asarray(normals), 0.0, 1.0)


def error_colors(errors: np.ndarray, largest: float) -> np.ndarray:
  """Returns colours [N, 3] of errors [N], from grey to red at `largest`."""
  share = np.clip(np.asarray(errors) / largest, 0.0, 1.0)[:, None]
  return (1 - share) * RIGHT + share * np.array(WRONG)


def draw_cloud(
  points: np.ndarray, colors: np.ndarray | None = None, *, size: int = SIZE
) -> np.ndarray:
  """Returns a picture [size, size, 3] of a cloud [N, 3], z up."""
  return draw_mesh(points, colors=colors, size=size, up="z", radius=DISC)


def cloud_figure(
  rows: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]],
  labels: Sequence[str],
  legend: Sequence[str] = (),
):
  """Returns a figure of clouds, a row each.

  Args:
    rows: {title: (points [N, 3], colours [N, 3])} of each row, all alike.
    labels: what stands before each row.
    legend: names of the parts, in the order of their colours.
  """
  from matplotlib import pyplot as plt

  titles = list(rows[0])
  figure, axes = plt.subplots(
    len(rows),
    len(titles),
    figsize=(1.75 * len(titles) + 0.3, 1.8 * len(rows) + 0.25),
    layout="constrained",
    squeeze=False,
  )
  for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
    for axis, title in zip(axes[number], titles, strict=True):
      axis.imshow(draw_cloud(*row[title]))
      axis.set_xticks([])
      axis.set_yticks([])
      for spine in axis.spines.values():
        spine.set_visible(False)
      if number == 0:
        axis.set_title(title, fontsize=9)
    axes[number, 0].set_ylabel(label, fontsize=9)
  if legend:
    colors = part_colors(np.arange(len(legend)))
    dots = [
      plt.Line2D([], [], color=color, marker="o", linestyle="", label=name)
      for name, color in zip(legend, colors, strict=True)
    ]
    figure.legend(
      handles=dots,
      loc="outside lower center",
      ncols=min(len(dots), 6),
      frameon=False,
      fontsize=8,
      handletextpad=0.1,
    )
  return figure


def parts_figure(
  output: np.ndarray, seen: Mapping[str, np.ndarray], about: Source
) -> Any:
  """Returns a figure of one shape of each category: true parts, ours, what is wrong.

  Args:
    output: [E, N, K] logits of parts of all examples.
    seen: the examples: "points", "parts", "label".
    about: their source.
  """
  rows, labels = [], list(about.classes[:MOST_ROWS])
  for label, name in enumerate(labels):
    index = int(np.flatnonzero(seen["label"] == label)[0])
    own = about.parts[name]
    found = metrics.predicted_parts(output[index], own)
    points, truth = seen["points"][index], seen["parts"][index]
    rows.append(
      {
        "truth": (points, part_colors(truth, own[0])),
        "RS-CNN": (points, part_colors(found, own[0])),
        "wrong": (points, error_colors(found != truth, 1.0)),
      }
    )
  return cloud_figure(rows, labels)


def normals_figure(
  outputs: Mapping[str, np.ndarray], seen: Mapping[str, np.ndarray], about: Source
) -> Any:
  """Returns a figure of a few shapes: true normals, and those of each network.

  Args:
    outputs: {title: unit normals [E, N, 3] of all examples}.
    seen: the examples: "points", "normals", "label".
    about: their source.
  """
  rows, labels = [], shown_classes(about.classes)
  for name in labels:
    index = int(np.flatnonzero(seen["label"] == about.classes.index(name))[0])
    points, truth = seen["points"][index], seen["normals"][index]
    row = {"truth": (points, normal_colors(truth))}
    for title, output in outputs.items():
      row[title] = (points, normal_colors(output[index]))
      wrong = 1 - np.sum(output[index] * truth, axis=-1)
      row[f"{title}, error"] = (points, error_colors(wrong, 1.0))
    rows.append(row)
  return cloud_figure(rows, labels)


def robustness_figure(
  rows: Sequence[Mapping], conditions: Sequence[str], variants: Sequence[str]
):
  """Returns a figure of accuracy under each condition, a bar a network.

  Args:
    rows: {"variant", condition: accuracy}; of several seeds a line is drawn from the
      worst to the best.
    conditions: groups of bars.
    variants: the networks, in their order.
  """
  from matplotlib import pyplot as plt

  figure, axis = plt.subplots(figsize=(8.4, 3.4), layout="constrained")
  width = 0.8 / len(variants)
  places = np.arange(len(conditions))
  for number, variant in enumerate(variants):
    values = 100 * np.array(
      [[row[c] for c in conditions] for row in rows if row["variant"] == variant]
    )
    mean = values.mean(axis=0)
    spread = [mean - values.min(axis=0), values.max(axis=0) - mean]
    axis.bar(
      places + (number - (len(variants) - 1) / 2) * width,
      mean,
      width,
      yerr=spread if len(values) > 1 else None,
      error_kw={"linewidth": 1},
      color=_PALETTE[number % len(_PALETTE)],
      label=_TITLES.get(variant, variant),
    )
  axis.set_xticks(places, [c.replace(" of the", "\nof the") for c in conditions])
  axis.tick_params(labelsize=8)
  axis.set_ylim(0, 105)
  axis.set_ylabel("accuracy, %")
  axis.grid(axis="y", alpha=0.3)
  axis.set_axisbelow(True)
  axis.legend(
    frameon=False,
    fontsize=8,
    ncols=len(variants),
    loc="upper center",
    bbox_to_anchor=(0.5, 1.14),
  )
  return figure
