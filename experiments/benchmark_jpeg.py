"""Times the differentiable JPEG against libjpeg (Pillow's encode + decode).

Both run on one thread when the process is started so:

  XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0 \
    python -m experiments.benchmark_jpeg
"""

import io
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxvision.ops.jpeg import jpeg

SIZE = 1024  # pixels a side: one megapixel
QUALITY = 75
REPETITIONS = 20


def rows() -> list[dict[str, str | float]]:
  """Returns one row an operation: milliseconds, ratio to Pillow, compile seconds."""
  image = _photograph(SIZE)
  pillow = _milliseconds(lambda: _pillow(image, QUALITY))
  table = [{"operation": "Pillow encode + decode", "ms": pillow, "ratio": 1.0}]

  images = jnp.asarray(image, jnp.float32) / 255
  for name, function in (("forward", jpeg), ("forward + backward", _with_gradient)):
    started = time.perf_counter()
    compiled = jax.jit(function).lower(images, jnp.float32(QUALITY)).compile()
    compile_seconds = time.perf_counter() - started
    ms = _milliseconds(
      lambda run=compiled: jax.block_until_ready(run(images, jnp.float32(QUALITY)))
    )
    table.append(
      {
        "operation": f"dJPEG {name}",
        "ms": ms,
        "ratio": ms / pillow,
        "compile_s": compile_seconds,
      }
    )
  return table


def _with_gradient(images, quality):
  compressed, pullback = jax.vjp(lambda images: jpeg(images, quality), images)
  return compressed, pullback(compressed)


def _pillow(image: np.ndarray, quality: int) -> np.ndarray:
  stream = io.BytesIO()
  Image.fromarray(image).save(stream, "jpeg", quality=quality, subsampling="4:4:4")
  return np.asarray(Image.open(stream))


def _photograph(size: int) -> np.ndarray:
  """[size, size, 3] bytes whose amplitude falls as 1/f, as that of photographs does."""
  rng = np.random.default_rng(0)
  frequencies = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
  spectra = np.fft.rfft2(rng.standard_normal((3, size, size)))
  planes = np.fft.irfft2(spectra / np.maximum(frequencies, 1 / size))
  # Bright and dark vary most, colours a fifth of that.
  opponents = np.array([[1, 0.2, 0.1], [1, 0, -0.2], [1, -0.2, 0.1]])
  image = np.moveaxis(np.tensordot(opponents, planes, axes=1), 0, -1)
  return np.clip(128 + 50 * image / image.std(), 0, 255).astype(np.uint8)


def _milliseconds(run: Callable[[], object]) -> float:
  """Median of several runs after a first one."""
  run()
  times = []
  for _ in range(REPETITIONS):
    started = time.perf_counter()
    run()
    times.append(time.perf_counter() - started)
  return 1e3 * statistics.median(times)


def main() -> None:
  for row in rows():
    print(
      f"{row['operation']:24s} {row['ms']:7.1f} ms  {row['ratio']:5.2f} ×"
      + (f"  compile {row['compile_s']:.2f} s" if "compile_s" in row else "")
    )


if __name__ == "__main__":
  main()
