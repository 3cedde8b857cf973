import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import optimize, spatial

from jaxvision.ops import point_metrics

chamfer = jax.jit(point_metrics.chamfer, static_argnames="squared")
emd = jax.jit(point_metrics.emd, static_argnames="squared")


def clouds(seed=0, first=13, second=17):
  rng = np.random.default_rng(seed)
  return rng.random((first, 3), np.float32), rng.random((second, 3), np.float32)


class PointMetricsTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_distances_are_those_of_a_tree(self):
    first, second = clouds()
    there, _ = spatial.cKDTree(second).query(first)
    back, _ = spatial.cKDTree(first).query(second)
    close = np.testing.assert_allclose
    close(self.variant(point_metrics.accuracy)(first, second), there.mean(), rtol=1e-5)
    close(
      self.variant(point_metrics.completeness)(first, second), back.mean(), rtol=1e-5
    )
    found = self.variant(point_metrics.chamfer)(first, second)
    close(found, (there**2).mean() + (back**2).mean(), rtol=1e-5)
    found = point_metrics.chamfer(first, second, squared=False)
    close(found, there.mean() + back.mean(), rtol=1e-5)
    close(
      point_metrics.accuracy_quantile(first, second), np.quantile(there, 0.9), rtol=1e-5
    )
    threshold = float(np.median(there))
    precision, recall = (there <= threshold).mean(), (back <= threshold).mean()
    f = point_metrics.f_score(first, second, threshold)
    close(
      f, (2 * precision * recall / (precision + recall), precision, recall), rtol=1e-6
    )

  def test_f_score_of_what_is_far_away_is_zero(self):
    first, second = clouds()
    np.testing.assert_array_equal(point_metrics.f_score(first, second + 9, 0.1), 0)

  def test_emd_is_the_best_matching(self):
    first, second = clouds(0, 12, 12)
    distances = spatial.distance.cdist(first, second)
    for squared, costs in ((False, distances), (True, distances**2)):
      rows, columns = optimize.linear_sum_assignment(costs)
      found = emd(first, second, squared=squared)
      np.testing.assert_allclose(found, costs[rows, columns].mean(), rtol=1e-5)

  @settings(max_examples=15, deadline=None)
  @given(st.integers(0, 2**31))
  def test_order_and_place_do_not_matter(self, seed):
    first, second = clouds(seed, 7, 7)
    shuffled = np.random.default_rng(seed).permutation(first)
    for metric in (chamfer, emd):
      value = metric(first, second)
      np.testing.assert_allclose(metric(shuffled, second), value, rtol=1e-4)
      np.testing.assert_allclose(metric(first + 0.5, second + 0.5), value, rtol=1e-3)
      np.testing.assert_allclose(metric(second, first), value, rtol=1e-4)
      np.testing.assert_allclose(metric(first, shuffled), 0.0, atol=1e-12)

  def test_gradients(self):
    first, second = map(jnp.asarray, clouds(1, 5, 6))
    check_grads(chamfer, (first, second), 1, modes="rev", eps=1e-3)
    check_grads(lambda a: emd(a, second[:5]), (first,), 1, modes="rev", eps=1e-3)
    for metric in (
      emd,
      lambda a, b: chamfer(a, b, squared=False),
    ):
      gradient = jax.grad(metric)(first, first)  # distances of 0
      np.testing.assert_array_equal(gradient, 0.0)

  def test_normals_by_hand(self):
    points = np.array([[0, 0, 0], [1, 0, 0]], np.float32)
    normals = np.array([[0, 0, 2], [0, 3, 0]], np.float32)
    others = np.array([[0, 0, -1], [0, 1, 1]], np.float32)
    found = point_metrics.normal_consistency(points, points, normals, others)
    np.testing.assert_allclose(found, (1 + 0.5**0.5) / 2, rtol=1e-6)

  def test_points_that_are_not_finite_are_infinitely_far(self):
    first, second = clouds()
    broken = second.copy()
    broken[3] = np.nan
    without = np.delete(second, 3, axis=0)
    np.testing.assert_allclose(
      point_metrics.accuracy(first, broken), point_metrics.accuracy(first, without)
    )
    self.assertEqual(point_metrics.completeness(first, broken), np.inf)
    self.assertEqual(point_metrics.chamfer(first, broken), np.inf)

  def test_empty_sets_and_wrong_shapes_are_refused(self):
    first, second = clouds()
    for pair in ((first[:0], second), (first, second[:0])):
      with self.assertRaisesRegex(ValueError, "no points"):
        point_metrics.chamfer(*pair)
    with self.assertRaises(AssertionError):
      point_metrics.emd(first, second)
    with self.assertRaises(AssertionError):
      point_metrics.chamfer(first, second[:, :2])


if __name__ == "__main__":
  absltest.main()
