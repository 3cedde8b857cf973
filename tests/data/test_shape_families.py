"""Tests of parametric shapes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.spatial
from absl.testing import absltest, parameterized

from jaxvision.data import shape_families

distance = jax.jit(shape_families.signed_distance)
normals = jax.jit(shape_families.normals)
sample = jax.jit(shape_families.sample_surface, static_argnums=2)


@functools.cache
def shape_of(family, seed=0):
  shapes = shape_families.random_shapes(jax.random.key(seed), jnp.array([family]))
  return jax.tree.map(lambda leaf: leaf[0], shapes)


class ShapeFamiliesTest(parameterized.TestCase):
  @parameterized.parameters(*range(3))
  def test_distance_is_that_to_the_surface(self, family):
    shape = shape_of(family)
    surface, outward = sample(jax.random.key(1), shape, 20_000)
    np.testing.assert_allclose(distance(shape, surface), 0, atol=1e-5)
    self.assertLess(np.linalg.norm(surface, axis=1).max(), 1 / 1.03 + 1e-4)
    points = jax.random.uniform(jax.random.key(2), (2000, 3), minval=-1.0)
    found = np.asarray(distance(shape, points))
    true, _ = scipy.spatial.cKDTree(np.asarray(surface)).query(np.asarray(points))
    # The nearest of many points is a little farther than the surface.
    outside = found > 0
    self.assertLess(np.abs(found - true)[outside & (true > 0.1)].max(), 0.01)
    if family != shape_families.TABLE:
      self.assertLess(np.abs(np.abs(found) - true).max(), 0.03)
    else:
      self.assertLess((np.abs(found) - true).max(), 1e-4)
    self.assertGreater(np.mean(~outside), 0.01)
    moved = surface + 0.01 * outward
    self.assertGreater(np.mean(np.asarray(distance(shape, moved)) > 0.009), 0.97)

  @parameterized.parameters(*range(3))
  def test_farthest_point_is_where_normalisation_puts_it(self, family):
    for seed in range(3):
      vertices, faces = shape_families.mesh(shape_of(family, seed), 96)
      self.assertGreater(len(faces), 1000)
      self.assertAlmostEqual(
        np.linalg.norm(vertices, axis=1).max(), 1 / 1.03, delta=0.03
      )
      np.testing.assert_allclose(vertices.max(0), -vertices.min(0), atol=0.03)

  def test_holes_and_legs(self):
    for family in (shape_families.TORUS, shape_families.BLOCK):
      self.assertGreater(distance(shape_of(family), jnp.zeros(3)), 0.1)
    table = shape_of(shape_families.TABLE)
    self.assertGreater(distance(table, jnp.zeros(3)), 0.1)  # under the slab
    values = distance(table, sample(jax.random.key(0), table, 500)[0] * 0.999)
    self.assertTrue(np.all(np.isfinite(values)))

  def test_gradient_by_parameters(self):
    point = jnp.array([0.3, 0.6, 0.2])

    @jax.jit
    def slopes(parameters, family):
      shape = shape_families.Shapes(family, parameters)
      return jax.grad(
        lambda p: shape_families.signed_distance(shape._replace(parameters=p), point)
      )(parameters)

    for family in range(3):
      shape = shape_of(family, 3)
      gradient = slopes(shape.parameters, shape.family)
      for index in range(2):
        change = jnp.zeros(6).at[index].set(2e-3)
        ends = [
          distance(shape._replace(parameters=shape.parameters + sign * change), point)
          for sign in (-1, 1)
        ]
        slope = (ends[1] - ends[0]) / 4e-3
        self.assertAlmostEqual(gradient[index], slope, delta=5e-3)


if __name__ == "__main__":
  absltest.main()
