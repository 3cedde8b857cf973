"""Tests of local guided aggregation."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops.local_aggregation import local_guided_aggregation


def example(seed=0, size=3, shape=(2, 3, 4, 5)):
  rng = np.random.default_rng(seed)
  batch, _, height, width = shape
  filters = rng.standard_normal((batch, height, width, 3, size, size))
  return rng.standard_normal(shape), filters


def by_definition(volume, filters):
  radius = filters.shape[-1] // 2
  result = np.zeros_like(volume)
  for n, d, y, x in np.ndindex(volume.shape):
    spans = range(-1, 2), *[range(-radius, radius + 1)] * 2
    for e, r, c in itertools.product(*spans):
      place = (d + e, y + r, x + c)
      inside = all(0 <= i < s for i, s in zip(place, volume.shape[1:], strict=True))
      value = volume[(n, *place)] if inside else volume[n, d, y, x]
      result[n, d, y, x] += filters[n, y, x, e + 1, r + radius, c + radius] * value
  return result


class LocalGuidedAggregationTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.parameters(3, 5)
  def test_agrees_with_the_definition(self, size):
    volume, filters = (x.astype(np.float32) for x in example(size=size))
    filtered = self.variant(local_guided_aggregation)(volume, filters)
    np.testing.assert_allclose(filtered, by_definition(volume, filters), atol=1e-5)

  def test_applied_twice_it_is_the_filter_of_the_filtered(self):
    volume, filters = (x.astype(np.float32) for x in example())
    once = local_guided_aggregation(volume, filters)
    np.testing.assert_allclose(
      local_guided_aggregation(volume, filters, repeats=2),
      local_guided_aggregation(once, filters),
      rtol=1e-6,
    )

  def test_gradient_agrees_with_finite_differences(self):
    with jax.enable_x64(True):
      volume, filters = example(1)
      rng = np.random.default_rng(2)
      directions = [rng.standard_normal(x.shape) for x in (volume, filters)]
      above = rng.standard_normal(volume.shape)

      @jax.jit
      def value(volume, filters):
        return jnp.sum(above * local_guided_aggregation(volume, filters, repeats=2))

      gradient = jax.jit(jax.grad(value, (0, 1)))(volume, filters)
      slope = sum(np.sum(g * d) for g, d in zip(gradient, directions, strict=True))
      step = 1e-6
      ahead = value(volume + step * directions[0], filters + step * directions[1])
      behind = value(volume - step * directions[0], filters - step * directions[1])
      np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-7)

  def test_weights_of_sum_one_keep_a_constant(self):
    _, filters = example(3)
    filters = np.abs(filters)
    filters /= filters.sum((3, 4, 5), keepdims=True)
    volume = np.full((2, 3, 4, 5), 2.5)
    found = local_guided_aggregation(jnp.asarray(volume), jnp.asarray(filters))
    np.testing.assert_allclose(found, 2.5, rtol=1e-5)

  def test_an_even_window_is_refused(self):
    volume, filters = example(size=2)
    with self.assertRaisesRegex(ValueError, "odd"):
      functools.partial(local_guided_aggregation)(
        jnp.asarray(volume), jnp.asarray(filters)
      )


if __name__ == "__main__":
  absltest.main()
