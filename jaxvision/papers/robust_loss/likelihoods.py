"""The distributions and image representations that the paper compares (Table 1).

A distribution is a module on residuals that returns negative log-likelihoods; see
`jaxvision.nn.robust_losses`. `AnyLikelihood` is all of them at once.
"""

import dataclasses
from collections.abc import Sequence

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn import robust_losses
from jaxvision.ops import robust

DISTRIBUTIONS = ("normal", "cauchy", "students_t", "adaptive")
# Colour space and basis of each representation.
REPRESENTATIONS = {
  "pixels": ("rgb", "pixels"),
  "dct": ("yuv", "dct"),
  "wavelets": ("yuv", "cdf97"),
}
TITLES = {
  "normal": "Normal",
  "cauchy": "Cauchy",
  "students_t": "Student's t",
  "adaptive": "Ours",
  "pixels": "pixels, RGB",
  "dct": "DCT, YUV",
  "wavelets": "wavelets, YUV",
}
# The mean ELBO in nats that the paper reports.
PAPER_ELBO = {
  "pixels": dict(zip(DISTRIBUTIONS, (8662, 9602, 10177, 10240), strict=True)),
  "dct": dict(zip(DISTRIBUTIONS, (31837, 31295, 32804, 32806), strict=True)),
  "wavelets": dict(zip(DISTRIBUTIONS, (31505, 35779, 36373, 36316), strict=True)),
}


@dataclasses.dataclass(frozen=True)
class Bounds:
  """Where α and the scale of each dimension may go, and where they begin.

  Attributes:
    alpha_low, alpha_high, alpha_init, scale_low, scale_init: see
      `robust_losses.AdaptiveLoss`. These are the numbers of the paper's VAE.
  """

  alpha_low: float = 0.0
  alpha_high: float = 3.0
  alpha_init: float = 1.0
  scale_low: float = 1e-8
  scale_init: float = 0.01


def likelihood(
  distribution: str, shape: Sequence[int], bounds: Bounds = Bounds()
) -> nn.Module:
  """Returns a distribution of residuals [..., *shape], one for each element of shape.

  Args:
    distribution: one of DISTRIBUTIONS.
    shape: trailing shape of the residuals.
    bounds: of the parameters.
  """
  scale = {"scale_low": bounds.scale_low, "scale_init": bounds.scale_init}
  if distribution == "students_t":
    return robust_losses.StudentsTLoss(shape, **scale)
  alpha = {
    "normal": {"alpha_low": 2.0, "alpha_high": 2.0},
    "cauchy": {"alpha_low": 0.0, "alpha_high": 0.0},
    "adaptive": {
      "alpha_low": bounds.alpha_low,
      "alpha_high": bounds.alpha_high,
      "alpha_init": bounds.alpha_init,
    },
  }[distribution]
  return robust_losses.AdaptiveLoss(shape, **alpha, **scale)


class AnyLikelihood(nn.Module):
  """Every distribution on every representation, chosen by numbers at run time.

  One compilation serves the whole of Table 1. The parameters of all distributions are
  there; those that the chosen one does not have get gradients of zero.

  Attributes:
    shape: (H, W, 3) of the images.
    levels: levels of the wavelets.
    bounds: of the parameters.
  """

  shape: Sequence[int]
  levels: int = 5
  bounds: Bounds = Bounds()

  def setup(self):
    self.adaptive = likelihood("adaptive", self.shape, self.bounds)
    self.log_degrees = self.param("log_degrees", nn.initializers.zeros, self.shape)

  def alpha(self) -> chex.Array:
    """Returns the shapes α of "adaptive", [H, W, 3]."""
    return self.adaptive.alpha()

  def scale(self) -> chex.Array:
    """Returns the scales c, which all distributions share, [H, W, 3]."""
    return self.adaptive.scale()

  def __call__(
    self, x: chex.Array, distribution: chex.Numeric, representation: chex.Numeric
  ) -> chex.Array:
    """Returns the negative log-likelihoods [B, H, W, 3] of the coefficients.

    Args:
      x: [B, H, W, 3] differences of RGB images.
      distribution: index into DISTRIBUTIONS.
      representation: index into REPRESENTATIONS.
    """
    chex.assert_shape(x, (None, *self.shape))

    def transform(color, basis):
      return lambda x: robust_losses.to_coefficients(
        x, color, basis, levels=self.levels
      )

    transforms = [transform(*names) for names in REPRESENTATIONS.values()]
    coefficients = jax.lax.switch(representation, transforms, x)
    # On a matrix XLA's sums over the batch are five times as fast as on images.
    matrix = coefficients.reshape(len(x), -1)
    learned, scale = self.alpha().ravel(), self.scale().ravel()
    degrees = jnp.exp(self.log_degrees).ravel()
    # α is exactly 2 and 0 for the first two, so that their limits hold.
    alpha = jnp.select(
      [distribution == DISTRIBUTIONS.index(name) for name in ("normal", "cauchy")],
      [jnp.full_like(learned, 2.0), jnp.zeros_like(learned)],
      learned,
    )
    losses = jax.lax.cond(
      distribution == DISTRIBUTIONS.index("students_t"),
      lambda x: robust.students_t_nll(x, degrees, scale),
      lambda x: robust.nll(x, alpha, scale),
      matrix,
    )
    return losses.reshape(x.shape)
