"""The paper's numbers, and its comparisons made again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

OURS, AUDIO_ONLY = "mono2binaural", "audio_only"
FLIPPED, MONO_MONO = "flipped_visual", "mono_mono"

# STFT and ENV distances on FAIR-Play.
PAPER = {
  OURS: (0.836, 0.132),
  AUDIO_ONLY: (0.966, 0.141),
  FLIPPED: (1.145, 0.149),
  MONO_MONO: (1.155, 0.153),
}
# SDR, SIR and SAR in dB.
PAPER_SEPARATION = {
  "mono": (2.57, 4.25, 10.12),
  "mono_mono": (2.43, 4.01, 10.15),
  "binaural": (3.01, 5.03, 10.24),
  "true_binaural": (3.25, 5.32, 10.60),
}

_SYMMETRIC = "scenes are symmetric: sound alone tells nothing of sides"

# {(method, seed): {measure: [N]}}
Rows = Mapping[tuple[str, int], Mapping[str, np.ndarray]]


def means(rows: Rows) -> dict[str, dict[str, float]]:
  """Returns {method: {measure: mean over clips and seeds}}."""
  found: dict[str, dict[str, list]] = {}
  for (method, _), row in rows.items():
    for measure, values in row.items():
      found.setdefault(method, {}).setdefault(measure, []).append(np.mean(values))
  return {
    method: {measure: float(np.mean(values)) for measure, values in row.items()}
    for method, row in found.items()
  }


def table(rows: Rows, paper: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
  """Returns a row a method: means, the range over seeds of the first, the paper's."""
  made = []
  for method, mean in means(rows).items():
    first = next(iter(mean))
    seeds = [np.mean(row[first]) for (name, _), row in rows.items() if name == method]
    published = dict(zip(mean, paper.get(method, ()), strict=False))
    made.append(
      {
        "method": method,
        **mean,
        f"{first}, lowest to highest": f"{min(seeds):.3f} to {max(seeds):.3f}",
        "seeds": len(seeds),
        **{f"{name}, paper": published.get(name, "") for name in mean},
      }
    )
  return made


def record(run, rows: Rows, paper: Mapping[str, Sequence[float]], unit: str) -> None:
  """Records the means of all methods, beside the paper's where there are any."""
  for method, mean in means(rows).items():
    published = paper.get(method) or (None,) * len(mean)
    for (measure, value), theirs in zip(mean.items(), published, strict=True):
      run.result(f"{method}: {measure}", value, paper=theirs, unit=unit)


def claim_distances(run, rows: Rows, seeds: Sequence[int]) -> None:
  """Compares the distances of binaural clips (C1 to C3)."""
  mean = means(rows)
  if not {OURS, AUDIO_ONLY} <= set(mean):
    return
  ours, unseeing, flipped, mono = (
    mean[name] for name in (OURS, AUDIO_ONLY, FLIPPED, MONO_MONO)
  )

  def lower(name, ours, baseline, **options):
    run.claim(name, ours, baseline, better="lower", seeds=seeds, **options)

  lower(
    "STFT distance at most 0.80 of Audio-Only's",
    ours["STFT"],
    unseeing["STFT"],
    margin=0.2 * unseeing["STFT"],
    paper="0.836 vs 0.966",
  )
  lower(
    "Mirrored frames make the STFT distance at least 1.3 times as large",
    ours["STFT"],
    flipped["STFT"],
    margin=0.3 * ours["STFT"],
    paper="0.836 vs 1.145",
  )
  run.claim(
    "With mirrored frames it is no better than 0.95 of Mono-Mono's",
    flipped["STFT"],
    0.95 * mono["STFT"],
    seeds=seeds,
    paper="1.145 vs 1.155",
  )
  lower(
    "Audio-Only's STFT distance is at most Mono-Mono's, but for 2 %",
    unseeing["STFT"],
    mono["STFT"],
    margin=-0.02 * mono["STFT"],
    note=_SYMMETRIC,
    paper="0.966 vs 1.155",
  )
  lower(
    "Envelope distance at most 0.92 of Mono-Mono's",
    ours["ENV"],
    mono["ENV"],
    margin=0.08 * mono["ENV"],
    paper="0.132 vs 0.153",
  )
  lower(
    "Envelope distance below Audio-Only's",
    ours["ENV"],
    unseeing["ENV"],
    paper="0.132 vs 0.141",
  )
  lower(
    "Audio-Only's envelope distance is at most Mono-Mono's, but for 2 %",
    unseeing["ENV"],
    mono["ENV"],
    margin=-0.02 * mono["ENV"],
    note=_SYMMETRIC,
    paper="0.141 vs 0.153",
  )


def claim_localisation(run, hits: float, chance: float, seeds: Sequence[int]) -> None:
  """Asks whether occlusion maps peak at what sounds (C4)."""
  run.claim(
    "Hiding what sounds hurts most: in 70 % of scenes the peak lies within one block",
    hits,
    chance,
    margin=0.7 - chance,
    seeds=seeds,
    note="the baseline is chance",
  )


def claim_separation(run, rows: Rows, seeds: Sequence[int]) -> None:
  """Compares separation from one channel and from two (C5)."""
  for kind, name, paper in (
    ("binaural", "Predicted binaural sound", "3.01 vs 2.57"),
    ("true_binaural", "Recorded binaural sound", "3.25 vs 2.57"),
  ):
    shared = [seed for seed in seeds if (kind, seed) in rows and ("mono", seed) in rows]
    if not shared:
      continue
    run.claim(
      f"{name} separates by 1 dB of SDR better than mono",
      float(np.mean([np.mean(rows[kind, seed]["SDR"]) for seed in shared])),
      float(np.mean([np.mean(rows["mono", seed]["SDR"]) for seed in shared])),
      margin=1.0,
      seeds=shared,
      paper=paper,
      note="two instruments of one kind at different places; both compared as mono",
    )
