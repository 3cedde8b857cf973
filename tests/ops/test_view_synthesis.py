"""Tests of views made from other views."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.data import scenes
from jaxvision.ops import rigid
from jaxvision.ops import view_synthesis as views
from jaxvision.train.once import jit_once

INTRINSICS = jnp.array([[20.0, 0.5, 7.3], [0.0, 22.0, 5.1], [0.0, 0.0, 1.0]])
synthesize = jax.jit(views.synthesize)
exp_twist = jax.jit(rigid.exp_twist)
render = jit_once(scenes.render)
DEPTH = jax.random.uniform(jax.random.key(0), (10, 14), minval=2.0, maxval=5.0)


class ViewSynthesisTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_points_project_to_where_they_were_seen(self):
    points = self.variant(views.unproject)(DEPTH, INTRINSICS)
    np.testing.assert_allclose(
      points[3, 5] @ INTRINSICS.T / DEPTH[3, 5], [5, 3, 1], atol=1e-5
    )
    pixels, is_in_front = views.project(points, INTRINSICS)
    np.testing.assert_allclose(pixels, views.pixel_grid(10, 14), atol=1e-4)
    self.assertTrue(jnp.all(is_in_front))

  def test_no_motion_gives_the_image_itself(self):
    image = jax.random.uniform(jax.random.key(1), (10, 14, 3))
    view = synthesize(image, DEPTH, jnp.eye(4), INTRINSICS)
    np.testing.assert_allclose(view.image, image, atol=1e-3)

  def test_rendered_depth_and_motion_bring_the_other_view(self):
    draw = jit_once(scenes.random_scene, static_argnames="num_objects")
    scene = draw(jax.random.key(2), num_objects=2)
    # Waves long against a pixel, which interpolation keeps.
    scene = scene.replace(frequency=0.1 * scene.frequency)
    camera = scenes.front_camera(24, 32)
    turn, shift = jnp.array([0.01, -0.02, 0.03]), jnp.array([0.2, -0.1, 0.15])
    other = scenes.moved_camera(camera, turn, shift)
    target, source = render(scene, camera), render(scene, other)["image"]
    transform = rigid.transform(other.extrinsics[:, :3], other.extrinsics[:, 3])
    view = synthesize(source, target["depth"], transform, camera.intrinsics)
    seen = np.asarray(view.is_seen)
    self.assertGreater(seen.mean(), 0.7)
    error = np.abs(view.image - target["image"])[seen]
    unmoved = np.abs(source - target["image"])[seen]
    # Borders of objects are wrong, and hidden parts.
    self.assertLess(np.median(error), 0.2 * np.median(unmoved))
    backwards = synthesize(
      source, target["depth"], rigid.invert(transform), camera.intrinsics
    )
    self.assertGreater(
      np.median(np.abs(backwards.image - target["image"])), 2 * np.median(error)
    )

  def test_half_an_image_has_half_the_pixels(self):
    points = views.unproject(DEPTH, INTRINSICS)
    pixels, _ = views.project(points, INTRINSICS)
    small, _ = views.project(points, views.scale_intrinsics(INTRINSICS, 0.5))
    # The centre of the first small pixel lies between the first two large ones.
    np.testing.assert_allclose(small, (pixels + 0.5) / 2 - 0.5, atol=1e-4)

  def test_gradients_agree_with_finite_differences(self):
    with jax.enable_x64(True):
      rng = np.random.default_rng(0)
      # A linear image: its interpolation has no kinks.
      grid = np.asarray(views.pixel_grid(10, 14), np.float64)
      image = jnp.asarray(grid @ rng.normal(size=(2, 2)))
      depth = jnp.asarray(rng.uniform(3, 4, (10, 14)))
      intrinsics = jnp.asarray(INTRINSICS, jnp.float64)

      def view(depth, twist):
        transform = rigid.exp_twist(twist)
        found = views.synthesize(image, depth, transform, intrinsics)
        return jnp.where(found.is_seen[..., None], found.image, 0.0)

      twist = jnp.array([0.01, -0.02, 0.015, 0.03, 0.02, -0.01])
      jax.test_util.check_grads(
        jax.jit(view), (depth, twist), 1, modes=["rev"], eps=1e-6
      )

  def test_points_behind_the_camera_are_not_seen(self):
    image = jnp.ones((10, 14, 1))
    back = exp_twist(jnp.array([0.0, 0.0, 0.0, 0.0, 0.0, -20.0]))

    def total(depth):
      view = synthesize(image, depth, back, INTRINSICS)
      return jnp.sum(view.image), view

    gradient, view = jax.jit(jax.grad(total, has_aux=True))(DEPTH)
    self.assertFalse(jnp.any(view.is_seen))
    chex.assert_tree_all_finite((gradient, view.image))

  def test_leading_axes_are_views_of_their_own(self):
    images = jax.random.uniform(jax.random.key(3), (2, 10, 14, 3))
    depth = jnp.broadcast_to(DEPTH, (2, 10, 14))
    twists = jnp.array([[0.0] * 6, [0.02, 0.01, -0.03, 0.1, -0.2, 0.1]])
    transforms = exp_twist(twists)
    intrinsics = jnp.broadcast_to(INTRINSICS, (2, 3, 3))
    found = synthesize(images, depth, transforms, intrinsics)
    for index in range(2):
      one = synthesize(images[index], DEPTH, transforms[index], INTRINSICS)
      np.testing.assert_allclose(found.image[index], one.image, atol=1e-4)

  def test_wrong_shapes_are_refused(self):
    with self.assertRaises(AssertionError):
      views.synthesize(jnp.ones((10, 14, 3)), DEPTH, jnp.eye(3), INTRINSICS)
    with self.assertRaises(AssertionError):
      views.unproject(DEPTH, jnp.eye(4))


if __name__ == "__main__":
  absltest.main()
