"""Binaural sound of the user's own mono recordings and pictures."""

import io
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from jaxvision.data import files, sounds
from jaxvision.errors import UserError
from jaxvision.papers.mono2binaural import data, figures, inference, metrics, occlusion
from jaxvision.papers.mono2binaural.evaluation import Binauralizer
from jaxvision.papers.mono2binaural.recordings import (
  PICTURES,
  Recording,
  read,
  read_pictures,
)

_HEADROOM = 0.99  # of full scale, what the loudest sample may be


def read_inputs(
  inputs: Sequence[epath.Path], preparation: data.Preparation, *, mix_down: bool
) -> tuple[list[Recording], np.ndarray]:
  """Returns the recordings, and the frames [F, H, W, 3] in [0, 1] that belong to all.

  Args:
    inputs: WAV files, and pictures or folders of frames.
    preparation: of the frames, and the rate of the sound.
    mix_down: see `recordings.read`.

  Raises:
    UserError: no sound or no picture; or a file that cannot be used, named.
  """
  paths = [epath.Path(path) for path in inputs]
  heard = [path for path in paths if path.suffix.lower() == ".wav"]
  shown = [path for path in paths if path.suffix.lower() != ".wav"]
  if not heard:
    kinds = ", ".join(("a folder", *PICTURES))
    raise UserError(f"give a WAV file beside the pictures ({kinds})")
  form = preparation.form
  recordings = [
    read(path, form.rate, shortest=form.segment, mix_down=mix_down) for path in heard
  ]
  pictures = read_pictures(shown)
  return recordings, np.stack([preparation.picture(one) for one in pictures])


def predict(
  make: Binauralizer,
  recording: Recording,
  frames: np.ndarray,
  *,
  block: int,
  frame_rate: float,
) -> dict[str, Any]:
  """Returns what `write` writes of one recording.

  Args:
    make: the trained network.
    recording: the sound.
    frames: [F, H, W, 3] in [0, 1].
    block: side of the blocks of the occlusion map, in pixels.
    frame_rate: frames a second.

  Raises:
    UserError: the predicted sound is not finite.
  """
  clip, form = recording.clip, make.form
  binaural = make(clip, frames)
  if not np.all(np.isfinite(binaural)):
    raise UserError(f"{recording.path}: its predicted sound is not finite")
  row: dict[str, Any] = {"file": str(recording.path), "seconds": len(clip) / form.rate}
  remarks = list(recording.remarks)
  needed = row["seconds"] * frame_rate
  if 1 < len(frames) < 0.9 * needed:
    remarks.append(f"{len(frames)} frames for {needed:.0f}: the last one stays")
  if not recording.is_mono:
    row["STFT distance"] = float(metrics.stft_distance(binaural, clip, form))
    row["ENV distance"] = float(metrics.envelope_distance(binaural, clip))
  peak = float(np.abs(binaural).max())
  row["gain"] = min(1.0, _HEADROOM / max(peak, 1e-12))
  if row["gain"] < 1:
    remarks.append(f"made {-20 * np.log10(row['gain']):.1f} dB quieter to fit the file")
  row["remarks"] = remarks

  made = {"row": row, "binaural": binaural, "clip": clip, "form": form, "block": block}
  if make.network.visual is not None:
    start = loudest_segment(clip, form.samples, round(inference.HOP * form.rate))
    seconds = (start + form.samples / 2) / form.rate
    frame = frames[int(inference.frame_indices(seconds, len(frames), frame_rate))]
    segment = clip[start : start + form.samples]

    @jax.jit
    def look(variables, segment, frame):
      return occlusion.occlusion_map(
        make.network,
        variables,
        segment,
        frame,
        form,
        block=block,
        is_mono=recording.is_mono,
      )

    made["heat"] = np.asarray(look(make.variables, segment, frame))
    made["frame"] = frame
    row["occlusion at"] = f"{seconds:.2f} s"
  return made


def loudest_segment(clip: np.ndarray, size: int, hop: int) -> int:
  """Returns where the loudest segment of a clip [T, 2] starts, in steps of `hop`."""
  energy = np.cumsum(np.concatenate([[0.0], np.sum(np.square(clip, dtype=float), -1)]))
  starts = inference.window_starts(len(clip), size, hop)
  return int(starts[np.argmax(energy[starts + size] - energy[starts])])


def write(out: epath.Path, predictions: Sequence[dict[str, Any]]) -> list[dict]:
  """Writes sounds, pictures and predictions.json; returns its rows."""
  names: dict[str, int] = {}
  rows = []
  for made in predictions:
    stem = epath.Path(made["row"]["file"]).stem
    names[stem] = names.get(stem, 0) + 1
    name = stem if names[stem] == 1 else f"{stem}-{names[stem]}"
    form, binaural, clip = made["form"], made["binaural"], made["clip"]
    row = made["row"] | {"binaural": f"{name}-binaural.wav"}
    scaled = (row["gain"] * binaural).astype(np.float32)
    sounds.write_wav(out / row["binaural"], scaled, form.rate)
    mono = np.repeat(clip.mean(axis=1, keepdims=True), 2, axis=1)
    pictures = {
      "mono": figures.balance_picture(mono, form),
      "predicted: blue is left, orange right": figures.balance_picture(binaural, form),
    }
    if "STFT distance" in row:
      pictures["recorded"] = figures.balance_picture(clip, form)
    difference = binaural[:, 0] - binaural[:, 1]
    pictures["predicted left - right, on the scale of the sum"] = figures.level_picture(
      difference, form, binaural.sum(axis=1)
    )
    row["spectrograms"] = f"{name}-spectrograms.png"
    shown = figures.spectrogram_figure(pictures, row["seconds"], form)
    _save(out / row["spectrograms"], shown)
    if "heat" in made:
      row["occlusion"] = f"{name}-occlusion.png"
      shown = figures.occlusion_figure([made["frame"]], [made["heat"]], made["block"])
      _save(out / row["occlusion"], shown)
    rows.append(row)
  files.write_bytes(out / "predictions.json", json.dumps(rows, indent=2).encode())
  return rows


def _save(path: epath.Path, figure) -> None:
  stream = io.BytesIO()
  figure.savefig(stream, format="png", dpi=160, facecolor="white", bbox_inches="tight")
  files.write_bytes(path, stream.getvalue())
