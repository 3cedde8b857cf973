"""Networks that regress the pose without any alignment: PoseCNN and its kin (M14)."""

import dataclasses

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.activations import leaky_relu
from jaxvision.nn.convolution import Conv
from jaxvision.ops.sampling import bilinear
from jaxvision.papers.inverse_compositional import (
  alignment,
  geometry,
  preprocessing,
)
from jaxvision.papers.inverse_compositional.encoders import kernel_init
from jaxvision.papers.inverse_compositional.tracker import Batch, Track

# Features, window and stride of FlowNetS's contracting part, conv1 to conv6.
FLOWNET = (
  (64, 7, 2),
  (128, 5, 2),
  (256, 5, 2),
  (256, 3, 1),
  (512, 3, 2),
  (512, 3, 1),
  (512, 3, 2),
  (512, 3, 1),
  (1024, 3, 2),
  (1024, 3, 1),
)


class PoseCNN(nn.Module):
  """FlowNetS's convolutions, their mean over space, one layer to a twist.

  Attributes:
    layers: (features, window, stride) of the convolutions.

  Source: Section 5.1; Fischer et al., FlowNet, 2015.
  """

  layers: tuple[tuple[int, int, int], ...] = FLOWNET

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the twist [B, 6] of both views, x [B, H, W, 8]."""
    for number, (features, window, stride) in enumerate(self.layers):
      x = Conv(
        features,
        (window, window),
        strides=stride,
        padding=window // 2,
        kernel_init=kernel_init,
        name=f"conv{number}",
      )(x)
      x = leaky_relu(x, 0.1)
    return nn.Dense(6, kernel_init=kernel_init, name="twist")(jnp.mean(x, axis=(1, 2)))


@dataclasses.dataclass(frozen=True)
class Regressor:
  """PoseCNN, alone or refined; used like a `Tracker`.

  Attributes:
    steps: networks that are applied one after the other, each to the image warped by
      the pose so far: 1 is PoseCNN, 3 are IC-PoseCNN and Cascaded-PoseCNN.
    cascaded: whether each step has a network of its own.
    layers: of PoseCNN.
    depth_range: metres between which depth counts.
  """

  steps: int = 1
  cascaded: bool = False
  layers: tuple[tuple[int, int, int], ...] = FLOWNET
  depth_range: tuple[float, float] = (0.5, 5.0)

  is_learned = True

  def init(self, key: chex.PRNGKey) -> tuple[dict, dict]:
    """Returns random parameters under "step0", ... and {} for statistics."""
    count = self.steps if self.cascaded else 1
    views = jnp.zeros((1, 1, 1, 8))
    network = PoseCNN(self.layers)
    keys = jax.random.split(key, count)
    params = {f"step{i}": network.init(k, views)["params"] for i, k in enumerate(keys)}
    return params, {}

  def track(
    self, params: dict, model_state: dict, batch: Batch, *, train: bool = False
  ) -> Track:
    """Returns the motion, arguments as for `Tracker.track`; no weights, no levels."""
    del train
    colors = [preprocessing.normalize_color(batch[f"image{i}"]) for i in (0, 1)]
    depths = [self.inverse_depth(batch[f"depth{i}"]) for i in (0, 1)]
    first = jnp.concatenate([colors[0], depths[0][..., None]], axis=-1)
    second = jnp.concatenate([colors[1], depths[1][..., None]], axis=-1)
    rays = geometry.pixel_rays(*depths[0].shape[1:], batch["intrinsics"])
    pose = jnp.broadcast_to(jnp.eye(4, dtype=first.dtype), (len(first), 4, 4))
    network, poses = PoseCNN(self.layers), []
    for step in range(self.steps):
      points, _ = geometry.warp(rays, depths[0], pose, batch["intrinsics"])
      views = jnp.concatenate([first, bilinear(second, points)], axis=-1)
      weights = params[f"step{step if self.cascaded else 0}"]
      pose = alignment.apply_inverse(pose, network.apply({"params": weights}, views))
      poses.append(pose)
    return Track(jnp.stack(poses, axis=1), [], [], model_state)

  def inverse_depth(self, depth: chex.Array) -> chex.Array:
    """Returns inverse depth [B, H, W] of depth, 0 where it does not count."""
    valid = preprocessing.is_in_range(depth, *self.depth_range)
    return preprocessing.invert_valid_depth(depth, valid)
