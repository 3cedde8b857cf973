"""Progressive growing: its schedule, and real images as a stage sees them (M8, M9).

lod, the level of detail, is 0 at full resolution and grows by 1 with each halving. Its
floor is the level, which is fixed while one compiled step is in use, and the rest is
the fade towards the next coarser level.
"""

import dataclasses
from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.interpolation import lerp
from jaxvision.ops.resampling import downsample_box, upsample_nearest

BATCHES = {4: 512, 8: 256, 16: 128, 32: 64, 64: 32}
RATES = {128: 1.5e-3, 256: 2e-3, 512: 3e-3, 1024: 3e-3}
TICKS = {4: 160, 8: 140, 16: 120, 32: 100, 64: 80, 128: 60, 256: 40, 512: 30, 1024: 20}


@dataclasses.dataclass(frozen=True)
class Schedule:
  """How training grows with the number of real images it has seen.

  Attributes:
    resolution: side of the full image.
    initial: side of the first stage.
    stable: thousands of images at each resolution.
    fade: thousands of images between two.
    batch: images in a batch, where `batches` does not say.
    batches: the same by resolution.
    rate: learning rate, where `rates` does not say.
    rates: the same by resolution.
    devices: the batch is rounded down to a multiple of their number.

  Source: Appendix C; the authors' training_schedule and train.py.
  """

  resolution: int = 1024
  initial: int = 8
  stable: float = 600
  fade: float = 600
  batch: int = 32
  batches: Mapping[int, int] = dataclasses.field(default_factory=lambda: BATCHES)
  rate: float = 1e-3
  rates: Mapping[int, float] = dataclasses.field(default_factory=lambda: RATES)
  devices: int = 8

  def lod(self, images: float) -> float:
    """Returns the level of detail after so many real images."""
    thousands = images / 1000
    period = self.stable + self.fade  # 0 for training that never grows
    phase = thousands // period if period > 0 else 0.0
    within = thousands - phase * period
    faded = max(within - self.stable, 0.0) / self.fade if self.fade > 0 else 0.0
    coarsest = np.log2(self.resolution / self.initial)
    return float(max(coarsest - phase - faded, 0.0))

  def at(self, images: float) -> "Phase":
    """Returns what holds after so many real images."""
    lod = self.lod(images)
    level = int(np.floor(lod))
    side = self.resolution // 2**level
    batch = self.batches.get(side, self.batch)
    return Phase(
      lod=lod,
      level=level,
      fade=lod - level,
      resolution=side,
      batch=batch - batch % self.devices,
      rate=self.rates.get(side, self.rate),
      tick=TICKS.get(side, 160),
    )


@dataclasses.dataclass(frozen=True)
class Phase:
  """What holds at one moment of training.

  Attributes:
    lod: level of detail.
    level: its floor.
    fade: lod - level.
    resolution: side of the images.
    batch: images in a batch, over all devices.
    rate: learning rate.
    tick: thousands of images between reports.
  """

  lod: float
  level: int
  fade: float
  resolution: int
  batch: int
  rate: float
  tick: int


@dataclasses.dataclass(frozen=True)
class Segment:
  """Consecutive steps whose level, and whether it fades, stay: Adam starts anew.

  Attributes:
    level: floor of lod.
    resolution: side of the images.
    is_fading: whether lod is above the level.
    batch: images in a batch, over all devices.
    rate: learning rate.
    steps: number of steps.
    first_fade: lod - level in the first steps.
    fade_change: what it loses each time that the schedule is looked at.
    images: real images seen before.
  """

  level: int
  resolution: int
  is_fading: bool
  batch: int
  rate: float
  steps: int
  first_fade: float
  fade_change: float
  images: int


def segments(schedule: Schedule, total: float, repeats: int = 4) -> list[Segment]:
  """Returns the segments of a training.

  Args:
    schedule: of growing.
    total: real images after which training ends.
    repeats: steps between two looks at the schedule.

  Raises:
    ValueError: a batch is empty.
  """
  found, images = [], 0
  while images < total:
    phase = schedule.at(images)
    if phase.batch < 1:
      raise ValueError(f"no image of a batch for each of {schedule.devices} devices")
    is_fading = phase.fade > 0
    if found and (found[-1].level, found[-1].is_fading) == (phase.level, is_fading):
      found[-1] = dataclasses.replace(found[-1], steps=found[-1].steps + repeats)
    else:
      change = repeats * phase.batch / (1000 * schedule.fade) if is_fading else 0.0
      found.append(
        Segment(
          level=phase.level,
          resolution=phase.resolution,
          is_fading=is_fading,
          batch=phase.batch,
          rate=phase.rate,
          steps=repeats,
          first_fade=phase.fade,
          fade_change=change,
          images=images,
        )
      )
    images += repeats * phase.batch
  return found


def split_lod(lod: float) -> tuple[int, float]:
  """Returns level and fade of a level of detail."""
  level = int(np.floor(lod))
  return level, lod - level


def prepare_reals(
  images: chex.Array,
  *,
  fade: chex.Numeric | None = None,
  key: chex.PRNGKey | None = None,
) -> chex.Array:
  """Returns stored images as the discriminator sees them.

  Args:
    images: [N, r, r, C] uint8, box-filtered to the resolution of the level.
    fade: lod - level: how far pixels are mixed with the mean of their 2 x 2 square.
    key: of mirroring, each image with probability 1/2; None for none.

  Returns:
    [N, r, r, C] float32 in [-1, 1].

  Source: the authors' process_reals, before it repeats pixels to the full size.
  """
  chex.assert_rank(images, 4)
  chex.assert_type(images, jnp.uint8)
  x = images.astype(jnp.float32) / 127.5 - 1
  if key is not None:
    stays = jax.random.uniform(key, (len(x), 1, 1, 1)) < 0.5
    x = jnp.where(stays, x, x[:, :, ::-1])
  if fade is not None:
    x = lerp(x, upsample_nearest(downsample_box(x)), fade)
  return x


def halve(images: np.ndarray) -> np.ndarray:
  """Returns stored images one level coarser, as data sets hold them.

  Args:
    images: [..., H, W, C] uint8, H and W even.

  Returns:
    [..., H / 2, W / 2, C] uint8: means of 2 x 2 squares, rounded half to even.

  Source: the authors' dataset_tool.py.
  """
  images = np.asarray(images)
  chex.assert_type(images, np.uint8)
  *leading, height, width, channels = images.shape
  squares = images.reshape(*leading, height // 2, 2, width // 2, 2, channels)
  means = squares.astype(np.float32).mean(axis=(-4, -2))
  return np.clip(np.rint(means), 0, 255).astype(np.uint8)


def to_uint8(images: chex.Array) -> chex.Array:
  """Returns images in [-1, 1] as bytes: x · 127.5 + 128, clipped, rounded down."""
  chex.assert_type(images, float)
  return jnp.clip(images * 127.5 + 128, 0, 255).astype(jnp.uint8)
