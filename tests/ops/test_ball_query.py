"""Tests of the ball query."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops.ball_query import ball_query


def cloud(size, seed=0):
  return np.random.default_rng(seed).uniform(-1, 1, (size, 3)).astype(np.float32)


class BallQueryTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_first_ones_in_the_order_of_the_array(self):
    points = jnp.array([[3.0], [0.9], [0.1], [1.0], [-0.5], [0.0]])
    query = functools.partial(ball_query, radius=1.0, count=3)
    indices, number = self.variant(query)(jnp.zeros((1, 1)), points)
    # 1.0 lies on the ball's border, 0.0 comes too late.
    np.testing.assert_array_equal(indices, [[1, 2, 4]])
    np.testing.assert_array_equal(number, [3])

  @hypothesis.given(
    seed=st.integers(0, 999),
    count=st.sampled_from([1, 5, 40]),
    radius=st.sampled_from([0.05, 0.4, 1.5]),
  )
  @hypothesis.settings(max_examples=15, deadline=None)
  def test_is_its_definition(self, seed, count, radius):
    points = cloud(30, seed)
    fill = np.arange(9)[::-1]
    found, number = ball_query(
      points[:9], points, radius, count, fill=fill, skip_coincident=True
    )
    for query in range(9):
      squares = np.sum((points - points[query]) ** 2, axis=1)
      inside = np.flatnonzero((squares > 0) & (squares < np.float32(radius) ** 2))
      inside = inside[:count]
      self.assertEqual(number[query], len(inside))
      expected = np.r_[inside, np.full(count - len(inside), fill[query])]
      np.testing.assert_array_equal(found[query], expected)

  def test_a_batch_is_its_clouds(self):
    points = np.stack([cloud(150, seed) for seed in range(3)])
    query = functools.partial(ball_query, radius=0.5, count=8)
    found, number = jax.jit(jax.vmap(query))(points[:, :100], points)
    for index, one in enumerate(points):
      expected = query(one[:100], one)
      np.testing.assert_array_equal(found[index], expected[0])
      np.testing.assert_array_equal(number[index], expected[1])

  def test_empty_slots_repeat_the_first_found(self):
    points = jnp.array([[0.0, 0.0], [5.0, 0.0], [0.3, 0.0]])
    found, number = ball_query(points[1:] + 0.1, points, 0.5, 4)
    np.testing.assert_array_equal(found, [[1, 1, 1, 1], [0, 2, 0, 0]])
    np.testing.assert_array_equal(number, [1, 2])

  def test_nothing_found_is_told(self):
    found, number = ball_query(jnp.full((2, 3), 9.0), cloud(5), 0.1, 2)
    np.testing.assert_array_equal(found, 0)
    np.testing.assert_array_equal(number, 0)

  def test_points_that_are_not_finite_lie_in_no_ball(self):
    points = cloud(10)
    points[:4, 1] = np.nan
    found, number = ball_query(points, points, 9.0, 10)
    np.testing.assert_array_equal(number, [0] * 4 + [6] * 6)
    self.assertEqual(np.min(found[4:]), 4)

  @parameterized.parameters((0.0, 1, 5), (1.0, 0, 5), (1.0, 1, 0))
  def test_impossible_balls_are_refused(self, radius, count, size):
    with self.assertRaises(ValueError):
      ball_query(jnp.zeros((2, 3)), jnp.zeros((size, 3)), radius, count)


if __name__ == "__main__":
  absltest.main()
