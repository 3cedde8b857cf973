"""Losses on residuals and images that learn how robust they should be.

A module holds one latent shape α and scale c (or degrees of freedom) for each output
dimension; they are parameters like a network's and are trained by the same optimiser.
Every module is called on residuals and returns the loss of each of their elements.

Source: Barron, A General and Adaptive Robust Loss Function, CVPR 2019.
"""

from collections.abc import Sequence

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.ops import bounded, cosine, robust, syuv, wavelets

REPRESENTATIONS = ("pixels", "dct", *wavelets.WAVELETS)
COLORS = ("rgb", "yuv")

_FIXED_ALPHAS = {
  "squared": 2.0,
  "charbonnier": 1.0,
  "cauchy": 0.0,
  "geman_mcclure": -2.0,
  "welsch": -jnp.inf,
}
_ADAPTIVE = {
  "adaptive": ("yuv", "cdf97", "adaptive"),
  "adaptive_dct": ("yuv", "dct", "adaptive"),
  "adaptive_pixels": ("rgb", "pixels", "adaptive"),
  "students_t": ("yuv", "cdf97", "students_t"),
}
RECONSTRUCTION_LOSSES = (*_FIXED_ALPHAS, *_ADAPTIVE)


class FixedLoss(nn.Module):
  """The general loss ρ(x, α, c) at one α and c; no parameters.

  Attributes:
    alpha: shape α, any number or ±∞.
    scale: c > 0, in the unit of the residuals.
  """

  alpha: float
  scale: float

  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the loss of each element of x [...]."""
    return robust.loss(x, self.alpha, self.scale)


class AdaptiveLoss(nn.Module):
  """Negative log-likelihood with a learned α and scale for each dimension.

  Attributes:
    shape: trailing shape of the residuals; each of its elements is a dimension.
    alpha_low: lowest α, ≥ 0.
    alpha_high: highest α. Where both are equal α is that constant, and no parameter.
    alpha_init: first α; the midpoint when None.
    scale_low: lowest scale, > 0 in the unit of the residuals.
    scale_init: first scale. Where it equals `scale_low` the scale is no parameter.
  """

  shape: Sequence[int]
  alpha_low: float = 0.001
  alpha_high: float = 1.999
  alpha_init: float | None = None
  scale_low: float = 1e-5
  scale_init: float = 1.0

  def setup(self):
    if not 0 <= self.alpha_low <= self.alpha_high:
      raise ValueError(f"need 0 ≤ {self.alpha_low=} ≤ {self.alpha_high=}")
    if self.alpha_low < self.alpha_high:
      middle = 0.5 * (self.alpha_low + self.alpha_high)
      first = middle if self.alpha_init is None else self.alpha_init
      if not self.alpha_low < first < self.alpha_high:
        raise ValueError(
          f"alpha_init={first} must lie between alpha_low and alpha_high"
        )
      latent = bounded.inverse_affine_sigmoid(
        jnp.array(first), self.alpha_low, self.alpha_high
      )
      self.latent_alpha = self.param(
        "latent_alpha", nn.initializers.constant(latent), self.shape
      )
    self.latent_scale = _latent_scale(self)

  def alpha(self) -> chex.Array:
    """Returns the shapes α, [*shape]."""
    # A sigmoid between equal bounds could round off α = 2, which is a case of its own.
    if self.alpha_low == self.alpha_high:
      return jnp.full(self.shape, self.alpha_low)
    return bounded.affine_sigmoid(self.latent_alpha, self.alpha_low, self.alpha_high)

  def scale(self) -> chex.Array:
    """Returns the scales c, [*shape]."""
    return _scale(self)

  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the negative log-likelihood of each element of x [..., *shape]."""
    return _by_dimension(robust.nll, x, self.alpha(), self.scale())


