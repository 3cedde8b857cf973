"""Tests of semi-global aggregation, guided and classical."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies

from jaxvision.ops import aggregation

SHAPE = (2, 4, 3, 5, 2)  # N, D, H, W, C


def example(seed=0, shape=SHAPE, signed=True):
  rng = np.random.default_rng(seed)
  batch, _, height, width, channels = shape
  cost = rng.standard_normal(shape)
  weights = rng.standard_normal((batch, height, width, 4, 5, channels))
  weights = weights if signed else np.abs(weights)
  weights /= np.abs(weights).sum(-2, keepdims=True)
  return cost.astype(np.float32), weights.astype(np.float32)


def along_row(cost, weights):
  """The recursion by its definition: [D, W] and [W, 5]."""
  candidates, width = cost.shape
  result = np.zeros_like(cost)
  for x in range(width):
    w = weights[x]
    for d in range(candidates):
      own = cost[d, x]
      if x == 0:
        result[d, x] = own * w.sum()
        continue
      before = result[:, x - 1]
      below = before[d - 1] if d > 0 else own
      above = before[d + 1] if d + 1 < candidates else own
      terms = [own, before[d], below, above, before.max()]
      result[d, x] = np.dot(w, terms)
  return result


def by_definition(cost, weights, fusion):
  """All directions, pixel by pixel."""
  views = {
    "down": (lambda a, r, c: a.swapaxes(r, c), False),
    "up": (lambda a, r, c: a.swapaxes(r, c), True),
    "right": (lambda a, r, c: a, False),
    "left": (lambda a, r, c: a, True),
  }
  results = []
  for number, name in enumerate(aggregation.DIRECTIONS):
    turn, backwards = views[name]
    own = turn(cost, 2, 3).copy()
    w = turn(weights[:, :, :, number], 1, 2)
    order = slice(None, None, -1 if backwards else 1)
    for n in range(own.shape[0]):
      for row in range(own.shape[2]):
        for c in range(own.shape[4]):
          own[n, :, row, order, c] = along_row(
            own[n, :, row, order, c], w[n, row, order, :, c]
          )
    results.append(turn(own, 2, 3))
  return np.max(results, 0) if fusion == "max" else np.sum(results, 0)


class SemiGlobalAggregationTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.parameters("max", "sum")
  def test_agrees_with_the_definition(self, fusion):
    cost, weights = example()
    aggregate = self.variant(
      functools.partial(aggregation.semi_global_aggregation, fusion=fusion)
    )
    expected = by_definition(cost, weights, fusion)
    np.testing.assert_allclose(aggregate(cost, weights), expected, atol=2e-6)

  def test_strips_do_not_show(self):
    # More lanes than a strip holds, with and without a divisor.
    for width in (96, 97):
      cost, weights = example(1, (1, 3, 2, width, 8))
      found = jax.jit(aggregation.semi_global_aggregation)(cost, weights)
      np.testing.assert_allclose(found, by_definition(cost, weights, "max"), atol=2e-6)

  def test_gradient_agrees_with_finite_differences(self):
    with jax.enable_x64(True):
      cost, weights = (x.astype(np.float64) for x in example(2, (1, 3, 3, 4, 1)))
      rng = np.random.default_rng(3)
      direction = rng.standard_normal(cost.shape), rng.standard_normal(weights.shape)
      above = rng.standard_normal(cost.shape)
      for fusion in ("max", "sum"):

        @jax.jit
        def value(cost, weights, fusion=fusion):
          y = aggregation.semi_global_aggregation(cost, weights, fusion=fusion)
          return jnp.sum(y * above)

        gradient = jax.jit(jax.grad(value, (0, 1)))(cost, weights)
        slope = sum(np.sum(g * d) for g, d in zip(gradient, direction, strict=True))
        step = 1e-6
        ahead = value(cost + step * direction[0], weights + step * direction[1])
        behind = value(cost - step * direction[0], weights - step * direction[1])
        np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6)

  def test_authors_gradient_differs_at_the_first_cells_only(self):
    cost, weights = example(4, (1, 3, 4, 4, 1))
    gradients = []
    for authors in (False, True):
      aggregate = functools.partial(
        aggregation.semi_global_aggregation,
        directions=("down",),
        authors_gradient=authors,
      )
      _, backward = jax.vjp(aggregate, cost, weights[:, :, :, :1])
      gradients.append(backward(jnp.ones_like(cost)))
    (true_cost, true_weights), (cost_, weights_) = gradients
    np.testing.assert_allclose(true_cost[:, :, 1:], cost_[:, :, 1:], atol=1e-6)
    np.testing.assert_allclose(true_weights[:, 1:], weights_[:, 1:], atol=1e-6)
    self.assertGreater(np.abs(true_cost[:, :, 0] - cost_[:, :, 0]).max(), 0.01)
    np.testing.assert_array_equal(weights_[:, 0, :, :, 1:], 0)

  def test_ties_between_directions_go_to_the_earlier_one(self):
    cost = jnp.ones((1, 2, 1, 1, 1))
    weights = jnp.full((1, 1, 1, 4, 5, 1), 0.2)
    gradient = jax.grad(
      lambda w: jnp.sum(aggregation.semi_global_aggregation(cost, w))
    )(weights)
    self.assertGreater(float(gradient[..., 0, :, :].min()), 0)
    np.testing.assert_array_equal(gradient[..., 1:, :, :], 0)

  @hypothesis.settings(max_examples=10, deadline=None)
  @hypothesis.given(
    seed=strategies.integers(0, 1000), factor=strategies.floats(0.1, 10)
  )
  def test_is_bounded_homogeneous_and_keeps_constants(self, seed, factor):
    cost, weights = example(seed)
    aggregate = _aggregate()
    y = aggregate(cost, weights)
    self.assertLessEqual(np.abs(y).max(), np.abs(cost).max() * (1 + 1e-5))
    scaled = aggregate((factor * cost).astype(np.float32), weights)
    np.testing.assert_allclose(scaled, factor * y, rtol=1e-4, atol=1e-5)
    constant = aggregate(np.full_like(cost, factor), np.abs(weights))
    np.testing.assert_allclose(constant, factor, rtol=1e-5)

  def test_zero_weights_are_normalised_to_zero(self):
    weights = aggregation.normalize_weights(jnp.array([[0.0, 0.0], [-3.0, 1.0]]), 1)
    np.testing.assert_allclose(weights, [[0, 0], [-0.75, 0.25]])

  def test_memory_of_the_backward_pass_is_below_three_volumes(self):
    shape = (1, 48, 64, 128, 8)
    options = aggregation._Options(aggregation.DIRECTIONS, "max", False)
    cost = jax.ShapeDtypeStruct(shape, jnp.float32)
    weights = jax.ShapeDtypeStruct((1, 64, 128, 4, 5, 8), jnp.float32)
    winner = jax.ShapeDtypeStruct(shape, jnp.int8)
    backward = functools.partial(aggregation._aggregate_backward, options)
    compiled = jax.jit(backward).lower((cost, weights, winner), cost).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes
    self.assertLess(temporary, 3 * 4 * np.prod(shape))

  def test_wrong_arguments_are_refused(self):
    cost, weights = example()
    with self.assertRaisesRegex(AssertionError, "shape"):
      aggregation.semi_global_aggregation(cost, weights[:, :, :, :, :4])
    with self.assertRaisesRegex(ValueError, "fusion is 'mean'"):
      aggregation.semi_global_aggregation(cost, weights, fusion="mean")
    with self.assertRaisesRegex(ValueError, "not some of"):
      aggregation.semi_global_aggregation(
        cost, weights[:, :, :, :1], directions=("diagonal",)
      )


@functools.cache
def _aggregate():
  return jax.jit(aggregation.semi_global_aggregation)


class ClassicalTest(parameterized.TestCase):
  def test_agrees_with_the_definition_in_integers(self):
    cost = np.random.default_rng(0).integers(0, 20, (1, 5, 2, 6))
    found = aggregation.classical_semi_global_matching(
      jnp.asarray(cost), 2, 7, directions=("right",)
    )
    self.assertEqual(found.dtype, jnp.asarray(cost).dtype)
    path = cost[0].copy()
    for y in range(2):
      for x in range(1, 6):
        before = path[:, y, x - 1]
        for d in range(5):
          options = [before[d], before.min() + 7]
          options += [before[k] + 2 for k in (d - 1, d + 1) if 0 <= k < 5]
          path[d, y, x] = cost[0, d, y, x] + min(options) - before.min()
    np.testing.assert_array_equal(found[0], path)

  def test_directions_mirror_each_other(self):
    cost = jnp.asarray(np.random.default_rng(1).random((1, 4, 3, 5)))
    match = aggregation.classical_semi_global_matching
    left = match(cost, 0.1, 0.5, directions=("left",))
    right = match(cost[..., ::-1], 0.1, 0.5, directions=("right",))
    np.testing.assert_allclose(left, right[..., ::-1], atol=1e-6)
    up = match(cost.swapaxes(2, 3), 0.1, 0.5, directions=("left",)).swapaxes(2, 3)
    np.testing.assert_allclose(match(cost, 0.1, 0.5, directions=("up",)), up, atol=1e-6)

  def test_fills_what_has_no_texture(self):
    cost = np.full((1, 5, 1, 9), 0.5)
    cost[0, 3, 0, 0] = cost[0, 3, 0, 8] = 0.0
    total = aggregation.classical_semi_global_matching(jnp.asarray(cost), 0.1, 0.3)
    np.testing.assert_array_equal(np.argmin(total, axis=1), 3)


if __name__ == "__main__":
  absltest.main()
