"""Tests of solid textures."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import textures


def _points(count, seed=0):
  return jax.random.uniform(jax.random.key(seed), (count, 3), minval=-4.0, maxval=4.0)


@jax.jit
def _brightness(points, family, seed=5):
  shape = points.shape[:-1]
  return textures.solid_texture(
    points,
    jnp.full(shape, family),
    jnp.full(shape, 2.0),
    jnp.broadcast_to(jnp.array([0.6, 0.0, 0.8]), points.shape),
    jnp.full(shape, seed, jnp.uint32),
  )


class TexturesTest(parameterized.TestCase):
  @parameterized.parameters(range(textures.FAMILIES))
  def test_uses_the_range(self, family):
    found = np.asarray(_brightness(_points(4000), family))
    self.assertGreaterEqual(found.min(), 0)
    self.assertLessEqual(found.max(), 1)
    self.assertLess(np.quantile(found, 0.1), 0.25)
    self.assertGreater(np.quantile(found, 0.95), 0.75)

  @parameterized.parameters(range(textures.FAMILIES))
  def test_is_continuous(self, family):
    points = _points(2000)
    step = np.abs(_brightness(points + 1e-4, family) - _brightness(points, family))
    self.assertLess(step.max(), 1e-2)

  def test_checker_and_stripes_by_hand(self):
    # Cells are 0.5 m; the middle planes are in the middle of cells.
    centers = jnp.array([[0.0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(
      _brightness(centers, textures.CHECKER), [1, 0, 1, 0], atol=1e-3
    )
    along = jnp.array([0.6, 0.0, 0.8]) * jnp.array([[0.125], [0.375], [0.625]])
    np.testing.assert_allclose(
      _brightness(along, textures.STRIPES), [1, 0, 1], atol=1e-2
    )

  @parameterized.parameters((textures.NOISE, 0.2), (textures.SPOTS, 0.8))
  def test_seed_decides(self, family, correlation):
    points = _points(500)
    same = _brightness(points, family, 5) == _brightness(points, family, 5)
    self.assertTrue(same.all())
    other = np.corrcoef(_brightness(points, family, 5), _brightness(points, family, 6))
    self.assertLess(abs(other[0, 1]), correlation)

  def test_noise_interpolates_uniform_values(self):
    corners = jnp.stack(jnp.meshgrid(*[jnp.arange(-8.0, 8.0)] * 3), -1).reshape(-1, 3)
    seeds = jnp.full(len(corners), 9, jnp.uint32)
    values = np.asarray(textures.value_noise(corners, seeds))
    histogram, _ = np.histogram(values, 8, (0, 1))
    self.assertLess(np.abs(histogram / len(corners) - 1 / 8).max(), 0.03)
    # Neighbours are independent.
    grid = values.reshape(16, 16, 16)
    for axis in range(3):
      pair = np.stack([grid, np.roll(grid, 1, axis)]).reshape(2, -1)
      self.assertLess(abs(np.corrcoef(pair)[0, 1]), 0.06)
    between = textures.value_noise(corners + jnp.array([0.5, 0, 0]), seeds)
    after = textures.value_noise(corners + jnp.array([1.0, 0, 0]), seeds)
    np.testing.assert_allclose(between, (values + after) / 2, atol=1e-6)


if __name__ == "__main__":
  absltest.main()
