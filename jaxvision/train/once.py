"""Compilation for what runs once."""

from collections.abc import Callable

import jax


def jit_once(function: Callable, **options) -> Callable:
  """Returns `jax.jit(function)`, on a CPU compiled without optimisation.

  For initial parameters and made data: on one core XLA takes a second to compile the
  drawing of random numbers, so a fifth of it, and the result runs half as fast. Never
  for a step of training: gradients behind a maximum over points were seen to come out
  wrong without optimisation (XLA of jax 0.10), while values agree.

  Args:
    function: as `jax.jit` takes it.
    **options: of `jax.jit`.
  """
  is_cpu = jax.default_backend() == "cpu"
  level = {"xla_backend_optimization_level": 0} if is_cpu else None
  return jax.jit(function, compiler_options=level, **options)
