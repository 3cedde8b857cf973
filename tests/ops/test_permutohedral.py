"""Tests of the permutohedral lattice, against its definition and the exact sum."""

import chex
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.ops import gauss_transform, permutohedral
from jaxvision.train import jit_once

build = jit_once(permutohedral.build, static_argnames="blur")
enclose = jit_once(permutohedral.enclose, static_argnames="blur")
gaussian_filter = jit_once(permutohedral.gaussian_filter, static_argnames="blur")
splat = jit_once(permutohedral.splat)
find = jit_once(permutohedral.find)
slice_at = jit_once(permutohedral.slice_at)


def features_of(count, d, spread=3.0, seed=0):
  rng = np.random.default_rng(seed)
  return rng.uniform(-spread, spread, size=(count, d)).astype(np.float32)


def corner_positions(keys, blur):
  """Returns where lattice points [..., d] lie in the space of the features."""
  d = keys.shape[-1]
  full = np.concatenate([keys, -keys.sum(axis=-1, keepdims=True)], axis=-1)
  # The elevation matrix, column by column as Adams et al. write it down.
  elevation = np.zeros((d + 1, d))
  for axis in range(d):
    elevation[: axis + 1, axis] = 1
    elevation[axis + 1, axis] = -(axis + 1)
    variance = 2 / 3 if blur else 1 / 6
    norm = np.sqrt((axis + 1) * (axis + 2))
    elevation[:, axis] *= (d + 1) * np.sqrt(variance) / norm
  return full @ np.linalg.pinv(elevation).T


