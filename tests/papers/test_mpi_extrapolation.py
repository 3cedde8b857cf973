"""Tests of the prediction of multiplane images, its theory and its measures."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.errors import UserError
from jaxvision.nn.vgg import VGG19
from jaxvision.ops import mpi
from jaxvision.papers.mpi_extrapolation import (
  baselines,
  evaluation,
  losses,
  metrics,
  model,
  networks,
  published,
  theory,
  training,
)


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes_of(module, *shape):
  return jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))["params"]


def flat_names(params):
  leaves = jax.tree_util.tree_leaves_with_path(params)
  return {"/".join(key.key for key in path): leaf for path, leaf in leaves}


class NetworksTest(parameterized.TestCase):
  def test_paper_sizes(self):
    volume = (1, 32, 48, 16, 7)
    params = shapes_of(model.Extrapolator(), *volume)
    self.assertEqual(len(flat_names(params)), 54 + 46)
    self.assertEqual(count(params), 5_894_359)
    self.assertEqual(params["initial"]["up_0_conv_0"]["kernel"].shape[-2:], (192, 64))
    self.assertEqual(params["refine"]["conv_0"]["kernel"].shape[-2:], (9, 9))
    original = shapes_of(baselines.StereoMagnification(), 1, 32, 48, 32, 7)
    self.assertEqual(original["conv1_1"]["kernel"].shape, (3, 3, 99, 64))
    self.assertEqual(original["color_pred"]["kernel"].shape, (1, 1, 64, 67))

  @parameterized.parameters((5, 7), (8, 6), (1, 9))
  def test_any_height_and_width(self, height, width):
    network = networks.VolumeUNet(4, (2, 2, 2), (2,))
    output = jax.eval_shape(
      lambda x: network.init_with_output(jax.random.key(0), x)[0],
      jnp.zeros((1, height, width, 8, 3)),
    )
    self.assertEqual(output.shape, (1, height, width, 8, 4))

  def test_planes_that_do_not_divide_are_refused(self):
    with self.assertRaisesRegex(ValueError, "10 planes"):
      shapes_of(networks.VolumeUNet(4, (2, 2, 2)), 1, 8, 8, 10, 3)

  def test_the_flat_network_pads_and_crops(self):
    network = baselines.StereoMagnification(2)
    output = jax.eval_shape(
      lambda x: network.init_with_output(jax.random.key(0), x)[0],
      jnp.zeros((1, 11, 13, 4, 7)),
    )
    self.assertEqual(output.shape, (1, 11, 13, 4, 4))

  def test_the_flat_network_mixes_reference_and_background(self):
    network = baselines.StereoMagnification(2)
    volume = jax.random.uniform(jax.random.key(1), (1, 8, 8, 4, 7), minval=-1)
    volume = volume.at[..., 3:6].set(volume[:, :, :, :1, 3:6])
    shape = jax.ShapeDtypeStruct(volume.shape, volume.dtype)
    params = training.initial_params(network, jax.random.key(2), shape)
    head = params["color_pred"]
    head["kernel"] = jnp.zeros_like(head["kernel"])
    # All of the reference on the first plane, none on the second; background 0.5.
    bias = jnp.zeros_like(head["bias"]).at[0].set(9.0).at[1].set(-9.0)
    head["bias"] = bias.at[-3:].set(jnp.arctanh(0.5))
    layers = jax.jit(network.apply)({"params": params}, volume)
    np.testing.assert_allclose(
      layers[:, :, :, 0, :3], volume[:, :, :, 0, 3:6], atol=1e-4
    )
    np.testing.assert_allclose(layers[:, :, :, 1, :3], 0.5, atol=1e-4)
    np.testing.assert_allclose(layers[..., 3], 0.5, atol=1e-4)


class ModelTest(chex.TestCase):
  def test_visible_by_hand(self):
    layers = np.zeros((1, 1, 1, 3, 4), np.float32)
    layers[0, 0, 0] = [[1, 0, 0, 1.0], [0, 1, 0, 0.5], [0, 0, 1, 0.25]]
    seen, behind = model.visible(jnp.asarray(layers))
    weights = np.array([0.375, 0.375, 0.25])
    np.testing.assert_allclose(seen[0, 0, 0, :, 7], weights, atol=1e-6)
    np.testing.assert_allclose(seen[0, 0, 0, :, 6], weights * [1, 0.5, 0.25], atol=1e-6)
    np.testing.assert_allclose(seen[0, 0, 0, :, 8], [0, 0.5, 1])
    expected = np.cumsum(np.diag(weights), axis=0)
    np.testing.assert_allclose(behind[0, 0, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(seen[..., 3:6], behind)

  def test_no_gradient_passes_from_the_refined_planes(self):
    network = model.Extrapolator((2,), ())
    volume = jax.random.normal(jax.random.key(0), (1, 4, 5, 3, 7))
    shape = jax.ShapeDtypeStruct(volume.shape, volume.dtype)
    params = training.initial_params(network, jax.random.key(1), shape)

    @jax.jit
    @jax.grad
    def gradient(params):
      return jnp.sum(jnp.square(network.apply({"params": params}, volume).refined))

    found = gradient(params)
    self.assertEqual(max(np.abs(x).max() for x in jax.tree.leaves(found["initial"])), 0)
    self.assertGreater(np.abs(found["refine"]["conv_0"]["kernel"]).max(), 0)

  @settings(max_examples=8, deadline=None)
  @given(st.integers(0, 2**20))
  def test_every_gathered_colour_is_a_bilinear_mean_of_its_plane(self, seed):
    rng = np.random.default_rng(seed)
    source = rng.uniform(-1, 1, (1, 4, 5, 2, 3)).astype(np.float32)
    flow = rng.uniform(-3, 3, (1, 4, 5, 2, 2)).astype(np.float32)
    gathered = GATHER(source, flow)
    padded = np.pad(source, ((0, 0), (0, 2), (0, 2), (0, 0), (0, 0)))
    y, x, k = (int(rng.integers(n)) for n in (4, 5, 2))
    v, u = np.clip(np.array([y, x]) + flow[0, y, x, k], 0, [4, 5])
    top, left = int(v), int(u)
    down, right = v - top, u - left
    corners = padded[0, top : top + 2, left : left + 2, k]
    weights = np.outer([1 - down, down], [1 - right, right])
    expected = np.tensordot(weights, corners, 2)
    np.testing.assert_allclose(gathered[0, y, x, k], expected, atol=1e-5)

  def test_the_flow_has_no_gradient_beyond_the_clip(self):
    source = jnp.ones((1, 3, 3, 1, 1)) * jnp.arange(3.0)[:, None, None]
    flow = jnp.zeros((1, 3, 3, 1, 2)).at[0, 0, 0, 0].set(jnp.array([0.0, -2.0]))
    gradient = jax.jit(jax.grad(lambda f: jnp.sum(model.flow_gather(source, f))))(flow)
    np.testing.assert_array_equal(gradient[0, 0, 0, 0, 1], 0.0)
    np.testing.assert_allclose(gradient[0, 0, 1, 0, 1], 1.0)

  def test_planes_behind_a_card_do_not_know_its_colour(self):
    self.assertLess(evaluation.leak(), 1e-6)

  def test_patches_of_a_local_function_make_the_whole(self):
    volume = jax.random.normal(jax.random.key(3), (1, 7, 10, 2, 1))

    def blur(x):  # reaches one pixel
      padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0)))
      return padded[:, 2:, 1:-1] + padded[:, :-2, 1:-1] + padded[:, 1:-1, :-2]

    whole = blur(volume)
    patched = model.predict_in_patches(blur, volume, (6, 5), (4, 3))
    np.testing.assert_allclose(patched, whole, atol=1e-6)
    with self.assertRaisesRegex(ValueError, "patches"):
      model.predict_in_patches(blur, volume, (4, 4), (5, 4))
    with self.assertRaisesRegex(ValueError, "patches"):
      model.predict_in_patches(blur, volume, (5, 5), (4, 4))


GATHER = jax.jit(model.flow_gather)


class LossesTest(absltest.TestCase):
  def test_pixels_by_hand(self):
    target = jnp.full((1, 2, 2, 3), 0.5)
    rendered = jnp.full((1, 2, 2, 3), 0.2)  # 0.6
    mask = jnp.array([1.0, 1.0, 0.0, 0.0]).reshape(1, 2, 2, 1)
    parts = losses.view_loss(None, rendered, target, mask)
    np.testing.assert_allclose(parts, [0.1 * 255 / 2], rtol=1e-4)

  def test_structure_is_what_similarity_lacks(self):
    target = jnp.asarray(np.random.default_rng(0).random((1, 9, 8, 3), np.float32))
    mask = jnp.ones((1, 9, 8, 1)).at[:, :, 4:].set(0.0)
    loss = jax.jit(lambda view: losses.view_loss(None, view, target, mask, 10.0))
    np.testing.assert_allclose(loss(2 * target - 1), 0.0, atol=1e-4)
    grey = loss(jnp.zeros_like(target))[1]
    # Flat windows have no structure in common: 1 at the 2 of 4 columns that count.
    self.assertBetween(float(grey), 4.5, 5.0)
    self.assertGreater(float(loss(1 - 2 * target)[1]), 5.0)  # inverted is worse


class TheoryTest(absltest.TestCase):
  def test_range_is_one_pixel_between_planes(self):
    depths = mpi.plane_depths(1.0, 10.0, 10)
    step = float(1 / depths[1] - 1 / depths[0])
    bound = theory.renderable_range(1 / 50, step, 1.0)
    moves = 50 * bound / np.asarray(depths)
    np.testing.assert_allclose(np.diff(moves), 1.0, rtol=1e-4)
    back = theory.renderable_range(1 / 50, step, 1.0, -1.0)
    self.assertAlmostEqual(back, 2 * bound)
    for arguments in ((0.0, step, 1.0), (0.02, -step, 1.0), (0.02, step, 1.0, 0.5)):
      with self.assertRaises(ValueError):
        theory.renderable_range(*arguments)

  def test_exact_planes_show_their_own_view_exactly(self):
    image = jax.random.uniform(jax.random.key(0), (1, 6, 8, 3), minval=-1)
    depth = jnp.linspace(1.0, 9.0, 8) * jnp.ones((1, 6, 1))
    layers = jax.jit(theory.oracle_layers)(image, depth, mpi.plane_depths(1.0, 9.0, 5))
    np.testing.assert_allclose(mpi.over_composite(layers), image, atol=1e-6)

  def test_reach_interpolates(self):
    curve = {"shift": np.array([1.0, 2.0, 3.0]), "psnr": np.array([40.0, 30.0, 20.0])}
    self.assertAlmostEqual(evaluation.reach(curve, 25.0), 2.5)
    self.assertEqual(evaluation.reach(curve, 10.0), 3.0)
    self.assertEqual(evaluation.reach(curve, 50.0), 1.0)


class MetricsTest(absltest.TestCase):
  def test_masks_choose_what_counts(self):
    target = jax.random.uniform(jax.random.key(0), (1, 20, 24, 3))
    rendered = target.at[:, :, 12:].set(0.5)
    left = jnp.zeros((1, 20, 24, 1), bool).at[:, :, :9].set(True)
    similarity = jax.jit(metrics.masked_ssim)
    np.testing.assert_allclose(similarity(rendered, target, left), 1.0, atol=1e-5)
    self.assertLess(similarity(rendered, target, ~left)[0], 0.6)
    self.assertTrue(np.isnan(similarity(rendered, target, left & False)[0]))

  def test_flat_images_are_less_natural(self):
    target = jax.random.uniform(jax.random.key(1), (1, 10, 10, 3))
    mask = jnp.ones((1, 10, 10, 1), bool)
    naturalness = jax.jit(metrics.naturalness)
    flat = naturalness(jnp.full_like(target, 0.5), target, mask)
    turned = naturalness(target[:, ::-1], target, mask)
    self.assertGreater(turned[0], flat[0] + 1)
    mean = metrics.gradient_magnitude(target[0]).mean()
    np.testing.assert_allclose(flat[0], -np.log(mean), rtol=1e-4)
    self.assertTrue(np.isnan(naturalness(target, target, mask & False)[0]))

  def test_holes_are_filled_from_around_them(self):
    image = jnp.linspace(0, 1, 12)[None, None, :, None] * jnp.ones((1, 9, 1, 3))
    hidden = jnp.zeros((1, 9, 12, 1)).at[:, 3:6, 4:7].set(1.0)
    filled = jax.jit(baselines.inpaint)(image * (1 - hidden), hidden)
    np.testing.assert_allclose(filled, image, atol=1e-3)


class PublishedTest(absltest.TestCase):
  def test_every_name_of_the_checkpoint_is_taken(self):
    params = shapes_of(model.Extrapolator(), 1, 16, 16, 16, 7)
    weights = {}
    for scope, part in (("ed_3d_net", "initial"), ("refine_net", "refine")):
      for name, leaf in flat_names(params[part]).items():
        layer, kind = name.split("/")
        if layer.startswith("up_"):
          _, step, _, index = layer.split("_")
          theirs = f"up_block{step}/conv3d" + ("_1" if index == "1" else "")
        else:
          last = {"initial": 18, "refine": 14}[part]
          number = last if layer == "head" else int(layer.removeprefix("conv_"))
          theirs = f"conv3d_{number}" if number else "conv3d"
        value = np.random.default_rng(len(weights)).random(leaf.shape, np.float32)
        weights[f"{scope}/{theirs}/{kind}"] = value
    weights["ed_3d_net/conv3d/kernel/Adam"] = np.zeros(1)
    weights["global_step"] = weights["beta1_power"] = np.zeros(())
    found = published.extrapolator(weights)["params"]
    chex.assert_trees_all_equal_shapes(found, params)
    np.testing.assert_array_equal(
      found["initial"]["head"]["kernel"], weights["ed_3d_net/conv3d_18/kernel"]
    )
    with self.assertRaisesRegex(UserError, "never used other"):
      published.extrapolator(weights | {"other": np.zeros(1)})
    weights.pop("refine_net/up_block2/conv3d/bias")
    with self.assertRaisesRegex(UserError, "up_block2"):
      published.extrapolator(weights)

  def test_stereo_magnification(self):
    params = shapes_of(baselines.StereoMagnification(), 1, 8, 8, 32, 7)
    weights = {}
    for name, leaf in flat_names(params).items():
      layer, kind = name.split("/")
      shape = leaf.shape
      if layer == "color_pred":
        theirs = {"kernel": "weights", "bias": "biases"}[kind]
      elif layer.endswith("_norm"):
        layer = layer.removesuffix("_norm")
        theirs = {"scale": "LayerNorm/gamma", "bias": "LayerNorm/beta"}[kind]
      else:
        theirs = "weights"
        if shape[0] == 4:
          shape = (*shape[:2], shape[3], shape[2])
      weights[f"net/{layer}/{theirs}"] = np.zeros(shape, np.float32)
    found = published.stereo_magnification(weights)["params"]
    chex.assert_trees_all_equal_shapes(found, params)

  def test_vgg19_of_matconvnet(self):
    weights, inputs, index = {}, 3, 0
    for stage in VGG19:
      for width in stage:
        weights[f"layers.{index}.weights.0"] = np.zeros((3, 3, inputs, width))
        weights[f"layers.{index}.weights.1"] = np.full((1, width), index)
        inputs, index = width, index + 2
      index += 1
    params = published.vgg19(weights)["params"]
    self.assertEqual(params["conv5_2"]["kernel"].shape, (3, 3, 512, 512))
    np.testing.assert_array_equal(params["conv2_1"]["bias"], 5)
    with self.assertRaisesRegex(UserError, "0 convolutions"):
      published.vgg19({})


if __name__ == "__main__":
  absltest.main()
