"""The whole generator: mapping, styles, synthesis (M3-M5, M10-M12)."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.papers.stylegan import styles
from jaxvision.papers.stylegan.mapping import Mapping
from jaxvision.papers.stylegan.synthesis import Synthesis


class Generator(nn.Module):
  """Maps latents z [N, Z] to images [N, r, r, colors].

  Attributes:
    mapping: Z -> W.
    synthesis: W -> images.

  Variables: "params" and, with noise, "noise" of the two parts under "mapping" and
  "synthesis"; "average" {"w": [W]}, the moving average of w, which truncation needs
  and training updates.

  Source: Figure 1b; the authors' G_style.
  """

  mapping: Mapping
  synthesis: Synthesis

  def setup(self):
    width = self.mapping.features
    self.average = self.variable("average", "w", jnp.zeros, (width,))

  def __call__(
    self,
    z: chex.Array,
    labels: chex.Array | None = None,
    *,
    psi: float | None = None,
    cutoff: int | None = 8,
    level: int = 0,
    fade: chex.Numeric | None = None,
    fresh_noise: bool = False,
  ) -> chex.Array:
    """Returns images in [-1, 1] or somewhat beyond.

    Args:
      z: [N, Z], drawn from N(0, 1).
      labels: [N, label_size], where the network has labels.
      psi: of truncation, 0.7 in the paper's figures; None for none, as in training and
        in all measures.
      cutoff: layers truncated; all when None.
      level: see `Synthesis`, as the next two.
      fade: lod - level.
      fresh_noise: whether noise is drawn for every image, from the key "noise".
    """
    w = self.broadcast(self.mapping(z, labels))
    if psi is not None:
      w = styles.truncate(w, self.average.value, psi=psi, cutoff=cutoff)
    return self.synthesis(w, level=level, fade=fade, fresh_noise=fresh_noise)

  def map(self, z: chex.Array, labels: chex.Array | None = None) -> chex.Array:
    """Returns w [N, W] of latents."""
    return self.mapping(z, labels)

  def synthesize(self, w: chex.Array, **options) -> chex.Array:
    """Returns the images of styles.

    Args:
      w: [N, W], or [N, L, W] with a style for each layer.
      **options: of `Synthesis`.
    """
    return self.synthesis(w if w.ndim == 3 else self.broadcast(w), **options)

  def broadcast(self, w: chex.Array) -> chex.Array:
    """Returns w [N, W] for every layer: [N, L, W]."""
    shape = (len(w), self.synthesis.num_layers, w.shape[-1])
    return jnp.broadcast_to(w[:, None], shape)

  def train(
    self,
    z: chex.Array,
    labels: chex.Array | None = None,
    *,
    mixing_probability: chex.Numeric | None = 0.9,
    decay: float = 0.995,
    level: int = 0,
    fade: chex.Numeric | None = None,
  ) -> chex.Array:
    """Returns the images of a training step, with mixed styles and fresh noise.

    Needs the keys "mixing" and "noise", and the collection "average" mutable.

    Args:
      z: [N, Z], drawn from N(0, 1).
      labels: [N, label_size], where the network has labels.
      mixing_probability: how often the styles of a batch come from two latents, may
        be traced; None for never, without drawing a second latent.
      decay: of the moving average of w.
      level: see `Synthesis`, as the next.
      fade: lod - level.
    """
    w = self.mapping(z, labels)
    self.average.value = styles.update_average(self.average.value, w, decay=decay)
    w = self.broadcast(w)
    if mixing_probability is not None:
      latent_key, crossover_key = jax.random.split(self.make_rng("mixing"))
      other = jax.random.normal(latent_key, z.shape, z.dtype)
      layers = self.synthesis.num_layers - 2 * level
      crossover = styles.draw_crossover(
        crossover_key, layers, probability=mixing_probability
      )
      w = styles.mix(w, self.broadcast(self.mapping(other, labels)), crossover)
    return self.synthesis(w, level=level, fade=fade, fresh_noise=True)
