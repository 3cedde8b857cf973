"""Pictures of who hears what, and of where a network looks."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from jaxvision.papers.mono2binaural import audio
from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.train import jit_once

_LEFT, _MIDDLE, _RIGHT = np.array(
  [[0.20, 0.55, 1.00], [0.92, 0.92, 0.92], [1.00, 0.55, 0.15]]
)
_RANGE = 60.0  # dB between the loudest and black
_STRONGEST = 0.6  # balance at which a colour is pure


def balance_picture(clip: np.ndarray, form: AudioFormat) -> np.ndarray:
  """Returns a spectrogram whose colours tell which ear hears more.

  Args:
    clip: [T, 2].
    form: of the spectra.

  Returns:
    [F, N, 3] in [0, 1], low frequencies at the bottom: blue is left, orange right,
    grey both, and brightness the level.
  """
  left, right = _level(clip.T, form)
  level = left + right
  balance = np.clip((right - left) / np.maximum(level, 1e-12) / _STRONGEST, -1, 1)
  amount = np.abs(balance)[..., None]
  side = np.where(balance[..., None] > 0, _RIGHT, _LEFT)
  colors = (1 - amount) * _MIDDLE + amount * side
  decibels = 20 * np.log10(np.maximum(level, 1e-12) / max(level.max(), 1e-12))
  brightness = np.clip(1 + decibels / _RANGE, 0, 1)
  return (colors * brightness[..., None])[::-1]


def level_picture(
  signal: np.ndarray, form: AudioFormat, reference: np.ndarray | None = None
) -> np.ndarray:
  """Returns a grey spectrogram [F, N] in [0, 1] of a signal [T].

  Args:
    signal: the signal.
    form: of the spectrum.
    reference: [T], whose loudest part is white; the signal itself when None.
  """
  level = _level(signal, form)
  loudest = (level if reference is None else _level(reference, form)).max()
  decibels = 20 * np.log10(np.maximum(level, 1e-12) / max(loudest, 1e-12))
  return np.clip(1 + decibels / _RANGE, 0, 1)[::-1]


def _level(signals: np.ndarray, form: AudioFormat) -> np.ndarray:
  """Returns magnitudes [..., F, N] of signals [..., T]."""
  planes = np.asarray(_spectrum(form)(np.asarray(signals, np.float32)))
  return np.hypot(planes[..., 0], planes[..., 1])


@functools.cache
def _spectrum(form):
  return jit_once(functools.partial(audio.spectrum, form=form))


def rows_figure(rows: Sequence[Mapping[str, np.ndarray]]):
  """Returns a figure with a row of pictures for each clip, the first its frame.

  Args:
    rows: {title: [H, W, 3], or [H, W] in [0, 1]}.
  """
  from matplotlib import figure

  columns = len(rows[0])
  made = figure.Figure((1.9 * columns, 1.45 * len(rows) + 0.4), layout="constrained")
  grid = made.subplots(len(rows), columns, squeeze=False)
  for number, (line, row) in enumerate(zip(grid, rows, strict=True)):
    for axis, (title, picture) in zip(line, row.items(), strict=True):
      is_frame = axis is line[0]
      axis.imshow(
        np.clip(picture, 0, 1),
        cmap="magma",
        vmin=0,
        vmax=1,
        aspect="equal" if is_frame else "auto",
        interpolation="nearest",
      )
      axis.set_xticks([])
      axis.set_yticks([])
      if number == 0:
        axis.set_title(title, fontsize=8)
  return made


def occlusion_figure(
  frames: Sequence[np.ndarray],
  heats: Sequence[np.ndarray],
  block: int,
  titles: Sequence[str] = (),
):
  """Returns a figure of frames [H, W, 3] under maps of occlusion [rows, columns]."""
  from matplotlib import figure

  columns = min(len(frames), 4)
  lines = -(-len(frames) // columns)
  made = figure.Figure((2.4 * columns, 1.45 * lines), layout="constrained")
  grid = made.subplots(lines, columns, squeeze=False).ravel()
  for axis in grid:
    axis.axis("off")
  for number, (axis, frame, heat) in enumerate(zip(grid, frames, heats, strict=False)):
    axis.imshow(np.clip(frame, 0, 1), interpolation="nearest")
    spread = np.ptp(heat)
    shown = (heat - heat.min()) / (spread if spread > 0 else 1.0)
    rows, wide = heat.shape
    axis.imshow(
      shown,
      cmap="inferno",
      alpha=0.15 + 0.6 * shown,
      extent=(-0.5, wide * block - 0.5, rows * block - 0.5, -0.5),
      interpolation="nearest",
    )
    axis.set_xlim(-0.5, frame.shape[1] - 0.5)
    axis.set_ylim(frame.shape[0] - 0.5, -0.5)
    if titles:
      axis.set_title(titles[number], fontsize=8)
  return made


def spectrogram_figure(
  pictures: Mapping[str, np.ndarray], seconds: float, form: AudioFormat
):
  """Returns a figure of spectrograms below each other, {title: [F, N] or [F, N, 3]}."""
  from matplotlib import figure

  made = figure.Figure((7.0, 1.6 * len(pictures)), layout="constrained")
  grid = made.subplots(len(pictures), 1, squeeze=False, sharex=True).ravel()
  for axis, (title, picture) in zip(grid, pictures.items(), strict=True):
    axis.imshow(
      np.clip(picture, 0, 1),
      cmap="magma",
      vmin=0,
      vmax=1,
      aspect="auto",
      interpolation="nearest",
      extent=(0, seconds, 0, form.rate / 2000),
    )
    axis.set_ylabel("kHz", fontsize=8)
    axis.set_title(title, fontsize=9, loc="left")
    axis.tick_params(labelsize=8)
  grid[-1].set_xlabel("seconds", fontsize=8)
  return made
