"""The paper's comparisons, made again on rendered bodies."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.papers.graph_cmr import dataset, evaluation
from jaxvision.papers.graph_cmr.body import Surface

Rows = Mapping[tuple[str, int], Mapping[str, float]]

SMOOTHER = 0.6  # of the fully connected network's roughness
BETTER = 0.95  # of the joint error of regressed parameters
READ_COST = 0.2  # of the joint error
READ_ANGLE = 10.0  # degrees
ROUGHER = 1.3  # without neighbours
LOSS_GROWS = 1.2  # without normalisation

# Table 1, Human3.6M protocol 2 in millimetres: MPJPE and reconstruction error.
PAPER = {
  "graph": "102.1 / 69.0",
  "graph, read": "113.2 / 61.3",
  "fc": "200.8 / 105.8",
  "parameters": "– / 77.6",
}

# Tables 2 and 3, RGB: of the mesh and of what is read off it; Table 5.
_PROTOCOLS = {
  ("protocol1", ""): (75.0, 51.2),
  ("protocol2", ""): (72.7, 49.3),
  ("protocol1", "read "): (74.7, 51.9),
  ("protocol2", "read "): (71.9, 50.1),
}
_SEGMENTATION = (0.9146, 0.87, 0.8869, 0.66)


def means(rows: Rows) -> list[dict[str, Any]]:
  """Returns a row for each variant: means over seeds, of what is read in its own.

  Args:
    rows: {(variant, seed): errors}.
  """
  table = []
  for variant in dict.fromkeys(name for name, _ in rows):
    own = [row for (name, _), row in rows.items() if name == variant]
    for prefix, title in (("", variant), ("read ", f"{variant}, read")):
      if f"{prefix}MPJPE" not in own[0]:
        continue
      errors = [row[f"{prefix}MPJPE"] for row in own]
      table.append(
        {
          "variant": title,
          "MPJPE": float(np.mean(errors)),
          "lowest to highest": f"{min(errors):.1f} to {max(errors):.1f}",
          **{
            name: float(np.mean([row[prefix + name] for row in own]))
            for name in ("reconstruction", "shape", "roughness")
          },
          "seeds": len(own),
          "paper, MPJPE / reconstruction": PAPER.get(title, ""),
        }
      )
  return table


def claim_all(
  run,
  rows: Rows,
  training_loss: Mapping[tuple[str, int], float],
  read: Mapping[int, Mapping[str, float]],
  seeds: Sequence[int],
) -> None:
  """Records what can be compared among the variants that were trained.

  Args:
    run: the Run.
    rows: {(variant, seed): errors on test bodies}.
    training_loss: {(variant, seed): loss of the mesh on training pictures}.
    read: {seed: errors of what is read off true meshes}.
    seeds: of the trainings.
  """

  def shared(*names):
    return [s for s in seeds if all((name, s) in rows for name in names)]

  def mean(table, name, own, measure=None):
    values = [
      table[name, s] if measure is None else table[name, s][measure] for s in own
    ]
    return float(np.mean(values))

  own = shared("graph", "fc")
  if own:
    graph = mean(rows, "graph", own, "roughness")
    run.claim(
      f"The graph network's errors are at most {SMOOTHER} times as rough (mm of "
      "Laplacian) as the fully connected network's",
      graph,
      SMOOTHER * mean(rows, "fc", own, "roughness"),
      "lower",
      seeds=own,
    )
    run.claim(
      "The graph network's joint error is not above the fully connected network's (mm)",
      mean(rows, "graph", own, "MPJPE"),
      mean(rows, "fc", own, "MPJPE"),
      "lower",
      seeds=own,
      paper="102.1 vs 200.8",
    )
  own = shared("graph", "parameters")
  if own:
    run.claim(
      f"The regressed mesh's joint error is at most {BETTER} times that of regressed "
      "parameters (mm)",
      mean(rows, "graph", own, "MPJPE"),
      BETTER * mean(rows, "parameters", own, "MPJPE"),
      "lower",
      seeds=own,
      paper="69.0 vs 77.6 (reconstruction error)",
    )
  own = [s for s in shared("graph") if "read MPJPE" in rows["graph", s]]
  if own:
    mesh, off = (mean(rows, "graph", own, f"{p}MPJPE") for p in ("", "read "))
    run.claim(
      f"Parameters read off the mesh change its joint error by at most {READ_COST:.0%}",
      abs(off - mesh) / mesh,
      READ_COST,
      "lower",
      seeds=own,
      paper="102.1 vs 113.2",
    )
  own = [s for s in seeds if s in read]
  if own:
    angle, trivial = (
      float(np.mean([read[s][name] for s in own]))
      for name in ("rotation", "mean rotation")
    )
    run.claim(
      f"Rotations read off true meshes are wrong by less than {READ_ANGLE:g} degrees",
      angle,
      READ_ANGLE,
      "lower",
      seeds=own,
      note=f"each joint's mean rotation would be wrong by {trivial:.1f} degrees",
    )
  own = shared("graph", "no_neighbours")
  if own:
    run.claim(
      f"Without neighbours errors are at least {ROUGHER} times as rough (mm)",
      mean(rows, "no_neighbours", own, "roughness"),
      ROUGHER * mean(rows, "graph", own, "roughness"),
      "higher",
      seeds=own,
    )
  own = shared("graph", "no_norm")
  if own:
    run.claim(
      f"Without normalisation the training loss is at least {LOSS_GROWS} times as high",
      mean(training_loss, "no_norm", own),
      LOSS_GROWS * mean(training_loss, "graph", own),
      "higher",
      seeds=own,
    )


def record_test_sets(
  run,
  name: str,
  predictor: evaluation.Predictor,
  surface: Surface,
  load: Callable,
  prepare: Callable,
  count: int,
  size: int,
) -> None:
  """Records a network's errors on Human3.6M, UP-3D and LSP, beside the paper's.

  Args:
    run: the Run.
    name: of the network.
    predictor: the network.
    surface: of its body.
    load: (data set, split) -> examples.
    prepare: makes one of a batch.
    count: how many of each set, at most.
    size: of the batches.
  """
  arguments = prepare, count, size
  for protocol in ("protocol1", "protocol2"):
    source = load("h36m", protocol)
    measured = evaluation.measure_joints(predictor, source, *arguments)
    for measure, value in measured.items():
      prefix = "read " if measure.startswith("read ") else ""
      theirs = _PROTOCOLS[protocol, prefix]["reconstruction" in measure]
      run.result(f"{name}, {protocol}: {measure}", value, theirs, "mm")
  source = load("up3d", "test")
  measured = evaluation.measure(predictor, surface, source, *arguments)
  run.result(f"{name}, UP-3D: shape error", measured["shape"], "", "mm")
  source = load("lsp", "test")
  measured = evaluation.measure_segmentation(
    predictor, surface, source, prepare, dataset.labels, count, size
  )
  for (measure, value), one in zip(measured.items(), _SEGMENTATION, strict=True):
    run.result(f"{name}, LSP: {measure}", value, one)
