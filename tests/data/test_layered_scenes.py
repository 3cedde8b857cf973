"""Tests of scenes of flat cards."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.data import layered_scenes as scenes

SHAPE = (12, 16)
INTRINSICS = jnp.array([[16.0, 0.0, 7.5], [0.0, 16.0, 5.5], [0.0, 0.0, 1.0]])
ATLAS = jnp.asarray(np.random.default_rng(0).random((2, scenes.TILE, scenes.TILE, 3)))
ATLAS = ATLAS.astype(jnp.float32)


@jax.jit
def view(scene, shift):
  pose = jnp.eye(4).at[:3, 3].set(shift)
  return scenes.render(scene, pose, INTRINSICS, ATLAS, SHAPE, samples=1)


def two_cards():
  """A grey card of 0.5 x 0.5 at depth 2 before a black background at depth 8."""
  cards = 2
  return scenes.Scene(
    plane=jnp.array([[0, 0, 1 / 8], [0, 0, 1 / 2]]),
    shape=jnp.array([scenes.ENDLESS, scenes.FENCE]),
    center=jnp.zeros((cards, 2)),
    half_size=jnp.full((cards, 2), 0.5),
    angle=jnp.zeros(cards),
    sides=jnp.array([3, 1]),
    texture=jnp.full(cards, scenes.NOISE),
    frequency=jnp.ones(cards),
    colors=jnp.array([0.0, 0.5])[:, None, None] * jnp.ones((cards, 2, 3)),
    seed=jnp.zeros(cards, jnp.uint32),
  )


class LayeredScenesTest(absltest.TestCase):
  def test_a_card_moves_by_its_disparity_and_uncovers_the_background(self):
    # One bar: half as wide as its gap, 1 unit, so 16 · 0.5 / 2 = 4 pixels.
    image, depth = view(two_cards(), jnp.zeros(3))
    row = np.asarray(image[6, :, 0])
    np.testing.assert_allclose(row, 0.5 * ((np.arange(16) >= 6) & (np.arange(16) < 10)))
    np.testing.assert_allclose(depth[6], np.where(row > 0, 2.0, 8.0), rtol=1e-5)
    moved, _ = view(two_cards(), jnp.array([0.375, 0.0, 0.0]))  # 3 pixels
    np.testing.assert_allclose(moved[6, 3:, 0], row[:-3], atol=1e-5)

  def test_the_nearer_card_hides_the_other_whatever_their_order(self):
    scene = two_cards()
    turned = jax.tree.map(lambda leaf: leaf[::-1], scene)
    both = view(turned, jnp.zeros(3)), view(scene, jnp.zeros(3))
    for ours, expected in zip(*both, strict=True):
      np.testing.assert_allclose(ours, expected, atol=1e-6)

  def test_what_is_behind_the_camera_is_not_seen(self):
    image, depth = view(two_cards(), jnp.array([0.0, 0.0, -3.0]))
    np.testing.assert_array_equal(image, 0.0)
    np.testing.assert_allclose(depth, 5.0, rtol=1e-5)

  def test_random_scenes_lie_between_near_and_far(self):
    draw = jax.jit(lambda key: scenes.random_scene(key, near=2.0, far=20.0))
    for seed in range(4):
      image, depth = view(draw(jax.random.key(seed)), jnp.zeros(3))
      self.assertTrue(np.all((image >= 0) & (image <= 1)))
      self.assertGreater(np.std(image), 0.01)
      self.assertTrue(np.all((depth > 1.8) & (depth < 20.0)))

  def test_photographs_are_real(self):
    atlas = scenes.photograph_atlas(("chelsea", "flower"))
    self.assertEqual(atlas.shape, (2, scenes.TILE, scenes.TILE, 3))
    self.assertGreater(atlas.std(), 0.1)
    shared = set(scenes.TRAINING_PHOTOGRAPHS) & set(scenes.TEST_PHOTOGRAPHS)
    self.assertEmpty(shared)


if __name__ == "__main__":
  absltest.main()
