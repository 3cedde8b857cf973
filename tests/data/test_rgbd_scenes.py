"""Tests of rendered RGB-D pairs: what is rendered agrees with the motion it states."""

import functools

import numpy as np
from absl.testing import absltest

from jaxvision.data import rgbd_scenes

HEIGHT, WIDTH = 24, 32


@functools.cache
def still_pairs():
  return rgbd_scenes.random_pairs(
    3, 8, HEIGHT, WIDTH, moving=False, lighting=False, depth_noise=0.0, missing=0.25
  )


class RgbdScenesTest(absltest.TestCase):
  def test_points_of_the_first_view_are_where_the_pose_puts_them(self):
    pairs = still_pairs()
    shares = []
    for index in range(8):
      fx, fy, cx, cy = pairs["intrinsics"][index]
      depth0, depth1 = pairs["depth0"][index], pairs["depth1"][index]
      v, u = np.nonzero(depth0)
      z = depth0[v, u]
      points = np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z, np.ones_like(z)])
      x, y, z, _ = pairs["pose"][index] @ points
      u, v = np.rint(fx * x / z + cx), np.rint(fy * y / z + cy)
      inside = (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)
      seen = depth1[v[inside].astype(int), u[inside].astype(int)]
      measured = seen > 0
      # Away from the edges of objects, the depths agree.
      agree = np.abs(seen - z[inside])[measured] < 0.08
      shares.append(np.mean(agree))
    self.assertGreater(np.mean(shares), 0.85)
    # The check can fail: with the inverse motion it does.
    self.assertGreater(np.abs(pairs["pose"][:, :3, 3]).max(), 0.05)

  def test_missing_depth_is_zero_and_as_frequent_as_asked(self):
    depth = still_pairs()["depth0"]
    self.assertAlmostEqual(np.mean(depth == 0), 0.25, delta=0.02)
    self.assertTrue(np.all(depth[depth > 0] > 0.3))
    self.assertTrue(np.all(depth < 5.5))

  def test_motion_is_as_large_as_stated(self):
    pose = still_pairs()["pose"]
    cosine = (np.trace(pose[:, :3, :3], axis1=1, axis2=2) - 1) / 2
    angle = np.arccos(np.clip(cosine, -1, 1))
    self.assertTrue(np.all(angle < 1.01 * rgbd_scenes.LARGEST_TURN))
    self.assertTrue(np.all(angle > 0.29 * rgbd_scenes.LARGEST_TURN))
    shift = np.linalg.norm(pose[:, :3, 3], axis=1)
    self.assertTrue(np.all(shift < 1.01 * rgbd_scenes.LARGEST_SHIFT))

  def test_disturbances_change_the_second_view_alone(self):
    pairs = rgbd_scenes.random_pairs(3, 3, HEIGHT, WIDTH)
    for name in ("image0", "pose", "intrinsics"):
      np.testing.assert_array_equal(pairs[name], still_pairs()[name][:3])
    self.assertGreater(np.abs(pairs["image1"] - still_pairs()["image1"][:3]).max(), 0.1)


if __name__ == "__main__":
  absltest.main()
