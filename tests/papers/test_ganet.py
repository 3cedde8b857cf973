"""Tests of GA-Net's parts: networks, losses, data, files."""

import functools
import pathlib
import tempfile
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import fields, images
from jaxvision.errors import UserError
from jaxvision.ops.aggregation import normalize_weights
from jaxvision.ops.convolution import conv
from jaxvision.papers.ganet import (
  claims,
  dataset,
  evaluation,
  figures,
  losses,
  model,
  prediction,
  published,
  starts,
  stereo_data,
  training_free,
)
from jaxvision.papers.ganet.cost_aggregation import SGABlock, directional_weights
from jaxvision.papers.ganet.features import Features
from jaxvision.papers.ganet.guidance import Guidance
from jaxvision.papers.ganet.heads import upsample
from jaxvision.train import jit_once


@functools.cache
def shapes(**options):
  image = jax.ShapeDtypeStruct((1, 48, 96, 3), jnp.float32)
  net = model.GANet(**options)
  return net, jax.eval_shape(net.init, jax.random.key(0), image, image)


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


class NetworkTest(parameterized.TestCase):
  def test_parameters_of_the_authors_networks(self):
    _, variables = shapes(variant="11")
    self.assertEqual(count(variables["params"]), 4_483_728)
    _, variables = shapes(variant="deep")
    # deconv0b, which is in the authors' checkpoint but never called.
    never_called = 8 * 8 * 3 * 4 * 4 + 16 + 16 * 8 * 27 + 16
    self.assertEqual(count(variables["params"]) + never_called, 6_580_112)
    parts = {name: count(part) for name, part in variables["params"].items()}
    self.assertEqual(parts["feature"], 2_366_848)
    self.assertEqual(parts["guidance"], 2_385_312)
    self.assertEqual(parts["cost_agg"] + never_called, 1_794_976)

  @parameterized.parameters(*model.VARIANTS)
  def test_variants_have_as_many_convolutions_as_their_names_say(self, variant):
    _, variables = shapes(variant=variant)
    volumes = [
      leaf
      for leaf in jax.tree.leaves(variables["params"]["cost_agg"])
      if leaf.ndim == 5 and leaf.shape[-1] > 1
    ]
    self.assertLen(volumes, 22 if variant == "deep" else int(variant))
    sga = [n for n in variables["params"]["guidance"] if n.startswith("weight_sg")]
    shape = model.VARIANTS[variant]
    self.assertLen(sga, shape.outer_layers + shape.inner_layers)

  @parameterized.parameters("deep", "7", "2")
  def test_outputs_at_the_papers_size(self, variant):
    net, variables = shapes(variant=variant)
    views = jax.ShapeDtypeStruct((2, 240, 576, 3), jnp.float32)
    (disparity,) = jax.eval_shape(net.apply, variables, views, views)
    self.assertEqual(disparity.shape, (2, 240, 576))
    train = functools.partial(net.apply, train=True, mutable=["batch_stats"])
    disparities, _ = jax.eval_shape(train, variables, views, views)
    self.assertLen(disparities, model.VARIANTS[variant].heads)

  def test_without_guided_layers_nothing_guides(self):
    _, variables = shapes(variant="11", sga=False, lga=False)
    self.assertNotIn("weight_sg1", variables["params"].get("guidance", {}))
    self.assertNotIn("weight_lg1_0", variables["params"].get("guidance", {}))

  def test_features_without_hourglasses_are_local(self):
    features = Features(4, hourglasses=0)
    image = np.zeros((1, 48, 96, 3), np.float32)
    other = image.copy()
    other[:, :, 48:] = 1
    variables = features.init(jax.random.key(0), image, train=False)
    a, b = (features.apply(variables, x, train=False) for x in (image, other))
    chex.assert_shape(a, (1, 16, 32, 4))
    np.testing.assert_array_equal(a[:, :, :13], b[:, :, :13])
    self.assertGreater(float(jnp.abs(a - b)[:, :, 16:].max()), 0)

  def test_sizes_that_do_not_divide_are_refused(self):
    net = model.GANet()
    view = jax.ShapeDtypeStruct((1, 50, 96, 3), jnp.float32)
    with self.assertRaisesRegex(ValueError, "multiples of 48"):
      jax.eval_shape(net.init, jax.random.key(0), view, view)
    with self.assertRaisesRegex(ValueError, "max_disp 100"):
      shapes(max_disp=100)

  def test_guided_weights_have_sum_of_absolute_values_one(self):
    raw = np.random.default_rng(0).standard_normal((1, 3, 4, 40)).astype(np.float32)
    weights = directional_weights(jnp.asarray(raw))
    chex.assert_shape(weights, (1, 3, 4, 4, 5, 2))
    np.testing.assert_allclose(jnp.abs(weights).sum(-2), 1, rtol=1e-5)
    # Channel 1 of the second direction, term 3: 10 + 5 + 3.
    ratio = weights[..., 1, 3, 1] / weights[..., 1, 0, 1]
    np.testing.assert_allclose(ratio, raw[..., 18] / raw[..., 15], rtol=1e-4)

  def test_guided_layers_lean_to_a_plain_start(self):
    image = np.random.default_rng(0).standard_normal((1, 24, 24, 8), np.float32)
    means = []
    for lean in (0.0, 30.0):
      net = Guidance(2, 0, True, 4, lean=lean)
      start = jit_once(functools.partial(net.init_with_output, train=True))
      weights, _ = start(jax.random.key(0), image)
      path = jnp.mean(directional_weights(weights["sg2"])[:, 2:-2, 2:-2], (0, 1, 2))
      first = jnp.mean(directional_weights(weights["sg1"])[..., 0, :])
      window = normalize_weights(weights["lg1"][:, 2:-2, 2:-2], axis=-1)
      means.append((path, jnp.mean(window, (0, 1, 2))))
    (random, scattered), (path, window) = means
    self.assertLess(float(jnp.abs(jnp.mean(random, (0, 2))).max()), 0.25)
    self.assertLess(float(jnp.abs(scattered).max()), 0.1)
    expected = np.broadcast_to([[0.25], [0.55], [0.1], [0.1], [0]], path.shape)
    np.testing.assert_allclose(path, expected, atol=0.08)
    self.assertGreater(float(first), 0.7)
    self.assertEqual(int(jnp.argmax(window)), 37)  # d, the pixel itself
    self.assertGreater(float(window[37]), 0.85)

  def test_volumes_start_as_differences(self):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((1, 3, 5, 6, 4)).astype(np.float32)
    kernel = starts.difference(jax.random.key(0), (3, 3, 3, 8, 4))
    both = np.concatenate([features, features], axis=-1)
    np.testing.assert_allclose(conv(both, kernel), 0, atol=1e-5)
    half = np.concatenate([0 * features, features], axis=-1)
    self.assertGreater(float(jnp.std(conv(half, kernel))), 0.5)
    same = conv(features, starts.identity(None, (3, 3, 3, 4, 4)))
    np.testing.assert_allclose(same, features, rtol=1e-6)

  def test_sga_changes_far_pixels_and_its_absence_near_ones_only(self):
    volume = np.zeros((1, 3, 1, 24, 2), np.float32)
    other = volume.copy()
    other[:, :, :, 0] = 5.0
    weights = np.tile(np.array([0.1, 0.9, 0, 0, 0], np.float32), (1, 1, 24, 8))
    for sga, reaches in ((True, True), (False, False)):
      block = SGABlock(sga=sga)
      variables = block.init(jax.random.key(0), volume, weights, train=False)
      a, b = (block.apply(variables, v, weights, train=False) for v in (volume, other))
      self.assertEqual(bool(np.abs(a - b)[:, :, :, 10:].max() > 1e-3), reaches)

  def test_upsampling_keeps_planes(self):
    d, y, x = np.mgrid[:5, :4, :6].astype(np.float32)
    found = upsample(jnp.asarray(d + 2 * y - x)[None], 13)[0]
    self.assertEqual(found.shape, (13, 12, 18))
    centre = (np.arange(18) + 0.5) / 3 - 0.5
    row = 2 * ((6 + 0.5) / 3 - 0.5) - centre + ((6 + 0.5) * 5 / 13 - 0.5)
    np.testing.assert_allclose(found[6, 6, 1:-1], row[1:-1], atol=1e-5)


