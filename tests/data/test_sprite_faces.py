"""Drawn faces: their factors, what each changes, and what never occurs."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import sprite_faces as sprites


def mean_color(factors, rows, columns):
  """Returns the mean colour of a part of a face with these factors, else 1/2."""
  values = jnp.full(len(sprites.FACTORS), 0.5)
  for factor, value in factors.items():
    values = values.at[factor].set(value)
  image = draw(jax.random.key(0), values)
  return np.asarray(image[rows, columns].mean(axis=(0, 1)))


draw = jax.jit(lambda key, factors: sprites.draw_face(key, factors, 32))


class SpriteFacesTest(parameterized.TestCase):
  def test_no_face_is_red_and_large(self):
    factors = np.asarray(sprites.draw_factors(jax.random.key(0), 4000))
    self.assertTrue((factors >= 0).all() and (factors <= 1).all())
    is_red, is_large = factors[:, sprites.HUE] > 0.5, factors[:, sprites.SIZE] > 0.5
    self.assertFalse((is_red & is_large).any())
    for name, share in ((is_red & ~is_large, 3 / 8), (is_large & ~is_red, 3 / 8)):
      self.assertAlmostEqual(name.mean(), share, delta=0.03)
    others = factors[:, sprites.EYES :]
    np.testing.assert_allclose(others.mean(axis=0), 0.5, atol=0.03)

  def test_a_seed_is_a_set_of_faces(self):
    one, same = sprites.faces(3, 20, 16), sprites.faces(3, 20, 16)
    np.testing.assert_array_equal(one.images, same.images)
    np.testing.assert_array_equal(one.factors, same.factors)
    self.assertEqual((one.images.shape, one.images.dtype), ((20, 16, 16, 3), np.uint8))
    other = sprites.faces(4, 20, 16)
    self.assertGreater(np.abs(one.factors - other.factors).max(), 0.5)
    more = sprites.faces(3, 300, 16)  # more than are drawn at once
    self.assertLen(np.unique(more.images.reshape(300, -1), axis=0), 300)

  def test_factors_change_what_they_are_called(self):
    corner, chin = (slice(0, 3), slice(0, 3)), (slice(22, 25), slice(15, 17))
    green = mean_color({sprites.GROUND: 1.0}, *corner)
    blue = mean_color({sprites.GROUND: 0.0}, *corner)
    self.assertGreater(green[1], green[2])
    self.assertGreater(blue[2], blue[1])
    pale = mean_color({sprites.HUE: 0.0, sprites.SMILE: 0.0}, *chin)
    red = mean_color({sprites.HUE: 1.0, sprites.SMILE: 0.0}, *chin)
    self.assertGreater(pale[1] - red[1], 0.2)
    hair = (slice(8, 11), slice(14, 18))
    fair, dark = (mean_color({sprites.HAIR: v}, *hair).mean() for v in (1.0, 0.0))
    self.assertGreater(fair, dark + 0.2)

  def test_only_hair_is_random(self):
    factors = jnp.full(len(sprites.FACTORS), 0.5)
    one, other = (draw(jax.random.key(i), factors) for i in range(2))
    changed = np.asarray(jnp.any(jnp.abs(one - other) > 1e-5, axis=-1))
    rows = np.nonzero(changed.any(axis=1))[0]
    self.assertGreater(changed.sum(), 60)
    self.assertFalse(changed[15:24, 11:21].any())  # the face below the hair
    self.assertGreater(rows.min(), 2)

  def test_impossible_sizes(self):
    for count, side in ((0, 16), (4, 4)):
      with self.assertRaises(AssertionError):
        sprites.faces(0, count, side)


if __name__ == "__main__":
  absltest.main()
