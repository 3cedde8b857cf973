"""The general robust loss ρ(x, α, c) and the probability density it belongs to.

With z = (x/c)² and b = |α - 2|, the loss is ρ = b/α ((z/b + 1)^(α/2) - 1). The shape α
moves it continuously through squared error (α = 2, the limit z/2), Charbonnier (1),
Cauchy (0, the limit log(1 + z/2)), Geman-McClure (-2) and Welsch (-∞, the limit
1 - exp(-z/2)); at +∞ it is exp(z/2) - 1. Half precision is computed in float32.

Source: Barron, A General and Adaptive Robust Loss Function, CVPR 2019.
"""

import math

import chex
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxvision.ops.robust_partition import log_partition

# Below this distance from 0 and 2, |α| and |α - 2| are replaced by it.
_EPSILON = 2.0**-23
# From here on the power is its limit to all digits, and 1 / |α - 2| would underflow.
_INFINITE = 1e30


def loss(x: chex.Array, alpha: chex.Numeric, scale: chex.Numeric) -> chex.Array:
  """Returns ρ(x, α, c) with its limits at α = 0, 2 and ±∞.

  Value and first derivatives are finite for every finite input; |x/c| counts at most
  as 1e15 in float32. The derivative by α diverges at 2 and is delicate at 0 and ±∞;
  it is defined as exactly 0 at all four.

  Args:
    x: [...] residuals.
    alpha: shape α, any number or ±∞; broadcasts against x.
    scale: c > 0, the unit of x below which a residual counts as an inlier; broadcasts
      against x.

  Returns:
    [...] losses ≥ 0: 0 at x = 0 and x²/(2c²) near it, whatever α.

  Source: Eq. 1, 8 and 9.
  """
  x, alpha, scale, dtype = _prepare(x, alpha, scale)
  return _rho(x, alpha, scale).astype(dtype)


def weight(x: chex.Array, alpha: chex.Numeric, scale: chex.Numeric) -> chex.Array:
  """Returns the weight of a residual in iteratively reweighted least squares.

  It is (dρ/dx) c²/x = (z/b + 1)^(α/2 - 1) with the limits of `loss`: 1 at x = 0 and,
  for α < 2, falling to 0 for outliers.

  Args:
    x: [...] residuals.
    alpha: shape α, any number or ±∞; broadcasts against x.
    scale: c > 0, in the unit of x; broadcasts against x.

  Source: Eq. 9; Section 3.3.
  """
  x, alpha, scale, dtype = _prepare(x, alpha, scale)
  return _Terms(x, alpha, scale, _limits(x.dtype)).weight.astype(dtype)


def approximate_loss(
  x: chex.Array, alpha: chex.Numeric, scale: chex.Numeric, *, epsilon: float = 1e-6
) -> chex.Array:
  """Returns ρ(x, α, c) without branches, inexact only near x = α = 0.

  Args:
    x: [...] residuals.
    alpha: finite shape α; broadcasts against x.
    scale: c > 0, in the unit of x; broadcasts against x.
    epsilon: how far α is kept from 0 and 2.

  Source: supplement, "Practical implementation".
  """
  x, alpha, scale, dtype = _prepare(x, alpha, scale)
  b = jnp.abs(alpha - 2) + epsilon
  d = jnp.where(alpha >= 0, alpha + epsilon, alpha - epsilon)
  return (b / d * ((jnp.square(x / scale) / b + 1) ** (d / 2) - 1)).astype(dtype)


def nll(x: chex.Array, alpha: chex.Numeric, scale: chex.Numeric) -> chex.Array:
  """Returns the negative log-likelihood of residuals, in nats.

  Unlike the loss alone it is a criterion by which α and c can be learned.

  Args:
    x: [...] residuals.
    alpha: shape α ≥ 0 (+∞ included); broadcasts against x. The density of a negative
      α has no finite integral: there the result is +∞.
    scale: c > 0, in the unit of x; broadcasts against x.

  Source: Eq. 16 and 17.
  """
  x, alpha, scale, dtype = _prepare(x, alpha, scale)
  normalizer = jnp.log(scale) + log_partition(alpha)
  return (_rho(x, alpha, scale) + normalizer).astype(dtype)