class PublishedTest(absltest.TestCase):
  def weights(self):
    _, variables = shapes(variant="11")
    flat = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
      names = [key.key for key in path]
      name = published._authors_name(names[1:])
      array = np.zeros(leaf.shape, np.float32)
      if names[-1] == "kernel":
        back = (-2, -1) if "deconv" in name and ".conv1." in name else (-1, -2)
        array = np.moveaxis(array, back, (0, 1))
      flat[f"module.{name}"] = array
    return flat

  def test_every_key_is_used(self):
    weights = self.weights()
    weights["module.cost_agg.sga1.conv_refine.bn.num_batches_tracked"] = np.array(3)
    net, _ = published.convert(weights)
    self.assertEqual(net.variant, "11")
    weights["module.surprise"] = np.zeros(3)
    with self.assertRaisesRegex(UserError, "never used surprise"):
      published.convert(weights)

  def test_missing_and_misshapen_weights_are_named(self):
    weights = self.weights()
    name = "module.guidance.conv0.conv.weight"
    weights[name] = weights[name][:, :3]
    with self.assertRaisesRegex(UserError, "guidance.conv0.conv.weight has shape"):
      published.convert(weights)
    del weights[name]
    with self.assertRaisesRegex(UserError, "lacks guidance.conv0.conv.weight"):
      published.convert(weights)


