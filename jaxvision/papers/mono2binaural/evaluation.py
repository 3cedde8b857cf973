"""What trained networks are measured by, all on the same clips."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import pipeline
from jaxvision.papers.mono2binaural import (
  data,
  figures,
  inference,
  metrics,
  occlusion,
  separation,
)
from jaxvision.papers.mono2binaural.audio import AudioFormat, Resynthesis
from jaxvision.papers.mono2binaural.networks import AudioVisualNet

MEASURES = ("STFT", "ENV")

# (clip [T, 2], frames [F, H, W, 3]) -> predicted clip [T, 2]
Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Binauralizer:
  """A trained network as a method, compiled once for clips of one length.

  Args:
    network: the network.
    variables: of the network.
    form: of its segments.
    hop, frame_rate, n_fft, batch: see `inference.binauralize`.
  """

  def __init__(
    self,
    network: AudioVisualNet,
    variables: Mapping[str, Any],
    form: AudioFormat,
    *,
    hop: float = inference.HOP,
    frame_rate: float = inference.FRAME_RATE,
    n_fft: Resynthesis = "exact",
    batch: int = inference.BATCH,
  ):
    self.network, self.variables, self.form = network, variables, form
    self._run = _binauralize(network, form, hop, frame_rate, n_fft, batch)

  def __call__(self, clip: np.ndarray, frames: np.ndarray | None) -> np.ndarray:
    seen = None if self.network.visual is None else frames
    return np.asarray(self._run(self.variables, clip, seen))

  def flipped(self, clip: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Predicts from mirrored frames: the baseline Flipped-Visual (M9)."""
    return self(clip, frames[:, :, ::-1])


@functools.cache  # trainings that differ in their seed share it
def _binauralize(network, form, hop, frame_rate, n_fft, batch):
  @jax.jit
  def run(variables, clip, frames):
    return inference.binauralize(
      network,
      variables,
      clip,
      frames,
      form,
      hop=hop,
      frame_rate=frame_rate,
      n_fft=n_fft,
      batch=batch,
    )

  return run