def students_t_nll(
  x: chex.Array, degrees: chex.Numeric, scale: chex.Numeric
) -> chex.Array:
  """Returns the negative log-likelihood under Student's t-distribution, in nats.

  Args:
    x: [...] residuals.
    degrees: degrees of freedom > 0; broadcasts against x.
    scale: c > 0, in the unit of x; broadcasts against x.
  """
  x, degrees, scale, dtype = _prepare(x, degrees, scale)
  gammas = jax.lax.lgamma(0.5 * degrees) - jax.lax.lgamma(0.5 * degrees + 0.5)
  normalizer = jnp.log(scale) + 0.5 * (jnp.log(degrees) + math.log(math.pi)) + gammas
  tail = 0.5 * (degrees + 1) * jnp.log1p(jnp.square(x / scale) / degrees)
  return (tail + normalizer).astype(dtype)


def sample(
  key: chex.PRNGKey,
  alpha: chex.Numeric,
  scale: chex.Numeric,
  shape: tuple[int, ...] | None = None,
) -> chex.Array:
  """Returns residuals drawn from the density of `nll`.

  Rejection from a Cauchy distribution, all elements at once; between 45% (α = ∞) and
  all (α = 0) of the proposals are accepted.

  Args:
    key: random key.
    alpha: shape α ≥ 0; broadcasts to `shape`.
    scale: c > 0; broadcasts to `shape`.
    shape: of the result; that of alpha and scale together when None.

  Source: supplement, Algorithm 1.
  """
  alpha, scale = jnp.asarray(alpha, float), jnp.asarray(scale, float)
  shape = jnp.broadcast_shapes(alpha.shape, scale.shape) if shape is None else shape
  alpha = jnp.broadcast_to(alpha, shape)

  def propose(state):
    key, draws, pending = state
    key, proposal_key, accept_key = jax.random.split(key, 3)
    # Cauchy(0, √2) is the density of α = 0 and has the heaviest tail of all.
    proposal = math.sqrt(2) * jax.random.cauchy(proposal_key, shape, alpha.dtype)
    log_ratio = loss(proposal, 0.0, 1.0) - loss(proposal, alpha, 1.0)
    accepted = jax.random.uniform(accept_key, shape, alpha.dtype) <= jnp.exp(log_ratio)
    draws = jnp.where(pending & accepted, proposal, draws)
    return key, draws, pending & ~accepted

  state = key, jnp.zeros_like(alpha), jnp.ones(shape, bool)
  _, draws, _ = jax.lax.while_loop(lambda state: jnp.any(state[2]), propose, state)
  return draws * scale


def _prepare(x, *parameters):
  """Returns the arguments in one dtype of at least 32 bits, and that of the result."""
  chex.assert_type(x, float)
  dtype = jnp.result_type(x, *parameters)
  wide = jnp.promote_types(dtype, jnp.float32)
  arrays = [jnp.asarray(value, wide) for value in (x, *parameters)]
  for parameter in arrays[1:]:
    chex.assert_is_broadcastable(parameter.shape, x.shape)
  return *arrays, dtype


@jax.custom_jvp
def _rho(x, alpha, scale):
  return _Terms(x, alpha, scale, _limits(x.dtype)).loss


def _rho_jvp(primals, tangents):
  # Computing the logarithm and the exponential again is faster than sharing them: XLA
  # would write whatever value and derivative share to memory, constants included.
  limits = _limits(primals[0].dtype)
  terms = _Terms(*jax.lax.optimization_barrier((*primals, limits)))
  derivatives = (terms.by_x, terms.by_alpha, terms.by_scale)
  parts = [
    derivative() * tangent
    for derivative, tangent in zip(derivatives, tangents, strict=True)
    if not isinstance(tangent, SymbolicZero)
  ]
  return _rho(*primals), sum(parts[1:], start=parts[0])


_rho.defjvp(_rho_jvp, symbolic_zeros=True)


def _limits(dtype):
  """Returns how large |x/c|, the exponent and a derivative may become.

  The first keeps z / 2⁻²³ from overflowing, the second the exponential.
  """
  largest = float(jnp.finfo(dtype).max)
  limits = math.sqrt(largest) * 1e-4, math.log(largest) - 1.2, largest
  return tuple(jnp.array(limit, dtype) for limit in limits)


