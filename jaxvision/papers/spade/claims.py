"""The paper's comparisons, made again on the segmenter's scores."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Table 3 and 4, mIoU on COCO-Stuff in percent, by the paper's own segmenter.
PAPER = {
  "spade": 35.2,
  "spade_compact": 35.2,
  "spade_wide": 35.3,
  "concat": 31.9,
  "random_input": 35.3,
  "kernel_5": 35.0,
  "kernel_1": 32.7,
  "batch": 33.7,
  "instance": 33.9,
  "pix2pixhd++": 32.7,
  "pix2pixhd++_spade": 34.4,
  "pix2pixhd++_concat": 32.9,
  "pix2pixhd++_compact": 31.6,
  "pix2pixhd": 14.6,
}

Rows = Mapping[tuple[str, int], Mapping[str, Any]]


def means(rows: Rows) -> list[dict[str, Any]]:
  """Returns one row a variant: means over its seeds, and mIoU's lowest and highest.

  Args:
    rows: {(variant, seed): {measure: value}}.
  """
  table = []
  for variant in dict.fromkeys(name for name, _ in rows):
    own = [row for (name, _), row in rows.items() if name == variant]
    ious = [row["mIoU"] for row in own]
    mean = {key: float(np.mean([row[key] for row in own])) for key in own[0]}
    table.append(
      {
        "variant": variant,
        **mean,
        "mIoU, lowest to highest": f"{min(ious):.3f} to {max(ious):.3f}",
        "seeds": len(own),
        "paper, mIoU on COCO-Stuff": PAPER.get(variant, ""),
      }
    )
  return table


def claim_all(run, rows: Rows, styles: Mapping[int, Any], seeds: Sequence[int]) -> None:
  """Records what can be compared among the variants that were trained."""

  def mean(variant, measure, shared):
    return float(np.mean([rows[variant, seed][measure] for seed in shared]))

  def compare(name, baseline, measure, *, ours="spade", **options):
    shared = [s for s in seeds if (ours, s) in rows and (baseline, s) in rows]
    if shared:
      pair = [mean(variant, measure, shared) for variant in (ours, baseline)]
      run.claim(name, *pair, seeds=shared, **options)

  compare(
    "SPADE beats concatenated labels by 3 points of mIoU",
    "concat",
    "mIoU",
    margin=0.03,
    paper="35.2 vs 31.9",
  )
  compare("SPADE beats concatenated labels in accuracy of pixels", "concat", "accuracy")
  compare(
    "SPADE beats concatenated labels in Fréchet distance of the segmenter's features",
    "concat",
    "Fréchet distance",
    better="lower",
  )
  compare(
    "SPADE beats pix2pixHD++ in mIoU", "pix2pixhd++", "mIoU", paper="35.2 vs 32.7"
  )
  compare(
    "SPADE beats pix2pixHD++ in Fréchet distance of the segmenter's features",
    "pix2pixhd++",
    "Fréchet distance",
    better="lower",
  )
  compare(
    "Windows of 3 x 3 in SPADE beat 1 x 1 in mIoU",
    "kernel_1",
    "mIoU",
    paper="35.2 vs 32.7",
  )
  _claim_uniform(run, rows, seeds, compare)
  if styles:
    _claim_styles(run, styles, compare)


def _claim_uniform(run, rows, seeds, compare):
  normalised = "pix2pixhd++"
  shared = [s for s in seeds if ("spade", s) in rows and (normalised, s) in rows]
  if not shared:
    return
  ratios = [
    rows[normalised, seed]["difference of classes alone"]
    / max(rows["spade", seed]["difference of classes alone"], 1e-12)
    for seed in shared
  ]
  run.claim(
    "Behind instance normalisation maps of one class look alike: their differences are "
    "below 0.2 of SPADE's",
    float(np.mean(ratios)),
    0.2,
    better="lower",
    seeds=shared,
    note="pix2pixHD++; mean absolute difference over all pairs of classes",
  )
  compare(
    "SPADE's maps of one class are recognised more often than pix2pixHD++'s",
    normalised,
    "classes alone recognised",
  )


def _claim_styles(run, styles, compare):
  seeds = sorted(styles)
  run.claim(
    "Images follow the colours of a style picture: r of at least 0.5",
    float(np.mean([styles[seed].correlation for seed in seeds])),
    0.0,
    margin=0.5,
    seeds=seeds,
    note="mean colour of images and of their style picture, over pictures of others",
  )
  run.claim(
    "Random styles make different images of one label map",
    float(np.mean([styles[seed].diversity for seed in seeds])),
    0.0,
    margin=0.01,
    seeds=seeds,
    note="standard deviation of a pixel's value in [0, 1] over random styles",
  )
  compare(
    "Random styles cost less than 5 points of mIoU",
    "spade",
    "mIoU",
    ours="styled",
    margin=-0.05,
  )
