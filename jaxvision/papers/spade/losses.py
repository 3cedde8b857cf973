"""Losses: adversarial, matched features, perceptual, and of the styles (M7)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvision.nn import vgg
from jaxvision.nn.vgg_features import vgg_features
from jaxvision.papers.spade.discriminator import Judgement

Mode = Literal["hinge", "ls", "original", "w"]
MODES: tuple[Mode, ...] = ("hinge", "ls", "original", "w")

FEATURES_WEIGHT = 10.0
PERCEPTUAL_WEIGHT = 10.0
STYLE_WEIGHT = 0.05
# VGG-19's convolutions whose activations are compared, and how much they count.
PERCEPTUAL_LAYERS = {
  "conv1_1": 1 / 32,
  "conv2_1": 1 / 16,
  "conv3_1": 1 / 8,
  "conv4_1": 1 / 4,
  "conv5_1": 1.0,
}


def discriminator_loss(
  judgements: Sequence[Judgement], is_real: bool, mode: Mode = "hinge"
) -> chex.Array:
  """Returns the mean over scales of what the discriminator pays for these images.

  Args:
    judgements: of each scale.
    is_real: whether the images are.
    mode: "hinge", "ls" (squared distance to 1 or 0), "original" (cross-entropy) or
      "w" (Wasserstein, the signed mean).

  Raises:
    ValueError: an unknown mode, or no scale.
  """
  return _mean_over_scales(judgements, lambda x: _pointwise(x, is_real, mode))


def generator_loss(judgements: Sequence[Judgement], mode: Mode = "hinge") -> chex.Array:
  """Returns the mean over scales of what the generator pays for its images.

  Under "hinge" that is -mean of the logits, without a hinge; under the others it is
  what the discriminator would pay if the images were real.
  """
  if mode == "hinge":
    return _mean_over_scales(judgements, lambda x: -x)
  return discriminator_loss(judgements, True, mode)


def feature_matching_loss(
  fake: Sequence[Judgement], real: Sequence[Judgement]
) -> chex.Array:
  """Returns how far activations for fake images are from those for real ones.

  It is the sum over layers but the logits of mean absolute differences, averaged over
  scales; only the fake ones have a gradient.

  Args:
    fake: judgements of each scale.
    real: judgements of the images that the fake ones should be.
  """
  total = 0.0
  for ours, theirs in zip(fake, real, strict=True):
    pairs = zip(ours.features[:-1], theirs.features[:-1], strict=True)
    total += sum(_distance(x, y) for x, y in pairs)
  return total / len(fake)


def perceptual_loss(
  variables: Mapping[str, Any], fake: chex.Array, real: chex.Array
) -> chex.Array:
  """Returns the weighted distance of VGG-19's activations.

  Args:
    variables: of `nn.vgg.VGG` up to conv5_1.
    fake: [B, H, W, 3] in [-1, 1], which is how the authors' code passes them, without
      the normalisation by ImageNet's mean and deviation; sides at least 16.
    real: [B, H, W, 3]; no gradient reaches it.
  """
  chex.assert_rank([fake, real], 4)
  chex.assert_equal_shape([fake, real])
  ours = vgg_features(variables, fake, tuple(PERCEPTUAL_LAYERS))
  theirs = vgg_features(variables, real, tuple(PERCEPTUAL_LAYERS))
  terms = zip(PERCEPTUAL_LAYERS.values(), ours, theirs, strict=True)
  return sum(weight * _distance(x, y) for weight, x, y in terms)


def random_vgg(key: chex.PRNGKey) -> dict[str, Any]:
  """Returns untrained variables of VGG-19 up to conv5_1."""
  *stages, last = vgg.VGG19
  network = vgg.VGG(num_classes=0, stages=(*stages, last[:1]), pool_last=False)
  return dict(network.init(key, jnp.zeros((1, 16, 16, 3))))


def style_divergence(mean: chex.Array, log_variance: chex.Array) -> chex.Array:
  """Returns the Kullback-Leibler divergence from N(0, I), summed over the batch too.

  Args:
    mean: [B, Z].
    log_variance: [B, Z].
  """
  chex.assert_equal_shape([mean, log_variance])
  terms = 1 + log_variance - jnp.square(mean) - jnp.exp(log_variance)
  return -0.5 * jnp.sum(terms)


def _distance(x: chex.Array, y: chex.Array) -> chex.Array:
  return jnp.mean(jnp.abs(x - jax.lax.stop_gradient(y)))


def _mean_over_scales(judgements, loss):
  if not judgements:
    raise ValueError("judgements: there is no scale")
  return sum(jnp.mean(loss(one.logits)) for one in judgements) / len(judgements)


def _pointwise(logits, is_real, mode):
  sign = 1.0 if is_real else -1.0
  match mode:
    case "hinge":
      return jnp.maximum(1 - sign * logits, 0)
    case "ls":
      return jnp.square(logits - float(is_real))
    case "original":
      return optax.sigmoid_binary_cross_entropy(logits, float(is_real))
    case "w":
      return -sign * logits
  raise ValueError(f"mode is {mode!r}, none of {MODES}")