class _Terms:
  """What the loss, its weight and its derivatives share.

  They are the same expressions at every α, so that one logarithm and one exponential
  serve all branches; only coefficients, of the shape of α, are chosen:

    u = |x| / c,  z = u²,  y = z inverse,  log = log(1 + y)
    exponent = half log + tail z
    loss = factor (exp(exponent) - 1) + log_factor log + z_factor z
    weight = exp(exponent) / (1 + y)
  """

  def __init__(self, x, alpha, scale, limits):
    largest_u, self.largest_exponent, self.largest = limits
    is_zero, is_two = alpha == 0, alpha == 2
    is_infinite = jnp.abs(alpha) > _INFINITE
    has_power = ~(is_two | is_infinite)
    sign = jnp.where(alpha < 0, -1.0, 1.0).astype(x.dtype)
    # Where α is 2 or infinite, 1 or -1 keeps finite what is not used there.
    safe = jnp.where(has_power, alpha, sign)
    self.alpha = sign * jnp.maximum(jnp.abs(safe), _EPSILON)
    self.b = jnp.maximum(jnp.abs(safe - 2), _EPSILON)
    self.side = jnp.where(safe < 2, -1.0, 1.0).astype(x.dtype)
    self.is_regular = has_power & ~is_zero

    self.x, self.scale = x, scale
    self.u = jnp.minimum(jnp.abs(x / scale), largest_u)
    self.z = jnp.square(self.u)
    self.y = self.z * jnp.where(has_power, 1 / self.b, 0.0)
    self.log = jnp.log1p(self.y)
    half = jnp.where(self.is_regular, self.alpha / 2, 0.0)
    tail = jnp.where(is_infinite, sign / 2, 0.0)
    self.exponent = jnp.minimum(half * self.log + tail * self.z, self.largest_exponent)

    factor = jnp.where(is_infinite, sign, self.b / self.alpha)
    factor = jnp.where(is_zero | is_two, 0.0, factor)
    log_factor = jnp.where(is_zero, 1.0, 0.0).astype(x.dtype)
    z_factor = jnp.where(is_two, 0.5, 0.0).astype(x.dtype)
    self.loss = factor * jnp.expm1(self.exponent)
    self.loss += log_factor * self.log + z_factor * self.z
    self.weight = jnp.exp(self.exponent) / (1 + self.y)

  def by_x(self):
    return (
      jnp.sign(self.x) * jnp.minimum(self.u * self.weight, self.largest) / self.scale
    )

  def by_scale(self):
    return -jnp.minimum(self.z * self.weight, self.largest) / self.scale

  def by_alpha(self):
    """Two forms of one derivative, each exact where the other one cancels."""
    rise = self.log - self.y / (1 + self.y)

    # α < 1.5: ρ = b/2 log φ(exponent) with φ(e) = (exp(e) - 1) / e
    is_low = self.alpha < 1.5
    ratio, slope = _relative_growth(jnp.where(is_low, self.exponent, 0.0))
    change = 0.5 * self.log + 0.5 * self.alpha / self.b * (self.log - rise)
    low = 0.5 * (self.b * self.log * slope * change - rise * ratio)

    # Around 2 and above: ρ = (z + (z + b) growth) / α
    exponent = 0.5 * self.side * self.b * self.log
    growth = jnp.expm1(jnp.minimum(exponent, self.largest_exponent))
    high = self.side * growth + 0.5 * (self.z + self.b) * ((growth + 1) * rise)
    high = (high - self.loss) / self.alpha

    derivative = jnp.clip(jnp.where(is_low, low, high), -self.largest, self.largest)
    return jnp.where(self.is_regular, derivative, 0.0)


def _relative_growth(e):
  """Returns φ(e) = (exp(e) - 1) / e and its derivative, right through e = 0."""
  divisor = jnp.where(e == 0, 1, e)
  ratio = jnp.where(e == 0, 1, jnp.expm1(e) / divisor)
  # φ' = Σ eⁿ / (n! (n + 2)), where the closed form would cancel.
  terms = [1 / (math.factorial(n) * (n + 2)) for n in range(9)]
  series = jnp.polyval(jnp.array(terms[::-1], e.dtype), e)
  return ratio, jnp.where(jnp.abs(e) < 0.3, series, (jnp.exp(e) - ratio) / divisor)
