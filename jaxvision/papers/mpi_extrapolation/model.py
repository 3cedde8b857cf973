"""From posed images to two multiplane images: the visible one, and the refined one."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.ops import mpi, rigid
from jaxvision.ops.sampling import bilinear
from jaxvision.ops.view_synthesis import pixel_grid
from jaxvision.papers.mpi_extrapolation.networks import DILATIONS, FEATURES, VolumeUNet


class Prediction(NamedTuple):
  """What the two networks make of a volume.

  Attributes:
    initial: [B, H, W, D, 4] MPI of the first network, colours in [-1, 1].
    refined: [B, H, W, D, 4] MPI with the second network's opacities and the colours
      that its flow gathers; of None, where there is no second network.
    behind: [B, H, W, D, 3] what is visible at each plane or behind it.
    flow: [B, H, W, D, 2] (y, x) in pixels, from where colours are gathered.
  """

  initial: chex.Array
  refined: chex.Array
  behind: chex.Array
  flow: chex.Array


class Extrapolator(nn.Module):
  """Maps network inputs [B, H, W, D, C] to a `Prediction`.

  Attributes:
    features: channels of each level of both networks.
    dilations: of the first network's coarsest level.
    alpha_bias: what is added to the first network's opacities before their tanh; 0 in
      the paper, whose planes are all half opaque in the beginning.

  Source: Srinivasan et al., Section 4, M5 to M7.
  """

  features: Sequence[int] = FEATURES
  dilations: Sequence[int] = DILATIONS
  alpha_bias: float = 0.0

  def setup(self):
    self.initial = VolumeUNet(4, self.features, self.dilations)
    self.refine = VolumeUNet(3, self.features, ())

  def __call__(self, volume: chex.Array) -> Prediction:
    """Returns both MPIs of a volume, see `network_input`."""
    initial = to_rgba(self.initial(volume), self.alpha_bias)
    seen, behind = visible(initial)
    refined = self.refine(seen)
    flow, alpha = refined[..., :2], (jnp.tanh(refined[..., 2:]) + 1) / 2
    colors = flow_gather(behind, flow)
    refined = jnp.concatenate([colors, alpha], axis=-1)
    return Prediction(initial, refined, behind, flow)


def to_rgba(outputs: chex.Array, alpha_bias: float = 0.0) -> chex.Array:
  """Returns colours in [-1, 1] and opacities in [0, 1] of a network's 4 channels."""
  rgba = jnp.tanh(outputs + jnp.array([0, 0, 0, alpha_bias], outputs.dtype))
  return jnp.concatenate([rgba[..., :3], (rgba[..., 3:] + 1) / 2], axis=-1)


def network_input(
  reference: chex.Array,
  sources: chex.Array,
  reference_pose: chex.Array,
  source_poses: chex.Array,
  depths: chex.Array,
  intrinsics: chex.Array,
) -> chex.Array:
  """Returns what the first network sees.

  Args:
    reference: [B, H, W, 3] in [0, 1].
    sources: [B, N, H, W, 3] in [0, 1], the reference not among them.
    reference_pose: [B, 4, 4] from the world to the reference camera.
    source_poses: [B, N, 4, 4] likewise.
    depths: [D] or [B, D] of the planes, the farthest first.
    intrinsics: [B, 3, 3] of all cameras.

  Returns:
    [B, H, W, D, 3 N + 4]: the sources swept over the planes, the reference, and the
    number of the plane, 0 to 1; colours in [-1, 1].

  Source: M2 and M4; the authors' format_network_input.
  """
  chex.assert_rank([reference, sources], [4, 5])
  chex.assert_equal_shape_prefix([sources, source_poses], 2)
  batch, height, width, _ = reference.shape
  planes = depths.shape[-1]
  from_reference = rigid.invert(reference_pose)
  volumes = [
    mpi.plane_sweep_volume(
      signed(sources[:, index]),
      jnp.matmul(source_poses[:, index], from_reference, precision="highest"),
      depths,
      intrinsics,
    )
    for index in range(sources.shape[1])
  ]
  shape = (batch, height, width, planes)
  still = jnp.broadcast_to(signed(reference)[:, :, :, None], (*shape, 3))
  number = jnp.linspace(0, 1, planes, dtype=reference.dtype)[:, None]
  return jnp.concatenate(
    [*volumes, still, jnp.broadcast_to(number, (*shape, 1))], axis=-1
  )


