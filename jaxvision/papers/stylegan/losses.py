"""Adversarial losses and gradient penalties, one number for each example (M13).

Losses take scores [N]; penalties take the function `score` that makes them from images
[N, r, r, C]. Batch means are left to the caller.

The authors differentiate with respect to images whose pixels are repeated to the full
resolution. At level l of growing a pixel is spread over 4^l, and squared gradients are
4^l times smaller than those with respect to the small images that enter here.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops.interpolation import lerp

Score = Callable[[chex.Array], chex.Array]


def generator_loss(kind: str, fake_scores: chex.Array) -> chex.Array:
  """Returns what the generator minimises, [N].

  Args:
    kind: "nonsaturating", "saturating" or "wgan" (also that of the hinge loss).
    fake_scores: [N].

  Raises:
    ValueError: on another kind.
  """
  chex.assert_rank(fake_scores, 1)
  losses = {
    "nonsaturating": lambda s: jax.nn.softplus(-s),
    "saturating": lambda s: -jax.nn.softplus(s),
    "wgan": lambda s: -s,
  }
  return _choose(losses, kind)(fake_scores)


def discriminator_loss(
  kind: str, real_scores: chex.Array, fake_scores: chex.Array, *, drift: float = 1e-3
) -> chex.Array:
  """Returns what the discriminator minimises, [N], without penalties.

  Args:
    kind: "logistic", "wgan" or "hinge".
    real_scores: [N].
    fake_scores: [N].
    drift: "wgan": weight of the squared scores of real images.

  Raises:
    ValueError: on another kind.
  """
  chex.assert_rank([real_scores, fake_scores], 1)
  chex.assert_equal_shape([real_scores, fake_scores])
  losses = {
    "logistic": lambda r, f: jax.nn.softplus(f) + jax.nn.softplus(-r),
    "wgan": lambda r, f: f - r + drift * jnp.square(r),
    "hinge": lambda r, f: jax.nn.relu(1 + f) + jax.nn.relu(1 - r),
  }
  return _choose(losses, kind)(real_scores, fake_scores)


def simple_penalty(
  score: Score, images: chex.Array, *, gamma: float = 10.0, level: int = 0
) -> chex.Array:
  """Returns γ/2 |∂ score / ∂ image|², [N]: R1 on real images, R2 on fakes.

  Args:
    score: images -> [N].
    images: [N, r, r, C].
    gamma: weight γ.
    level: of growing, at which the images are.

  Source: Mescheder et al., ICML 2018, Eq. 9 and 10.
  """
  return scored_penalty(score, images, gamma=gamma, level=level)[1]


def scored_penalty(
  score: Score, images: chex.Array, *, gamma: float = 10.0, level: int = 0
) -> tuple[chex.Array, chex.Array]:
  """Returns scores [N] and `simple_penalty` [N], which share a pass of the network."""
  scores, squares = _scores_and_squares(score, images, level)
  return scores, 0.5 * gamma * squares


def distance_penalty(
  score: Score,
  reals: chex.Array,
  fakes: chex.Array,
  mixing: chex.Array,
  *,
  weight: float = 10.0,
  target: float = 1.0,
  level: int = 0,
) -> chex.Array:
  """Returns λ (|∂ score / ∂ image| - t)² / t² between real and fake images, [N].

  Args:
    score: images -> [N].
    reals: [N, r, r, C].
    fakes: [N, r, r, C].
    mixing: [N] uniform in [0, 1]: 0 takes the real image, 1 the fake one.
    weight: λ.
    target: t.
    level: of growing, at which the images are.

  Source: Gulrajani et al., NeurIPS 2017, Eq. 3.
  """
  chex.assert_equal_shape([reals, fakes])
  chex.assert_shape(mixing, (len(reals),))
  between = lerp(reals, fakes, mixing[:, None, None, None])
  _, squares = _scores_and_squares(score, between, level)
  # The root of 0 has no derivative; a gradient of 0 gets the subgradient 0.
  is_zero = squares == 0
  norms = jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))
  return jnp.square(norms - target) * (weight / target**2)


def _scores_and_squares(
  score: Score, images: chex.Array, level: int
) -> tuple[chex.Array, chex.Array]:
  """Returns scores and |∂ Σ score / ∂ image|², both [N]."""
  chex.assert_rank(images, 4)
  scores, pull_back = jax.vjp(score, images)
  (gradients,) = pull_back(jnp.ones_like(scores))
  return scores, jnp.sum(jnp.square(gradients), axis=(1, 2, 3)) / 4**level


def _choose(losses: dict, kind: str) -> Callable:
  if kind not in losses:
    raise ValueError(f"loss {kind!r} is none of {', '.join(losses)}")
  return losses[kind]
