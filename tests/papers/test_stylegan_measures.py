"""Losses, schedule and metrics of stylegan."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import resampling
from jaxvision.papers import stylegan
from jaxvision.papers.stylegan import (
  growing,
  losses,
  path_length,
  quality,
  separability,
)


class LossesTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_values_at_chosen_scores(self):
    real, fake = jnp.asarray([0.0, 2.0]), jnp.asarray([0.0, -3.0])

    def all_of(real, fake):
      generator = [
        losses.generator_loss(kind, fake)
        for kind in ("nonsaturating", "saturating", "wgan")
      ]
      discriminator = [
        losses.discriminator_loss(kind, real, fake)
        for kind in ("logistic", "wgan", "hinge")
      ]
      return jnp.stack(generator + discriminator)

    two = np.log(2)
    softplus = lambda x: np.log1p(np.exp(x))  # noqa: E731
    expected = [
      [two, softplus(3)],
      [-two, -softplus(-3)],
      [0, 3],
      [2 * two, softplus(-3) + softplus(-2)],
      [0, -5 + 0.004],
      [2, 0],
    ]
    np.testing.assert_allclose(
      self.variant(all_of)(real, fake), expected, rtol=1e-5, atol=1e-6
    )

  def test_penalties_of_a_score_with_a_known_gradient(self):
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 2)), jnp.float32)
    slopes = jnp.asarray([1.0, 0.0, 2.0])

    def score(images):
      return slopes * jnp.sum(weight * images, axis=(1, 2, 3))

    images = jnp.ones((3, 4, 4, 2))
    square = jnp.sum(weight**2)
    mixing = jnp.asarray([0.0, 0.5, 1.0])

    @jax.jit
    def both(images):
      return (
        losses.simple_penalty(score, images),
        losses.distance_penalty(score, images, -images, mixing, target=2.0),
      )

    simple, distance = both(images)
    np.testing.assert_allclose(simple, 5 * slopes**2 * square, rtol=1e-5)
    np.testing.assert_allclose(
      distance, 2.5 * (slopes * np.sqrt(square) - 2) ** 2, rtol=1e-5
    )
    # A score without a slope gives no NaN to the weights that it is made of.
    gradient = jax.jit(
      jax.grad(
        lambda s: jnp.sum(
          losses.distance_penalty(lambda x: s * x[:, 0, 0, 0], images, images, mixing)
        )
      )
    )(0.0)
    self.assertEqual(gradient, 0.0)

  def test_the_gradient_penalty_is_taken_between_the_images(self):
    reals, fakes = jnp.full((2, 2, 2, 1), 1.0), jnp.full((2, 2, 2, 1), 3.0)

    def score(images):  # slope 2 x at each of the four pixels
      return jnp.sum(images**2, axis=(1, 2, 3))

    found = losses.distance_penalty(score, reals, fakes, jnp.asarray([0.0, 0.75]))
    np.testing.assert_allclose(
      found, [10 * (4 - 1) ** 2, 10 * (10 - 1) ** 2], rtol=1e-5
    )

  def test_penalties_are_those_of_repeated_pixels(self):
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 1)), jnp.float32)

    def score(images):
      return jnp.sum(jnp.tanh(weight * images), axis=(1, 2, 3))

    def score_full(images):
      return score(resampling.downsample_box(images, 4))

    images = jnp.asarray([[[[0.1], [0.5]], [[-0.3], [0.2]]]])

    @jax.jit
    def both(images):
      full = resampling.upsample_nearest(images, 4)
      return (
        losses.simple_penalty(score, images, level=2),
        losses.simple_penalty(score_full, full),
      )

    np.testing.assert_allclose(*both(images), rtol=1e-5)

  def test_unknown_kinds(self):
    with self.assertRaisesRegex(ValueError, "'lsgan' is none of nonsaturating"):
      losses.generator_loss("lsgan", jnp.zeros(2))
    with self.assertRaisesRegex(ValueError, "'lsgan' is none of logistic"):
      losses.discriminator_loss("lsgan", jnp.zeros(2), jnp.zeros(2))


class GrowingTest(parameterized.TestCase):
  def test_the_papers_schedule(self):
    schedule = growing.Schedule()
    first, fading = schedule.at(0), schedule.at(900e3)
    self.assertEqual((first.level, first.resolution, first.batch), (7, 8, 256))
    self.assertEqual((fading.level, fading.fade, fading.resolution), (6, 0.5, 16))
    last = schedule.at(25e6)
    self.assertEqual((last.lod, last.batch, last.rate), (0.0, 32, 3e-3))
    lods = [schedule.lod(images) for images in np.linspace(0, 12e6, 500)]
    self.assertTrue((np.diff(lods) <= 0).all())

  def test_batches_suit_the_devices_and_stages_may_have_no_fade(self):
    schedule = growing.Schedule(
      resolution=32, initial=32, stable=1, fade=0, batches={32: 10}, devices=4
    )
    self.assertEqual(schedule.at(0).batch, 8)
    schedule = growing.Schedule(resolution=32, initial=8, stable=1, fade=0)
    self.assertEqual([schedule.lod(i) for i in (0, 999, 1000, 5000)], [2, 2, 1, 0])
    never = growing.Schedule(resolution=32, initial=8, stable=0, fade=0)
    self.assertEqual(never.lod(1e6), 2)

  def test_reals_are_mirrored_at_random_and_faded(self):
    images = np.zeros((400, 2, 2, 1), np.uint8)
    images[:, :, 1] = 255
    x = growing.prepare_reals(jnp.asarray(images), key=jax.random.key(0))
    stays = x[:, 0, 1, 0] == 1
    np.testing.assert_array_equal(x[stays, :, 0], -1.0)
    np.testing.assert_array_equal(x[~stays, :, 0], 1.0)
    self.assertBetween(float(stays.mean()), 0.4, 0.6)
    faded = growing.prepare_reals(jnp.asarray(images), fade=0.25)
    np.testing.assert_allclose(faded[0, 0, :, 0], [-0.75, 0.75], atol=1e-6)

  def test_halving_rounds_half_to_even(self):
    images = np.array([[1, 2, 4, 4], [1, 2, 5, 5]], np.uint8)[..., None]
    np.testing.assert_array_equal(growing.halve(images)[..., 0], [[2, 4]])

  def test_bytes(self):
    x = jnp.asarray([-1.5, -1.0, 0.0, 0.999, 1.0, 1.7])
    np.testing.assert_array_equal(growing.to_uint8(x), [0, 0, 128, 255, 255, 255])


class PathLengthTest(parameterized.TestCase):
  def test_paths_in_both_spaces(self):
    key, shape, step = jax.random.key(0), (50, 6), 1e-2

    @jax.jit
    def all_paths(key):
      return {
        (space, sampling): path_length.endpoints(
          key, lambda z: 2 * z, shape, space=space, sampling=sampling, epsilon=step
        )
        for space in ("w", "z")
        for sampling in ("full", "end")
      }

    paths = jax.tree.map(np.asarray, all_paths(key))
    z0, z1 = np.asarray(jax.random.normal(jax.random.split(key)[0], (2, *shape)))

    def angle(a, b):
      lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
      return np.arccos(np.sum(a * b, axis=-1, dtype=float) / lengths)

    for (space, sampling), (a, b) in paths.items():
      start = 2 * z0
      if space == "w":
        np.testing.assert_allclose(b - a, 2 * step * (z1 - z0), atol=1e-5)
      else:
        start = start / np.linalg.norm(z0, axis=-1, keepdims=True)
        np.testing.assert_allclose(np.linalg.norm(a, axis=-1), 2.0, rtol=1e-5)
        np.testing.assert_allclose(angle(a, b), step * angle(z0, z1), rtol=0.1)
      self.assertEqual(np.allclose(a, start, atol=1e-5), sampling == "end")

  def test_lengths_of_a_network_do_not_depend_on_the_step(self):
    network = stylegan.generator("style-1", 4, base=16, largest=4, latent=8)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 8)))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
      lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes
    )

    def squares(a, b):
      return jnp.mean(jnp.square(a - b), axis=(1, 2, 3))

    @jax.jit
    def measure(key, epsilon):
      return path_length.distances(
        network, variables, squares, key, (16, 8), epsilon=epsilon, crop=False
      )

    key = jax.random.key(1)
    one, other = measure(key, 1e-2), measure(key, 5e-3)
    np.testing.assert_allclose(np.median(one), np.median(other), rtol=0.1)
    self.assertGreater(np.median(one), 0)
    with self.assertRaisesRegex(ValueError, "'x' is not w or z"):
      path_length.endpoints(key, lambda z: z, (2, 2), space="x")

  def test_the_face(self):
    images = jnp.arange(256.0).reshape(1, 16, 16, 1)
    face = path_length.crop_to_face(images)
    np.testing.assert_array_equal(face, images[:, 6:14, 4:12])

  def test_outliers_are_dropped(self):
    values = np.concatenate([[-1e6], np.full(198, 2.0), [1e6]])
    self.assertEqual(path_length.filtered_mean(values), 2.0)
    self.assertEqual(path_length.filtered_mean(np.array([3.0])), 3.0)
    for wrong in (np.array([]), np.array([1.0, np.nan])):
      with self.assertRaisesRegex(ValueError, "distances"):
        path_length.filtered_mean(wrong)


class SeparabilityTest(parameterized.TestCase):
  def test_entropies(self):
    for joint, expected in (
      ([[0.5, 0.0], [0.0, 0.5]], 0.0),
      ([[0.25, 0.25], [0.25, 0.25]], 1.0),
      ([[3, 1], [0, 0]], 0.8112781),  # X says nothing: H(1/4)
      ([[4, 0], [0, 0]], 0.0),
    ):
      self.assertAlmostEqual(separability.conditional_entropy(joint), expected, 6)
    for wrong in ([[0.0, 0.0]], [[-1.0, 2.0]], [[np.nan, 1.0]]):
      with self.assertRaisesRegex(ValueError, "no probabilities"):
        separability.conditional_entropy(np.array(wrong))

  def test_an_attribute_that_a_plane_tells_and_one_that_none_does(self):
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(400, 3))
    plane = latents @ [1.0, 1.0, 0.0] > 0
    parity = (latents[:, 0] > 0) ^ (latents[:, 1] > 0)
    told, untold = (
      separability.attribute_entropy(latents, labels) for labels in (plane, parity)
    )
    self.assertLess(told, 0.15)
    self.assertGreater(untold, 0.9)
    self.assertAlmostEqual(separability.score(np.array([1.0, 0.5, 0.5])), 4.0)

  def test_the_most_confident(self):
    kept, labels = separability.most_confident(np.array([0.1, -3.0, 2.0, -0.5]), 2)
    np.testing.assert_array_equal(kept, [1, 2])
    np.testing.assert_array_equal(labels, [True, False])
    with self.assertRaisesRegex(ValueError, "5 of 4"):
      separability.most_confident(np.zeros(4), 5)


class QualityTest(absltest.TestCase):
  def test_the_distance_of_shifted_images(self):
    rng = np.random.default_rng(0)
    reals = rng.integers(50, 150, (64, 2, 2, 1), np.uint8)

    def features(images):
      return images.reshape(len(images), -1)

    found = quality.distance(features, [reals[:30], reals[30:]], [reals + 10])
    self.assertAlmostEqual(found, 4 * 10**2, 3)
    # Generated images become bytes first.
    fakes = (reals.astype(np.float32) - 128 + 0.5) / 127.5
    self.assertAlmostEqual(quality.distance(features, [reals], [fakes]), 0.0, 3)
    with self.assertRaisesRegex(ValueError, "at least two"):
      quality.statistics(features, [])

  def test_batches_are_generated_from_keys_of_their_own(self):
    batches = list(
      quality.generated(lambda key: jax.random.normal(key, (2,)), jax.random.key(0), 3)
    )
    self.assertLen({float(batch[0]) for batch in batches}, 3)


if __name__ == "__main__":
  absltest.main()
