"""Tests of generalised fast global registration."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import strategies as st

from jaxvision.ops import rigid
from jaxvision.papers.robust_loss import data, registration
from jaxvision.train import jit_once

solve = jit_once(registration.solve)
make = jit_once(data.registration, static_argnames="count")


def make_pairs(seed, outliers, noise):
  return make(jax.random.key(seed), outliers=outliers, noise=noise, count=200)


class RegistrationTest(chex.TestCase):
  def test_most_pairs_may_be_wrong(self):
    pairs = make_pairs(0, outliers=0.8, noise=0.0)
    errors = [
      registration.rmse(
        solve(pairs.source, pairs.target, schedule).transform, pairs.source, pairs.truth
      )
      for schedule in (
        registration.shape_annealed(),
        registration.scale_annealed(),
        registration.fixed(2.0),
      )
    ]
    self.assertLess(errors[0], 0.02)
    self.assertLess(errors[1], 0.02)
    self.assertGreater(errors[2], 0.05)

  def test_least_squares_is_the_weighted_fit(self):
    pairs = make_pairs(1, outliers=0.3, noise=0.01)
    found = solve(pairs.source, pairs.target, registration.fixed(2.0))
    expected = rigid.fit(pairs.source, pairs.target)
    np.testing.assert_allclose(found.transform, expected, atol=1e-5)

  def test_schedules(self):
    scale = registration.scale_annealed()
    np.testing.assert_allclose(scale.scales[:8], [1] * 4 + [1 / 1.4] * 4, rtol=1e-6)
    np.testing.assert_allclose(scale.scales[-1], 0.025, rtol=1e-6)
    shape = registration.shape_annealed()
    np.testing.assert_array_equal(shape.alphas[:13:4], [2, 1, 0.5, 0.25])
    self.assertEqual(shape.alphas[-1], -32)

  def test_pairs_that_are_not_finite_are_left_out(self):
    pairs = make_pairs(2, outliers=0.0, noise=0.0)
    target = pairs.target.at[::5].set(jnp.nan)
    found = solve(pairs.source, target, registration.shape_annealed())
    self.assertLess(registration.rmse(found.transform, pairs.source, pairs.truth), 1e-4)
    np.testing.assert_array_equal(found.weights[::5], 0)
    self.assertTrue(found.is_valid)

  @hypothesis.given(
    count=st.integers(1, 4),
    spread=st.sampled_from([0.0, 1e-20, 1.0, 1e8]),
    nans=st.integers(0, 4),
    seed=st.integers(0, 1000),
  )
  @hypothesis.settings(max_examples=30, deadline=None)
  def test_no_nan_leaves_the_solver(self, count, spread, nans, seed):
    rng = np.random.default_rng(seed)
    source, target = spread * rng.normal(size=(2, count, 3))
    source[:nans] = np.nan
    found = solve(
      source.astype(np.float32),
      target.astype(np.float32),
      registration.shape_annealed(),
    )
    chex.assert_tree_all_finite((found.transform, found.weights))
    if count - nans < 3:
      self.assertFalse(found.is_valid)

  def test_nothing_to_register_is_refused(self):
    nothing = jnp.zeros((0, 3))
    with self.assertRaisesRegex(ValueError, "at least one pair"):
      registration.solve(nothing, nothing, registration.shape_annealed())


if __name__ == "__main__":
  absltest.main()
