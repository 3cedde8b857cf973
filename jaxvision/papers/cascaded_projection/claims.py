"""The paper's comparisons, made again from what was measured here.

Rows are mappings: "network", "compression", "method", "seed", and what
`evaluation.Evaluator.row` returns. Each function records results, tables and claims in
a run (jaxvision.train.run.Run).
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

POINT = 0.01  # of accuracy

# Table 2: FLOPs left in %, accuracy and the baseline's own, ResNet-56 on CIFAR-10.
_PAPER = {
  "CaP + relaxation": "50.2 %: 92.92 of 93.51",
  "CaP + relaxation + FT": "50.2 %: 93.22 of 93.51",
  "L1 + relaxation": "72.4 %: 91.31 of 93.04",
}
# Table 1: ResNet-18 on CIFAR-100, half of the size.
_PAPER_ABLATION = {
  "uncompressed": "78.23",
  "scratch": "77.22",
  "CaP": "76.65",
  "random + relaxation": "76.27",
  "CaP + relaxation": "77.47",
}


def record_tables(run, rows: Sequence[Mapping[str, Any]]) -> None:
  """Records one table for each network and compression.

  Args:
    run: where to record.
    rows: see above.
  """
  for network, compression in dict.fromkeys(
    (row["network"], row["compression"]) for row in rows
  ):
    mine = [
      row
      for row in rows
      if (row["network"], row["compression"]) == (network, compression)
    ]
    seeds = sorted({row["seed"] for row in mine})
    is_half = compression == "0.5"  # what the paper's tables are of
    table = []
    for method in dict.fromkeys(row["method"] for row in mine):
      its = [row for row in mine if row["method"] == method]
      accuracies = [100 * row["accuracy"] for row in its]
      table.append(
        {
          "method": method,
          "accuracy, %": round(float(np.mean(accuracies)), 1),
          "of each seed": ", ".join(f"{value:.1f}" for value in accuracies),
          "error of features": round(float(np.mean([row["error"] for row in its])), 4),
          "FLOPs left, %": round(100 * its[0]["flops_left"], 1),
          "parameters": its[0]["parameters"],
          "activations left, %": round(100 * its[0]["activations_left"], 1),
          "paper, Table 1": _PAPER_ABLATION.get(method, "") if is_half else "",
          "paper, Table 2": _PAPER.get(method, "") if is_half else "",
        }
      )
    run.table(
      f"{network} compressed, {compression} of the channels",
      table,
      f"On the test images; seeds {', '.join(map(str, seeds))}. Table 1: ResNet-18 on "
      "CIFAR-100, half of its size; Table 2: ResNet-56 on CIFAR-10.",
    )


def claim_exactness(run, measured: Mapping[str, float]) -> None:
  """Claim 1: identical channels are merged without loss, and pruning loses.

  Args:
    run: where to record.
    measured: as `evaluation.exactness` returns it.
  """
  note = "every channel of the trained network's first layer duplicated"
  run.claim(
    "merging identical channels has an error below 1e-5",
    ours=measured["projected"],
    baseline=1e-5,
    better="lower",
    note=note,
  )
  run.claim(
    "that projection is a fixed point of its optimisation",
    ours=measured["moved"],
    baseline=1e-5,
    better="lower",
    note=note + "; largest change of P in a step on the reconstruction error",
  )
  run.claim(
    "L1 pruning of the same channels has an error above 0.05",
    ours=measured["pruned"],
    baseline=0.05,
    note=note,
  )


def claim_compression(run, rows: Sequence[Mapping[str, Any]], network: str) -> None:
  """Claims 2 to 4: what learned projections keep, before and after relaxation.

  Args:
    run: where to record.
    rows: see above.
    network: whose rows are compared.
  """
  rows = [row for row in rows if row["network"] == network]
  seeds = sorted({row["seed"] for row in rows})
  for compression in dict.fromkeys(row["compression"] for row in rows):

    def of(method, what="accuracy", compression=compression):
      return [
        row[what]
        for row in rows
        if row["method"] == method and row["compression"] == compression
      ]

    def compare(name, ours, baseline, points, of=of, compression=compression):
      if of(ours) and of(baseline):
        pairs = ", ".join(
          f"{100 * a:.1f} / {100 * b:.1f}"
          for a, b in zip(of(ours), of(baseline), strict=True)
        )
        run.claim(
          f"{compression} of the channels: {name}",
          ours=float(np.mean(of(ours))),
          baseline=float(np.mean(of(baseline))),
          margin=points * POINT,
          seeds=seeds,
          note=f"ours / baseline of each seed: {pairs}",
        )

    for method in dict.fromkeys(row["method"] for row in rows):
      if of(method):
        run.result(
          f"accuracy, {compression} of the channels, {method}",
          float(np.mean(of(method))),
          paper=_PAPER_ABLATION.get(method) if compression == "0.5" else None,
        )
    compare("CaP beats random projections by 50 points", "CaP", "random", 50)
    compare("CaP beats L1 pruning by 20 points", "CaP", "L1", 20)
    compare(
      "CaP stays within 10 points of the whole network", "CaP", "uncompressed", -10
    )
    is_half, is_quarter = compression == "0.5", compression == "0.25"
    cap, random = "CaP + relaxation", "random + relaxation"
    if is_half:
      compare("CaP beats random by 5 points, both relaxed", cap, random, 5)
      compare("relaxation costs CaP at most 1 point", cap, "CaP", -1)
    if is_quarter:
      compare("CaP beats random by 30 points, both relaxed", cap, random, 30)
      compare("CaP beats L1 by 8 points, both relaxed", cap, "L1 + relaxation", 8)
    shares = [
      a / b for a, b in zip(of("CaP", "error"), of("random", "error"), strict=True)
    ]
    run.claim(
      f"{compression} of the channels: learning at least halves the error of its start",
      ours=max(shares),
      baseline=0.5,
      better="lower",
      seeds=seeds,
      note="largest ratio over seeds of the final features' errors",
    )


def claim_layers(run, rows: Sequence[Mapping[str, Any]]) -> None:
  """Claim 5: a layer's error does not fall as it is compressed more.

  Args:
    run: where to record.
    rows: "layer", "ratio", "error" and "accuracy" of layers compressed alone.
  """
  layers = dict.fromkeys(row["layer"] for row in rows)
  table, steps = [], []
  for layer in layers:
    mine = sorted(
      (row for row in rows if row["layer"] == layer), key=lambda row: -row["ratio"]
    )
    table.append(
      {"layer": layer}
      | {f"error, {row['ratio']:g} left": round(row["error"], 4) for row in mine}
      | {f"accuracy, {row['ratio']:g} left": round(row["accuracy"], 3) for row in mine}
    )
    steps += [more["error"] / less["error"] for less, more in itertools.pairwise(mine)]
  run.table("One layer at a time", table, "Errors of layers compressed alone; seed 0.")
  if steps:
    run.claim(
      "the error of a layer does not fall as fewer channels are left",
      ours=min(steps),
      baseline=0.95,
      margin=1e-9,
      note="smallest ratio of neighbouring errors over all layers; tolerance 5 %",
    )