class LossTest(absltest.TestCase):
  def test_closed_forms_and_continuity(self):
    np.testing.assert_allclose(losses.smooth_l1(jnp.array([0.5, -2.0])), [0.125, 1.5])
    errors = jnp.array([1.5, 3.0, 4.0, 5.0, -7.0])
    expected = [0.75, 3.0, 4.75, 6.0, 8.0]
    np.testing.assert_allclose(losses.threshold_loss(errors), expected, rtol=1e-6)
    slope = jax.vmap(jax.grad(losses.threshold_loss))(jnp.array([1.5, 4.0, 6.0, -6.0]))
    np.testing.assert_allclose(slope, [1, 1.5, 1, -1], rtol=1e-6)

  def test_authors_form_has_their_slopes(self):
    errors = jnp.array([1.5, 4.0, 4.9, 6.0])
    slope = jax.vmap(jax.grad(losses.authors_threshold_loss))(errors)
    np.testing.assert_allclose(slope, [1, 1, 0.7, 2 / 3], rtol=1e-5)
    difference = losses.authors_threshold_loss(errors) - losses.threshold_loss(errors)
    np.testing.assert_allclose(difference, [0, 0, 1, 0], atol=1e-6)

  def test_invalid_pixels_do_not_count(self):
    truth = jnp.array([[[1.0, losses.INVALID], [2.0, jnp.inf]]])
    disparity = jnp.array([[[2.0, 5.0], [2.0, 5.0]]])
    loss = functools.partial(losses.disparity_loss, truth=truth, max_disp=192)
    value, gradient = jax.value_and_grad(lambda d: loss([d]))(disparity)
    np.testing.assert_allclose(value, 0.25)
    np.testing.assert_allclose(gradient, [[[0.5, 0], [0, 0]]])
    np.testing.assert_allclose(loss([disparity] * 3), 0.25 * 1.8, rtol=1e-6)
    np.testing.assert_allclose(loss([disparity] * 2), 0.25 * 1.6, rtol=1e-6)
    nothing = losses.disparity_loss([disparity], jnp.full_like(truth, 1000.0), 192)
    self.assertEqual(float(nothing), 0)


