"""Tests of the distances between sets of features."""

import jax
import numpy as np
import scipy.linalg
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops import frechet


def draw(seed, count, channels=5):
  rng = np.random.default_rng(seed)
  mixing = rng.normal(size=(channels, channels))
  return rng.normal(size=(count, channels)) @ mixing + rng.normal(size=channels)


class FrechetTest(parameterized.TestCase):
  def test_agrees_with_the_square_root_of_the_product(self):
    a, b = frechet.statistics(draw(0, 60)), frechet.statistics(draw(1, 50))
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    expected = np.sum((a.mean - b.mean) ** 2)
    expected += np.trace(a.covariance + b.covariance - 2 * root)
    self.assertAlmostEqual(frechet.frechet_distance(a, b), expected, places=8)

  def test_diagonal_gaussians_have_a_closed_form(self):
    spread, other = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 0.0])
    a = frechet.Statistics(9, np.zeros(3), np.diag(spread**2))
    b = frechet.Statistics(9, np.array([0.0, 2.0, 1.0]), np.diag(other**2))
    expected = 5.0 + np.sum((spread - other) ** 2)
    self.assertAlmostEqual(frechet.frechet_distance(a, b), expected, places=10)

  def test_singular_covariances_of_few_features(self):
    # 8 features of 40 channels: adding a constant is all that differs.
    features = draw(2, 8, 40)
    a, b = frechet.statistics(features), frechet.statistics(features + 0.01)
    self.assertAlmostEqual(frechet.frechet_distance(a, b), 40 * 1e-4, places=9)
    self.assertAlmostEqual(frechet.frechet_distance(a, a), 0.0, places=9)

  def test_statistics_are_unbiased_and_float64(self):
    features = draw(3, 20).astype(np.float32)
    found = frechet.statistics(features)
    np.testing.assert_allclose(found.covariance, np.cov(features.T), rtol=1e-6)
    self.assertEqual(found.covariance.dtype, np.float64)

  @settings(max_examples=25, deadline=None)
  @given(st.integers(2, 18), st.integers(0, 2**16))
  def test_parts_merge_into_the_whole(self, cut, seed):
    features = draw(seed, 20)
    parts = [frechet.statistics(part) for part in (features[:cut], features[cut:])]
    whole, merged = frechet.statistics(features), frechet.merge(*parts)
    self.assertEqual(merged.count, 20)
    np.testing.assert_allclose(merged.mean, whole.mean, atol=1e-10)
    np.testing.assert_allclose(merged.covariance, whole.covariance, atol=1e-9)

  @settings(max_examples=25, deadline=None)
  @given(st.lists(st.integers(1, 19), max_size=5), st.booleans())
  def test_batches_of_any_size_are_accumulated(self, cuts, far):
    # Far from the origin, float32 sums of squares would keep no digit of the spread.
    features = draw(8, 20) + 1e6 * far
    batches = np.split(features, sorted(set(cuts)))
    found = frechet.statistics_of_batches(iter(batches))
    self.assertEqual(found.count, 20)
    np.testing.assert_allclose(found.mean, features.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(features.T), atol=1e-7)

  def test_features_that_never_change(self):
    constant = frechet.statistics(np.full((4, 3), 2.0))
    a = frechet.statistics(draw(9, 30, 3))
    expected = np.sum((a.mean - 2) ** 2) + np.trace(a.covariance)
    self.assertAlmostEqual(frechet.frechet_distance(a, constant), expected, places=9)
    self.assertEqual(frechet.frechet_distance(constant, constant), 0.0)

  @settings(max_examples=25, deadline=None)
  @given(st.integers(0, 2**16))
  def test_is_a_symmetric_distance(self, seed):
    a, b = (frechet.statistics(draw(seed + i, 12)) for i in (0, 1))
    there, back = frechet.frechet_distance(a, b), frechet.frechet_distance(b, a)
    self.assertGreaterEqual(there, 0.0)
    self.assertAlmostEqual(there, back, delta=1e-8 * (1 + there))


class KernelTest(parameterized.TestCase):
  def test_agrees_with_the_sums_over_pairs(self):
    a, b = draw(4, 4, 3), draw(5, 5, 3)

    def mean(x, y, apart):
      pairs = [
        (p @ q / 3 + 1) ** 3
        for i, p in enumerate(x)
        for j, q in enumerate(y)
        if i != j or not apart
      ]
      return np.mean(pairs)

    expected = mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)
    self.assertAlmostEqual(frechet.kernel_distance(a, b), expected, places=8)

  def test_same_distribution_is_nearer_than_a_shifted_one(self):
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 200, 4))
    self.assertLess(abs(frechet.kernel_distance(a, b)), 0.1)
    self.assertGreater(frechet.kernel_distance(a, b + 1), 1.0)

  def test_subsets_estimate_the_same_number(self):
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)) + 0.7

    def over_subsets(seed, **options):
      key = jax.random.key(seed)
      return frechet.kernel_distance_of_subsets(a, b, key, **options)

    mean, deviation = over_subsets(0, subsets=40, size=20)
    whole = frechet.kernel_distance(a, b)
    self.assertGreater(deviation, 0.0)
    self.assertLess(abs(mean - whole), 4 * deviation / 40**0.5)
    self.assertEqual((mean, deviation), over_subsets(0, subsets=40, size=20))
    self.assertNotEqual(mean, over_subsets(1, subsets=40, size=20)[0])
    # Drawn without replacement: subsets of all are the whole, in another order.
    mean, deviation = frechet.kernel_distance_of_subsets(
      a[:50], b, jax.random.key(0), subsets=3
    )
    self.assertAlmostEqual(mean, frechet.kernel_distance(a[:50], b), places=9)
    self.assertLess(deviation, 1e-9)


class BadInputTest(parameterized.TestCase):
  @parameterized.parameters(frechet.statistics, lambda x: frechet.kernel_distance(x, x))
  def test_too_few_or_not_finite_is_said(self, function):
    with self.assertRaisesRegex(ValueError, "1 where at least two"):
      function(np.zeros((1, 3)))
    with self.assertRaisesRegex(ValueError, "not finite"):
      function(np.array([[0.0, np.nan], [1.0, 2.0]]))
    with self.assertRaises(AssertionError):
      function(np.zeros(3))

  def test_no_batches_and_empty_ones_are_said(self):
    with self.assertRaisesRegex(ValueError, "0 where at least two"):
      frechet.statistics_of_batches([])
    with self.assertRaisesRegex(ValueError, "1 where at least two"):
      frechet.statistics_of_batches([np.zeros((1, 3))])
    two = np.zeros((2, 3))
    with self.assertRaisesRegex(ValueError, "subsets: 0"):
      frechet.kernel_distance_of_subsets(two, two, jax.random.key(0), subsets=0)
    with self.assertRaisesRegex(ValueError, "0 where at least one"):
      frechet.statistics_of_batches([np.zeros((0, 3))])

  def test_other_channels_are_refused(self):
    a, b = frechet.statistics(draw(7, 9, 3)), frechet.statistics(draw(7, 9, 4))
    for function in (frechet.frechet_distance, frechet.merge):
      with self.assertRaises(AssertionError):
        function(a, b)


if __name__ == "__main__":
  absltest.main()
