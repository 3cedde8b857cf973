"""WAV files as float samples in [-1, 1]."""

import io
import wave

import chex
import numpy as np
from etils import epath

from jaxvision.data import files
from jaxvision.errors import UserError


def read_wav(path: epath.PathLike) -> tuple[np.ndarray, int]:
  """Reads PCM of 8, 16, 24 or 32 bits, or float.

  Returns:
    samples [T, channels] float32, integers divided so that full scale is [-1, 1); and
    the number of samples a second.

  Raises:
    UserError: missing, truncated or not a WAV file; names the path.
  """
  from scipy.io import wavfile  # a second to import, and few need it

  content = files.read_bytes(path)
  # scipy only warns of a file that ends too early.
  announced = 8 + int.from_bytes(content[4:8], "little")
  if content.startswith(b"RIFF") and len(content) < announced:
    raise UserError(f"{path}: truncated WAV file: {len(content)} of {announced} bytes")
  with files.decoding(path, "WAV file"):
    rate, samples = wavfile.read(io.BytesIO(content))
  samples = samples[:, None] if samples.ndim == 1 else samples
  if samples.dtype == np.uint8:
    return (samples.astype(np.float32) - 128) / 128, rate
  if samples.dtype.kind == "i":  # scipy shifts 24 bits to the top of 32
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    return (samples / full_scale).astype(np.float32), rate
  return samples.astype(np.float32), rate


def write_wav(
  path: epath.PathLike, samples: np.ndarray, rate: int, *, bits: int = 16
) -> None:
  """Writes PCM, rounded and clipped to full scale.

  Args:
    path: where to; an existing file is replaced.
    samples: [T, channels] float in [-1, 1].
    rate: samples a second.
    bits: of a sample, 8, 16, 24 or 32.
  """
  chex.assert_rank(samples, 2)
  chex.assert_type(samples, float)
  if bits not in (8, 16, 24, 32):
    raise AssertionError(f"bits: 8, 16, 24 or 32 expected, not {bits}")
  full_scale = 2 ** (bits - 1)
  scaled = np.rint(samples.astype(np.float64) * full_scale)
  integers = np.clip(scaled, -full_scale, full_scale - 1).astype("<i4")
  if bits == 8:
    integers += 128  # 8 bits alone are unsigned
  low_bytes = integers[..., None].view(np.uint8)[..., : bits // 8]
  stream = io.BytesIO()
  with wave.open(stream, "wb") as file:
    file.setnchannels(samples.shape[1])
    file.setsampwidth(bits // 8)
    file.setframerate(rate)
    file.writeframes(low_bytes.tobytes())
  files.write_bytes(path, stream.getvalue())
