"""Tests of content_authentication: networks, manipulations, losses, weights."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from experiments.content_authentication import PRESETS, workflow
from jaxvision.errors import UserError
from jaxvision.ops import bayer, demosaic, hsv
from jaxvision.ops.filters import gaussian_kernel
from jaxvision.papers.content_authentication import (
  camera,
  channel,
  losses,
  manipulations,
  pipelines,
  published,
)
from jaxvision.papers.content_authentication.forensics import FAN

IMAGES = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
RAW = jax.random.uniform(jax.random.key(1), (1, 8, 8, 4))


def count(model, shape) -> int:
  variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))


class NetworksTest(chex.TestCase):
  def test_the_paper_preset_has_the_papers_networks(self):
    flow = workflow(PRESETS["paper"])
    self.assertEqual(count(flow.nip, (1, 64, 64, 4)), 7_760_268)
    self.assertEqual(count(flow.fan, (1, 128, 128, 3)), 1_341_990)

  @parameterized.parameters(
    (pipelines.INet(), 321),
    (pipelines.DNet(), 493_976),
    (pipelines.DNet(normalize=False), 493_068),
    (pipelines.UNet(keras=True), 7_763_820),
  )
  def test_parameters_of_pipelines(self, model, parameters):
    self.assertEqual(count(model, (1, 16, 16, 4)), parameters)

  def test_parameters_of_the_tensorflow_2_network(self):
    self.assertEqual(count(FAN(dense=(128, 64)), (1, 32, 32, 3)), 1_185_574)

  @parameterized.parameters(
    pipelines.UNet((4, 8)), pipelines.INet(), pipelines.DNet(layers=2, features=4)
  )
  def test_pipelines_double_the_size(self, model):
    developed, _ = jax.eval_shape(
      model.init_with_output, jax.random.key(0), jnp.zeros((2, 8, 12, 4))
    )
    chex.assert_shape(developed, (2, 16, 24, 3))

  def test_initial_inet_is_the_classical_pipeline(self):
    device = camera.CAMERAS["EOS-5D"]
    model = pipelines.INet(device.pattern, device.color_matrix)
    developed, _ = jax.jit(model.init_with_output)(jax.random.key(0), RAW)
    rgb = jax.jit(demosaic.bilinear, static_argnums=1)(RAW, device.pattern)
    linear = jnp.einsum("ij,...j->...i", jnp.array(device.color_matrix), rgb)
    # The fitted curve of tanh units is x^(1/2.2) within 0.01 but near black.
    bright = (linear > 0.05) & (linear < 1)
    difference = developed - jnp.where(bright, linear, 1.0) ** (1 / 2.2)
    self.assertLess(float(jnp.max(jnp.abs(jnp.where(bright, difference, 0)))), 0.02)

  def test_batch_norm_of_dnet_is_an_affine_map_with_constant_statistics(self):
    model = pipelines.FixedBatchNorm()
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 4))
    variables = model.init(jax.random.key(0), x)
    self.assertCountEqual(variables, ["params", "constants"])
    np.testing.assert_allclose(model.apply(variables, x), x / np.sqrt(1.001), rtol=1e-5)

  def test_forensic_network_ignores_brightness(self):
    model = FAN(filters=(4, 4), dense=(8,))
    logits, variables = jax.jit(model.init_with_output)(jax.random.key(0), 0.5 * IMAGES)
    chex.assert_shape(logits, (2, 5))
    brighter = jax.jit(model.apply)(variables, 0.5 * IMAGES + 0.25)
    np.testing.assert_allclose(brighter, logits, rtol=1e-2, atol=1e-2)

  def test_clipping_ends_the_gradient_or_lets_it_through(self):
    developed = jnp.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    for straight_through, expected in ((False, [0, 1, 1, 1, 0]), (True, [1] * 5)):
      clipped, pull = jax.vjp(
        lambda x, s=straight_through: pipelines.clip_developed(x, straight_through=s),
        developed,
      )
      np.testing.assert_allclose(clipped, [0, 0, 0.5, 1, 1], atol=1e-7)
      np.testing.assert_array_equal(pull(jnp.ones(5))[0], expected)

  def test_wrong_input_is_refused(self):
    with self.assertRaises(AssertionError):
      pipelines.INet().init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    with self.assertRaises(AssertionError):
      FAN().init(jax.random.key(0), jnp.zeros((1, 32, 32, 3), jnp.int32))


class ManipulationsTest(chex.TestCase):
  @parameterized.parameters("cvpr", "tf2")
  def test_versions_come_in_the_order_of_their_labels(self, age):
    versions = jax.jit(lambda x: manipulations.manipulate(x, age=age))(IMAGES)
    chex.assert_shape(versions, (10, 16, 16, 3))
    np.testing.assert_array_equal(manipulations.labels(2)[:4], [0, 0, 1, 1])
    by_name = dict(
      zip(manipulations.CLASSES[age], versions.reshape(5, 2, 16, 16, 3), strict=True)
    )
    np.testing.assert_array_equal(by_name["native"], IMAGES)
    coordinates = manipulations.COORDINATES[age]
    np.testing.assert_allclose(
      by_name["resample"],
      manipulations.resample(IMAGES, coordinates=coordinates),
      atol=1e-6,
    )
    self.assertTrue(np.all((versions >= 0) & (versions <= 1)))

  def test_kernels_of_both_ages_differ_little(self):
    kernel = manipulations.CVPR_GAUSSIAN
    self.assertLess(np.abs(kernel - gaussian_kernel(5, 0.83)).max(), 1.5e-3)
    np.testing.assert_allclose(
      manipulations.CVPR_SHARPENING,
      np.array([[-1, -4, -1], [-4, 26, -4], [-1, -4, -1]]) / 6,
      atol=1e-4,
    )
    self.assertAlmostEqual(manipulations.sharpening_kernel(1.5).sum(), 1.0)

  def test_sharpening_takes_the_saturation_of_another_pixel(self):
    # An image of one hue and value, so that only the saturation's shift shows.
    saturation = np.random.default_rng(2).random((1, 6, 6), np.float32)
    hue, value = np.full_like(saturation, 0.4), np.full_like(saturation, 0.5)
    colors = np.stack([hue, saturation, value], axis=-1)

    @jax.jit
    def sharp_saturation(colors):
      kernel = manipulations.sharpening_kernel(1.0)
      sharp = manipulations.sharpen(hsv.hsv_to_rgb(colors), kernel)
      return hsv.rgb_to_hsv(sharp)[0, :, :, 1]

    np.testing.assert_allclose(
      sharp_saturation(colors)[:-1, :-1], saturation[0, 1:, 1:], atol=1e-4
    )

  def test_sharpening_sends_a_gradient_only_when_asked(self):
    # Grey, black and white pixels are where the true gradient could be NaN.
    images = jnp.concatenate([IMAGES[:1], jnp.zeros((1, 16, 16, 3))])
    images = images.at[0, :8].set(0.5).at[0, :4].set(1.0)
    for stop_gradient in (True, False):
      energy = jax.grad(
        lambda x, s=stop_gradient: jnp.sum(
          manipulations.sharpen(x, manipulations.CVPR_SHARPENING, stop_gradient=s) ** 2
        )
      )
      gradient = jax.jit(energy)(images)
      chex.assert_tree_all_finite(gradient)
      self.assertEqual(bool(jnp.any(gradient != 0)), not stop_gradient)

  def test_resampling_at_cvpr_drops_every_second_pixel(self):
    resampled = manipulations.resample(IMAGES)
    np.testing.assert_allclose(resampled[:, ::2, ::2], IMAGES[:, ::2, ::2])

  def test_noise_and_gamma_round_to_8_bits(self):
    noisy = manipulations.noise(IMAGES, jax.random.key(0))
    np.testing.assert_allclose(255 * noisy, jnp.round(255 * noisy), atol=1e-4)
    self.assertAlmostEqual(
      float(jnp.std(noisy - IMAGES)), 5.1 / 255, delta=0.3 * 5.1 / 255
    )
    dark = manipulations.gamma(jnp.zeros((1, 2, 2, 3)))
    np.testing.assert_allclose(dark, np.full((1, 2, 2, 3), 255 ** (-1 / 3)), rtol=1e-6)

  def test_wrong_input_is_refused(self):
    with self.assertRaises(AssertionError):
      manipulations.median(jnp.zeros((2, 8, 8, 4)))
    with self.assertRaises(KeyError):
      manipulations.manipulate(IMAGES, age="tf3")


class ChannelTest(parameterized.TestCase):
  def test_halving(self):
    mean = IMAGES.reshape(2, 8, 2, 8, 2, 3).mean((2, 4))
    np.testing.assert_allclose(channel.halve(IMAGES), mean, atol=1e-6)
    np.testing.assert_array_equal(
      channel.halve(IMAGES, "bilinear"), IMAGES[:, ::2, ::2]
    )
    np.testing.assert_array_equal(channel.halve(IMAGES, "none"), IMAGES)
    with self.assertRaisesRegex(ValueError, "area"):
      channel.halve(IMAGES, "area")

  @parameterized.parameters("4:4:4", "4:2:2", "4:2:0")
  def test_libjpeg_keeps_constants_and_cuts_to_8_bits(self, subsampling):
    images = np.full((1, 16, 16, 3), 100.9 / 255, np.float32)
    compressed = channel.compress_with_libjpeg(images, 90, subsampling)
    np.testing.assert_allclose(255 * compressed, np.full_like(images, 100), atol=1.01)
    self.assertEqual(compressed.dtype, np.float32)


class LossesTest(parameterized.TestCase):
  LABELS = jnp.array([2, 0])

  def test_losses_of_a_certain_network(self):
    right = 100.0 * jax.nn.one_hot(self.LABELS, 5)
    np.testing.assert_allclose(losses.cross_entropy(right, self.LABELS), 0, atol=1e-6)
    np.testing.assert_allclose(
      losses.double_softmax_cross_entropy(right, self.LABELS),
      np.full(2, math.log(1 + 4 / math.e)),
      rtol=1e-6,
    )

  def test_clipped_loss_gives_up_on_hopeless_examples(self):
    wrong = 100.0 * jax.nn.one_hot(self.LABELS + 1, 5)

    @jax.jit
    def with_gradient(logits):
      loss, pull = jax.vjp(
        lambda x: losses.clipped_cross_entropy(x, self.LABELS), logits
      )
      return loss, *pull(jnp.ones(2))

    loss, gradient = with_gradient(wrong)
    np.testing.assert_allclose(loss, np.full(2, -math.log(1e-7)), rtol=1e-4)
    self.assertLess(np.max(np.abs(gradient)), 1e-6)

  def test_proper_and_clipped_loss_agree_otherwise(self):
    logits = jax.random.normal(jax.random.key(0), (2, 5))
    np.testing.assert_allclose(
      losses.clipped_cross_entropy(logits, self.LABELS),
      losses.cross_entropy(logits, self.LABELS),
      rtol=1e-5,
    )

  def test_fidelity_counts_in_8_bits(self):
    np.testing.assert_allclose(
      losses.fidelity(IMAGES + 2 / 255, IMAGES), 4.0, rtol=1e-4
    )


class PublishedTest(parameterized.TestCase):
  def published_dnet(self, *, statistics: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"conv_postupscale/kernel": (3, 3, 6, 8), "conv_postupscale/bias": (8,)}
    shapes["conv_final/kernel"] = (1, 1, 8, 3)
    for layer, (inputs, outputs) in enumerate([(4, 8), (8, 8), (8, 12)]):
      shapes[f"conv{layer}/kernel"] = (3, 3, inputs, outputs)
      shapes |= {f"bn{layer}/{leaf}": (outputs,) for leaf in ("gamma", "beta")}
      if statistics:
        shapes[f"bn{layer}/moving_mean"] = shapes[f"bn{layer}/moving_variance"] = (
          outputs,
        )
    return {
      f"dnet/{name}:0": rng.uniform(0.5, 1.5, shape).astype(np.float32)
      for name, shape in shapes.items()
    }

  def test_normalised_dnet_is_read_with_and_without_statistics(self):
    for statistics in (False, True):
      checkpoint = self.published_dnet(statistics=statistics)
      model, variables = published.dnet(checkpoint, "RGGB")
      self.assertEqual(model, pipelines.DNet("RGGB", 3, 8, normalize=True))
      expected = jax.eval_shape(model.init, jax.random.key(0), RAW)
      chex.assert_trees_all_equal_shapes(variables, dict(expected))
      bias = variables["params"]["bn1"]["bias"]
      np.testing.assert_array_equal(bias, checkpoint["dnet/bn1/beta:0"])
      variance = variables["constants"]["bn1"]["variance"]
      self.assertEqual(bool(np.all(variance == 1)), not statistics)

  def test_constant_kernel_tells_the_pattern(self):
    parameters = {
      "inet/upsampling/conv_h12/kernel": bayer.scatter_kernel("BGGR")[None, None],
      "inet/demosaicing/conv_demo/kernel": np.zeros((5, 5, 3, 3)),
      "inet/rgb2sRGB/conv_sRGB/kernel": np.zeros((1, 1, 3, 3)),
      "inet/gamma/conv_encode/kernel": np.zeros((1, 1, 3, 12)),
      "inet/gamma/conv_encode/bias": np.zeros(12),
      "inet/gamma/conv_decode/kernel": np.zeros((1, 1, 12, 3)),
      "inet/gamma/conv_decode/bias": np.zeros(3),
    }
    model, variables = published.inet(parameters)
    self.assertEqual(model.pattern, "BGGR")
    expected = jax.eval_shape(model.init, jax.random.key(0), RAW)
    chex.assert_trees_all_equal_shapes(variables, dict(expected))

  def test_unknown_variables_are_refused(self):
    checkpoint = self.published_dnet(statistics=False)
    with self.assertRaisesRegex(UserError, "conv1/step"):
      published.dnet({**checkpoint, "dnet/conv1/step": np.zeros(())})
    with self.assertRaisesRegex(UserError, "'predictions'"):
      published.fan({"fan/conv1/weights": np.zeros((5, 5, 3, 4))})
    with self.assertRaisesRegex(UserError, "2 layers named 'conv2d', not 5"):
      published.inet({"conv2d/kernel": RAW, "conv2d_1/kernel": RAW})


if __name__ == "__main__":
  absltest.main()
