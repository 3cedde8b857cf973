"""The figures of the report: what the forensic network sees, and what it mistakes."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.papers.content_authentication.evaluation import DJPEG, accuracy


def keep_statistics(
  run,
  rows: Sequence[Mapping],
  titles: Mapping[str, str],
  weight: float,
  classes: Sequence[str],
) -> None:
  """Keeps the confusions and the trade-off in the run; arguments as below."""
  run.figure(
    "confusions",
    confusion_figure(rows, titles, weight, classes),
    "What the forensic network takes each manipulation for, over all seeds.",
  )
  run.figure(
    "trade_off",
    trade_off_figure(rows),
    "Fidelity against right verdicts behind the channel; a point a seed.",
  )


def keep_photograph(
  run,
  seen: Mapping[str, Mapping[str, np.ndarray]],
  target: np.ndarray,
  classes: Sequence[str],
) -> None:
  """Keeps the figures of one photograph in the run.

  Args:
    run: where to.
    seen: {title: what Evaluator.examine returns} of each way of training.
    target: [H, W, 3] in [0, 1], the photograph that the pipelines should develop.
    classes: the manipulations.
  """
  run.figure(
    "verdicts",
    verdict_figure(seen, classes),
    "One photograph in every version, and the verdict behind the channel.",
  )
  developed = {title: versions["developed"] for title, versions in seen.items()}
  run.figure(
    "development",
    development_figure({"target": target} | developed),
    "What joint training does to the picture.",
  )


def confusion_figure(
  rows: Sequence[Mapping],
  titles: Mapping[str, str],
  weight: float,
  classes: Sequence[str],
):
  """Returns a matplotlib figure of one confusion matrix a mode, over all seeds.

  Args:
    rows: one a training: "mode", "weight" and "confusion", {codec: [K, K] counts} of
      verdicts (columns) on manipulations (rows).
    titles: of the modes.
    weight: the λ of mode "joint" to show.
    classes: the K manipulations.
  """
  from matplotlib import pyplot as plt

  modes = [mode for mode in titles if any(row["mode"] == mode for row in rows)]
  figure, axes = plt.subplots(
    1, len(modes), figsize=(3.6 * len(modes), 3.9), layout="constrained"
  )
  for axis, mode in zip(axes, modes, strict=True):
    counts = sum(
      row["confusion"][DJPEG]
      for row in rows
      if row["mode"] == mode and (mode != "joint" or row["weight"] == weight)
    )
    shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    axis.imshow(shares, vmin=0, vmax=100, cmap="Blues")
    for (row, column), share in np.ndenumerate(shares):
      color = "white" if share > 55 else "black"
      axis.text(column, row, f"{share:.0f}", ha="center", va="center", color=color)
    axis.set_title(f"{titles[mode]}\n{100 * accuracy(counts):.1f} % right")
    axis.set_xticks(range(len(classes)), classes, rotation=40, ha="right")
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("verdict, %")
  axes[0].set_ylabel("what was done")
  return figure


def verdict_figure(
  seen: Mapping[str, Mapping[str, np.ndarray]], classes: Sequence[str]
):
  """Returns a figure of one photograph's versions before and after the channel.

  Args:
    seen: {title: versions} of each pipeline: "published" [K, H, W, 3], "received" [K,
      h, w, 3], "probabilities" [K, K] of every class (columns) for each of them.
    classes: the K manipulations.
  """
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(
    2 * len(seen),
    len(classes),
    figsize=(2.1 * len(classes) + 0.4, 4.6 * len(seen)),
    layout="constrained",
    squeeze=False,
  )
  for number, (title, versions) in enumerate(seen.items()):
    before, after = axes[2 * number], axes[2 * number + 1]
    before[0].set_ylabel(f"{title}\nas published")
    after[0].set_ylabel("after the channel")
    for column, name in enumerate(classes):
      before[column].imshow(np.clip(versions["published"][column], 0, 1))
      before[column].set_title(name)
      after[column].imshow(np.clip(versions["received"][column], 0, 1))
      probabilities = versions["probabilities"][column]
      verdict = int(np.argmax(probabilities))
      after[column].set_xlabel(
        f"{classes[verdict]} {100 * probabilities[verdict]:.0f} %",
        color="#1a7f37" if verdict == column else "#b42318",
      )
  for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])
  return figure


def development_figure(images: Mapping[str, np.ndarray], gain: float = 4.0):
  """Returns a figure of one photograph as each pipeline develops it.

  Below each is its difference to the first one, amplified around grey.

  Args:
    images: {title: [H, W, 3] in [0, 1]}, the target first.
    gain: factor of the difference.
  """
  from matplotlib import pyplot as plt

  figure, axes = plt.subplots(
    2, len(images), figsize=(2.8 * len(images), 5.9), layout="constrained"
  )
  target = next(iter(images.values()))
  for column, (title, image) in enumerate(images.items()):
    axes[0, column].imshow(np.clip(image, 0, 1))
    axes[0, column].set_title(title)
    axes[1, column].imshow(np.clip(0.5 + gain * (image - target), 0, 1))
  axes[1, 0].set_ylabel(f"difference × {gain:g}")
  for axis in axes.flat:
    axis.set_xticks([])
    axis.set_yticks([])
  return figure


def trade_off_figure(rows: Sequence[Mapping]):
  """Returns a figure of accuracy over fidelity, one colour a way of training.

  Args:
    rows: one a training: "mode", "weight", "psnr" in dB and "accuracy" by codec.
  """
  from matplotlib import pyplot as plt

  figure, axis = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
  settings = {
    (row["mode"], row["weight"]) for row in rows if row["mode"] != "no_channel"
  }
  for mode, weight in sorted(settings):
    mine = [row for row in rows if (row["mode"], row["weight"]) == (mode, weight)]
    axis.plot(
      [row["psnr"] for row in mine],
      [100 * row["accuracy"][DJPEG] for row in mine],
      "o",
      label="F" if mode == "fixed" else f"F+N, λ = {weight:g}",
      alpha=0.8,
    )
  axis.set_xlabel("fidelity, PSNR in dB")
  axis.set_ylabel("right verdicts, %")
  axis.grid(alpha=0.3)
  axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
  return figure
