"""Convolutions held to their definition, to lax, and to finite differences."""

import functools
import itertools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import _convolution_cpu as cpu
from jaxvision.ops import _convolution_lax as plain
from jaxvision.ops._convolution_form import Form
from jaxvision.ops.convolution import conv, conv_transpose

# What each row reaches of `_convolution_cpu`: input [*spatial, C], window, features,
# strides, padding, dilation, groups.
SHAPES = {
  "few channels": ((9, 8, 3), (3, 3), 8, 1, 1, 1, 1),
  "strided": ((12, 11, 48), (3, 3), 64, 2, 1, 1, 1),
  "many features": ((6, 5, 64), (3, 2), 130, 1, "SAME", 1, 1),
  "narrowing": ((6, 6, 64), (3, 3), 16, 1, "SAME", 1, 1),
  "one by one": ((5, 6, 8), (1, 1), 16, 1, 0, 1, 1),
  "dilated": ((11, 9, 4), (3, 2), 6, 1, 2, 2, 1),
  "groups": ((6, 7, 8), (3, 3), 12, 2, 1, 1, 4),
  "depthwise": ((7, 7, 6), (3, 3), 12, 2, 1, 1, 6),
  "sequence": ((17, 5), (4,), 7, 3, 2, 1, 1),
  "volume": ((4, 5, 6, 3), (3, 3, 3), 4, 1, 1, 1, 1),
  "cells": ((9, 8, 48), (4, 4), 64, 2, 1, 1, 1),
  "cells of a volume": ((6, 5, 8, 8), (4, 4, 4), 12, 2, 1, 1, 1),
  "wide volume": ((5, 26, 25, 32), (3, 3, 3), 40, 1, 1, 1, 1),
  "dilated volume": ((7, 6, 5, 33), (3, 2, 3), 36, 1, 2, 2, 1),
  "deep volume": ((4, 5, 4, 32), (3, 3, 3), 8, 2, 1, 1, 1),
}


