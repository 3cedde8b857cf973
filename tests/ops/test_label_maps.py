"""Tests of label maps as channels."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops import label_maps


class OneHotTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  @parameterized.parameters(np.uint8, np.int32)
  def test_unknown_is_a_class_more_or_none(self, dtype):
    labels = jnp.asarray([[0, 2, 255]], dtype)
    function = self.variant(label_maps.one_hot, static_argnums=1)
    np.testing.assert_array_equal(
      function(labels, 3)[0], [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    )
    with_unknown = jax.jit(lambda x: label_maps.one_hot(x, 3, unknown_class=True))
    np.testing.assert_array_equal(
      with_unknown(labels)[0], [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )

  def test_floats_are_refused(self):
    with self.assertRaises(AssertionError):
      label_maps.one_hot(jnp.zeros((2, 2)), 3)


class InstanceEdgesTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_marks_both_sides_and_no_corner(self):
    instances = np.zeros((1, 4, 5), np.int32)
    instances[0, 1, 2] = 70000
    expected = np.zeros((4, 5), bool)
    for row, column in ((1, 2), (0, 2), (2, 2), (1, 1), (1, 3)):
      expected[row, column] = True
    edges = self.variant(label_maps.instance_edges)(jnp.asarray(instances))
    np.testing.assert_array_equal(edges[0], expected)

  @settings(max_examples=12, deadline=None, derandomize=True)
  @given(st.sampled_from([(1, 4), (4, 3)]), st.integers(0, 999))
  def test_names_of_instances_do_not_matter(self, shape, seed):
    height, width = shape
    rng = np.random.default_rng(seed)
    instances = rng.integers(4, size=(height, width))
    edges = label_maps.instance_edges(jnp.asarray(instances))
    renamed = rng.permutation(4)[instances] + 9
    np.testing.assert_array_equal(
      edges, label_maps.instance_edges(jnp.asarray(renamed))
    )
    for (row, column), is_edge in np.ndenumerate(np.asarray(edges)):
      around = [(row - 1, column), (row + 1, column), (row, column - 1)]
      around.append((row, column + 1))
      inside = [(r, c) for r, c in around if 0 <= r < height and 0 <= c < width]
      differs = any(instances[p] != instances[row, column] for p in inside)
      self.assertEqual(bool(is_edge), differs)


class ResizeNearestTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_halving_takes_even_pixels(self):
    maps = jnp.arange(2 * 4 * 6.0).reshape(2, 4, 6, 1)
    resize = self.variant(label_maps.resize_nearest, static_argnums=1)
    np.testing.assert_array_equal(resize(maps, (2, 3)), maps[:, ::2, ::2])

  def test_halving_is_not_that_of_jax(self):
    maps = jnp.arange(16.0).reshape(1, 4, 4, 1)
    theirs = jax.image.resize(maps, (1, 2, 2, 1), "nearest")
    self.assertFalse(np.array_equal(label_maps.resize_nearest(maps, (2, 2)), theirs))

  @parameterized.parameters((37, 5), (5, 37), (12, 30), (1, 3), (6, 49))
  def test_sources_are_floors_of_the_ratio(self, length, size):
    maps = jnp.arange(float(length)).reshape(1, length, 1)
    found = label_maps.resize_nearest(maps, (1, size))[0, :, 0]
    exact = np.arange(size) * length / size
    # Where i in / out is whole, float32 may round to the pixel before.
    is_whole = np.arange(size) * length % size == 0
    np.testing.assert_array_equal(found[~is_whole], np.floor(exact[~is_whole]))
    self.assertLessEqual(np.max(np.abs(found - exact)), 1.0)

  def test_other_types_and_empty_maps(self):
    labels = jnp.asarray([[[1], [2]]], jnp.uint8)
    found = label_maps.resize_nearest(labels, (2, 4))
    np.testing.assert_array_equal(found[..., 0], [[1, 1, 2, 2]] * 2)
    self.assertEqual(found.dtype, jnp.uint8)
    with self.assertRaises(AssertionError):
      label_maps.resize_nearest(labels, (0, 4))


if __name__ == "__main__":
  absltest.main()
