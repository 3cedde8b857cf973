"""Measures of a trained generator: sets of images, paths, planes, noise (Section 4)."""

import functools
from collections.abc import Iterable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import frechet
from jaxvision.ops.resampling import downsample_box, upsample_nearest
from jaxvision.papers.stylegan import growing, path_length, quality, separability
from jaxvision.papers.stylegan import styles as style_mixing
from jaxvision.papers.stylegan.features import Judge
from jaxvision.papers.stylegan.generator import Generator
from jaxvision.train import jit_once

MOST_LATENTS = 4  # of Table 2
PATHS = (("z", "full"), ("z", "end"), ("w", "full"), ("w", "end"))


class Evaluator:
  """Compiled measures of generators of one structure.

  Every method takes the generator's variables, and a key from which all its random
  numbers come.
  """

  def __init__(self, generator: Generator, latent: int, judge: Judge, batch: int):
    """Takes the network without labels, the length of z, the judge, and a batch."""
    self.generator, self.latent, self.judge = generator, latent, judge
    self.batch = batch

  @functools.cached_property
  def _draw(self):
    def draw(variables, key, latents):
      """Returns z of the first latents [N, Z] and mixed styles [N, L, W]."""
      normal, place = jax.random.split(key)
      z = jax.random.normal(normal, (self.batch, MOST_LATENTS, self.latent))
      w = self.generator.apply(variables, z.reshape(-1, self.latent), method="map")
      w = self.generator.apply(variables, w, method="broadcast")
      w = w.reshape(self.batch, MOST_LATENTS, *w.shape[1:])
      return z[:, 0], style_mixing.mix_many(place, w, latents)

    return jit_once(draw)

  @functools.cached_property
  def _render(self):
    def render(variables, w, key):
      return self.generator.apply(
        variables, w, fresh_noise=True, method="synthesize", rngs={"noise": key}
      )

    return jax.jit(render)

  def sample(
    self, variables: Any, key: chex.PRNGKey, *, latents: int = 1
  ) -> chex.Array:
    """Returns a batch of images with fresh noise and no truncation.

    Args:
      variables: of the generator.
      key: of the batch.
      latents: that each image mixes at random layers, at most MOST_LATENTS.
    """
    styles_key, noise = jax.random.split(key)
    _, w = self._draw(variables, styles_key, latents)
    return self._render(variables, w, noise)

  def statistics(self, batches: Iterable[np.ndarray]) -> frechet.Statistics:
    """Returns the moments of batches of real images [N, R, R, C] uint8."""
    return quality.statistics(self.judge.features, batches)

  def frechet(
    self,
    variables: Any,
    key: chex.PRNGKey,
    reals: frechet.Statistics,
    count: int,
    *,
    latents: int = 1,
  ) -> float:
    """Returns the Fréchet distance of the judge's features to those of real images."""
    generate = functools.partial(self.sample, variables, latents=latents)
    batches = -(-count // self.batch)
    fakes = quality.statistics(
      self.judge.features, quality.generated(generate, key, batches)
    )
    return frechet.frechet_distance(fakes, reals)

  @functools.cached_property
  def _endpoints(self):
    def endpoints(variables, key, space, sampling, epsilon):
      def map_latents(z):
        return self.generator.apply(variables, z, method="map")

      return path_length.endpoints(
        key,
        map_latents,
        (self.batch, self.latent),
        space=space,
        sampling=sampling,
        epsilon=epsilon,
      )

    return jit_once(endpoints, static_argnums=(2, 3, 4))

  @functools.cached_property
  def _apart(self):
    def apart(variables, key, pairs, crop):
      return path_length.pair_distances(
        self.generator, variables, self.judge.distance, key, *pairs, crop=crop
      )

    return jax.jit(apart, static_argnums=3)

  def path_length(
    self,
    variables: Any,
    key: chex.PRNGKey,
    count: int,
    *,
    space: str,
    sampling: str,
    epsilon: float = 1e-4,
    crop: bool = True,
  ) -> float:
    """Returns the perceptual path length; see `path_length.distances`."""
    found = []
    for number in range(-(-count // self.batch)):
      noise, path = jax.random.split(jax.random.fold_in(key, number))
      pairs = self._endpoints(variables, path, space, sampling, epsilon)
      found.append(self._apart(variables, noise, pairs, crop))
    distances = np.concatenate(found)[:count] / epsilon**2
    return path_length.filtered_mean(distances)

  def _judged(self, variables, key):
    """Returns z [N, Z], w [N, W] and the factors that the judge sees in images."""
    styles_key, noise = jax.random.split(key)
    z, w = self._draw(variables, styles_key, 1)
    images = growing.to_uint8(self._render(variables, w, noise))
    return z, w[:, -1], self.judge.factors(images.astype(jnp.float32))

  def separability(
    self, variables: Any, key: chex.PRNGKey, count: int
  ) -> dict[str, np.ndarray]:
    """Returns the conditional entropy of each attribute, in bits.

    An attribute is whether a factor is above 1/2; of `count` images the half is kept
    whose factor, as the judge sees it, is farthest from that.

    Returns:
      {"z": [factors], "w": [factors]}.
    """
    parts = [
      self._judged(variables, jax.random.fold_in(key, number))
      for number in range(-(-count // self.batch))
    ]
    z, w, factors = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
    entropies = {"z": [], "w": []}
    for factor in factors.T:
      kept, labels = separability.most_confident(0.5 - factor, len(factor) // 2)
      for space, latents in (("z", z), ("w", w)):
        entropies[space].append(separability.attribute_entropy(latents[kept], labels))
    return {space: np.array(found) for space, found in entropies.items()}

  def realisations(self, variables: Any, key: chex.PRNGKey, number: int) -> np.ndarray:
    """Returns images [number, batch, R, R, C]: the same styles, other noise."""
    styles_key, noise = jax.random.split(key)
    _, w = self._draw(variables, styles_key, 1)
    keys = jax.random.split(noise, number)
    return np.stack([self._render(variables, w, key) for key in keys])

  def locality(
    self, variables: Any, key: chex.PRNGKey, *, number: int = 16, cell: int = 4
  ) -> dict[str, float]:
    """Returns variances over noise and over styles, of coarse and of fine detail.

    Coarse are the means of squares of `cell` pixels, fine is what is left.

    Returns:
      {"noise coarse", "noise fine", "style coarse", "style fine"}, means over pixels
      of images in [-1, 1].
    """
    return variances(self.realisations(variables, key, number), cell=cell)


def variances(images: np.ndarray, *, cell: int = 4) -> dict[str, float]:
  """Returns what `Evaluator.locality` says of images [noise, style, R, R, C]."""
  chex.assert_rank(images, 5)
  flat = images.reshape(-1, *images.shape[2:])
  coarse = downsample_box(jnp.asarray(flat), cell)
  fine = np.asarray(flat - upsample_nearest(coarse, cell))
  found = {}
  for name, part in (("coarse", np.asarray(coarse)), ("fine", fine)):
    part = part.reshape(*images.shape[:2], -1)
    found[f"noise {name}"] = float(np.mean(np.var(part, axis=0, ddof=1)))
    # Styles differ in the means over noise.
    found[f"style {name}"] = float(np.mean(np.var(part.mean(axis=0), axis=0, ddof=1)))
  return found
