"""The three bilinear maps of one trilinear form, as JAX primitives.

A convolution y of x [B, *spatial, C] by k [*window, C / groups, O] is a derivative of
the trilinear form F(x, k, y) of `Form`, and so are its gradients:

  correlate(x, k) = ∂F/∂y    the convolution,
  spread(y, k)    = ∂F/∂x    the transposed convolution, gradient of the input,
  gather(x, y)    = ∂F/∂k    the gradient of the kernel.

The derivatives of each of the three are the other two, so that values and derivatives
of every order, forward and reverse, need three formulations only. A `custom_vjp` could
choose them too but would forbid `jax.jvp`. The platform is known when a primitive is
lowered: CPU gets `_convolution_cpu`, all others `lax.conv_general_dilated` and its own
transposes, at no cost at run time.
"""

import dataclasses
import functools

import chex
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir, xla

from jaxvision.ops import _convolution_cpu as cpu
from jaxvision.ops import _convolution_lax as plain
from jaxvision.ops._convolution_form import Form


def correlate(x: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂y: [B, *form.outputs, O]."""
  return _correlate_p.bind(x, kernel, form=form)


def spread(y: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂x: [B, *form.spatial, C]."""
  return _spread_p.bind(y, kernel, form=form)


def gather(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂k: [*form.window, C / groups, O]."""
  return _gather_p.bind(x, y, form=form)


def _define(name, shape, on_cpu, elsewhere) -> Primitive:
  primitive = Primitive(name)
  primitive.def_impl(functools.partial(xla.apply_primitive, primitive))
  primitive.def_abstract_eval(
    lambda left, right, *, form: left.update(
      shape=shape(left.shape, right.shape, form), weak_type=False
    )
  )
  lower = functools.partial(mlir.lower_fun, multiple_results=False)
  mlir.register_lowering(primitive, lower(on_cpu), platform="cpu")
  mlir.register_lowering(primitive, lower(elsewhere))
  return primitive


_correlate_p = _define(
  "convolution_correlate",
  lambda x, kernel, form: (x[0], *form.outputs, kernel[-1]),
  cpu.correlate,
  plain.correlate,
)
_spread_p = _define(
  "convolution_spread",
  lambda y, kernel, form: (y[0], *form.spatial, kernel[-2] * form.groups),
  cpu.spread,
  plain.spread,
)
_gather_p = _define(
  "convolution_gather",
  lambda x, y, form: (*form.window, x[-1] // form.groups, y[-1]),
  cpu.gather,
  plain.gather,
)

# (cotangent, left, right) -> cotangent of left, of right.
ad.defbilinear(
  _correlate_p,
  lambda y, x, kernel, *, form: spread(y, kernel, form),
  lambda y, x, kernel, *, form: gather(x, y, form),
)
ad.defbilinear(
  _spread_p,
  lambda x, y, kernel, *, form: correlate(x, kernel, form),
  lambda x, y, kernel, *, form: gather(x, y, form),
)
ad.defbilinear(
  _gather_p,
  lambda kernel, x, y, *, form: spread(y, kernel, form),
  lambda kernel, x, y, *, form: correlate(x, kernel, form),
)


def _batch(apply, result_is_kernel, arguments, axes, *, form: Form):
  """Maps `apply` over an axis of its arguments without a loop.

  Over one kernel, a mapped batch [N, B, ...] is a batch of N · B. Where a kernel is
  mapped too, as argument or result, the N maps become N times as many groups.
  """
  left, right = arguments
  if axes[1] is None and not result_is_kernel:
    left = jnp.moveaxis(left, axes[0], 0)
    out = apply(left.reshape(-1, *left.shape[2:]), right, form)
    return out.reshape(left.shape[0], -1, *out.shape[1:]), 0
  size = next(
    a.shape[axis] for a, axis in zip(arguments, axes, strict=True) if axis is not None
  )
  merged = [
    _into_channels(a, axis, size) for a, axis in zip(arguments, axes, strict=True)
  ]
  out = apply(*merged, dataclasses.replace(form, groups=size * form.groups))
  return out.reshape(*out.shape[:-1], size, -1), out.ndim - 1


def _into_channels(array: chex.Array, axis: int | None, size: int) -> chex.Array:
  """Makes `size` times as many channels of a mapped (or repeated) array."""
  if axis is None:
    shape = (*array.shape[:-1], size, array.shape[-1])
    array = jnp.broadcast_to(array[..., None, :], shape)
  else:
    array = jnp.moveaxis(array, axis, -2)
  return array.reshape(*array.shape[:-2], -1)


for _primitive, _apply, _result_is_kernel in (
  (_correlate_p, correlate, False),
  (_spread_p, spread, False),
  (_gather_p, gather, True),
):
  batching.primitive_batchers[_primitive] = functools.partial(
    _batch, _apply, _result_is_kernel
  )
