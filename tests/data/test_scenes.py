"""Tests of procedural scenes: closed forms, and ground truth against itself."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import scenes

_HEIGHT, _WIDTH = 35, 47  # odd: there is a pixel in the middle
_OBJECTS = 8  # everywhere, so that little is compiled
_CAMERA = scenes.front_camera(_HEIGHT, _WIDTH)
_FOCAL = float(_CAMERA.intrinsics[0, 0])

_render = jax.jit(scenes.render, static_argnames="supersampling")
_flow = jax.jit(scenes.flow)
_trace = jax.jit(scenes.trace)
_random_scene = jax.jit(scenes.random_scene)
_random_motion = jax.jit(scenes.random_motion)


def _scene(*solids):
  """A room and solids (kind, half_size, center), not rotated; others are behind."""
  solids += ((scenes.BOX, (1, 1, 1), (0, 0, -2)),) * (_OBJECTS - len(solids))
  scene = _random_scene(jax.random.key(0))
  kinds, half_sizes, centers = zip(*solids, strict=True)
  return scene.replace(
    kind=scene.kind.at[1:].set(jnp.array(kinds)),
    half_size=scene.half_size.at[1:].set(jnp.array(half_sizes, float)),
    center=scene.center.at[1:].set(jnp.array(centers, float)),
    rotation=jnp.broadcast_to(jnp.eye(3), scene.rotation.shape),
  )


@functools.cache
def _pair(seed):
  """Two views of a random scene between which objects and camera have moved."""
  key = jax.random.key(seed)
  scene = _random_scene(key)
  moved = _random_motion(jax.random.fold_in(key, 1), scene)
  camera = scenes.moved_camera(
    _CAMERA, jnp.array([0.02, -0.03, 0.01]), jnp.array([0.1, -0.05, 0.2])
  )
  return scene, _CAMERA, moved, camera


def _numpy(tree):
  return jax.tree.map(np.asarray, tree)


class ClosedFormTest(parameterized.TestCase):
  def center_pixel(self, *solids):
    seen = _render(_scene(*solids), _CAMERA)
    return jax.tree.map(lambda leaf: np.asarray(leaf[_HEIGHT // 2, _WIDTH // 2]), seen)

  @parameterized.parameters(
    (scenes.RECTANGLE, 5.0), (scenes.BOX, 4.5), (scenes.ELLIPSOID, 4.5)
  )
  def test_depth_and_normal_in_front(self, kind, depth):
    seen = self.center_pixel((kind, (1, 1, 0.5), (0, 0, 5)))
    np.testing.assert_allclose(seen["depth"], depth, rtol=1e-6)
    np.testing.assert_allclose(seen["normal"], [0, 0, -1], atol=1e-6)
    self.assertEqual((seen["instance"], seen["category"]), (1, kind))

  def test_back_wall(self):
    seen = self.center_pixel((scenes.BOX, (1, 1, 1), (3, 0, 5)))
    np.testing.assert_allclose(seen["depth"], 12, rtol=1e-6)
    np.testing.assert_allclose(seen["normal"], [0, 0, -1], atol=1e-6)
    self.assertEqual((seen["instance"], seen["category"]), (0, scenes.ROOM))

  def test_nearest_of_several_is_seen(self):
    seen = self.center_pixel(
      (scenes.RECTANGLE, (1, 1, 1), (0, 0, 6)),
      (scenes.RECTANGLE, (1, 1, 1), (0, 0, 4)),
      (scenes.RECTANGLE, (1, 1, 1), (0, 0, -2)),  # behind the camera
    )
    self.assertEqual(seen["instance"], 2)

  def test_rectangle_covers_the_pixels_of_its_projection(self):
    scene = _scene((scenes.RECTANGLE, (0.5, 0.25, 1), (0.2, -0.1, 4)))
    columns = (np.arange(_WIDTH) - (_WIDTH - 1) / 2) / _FOCAL * 4
    rows = (np.arange(_HEIGHT) - (_HEIGHT - 1) / 2) / _FOCAL * 4
    expected = (np.abs(rows + 0.1) <= 0.25)[:, None] & (np.abs(columns - 0.2) <= 0.5)
    np.testing.assert_array_equal(_render(scene, _CAMERA)["instance"] == 1, expected)

  def test_sphere_in_every_pixel(self):
    center, radius = np.array([0.3, 0.2, 5.0]), 1.0
    scene = _scene((scenes.ELLIPSOID, (radius,) * 3, center))
    seen = _numpy(_render(scene, _CAMERA))
    x, y = np.meshgrid(np.arange(_WIDTH), np.arange(_HEIGHT))
    rays = np.stack([x - (_WIDTH - 1) / 2, y - (_HEIGHT - 1) / 2], -1) / _FOCAL
    points = np.concatenate([rays, np.ones_like(rays[..., :1])], -1)
    points *= seen["depth"][..., None]
    hit = seen["instance"] == 1
    self.assertGreater(hit.sum(), 100)
    offset = points[hit] - center
    np.testing.assert_allclose(np.linalg.norm(offset, axis=-1), radius, atol=1e-5)
    np.testing.assert_allclose(seen["normal"][hit], offset / radius, atol=1e-4)

  def test_moved_camera_stands_where_it_should(self):
    camera = scenes.moved_camera(
      _CAMERA, jnp.array([0.1, -0.2, 0.3]), jnp.array([1.0, 2.0, 3.0])
    )
    rotation, translation = np.split(np.asarray(camera.extrinsics), [3], axis=1)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(-rotation.T @ translation[:, 0], [1, 2, 3], atol=1e-5)
    # A turn about y towards x, the right.
    turned = scenes.moved_camera(_CAMERA, jnp.array([0, 0.1, 0]), jnp.zeros(3))
    forward = np.asarray(turned.extrinsics)[2, :3]
    np.testing.assert_allclose(forward, [np.sin(0.1), 0, np.cos(0.1)], atol=1e-3)

  def test_occlusion_behind_a_rectangle_that_moves_right(self):
    at = functools.partial(lambda x: (scenes.RECTANGLE, (0.5, 9, 1), (x, 0, 4)))
    found = _numpy(_flow(_scene(at(0.0)), _CAMERA, _scene(at(0.4)), _CAMERA))
    columns = (np.arange(_WIDTH) - (_WIDTH - 1) / 2) / _FOCAL * 4
    front = np.abs(columns) <= 0.5
    covered = (np.abs(columns - 0.4) <= 0.5) & ~front
    np.testing.assert_array_equal(
      found["occluded"], np.broadcast_to(covered, (_HEIGHT, _WIDTH))
    )
    np.testing.assert_allclose(found["flow"][:, front, 0], 0.1 * _FOCAL, rtol=1e-4)
    np.testing.assert_allclose(found["flow"][:, ~front], 0, atol=1e-4)
    self.assertFalse(found["outside"].any())


class GroundTruthTest(parameterized.TestCase):
  @parameterized.parameters(0, 1, 2)
  def test_normals_are_unit_and_face_the_camera(self, seed):
    scene, _, _, camera = _pair(seed)
    seen = _numpy(_render(scene, camera))
    np.testing.assert_allclose(np.linalg.norm(seen["normal"], axis=-1), 1, atol=1e-5)
    rotation = np.asarray(camera.extrinsics)[:, :3]
    x, y = np.meshgrid(np.arange(_WIDTH), np.arange(_HEIGHT))
    pixels = np.stack([x, y, np.ones_like(x)], -1)
    rays = pixels @ np.linalg.inv(np.asarray(camera.intrinsics)).T @ rotation
    self.assertLessEqual(np.sum(rays * seen["normal"], axis=-1).max(), 1e-5)
    self.assertTrue(np.isfinite(seen["image"]).all())
    self.assertGreaterEqual(seen["image"].min(), 0)
    self.assertLessEqual(seen["image"].max(), 1)
    self.assertGreater(len(np.unique(seen["instance"])), 3)
    np.testing.assert_array_equal(
      seen["category"], np.asarray(scene.kind)[seen["instance"]]
    )

  @parameterized.parameters(0, 1, 2)
  def test_flow_leads_to_the_same_colour_wherever_it_is_not_occluded(self, seed):
    scene_a, camera_a, scene_b, camera_b = _pair(seed)
    found = _flow(scene_a, camera_a, scene_b, camera_b)
    y, x = jnp.mgrid[:_HEIGHT, :_WIDTH]
    target = jnp.stack([x, y], -1) + found["flow"]
    before = _numpy(_render(scene_a, camera_a))
    after = _numpy(_trace(scene_b, camera_b, target))
    found = _numpy(found)
    visible = ~found["occluded"] & ~found["outside"]
    self.assertGreater(visible.mean(), 0.5)
    self.assertGreater(np.abs(found["flow"]).max(), 2)
    error = np.abs(before["image"] - after["image"]).max(axis=-1)
    # float32 moves a point by some 1e-6 m; at the border of a cell that is another one.
    self.assertGreater((error[visible] < 1e-2).mean(), 0.995)
    # Where two solids touch, either may be seen.
    same = before["instance"][visible] == after["instance"][visible]
    self.assertGreater(same.mean(), 0.998)
    # And behind what occludes, something else is nearer.
    self.assertGreater(found["occluded"].sum(), 5)
    hidden = found["occluded"] & ~found["outside"]
    self.assertGreater((error[hidden] > 1e-2).mean(), 0.8)

  def test_image_warped_by_the_flow_matches(self):
    scene_a, camera_a, scene_b, camera_b = _pair(3)
    found = _numpy(_flow(scene_a, camera_a, scene_b, camera_b))
    image_a = np.asarray(_render(scene_a, camera_a, supersampling=4)["image"])
    image_b = np.asarray(_render(scene_b, camera_b, supersampling=4)["image"])
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    coordinates = [y + found["flow"][..., 1], x + found["flow"][..., 0]]
    warped = np.stack(
      [
        jax.scipy.ndimage.map_coordinates(image_b[..., c], coordinates, 1, "nearest")
        for c in range(3)
      ],
      axis=-1,
    )
    visible = ~found["occluded"] & ~found["outside"]
    error = np.abs(warped - image_a)[visible].mean()
    unwarped = np.abs(image_b - image_a)[visible].mean()
    self.assertLess(error, unwarped / 3)

  def test_static_scene_and_camera_have_no_flow(self):
    scene = _pair(0)[0]
    found = _numpy(_flow(scene, _CAMERA, scene, _CAMERA))
    np.testing.assert_allclose(found["flow"], 0, atol=1e-4)
    self.assertFalse(found["occluded"].any() or found["outside"].any())

  def test_disparity_is_focal_length_times_baseline_by_depth(self):
    scene = _pair(1)[0]
    baseline = 0.25
    right = scenes.moved_camera(_CAMERA, jnp.zeros(3), jnp.array([baseline, 0.0, 0.0]))
    depth = _render(scene, _CAMERA)["depth"]
    disparity = np.asarray(scenes.disparity(depth, _CAMERA, baseline))
    np.testing.assert_allclose(disparity, _FOCAL * baseline / depth, rtol=1e-6)
    found = np.asarray(_flow(scene, _CAMERA, scene, right)["flow"])
    np.testing.assert_allclose(found[..., 0], -disparity, atol=1e-3)
    np.testing.assert_allclose(found[..., 1], 0, atol=1e-3)

  def test_point_behind_the_second_camera_is_outside(self):
    scene = _pair(0)[0]
    far = scenes.moved_camera(_CAMERA, jnp.zeros(3), jnp.array([0.0, 0.0, 11.0]))
    found = _numpy(_flow(scene, _CAMERA, scene, far))
    objects = np.asarray(_render(scene, _CAMERA)["depth"]) < 11
    self.assertTrue(objects.any())
    self.assertTrue(found["outside"][objects].all())
    self.assertFalse(found["occluded"][objects].any())
    self.assertTrue(np.isfinite(found["flow"]).all())


class RandomTest(parameterized.TestCase):
  def test_the_key_decides(self):
    def make(seed):
      return _random_scene(jax.random.key(seed))

    chex.assert_trees_all_equal(make(3), make(3))
    self.assertFalse(np.allclose(make(3).center, make(4).center))

  def test_scene_is_well_formed(self):
    seeds = [_random_scene(jax.random.key(seed)) for seed in range(8)]
    scene = jax.tree.map(lambda *leaves: np.stack(leaves), *seeds)
    self.assertTrue((scene.kind[:, 0] == scenes.ROOM).all())
    self.assertEqual(set(np.unique(scene.kind[:, 1:])), {1, 2, 3})
    self.assertEqual(set(np.unique(scene.family)), {0, 1, 2, 3})
    np.testing.assert_allclose(
      scene.rotation @ np.swapaxes(scene.rotation, -1, -2),
      np.broadcast_to(np.eye(3), scene.rotation.shape),
      atol=1e-5,
    )
    for unit in (scene.light, scene.direction):
      np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1, atol=1e-5)
    self.assertTrue(((scene.colors >= 0) & (scene.colors <= 1)).all())

  def test_motion_is_rigid_bounded_and_leaves_the_room(self):
    scene = _pair(0)[0]
    moved = _random_motion(jax.random.key(1), scene, turn=0.2, shift=0.3)
    shift = np.abs(moved.center - scene.center)
    self.assertEqual(shift[0].max(), 0)
    self.assertTrue((shift[1:].max(axis=-1) > 0).all() and shift.max() <= 0.3)
    turned = moved.rotation @ jnp.swapaxes(scene.rotation, -1, -2)
    np.testing.assert_allclose(turned[0], np.eye(3), atol=1e-6)
    angles = np.arccos(np.clip((np.trace(turned, axis1=1, axis2=2) - 1) / 2, -1, 1))
    self.assertLessEqual(angles.max(), 0.2 * np.sqrt(3) + 1e-3)
    self.assertGreater(angles[1:].min(), 0.01)

  def test_maps_over_scenes_as_one_by_one(self):
    alone = [_pair(seed)[0] for seed in (0, 1)]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    depth = jax.jit(jax.vmap(lambda scene: scenes.render(scene, _CAMERA)["depth"]))
    for scene, found in zip(alone, depth(both), strict=True):
      np.testing.assert_allclose(found, _render(scene, _CAMERA)["depth"], rtol=1e-5)

  def test_supersampling_changes_the_image_alone(self):
    scene = _pair(0)[0]
    plain, fine = (_numpy(_render(scene, _CAMERA, supersampling=n)) for n in (1, 4))
    for name in ("depth", "normal", "instance", "category"):
      np.testing.assert_array_equal(plain[name], fine[name])
    difference = np.abs(plain["image"] - fine["image"])
    self.assertBetween(difference.mean(), 1e-3, 0.1)

  def test_wrong_pixels_are_refused(self):
    with self.assertRaises(AssertionError):
      scenes.trace(_pair(0)[0], _CAMERA, jnp.zeros((4, 3)))


if __name__ == "__main__":
  absltest.main()
