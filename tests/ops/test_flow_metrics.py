"""Tests of flow metrics."""

import chex
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import flow_metrics


class FlowMetricsTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_regions_have_their_own_means(self):
    truth = jnp.zeros((2, 2, 2)).at[..., 0].set(100.0)
    flow = truth.at[0, 0].add(jnp.array([3.0, 4.0])).at[0, 1, 1].add(2.0)
    flow = flow.at[1, 1].set(jnp.nan)  # where nothing is known
    ours = self.variant(flow_metrics.flow_errors)(
      flow,
      truth,
      valid=jnp.array([[1, 1], [1, 0]]),
      occluded=jnp.array([[1, 0], [0, 0]]),
    )
    expected = {"EPE all": 7 / 3, "EPE noc": 1.0, "EPE occ": 5.0}
    for name, value in expected.items():
      np.testing.assert_allclose(ours[name], value, rtol=1e-6)
    # 5 pixels are not more than 5 % of 100.
    np.testing.assert_array_equal(ours["Fl occ"], 0.0)

  def test_outliers_need_both_thresholds(self):
    truth = jnp.array([[10.0, 0.0], [10.0, 0.0], [0.0, 0.0], [80.0, 0.0]])
    error = jnp.array([2.9, 3.1, 3.1, 3.9])
    flow = truth + jnp.stack([error, 0 * error], axis=-1)
    ours = flow_metrics.outliers(flow, truth)
    np.testing.assert_array_equal(ours, [False, True, True, False])

  def test_f1(self):
    ours = flow_metrics.f1_score(jnp.array([1, 1, 0, 0]), jnp.array([1, 0, 1, 0]))
    np.testing.assert_allclose(ours, 0.5)
    np.testing.assert_allclose(flow_metrics.f1_score(jnp.zeros(3), jnp.zeros(3)), 1.0)

  def test_empty_region_is_told_and_wrong_shapes_are_refused(self):
    zeros = jnp.zeros((2, 2, 2))
    ours = flow_metrics.flow_errors(zeros, zeros, occluded=jnp.zeros((2, 2)))
    self.assertTrue(np.isnan(ours["EPE occ"]))
    self.assertEqual(ours["EPE noc"], 0.0)
    with self.assertRaises(AssertionError):
      flow_metrics.end_point_error(zeros, zeros[:1])


if __name__ == "__main__":
  absltest.main()
