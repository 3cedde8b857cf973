"""The paper's comparisons, made again from what was measured here.

Each function records results, tables and claims in a run (jaxvision.train.run.Run).
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.papers.content_authentication import evaluation


def claim_jpegs(run, rows: Sequence[Mapping[str, float]]) -> None:
  """Claim 1: what each approximation of JPEG's rounding does to photographs.

  Args:
    run: where to record.
    rows: of evaluation.compare_jpegs.
  """
  run.table(
    "JPEG", rows, "PSNR to the photographs, dB: libjpeg 4:4:4 and its approximations"
  )
  qualities = ", ".join(str(row["quality"]) for row in rows)
  run.claim(
    "dJPEG with true rounding is libjpeg within 0.7 dB",
    ours=max(abs(row["true rounding"] - row["libjpeg"]) for row in rows),
    baseline=0.7,
    better="lower",
    note=f"largest difference over qualities {qualities}",
  )
  run.claim(
    "sinusoidal rounding keeps at least 2 dB more than libjpeg",
    ours=min(row["sin"] - row["libjpeg"] for row in rows),
    baseline=0.0,
    margin=2.0,
    paper="37.9 against 34.4 dB on one patch",
    note=f"smallest gain over qualities {qualities}",
  )
  order = list(evaluation.JPEGS)
  used = [row for row in rows if row["quality"] <= 80]
  run.claim(
    "sinusoidal > 4 harmonics > true rounding > 1 harmonic, in dB",
    ours=min(
      row[better] - row[worse]
      for row in used
      for better, worse in itertools.pairwise(order)
    ),
    baseline=0.0,
    paper="37.9 > 35.5 dB on one patch",
    note="smallest step of that order at qualities up to 80",
  )
  run.claim(
    "one harmonic (TensorFlow 2 port) falls below libjpeg",
    ours=max(row["harmonic, 1 term"] - row["libjpeg"] for row in used),
    baseline=0.0,
    better="lower",
    note="largest difference at qualities up to 80, dB",
  )


def claim_initial_pipelines(run, known: float, noise: float) -> None:
  """Claim 4: INet develops before any training, thanks to known constants.

  Args:
    run: where to record.
    known: PSNR of INet as the authors initialise it, dB.
    noise: PSNR of INet from random weights, dB.
  """
  run.result("INet before training", known, unit="dB")
  run.result("INet from noise, before training", noise, unit="dB")
  run.claim("INet develops at 28 dB before any training", ours=known, baseline=28.0)
  run.claim("INet from noise does not", ours=noise, baseline=28.0, better="lower")


def claim_authentication(
  run, rows: Sequence[Mapping], weights: Sequence[float], fidelity: Mapping
) -> None:
  """Claims 2, 3 and 5: what the channel destroys and joint training wins back.

  Args:
    run: where to record.
    rows: one a training: "mode", "weight", "seed", "psnr", "ssim" and "accuracy", a
      mapping from codec.
    weights: the λ's, the main one first.
    fidelity: "psnr" and "ssim" of the pipeline before stage II.
  """
  seeds = sorted({row["seed"] for row in rows})

  def mean(mode, key, weight=0.0, codec=None):
    return float(
      np.mean(
        [
          row[key] if codec is None else row[key][codec]
          for row in rows
          if row["mode"] == mode and row["weight"] == weight
        ]
      )
    )

  settings = [("no_channel", 0.0, "F, no channel"), ("fixed", 0.0, "F")]
  settings += [("joint", weight, f"F+N, λ = {weight:g}") for weight in sorted(weights)]
  table = []
  for mode, weight, title in settings:
    if all(row["mode"] != mode for row in rows):
      continue
    codecs = evaluation.CODECS if mode != "no_channel" else (evaluation.DJPEG,)
    columns = dict.fromkeys(evaluation.CODECS, "")
    for codec in codecs:
      columns[codec] = round(mean(mode, "accuracy", weight, codec), 3)
    table.append(
      {
        "training": title,
        "PSNR, dB": round(mean(mode, "psnr", weight), 1),
        "SSIM": round(mean(mode, "ssim", weight), 3),
        **{f"accuracy, {codec}": value for codec, value in columns.items()},
        "paper: PSNR, SSIM, accuracy": _PAPER[mode],
      }
    )
  run.table(
    "Authentication",
    table,
    f"Means over seeds {', '.join(map(str, seeds))}; the channel ends in the "
    "approximated JPEG of training or in libjpeg with a chroma subsampling. Paper: "
    "UNet, Nikon D90.",
  )

  main = weights[0]
  fixed = mean("fixed", "accuracy", 0.0, evaluation.DJPEG)
  joint = mean("joint", "accuracy", main, evaluation.DJPEG)
  joint_psnr = mean("joint", "psnr", main)
  joint_ssim = mean("joint", "ssim", main)
  run.result("accuracy, F", fixed, paper=0.45)
  run.result(f"accuracy, F+N, λ = {main:g}", joint, paper=0.91)
  run.result("PSNR of the pipeline, F", fidelity["psnr"], paper=42.7, unit="dB")
  run.result(f"PSNR of the pipeline, F+N, λ = {main:g}", joint_psnr, 35.9, "dB")
  run.result("SSIM of the pipeline, F", fidelity["ssim"], paper=0.990)
  run.result(f"SSIM of the pipeline, F+N, λ = {main:g}", joint_ssim, paper=0.960)

  if any(row["mode"] == "no_channel" for row in rows):
    untouched = mean("no_channel", "accuracy", 0.0, evaluation.DJPEG)
    run.result("accuracy without a channel", untouched, paper=0.99)
    run.claim(
      "without a channel 90 % of verdicts are right",
      ours=untouched,
      baseline=0.9,
      seeds=seeds,
      paper=0.99,
    )
    run.claim(
      "the channel costs at least 20 points of accuracy",
      ours=fixed,
      baseline=untouched,
      better="lower",
      margin=0.2,
      seeds=seeds,
      paper="0.45 against 0.99",
    )
  run.claim(
    "joint training wins at least 15 points of accuracy",
    ours=joint,
    baseline=fixed,
    margin=0.15,
    seeds=seeds,
    paper="0.91 against 0.45",
    note=f"λ = {main:g}, equal steps",
  )
  for name in evaluation.CODECS[1:]:
    run.claim(
      f"joint training wins behind libjpeg {name} too",
      ours=mean("joint", "accuracy", main, name),
      baseline=mean("fixed", "accuracy", 0.0, name),
      seeds=seeds,
      note=f"λ = {main:g}; both trained on the approximated JPEG",
    )
  cost = fidelity["psnr"] - joint_psnr
  paper_cost = "42.7 to 35.9 dB"
  run.claim(
    "joint training costs at most 12 dB of fidelity",
    ours=cost,
    baseline=12.0,
    better="lower",
    seeds=seeds,
    paper=paper_cost,
  )
  run.claim(
    "joint training costs at least 2 dB of fidelity",
    ours=cost,
    baseline=2.0,
    seeds=seeds,
    paper=paper_cost,
  )
  if len(weights) > 2:
    claim_trade_off(
      run,
      sorted(weights),
      [mean("joint", "psnr", weight) for weight in sorted(weights)],
      [
        mean("joint", "accuracy", weight, evaluation.DJPEG)
        for weight in sorted(weights)
      ],
      seeds,
    )


def claim_trade_off(
  run,
  weights: Sequence[float],
  psnrs: Sequence[float],
  accuracies: Sequence[float],
  seeds: Sequence[int],
) -> None:
  """Claim 5: a larger λ gives higher fidelity and lower accuracy.

  Args:
    run: where to record.
    weights: at least three λ's.
    psnrs: mean PSNR for each, dB.
    accuracies: mean accuracy for each.
    seeds: that the means are over.
  """
  note = "Spearman's rank correlation over λ = " + ", ".join(f"{w:g}" for w in weights)
  run.claim(
    "a larger λ gives higher fidelity",
    ours=_rank_correlation(weights, psnrs),
    baseline=0.0,
    margin=0.99,
    seeds=seeds,
    note=note,
  )
  run.claim(
    "a larger λ gives fewer right verdicts",
    ours=_rank_correlation(weights, accuracies),
    baseline=0.0,
    better="lower",
    margin=0.99,
    seeds=seeds,
    note=note,
  )


def _rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
  """Returns Spearman's correlation of sequences without ties."""
  ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
  return float(np.corrcoef(*ranks)[0, 1])


_PAPER = {
  "no_channel": "accuracy 0.99",
  "fixed": "42.7, 0.990, 0.45",
  "joint": "35.9, 0.960, 0.91",
}
