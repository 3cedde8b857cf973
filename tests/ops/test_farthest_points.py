"""Tests of farthest point sampling."""

import functools

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops.farthest_points import farthest_point_sampling

sample = jax.jit(
  farthest_point_sampling, static_argnames=("count", "start", "ignored_square")
)


def reference(points, count, start=0, ignored_square=None):
  """The definition, one point after the other."""
  taken, squares = [start], np.full(len(points), np.inf)
  allowed = np.isfinite(points).all(axis=1)
  if ignored_square is not None:
    allowed &= np.sum(points**2, axis=1) > ignored_square
  while len(taken) < count:
    squares = np.fmin(squares, np.sum((points - points[taken[-1]]) ** 2, axis=1))
    taken.append(int(np.argmax(np.where(allowed, squares, -1))))
  return taken


def cloud(size, seed=0, d=3):
  return np.random.default_rng(seed).normal(size=(size, d)).astype(np.float32)


class FarthestPointSamplingTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_corners_of_a_line_come_first(self):
    points = jnp.array([[0.0], [1.0], [2.0], [3.0], [10.0]])
    sample = self.variant(functools.partial(farthest_point_sampling, count=5))
    np.testing.assert_array_equal(sample(points), [0, 4, 3, 1, 2])

  @hypothesis.given(
    seed=st.integers(0, 999), start=st.sampled_from([0, 7]), ignored=st.booleans()
  )
  @hypothesis.settings(max_examples=20, deadline=None)
  def test_is_its_definition(self, seed, start, ignored):
    points, square = cloud(30, seed), 1.0 if ignored else None
    found = sample(points, 12, start=start, ignored_square=square)
    np.testing.assert_array_equal(found, reference(points, 12, start, square))

  def test_a_batch_is_its_clouds(self):
    points = np.stack([cloud(40, seed) for seed in range(3)])
    sample = functools.partial(farthest_point_sampling, count=9)
    found = jax.jit(jax.vmap(sample))(points)
    for one, indices in zip(points, found, strict=True):
      np.testing.assert_array_equal(indices, sample(one))

  def test_all_points_are_taken_once(self):
    found = farthest_point_sampling(cloud(50, d=2), 50)
    np.testing.assert_array_equal(np.sort(found), np.arange(50))

  def test_points_near_the_origin_are_never_taken_but_at_the_start(self):
    points = np.float32([[0.01, 0, 0], [0.02, 0, 0], [1, 0, 0], [0, 1, 0]])
    found = farthest_point_sampling(points, 4, ignored_square=1e-3)
    np.testing.assert_array_equal(found, [0, 3, 2, 2])
    found = farthest_point_sampling(points[:2], 2, ignored_square=1e-3)
    np.testing.assert_array_equal(found, [0, 0])

  def test_points_that_are_not_finite_are_never_taken(self):
    points = cloud(20)
    points[[0, 3]], points[7, 1] = np.nan, np.inf
    found = np.asarray(farthest_point_sampling(points, 17, start=0))
    self.assertEmpty(set(found[1:]) & {0, 3, 7})
    self.assertLen(set(found[1:]), 16)

  @parameterized.parameters((0, 0), (6, 0), (2, 5))
  def test_impossible_samples_are_refused(self, count, start):
    with self.assertRaises(ValueError):
      farthest_point_sampling(jnp.zeros((5, 3)), count, start=start)


if __name__ == "__main__":
  absltest.main()
