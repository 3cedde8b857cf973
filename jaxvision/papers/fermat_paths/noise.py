"""What a single-photon detector makes of a transient."""

import chex
import jax
import jax.numpy as jnp


def measure(
  key: chex.PRNGKey,
  transients: chex.Array,
  photons: float | chex.Array | None = None,
  *,
  jitter: float = 0.0,
  tail: float = 0.0,
  tail_share: float = 0.0,
  ambient: float = 0.0,
) -> chex.Array:
  """Returns noisy counts of transients.

  Args:
    key: of the photons.
    transients: [..., m], not negative.
    photons: expected number in each transient without the ambient ones, typically
      1e4 to 1e6; None leaves out counting and its noise.
    jitter: standard deviation of the timing in bins, typically 1 to 3.
    tail: decay constant in bins of the exponential diffusion tail.
    tail_share: of the photons that the tail delays, in [0, 1].
    ambient: share of further photons, spread evenly over the bins.

  Returns:
    [..., m]; counts where `photons` is given.
  """
  chex.assert_type(transients, float)
  size = transients.shape[-1]
  response = _response(size, jitter, tail, tail_share, transients.dtype)
  spectra = jnp.fft.rfft(transients, 2 * size) * jnp.fft.rfft(response)
  blurred = jnp.maximum(jnp.fft.irfft(spectra, 2 * size)[..., :size], 0.0)
  total = jnp.sum(blurred, axis=-1, keepdims=True)
  expected = blurred + ambient * total / size
  if photons is None:
    return expected
  expected *= photons / jnp.where(total > 0, total, 1.0)
  return jax.random.poisson(key, expected).astype(transients.dtype)


def _response(size, jitter, tail, share, dtype):
  """Returns [2 size] of the instrument, its peak at 0 and early light at the end."""
  delay = jnp.arange(2 * size)
  signed = jnp.where(delay < size, delay, delay - 2 * size)
  if jitter > 0:
    gaussian = jnp.exp(-0.5 * jnp.square(signed / jitter))
  else:
    gaussian = (delay == 0).astype(float)
  gaussian /= jnp.sum(gaussian)
  if tail == 0 or share == 0:
    return gaussian.astype(dtype)
  decay = jnp.where(signed >= 0, jnp.exp(-jnp.maximum(signed, 0) / tail), 0.0)
  late = jnp.fft.rfft(gaussian) * jnp.fft.rfft(decay / jnp.sum(decay))
  late = jnp.fft.irfft(late, 2 * size)
  return ((1 - share) * gaussian + share * late).astype(dtype)