def arrays(*shapes, dtype=np.float32):
  rng = np.random.default_rng(0)
  return [jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def convolve(x, kernel, strides, padding, dilation):
  """The definition, one output element after the other."""
  x = np.pad(x, [(0, 0), *padding, (0, 0)])
  window, axes = kernel.shape[:-2], x.ndim - 2
  outputs = [
    (n - d * (k - 1) - 1) // s + 1
    for n, k, s, d in zip(x.shape[1:-1], window, strides, dilation, strict=True)
  ]
  y = np.zeros((x.shape[0], *outputs, kernel.shape[-1]))
  for at in np.ndindex(*outputs):
    for tap in np.ndindex(*window):
      where = tuple(strides[a] * at[a] + dilation[a] * tap[a] for a in range(axes))
      y[(slice(None), *at)] += x[(slice(None), *where)] @ kernel[tap]
  return y


def spread(y, kernel, strides, cropped, output_padding):
  """The definition of the transposed one: every input adds its kernel."""
  window, axes = kernel.shape[:-2], y.ndim - 2
  sizes = [
    (n - 1) * s + k + e
    for n, s, k, e in zip(y.shape[1:-1], strides, window, output_padding, strict=True)
  ]
  x = np.zeros((y.shape[0], *sizes, kernel.shape[-1]))
  for at in np.ndindex(*y.shape[1:-1]):
    for tap in np.ndindex(*window):
      where = tuple(strides[a] * at[a] + tap[a] for a in range(axes))
      x[(slice(None), *where)] += y[(slice(None), *at)] @ kernel[tap]
  inside = [slice(p, n - p) for p, n in zip(cropped, sizes, strict=True)]
  return x[(slice(None), *inside)]


class ConvTest(chex.TestCase):
  @parameterized.parameters(
    ((7,), (3,), (2,), [(1, 2)], (1,)),
    ((5, 6), (3, 2), (1, 2), [(1, 1), (0, 1)], (2, 1)),
    ((4, 3, 5), (2, 3, 1), (1, 1, 2), [(1, 0), (1, 1), (0, 0)], (1, 1, 1)),
  )
  def test_definition(self, sizes, window, strides, padding, dilation):
    x, kernel = arrays((2, *sizes, 3), (*window, 3, 4))
    y = conv(x, kernel, strides=strides, padding=padding, dilation=dilation)
    np.testing.assert_allclose(
      y, convolve(x, np.asarray(kernel), strides, padding, dilation), atol=1e-5
    )

  @parameterized.named_parameters((name, *shape) for name, shape in SHAPES.items())
  def test_value_and_gradients_are_those_of_lax(
    self, sizes, window, features, strides, padding, dilation, groups
  ):
    x, kernel = arrays((2, *sizes), (*window, sizes[-1] // groups, features))
    options = {"strides": strides, "dilation": dilation, "groups": groups}

    def ours(x, kernel):
      return conv(x, kernel, padding=padding, **options)

    def theirs(x, kernel):
      axes = len(window)
      pads = padding
      if not isinstance(padding, str):
        pads = [(padding, padding)] * axes
      letters = "DHW"[-axes:]
      return jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides,) * axes,
        pads,
        rhs_dilation=(dilation,) * axes,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        feature_group_count=groups,
      )

    (cotangent,) = arrays(jax.eval_shape(theirs, x, kernel).shape)

    def with_gradients(function):
      def run(x, kernel):
        y, pull = jax.vjp(function, x, kernel)
        return y, *pull(cotangent)

      return jax.jit(run)(x, kernel)

    for ours_, theirs_ in zip(*map(with_gradients, (ours, theirs)), strict=True):
      scale = np.max(np.abs(theirs_))
      np.testing.assert_allclose(ours_, theirs_, atol=1e-5 * scale, rtol=0)

  @parameterized.parameters((2, -1), (-3, 1), (-2, -2))
  def test_cropping_by_negative_padding(self, low, high):
    # lax's own is wrong here: XLA's CPU backend reads foreign memory.
    x, kernel = arrays((2, 9, 3), (1, 3, 32))

    def expected(x, kernel):
      zero = jnp.zeros(())
      return jax.lax.pad(x, zero, [(0, 0, 0), (low, high, 0), (0, 0, 0)]) @ kernel[0]

    def with_gradients(function):
      def run(x, kernel):
        y, pull = jax.vjp(function, x, kernel)
        return y, *pull(y)

      return jax.jit(run)(x, kernel)

    ours = with_gradients(functools.partial(conv, padding=[(low, high)]))
    chex.assert_trees_all_close(ours, with_gradients(expected), rtol=1e-5, atol=1e-5)

  @parameterized.parameters("reflect", "symmetric", "replicate", "circular")
  def test_edge_modes_are_those_of_numpy(self, mode):
    x, kernel = arrays((1, 5, 6, 2), (3, 5, 2, 3))
    names = {"replicate": "edge", "circular": "wrap"}
    padded = np.pad(x, ((0, 0), (1, 1), (2, 2), (0, 0)), names.get(mode, mode))
    np.testing.assert_allclose(
      conv(x, kernel, padding=(1, 2), padding_mode=mode),
      conv(jnp.asarray(padded), kernel, padding="VALID"),
      rtol=1e-6,
    )

  @parameterized.parameters(*itertools.product((5, 8), (2, 3), (1, 2)))
  def test_same_is_tensorflows(self, size, window, stride):
    x, kernel = arrays((1, size, 1), (window, 1, 1))
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + window - size, 0)
    padding = [(total // 2, total - total // 2)]

    @jax.jit
    def both(x, kernel):
      return [conv(x, kernel, strides=stride, padding=p) for p in (padding, "SAME")]

    expected, found = both(x, kernel)
    chex.assert_shape(expected, (1, outputs, 1))
    np.testing.assert_array_equal(found, expected)

  def test_reduced_precision_stays(self):
    x, kernel = arrays((1, 6, 6, 4), (3, 3, 4, 8), dtype=jnp.bfloat16)
    y, gradient = jax.vjp(lambda kernel: conv(x, kernel), kernel)
    chex.assert_type([y, gradient(y)[0]], jnp.bfloat16)

  def test_wrong_arguments_are_named(self):
    x, kernel = arrays((1, 6, 6, 4), (3, 3, 4, 8))
    with self.assertRaisesRegex(ValueError, "4 channels in 2 groups"):
      conv(x, kernel, groups=2)
    with self.assertRaisesRegex(ValueError, "padding 'same'"):
      conv(x, kernel, padding="same")
    with self.assertRaisesRegex(ValueError, "strides"):
      conv(x, kernel, strides=(1, 1, 1))
    with self.assertRaisesRegex(ValueError, "No output"):
      conv(x[:, :2], kernel, padding="VALID")
    with self.assertRaisesRegex(ValueError, "reflect padding"):
      conv(x, kernel, padding=6, padding_mode="reflect")
    with self.assertRaises(AssertionError):
      conv(x.astype(jnp.int32), kernel)


class ConvTransposeTest(chex.TestCase):
  @parameterized.parameters(
    ((4,), (3,), (2,), (1,), (1,)),
    ((3, 4), (4, 4), (2, 2), (1, 1), (0, 0)),
    ((3, 4), (2, 3), (3, 1), (0, 1), (2, 0)),
    ((2, 3, 2), (3, 2, 4), (2, 1, 2), (1, 0, 1), (1, 0, 0)),
  )
  def test_definition(self, sizes, window, strides, cropped, output_padding):
    y, kernel = arrays((2, *sizes, 6), (*window, 6, 5))
    options = {"padding": cropped, "output_padding": output_padding}
    x = jax.jit(functools.partial(conv_transpose, strides=strides, **options))(
      y, kernel
    )
    np.testing.assert_allclose(
      x, spread(y, np.asarray(kernel), strides, cropped, output_padding), atol=1e-5
    )

  @parameterized.parameters(1, 2)
  def test_it_is_the_adjoint_of_the_convolution(self, groups):
    x, y, kernel = arrays((1, 8, 7, 4), (1, 4, 4, 6), (3, 3, 4 // groups, 6))
    transposed = kernel.reshape(3, 3, 4 // groups, groups, 6 // groups)
    transposed = transposed.swapaxes(-1, -3).reshape(3, 3, 6 // groups, 4)
    options = {"strides": 2, "padding": 1, "groups": groups}
    forward = jnp.vdot(conv(x, kernel, **options), y)
    backward = jnp.vdot(
      x, conv_transpose(y, transposed, output_padding=(1, 0), **options)
    )
    np.testing.assert_allclose(forward, backward, rtol=1e-5)

  @parameterized.parameters(*itertools.product((2, 3, 4), (1, 2, 3)))
  def test_same_has_stride_times_as_many_outputs(self, window, stride):
    y, kernel = arrays((1, 5, 2), (window, 2, 3))
    spread_out = functools.partial(conv_transpose, strides=stride)
    found = jax.eval_shape(spread_out, y, kernel)
    self.assertEqual(found.shape, (1, 5 * stride, 3))

  def test_wrong_output_padding_is_refused(self):
    y, kernel = arrays((1, 5, 2), (3, 2, 3))
    with self.assertRaisesRegex(ValueError, "output_padding"):
      conv_transpose(y, kernel, strides=2, padding=1, output_padding=2)


class DerivativesTest(chex.TestCase):
  @parameterized.parameters(
    ((5, 4, 2), (3, 2), 3, 2, 1, 1),
    ((5, 5, 4), (3, 3), 4, 1, 2, 4),
    ((3, 4, 3, 2), (2, 2, 2), 2, 1, 1, 1),
  )
  def test_first_and_second_agree_with_finite_differences(
    self, sizes, window, features, strides, dilation, groups
  ):
    with jax.enable_x64(True):
      x, kernel = arrays(
        (1, *sizes), (*window, sizes[-1] // groups, features), dtype=np.float64
      )

      def value(x, kernel):
        y = conv(x, kernel, strides=strides, dilation=dilation, groups=groups)
        return jnp.sum(jnp.sin(y))

      jax.test_util.check_grads(
        jax.jit(value), (x, kernel), order=2, modes=("fwd", "rev")
      )

  def test_gradient_penalty_of_a_transposed_one(self):
    with jax.enable_x64(True):
      y, kernel = arrays((1, 3, 4, 2), (4, 4, 2, 3), dtype=np.float64)

      def penalty(y, kernel):
        def critic(y):
          return jnp.sum(jnp.tanh(conv_transpose(y, kernel, strides=2)))

        return jnp.sum(jnp.square(jax.grad(critic)(y)))

      jax.test_util.check_grads(jax.jit(penalty), (y, kernel), order=1, modes=("rev",))


class TransformationsTest(chex.TestCase):
  @parameterized.parameters((0, None), (None, 0), (0, 1))
  def test_vmap_is_a_loop(self, x_axis, kernel_axis):
    x, kernel = arrays((2, 5, 5, 4), (3, 3, 2, 6))
    if x_axis is not None:
      x = jnp.stack([x, 2 * x, -x], x_axis)
    if kernel_axis is not None:
      kernel = jnp.stack([kernel, kernel + 1, -kernel], kernel_axis)

    def value(x, kernel):
      y = conv(x, kernel, groups=2, strides=2, padding=1)
      return jnp.sum(jnp.sin(y)), y

    def both(x, kernel):
      return jax.grad(value, argnums=(0, 1), has_aux=True)(x, kernel)

    ours = jax.jit(jax.vmap(both, (x_axis, kernel_axis)))(x, kernel)
    single_of = jax.jit(both)
    for index in range(3):
      single = single_of(
        x if x_axis is None else jnp.take(x, index, x_axis),
        kernel if kernel_axis is None else jnp.take(kernel, index, kernel_axis),
      )
      chex.assert_trees_all_close(
        jax.tree.map(lambda leaf, i=index: leaf[i], ours), single, atol=1e-5
      )

  @chex.variants(with_jit=True, without_jit=True)
  def test_variants(self):
    x, kernel = arrays((2, 5, 5, 2), (3, 3, 2, 3))
    function = self.variant(lambda x, kernel: conv(x, kernel, strides=2))
    expected = convolve(x, np.asarray(kernel), (2, 2), [(1, 1), (1, 1)], (1, 1))
    np.testing.assert_allclose(function(x, kernel), expected, atol=1e-5)

  def test_in_a_scan(self):
    x, kernel = arrays((1, 5, 5, 2), (3, 3, 2, 2))

    @jax.jit
    def both(x, kernel):
      step = lambda carry, _: (conv(carry, kernel), None)  # noqa: E731
      return jax.lax.scan(step, x, length=2)[0], conv(conv(x, kernel), kernel)

    np.testing.assert_allclose(*both(x, kernel), rtol=1e-4)


@st.composite
def forms(draw):
  axes = draw(st.integers(1, 3))

  def ints(low, high):
    return tuple(draw(st.integers(low, high)) for _ in range(axes))

  form = Form(
    spatial=ints(2, 6),
    window=ints(1, 4),
    strides=ints(1, 3),
    padding=tuple(zip(ints(-1, 3), ints(-1, 3), strict=True)),
    dilation=ints(1, 3),
    groups=draw(st.integers(1, 3)),
  )
  hypothesis.assume(min(form.outputs) >= 1)
  hypothesis.assume(
    all(n + sum(p) >= 1 for n, p in zip(form.spatial, form.padding, strict=True))
  )
  return form, draw(st.integers(1, 2)), draw(st.integers(1, 3))


class FormulationsTest(absltest.TestCase):
  @hypothesis.settings(max_examples=8, deadline=None, derandomize=True)
  @hypothesis.given(forms())
  def test_any_geometry_agrees_with_lax(self, drawn):
    form, inputs, outputs = drawn
    with jax.enable_x64(True):
      x, kernel, y = arrays(
        (2, *form.spatial, inputs * form.groups),
        (*form.window, inputs, outputs * form.groups),
        (2, *form.outputs, outputs * form.groups),
        dtype=np.float64,
      )
      for name, arguments in (
        ("correlate", (x, kernel)),
        ("spread", (y, kernel)),
        ("gather", (x, y)),
      ):
        ours, expected = jax.jit(
          lambda *arguments, name=name: [
            getattr(module, name)(*arguments, form) for module in (cpu, plain)
          ]
        )(*arguments)
        np.testing.assert_allclose(ours, expected, atol=1e-11, err_msg=name)


if __name__ == "__main__":
  absltest.main()
