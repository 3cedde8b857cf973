"""Tests of warping by flow and of occlusion by consistency."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops.warp import backward_warp, occlusion

IMAGE = jax.random.uniform(jax.random.key(0), (1, 5, 7, 2), minval=0.1)
BORDERS = ("clamp", "zero", "truncate")

warped = jax.jit(backward_warp, static_argnames="border")


def constant(u, v, shape=(1, 5, 7)):
  return jnp.broadcast_to(jnp.array([u, v], jnp.float32), (*shape, 2))


class WarpTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_whole_pixels_move_exactly(self):
    warp = self.variant(backward_warp, static_argnames="border")
    for border in BORDERS:
      ours = warp(IMAGE, constant(2.0, -1.0), border=border)
      np.testing.assert_array_equal(ours[:, 2:-1, :4], IMAGE[:, 1:-2, 2:6])

  @settings(max_examples=10, deadline=None)
  @given(st.floats(-6, 6, width=32), st.floats(-6, 6, width=32))
  def test_linear_image_is_read_exactly_where_all_borders_agree(self, u, v):
    rows, columns = jnp.meshgrid(jnp.arange(9.0), jnp.arange(11.0), indexing="ij")
    image = (2 * columns - 3 * rows)[None, ..., None]
    inside = (columns + u >= 0) & (columns + u < 10) & (rows + v >= 0) & (rows + v < 8)
    for border in BORDERS:
      ours = warped(image, constant(u, v, (1, 9, 11)), border=border)[0, ..., 0]
      expected = 2 * (columns + u) - 3 * (rows + v)
      np.testing.assert_allclose(ours[inside], expected[inside], atol=1e-4)

  def test_borders_differ_as_they_are_named(self):
    def at(u, border):
      return warped(IMAGE, constant(u, 0.0), border=border)[0, 2]

    row = IMAGE[0, 2]
    np.testing.assert_allclose(at(-0.25, "clamp")[0], row[0], rtol=1e-6)
    np.testing.assert_allclose(at(-0.25, "zero")[0], 0.75 * row[0], rtol=1e-6)
    slope = 1.25 * row[0] - 0.25 * row[1]
    np.testing.assert_allclose(at(-0.25, "truncate")[0], slope, rtol=1e-5)
    np.testing.assert_array_equal(at(0.0, "clamp"), row)
    np.testing.assert_array_equal(at(0.0, "zero"), row)
    np.testing.assert_array_equal(at(0.0, "truncate")[:-1], row[:-1])
    np.testing.assert_array_equal(at(0.0, "truncate")[-1], 0.0)
    np.testing.assert_allclose(at(9.0, "clamp")[0], row[-1], rtol=1e-6)
    for border in ("zero", "truncate"):
      np.testing.assert_allclose(at(9.0, border), 0.0, atol=1e-5)
      np.testing.assert_allclose(at(-8.0, border), 0.0, atol=1e-5)

  @parameterized.parameters(*BORDERS)
  def test_gradients_agree_with_finite_differences(self, border):
    with jax.enable_x64(True):
      image = jnp.asarray(IMAGE, jnp.float64)
      flow = jax.random.uniform(
        jax.random.key(2), (1, 5, 7, 2), jnp.float64, minval=-3.0, maxval=3.0
      )

      @jax.jit
      def warp(image, flow):
        return backward_warp(image, flow, border=border)

      jax.test_util.check_grads(warp, (image, flow), 1, modes=["rev"], eps=1e-7)

  @parameterized.parameters(*BORDERS)
  def test_flow_that_is_not_finite_stays_in_its_pixel(self, border):
    flow = constant(0.0, 0.0).at[0, 1, 1].set(jnp.nan).at[0, 2, 2].set(jnp.inf)
    flow = flow.at[0, 2, 3].set(-1e30)
    ours = warped(IMAGE, flow, border=border)
    np.testing.assert_array_equal(ours[0, 0, :6], IMAGE[0, 0, :6])
    self.assertTrue(np.all(np.isnan(ours[0, 1, 1])))

  def test_unknown_border_and_wrong_shapes_are_refused(self):
    with self.assertRaisesRegex(ValueError, "'wrap'"):
      backward_warp(IMAGE, constant(0.0, 0.0), border="wrap")
    with self.assertRaises(AssertionError):
      backward_warp(IMAGE, constant(0.0, 0.0, (1, 5, 6)))


class OcclusionTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_covered_pixels_are_found(self):
    # A square of 4 columns moves 3 to the right over a background that stays.
    there = jnp.zeros((1, 6, 14, 2)).at[:, :, 3:7, 0].set(3.0)
    back = jnp.zeros((1, 6, 14, 2)).at[:, :, 6:10, 0].set(-3.0)
    ours = self.variant(occlusion)(there, back)[0, 2, :, 0]
    expected = np.zeros(14)
    expected[7:10] = 1  # background that the square covers
    np.testing.assert_array_equal(ours, expected)

  def test_threshold_is_of_squares(self):
    for error, expected in ((0.7, 0.0), (0.72, 1.0)):
      there = constant(0.0, 0.0)
      ours = occlusion(there, constant(error, 0.0), relative=0.0)
      np.testing.assert_array_equal(ours, expected)
    large = occlusion(constant(4.0, 0.0), constant(-4.8, 0.0))  # 0.64 < 0.39 + 0.5
    np.testing.assert_array_equal(large, 0.0)

  def test_has_no_gradient(self):
    flow = jax.random.normal(jax.random.key(3), (1, 5, 7, 2))
    gradient = jax.grad(lambda w: occlusion(w, -w).sum())(flow)
    np.testing.assert_array_equal(gradient, 0.0)


if __name__ == "__main__":
  absltest.main()
