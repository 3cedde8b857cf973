"""Rounding to integers with gradients that training can use.

Each function rounds floats of any shape to the nearest integer, exactly or nearly, and
keeps shape and dtype. All differentiate in both modes and to any order.

Source: Korus and Memon, Content Authentication for Neural Imaging Pipelines, CVPR 2019,
and the code its authors published.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np


def hard(values: chex.Array) -> chex.Array:
  """Rounds to the nearest integer, ties to even; the gradient is zero."""
  chex.assert_type(values, float)
  return jnp.round(values)


def identity(values: chex.Array) -> chex.Array:
  """Returns the values as they are; the gradient is one."""
  chex.assert_type(values, float)
  return values


def sin(values: chex.Array) -> chex.Array:
  """Returns z - sin(2πz)/2π, a smooth staircase; the gradient is 1 - cos(2πz).

  It is exact at integers and halves. The gradient vanishes at integers, so
  coefficients that quantise to 0 from nearby send little of it back.
  """
  chex.assert_type(values, float)
  return values - _sin_turns(values) / (2 * np.pi)


@jax.custom_jvp
def soft(values: chex.Array) -> chex.Array:
  """Rounds as `hard` does, with the gradient of `sin`."""
  chex.assert_type(values, float)
  return jnp.round(values)


@soft.defjvp
def _soft_jvp(primals, tangents):
  return soft(*primals), jax.jvp(sin, primals, tangents)[1]


def harmonic(values: chex.Array, terms: int = 4) -> chex.Array:
  """Returns z + Σ_{k=1..terms} (-1)^k sin(2πkz)/(πk), the Fourier series of rounding.

  Args:
    values: [...] floats z.
    terms: number of harmonics, at least 1. The paper's code has 4; its TensorFlow 2
      port, through a misplaced argument, 1.
  """
  chex.assert_type(values, float)
  if terms < 1:
    raise ValueError(f"terms must be at least 1, got {terms}")
  turns = values - jnp.round(values)  # k * values would lose digits
  series = sum((-1) ** k / k * _sin_turns(k * turns) for k in range(1, terms + 1))
  return values + series / np.pi


@jax.custom_jvp
def _sin_turns(turns: chex.Array) -> chex.Array:
  """sin(2π turns); in float32 ten times as fast as `jnp.sin` on a CPU, error 2e-7."""
  turns = turns - jnp.round(turns)
  if turns.dtype != jnp.float32:
    return jnp.sin(2 * np.pi * turns)
  square = turns * turns
  return turns * (0.25 - square) * _polynomial(_SIN, square)


@jax.custom_jvp
def _cos_turns(turns: chex.Array) -> chex.Array:
  """cos(2π turns); see `_sin_turns`."""
  turns = turns - jnp.round(turns)
  if turns.dtype != jnp.float32:
    return jnp.cos(2 * np.pi * turns)
  return _polynomial(_COS, turns * turns)


_sin_turns.defjvps(lambda dot, _, turns: dot * (2 * np.pi) * _cos_turns(turns))
_cos_turns.defjvps(lambda dot, _, turns: dot * (-2 * np.pi) * _sin_turns(turns))


def _fit(function: Callable, degree: int) -> np.ndarray:
  """Coefficients of a near-minimax polynomial on (0, 1/4], constant term first."""
  fitted = np.polynomial.Chebyshev.interpolate(function, degree, domain=[0, 0.25])
  return fitted.convert(kind=np.polynomial.Polynomial).coef


def _polynomial(coefficients: np.ndarray, x: chex.Array) -> chex.Array:
  result = jnp.full_like(x, coefficients[-1])
  for coefficient in coefficients[-2::-1]:
    result = result * x + coefficient.astype(x.dtype)
  return result


# Both are functions of t = turns² on half a turn to either side; the zeros of the sine
# at 0 and ±1/2 are divided out, so that they stay exact.
_SIN = _fit(lambda t: np.sin(2 * np.pi * np.sqrt(t)) / (np.sqrt(t) * (0.25 - t)), 5)
_COS = _fit(lambda t: np.cos(2 * np.pi * np.sqrt(t)), 6)


def soft_codebook(
  values: chex.Array,
  bits: int | None = None,
  *,
  degrees: float = 50.0,
  sharpness: float = 25.0,
) -> chex.Array:
  """Rounds to the nearest code; the gradient is that of a soft assignment to codes.

  The codes are the integers -2^(bits-1)+1 .. 2^(bits-1). The soft assignment is the
  mean code under the weights of `codebook_weights`, taken over the five codes around
  the value: at the default degrees and sharpness the others weigh less than 1e-13
  together, and memory does not grow with the number of codes.

  Args:
    values: [...] floats. Values beyond the codes go to the last code.
    bits: size of the codebook, at least 1; all integers when None.
    degrees: degrees of freedom of Student's t kernel, v in the authors' code.
    sharpness: inverse width of the kernel in steps of the codebook, γ there.
  """
  chex.assert_type(values, float)
  nearest = jax.lax.stop_gradient(jnp.ceil(values - 0.5))
  low, high = -jnp.inf, jnp.inf
  if bits is not None:
    if bits < 1:
      raise ValueError(f"bits must be at least 1, got {bits}")
    low, high = 1 - 2 ** (bits - 1), 2 ** (bits - 1)
  nearest = jnp.clip(nearest, low, high)
  codes = nearest[..., None] + jnp.arange(-2.0, 3.0, dtype=values.dtype)
  logits = _log_kernel(values, codes, degrees, sharpness)
  logits = jnp.where((codes >= low) & (codes <= high), logits, -jnp.inf)
  mean = jnp.sum(jax.nn.softmax(logits, axis=-1) * codes, axis=-1)
  # In this order the forward value is the code itself, free of rounding errors.
  return nearest + (mean - jax.lax.stop_gradient(mean))


def codebook_weights(
  values: chex.Array,
  codebook: chex.Array,
  *,
  degrees: float = 50.0,
  sharpness: float = 25.0,
) -> chex.Array:
  """Returns how much each value belongs to each code, by Student's t kernel.

  Args:
    values: [...] floats.
    codebook: [K] codes.
    degrees: degrees of freedom v of the kernel (1 + (γ distance)²/v)^(-(v+1)/2).
    sharpness: γ, its inverse width.

  Returns:
    [..., K] weights, each in [0, 1], that sum to one over the codes.
  """
  chex.assert_type([values, codebook], float)
  chex.assert_rank(codebook, 1)
  return jax.nn.softmax(_log_kernel(values, codebook, degrees, sharpness), axis=-1)


def _log_kernel(values, codes, degrees, sharpness):
  # The kernel itself underflows float32 two steps away from the value.
  distance = sharpness * (values[..., None] - codes)
  return -(degrees + 1) / 2 * jnp.log1p(distance**2 / degrees)


def entropy(
  values: chex.Array,
  codebook: chex.Array,
  *,
  degrees: float = 50.0,
  sharpness: float = 25.0,
) -> tuple[chex.Array, chex.Array]:
  """Estimates, differentiably, the entropy of values that a codebook quantises.

  Args:
    values: [...] floats, all counted together.
    codebook: [K] codes.
    degrees: see `codebook_weights`.
    sharpness: see `codebook_weights`.

  Returns:
    entropy: scalar in bits, between 0 and log2(K).
    histogram: [K] shares of the values, at least 1e-9 each, that sum to one.
  """
  weights = codebook_weights(
    jnp.ravel(values), codebook, degrees=degrees, sharpness=sharpness
  )
  histogram = jnp.maximum(jnp.mean(weights, axis=0), 1e-9)
  histogram = histogram / jnp.sum(histogram)
  return -jnp.sum(histogram * jnp.log2(histogram)), histogram


MODES = {
  "round": hard,
  "sin": sin,
  "soft": soft,
  "harmonic": harmonic,
  "identity": identity,
  "soft-codebook": soft_codebook,
}