class StudentsTLoss(nn.Module):
  """Negative log-likelihood of Student's t-distributions that learn their tails.

  Attributes:
    shape, scale_low, scale_init: as in `AdaptiveLoss`.
  """

  shape: Sequence[int]
  scale_low: float = 1e-5
  scale_init: float = 1.0

  def setup(self):
    self.log_degrees = self.param("log_degrees", nn.initializers.zeros, self.shape)
    self.latent_scale = _latent_scale(self)

  def degrees(self) -> chex.Array:
    """Returns the degrees of freedom, [*shape]."""
    return jnp.exp(self.log_degrees)

  def scale(self) -> chex.Array:
    """Returns the scales c, [*shape]."""
    return _scale(self)

  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the negative log-likelihood of each element of x [..., *shape]."""
    return _by_dimension(robust.students_t_nll, x, self.degrees(), self.scale())


class ImageLoss(nn.Module):
  """A loss on the coefficients of an image in another representation.

  Attributes:
    loss: module on residuals [B, H, W, C], of that `shape` where it has one.
    color: "rgb" takes the channels as they are; "yuv" mixes three of them.
    representation: "pixels", "dct", "cdf97" or "legall53".
    levels: levels of a wavelet representation.
    base: factor per level of the wavelet's coefficients.
  """

  loss: nn.Module
  color: str = "yuv"
  representation: str = "cdf97"
  levels: int = 5
  base: float = 1.0

  def alpha(self) -> chex.Array:
    """Returns the shapes α of the coefficients, where the loss has them."""
    return self.loss.alpha()

  def scale(self) -> chex.Array:
    """Returns the scales c of the coefficients, where the loss learns them."""
    return self.loss.scale()

  def __call__(self, x: chex.Array) -> chex.Array:
    """Returns the loss of each coefficient of differences x [B, H, W, C]."""
    coefficients = to_coefficients(
      x, self.color, self.representation, levels=self.levels, base=self.base
    )
    return self.loss(coefficients)


def to_coefficients(
  x: chex.Array,
  color: str = "yuv",
  representation: str = "cdf97",
  *,
  levels: int = 5,
  base: float = 1.0,
) -> chex.Array:
  """Returns images in another basis: as many coefficients as there were pixels.

  All of them are linear and of volume 1 (the wavelets nearly: 0.03 nats a coefficient),
  so that likelihoods of differences in different representations can be compared.

  Args:
    x: [B, H, W, C] images or differences of images.
    color: one of COLORS; "yuv" needs three channels.
    representation: one of REPRESENTATIONS.
    levels: levels of a wavelet representation.
    base: level d of a wavelet representation is multiplied by base^d.

  Returns:
    [B, H, W, C]; coarse frequencies in the corner [0, 0].
  """
  chex.assert_rank(x, 4)
  if color not in COLORS:
    raise ValueError(f"color {color!r} is none of {', '.join(COLORS)}")
  if color == "yuv":
    x = syuv.rgb_to_syuv(x)
  if representation == "pixels":
    return x
  if representation == "dct":
    return cosine.dct(x)
  if representation not in REPRESENTATIONS:
    names = ", ".join(REPRESENTATIONS)
    raise ValueError(f"representation {representation!r} is none of {names}")
  pyramid = wavelets.decompose(x, levels, representation)
  return wavelets.flatten(wavelets.rescale(pyramid, base))


def reconstruction_loss(
  name: str, shape: Sequence[int], *, scale: float = 0.1
) -> nn.Module:
  """Returns the loss that an image-reconstruction experiment names in its config.

      loss = reconstruction_loss(config.loss, (64, 64, 3))
      variables = loss.init(key, prediction - image)
      value = jnp.mean(loss.apply(variables, prediction - image))

  Those that learn carry parameters, to be trained with the network's.

  Args:
    name: one of RECONSTRUCTION_LOSSES. "squared", "charbonnier", "cauchy",
      "geman_mcclure" and "welsch" are ρ(x, α, c) at a fixed α; "adaptive" (YUV,
      CDF 9/7), "adaptive_dct" (YUV), "adaptive_pixels" (RGB) and "students_t" (YUV,
      CDF 9/7) are likelihoods. Images of other than three channels keep theirs.
    shape: (H, W, C) of the images.
    scale: c of the fixed losses, and what the learned ones start from.

  Raises:
    ValueError: an unknown name.
  """
  if name in _FIXED_ALPHAS:
    return FixedLoss(_FIXED_ALPHAS[name], scale)
  if name not in _ADAPTIVE:
    names = ", ".join(RECONSTRUCTION_LOSSES)
    raise ValueError(f"loss {name!r} is none of {names}")
  height, width, channels = shape
  color, representation, kind = _ADAPTIVE[name]
  module = AdaptiveLoss if kind == "adaptive" else StudentsTLoss
  return ImageLoss(
    module(tuple(shape), scale_init=scale),
    color=color if channels == 3 else "rgb",
    representation=representation,
    levels=min(5, wavelets.max_levels(height, width)),
  )


def _by_dimension(nll, x, shape, scale):
  """Returns nll(x, shape, scale) of residuals x [..., *dimensions]."""
  chex.assert_shape(x, (..., *scale.shape))
  # On a matrix XLA's sums over the batch are five times as fast as on images.
  matrix = x.reshape(-1, scale.size)
  return nll(matrix, shape.ravel(), scale.ravel()).reshape(x.shape)


def _latent_scale(module):
  if not 0 < module.scale_low <= module.scale_init:
    raise ValueError(f"need 0 < {module.scale_low=} ≤ {module.scale_init=}")
  if module.scale_low == module.scale_init:
    return None
  return module.param("latent_scale", nn.initializers.zeros, module.shape)


def _scale(module):
  if module.latent_scale is None:
    return jnp.full(module.shape, module.scale_low)
  return bounded.affine_softplus(
    module.latent_scale, module.scale_low, module.scale_init
  )
