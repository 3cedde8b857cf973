"""The comparisons that the paper makes, made again on the demo's shapes."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.papers.deepsdf import evaluation

PAPER_UNKNOWN = {  # Table 3: unknown shapes, CD mean x 10³
  "AtlasNet-Sph.": {"chair": 0.752, "plane": 0.188, "table": 0.725, "lamp": 2.381,
                    "sofa": 0.445},
  "AtlasNet-25": {"chair": 0.368, "plane": 0.216, "table": 0.328, "lamp": 1.182,
                  "sofa": 0.411},
  "DeepSDF": {"chair": 0.204, "plane": 0.143, "table": 0.553, "lamp": 0.832,
              "sofa": 0.132},
}  # fmt: skip
PAPER_COMPLETION = "CD median x 10³, 3D-EPN / DeepSDF: chair 2.25 / 1.28, plane 1.63 / "
PAPER_COMPLETION += "0.37, sofa 2.03 / 0.82"


def claim_all(
  run,
  rows: Sequence[Mapping],
  has_hole: np.ndarray,
  cosines: Sequence[float],
  misfits: tuple[Sequence[float], Sequence[float]],
  seeds: Sequence[int],
) -> None:
  """Records means and makes every claim of the shapes of a class.

  Args:
    run: the Run.
    rows: see `claim_reconstruction`; perhaps with "folded".
    has_hole: [S] bool.
    cosines: see `claim_normals`.
    misfits: see `claim_interpolation`; empty where nothing was interpolated.
    seeds: of rows and cosines.
  """
  for name in rows[0]:
    distances = np.concatenate([row[name] for row in rows])
    run.result(f"{name}: mean CD × 10³", 1e3 * float(np.mean(distances)))
  claim_reconstruction(run, rows, seeds)
  claim_normals(run, cosines, seeds)
  if misfits[0]:
    median = float(np.median([value for row in rows for value in row["full"]]))
    claim_interpolation(run, *misfits, median, seeds)
  if "folded" in rows[0]:
    ours, folded = ([row[n][has_hole] for row in rows] for n in ("full", "folded"))
    claim_baseline(run, ours, folded, seeds)


def claim_reconstruction(run, rows: Sequence[Mapping], seeds: Sequence[int]) -> None:
  """C1 and C2: held-out shapes from all samples, and from half.

  Args:
    run: the Run.
    rows: of each seed {"full", "half", "untrained", "observed", "nearest"}: Chamfer
      distances [S].
    seeds: of the rows.
  """
  mean = {name: 1e3 * float(np.mean([row[name] for row in rows])) for name in rows[0]}
  finite = [value for row in rows for value in row["untrained"] if np.isfinite(value)]
  note = "CD x 10³, mean over test shapes and seeds"
  run.claim(
    "C1: held-out shapes are nearer than half the nearest training shape's distance",
    ours=mean["full"],
    baseline=0.5 * mean["nearest"],
    better="lower",
    seeds=seeds,
    note=note,
  )
  run.claim(
    "C2: from half a shape at most 1.5 times the error from all of it",
    ours=mean["half"],
    baseline=1.5 * mean["full"],
    better="lower",
    seeds=seeds,
    paper=PAPER_COMPLETION,
    note=note,
  )
  run.claim(
    "C2: from half at most a tenth of the error of the half itself",
    ours=mean["half"],
    baseline=0.1 * mean["observed"],
    better="lower",
    seeds=seeds,
    note=note,
  )
  run.claim(
    "C2: at most a tenth of the error of the same fit on an untrained decoder",
    ours=mean["half"],
    baseline=0.1 * (1e3 * float(np.mean(finite)) if finite else float("inf")),
    better="lower",
    seeds=seeds,
    note=f"{note}; {len(finite)} of {sum(len(row['untrained']) for row in rows)} fits "
    "on the untrained decoder have a surface at all",
  )


def claim_normals(run, cosines: Sequence[float], seeds: Sequence[int]) -> None:
  """C3: the field's gradient at surface points of known shapes is their normal."""
  run.claim(
    "C3: mean |cosine| between gradients and normals of known shapes is at least 0.95",
    ours=float(np.mean(cosines)),
    baseline=0.95,
    better="higher",
    seeds=seeds,
  )


def claim_interpolation(
  run,
  codes: Sequence[float],
  grids: Sequence[float],
  median: float,
  seeds: Sequence[int],
) -> None:
  """C4: halfway between two codes lies a member of their family.

  Args:
    run: the Run.
    codes: Chamfer distances of midpoints of codes to the best member.
    grids: the same of averaged distance grids.
    median: of the reconstructions.
    seeds: of the decoders.
  """
  note = "CD x 10³ to the best member of the family, mean over pairs and seeds"
  run.claim(
    "C4: midpoints of codes are members of the family (3 times the median error)",
    ours=1e3 * float(np.mean(codes)),
    baseline=3e3 * median,
    better="lower",
    seeds=seeds,
    note=note,
  )
  run.claim(
    "C4: means of two distance grids are not (they are farther than that)",
    ours=1e3 * float(np.mean(grids)),
    baseline=3e3 * median,
    better="higher",
    seeds=seeds,
    note=note,
  )


def claim_baseline(
  run, ours: Sequence[float], folded: Sequence[float], seeds: Sequence[int]
) -> None:
  """C5: a folded sphere is at least 1.3 times as far from shapes with holes."""
  run.claim(
    "C5: shapes with holes: 1.3 times our error is below AtlasNet-Sphere's",
    ours=1.3e3 * float(np.mean(ours)),
    baseline=1e3 * float(np.mean(folded)),
    better="lower",
    seeds=seeds,
    paper="chair 0.204 against 0.752",
    note="CD x 10³ of tori and blocks; the same shapes, updates and size of code",
  )


def claim_single(run, name: str, distance: float, seed: int) -> None:
  """C5: one shape in one network (M12)."""
  run.claim(
    "C5: one network of one shape: CD x 10³ below 0.1",
    ours=1e3 * distance,
    baseline=0.1,
    better="lower",
    seeds=[seed],
    note=f"{name}; samples by visible shell and votes; 30,000 points",
  )


def record_shapenet(run, distances: Sequence[float]) -> None:
  """Records the mean and median of ShapeNet's test shapes' Chamfer distances."""
  run.result("mean CD × 10³", 1e3 * float(np.mean(distances)), paper="chair 0.204")
  run.result("median CD × 10³", 1e3 * float(np.median(distances)), paper="chair 0.072")


def tables(run, measured: Mapping[str, list[Mapping[str, float]]]) -> None:
  """Keeps the table of all measures by method, and the paper's numbers beside."""
  rows = [{"method": name, **evaluation.summary(m)} for name, m in measured.items()]
  run.table(
    "test shapes",
    rows,
    "CD x 10³; EMD of 500 points; accuracy: 90 % of the points are within; completion: "
    "share of the truth within 0.01; cosine of normals. First seed.",
  )
  columns = [
    {"method (paper, CD mean x 10³)": name, **values}
    for name, values in PAPER_UNKNOWN.items()
  ]
  run.table("paper: unknown shapes", columns, "Table 3 of the paper, ShapeNet v2.")
