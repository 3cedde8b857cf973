"""Tests of multiplane images."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops import mpi, rigid

INTRINSICS = jnp.array([[[10.0, 0.0, 3.5], [0.0, 10.0, 2.5], [0.0, 0.0, 1.0]]])
STILL = jnp.eye(4)[None]


def shift(x):
  return STILL.at[0, 0, 3].set(x)


def random_layers(key, planes=4, height=6, width=8):
  colors, alphas = jax.random.split(jax.random.key(key))
  shape = (1, height, width, planes)
  colors = jax.random.uniform(colors, (*shape, 3), minval=-1.0)
  return jnp.concatenate([colors, jax.random.uniform(alphas, (*shape, 1))], axis=-1)


class MPITest(chex.TestCase):
  def test_planes_are_uniform_in_disparity_farthest_first(self):
    depths = mpi.plane_depths(1.0, 100.0, 5)
    np.testing.assert_allclose(depths[jnp.array([0, -1])], [100.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(np.diff(1 / depths), 0.99 / 4, rtol=1e-5)
    for near, far, number in ((0.0, 1.0, 4), (2.0, 1.0, 4), (-1.0, 2.0, 4), (1, 2, 1)):
      with self.assertRaisesRegex(ValueError, "near"):
        mpi.plane_depths(near, far, number)

  @chex.variants(with_jit=True, without_jit=True)
  def test_transmittance_by_hand(self):
    weights = self.variant(mpi.transmittance)(jnp.array([0.5, 0.2, 1.0, 0.25]))
    np.testing.assert_allclose(weights, [0, 0, 0.75, 0.25], atol=1e-7)

  @settings(max_examples=15, deadline=None)
  @given(st.integers(1, 9), st.integers(0, 2**20))
  def test_weights_and_what_is_left_sum_to_one(self, planes, seed):
    alphas = np.random.default_rng(seed).random((3, planes)).astype(np.float32)
    total = np.sum(mpi.transmittance(alphas), axis=-1) + np.prod(1 - alphas, axis=-1)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)

  def test_no_motion_renders_the_composite(self):
    layers = random_layers(0)
    image = jax.jit(mpi.render)(
      layers, STILL, jnp.array([8.0, 4.0, 2.0, 1.0]), INTRINSICS
    )
    np.testing.assert_allclose(image, mpi.over_composite(layers), atol=1e-5)
    # What is behind an opaque plane does not show.
    layers = layers.at[..., 2, 3].set(1.0)
    changed = layers.at[..., :2, :3].set(0.3)
    np.testing.assert_allclose(
      mpi.over_composite(changed), mpi.over_composite(layers), atol=1e-6
    )

  @chex.variants(with_jit=True, without_jit=True)
  def test_plane_by_plane_is_all_planes_at_once(self):
    transform = rigid.exp_twist(jnp.array([[0.02, -0.03, 0.05, 0.2, 0.1, -0.1]]))
    arguments = random_layers(1), transform, mpi.plane_depths(1.0, 9.0, 4), INTRINSICS
    warped = self.variant(mpi.warp_layers)(*arguments)
    np.testing.assert_allclose(
      self.variant(mpi.render)(*arguments), mpi.over_composite(warped), atol=1e-5
    )

  def test_whole_pixels_shift_each_plane_by_its_disparity(self):
    layers = random_layers(2, planes=2)
    warped = jax.jit(mpi.warp_layers)(
      layers, shift(0.2), jnp.array([2.0, 1.0]), INTRINSICS
    )
    # R p + t: points move to the right by 10 · 0.2 / depth.
    for plane, pixels in enumerate((1, 2)):
      np.testing.assert_allclose(
        warped[:, :, pixels:, plane], layers[:, :, :-pixels, plane], atol=1e-5
      )
      np.testing.assert_array_equal(warped[:, :, :pixels, plane], 0.0)

  def test_planes_behind_the_target_camera_vanish(self):
    forward = STILL.at[0, 2, 3].set(-1.5)
    warped = jax.jit(mpi.warp_layers)(
      random_layers(3, 2), forward, jnp.array([9.0, 1.0]), INTRINSICS
    )
    np.testing.assert_array_equal(warped[..., 1, :], 0.0)
    self.assertGreater(np.abs(warped[..., 0, :]).max(), 0)

  def test_sweep_brings_what_lies_at_a_depth_to_its_place(self):
    # A plane at depth 2, seen 0.4 to the left: 10 · 0.4 / 2 pixels.
    scene = jax.random.uniform(jax.random.key(4), (1, 6, 12, 3))
    reference, source = scene[:, :, :8], scene[:, :, 2:10]
    sweep = jax.jit(mpi.plane_sweep_volume)(
      source, shift(-0.4), jnp.array([4.0, 2.0, 1.0]), INTRINSICS
    )
    self.assertEqual(sweep.shape, (1, 6, 8, 3, 3))
    np.testing.assert_allclose(sweep[:, :, 2:, 1], reference[:, :, 2:], atol=1e-5)
    self.assertGreater(np.abs(sweep[:, :, 2:, 0] - reference[:, :, 2:]).max(), 0.1)

  def test_batches_are_not_mixed(self):
    layers = jnp.concatenate([random_layers(5), random_layers(6)])
    transforms = jnp.concatenate([shift(0.2), shift(-0.1)])
    depths, intrinsics = mpi.plane_depths(1.0, 9.0, 4), jnp.tile(INTRINSICS, (2, 1, 1))
    images = layers[..., 0, :3]

    @jax.jit
    def both(layers, images, *camera):
      return mpi.render(layers, *camera), mpi.plane_sweep_volume(images, *camera)

    together = both(layers, images, transforms, depths, intrinsics)
    for i in range(2):
      one = slice(i, i + 1)
      alone = both(layers[one], images[one], transforms[one], depths, INTRINSICS)
      for ours, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours[one], expected, rtol=1e-5, atol=1e-6)

  def test_pixels_that_look_beside_a_plane_are_known(self):
    layers = jnp.full((1, 6, 8, 2, 4), 0.5)
    warped = jax.jit(mpi.warp_layers)(
      layers, shift(0.2), jnp.array([2.0, 1.0]), INTRINSICS
    )
    seen = mpi.sees_every_plane(warped)[0, 0, :, 0]
    np.testing.assert_array_equal(seen, [False] * 2 + [True] * 6)

  def test_disocclusion_is_where_the_background_comes_out(self):
    alphas = jnp.zeros((1, 6, 8, 2)).at[..., 0].set(1.0).at[:, :, 3:5, 1].set(1.0)
    camera = shift(0.2), jnp.array([1e6, 1.0]), INTRINSICS

    @jax.jit
    def hidden_of(alphas):
      warped = jax.jit(mpi.warp_layers)(alphas[..., None], *camera)[..., 0]
      return mpi.disocclusion(alphas, warped, *camera)[0, 0, :, 0]

    hidden = hidden_of(alphas)
    # The card covered 3 and 4 and now covers 5 and 6.
    np.testing.assert_allclose(hidden, [0, 0, 0, 1, 1, 0, 0, 0], atol=1e-3)

  def test_gradients_agree_with_finite_differences(self):
    layers = random_layers(7, planes=3, height=3, width=4)
    camera = jnp.array([3.0, 2.0, 1.3]), INTRINSICS
    motion = jnp.array([[0.02, -0.03, 0.05, 0.11, 0.07, -0.1]])

    @jax.jit
    def image(layers, motion):
      return mpi.render(layers, rigid.exp_twist(motion), *camera)

    with jax.enable_x64(True):
      arguments = np.asarray(layers, np.float64), np.asarray(motion, np.float64)
      jax.test_util.check_grads(
        image, arguments, order=1, modes=["rev"], eps=1e-6, rtol=1e-3, atol=1e-3
      )

  def test_opaque_planes_have_finite_gradients(self):
    layers = random_layers(8).at[..., 3].set(1.0)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(mpi.over_composite(x))))(layers)
    self.assertTrue(np.all(np.isfinite(gradient)))

  def test_wrong_shapes_are_refused(self):
    with self.assertRaises(AssertionError):
      mpi.render(random_layers(0), STILL, jnp.ones(3), INTRINSICS)
    with self.assertRaises(AssertionError):
      mpi.over_composite(jnp.zeros((2, 3)))
    with self.assertRaises(AssertionError):
      mpi.plane_sweep_volume(jnp.zeros((6, 8, 3)), STILL, jnp.ones(3), INTRINSICS)


if __name__ == "__main__":
  absltest.main()
