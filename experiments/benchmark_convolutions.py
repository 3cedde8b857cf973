"""Times `jaxvision.ops.convolution` beside `lax` as one would write it, and PyTorch.

PyTorch is used where it is installed; it is no dependency. The number of XLA's threads
is set before JAX starts, as `experiments.benchmark` does.
"""

import dataclasses
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision.ops import convolution


@dataclasses.dataclass(frozen=True)
class Case:
  """One convolution, in all spatial axes alike, that keeps size / stride elements."""

  name: str
  shape: tuple[int, ...]  # of the input [B, *spatial, C]
  features: int
  window: int
  stride: int
  transposed: bool
  passes: tuple[str, ...]


_EACH = ("forward", "input gradient", "kernel gradient")
CASES = (
  Case(
    "2-D transposed 4×4 stride 2, 4×64×64×128 → 64",
    (4, 64, 64, 128),
    64,
    window=4,
    stride=2,
    transposed=True,
    passes=("forward", "both gradients"),
  ),
  Case(
    "3-D 3×3×3, 1×24×32×64×32 → 32",
    (1, 24, 32, 64, 32),
    32,
    window=3,
    stride=1,
    transposed=False,
    passes=_EACH,
  ),
  Case(
    "3-D transposed 4×4×4 stride 2, 1×12×16×32×32 → 32",
    (1, 12, 16, 32, 32),
    32,
    window=4,
    stride=2,
    transposed=True,
    passes=("forward", "both gradients"),
  ),
  Case(
    "2-D 3×3 stride 2, 4×128×128×64 → 128",
    (4, 128, 128, 64),
    128,
    window=3,
    stride=2,
    transposed=False,
    passes=_EACH,
  ),
  Case(
    "2-D 3×3, 4×128×128×64 → 64",
    (4, 128, 128, 64),
    64,
    window=3,
    stride=1,
    transposed=False,
    passes=_EACH,
  ),
)


def table(threads: int, repeats: int = 15) -> list[dict[str, str | float | None]]:
  """Measures every pass of every case.

  Args:
    threads: for PyTorch; XLA has its own since it started.
    repeats: calls, of which the median counts.

  Returns:
    for each pass its operation, pass, and milliseconds of lax, ours and pytorch (None
    where it is not installed). Gradients include the forward pass.
  """
  rows = []
  for case in CASES:
    for name in case.passes:
      contenders = {"lax": _jax(case, name, _lax), "ours": _jax(case, name, _ours)}
      if importlib.util.find_spec("torch"):
        contenders["pytorch"] = _pytorch(case, name, threads)
      times = _medians(contenders, repeats)
      rows.append({"operation": case.name, "pass": name, "pytorch": None, **times})
  return rows


def main(threads: int = 1) -> None:
  """Prints the table."""
  print(f"{'':54}{'pass':17}{'lax':>9}{'ours':>9}{'PyTorch':>9}{'ratio':>7}")
  for row in table(threads):
    pytorch = row["pytorch"]
    print(
      f"{row['operation']:54}{row['pass']:17}{row['lax']:9.1f}{row['ours']:9.1f}"
      + (f"{pytorch:9.1f}{row['ours'] / pytorch:7.2f}" if pytorch else "")
    )


def _medians(contenders: dict[str, Callable], repeats: int) -> dict[str, float]:
  """Returns median milliseconds; the calls alternate, so that all see one machine."""
  times = {name: [] for name in contenders}
  slow = set()
  for _ in range(repeats):
    for name in contenders.keys() - slow:
      start = time.perf_counter()
      contenders[name]()
      times[name].append(1e3 * (time.perf_counter() - start))
      if times[name][-1] > 1e3:  # once is enough to see a call that takes seconds
        slow.add(name)
  return {name: statistics.median(values) for name, values in times.items()}


def _ours(case: Case, x: jax.Array, kernel: jax.Array) -> jax.Array:
  apply = convolution.conv_transpose if case.transposed else convolution.conv
  # PyTorch's padding of 1 for windows of 3 and 4.
  return apply(x, kernel, strides=case.stride, padding=1)


def _lax(case: Case, x: jax.Array, kernel: jax.Array) -> jax.Array:
  axes = x.ndim - 2
  letters = "DHW"[-axes:]
  numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
  strides = (case.stride,) * axes
  if case.transposed:
    return lax.conv_transpose(x, kernel, strides, "SAME", dimension_numbers=numbers)
  padding = ((1, 1),) * axes
  return lax.conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=numbers
  )


def _jax(case: Case, name: str, apply: Callable) -> Callable:
  random = np.random.default_rng(0)
  axes = len(case.shape) - 2
  kernel_shape = (*(case.window,) * axes, case.shape[-1], case.features)
  x = jnp.asarray(random.standard_normal(case.shape), jnp.float32)
  kernel = jnp.asarray(random.standard_normal(kernel_shape), jnp.float32)

  def forward(x, kernel):
    return apply(case, x, kernel)

  def with_gradients(x, kernel, cotangent):
    y, pullback = jax.vjp(forward, x, kernel)
    by_x, by_kernel = pullback(cotangent)
    wanted = {"input gradient": (by_x,), "kernel gradient": (by_kernel,)}
    return y, wanted.get(name, (by_x, by_kernel))

  if name == "forward":
    arguments, function = (x, kernel), forward
  else:
    shape = jax.eval_shape(forward, x, kernel).shape
    cotangent = jnp.asarray(random.standard_normal(shape), jnp.float32)
    arguments, function = (x, kernel, cotangent), with_gradients
  compiled = jax.jit(function).lower(*arguments).compile()
  return lambda: jax.block_until_ready(compiled(*arguments))


def _pytorch(case: Case, name: str, threads: int) -> Callable:
  torch = importlib.import_module("torch")
  torch.set_num_threads(threads)
  batch, *spatial, channels = case.shape
  axes = len(spatial)
  order = (channels, case.features) if case.transposed else (case.features, channels)
  x = torch.randn(batch, channels, *spatial, requires_grad=True)
  kernel = torch.randn(*order, *(case.window,) * axes, requires_grad=True)
  apply = getattr(torch.nn.functional, f"conv{'_transpose' * case.transposed}{axes}d")

  def forward():
    return apply(x, kernel, stride=case.stride, padding=1)

  cotangent = torch.randn_like(forward())

  def with_gradients():
    wanted = {"input gradient": (x,), "kernel gradient": (kernel,)}
    return torch.autograd.grad(forward(), wanted.get(name, (x, kernel)), cotangent)

  if name == "forward":
    return torch.no_grad()(forward)
  return with_gradients


if __name__ == "__main__":
  main()
