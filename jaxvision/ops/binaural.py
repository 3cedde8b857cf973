"""What two ears of a spherical head hear of distant sources.

Channel 0 is the left ear; azimuths are radians from the front, positive to the right.
The near ear hears a source as it is. The far ear hears it later (Woodworth's delay
around the sphere), weaker, and through a low-pass, all growing with the azimuth.

Source: Woodworth, Experimental Psychology, 1938.
"""

import chex
import jax.numpy as jnp
import numpy as np

HEAD_RADIUS = 0.09  # metres
SPEED_OF_SOUND = 343.0  # metres a second

_LEVEL = 0.35  # decades of amplitude that the head takes of a source at its side
_POLE = 0.5  # of the low-pass behind the head, for a source at its side
_TAIL = 0.02  # seconds after which nothing of a filter is left


def interaural_delay(azimuth: chex.Array) -> chex.Array:
  """Returns by how many seconds the left ear hears later; negative where it is nearer.

  Args:
    azimuth: [...] float in [-π/2, π/2].
  """
  return HEAD_RADIUS / SPEED_OF_SOUND * (azimuth + jnp.sin(azimuth))


def spatialize(sources: chex.Array, azimuths: chex.Array, rate: float) -> chex.Array:
  """Returns what both ears hear of sources at rest.

  Args:
    sources: [..., S, T] float, dry mono signals.
    azimuths: [..., S] float in [-π/2, π/2].
    rate: samples a second.

  Returns:
    [..., T, 2] float, left and right.
  """
  chex.assert_type([sources, azimuths], float)
  chex.assert_equal_shape_prefix([sources, azimuths], azimuths.ndim)
  length = sources.shape[-1]
  size = length + int(_TAIL * rate)
  size += size % 2
  omega = jnp.asarray(2 * np.pi * np.arange(size // 2 + 1) / size, sources.dtype)
  side = jnp.abs(jnp.sin(azimuths))[..., None]
  pole = _POLE * side
  shadow = 10.0 ** (-_LEVEL * side) * (1 - pole) / (1 - pole * jnp.exp(-1j * omega))
  delay = jnp.abs(interaural_delay(azimuths))[..., None] * rate
  far = shadow * jnp.exp(-1j * omega * delay)
  is_right = (azimuths > 0)[..., None]
  ears = jnp.stack([jnp.where(is_right, far, 1), jnp.where(is_right, 1, far)], axis=-1)
  spectra = jnp.fft.rfft(sources, size)[..., None]
  heard = jnp.sum(spectra * ears, axis=-3)  # over the sources
  return jnp.fft.irfft(heard, size, axis=-2)[..., :length, :]
