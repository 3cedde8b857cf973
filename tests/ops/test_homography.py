"""Tests of plane homographies."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops import homography, rigid
from jaxvision.ops.view_synthesis import pixel_grid, project, unproject

INTRINSICS = jnp.array([[30.0, 1.5, 7.2], [0.0, 28.0, 5.1], [0.0, 0.0, 1.0]])
DEPTHS = jnp.array([9.0, 4.0, 2.0])


def motion(*twist):
  return rigid.exp_twist(jnp.array(twist))


class HomographyTest(chex.TestCase):
  def test_inverse_intrinsics(self):
    stacked = jnp.stack([INTRINSICS, jnp.eye(3)])
    product = homography.invert_intrinsics(stacked) @ stacked
    np.testing.assert_allclose(product, np.tile(np.eye(3), (2, 1, 1)), atol=1e-6)

  @chex.variants(with_jit=True, without_jit=True)
  def test_a_shift_moves_planes_by_their_disparity(self):
    matrices = self.variant(homography.plane_homographies)(
      motion(0, 0, 0, 0.5, 0, 0), DEPTHS, INTRINSICS
    )
    points = homography.apply_homography(matrices, pixel_grid(2, 3))
    self.assertEqual(points.shape, (3, 2, 3, 2))
    expected = pixel_grid(2, 3)[..., 0] - (30 * 0.5 / DEPTHS)[:, None, None]
    np.testing.assert_allclose(points[..., 0], expected, atol=1e-4)

  @settings(max_examples=10, deadline=None)
  @given(st.integers(0, 2**20))
  def test_sweep_agrees_with_projection_and_undoes_the_homography(self, seed):
    rng = np.random.default_rng(seed)
    transform = motion(*rng.uniform(-0.15, 0.15, 6))
    swept = homography.sweep_pixels(transform, DEPTHS, INTRINSICS, (5, 6))
    for index, depth in enumerate(DEPTHS):
      points = unproject(jnp.full((5, 6), depth), INTRINSICS)
      moved = rigid.apply(transform, points.reshape(-1, 3)).reshape(5, 6, 3)
      np.testing.assert_allclose(swept[index], project(moved, INTRINSICS)[0], atol=1e-3)
      matrix = homography.plane_homographies(transform, depth[None], INTRINSICS)[0]
      back = homography.apply_homography(matrix, swept[index])
      np.testing.assert_allclose(back, pixel_grid(5, 6), atol=2e-3)

  def test_what_is_behind_the_camera_is_outside(self):
    ahead = motion(0, 0, 0, 0, 0, -3.0)  # beyond the nearest plane
    matrices = homography.plane_homographies(ahead, DEPTHS, INTRINSICS)
    points = homography.apply_homography(matrices, pixel_grid(4, 4))
    swept = homography.sweep_pixels(ahead, DEPTHS, INTRINSICS, (4, 4))
    for pixels in (points, swept):
      np.testing.assert_array_equal(pixels[2], homography.OUTSIDE)
      self.assertTrue(np.all(np.abs(pixels[:2]) < 100))

  def test_a_camera_in_the_plane_is_finite(self):
    inside = motion(0, 0, 0, 0, 0, -2.0)

    def total(depths):
      matrices = homography.plane_homographies(inside, depths, INTRINSICS)
      return jnp.sum(homography.apply_homography(matrices, pixel_grid(4, 4)))

    self.assertTrue(np.all(np.isfinite(jax.jit(jax.grad(total))(DEPTHS))))

  def test_gradients_agree_with_finite_differences(self):
    @jax.jit
    def pixels(twist, depths):
      transform = rigid.exp_twist(twist)
      matrices = homography.plane_homographies(transform, depths, INTRINSICS)
      swept = homography.sweep_pixels(transform, depths, INTRINSICS, (2, 2))
      return homography.apply_homography(matrices, pixel_grid(2, 2)), swept

    with jax.enable_x64(True):
      arguments = np.array([0.1, 0.05, -0.1, 0.2, 0.1, 0.05]), np.array([5.0, 2.0])
      jax.test_util.check_grads(pixels, arguments, order=1, modes=["rev"], rtol=1e-4)

  def test_wrong_shapes_are_refused(self):
    with self.assertRaises(AssertionError):
      homography.plane_homographies(jnp.eye(3), DEPTHS, INTRINSICS)
    with self.assertRaises(AssertionError):
      homography.sweep_pixels(jnp.eye(4), DEPTHS, jnp.eye(4), (2, 2))


if __name__ == "__main__":
  absltest.main()