def visible(layers: chex.Array) -> tuple[chex.Array, chex.Array]:
  """Returns what the second network sees of an MPI, and the colours it may use.

  No gradient passes.

  Args:
    layers: [B, H, W, D, 4].

  Returns:
    [B, H, W, D, 9]: visible colours, visible colours at or behind each plane, opacity
    times transmittance, transmittance, number of the plane 0 to 1; and [B, H, W, D, 3],
    the second of these.

  Source: M6 and M7. The opacity counts twice in the authors' code, not in the paper.
  """
  chex.assert_shape(layers, (None, None, None, None, 4))
  layers = jax.lax.stop_gradient(layers)
  alpha = layers[..., 3:]
  weight = mpi.transmittance(alpha[..., 0])[..., None]
  colors = layers[..., :3] * weight
  behind = jnp.cumsum(colors, axis=3)
  number = jnp.linspace(0, 1, layers.shape[3], dtype=layers.dtype)[:, None]
  number = jnp.broadcast_to(number, alpha.shape)
  parts = [colors, behind, alpha * weight, weight, number]
  return jnp.concatenate(parts, axis=-1), behind


def flow_gather(source: chex.Array, flow: chex.Array) -> chex.Array:
  """Returns each plane's colours moved by its flow.

  Args:
    source: [B, H, W, D, C].
    flow: [B, H, W, D, 2] (y, x) in pixels. Where they point beyond 0 or H and W, they
      are cut off there, and have no gradient; at H and W themselves there is nothing.

  Returns:
    [B, H, W, D, C]: source at (x + flow x, y + flow y).

  Source: Eq. 6; the authors' flow_gather.
  """
  chex.assert_rank([source, flow], 5)
  chex.assert_shape(flow, (*source.shape[:4], 2))
  height, width = source.shape[1:3]
  points = pixel_grid(height, width).astype(flow.dtype) + jnp.moveaxis(
    flow[..., ::-1], 3, 1
  )
  points = jnp.clip(points, 0.0, jnp.array([width, height], flow.dtype))
  moved = bilinear(jnp.moveaxis(source, 3, 1), points, outside="zero")
  return jnp.moveaxis(moved, 1, 3)


def predict_in_patches(
  predict: Callable[[chex.Array], chex.Array],
  volume: chex.Array,
  patch: tuple[int, int],
  kept: tuple[int, int],
) -> chex.Array:
  """Returns a prediction put together from the centres of patches.

  Args:
    predict: [B, *patch, D, C] -> [B, *patch, D, K], compiled once.
    volume: [B, H, W, D, C]; zeros surround it.
    patch: height and width of what is seen at once.
    kept: height and width of its centre that is kept.

  Returns:
    [B, H, W, D, K].

  Raises:
    ValueError: not 0 < kept <= patch, or an odd rim.

  Source: M11; the authors' predict_mpi_test.
  """
  chex.assert_rank(volume, 5)
  height, width = volume.shape[1:3]
  rims = []
  for whole, inner in zip(patch, kept, strict=True):
    if not 0 < inner <= whole or (whole - inner) % 2:
      raise ValueError(f"patches of {patch} cannot keep a centre of {kept}")
    rims.append((whole - inner) // 2)
  counts = [-(-n // k) for n, k in zip((height, width), kept, strict=True)]
  ends = [n * k - s for n, k, s in zip(counts, kept, (height, width), strict=True)]
  padding = [(rim, rim + end) for rim, end in zip(rims, ends, strict=True)]
  padded = jnp.pad(volume, ((0, 0), *padding, (0, 0), (0, 0)))
  rows = []
  for row in range(counts[0]):
    parts = []
    for column in range(counts[1]):
      top, left = row * kept[0], column * kept[1]
      seen = padded[:, top : top + patch[0], left : left + patch[1]]
      found = predict(seen)
      parts.append(found[:, rims[0] : rims[0] + kept[0], rims[1] : rims[1] + kept[1]])
    rows.append(jnp.concatenate(parts, axis=2))
  return jnp.concatenate(rows, axis=1)[:, :height, :width]


def signed(images: chex.Array) -> chex.Array:
  """Returns images [0, 1] in [-1, 1]."""
  return 2 * images - 1


def unsigned(images: chex.Array) -> chex.Array:
  """Returns images [-1, 1] in [0, 1]."""
  return (images + 1) / 2
