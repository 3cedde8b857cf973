"""The three maps of a `Form` as XLA knows them: right everywhere, fast on GPU, TPU."""

import chex
import jax
from jax import lax

from jaxvision.ops._convolution_form import Form


def correlate(x: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂y: [B, *form.outputs, O]."""
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=form.strides,
    padding=form.padding,
    rhs_dilation=form.dilation,
    dimension_numbers=dimension_numbers(form),
    feature_group_count=form.groups,
    precision=form.precision,
  )


def spread(y: chex.Array, kernel: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂x: [B, *form.spatial, C]."""
  channels = kernel.shape[-2] * form.groups
  x = jax.ShapeDtypeStruct((y.shape[0], *form.spatial, channels), y.dtype)
  return jax.linear_transpose(lambda x: correlate(x, kernel, form), x)(y)[0]


def gather(x: chex.Array, y: chex.Array, form: Form) -> chex.Array:
  """Returns ∂F/∂k: [*form.window, C / groups, O]."""
  shape = (*form.window, x.shape[-1] // form.groups, y.shape[-1])
  kernel = jax.ShapeDtypeStruct(shape, x.dtype)
  return jax.linear_transpose(lambda kernel: correlate(x, kernel, form), kernel)(y)[0]


def dimension_numbers(form: Form) -> tuple[str, str, str]:
  """Returns the layouts of input, kernel and output, channels last."""
  letters = "DHW"[-len(form.spatial) :]
  return f"N{letters}C", f"{letters}IO", f"N{letters}C"