class EncloseTest(chex.TestCase):
  @parameterized.product(d=[1, 2, 3, 6], blur=[False, True])
  def test_corners_interpolate_their_own_positions(self, d, blur):
    features = features_of(40, d)
    keys, weights = enclose(features, blur=blur)
    chex.assert_shape(keys, (40, d + 1, d))
    np.testing.assert_allclose(np.sum(weights, axis=1), 1, atol=1e-5)
    self.assertGreater(np.min(weights), -1e-5)
    positions = corner_positions(np.asarray(keys), blur)
    mean = np.sum(np.asarray(weights)[..., None] * positions, axis=1)
    np.testing.assert_allclose(mean, features, atol=1e-4)

  def test_corners_of_a_simplex_have_one_remainder_each(self):
    keys = np.asarray(enclose(features_of(50, 3)).keys)
    np.testing.assert_array_equal(keys % 4, (keys[..., :1] % 4).repeat(3, axis=-1))
    remainders = np.sort(keys[..., 0] % 4, axis=1)
    np.testing.assert_array_equal(remainders, np.tile(np.arange(4), (50, 1)))

  def test_on_a_lattice_point_all_weight_is_there(self):
    position = corner_positions(np.array([[4, 0, 0], [0, 0, 0], [3, -1, -1]]), False)
    keys, weights = enclose(position.astype(np.float32))
    best = np.argmax(weights, axis=1)
    np.testing.assert_allclose(np.max(weights, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(
      np.asarray(keys)[np.arange(3), best], [[4, 0, 0], [0, 0, 0], [3, -1, -1]]
    )


class LatticeTest(chex.TestCase):
  def test_vertices_are_the_distinct_keys(self):
    lattice = build(features_of(300, 3, spread=5.0))
    distinct = np.unique(lattice.keys, axis=0)
    self.assertEqual(int(permutohedral.size(lattice)), len(distinct))
    own = np.asarray(lattice.keys)[np.asarray(lattice.vertices).ravel()]
    np.testing.assert_array_equal(own, lattice.keys)
    names = np.unique(lattice.vertices)
    self.assertLen(names, len(distinct))

  def test_keys_that_hash_alike_are_told_apart(self):
    keys = np.stack(np.meshgrid(*[np.arange(-9, 9)] * 3), -1).reshape(-1, 3)
    position = corner_positions(4 * keys, False).astype(np.float32)
    lattice = build(position)
    found = find(lattice, jnp.asarray(4 * keys, jnp.int32))
    np.testing.assert_array_equal(np.asarray(lattice.keys)[found], 4 * keys)
    absent = find(lattice, jnp.asarray(4 * keys + 400, jnp.int32))
    np.testing.assert_array_equal(absent, -1)

  def test_splat_and_slice_are_the_sums_they_say(self):
    features, queries = features_of(60, 3, 1.5), features_of(30, 3, 1.5, seed=1)
    values = np.random.default_rng(2).normal(size=(60, 2)).astype(np.float32)
    expected = np.zeros((30, 2))
    sums = {}
    for key, weight, value in zip(
      *map(np.asarray, enclose(features)), values, strict=True
    ):
      for corner, share in zip(key, weight, strict=True):
        sums[tuple(corner)] = sums.get(tuple(corner), 0) + share * value
    for index, (key, weight) in enumerate(
      zip(*map(np.asarray, enclose(queries)), strict=True)
    ):
      for corner, share in zip(key, weight, strict=True):
        expected[index] += share * sums.get(tuple(corner), 0)
    lattice = build(features)
    found = slice_at(lattice, splat(lattice, values), queries)
    np.testing.assert_allclose(found, expected, atol=1e-5)

  def test_blur_is_one_pass_along_each_axis(self):
    features = features_of(50, 2, 2.0)
    lattice = build(features, blur=True)
    values = np.array(splat(lattice, np.ones((50, 1), np.float32)))
    blurred = jit_once(permutohedral.blur_vertices)(lattice, values)
    by_key = {
      tuple(np.asarray(lattice.keys)[n]): float(values[n, 0])
      for n in np.unique(lattice.vertices)
    }
    for offset in ((2, -1), (-1, 2), (-1, -1)):
      by_key = {
        key: value
        + 0.5
        * sum(
          by_key.get((key[0] + sign * offset[0], key[1] + sign * offset[1]), 0.0)
          for sign in (1, -1)
        )
        for key, value in by_key.items()
      }
    for name in np.unique(lattice.vertices):
      expected = by_key[tuple(np.asarray(lattice.keys)[name])]
      self.assertAlmostEqual(float(blurred[name, 0]), expected, places=4)

  def test_one_call_for_many_lattices(self):
    features = np.stack([features_of(20, 3, seed=s) for s in range(3)])
    values = np.ones((3, 20, 1), np.float32)
    together = jit_once(jax.vmap(permutohedral.gaussian_filter))(features, values)
    alone = [gaussian_filter(f, v) for f, v in zip(features, values, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-5)


class AccuracyTest(chex.TestCase):
  """What the module's docstrings state of accuracy, in three dimensions."""

  def compare(self, blur, seed=0):
    features = features_of(800, 3, 2.0, seed)
    ones = np.ones((800, 1), np.float32)
    values = np.concatenate([ones, features], axis=1)
    ours = np.asarray(gaussian_filter(features, values, blur=blur))
    exact = np.asarray(
      jit_once(gauss_transform.gauss_transform)(features, features, values)
    )
    scale = np.sum(ours[:, 0] * exact[:, 0]) / np.sum(exact[:, 0] ** 2)
    relative = ours[:, 0] / (scale * exact[:, 0]) - 1
    means = ours[:, 1:] / ours[:, :1] - exact[:, 1:] / exact[:, :1]
    return scale, np.sqrt(np.mean(relative**2)), np.sqrt(np.mean(np.sum(means**2, 1)))

  def test_without_blur(self):
    scale, mass, means = self.compare(False)
    # The filter divides by 9 / 8; the sums themselves are 0.46 of the exact ones.
    self.assertAlmostEqual(scale * 9 / 8, 0.46, delta=0.02)
    self.assertLess(mass, 0.15)
    self.assertLess(means, 0.2)

  def test_blur_is_more_accurate(self):
    _, plain_mass, plain_means = self.compare(False)
    _, mass, means = self.compare(True)
    self.assertLess(mass, 0.6 * plain_mass)
    self.assertLess(means, 0.6 * plain_means)


class RobustnessTest(chex.TestCase):
  def test_gradients_by_values_and_features(self):
    with jax.enable_x64(True):
      features = jnp.asarray(features_of(12, 2, 1.0), jnp.float64)
      values = jnp.asarray(np.random.default_rng(3).normal(size=(12, 2)))
      weight = jnp.asarray(np.random.default_rng(4).normal(size=(12, 2)))

      @jax.jit
      def total(features, values):
        return jnp.sum(weight * permutohedral.gaussian_filter(features, values))

      found = jax.jit(jax.grad(total, argnums=(0, 1)))(features, values)
      for argument, gradient in enumerate(found):
        for index in ((0, 0), (5, 1), (11, 0)):
          arguments = [features, values]
          ends = []
          for sign in (1, -1):
            changed = list(arguments)
            changed[argument] = arguments[argument].at[index].add(sign * 1e-6)
            ends.append(total(*changed))
          expected = (ends[0] - ends[1]) / 2e-6
          self.assertAlmostEqual(float(gradient[index]), float(expected), places=5)

  @hypothesis.given(
    bad=st.lists(
      st.sampled_from([np.nan, np.inf, -np.inf, 1e7, 3e38]), min_size=0, max_size=4
    ),
    spread=st.sampled_from([0.0, 1.0, 1e5]),
    seed=st.integers(0, 100),
  )
  @hypothesis.settings(max_examples=25, deadline=None)
  def test_what_is_not_finite_neither_gives_nor_receives(self, bad, spread, seed):
    features = features_of(24, 3, 1.0, seed) * spread
    features[: len(bad), seed % 3] = bad
    ones = np.ones((24, 1), np.float32)
    found = np.asarray(gaussian_filter(features, ones, blur=False))
    chex.assert_tree_all_finite(found)
    np.testing.assert_array_equal(found[: len(bad)], 0)
    silent = np.array(ones)
    silent[: len(bad)] = 0
    np.testing.assert_allclose(
      found, gaussian_filter(features, silent, blur=False), atol=1e-5
    )

  def test_wrong_shapes_are_refused(self):
    with self.assertRaises(AssertionError):
      permutohedral.enclose(jnp.zeros(3))
    with self.assertRaises(AssertionError):
      permutohedral.splat(build(features_of(4, 3)), jnp.ones((5, 1)))


if __name__ == "__main__":
  absltest.main()
