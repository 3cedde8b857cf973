"""What training and inference minimise (M5, M6, M9, M11)."""

import chex
import jax.numpy as jnp

BAND = 0.1  # δ: the distance beyond which nothing need be known
REGULARIZATION = 1e-4  # λ
RAMP_EPOCHS = 100


def clamped_l1(
  predicted: chex.Array, target: chex.Array, band: chex.Numeric = BAND
) -> chex.Array:
  """Returns |clamp(predicted) - clamp(target)|; beyond the band its gradient is 0.

  Args:
    predicted: [...] signed distances.
    target: [...].
    band: δ, to which both are clamped; broadcast.

  Source: Eq. 4.
  """
  chex.assert_type([predicted, target], float)
  return jnp.abs(jnp.clip(predicted, -band, band) - jnp.clip(target, -band, band))


def free_space(predicted: chex.Array) -> chex.Array:
  """Returns max(0, -predicted): what was seen to be empty must not be inside (M11)."""
  return jnp.maximum(0.0, -predicted)


def code_length(codes: chex.Array) -> chex.Array:
  """Returns the lengths |z| [...] of codes [..., L]; the gradient at 0 is 0.

  The paper writes |z|²; the authors' training takes |z|.
  """
  squares = jnp.sum(jnp.square(codes), axis=-1)
  is_positive = squares > 0
  return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, squares, 1.0)), 0.0)


def regularization_weight(
  epoch: chex.Numeric, weight: float = REGULARIZATION
) -> chex.Array:
  """Returns λ min(1, epoch / 100); epochs count from 1."""
  return weight * jnp.minimum(1.0, jnp.asarray(epoch, jnp.float32) / RAMP_EPOCHS)


def project_codes(
  codes: chex.Array, used: chex.Array, bound: float | None = 1.0
) -> chex.Array:
  """Returns the table with the used rows that are longer than the bound shortened.

  Args:
    codes: [n, L] table.
    used: [n] bool, rows that are looked up.
    bound: largest length; None for none.

  Source: M7; PyTorch's Embedding(max_norm=1).
  """
  chex.assert_shape(used, codes.shape[:1])
  if bound is None:
    return codes
  length = code_length(codes)
  too_long = used & (length > bound)
  return codes * jnp.where(too_long, bound / (length + 1e-7), 1.0)[:, None]
