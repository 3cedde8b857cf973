"""Short-time Fourier transforms, their inverse, and envelopes of signals.

Signals are [..., T], spectra [..., F, N]: F frequencies of N frames. Frames are cut by
reshaping and put together by adding shifted rows, so that neither direction gathers or
scatters samples, and gradients are as fast.

Source: librosa's conventions (McFee et al., SciPy 2015): centred frames, a periodic
  window, no scaling; Griffin and Lim, Signal estimation from modified short-time
  Fourier transform, 1984, for the inverse.
"""

import chex
import jax.numpy as jnp
import numpy as np

PADDINGS = {"reflect": "reflect", "zeros": "constant"}


def hann(length: int, size: int) -> np.ndarray:
  """Returns a periodic Hann window in the centre of zeros.

  Args:
    length: samples of the window.
    size: samples of the result, at least `length`.

  Returns:
    [size] float64 in [0, 1].
  """
  if length > size:
    raise ValueError(f"a window of {length} samples exceeds {size}")
  window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
  low = (size - length) // 2
  return np.pad(window, (low, size - length - low))


def frames(x: chex.Array, size: int, hop: int) -> chex.Array:
  """Returns the overlapping pieces of a signal that lie wholly inside it.

  Args:
    x: [..., T].
    size: samples of a piece, at most T.
    hop: samples between the starts of neighbours.

  Returns:
    [..., N, size], N = (T - size) // hop + 1.
  """
  length = x.shape[-1]
  if length < size:
    raise ValueError(f"a signal of {length} samples holds no frame of {size}")
  count, parts = (length - size) // hop + 1, -(-size // hop)
  rows = count + parts - 1
  x = x[..., : rows * hop]
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, rows * hop - x.shape[-1])])
  x = x.reshape(*x.shape[:-1], rows, hop)
  pieces = [x[..., part : part + count, :] for part in range(parts)]
  return jnp.concatenate(pieces, axis=-1)[..., :size]


def overlap_add(pieces: chex.Array, hop: int) -> chex.Array:
  """Returns the sum of overlapping pieces, the transpose of `frames`.

  Args:
    pieces: [..., N, size].
    hop: samples between the starts of neighbours.

  Returns:
    [..., (N - 1) · hop + size].
  """
  *_, count, size = pieces.shape
  parts = -(-size // hop)
  outer = [(0, 0)] * (pieces.ndim - 2)
  pieces = jnp.pad(pieces, [*outer, (0, 0), (0, parts * hop - size)])
  pieces = pieces.reshape(*pieces.shape[:-1], parts, hop)
  rows = sum(
    jnp.pad(pieces[..., part, :], [*outer, (part, parts - 1 - part), (0, 0)])
    for part in range(parts)
  )
  return rows.reshape(*rows.shape[:-2], -1)[..., : (count - 1) * hop + size]


def stft(
  x: chex.Array,
  *,
  n_fft: int = 512,
  hop: int = 160,
  window: int = 400,
  padding: str = "reflect",
) -> chex.Array:
  """Returns the spectra of frames whose centres are 0, hop, 2 · hop, ...

  Args:
    x: [..., T] float; more than n_fft / 2 samples for "reflect".
    n_fft: samples of the Fourier transform, even.
    hop: samples between frames.
    window: samples of the Hann window, in the centre of the n_fft.
    padding: what lies beyond both ends: "reflect" or "zeros".

  Returns:
    [..., n_fft / 2 + 1, 1 + T // hop] complex, without scaling.
  """
  chex.assert_type(x, float)
  half = n_fft // 2
  if padding not in PADDINGS:
    raise ValueError(f"padding {padding!r} is none of {', '.join(PADDINGS)}")
  if padding == "reflect" and x.shape[-1] <= half:
    raise ValueError(f"{x.shape[-1]} samples cannot be reflected over {half}")
  amounts = [(0, 0)] * (x.ndim - 1) + [(half, half)]
  x = jnp.pad(x, amounts, mode=PADDINGS[padding])
  weights = jnp.asarray(hann(window, n_fft), x.dtype)
  spectra = jnp.fft.rfft(frames(x, n_fft, hop) * weights, axis=-1)
  return jnp.swapaxes(spectra, -1, -2)


def istft(
  spectrum: chex.Array,
  *,
  n_fft: int | None = None,
  hop: int = 160,
  window: int = 400,
  length: int | None = None,
) -> chex.Array:
  """Returns the signal whose `stft` is nearest to spectra in the least squares.

  Args:
    spectrum: [..., F, N] complex.
    n_fft: samples of the Fourier transform, even; 2 (F - 1) when None. Frequencies
      beyond F are zero.
    hop: samples between frames.
    window: samples of the Hann window, in the centre of the n_fft.
    length: samples of the result; hop · (N - 1) when None.

  Returns:
    [..., length] float; zero beyond the last frame.
  """
  if not jnp.iscomplexobj(spectrum):
    raise TypeError(f"a spectrum is complex, not {spectrum.dtype}")
  bins, count = spectrum.shape[-2:]
  n_fft = 2 * (bins - 1) if n_fft is None else n_fft
  missing = n_fft // 2 + 1 - bins
  if missing < 0:
    raise ValueError(f"{bins} frequencies exceed a transform of {n_fft} samples")
  outer = [(0, 0)] * (spectrum.ndim - 2)
  spectrum = jnp.pad(spectrum, [*outer, (0, missing), (0, 0)])
  pieces = jnp.fft.irfft(jnp.swapaxes(spectrum, -1, -2), n=n_fft, axis=-1)
  weights = hann(window, n_fft)
  total = overlap_add(pieces * jnp.asarray(weights, pieces.dtype), hop)
  squares = np.zeros((count - 1) * hop + n_fft)
  for start in range(0, count * hop, hop):
    squares[start : start + n_fft] += np.square(weights)
  is_covered = squares > np.finfo(np.float32).tiny
  scale = np.where(is_covered, 1 / np.where(is_covered, squares, 1.0), 1.0)
  total = total * jnp.asarray(scale, total.dtype)

  length = hop * (count - 1) if length is None else length
  signal = total[..., n_fft // 2 : n_fft // 2 + length]
  return jnp.pad(signal, [*outer, (0, length - signal.shape[-1])])


def envelope(x: chex.Array) -> chex.Array:
  """Returns the magnitude of the analytic signal (Hilbert), over the whole length.

  Args:
    x: [..., T] float.

  Returns:
    [..., T] float.
  """
  chex.assert_type(x, float)
  length = x.shape[-1]
  # Negative frequencies vanish, positive ones double, those that are both stay.
  gains = np.zeros(length)
  gains[0] = 1
  gains[1 : (length + 1) // 2] = 2
  if length % 2 == 0:
    gains[length // 2] = 1
  return jnp.abs(jnp.fft.ifft(jnp.fft.fft(x) * jnp.asarray(gains, x.dtype)))
