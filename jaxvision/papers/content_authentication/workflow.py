"""From RAW to verdict: the life of a photograph as one differentiable function."""

import dataclasses
import functools
from collections.abc import Callable

import chex
import flax.linen as nn
import jax

from jaxvision.ops import jpeg
from jaxvision.papers.content_authentication import channel, manipulations, pipelines
from jaxvision.papers.content_authentication.forensics import FAN
from jaxvision.train import jit_once


@dataclasses.dataclass(frozen=True)
class Workflow:
  """What happens between the sensor and the verdict.

  Attributes:
    nip: the neural imaging pipeline, one of `pipelines`.
    fan: the forensic analysis network.
    age: "cvpr" or "tf2", see `manipulations`.
    downsample: see `channel.distribute`; None for no channel at all.
    quality: JPEG quality of the channel.
    rounding: how both JPEGs approximate rounding.
    stop_hsv_gradient: see `manipulations.sharpen`.
    straight_through: see `pipelines.clip_developed`.
  """

  nip: nn.Module
  fan: FAN
  age: str = "cvpr"
  downsample: str | None = "pool"
  quality: float = 50.0
  rounding: jpeg.Rounding = "sin"
  stop_hsv_gradient: bool = True
  straight_through: bool = False

  @property
  def classes(self) -> tuple[str, ...]:
    """The manipulations in the order of their labels."""
    return manipulations.CLASSES[self.age]

  def init(self, key: chex.PRNGKey, raw: chex.Array) -> tuple[dict, dict]:
    """Returns initial parameters {"nip", "fan"} and the pipeline's constants.

    Args:
      key: random key.
      raw: [B, h, w, 4] for its shape alone.
    """
    nip_key, fan_key = jax.random.split(key)
    variables = self.nip.init(nip_key, raw)
    params = {"nip": variables["params"]}
    constants = {"constants": variables.get("constants", {})}
    developed = self.nip.apply(variables, raw)
    params["fan"] = self.fan.init(fan_key, developed)["params"]
    return params, constants

  @functools.cached_property
  def quick_init(self) -> Callable[[chex.PRNGKey, chex.Array], tuple[dict, dict]]:
    """`init`, compiled at once for all networks."""
    return jit_once(self.init)

  def develop(self, params: dict, constants: dict, raw: chex.Array) -> chex.Array:
    """Returns [B, 2h, 2w, 3] developed images, not clipped."""
    return self.nip.apply({"params": params["nip"], **constants}, raw)

  def manipulate(self, developed: chex.Array) -> chex.Array:
    """Returns [K B, 2h, 2w, 3]: the developed images in every version."""
    return manipulations.manipulate(
      pipelines.clip_developed(developed, straight_through=self.straight_through),
      age=self.age,
      rounding=self.rounding,
      stop_hsv_gradient=self.stop_hsv_gradient,
    )

  def distribute(self, published: chex.Array) -> chex.Array:
    """Returns the images as they are received, [K B, h, w, 3] behind the channel."""
    return self.compress(self.shrink(published))

  def shrink(self, published: chex.Array) -> chex.Array:
    """Returns the images at the size they are received in: the channel's first half."""
    return channel.halve(
      published, self.downsample or "none", manipulations.COORDINATES[self.age]
    )

  def compress(self, shrunk: chex.Array) -> chex.Array:
    """Returns the images after the channel's JPEG, or as they are without a channel."""
    if self.downsample is None:
      return shrunk
    return jpeg.jpeg(shrunk, self.quality, rounding=self.rounding, arithmetic="korus")

  def judge(self, params: dict, received: chex.Array) -> chex.Array:
    """Returns [K B, K] logits of what was done to each image."""
    return self.fan.apply({"params": params["fan"]}, received)
