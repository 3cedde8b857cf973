"""What the paper compares, compared again on the stand-in shapes.

`rows` maps (variant, seed) to what `experiments.occupancy_networks.measure` returns.
"""

from collections.abc import Mapping, Sequence

import numpy as np

PAPER_TABLE_1 = "image: ONet 0.571, R2N2 0.493"
PAPER_TABLE_2 = "point clouds: ONet 0.778, R2N2 0.565"
PAPER_SAMPLING = "image: uniform 0.571, equal 0.475, surface 0.536, 64 points 0.554"
# Mean IoU over 13 classes in Tables 1 to 4.
PAPER_IOU = {
  "image": 0.571,
  "image_r2n2": 0.493,
  "image_equal": 0.475,
  "image_surface": 0.536,
  "image_few": 0.554,
  "image_no_resnet": 0.559,
  "image_no_cbn": 0.522,
  "pointcloud": 0.778,
  "pointcloud_r2n2": 0.565,
  "voxels": 0.703,
  "representation": 0.89,
}

Rows = Mapping[tuple[str, int], Mapping]


def claim_all(
  run, rows: Rows, grids: Mapping[str, float], seeds: Sequence[int]
) -> None:
  """Claims whatever the trained variants allow.

  Args:
    run: the Run.
    rows: of all trainings.
    grids: IoU of voxel grids themselves: "input", and "16" for the trained shapes of
      representation power.
    seeds: of the run.
  """
  trained = {variant for variant, _ in rows}
  if {"pointcloud", "pointcloud_r2n2"} <= trained:
    claim_completion(run, rows, seeds)
  if {"pointcloud", "pointcloud_equal"} <= trained:
    claim_sampling(run, rows, seeds)
  if "representation" in trained:
    run.claim(
      "C4: one network holds many shapes better than 16^3 voxels each",
      ours=_mean(rows, "representation", "iou at τ"),
      baseline=grids["16"],
      margin=0.05,
      seeds=_seeds(rows, "representation"),
      paper="0.89 on 4746 chairs",
      note="IoU; trained and measured on the same shapes, on other points.",
    )
  if "voxels" in trained:
    run.claim(
      "C5: voxel super-resolution improves on its input",
      ours=_mean(rows, "voxels", "best iou"),
      baseline=grids["input"],
      margin=0.02,
      seeds=_seeds(rows, "voxels"),
      paper="0.703 against 0.631",
      note="IoU of points of unseen shapes, at the best τ.",
    )


def claim_completion(run, rows: Rows, seeds: Sequence[int]) -> None:
  """C1: against the decoder to voxels, on the same encoder after equal steps."""
  run.claim(
    "C1: point-cloud completion is better than R2N2's voxels",
    ours=_mean(rows, "pointcloud", "best iou"),
    baseline=_mean(rows, "pointcloud_r2n2", "best iou"),
    margin=0.05,
    seeds=seeds,
    paper=PAPER_TABLE_2,
    note="IoU of points of unseen shapes after equal steps, each at its best τ.",
  )


def claim_sampling(run, rows: Rows, seeds: Sequence[int]) -> None:
  """C2: as many points inside as outside bias the surface outwards."""
  volume = _mean(rows, "pointcloud_equal", "volume at 0.5")
  uniform = _mean(rows, "pointcloud", "volume at 0.5")
  run.claim(
    "C2: equal sampling thickens shapes",
    ours=volume / max(uniform, 1e-6),
    baseline=1.3,
    better="higher",
    seeds=seeds,
    paper=PAPER_SAMPLING,
    note=f"Predicted over true volume at τ = 0.5: {volume:.2f} of equal sampling over "
    f"{uniform:.2f} of uniform, against 1.3.",
  )
  run.claim(
    "C2: uniform sampling is at least as accurate at τ = 0.2",
    ours=_mean(rows, "pointcloud", "iou at 0.2"),
    baseline=_mean(rows, "pointcloud_equal", "iou at 0.2"),
    seeds=seeds,
    paper=PAPER_SAMPLING,
    note="IoU of points of unseen shapes. Each at its own best τ: uniform "
    f"{_mean(rows, 'pointcloud', 'best iou'):.3f}, equal "
    f"{_mean(rows, 'pointcloud_equal', 'best iou'):.3f}.",
  )


def claim_extraction(run, evaluated: int, whole: int, difference: float) -> None:
  """C3: MISE gives the dense mesh for a fraction of the points."""
  run.claim(
    "C3: MISE evaluates a fifth of the dense grid or less",
    ours=evaluated / whole,
    baseline=0.2,
    better="lower",
    paper="the same mesh, in 3 s",
    note=f"{evaluated} of {whole} points, of a trained network.",
  )
  run.claim(
    "C3: MISE's mesh is the dense one",
    ours=difference,
    baseline=1e-5,
    better="lower",
    note="Largest distance of their vertices; infinite where their faces differ.",
  )


def claim_refinement(run, before: Sequence[float], after: Sequence[float]) -> None:
  """C3: refinement brings the surface to the level."""
  run.claim(
    "C3: refinement brings meshes closer to the level",
    ours=float(np.mean(after)),
    baseline=float(np.mean(before)),
    better="lower",
    paper="used for all its pictures",
    note=f"Mean |σ(f) - τ| at random points of {len(before)} simplified meshes.",
  )


def record(run, rows: Rows) -> None:
  """Records the table of all variants, and each one's IoU."""
  found = table(rows)
  run.table("points", found, "Means over the seeds; IoU and volume of points.")
  for row in found:
    if row.get("iou at τ") not in (None, ""):
      paper = row["paper, IoU at its own scale"] or None
      run.result(f"{row['variant']}: IoU", row["iou at τ"], paper=paper)


def table(rows: Rows) -> list[dict]:
  """Returns a row for each variant: means over the seeds."""
  found = []
  for variant in dict.fromkeys(name for name, _ in rows):
    seeds = _seeds(rows, variant)
    row = {"variant": variant, "seeds": len(seeds)}
    for key in dict.fromkeys(key for one in rows.values() for key in one):
      values = [rows[variant, seed].get(key) for seed in seeds]
      if all(isinstance(value, int | float) for value in values):
        row[key] = float(np.mean(values))
      else:
        row[key] = ""
    row["paper, IoU at its own scale"] = PAPER_IOU.get(variant, "")
    found.append(row)
  return found


def _seeds(rows, variant):
  return [seed for name, seed in rows if name == variant]


def _mean(rows, variant, key):
  return float(np.mean([rows[variant, seed][key] for seed in _seeds(rows, variant)]))
