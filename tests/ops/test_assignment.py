"""Tests of linear assignment against SciPy's."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import assignment

assign = jax.jit(assignment.assign)
total = jax.jit(assignment.total)


def best(costs):
  rows, columns = scipy.optimize.linear_sum_assignment(costs)
  return costs[rows, columns].sum()


class AssignTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_a_known_case(self):
    costs = jnp.array([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]])
    np.testing.assert_array_equal(self.variant(assignment.assign)(costs), [1, 0, 2])

  @parameterized.parameters((7, 7), (4, 9), (9, 4), (1, 1), (1, 6), (6, 1))
  def test_costs_are_scipys(self, rows, columns):
    rng = np.random.default_rng(rows * columns)
    costs = rng.normal(size=(12, rows, columns)).astype(np.float32)
    found = np.asarray(assign(costs))
    for one, taken in zip(costs, found, strict=True):
      used = taken[taken >= 0]
      self.assertLen(set(used.tolist()), min(rows, columns))
      self.assertLen(used, min(rows, columns))
      self.assertLess(used.max(), columns)
      found_total = total(one, taken)
      np.testing.assert_allclose(found_total, best(one), atol=1e-5)

  @hypothesis.settings(max_examples=40, deadline=None)
  @hypothesis.given(st.integers(0, 2**32 - 1), st.integers(1, 4))
  def test_ties_of_whole_numbers_are_exact(self, seed, highest):
    costs = np.random.default_rng(seed).integers(-1, highest, size=(7, 7))
    taken = np.asarray(assign(costs.astype(np.float32)))
    self.assertEqual(sorted(taken), list(range(7)))
    self.assertEqual(costs[np.arange(7), taken].sum(), best(costs))

  def test_is_a_permutation_of_equal_costs(self):
    for value in (0.0, 1.0, 1e-12):
      taken = np.asarray(assign(np.full((5, 5), value, np.float32)))
      self.assertEqual(sorted(taken), list(range(5)))

  def test_values_that_are_not_finite_are_taken_last(self):
    costs = np.float32([[np.nan, 5, 9], [np.inf, 4, 1], [2, np.nan, -np.inf]])
    np.testing.assert_array_equal(assign(costs), [1, 2, 0])
    self.assertEqual(
      sorted(np.asarray(assign(np.full((4, 4), np.nan, np.float32)))), [0, 1, 2, 3]
    )

  def test_huge_costs_end(self):
    costs = np.full((4, 4), 3e38, np.float32)
    costs[0, 1] = -3e38
    self.assertEqual(int(assign(costs)[0]), 1)

  def test_vmap_gives_the_same(self):
    costs = np.random.default_rng(0).normal(size=(3, 2, 5, 5)).astype(np.float32)
    mapped = jax.jit(jax.vmap(jax.vmap(assignment.assign)))(costs)
    np.testing.assert_array_equal(mapped, assign(costs))

  def test_of_nothing(self):
    self.assertEqual(assign(jnp.zeros((2, 0, 3))).shape, (2, 0))
    np.testing.assert_array_equal(assign(jnp.zeros((2, 0))), [-1, -1])

  def test_permutation_has_the_greatest_score(self):
    scores = np.random.default_rng(1).normal(size=(2, 6, 6)).astype(np.float32)
    found = np.asarray(jax.jit(assignment.permutation)(scores))
    np.testing.assert_array_equal(found.sum(1), np.ones((2, 6)))
    np.testing.assert_array_equal(found.sum(2), np.ones((2, 6)))
    for one, match in zip(scores, found, strict=True):
      np.testing.assert_allclose(np.sum(one * match), -best(-one), atol=1e-5)


if __name__ == "__main__":
  absltest.main()
