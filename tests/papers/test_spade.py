"""Tests of spade's networks, losses and semantics."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.nn.convolution import Conv
from jaxvision.papers.spade import losses, speed, variants
from jaxvision.papers.spade.conditioning import (
  ConditionalNorm,
  ParameterFreeNorm,
  SpatiallyAdaptiveNorm,
)
from jaxvision.papers.spade.discriminator import (
  Discriminator,
  Judgement,
  judge_pairs,
)
from jaxvision.papers.spade.encoder import StyleEncoder, reparameterize
from jaxvision.papers.spade.generator import LATENT, Generator, ResidualBlock
from jaxvision.papers.spade.pix2pixhd import Pix2PixHDGenerator
from jaxvision.papers.spade.semantics import encode, from_signed, to_signed
from jaxvision.train import jit_once
from tests.papers.spade_networks import KEY, count, filled, params_of


def single_class(classes, num_classes, side):
  """Returns one-hot maps, each filled by one class."""
  maps = jax.nn.one_hot(jnp.asarray(classes), num_classes)[:, None, None]
  return jnp.broadcast_to(maps, (len(classes), side, side, num_classes))


class SizesTest(parameterized.TestCase):
  @parameterized.parameters(
    # Tables 3 and 4, in millions: they are those for ADE20K.
    ("spade", 96),
    ("spade_compact", 61),
    ("spade_wide", 141),
    ("concat", 79),
    ("pix2pixhd++", 183),
  )
  def test_parameters_are_the_papers(self, name, millions):
    data = variants.DATA_SETS["ade20k"]
    network = variants.networks(name, data).generator
    params = params_of(network, (1, *data.shape, data.channels))
    self.assertEqual(round(count(params) / 1e6), millions)

  @parameterized.parameters(
    ("normal", 64, 1.0, (64, 64), 4),
    ("more", 128, 2.0, (64, 128), 4),
    ("most", 128, 1.0, (128, 128), 2),
  )
  def test_images_are_doubled_starts(self, upsampling, crop, aspect, shape, last):
    network = Generator(4, upsampling, crop, aspect, start="latent")
    image, variables = jax.eval_shape(
      lambda maps, z: network.init_with_output(KEY, maps, z),
      jax.ShapeDtypeStruct((2, *shape, 3), jnp.float32),
      jax.ShapeDtypeStruct((2, LATENT), jnp.float32),
    )
    self.assertEqual(image.shape, (2, *shape, 3))
    self.assertEqual(variables["params"]["image"]["kernel"].shape, (3, 3, last, 3))

  def test_convolutions_beside_which_speed_is_told_are_all(self):
    network = Generator(2, crop_size=32)
    maps = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    found = speed.convolutions(network, maps)
    params = params_of(network, maps.shape)
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if len(leaf.shape) == 4]
    self.assertCountEqual([shape.kernel for shape in found], kernels)
    first, last = found[0], found[-1]
    self.assertEqual((first.x, last.x), ((1, 1, 1, 3), (1, 32, 32, 2)))
    outputs = jax.eval_shape(speed.bare([first, last], (0, 1)))
    self.assertEqual(outputs[1][1][0].shape, last.x)

  def test_too_small_a_crop_is_said(self):
    with self.assertRaisesRegex(ValueError, "crop_size 16 .* 5 times"):
      params_of(Generator(4, crop_size=16), (1, 16, 16, 3))

  def test_discriminator_and_encoder_at_the_papers_sizes(self):
    maps, images = (
      jax.ShapeDtypeStruct((1, 256, 256, n), jnp.float32) for n in (184, 3)
    )
    found, _ = jax.eval_shape(
      functools.partial(Discriminator().init_with_output, KEY), maps, images
    )
    sizes = [[x.shape[1:] for x in judgement.features] for judgement in found]
    self.assertEqual(
      sizes[0],
      [(129, 129, 64), (65, 65, 128), (33, 33, 256), (34, 34, 512), (35, 35, 1)],
    )
    self.assertEqual(found[1].logits.shape, (1, 19, 19, 1))
    (mean, _), variables = jax.eval_shape(
      functools.partial(StyleEncoder().init_with_output, KEY), images
    )
    self.assertEqual(mean.shape, (1, 256))
    self.assertEqual(variables["params"]["mean"]["kernel"].shape, (8192, 256))
    with self.assertRaisesRegex(ValueError, "side is 100"):
      params_of(StyleEncoder(side=100), (1, 64, 64, 3))

  def test_names_and_sides_that_do_not_fit_are_said(self):
    with self.assertRaisesRegex(ValueError, "'spad'.*spade"):
      variants.networks("spad", variants.DATA_SETS["coco"])
    with self.assertRaisesRegex(ValueError, "20 x 32 are no multiples of 16"):
      params_of(Pix2PixHDGenerator(2), (1, 20, 32, 3))
    with self.assertRaisesRegex(ValueError, "norm is 'layer'"):
      params_of(ParameterFreeNorm("layer"), (1, 4, 4, 2))


class SpadeTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.x = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    self.maps = jax.random.uniform(jax.random.key(2), (2, 8, 8, 2))
    self.layer = SpatiallyAdaptiveNorm("instance")
    variables = filled(self.layer, self.x, self.maps)
    self.variables = jax.tree.map(lambda leaf: 0.1 * leaf, variables)

  @chex.variants(with_jit=True, without_jit=True)
  def test_scales_by_one_and_gamma_and_shifts_by_beta(self):
    params = jax.tree.map(jnp.zeros_like, self.variables["params"])
    params["gamma"]["bias"] = jnp.array([0.0, 1.0, -1.0])
    params["beta"]["bias"] = jnp.array([0.5, 0.0, 2.0])
    found = self.variant(self.layer.apply)({"params": params}, self.x, self.maps)
    deviation = jnp.std(self.x, axis=(1, 2), keepdims=True)
    normalized = (self.x - jnp.mean(self.x, axis=(1, 2), keepdims=True)) / deviation
    expected = normalized * jnp.array([1.0, 2.0, 0.0]) + jnp.array([0.5, 0.0, 2.0])
    np.testing.assert_allclose(found, expected, atol=1e-4)

  def test_labels_are_taken_from_full_resolution(self):
    changed = self.maps.at[:, 1::2].add(1.0).at[:, :, 1::2].add(1.0)
    apply = jax.jit(self.layer.apply)
    np.testing.assert_array_equal(
      apply(self.variables, self.x, self.maps),
      apply(self.variables, self.x, changed),
    )

  def test_gradient_agrees_with_finite_differences(self):
    # In float64: steps must be small beside the distance to the ReLUs' kinks.
    with jax.enable_x64(True):
      wide = functools.partial(jnp.asarray, dtype=jnp.float64)
      variables = jax.tree.map(wide, self.variables)
      apply = jax.jit(self.layer.apply)

      def total(x, maps):
        return jnp.sum(jnp.sin(apply(variables, x, maps)))

      inputs = wide(np.asarray(self.x)), wide(np.asarray(self.maps))
      jax.test_util.check_grads(
        total, inputs, order=1, modes=["rev"], eps=1e-6, rtol=1e-5
      )

  def test_one_class_survives_spade_but_no_normalised_convolution(self):
    maps = single_class([0, 1], 2, 8)
    # What a convolution makes of a constant map is constant, away from borders.
    conv = Conv(4, (3, 3), padding="VALID")
    activations = jax.jit(conv.apply)(filled(conv, maps), maps)
    self.assertGreater(float(jnp.max(jnp.abs(activations[0] - activations[1]))), 0.01)
    norm = ParameterFreeNorm("instance")
    np.testing.assert_allclose(norm.apply({}, activations), 0.0, atol=1e-3)
    x = jnp.broadcast_to(self.x[:1], self.x.shape)
    found = jax.jit(self.layer.apply)(self.variables, x, maps)
    self.assertGreater(float(jnp.max(jnp.abs(found[0] - found[1]))), 0.01)

  def test_concatenation_appends_labels_without_activation(self):
    layer = ConditionalNorm("concat", "instance")
    apply = jax.jit(functools.partial(layer.apply, activation=jax.nn.relu))
    found = apply({}, self.x, -self.maps)
    self.assertEqual(found.shape, (2, 4, 4, 5))
    np.testing.assert_array_equal(found[..., 3:], -self.maps[:, ::2, ::2])
    self.assertGreaterEqual(float(found[..., :3].min()), 0.0)

  def test_residual_block_learns_a_shortcut_only_where_channels_change(self):
    shapes = (1, 4, 4, 6), (1, 8, 8, 2)
    self.assertNotIn("conv_s", params_of(ResidualBlock(6), *shapes))
    params = params_of(ResidualBlock(4), *shapes)
    self.assertEqual(set(params["conv_s"]), {"kernel"})
    self.assertEqual(params["conv_0"]["kernel"].shape, (3, 3, 6, 4))
    self.assertEqual(params["norm_s"]["spade"]["gamma"]["bias"].shape, (6,))


class DiscriminatorTest(absltest.TestCase):
  def test_pairs_are_judged_as_if_alone(self):
    keys = jax.random.split(KEY, 3)
    maps = jax.random.uniform(keys[0], (2, 16, 16, 2))
    fake, real = (jax.random.normal(key, (2, 16, 16, 3)) for key in keys[1:])
    network = Discriminator(features=2, layers=2)
    variables = filled(network, maps, fake)
    judge = jit_once(functools.partial(judge_pairs, network))
    fakes, reals, state = judge(variables, maps, fake, real)
    self.assertIsNone(state)
    alone = jit_once(network.apply)
    chex.assert_trees_all_close(fakes, alone(variables, maps, fake), atol=1e-4)
    chex.assert_trees_all_close(reals, alone(variables, maps, real), atol=1e-4)


class LossesTest(chex.TestCase):
  def judgements(self, *logits):
    return [Judgement((jnp.ones(2), jnp.asarray(x, jnp.float32))) for x in logits]

  @parameterized.parameters(
    ("hinge", 0.5 * (0.0 + 2.0), 0.5 * (3.0 + 0.5), -0.5),
    ("ls", 0.5 * (1.0 + 4.0), 0.5 * (4.0 + 1.0), 0.5 * (1.0 + 4.0)),
    ("w", -0.5 * (2.0 - 1.0), 0.5 * (2.0 - 1.0), -0.5 * (2.0 - 1.0)),
    (
      "original",
      0.5 * (np.log1p(np.exp(-2)) + np.log1p(np.exp(1))),
      0.5 * (np.log1p(np.exp(2)) + np.log1p(np.exp(-1))),
      0.5 * (np.log1p(np.exp(-2)) + np.log1p(np.exp(1))),
    ),
  )
  def test_closed_forms_over_two_scales(self, mode, real, fake, generator):
    # Scales of different sizes count the same.
    scales = self.judgements([2.0, 2.0, 2.0], [-1.0])
    if mode == "hinge":
      fake = 0.5 * (3.0 + 0.0)
    judge = functools.partial(losses.discriminator_loss, scales, mode=mode)
    self.assertAlmostEqual(float(judge(is_real=True)), real, places=5)
    self.assertAlmostEqual(float(judge(is_real=False)), fake, places=5)
    self.assertAlmostEqual(
      float(losses.generator_loss(scales, mode)), generator, places=5
    )

  def test_unknown_modes_and_no_scale_are_said(self):
    with self.assertRaisesRegex(ValueError, "'hing'"):
      losses.generator_loss(self.judgements([1.0]), "hing")
    with self.assertRaisesRegex(ValueError, "no scale"):
      losses.generator_loss([])

  def test_features_are_matched_but_not_logits_and_only_by_the_fake(self):
    def loss(fake, real):
      fakes = [Judgement((fake, 2 * fake, 9 * fake)), Judgement((fake, fake))]
      reals = [Judgement((real, real, real)), Judgement((real, real))]
      return losses.feature_matching_loss(fakes, reals)

    fake, real = jnp.array([1.0, 3.0]), jnp.array([0.0, 0.0])
    self.assertAlmostEqual(float(loss(fake, real)), (2.0 + 4.0 + 2.0) / 2, places=6)
    gradients = jax.grad(loss, argnums=(0, 1))(fake, real)
    np.testing.assert_allclose(gradients[0], [1.0, 1.0])
    np.testing.assert_array_equal(gradients[1], [0.0, 0.0])

  @chex.variants(with_jit=True, without_jit=True)
  def test_divergence_is_summed_over_the_batch(self):
    divergence = self.variant(losses.style_divergence)
    self.assertEqual(float(divergence(jnp.zeros((3, 4)), jnp.zeros((3, 4)))), 0.0)
    one = divergence(jnp.full((1, 4), 2.0), jnp.full((1, 4), np.log(3.0)))
    self.assertAlmostEqual(float(one), 4 * 0.5 * (4 + 3 - 1 - np.log(3.0)), places=4)
    two = divergence(jnp.full((2, 4), 2.0), jnp.full((2, 4), np.log(3.0)))
    self.assertAlmostEqual(float(two), 2 * float(one), places=4)

  def test_styles_are_drawn_with_mean_and_deviation(self):
    shape = (2000, 2)
    draw = reparameterize(KEY, jnp.full(shape, 3.0), jnp.full(shape, 2 * np.log(0.5)))
    np.testing.assert_allclose(jnp.mean(draw, axis=0), [3.0, 3.0], atol=0.05)
    np.testing.assert_allclose(jnp.std(draw, axis=0), [0.5, 0.5], atol=0.03)


class SemanticsTest(absltest.TestCase):
  def test_classes_unknown_and_edges(self):
    labels = jnp.array([[[0, 1], [255, 1]]])
    instances = jnp.array([[[0, 7], [0, 7]]])
    maps = encode(labels, instances, 2, unknown_class=True)
    np.testing.assert_array_equal(
      maps[0, 1], [[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]
    )
    self.assertEqual(encode(labels, None, 2, unknown_class=False).shape[-1], 2)
    with self.assertRaises(AssertionError):
      encode(labels, instances[:, :1], 2, unknown_class=True)

  def test_range_of_images(self):
    np.testing.assert_allclose(to_signed(jnp.array([0.0, 0.5, 1.0])), [-1, 0, 1])
    images = jnp.array([0.1, 0.9])
    np.testing.assert_allclose(from_signed(to_signed(images)), images, rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
