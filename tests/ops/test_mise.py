import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.ops import mise


def ball(points, center=(0.05, -0.1, 0.02), radius=0.31):
  return radius - np.linalg.norm(points - np.array(center), axis=-1)


def dense_points(size, low=-0.55, high=0.55):
  axis = np.linspace(low, high, size)
  return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


class ExtractTest(parameterized.TestCase):
  def test_counts_of_the_authors_code(self):
    found = mise.extract(ball, resolution=8, steps=2)
    self.assertEqual(found.counts, (729, 953, 3800, 17))  # 15 % of 35 937
    self.assertEqual(found.known.sum(), sum(found.counts))

  def test_signs_are_those_of_the_dense_grid(self):
    found = mise.extract(ball, resolution=8, steps=2)
    dense = ball(dense_points(33))
    np.testing.assert_allclose(found.values[found.known], dense[found.known])
    np.testing.assert_array_equal(found.values > 0, dense > 0)

  @settings(max_examples=20, deadline=None)
  @given(
    st.integers(0, 2**31),
    st.sampled_from(((2, 1), (3, 2), (1, 3))),
    st.booleans(),
  )
  def test_both_sides_of_every_known_crossing_are_known(self, seed, sizes, discrete):
    """Brute force on random values: no cell that must be split is left whole."""
    resolution, steps = sizes
    size = resolution * 2**steps
    rng = np.random.default_rng(seed)
    grid = rng.standard_normal((size + 1,) * 3)
    if discrete:
      grid = np.sign(np.round(grid))  # values that equal the level

    def field(points):
      index = np.rint((points + 0.55) / 1.1 * size).astype(int)
      return grid[tuple(index.T)]

    found = mise.extract(field, resolution=resolution, steps=steps, chunk=7)
    np.testing.assert_array_equal(found.values[found.known], grid[found.known])
    for edge in 2 ** np.arange(1, steps + 1):
      for corner in np.ndindex(*(size // edge,) * 3):
        block = tuple(slice(c * edge, c * edge + edge + 1) for c in corner)
        known, values = found.known[block], grid[block]
        half = edge // 2
        split = known[::half, ::half, ::half].all()
        exists = known[::edge, ::edge, ::edge].all()
        values = values[known]
        if exists and values.min() <= 0 <= values.max():
          self.assertTrue(split, (edge, corner))

  def test_unknown_values_are_those_before(self):
    found = mise.extract(ball, resolution=2, steps=2, level=10.0)  # nothing to split
    self.assertEqual(found.counts, (27,))
    coarse = ball(dense_points(3)).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    np.testing.assert_allclose(found.values, coarse[:9, :9, :9])

  def test_no_steps_is_a_plain_grid_of_that_many_points(self):
    found = mise.extract(ball, resolution=5, steps=0, low=-1, high=1)
    np.testing.assert_allclose(found.values, ball(dense_points(5, -1, 1)))
    self.assertEqual(found.counts, (125,))

  def test_one_compiled_shape_whatever_the_number_of_points(self):
    shapes = []

    @jax.jit
    def field(points):
      shapes.append(points.shape)
      return 0.3 - jnp.linalg.norm(points, axis=-1)

    found = mise.extract(field, resolution=4, steps=2, chunk=100)
    self.assertEqual(shapes, [(100, 3)])
    whole = mise.extract(field, resolution=4, steps=2, chunk=None)
    np.testing.assert_allclose(found.values, whole.values, atol=1e-6)

  def test_infinite_values_are_values(self):
    def field(points):
      return np.where(points[:, 0] > 0.1, -np.inf, 1.0)

    found = mise.extract(field, resolution=4, steps=1)
    expected = field(dense_points(9).reshape(-1, 3)).reshape(9, 9, 9)
    np.testing.assert_array_equal(found.values, expected)

  @parameterized.named_parameters(
    ("nan", {}, lambda points: np.full(len(points), np.nan), "NaN at 27 of 27"),
    ("shape", {}, lambda points: points, "gives"),
    ("cube", {"low": 1.0}, ball, "cube"),
    ("resolution", {"resolution": 0}, ball, "resolution 0"),
    ("steps", {"steps": -1}, ball, "steps -1"),
    ("chunk", {"chunk": 0}, ball, "chunk 0"),
  )
  def test_wrong_calls(self, changes, field, message):
    call = functools.partial(mise.extract, field, resolution=2, steps=1)
    with self.assertRaisesRegex(ValueError, message):
      call(**changes)


if __name__ == "__main__":
  absltest.main()