def clips(
  source: pipeline.Source, preparation: data.Preparation
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields (clip [T, 2], frames [F, H, W, 3] in [0, 1]) of a source in its order."""
  for index in range(len(source)):
    clip = source[index]
    yield data.samples(clip["audio"]), preparation.frames(clip)


def measure(
  examples: Iterable[tuple[np.ndarray, np.ndarray]],
  methods: Mapping[str, Method],
  form: AudioFormat,
) -> dict[str, dict[str, np.ndarray]]:
  """Returns {method: {"STFT": [N], "ENV": [N]}}, distances to the true clips."""
  found = {name: {measure: [] for measure in MEASURES} for name in methods}
  for clip, frames in examples:
    for name, method in methods.items():
      stft, envelope = _distances(method(clip, frames), clip, form)
      found[name]["STFT"].append(float(stft))
      found[name]["ENV"].append(float(envelope))
  return {
    name: {measure: np.array(values) for measure, values in row.items()}
    for name, row in found.items()
  }


@functools.partial(jax.jit, static_argnums=2)
def _distances(predicted, truth, form):
  return (
    metrics.stft_distance(predicted, truth, form),
    metrics.envelope_distance(predicted, truth),
  )


def compared(
  examples: Iterable[tuple[np.ndarray, np.ndarray]],
  methods: Mapping[str, Method],
  form: AudioFormat,
) -> list[dict[str, np.ndarray]]:
  """Returns rows of pictures: a frame, and which ear hears more by each method."""
  rows = []
  for clip, frames in examples:
    row = {"frame": frames[len(frames) // 2]}
    row["true"] = figures.balance_picture(clip, form)
    for name, method in methods.items():
      picture = figures.balance_picture(method(clip, frames), form)
      row[name.replace("_", " ")] = picture
    rows.append(row)
  return rows


class Localisation(NamedTuple):
  """Which maps of occlusion peak at what sounds.

  Attributes:
    heats: [N, rows, columns].
    hits: [N] whether the peak lies within one block of what sounds.
    chance: share of blocks for which it would, over all scenes.
  """

  heats: np.ndarray
  hits: np.ndarray
  chance: float


def localize(
  network: AudioVisualNet,
  variables: Mapping[str, Any],
  scenes: Mapping[str, np.ndarray],
  form: AudioFormat,
  block: int,
) -> Localisation:
  """Returns where a network looks in scenes whose positions are known.

  Args:
    network: the network.
    variables: of the network.
    scenes: {"audio" [N, T, 2], "frames" [N, F, H, W, 3] uint8, "kinds" [N, S], -1
      where nothing is, "positions" [N, S, 2]}; the middle of each is looked at.
    form: of the segments.
    block: side of the blocks in pixels, which do not overlap.
  """
  heats = middle_maps(network, variables, scenes, form, block)
  hits, chances = [], []
  for heat, kinds, positions in zip(
    heats, scenes["kinds"], scenes["positions"], strict=True
  ):
    sounding = positions[kinds >= 0]
    hits.append(occlusion.is_near(heat, sounding, block=block))
    chances.append(occlusion.chance(heat.shape, sounding, block=block))
  return Localisation(heats, np.array(hits), float(np.mean(chances)))


def middle_maps(network, variables, scenes, form: AudioFormat, block: int):
  """Returns occlusion maps [N, rows, columns] of the middles of scenes."""
  start = (scenes["audio"].shape[1] - form.samples) // 2
  segments = scenes["audio"][:, start : start + form.samples]
  frames = scenes["frames"][:, scenes["frames"].shape[1] // 2]
  frames = frames.astype(np.float32) / 255
  return np.asarray(_maps(network, form, block)(variables, segments, frames))


@functools.cache
def _maps(network, form, block):
  @jax.jit
  def run(variables, segments, frames):
    return jax.lax.map(
      lambda one: occlusion.occlusion_map(network, variables, *one, form, block=block),
      (segments, frames),
    )

  return run


def heard(
  kind: separation.Kind,
  make: Binauralizer | None,
  source: pipeline.Source,
  preparation: data.Preparation,
) -> list[np.ndarray]:
  """Returns what separation hears of each clip of a source, [T, C].

  Args:
    kind: see `separation.heard`.
    make: predicts binaural sound; only "binaural" needs it.
    source: the clips.
    preparation: of their frames.
  """
  found = []
  for index in range(len(source)):
    clip = source[index]
    truth = data.samples(clip["audio"])
    predicted = truth if make is None else make(truth, preparation.frames(clip))
    found.append(np.asarray(separation.heard(kind, truth, predicted)))
  return found


class Mixtures(NamedTuple):
  """Pairs of segments that are to be separated, and frames of both.

  Attributes:
    sources: [P, 2, T, C].
    frames: [P, 2, H, W, 3] in [0, 1].
  """

  sources: np.ndarray
  frames: np.ndarray


def mixtures(
  pairs: Sequence[tuple[int, int]],
  heard: Sequence[np.ndarray],
  clips: pipeline.Source,
  preparation: data.Preparation,
) -> Mixtures:
  """Returns the middles of pairs of clips.

  Args:
    pairs: indices of both clips.
    heard: [T, C] of each clip.
    clips: the clips, for their frames.
    preparation: of the frames, and the length of segments.
  """
  size = preparation.form.samples
  used = sorted({index for pair in pairs for index in pair})
  sounds, frames = {}, {}
  for index in used:
    start = (len(heard[index]) - size) // 2
    sounds[index] = heard[index][start : start + size]
    middle = (start + size / 2) / preparation.form.rate
    frames[index] = preparation.frame(clips[index], middle)
  return Mixtures(
    np.stack([[sounds[a], sounds[b]] for a, b in pairs]),
    np.stack([[frames[a], frames[b]] for a, b in pairs]),
  )


class Separated(NamedTuple):
  """Attributes: estimates [P, 2, T, C], and {measure: [P, 2] in dB}."""

  estimates: np.ndarray
  scores: dict[str, np.ndarray]


def separate(
  network: AudioVisualNet,
  variables: Mapping[str, Any],
  mixtures: Mixtures,
  form: AudioFormat,
  filter_length: int,
) -> Separated:
  """Returns both clips of each mixture, each found by its frame, and how well."""
  run = _separate(network, form)
  mixed = np.sum(mixtures.sources, axis=1)
  estimates = np.stack(
    [run(variables, mixed, mixtures.frames[:, one]) for one in range(2)], axis=1
  )
  with jax.enable_x64(True):
    pair = [jnp.asarray(x, jnp.float64) for x in (mixtures.sources, estimates)]
    found = _quality(*pair, filter_length)
    scores = {name.upper(): np.asarray(x) for name, x in found._asdict().items()}
  return Separated(estimates, scores)


def parted(
  mixtures: Mixtures,
  estimates: Mapping[str, np.ndarray],
  form: AudioFormat,
  most: int,
) -> list[dict[str, np.ndarray]]:
  """Returns rows of pictures: a frame, its mixture, its sound, and what was found.

  Args:
    mixtures: the mixtures; the first clip of each is shown.
    estimates: {kind: [P, 2, T, C]}.
    form: of the spectra.
    most: rows, evenly out of all mixtures.
  """
  rows, count = [], len(mixtures.sources)
  for index in np.linspace(0, count - 1, min(most, count)).astype(int):
    sources = mixtures.sources[index].mean(axis=-1)
    signals = {"mixture": sources.sum(axis=0), "true": sources[0]}
    signals |= {
      f"from {kind.replace('_', ' ')}": found[index, 0].mean(axis=-1)
      for kind, found in estimates.items()
    }
    row = {"frame": mixtures.frames[index, 0]}
    for name, signal in signals.items():
      row[name] = figures.level_picture(signal, form, signals["mixture"])
    rows.append(row)
  return rows


@functools.cache
def _separate(network, form):
  @jax.jit
  def run(variables, mixed, frames):
    return inference.in_batches(
      lambda mixed, frames: separation.separate(
        network, variables, mixed, frames, form
      ),
      (mixed, frames),
      inference.BATCH,
    )

  return run


@functools.partial(jax.jit, static_argnums=2)
def _quality(sources, estimates, filter_length):
  return separation.quality(sources, estimates, filter_length=filter_length)