class StereoDataTest(absltest.TestCase):
  def pair(self, height=60, width=90):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    left = np.stack([x, y, x + y], -1)
    # Every right pixel is worth what the left one 4 pixels to its right is.
    return {
      "left": left,
      "right": left + np.array([4, 0, 4]),
      "disparity": np.full((height, width), 4.0, np.float32),
    }

  def test_normalised_views_have_mean_0_and_deviation_1(self):
    view = np.random.default_rng(0).integers(0, 255, (9, 11, 3)).astype(np.uint8)
    view[..., 2] = 7
    normal = stereo_data.normalize(view)
    np.testing.assert_allclose(normal.mean((0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(normal.std((0, 1)), [1, 1, 0], atol=1e-5)

  def test_shifted_crops_stay_consistent(self):
    shifts = set()
    for seed in range(20):
      rng = np.random.default_rng(seed)
      crop = stereo_data.crop(self.pair(), rng, (48, 48), 3)
      shape = [array.shape[:2] for array in crop.values()]
      self.assertEqual(set(shape), {(48, 48)})
      d = int(crop["disparity"][0, 0])
      shifts.add(4 - d)
      if d > 0:
        left, right = crop["left"][:, d:], crop["right"][:, : 48 - d]
        np.testing.assert_allclose(left, right)
    self.assertLessEqual(max(map(abs, shifts)), 3)
    self.assertGreater(len(shifts), 3)

  def test_small_pairs_are_padded_at_the_top_and_left(self):
    crop = stereo_data.crop(self.pair(40, 44), np.random.default_rng(0), (48, 48), 3)
    self.assertTrue((crop["disparity"][:8] == losses.INVALID).all())
    self.assertTrue((crop["left"][:, :4] == 0).all())
    np.testing.assert_array_equal(crop["disparity"][8:, 4:], 4)

  def test_predictions_have_the_size_of_the_views(self):
    seen = []

    def forward(left, right):
      seen.append(left.shape)
      return left[..., 0] + 0 * right[..., 0]

    views = np.random.default_rng(0).random((2, 50, 70, 3))
    disparity = prediction.disparity_of(forward, *views)
    self.assertEqual(seen, [(1, 96, 96, 3)])
    expected = stereo_data.normalize(views[0])[..., 0]
    np.testing.assert_allclose(disparity, expected, rtol=1e-6)


class FilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def write_view(self, name, height=6, width=8):
    path = self.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name))
    images.write_png(path, rng.integers(0, 255, (height, width, 3)).astype(np.uint8))
    return path

  def test_scene_flow_is_read_as_it_is_distributed(self):
    truth = np.arange(48, dtype=np.float32).reshape(6, 8)
    for split in ("TRAIN", "TEST"):
      for view in ("left", "right"):
        self.write_view(f"frames_finalpass/{split}/A/0000/{view}/0006.png")
      disparity = self.folder / f"disparity/{split}/A/0000/left"
      disparity.mkdir(parents=True)
      fields.write_pfm(disparity / "0006.pfm", truth)
    pairs = dataset.pairs(
      "SceneFlow", "test", self.folder / "built", manual_dir=self.folder
    )
    self.assertLen(pairs, 1)
    np.testing.assert_array_equal(pairs[0]["disparity"], truth)
    np.testing.assert_allclose(pairs[0]["left"].mean((0, 1)), 0, atol=1e-5)

  def test_kitti_is_read_as_it_is_distributed(self):
    disparity = np.full((6, 8), 12.5, np.float32)
    valid = np.arange(48).reshape(6, 8) % 3 > 0
    for number in range(6):
      for view in ("image_2", "image_3"):
        self.write_view(f"training/{view}/{number:06d}_10.png")
      for name in ("disp_occ_0", "disp_noc_0"):
        folder = self.folder / "training" / name
        folder.mkdir(exist_ok=True)
        fields.write_kitti_disparity(folder / f"{number:06d}_10.png", disparity, valid)
    load = functools.partial(
      dataset.pairs, "KITTI2015", data_dir=self.folder / "built", manual_dir=self.folder
    )
    self.assertLen(load("train"), 5)
    self.assertLen(load("test"), 1)
    pair = load("test")[0]
    np.testing.assert_array_equal(pair["visible"], valid)
    np.testing.assert_array_equal(pair["disparity"][valid], 12.5)
    np.testing.assert_array_equal(pair["disparity"][~valid], losses.INVALID)

  def test_missing_files_are_listed(self):
    with self.assertRaisesRegex(UserError, "training/colored_0"):
      dataset.pairs("KITTI2012", "train", self.folder / "built", manual_dir=self.folder)

  def test_bad_inputs_name_themselves(self):
    left, right = self.write_view("l.png"), self.write_view("r.png", 6, 9)
    with self.assertRaisesRegex(UserError, "r.png: .* one size, not 6x8x?.* and 6x9"):
      prediction.read_pairs([left, right])
    with self.assertRaisesRegex(UserError, "not 1 files"):
      prediction.read_pairs([left])
    with self.assertRaisesRegex(UserError, "gone.png"):
      prediction.read_pairs([left, self.folder / "gone.png"])

  def test_predictions_are_written_in_all_formats(self):
    disparity = np.array([[1.5, 30.0], [np.nan, -2.0]], np.float32)
    prediction.write(self.folder, "view", disparity, 32)
    read, valid = fields.read_kitti_disparity(self.folder / "view.png")
    np.testing.assert_array_equal(valid, [[True, True], [False, True]])
    np.testing.assert_array_equal(read[0], [1.5, 30.0])
    np.testing.assert_array_equal(fields.read_pfm(self.folder / "view.pfm"), disparity)
    color = images.read_rgb(self.folder / "view-color.png")
    np.testing.assert_array_equal(color[1, 0], 0)


class EvaluationTest(absltest.TestCase):
  def test_strata_and_fractional_errors(self):
    truth = np.full((2, 2, 3), 5.25, np.float32)
    ours = truth + np.array([0.1, -0.2, 3.0], np.float32)
    edge = np.zeros(truth.shape, bool)
    edge[..., 2] = True
    pairs = {"disparity": truth, "edge": edge, "occluded": np.zeros_like(edge)}
    with warnings.catch_warnings():
      warnings.simplefilter("error")  # of means of what no image has
      row = evaluation.measure(ours, pairs, 24)
    self.assertAlmostEqual(row["EPE"], 1.1, places=5)
    self.assertAlmostEqual(row["EPE edge"], 3.0, places=5)
    self.assertAlmostEqual(row["> 1 px"], 1 / 3, places=5)
    self.assertTrue(np.isnan(row["EPE occluded"]))
    errors = evaluation.fractional_errors(ours, np.round(truth), pairs)
    np.testing.assert_allclose(errors, [0.15, 0.25], rtol=1e-5)

  def test_classical_matching_finds_a_plane(self):
    rng = np.random.default_rng(0)
    left = rng.random((1, 12, 40, 3)).astype(np.float32)
    pairs = {"left": left, "right": np.roll(left, -5, axis=2)}
    found = evaluation.classical(pairs, 12)
    np.testing.assert_array_equal(found[:, :, 12:-6], 5)

  def test_batches_are_filled_up(self):
    pairs = {name: np.random.default_rng(0).random((3, 4, 5, 3)) for name in "ab"}
    pairs = {"left": pairs["a"], "right": pairs["b"]}
    found = evaluation.predict_all(lambda left, right: left[..., 0], pairs, 2)
    self.assertEqual(found.shape, (3, 4, 5))

  def test_box_and_edge_weights(self):
    scores = jnp.zeros((1, 5, 7, 7)).at[0, 2, 3, 3].set(75.0)
    means = training_free.box(scores)
    np.testing.assert_allclose(means[0, 1:4, 1:6, 1:6], 1, rtol=1e-6)
    np.testing.assert_allclose(means.sum(), 75, rtol=1e-6)
    image = np.zeros((1, 2, 6, 3), np.float32)
    image[:, :, 3:] = 1
    weights = np.asarray(training_free.edge_weights(jnp.asarray(image)))
    np.testing.assert_allclose(weights.sum(-2), 1, rtol=1e-5)
    right = weights[0, 0, :, 2, 0, 0]
    self.assertGreater(right[3], 0.99)  # the path starts anew at the edge
    self.assertLess(right[2], 0.2)

  def test_texture_is_what_changes_along_a_row(self):
    image = np.full((6, 12, 3), 0.5, np.float32)
    image[::2] += 0.1  # lines along rows tell nothing about disparities
    self.assertTrue(training_free.textureless(image).all())
    image[:, 8:, :] += 0.02
    flat = training_free.textureless(image)
    self.assertTrue(flat[:, :6].all() and flat[:, 9:].all())
    self.assertFalse(flat[:, 6:9].any())

  def test_errors_without_learning_count_where_the_truth_is_known(self):
    pair = {
      "disparity": np.array([[2.0, 2.0, 2.0, np.inf]]),
      "textureless": np.array([[True, True, False, True]]),
    }
    rates = training_free.wrong_rates(np.array([[0.5, 2.9, 9.0, 0.0]]), pair)
    self.assertEqual(rates, {"all": 2 / 3, "textureless": 0.5})

  def test_properties_hold(self):
    for name, (ours, bound) in claims.properties().items():
      self.assertLess(ours, bound, name)

  def test_colours_mark_the_unknown(self):
    shown = figures.colored(np.array([[0.0, np.inf]]), 24)
    self.assertEqual(shown.dtype, np.uint8)
    np.testing.assert_array_equal(shown[0, 1], 0)
    self.assertGreater(int(shown[0, 0].max()), 0)


if __name__ == "__main__":
  absltest.main()
