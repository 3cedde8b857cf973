"""Tests of the weighted Hausdorff distance and its network."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.papers.weighted_hausdorff import losses, network
from jaxvision.papers.weighted_hausdorff.losses import Terms
from jaxvision.train import jit_once

HEIGHT, WIDTH = 9, 12


def batch(seed=0, points=(3, 0, 5), size=(HEIGHT, WIDTH)):
  """Returns maps, points, valid and sizes."""
  rng = np.random.default_rng(seed)
  count, most = len(points), max(points) + 1
  return (
    rng.random((count, *size)).astype(np.float32),
    rng.uniform(0, size, (count, most, 2)).astype(np.float32),
    np.arange(most) < np.array(points)[:, None],
    rng.uniform(20, 60, (count, 2)).astype(np.float32),
  )


def dense(maps, points, valid, sizes, exponent=-1.0, epsilon=1e-6):
  """Returns both terms from the whole matrix of distances, in float64."""
  first, second = [], []
  for p, y, some, size in zip(maps, points, valid, sizes, strict=True):
    largest = math.hypot(*p.shape)
    if not some.any():
      first, second = [*first, 0.0], [*second, largest]
      continue
    scale = np.asarray(size, np.float64) / p.shape
    grid = np.stack(np.mgrid[: p.shape[0], : p.shape[1]], -1).reshape(-1, 2)
    away = np.linalg.norm(grid[:, None] * scale - y[some] * scale, axis=-1)
    p = np.asarray(p, np.float64).reshape(-1)
    first.append(np.sum(p * away.min(axis=1)) / (p.sum() + epsilon))
    f = p[:, None] * away + (1 - p[:, None]) * largest + epsilon
    second.append(np.mean(np.mean(f**exponent, axis=0) ** (1 / exponent)))
  return Terms(np.mean(first), np.mean(second))


@functools.partial(jax.jit, static_argnames=("exponent", "published_empty"))
def both(maps, points, valid, sizes, **options):
  """Returns the terms, and the gradient of first + 2 · second."""

  def weighed(maps):
    terms = losses.weighted_hausdorff(maps, points, valid, sizes, **options)
    return terms.first + 2 * terms.second, terms

  gradient, terms = jax.grad(weighed, has_aux=True)(maps)
  return terms, gradient


averaged = jit_once(losses.averaged_hausdorff)


class WeightedHausdorffTest(parameterized.TestCase):
  @parameterized.parameters(-1.0, -9.0, -2.5)
  def test_is_what_the_matrix_of_distances_gives(self, exponent):
    arguments = batch()
    found, gradient = both(*arguments, exponent=exponent)
    np.testing.assert_allclose(found, dense(*arguments, exponent), rtol=2e-5)

    # By the largest of a few directions, in float64.
    rng = np.random.default_rng(1)
    direction = rng.normal(size=arguments[0].shape)
    step = 1e-5
    ends = [
      dense(arguments[0] + sign * step * direction, *arguments[1:], exponent)
      for sign in (1, -1)
    ]
    slope = sum(
      factor * (up - down) / (2 * step)
      for factor, up, down in zip((1, 2), *ends, strict=True)
    )
    self.assertAlmostEqual(
      float(np.sum(gradient * direction)), slope, delta=1e-3 * abs(slope) + 1e-4
    )

  def test_values_alone_are_the_same(self):
    arguments = batch()
    alone = jax.jit(losses.weighted_hausdorff)(*arguments)
    np.testing.assert_allclose(alone, both(*arguments)[0], rtol=1e-6)

  def test_padding_changes_nothing(self):
    maps, points, valid, sizes = batch()
    other = np.where(valid[..., None], points, 1e6).astype(np.float32)
    chex.assert_trees_all_equal(
      both(maps, points, valid, sizes), both(maps, other, valid, sizes)
    )

  def test_without_points_terms_are_constants_without_gradient(self):
    maps, points, _, sizes = batch()
    terms, gradient = both(maps, points, np.zeros(points.shape[:2], bool), sizes)
    np.testing.assert_allclose(terms, (0, math.hypot(HEIGHT, WIDTH)), rtol=1e-6)
    self.assertFalse(np.any(gradient))

  def test_published_empty_is_a_point_outside_the_corner(self):
    maps, points, valid, sizes = batch(points=(0, 2, 0))
    stood_in, one = points.copy(), valid.copy()
    stood_in[[0, 2], 0] = -1
    one[[0, 2], 0] = True
    # The authors have it twice, which no mean and no minimum sees.
    chex.assert_trees_all_close(
      both(maps, points, valid, sizes, published_empty=True),
      both(maps, stood_in, one, sizes),
    )

  def test_perfect_maps(self):
    maps, points, valid, sizes = batch(points=(4, 3))
    points = np.round(points).astype(np.float32)
    points = np.clip(points, 0, (HEIGHT - 1, WIDTH - 1))
    perfect = np.zeros_like(maps)
    for index, (some, on) in enumerate(zip(points, valid, strict=True)):
      perfect[(index, *some[on].astype(int).T)] = 1
    terms, gradient = both(perfect, points, valid, sizes)
    self.assertEqual(float(terms.first), 0.0)
    self.assertLess(float(terms.second), 1e-3)
    self.assertTrue(np.all(np.isfinite(gradient)))

  def test_binary_maps_tend_to_the_average_hausdorff_distance(self):
    rng = np.random.default_rng(3)
    maps = (rng.random((1, HEIGHT, WIDTH)) < 0.1).astype(np.float32)
    points = rng.uniform(1, 8, (1, 3, 2)).astype(np.float32)
    size = np.array([(HEIGHT, WIDTH)], np.float32)
    valid = np.ones((1, 3), bool)
    terms = jit_once(functools.partial(losses.weighted_hausdorff, exponent=-400.0))(
      maps, points, valid, size
    )
    pixels = jnp.asarray(np.argwhere(maps[0]), jnp.float32)
    expected = averaged(pixels, jnp.asarray(points[0]))
    self.assertAlmostEqual(float(sum(terms)), float(expected), delta=0.05)

  def test_large_maps_go_through_in_chunks(self):
    arguments = batch(points=(2, 1, 3), size=(300, 500))
    terms, gradient = both(*arguments)
    np.testing.assert_allclose(terms, dense(*arguments), rtol=1e-4)
    for index in range(3):
      one, alone = both(*(array[index : index + 1] for array in arguments))
      np.testing.assert_allclose(3 * gradient[index], alone[0], rtol=1e-3, atol=1e-9)
      self.assertTrue(np.all(np.isfinite(one)))

  def test_memory_does_not_grow_with_points(self):
    def needed(points):
      shapes = [
        jax.ShapeDtypeStruct((1, 64, 64), jnp.float32),
        jax.ShapeDtypeStruct((1, points, 2), jnp.float32),
        jax.ShapeDtypeStruct((1, points), jnp.bool_),
        jax.ShapeDtypeStruct((1, 2), jnp.float32),
      ]
      memory = both.lower(*shapes).compile().memory_analysis()
      return memory.temp_size_in_bytes

    # One matrix of 500 points would be 8 MB.
    self.assertLess(needed(500), needed(10) + 100_000)

  def test_wrong_arguments_are_refused(self):
    maps, points, valid, sizes = batch()
    with self.assertRaisesRegex(ValueError, "exponent is 2"):
      losses.weighted_hausdorff(maps, points, valid, sizes, exponent=2)
    with self.assertRaises(AssertionError):
      losses.weighted_hausdorff(maps, points[..., :1], valid, sizes)
    with self.assertRaises(AssertionError):
      losses.weighted_hausdorff(maps, points, valid.astype(np.float32), sizes)


class AveragedHausdorffTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    self.sets = [jnp.asarray(rng.uniform(0, 9, (n, 2)), jnp.float32) for n in (7, 4)]

  def test_value_and_masks(self):
    away = np.linalg.norm(self.sets[0][:, None] - self.sets[1], axis=-1)
    expected = away.min(axis=0).mean() + away.min(axis=1).mean()
    self.assertAlmostEqual(float(averaged(*self.sets)), expected, places=5)
    padded = [jnp.pad(some, ((0, 3), (0, 0))) for some in self.sets]
    masks = [jnp.arange(len(some)) < n for some, n in zip(padded, (7, 4), strict=True)]
    masked = averaged(*padded, *masks)
    self.assertAlmostEqual(float(masked), expected, places=5)

  def test_empty_sets(self):
    none = jnp.zeros((0, 2))
    self.assertEqual(float(losses.averaged_hausdorff(none, self.sets[0])), np.inf)
    hidden = jnp.zeros(7, bool)
    value = averaged(*self.sets, hidden, empty=44.0)
    self.assertEqual(float(value), 44.0)

  def test_gradient_is_finite_where_points_meet(self):
    gradient = jax.jit(jax.grad(losses.averaged_hausdorff))(
      self.sets[0], self.sets[0][:4]
    )
    self.assertTrue(np.all(np.isfinite(gradient)))
    self.assertFalse(np.any(gradient[:4]))
    self.assertTrue(np.any(gradient[4:]))


class OtherLossesTest(absltest.TestCase):
  def test_count_is_quadratic_then_linear(self):
    value = losses.count_loss(jnp.array([2.5, 7.0]), jnp.array([2.0, 3.0]))
    self.assertAlmostEqual(float(value), (0.125 + 3.5) / 2)

  def test_one_hot_counts_a_pixel_once(self):
    maps = jnp.full((2, 4, 5), 0.25)
    points = jnp.array([[(1.2, 2.0), (0.9, 2.1), (9, 9)], [(4, 5), (-1, -1), (0, 0)]])
    valid = jnp.array([[True, True, False], [True, False, False]])
    # One pixel each: (1, 2); and (4, 5), which is cut to the corner.
    one = 0.75**2 + 19 * 0.25**2
    value = losses.one_hot_loss(maps, points.astype(jnp.float32), valid)
    self.assertAlmostEqual(float(value), one, places=5)
    gradient = jax.grad(losses.one_hot_loss)(maps, points.astype(jnp.float32), valid)
    self.assertEqual(np.sum(gradient < 0), 2)
    self.assertLess(gradient[0, 1, 2], 0)
    self.assertLess(gradient[1, 3, 4], 0)


class LocatorTest(parameterized.TestCase):
  def params(self, locator, size):
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    init = functools.partial(locator.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), image)["params"]

  def count(self, tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

  def test_papers_network(self):
    params = self.params(network.Locator(), (256, 256))
    self.assertEqual(params["map_branch"]["kernel"].shape, (65536, 64))
    self.assertEqual(params["deep_branch"]["kernel"].shape, (512, 64))
    self.assertNotIn("norm_0", params["down_8"])
    self.assertEqual(params["up_4"]["conv_0"]["kernel"].shape, (3, 3, 1024, 256))
    # Of the parity case's list of the authors' parameters, less `lin`.
    self.assertEqual(self.count(params), 64_831_106)

  def test_network_of_pupils(self):
    locator = network.Locator(network.SMALL_FEATURES, network.SMALL_UP_FEATURES)
    params = self.params(locator, (256, 256))
    self.assertEqual(params["deep_branch"]["kernel"].shape, (512 * 32 * 32, 64))
    kernels = [params[f"up_{n}"]["conv_0"]["kernel"].shape[2:] for n in range(3)]
    self.assertEqual(kernels, [(768, 128), (256, 64), (128, 64)])

  def test_odd_sides_and_a_known_number(self):
    locator = network.Locator((3, 4, 5), (4, 3), known_count=2.0)
    image = jnp.asarray(np.random.default_rng(0).random((2, 11, 7, 3)), jnp.float32)
    run = jit_once(functools.partial(locator.init_with_output, train=False))
    found, variables = run(jax.random.key(0), image)
    self.assertEqual(found.map.shape, (2, 11, 7))
    np.testing.assert_array_equal(found.count, (2, 2))
    self.assertNotIn("regressor", variables["params"])
    self.assertEqual(found.deepest.shape, (2, 2, 1, 5))

  def test_too_small_images_and_uneven_levels_are_said(self):
    with self.assertRaisesRegex(ValueError, "255 x 256 cannot be halved 8 times"):
      self.params(network.Locator(), (255, 256))
    with self.assertRaisesRegex(ValueError, "3 levels need 2 upwards, not 1"):
      self.params(network.Locator((1, 2, 3), (1,)), (8, 8))


if __name__ == "__main__":
  absltest.main()
