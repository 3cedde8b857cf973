"""Perceptual path length: how smoothly images change with their latents.

Source: Section 4.1, Eq. 2 and 3; the authors' perceptual_path_length.py.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import interpolation, resampling
from jaxvision.papers.stylegan.generator import Generator
from jaxvision.papers.stylegan.synthesis import sample_noise

Distance = Callable[[chex.Array, chex.Array], chex.Array]


def endpoints(
  key: chex.PRNGKey,
  map_latents: Callable[[chex.Array], chex.Array],
  shape: tuple[int, int],
  *,
  space: str = "w",
  sampling: str = "full",
  epsilon: float = 1e-4,
) -> tuple[chex.Array, chex.Array]:
  """Returns pairs of w that are a step ε of a path apart, [N, W] twice.

  Args:
    key: of the latents and the places on their paths.
    map_latents: z [N, Z] -> w [N, W].
    shape: N and Z.
    space: "w" for straight paths between mapped latents, "z" for arcs between latents.
    sampling: "full" for places t uniform in [0, 1), "end" for t = 0.
    epsilon: ε.

  Raises:
    ValueError: on another space or sampling.
  """
  if space not in ("w", "z") or sampling not in ("full", "end"):
    raise ValueError(f"space {space!r} is not w or z, or {sampling!r} not full or end")
  latents, places = jax.random.split(key)
  pairs = jax.random.normal(latents, (2, *shape))
  t = jax.random.uniform(places, (shape[0], 1)) * (sampling == "full")
  if space == "w":
    a, b = map_latents(pairs[0]), map_latents(pairs[1])
    return interpolation.lerp(a, b, t), interpolation.lerp(a, b, t + epsilon)
  return (
    map_latents(interpolation.slerp(*pairs, t)),
    map_latents(interpolation.slerp(*pairs, t + epsilon)),
  )


def crop_to_face(images: chex.Array) -> chex.Array:
  """Returns the part of aligned portraits that holds the face.

  Args:
    images: [N, H, H, C].

  Returns:
    Rows 3c to 7c and columns 2c to 6c of the images, c = H // 8.
  """
  chex.assert_rank(images, 4)
  eighth = images.shape[1] // 8
  return images[:, 3 * eighth : 7 * eighth, 2 * eighth : 6 * eighth]


def distances(
  generator: Generator,
  variables: Any,
  distance: Distance,
  key: chex.PRNGKey,
  shape: tuple[int, int],
  *,
  space: str = "w",
  sampling: str = "full",
  epsilon: float = 1e-4,
  crop: bool = True,
  largest: int = 256,
  level: int = 0,
) -> chex.Array:
  """Returns the perceptual distances d / ε² of one batch of pairs, [N].

  Both images of a pair, and all pairs of the batch, share one draw of the constant
  noise. In float32 the default ε leaves few digits of d; 1e-3 to 1e-2 is safer with
  small networks.

  Args:
    generator: the network, without labels.
    variables: its variables.
    distance: two batches of images in [0, 255] -> [N] squared distances.
    key: of the batch.
    shape: N and Z.
    space: see `endpoints`, as the next two.
    sampling: "full" or "end".
    epsilon: ε.
    crop: whether images are cropped to the face.
    largest: side to which larger images are averaged.
    level: of growing.
  """
  noise_key, path_key = jax.random.split(key)

  def map_latents(z):
    return generator.apply(variables, z, method="map")

  pairs = endpoints(
    path_key, map_latents, shape, space=space, sampling=sampling, epsilon=epsilon
  )
  found = pair_distances(
    generator,
    variables,
    distance,
    noise_key,
    *pairs,
    crop=crop,
    largest=largest,
    level=level,
  )
  return found / epsilon**2


def pair_distances(
  generator: Generator,
  variables: Any,
  distance: Distance,
  key: chex.PRNGKey,
  a: chex.Array,
  b: chex.Array,
  *,
  crop: bool = True,
  largest: int = 256,
  level: int = 0,
) -> chex.Array:
  """Returns the perceptual distances [N] between images of a and b [N, W].

  Other arguments as `distances`; `key` is that of the noise.
  """
  if generator.synthesis.use_noise:
    noise = sample_noise(key, generator.synthesis.resolution)
    variables = {**variables, "noise": {"synthesis": noise}}
  w = jnp.concatenate([a, b])
  images = generator.apply(variables, w, level=level, method="synthesize")
  images = crop_to_face(images) if crop else images
  factor = images.shape[1] // largest
  images = resampling.downsample_box(images, factor) if factor > 1 else images
  images = (images + 1) * (255 / 2)
  return distance(*jnp.split(images, 2))


def filtered_mean(
  values: np.ndarray, *, lowest: float = 1.0, highest: float = 99.0
) -> float:
  """Returns the mean of the values between two percentiles, both included.

  Args:
    values: [N] distances.
    lowest: percentile below which values are dropped; rounded down to a value.
    highest: percentile above which they are; rounded up.

  Raises:
    ValueError: if there are none, or one is NaN.
  """
  values = np.asarray(values, np.float64)
  chex.assert_rank(values, 1)
  if not len(values) or np.isnan(values).any():
    raise ValueError(f"{len(values)} distances, {np.isnan(values).sum()} of them NaN")
  low = np.percentile(values, lowest, method="lower")
  high = np.percentile(values, highest, method="higher")
  return float(values[(low <= values) & (values <= high)].mean())
