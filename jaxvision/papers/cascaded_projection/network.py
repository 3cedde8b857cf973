"""Networks run with projections between their layers, or with kernels of any width.

The network itself is an ordinary flax module, and stays as it is: its convolutions
and dense layers are intercepted, and compute with the kernels that the parameters
hold, whatever the module's own widths. So one forward pass serves the original, the
network while its projections are learned, and the compressed one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.nn.convolution import Conv
from jaxvision.ops import convolution
from jaxvision.papers.cascaded_projection.links import Link, Tap

Params = Mapping[str, Any]
Projections = Mapping[str, chex.Array]


def run(
  model: nn.Module,
  params: Params,
  images: chex.Array,
  *,
  links: Sequence[Link] = (),
  projections: Projections | None = None,
  taps: Sequence[Tap] = (),
) -> tuple[chex.Array, dict[Tap, chex.Array]]:
  """Returns a network's logits, and its features at some places.

  Between the layers of a link the channels are projected: layer i gives (I * W + b) P
  to the non-linearity, and layer i + 1 takes its kernel down by P^T, as Eqs. 6-8. A tap
  at a layer that is itself projected sees its output before that.

  Args:
    model: a network without normalisation.
    params: its parameters, of any widths that fit each other. A layer that also has
      an `expand` [r, c] multiplies its output by it: see `baselines.factorise`.
    images: [B, H, W, C].
    links: the links that `projections` stand between.
    projections: P [c, r] by producer.
    taps: where to look.

  Returns:
    Logits [B, K], and {tap: features}.

  Source: Eqs. 4-8.
  """
  projections = projections or {}
  inputs = {
    link.consumer: projections[link.producer]
    for link in links
    if link.producer in projections
  }
  by_path = {tap.path: tap for tap in taps}
  seen = {}

  def intercept(next_function, args, kwargs, context):
    module, path = context.module, "/".join(context.module.path)
    if context.method_name != "__call__":
      return next_function(*args, **kwargs)
    is_layer = isinstance(module, (Conv, nn.Dense))
    if is_layer:
      output = _layer(module, args[0], inputs.get(path))
    else:
      output = next_function(*args, **kwargs)
    if path in by_path:
      tap = by_path[path]
      seen[tap] = nn.relu(output) if tap.relu else output
    return output @ projections[path] if path in projections else output

  with nn.intercept_methods(intercept):
    logits = model.apply({"params": params}, images)
  return logits, seen


def accuracy(logits: chex.Array, labels: chex.Array, top: int = 1) -> chex.Array:
  """Returns the share of images whose label is among the `top` largest logits.

  Args:
    logits: [B, K].
    labels: [B] int.
    top: how many guesses count.
  """
  chex.assert_rank([logits, labels], [2, 1])
  of_label = jnp.take_along_axis(logits, labels[:, None], axis=-1)
  # NaN is larger than nothing, so that it would be right: count what is not smaller.
  rivals = jnp.sum(~(logits < of_label), axis=-1) - 1
  return jnp.mean(rivals < top)


def project_outputs(kernel: chex.Array, p: chex.Array) -> chex.Array:
  """Returns W^O = W P: kernel [..., c] and P [c, r] to [..., r]; also b P.

  Source: Eq. 4.
  """
  chex.assert_equal(kernel.shape[-1], p.shape[0])
  return kernel @ p


def project_inputs(kernel: chex.Array, p: chex.Array) -> chex.Array:
  """Returns W^I = P^T W, the kernel of a layer that takes projected channels.

  Args:
    kernel: [k, k, c, o] of a convolution, or [h w c, o] of a dense layer on a
      flattened map [h, w, c].
    p: [c, r].

  Returns:
    [k, k, r, o] or [h w r, o].

  Source: Eqs. 7-8.
  """
  channels, rank = p.shape
  if kernel.ndim == 2:
    chex.assert_is_divisible(kernel.shape[0], channels)
    positions = kernel.shape[0] // channels
    split = kernel.reshape(positions, channels, -1)
    return jnp.einsum("pco,cr->pro", split, p).reshape(positions * rank, -1)
  chex.assert_equal(kernel.shape[-2], channels)
  return jnp.einsum("...co,cr->...ro", kernel, p)


def _layer(module, x, projection):
  """Returns the output of a layer with the kernel that it has been given."""
  leaves = module.variables["params"]
  kernel = leaves["kernel"]
  if projection is not None:
    kernel = project_inputs(kernel, projection)
  if isinstance(module, Conv):
    if module.groups != 1 or module.padding_mode != "zeros":
      raise ValueError(f"{'/'.join(module.path)}: groups cannot be projected")
    y = convolution.conv(
      x,
      kernel,
      strides=module.strides,
      padding=module.padding,
      dilation=module.dilation,
    )
  else:
    y = jnp.matmul(x, kernel)
  y = y + leaves["bias"] if "bias" in leaves else y
  return y @ leaves["expand"] if "expand" in leaves else y


def shapes_of(model: nn.Module, image_shape: Sequence[int]) -> Any:
  """Returns the shapes of a network's variables, nothing allocated.

  Args:
    model: a network.
    image_shape: (H, W, C).
  """
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  return jax.eval_shape(model.init, jax.random.key(0), images)
