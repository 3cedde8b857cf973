"""The comparisons that the paper makes, made again on the drawn faces."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxvision.data import sprite_faces

# Table 1, FFHQ; Table 2 by probability of mixing, 1 to 4 latents; Tables 3 and 4:
# path length full and end, separability.
PAPER_FID = {"A": 8.04, "B": 5.25, "C": 4.85, "D": 4.88, "E": 4.42, "F": 4.40}
PAPER_FID |= {"traditional-8": 4.87, "style-0": 5.06, "style-1": 4.60, "style-2": 4.43}
PAPER_MIXING = {
  "E": (4.42, 8.22, 12.88, 17.41),
  "F": (4.40, 5.11, 6.88, 9.03),
}
PAPER_LENGTHS = {
  "B": "412.0 / 415.3 (Z)",
  "traditional-8": "324.5 / 212.2 (W)",
  "D": "446.2 / 376.6 (W)",
  "E": "200.5 / 160.6 (W)",
  "F": "234.0 / 195.9 (W)",
}
DISTANCE = "Fréchet distance of factor features"
FID_IMAGES = 50_000

Rows = Sequence[Mapping[str, Any]]


def of(rows: Rows, configuration: str, name: str) -> np.ndarray:
  """Returns what the seeds of a configuration measured."""
  return np.array([r[name] for r in rows if r["configuration"] == configuration])


def measure_name(has_inception: bool, images: int) -> str:
  """Returns what the distance between sets of images is called.

  Args:
    has_inception: whether the features are those of FID's network.
    images: of each set.
  """
  if not has_inception:
    return DISTANCE
  return "FID" if images == FID_IMAGES else f"FID of {images:,} images"


def tables(run, rows: Rows, measure: str = DISTANCE) -> None:
  """Records the means over seeds, as the paper's Tables 1 to 4.

  Args:
    run: the Run.
    rows: of each training {"configuration", "seed", "frechet": of 1, 2, ... latents,
      "z full", "z end", "w full", "w end", "z bits", "w bits"}; those of networks
      without a mapping lack the values of w.
    measure: name of the distance.
  """
  names = list(dict.fromkeys(row["configuration"] for row in rows))
  quality, paths = [], []
  for name in names:
    distances = of(rows, name, "frechet")
    one = {"configuration": name, "seeds": len(distances)}
    for latents, values in enumerate(distances.T, 1):
      mean = round(float(values.mean()), 3)
      one[f"{latents} latents"] = "" if np.isnan(mean) else mean
    one["deviation, 1 latent"] = round(float(distances[:, 0].std()), 3)
    one["paper's FID"] = PAPER_FID.get(name, "")
    quality.append(one)
    row = {"configuration": name}
    for key in ("z full", "z end", "w full", "w end"):
      found = [r[key] for r in rows if r["configuration"] == name and key in r]
      row[key] = round(float(np.mean(found)), 3) if found else ""
    for space in ("z", "w"):
      key = f"{space} bits"
      found = [r[key] for r in rows if r["configuration"] == name and key in r]
      row[f"separability {space}"] = (
        round(float(np.mean([2 ** np.sum(bits) for bits in found])), 2) if found else ""
      )
    row["paper's full / end"] = PAPER_LENGTHS.get(name, "")
    paths.append(row)
  about = "Configurations of Table 1; images of several latents as in Table 2."
  if measure == DISTANCE:
    about += (
      " The features are those of a network that was trained here to tell the factors "
      "of drawn faces, so the numbers are no FIDs."
    )
  run.table(measure, quality, about)
  run.table(
    "path length and separability",
    paths,
    "Tables 3 and 4. Without LPIPS's weights distances are those of the maps of the "
    "network that judges, so that only ratios compare with the paper's.",
  )


def report_judge(run, found: np.ndarray, factors: np.ndarray) -> None:
  """Records how often the judge tells attributes of faces that it never saw.

  Args:
    run: the Run.
    found: [N, factors] as it estimates them.
    factors: [N, factors] as they are.
  """
  right = np.mean((np.asarray(found) > 0.5) == (factors > 0.5), axis=0)
  rows = [
    {"attribute": name, "told, %": round(100 * float(share), 1)}
    for name, share in zip(sprite_faces.ATTRIBUTES, right, strict=True)
  ]
  run.table("the judge", rows, "Whether factors of unseen faces are above 1/2.")


def claim_quality(run, rows: Rows, seeds: Sequence[int], measure: str) -> None:
  """S1: the style-based generator makes better images than the traditional one."""
  ours, baseline = (of(rows, name, "frechet")[:, 0].mean() for name in "FB")
  run.claim(
    "style-based generator (F) is nearer to the faces than the traditional one (B)",
    ours=float(ours),
    baseline=float(baseline),
    better="lower",
    margin=0.05 * float(baseline),
    seeds=seeds,
    paper="FID 4.40 (F), 5.25 (B) on FFHQ",
    note=f"{measure}; margin 5 %",
  )


def claim_paths(run, rows: Rows, name: str, seeds: Sequence[int]) -> None:
  """S2: W is perceptually straighter than Z."""
  ours, baseline = (float(of(rows, name, key).mean()) for key in ("w end", "z end"))
  run.claim(
    "paths in W are shorter than in Z",
    ours=ours,
    baseline=baseline,
    better="lower",
    margin=0.2 * baseline,
    seeds=seeds,
    paper="195.9 in W (Table 4), 664.9 in Z (full, released network)",
    note="path length at the ends, same networks; margin 20 %",
  )


def claim_mixing(run, rows: Rows, seeds: Sequence[int], measure: str) -> None:
  """S3: trained with mixed styles, a network bears mixed styles better."""
  rise = {}
  for name in "EF":
    means = of(rows, name, "frechet").mean(axis=0)
    rise[name] = float(means[1] / means[0] - 1)
  run.claim(
    "mixing in training lessens the harm of two latents at test",
    ours=rise["F"],
    baseline=rise["E"],
    better="lower",
    margin=0.3 * abs(rise["E"]),
    seeds=seeds,
    paper="FID rises 16 % (F), 86 % (E)",
    note=f"relative rise of the mean {measure} from 1 to 2 latents; margin 30 %",
  )


def claim_noise(run, found: Mapping[str, float], seeds: Sequence[int]) -> None:
  """S4: noise changes fine detail alone, styles change everything.

  Args:
    run: the Run.
    found: see `Evaluator.locality`.
    seeds: of the networks that it is the mean of.
  """
  run.claim(
    "noise moves coarse structure less than fine detail",
    ours=found["noise coarse"],
    baseline=0.3 * found["noise fine"],
    better="lower",
    seeds=seeds,
    paper="Figure 4: only stochastic detail changes",
    note="variance over draws of noise; the bar is 0.3 of that of fine detail",
  )
  run.claim(
    "styles move coarse structure at least 5 times as much as noise does",
    ours=found["style coarse"],
    baseline=5 * found["noise coarse"],
    seeds=seeds,
    paper="Figure 4",
    note="variance over styles of the mean over noise; the bar is 5 × that over noise",
  )


def claim_separability(run, rows: Rows, name: str, seeds: Sequence[int]) -> None:
  """S5: attributes are more linearly separable in W than in Z."""
  ours, baseline = (
    float(np.mean(2.0 ** of(rows, name, key).sum(axis=1)))
    for key in ("w bits", "z bits")
  )
  run.claim(
    "attributes are more separable in W than in Z",
    ours=ours,
    baseline=baseline,
    better="lower",
    seeds=seeds,
    paper="3.79 in W; 165.0 in Z (released network)",
    note="2 to the sum of conditional entropies of 8 attributes",
  )
