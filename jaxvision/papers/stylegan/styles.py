"""What is done with styles between mapping and synthesis (M10-M12, M15)."""

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops.interpolation import lerp

# Layers whose styles are coarse (4² and 8² pixels), middle (16², 32²), fine (the rest).
COARSE, MIDDLE, FINE = slice(0, 4), slice(4, 8), slice(8, None)


def truncate(
  w: chex.Array, average: chex.Array, *, psi: float = 0.7, cutoff: int | None = 8
) -> chex.Array:
  """Returns styles moved towards their average, for images of a safer kind.

  Args:
    w: [N, L, W].
    average: [W].
    psi: what is left of the distance: 1 changes nothing, 0 gives the average image.
    cutoff: number of layers that are changed, the first ones; all when None.

  Source: Appendix B.
  """
  chex.assert_rank([w, average], [3, 1])
  changed = slice(None, cutoff)
  return w.at[:, changed].set(lerp(average, w[:, changed], psi))


def update_average(
  average: chex.Array, w: chex.Array, *, decay: float = 0.995
) -> chex.Array:
  """Returns the moving average of w after one more batch; it has no gradient.

  Args:
    average: [W].
    w: [N, W], before styles are mixed.
    decay: what is left of the old average.
  """
  chex.assert_rank([w, average], [2, 1])
  return jax.lax.stop_gradient(lerp(jnp.mean(w, axis=0), average, decay))


def draw_crossover(
  key: chex.PRNGKey, layers: int, *, probability: chex.Numeric = 0.9
) -> chex.Array:
  """Returns the layer from which on the second styles are used, one for a batch.

  Args:
    key: of this batch.
    layers: L, those that the current level of growing has.
    probability: of mixing. Without, the result is L: no layer takes the second.

  Returns:
    int32, uniform over 1, ..., L - 1 where styles are mixed.
  """
  mixes, place = jax.random.split(key)
  crossover = jax.random.randint(place, (), 1, max(layers, 2))
  return jnp.where(jax.random.uniform(mixes) < probability, crossover, layers)


def mix(first: chex.Array, second: chex.Array, crossover: chex.Numeric) -> chex.Array:
  """Returns the first styles in the layers before `crossover`, else the second.

  Args:
    first: [N, L, W].
    second: [N, L, W].
    crossover: number of layers that the first have.

  Source: Section 3.1.
  """
  chex.assert_rank([first, second], 3)
  chex.assert_equal_shape([first, second])
  is_first = jnp.arange(first.shape[1]) < crossover
  return jnp.where(is_first[:, None], first, second)


def mix_many(
  key: chex.PRNGKey, w: chex.Array, latents: chex.Numeric | None = None
) -> chex.Array:
  """Returns styles that change at random layers, as Table 2 tests.

  Args:
    key: of the layers, drawn for each image.
    w: [N, K, L, W], the styles of K latents of each image.
    latents: how many of them are used, the first ones; may be traced; K when None.

  Returns:
    [N, L, W]: the latents' layers in their order, with crossovers that are uniform
    over 1, ..., L - 1; where two fall together a latent is left out.
  """
  chex.assert_rank(w, 4)
  number, most, layers = w.shape[:3]
  places = jax.random.randint(key, (number, most - 1), 1, max(layers, 2))
  is_used = jnp.arange(1, most) < (most if latents is None else latents)
  passed = (places[:, :, None] <= jnp.arange(layers)) & is_used[:, None]
  chosen = jnp.sum(passed, axis=1)  # [N, L]
  return jnp.take_along_axis(w, chosen[:, None, :, None], axis=1)[:, 0]
