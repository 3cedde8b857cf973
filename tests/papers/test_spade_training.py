"""Tests of spade's training step, its rates, scores and judging segmenter."""

import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest
from etils import epath

from jaxvision.nn.unet import UNet
from jaxvision.papers.spade import (
  claims,
  data,
  evaluation,
  metrics,
  preprocessing,
  segmenter,
  training,
  variants,
)
from jaxvision.papers.spade.discriminator import Discriminator
from jaxvision.papers.spade.encoder import StyleEncoder
from jaxvision.papers.spade.generator import Generator
from jaxvision.papers.spade.pix2pixhd import Pix2PixHDGenerator
from jaxvision.train import fit, jit_once
from tests.papers.spade_networks import KEY, filled


class RecordingRun:
  """As much of a Run as `fit` uses."""

  is_main = True

  def __init__(self, workdir):
    self.workdir = epath.Path(workdir)
    self.recorded = {}

  def log(self, message):
    pass

  def scalars(self, stage, step, values):
    self.recorded |= values


def _numbers(state):
  return state.replace(rng=jax.random.key_data(state.rng))


class TrainingTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    # SPADE, batch statistics and spectral norms in one layer: quick to compile.
    cls.networks = training.Networks(
      Pix2PixHDGenerator(2, 0, 0, kind="spade", norm="sync_batch"),
      Discriminator(1, 2, 2),
      num_classes=3,
    )
    rng = np.random.default_rng(0)
    cls.batch = {
      "labels": rng.integers(3, size=(2, 8, 8)).astype(np.int32),
      "images": rng.random((2, 8, 8, 3)).astype(np.float32),
    }
    optimizers = training.two_time_scales()
    cls.before = jit_once(
      lambda: training.init(cls.networks, KEY, cls.batch, optimizers)
    )()
    cls.step = staticmethod(
      training.make_step(cls.networks, training.Objective(), optimizers)
    )
    cls.kept = RecordingRun(cls.enterClassContext(tempfile.TemporaryDirectory()))
    cls.after = cls.learn(cls.kept, 1)
    cls.metrics = dict(cls.kept.recorded)

  @classmethod
  def learn(cls, run, steps):
    batches = [cls.batch, jax.tree.map(lambda leaf: leaf[::-1], cls.batch)]
    return fit(run, "spade", cls.before, cls.step, lambda i: batches[i], steps)

  def test_training_that_was_stopped_ends_with_the_same_bits(self):
    resumed = self.learn(self.kept, 2)  # goes on where the class's first step ended
    whole = RecordingRun(self.enterContext(tempfile.TemporaryDirectory()))
    chex.assert_trees_all_equal(_numbers(resumed), _numbers(self.learn(whole, 2)))
    self.assertEqual(int(resumed.step), 2)

  def test_both_learn_at_their_own_rates(self):
    chex.assert_tree_all_finite(self.metrics)
    self.assertEqual(int(self.after.step), 1)
    self.assertIn("generator/features", self.metrics)
    self.assertIn("discriminator/real", self.metrics)
    # Without momentum Adam's first step is as long as its rate, whatever the gradient.
    for group, rate in (("generator", 1e-4), ("discriminator", 4e-4)):
      moved = jax.tree.map(
        lambda a, b: np.max(np.abs(np.asarray(a) - np.asarray(b))),
        self.after.params[group],
        self.before.params[group],
      )
      largest = max(map(float, jax.tree.leaves(moved)))
      self.assertAlmostEqual(largest / rate, 1.0, delta=0.02)

  def test_running_state_goes_on_in_both_passes(self):
    before, after = self.before.model_state, self.after.model_state
    kernel = self.before.params["generator"]["generator"]["stem_conv"]["kernel"]
    u = np.asarray(before["generator"]["spectral"]["stem_conv"]["u"])
    matrix = np.asarray(kernel).reshape(-1, kernel.shape[-1])
    for number in range(2):
      if number:  # the second pass sees the generator after its step
        moved = self.after.params["generator"]["generator"]["stem_conv"]["kernel"]
        matrix = np.asarray(moved).reshape(matrix.shape)
      v = matrix @ u / np.linalg.norm(matrix @ u)
      u = v @ matrix / np.linalg.norm(v @ matrix)
    np.testing.assert_allclose(
      after["generator"]["spectral"]["stem_conv"]["u"], u, atol=1e-4
    )
    norm = after["generator"]["batch_stats"]["stem_norm"]["spade"]["norm"]
    # Two updates leave 0.81 of the first value, 1, and add 0.19 of the batch's.
    variance = norm["statistics"]["var"]
    self.assertGreater(float(variance.min()), 0.81)
    self.assertGreater(float(jnp.max(jnp.abs(variance - 1))), 0.01)
    self.assertFalse(
      np.allclose(
        before["discriminator"]["spectral"]["scale_0"]["layer_1"]["u"],
        after["discriminator"]["spectral"]["scale_0"]["layer_1"]["u"],
      )
    )

  def test_styled_training_keeps_the_states_structure(self):
    networks = training.Networks(
      Generator(2, crop_size=32, start="latent"),
      Discriminator(2, 2),
      StyleEncoder(2, side=8, latent=6),
      num_classes=3,
    )
    batch = {
      "labels": jax.ShapeDtypeStruct((1, 32, 32), jnp.int32),
      "instances": jax.ShapeDtypeStruct((1, 32, 32), jnp.int32),
      "images": jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32),
    }
    optimizers = training.two_time_scales()

    def run(batch):
      state = training.init(networks, KEY, batch, optimizers)
      objective = training.Objective(mode="ls")
      return state, training.make_step(networks, objective, optimizers)(state, batch)

    state, (after, found) = jax.eval_shape(run, batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    learned = after.params["generator"]
    self.assertEqual(learned["encoder"]["mean"]["kernel"].shape, (32, 6))
    self.assertEqual(learned["generator"]["fc"]["kernel"].shape, (6, 32))
    self.assertIn("generator/style", found)

  def test_rate_decays_once_an_epoch(self):
    factors = [float(training.decay_factor(n, 3, 4)) for n in range(9)]
    np.testing.assert_allclose(factors, [1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0])
    optimizer = training.two_time_scales(
      2.0, steps_per_epoch=2, constant_epochs=1, decay_epochs=2
    )["generator"]
    state, moves = optimizer.init(jnp.zeros(())), []
    for _ in range(6):
      move, state = optimizer.update(jnp.ones(()), state)
      moves.append(-float(move))
    np.testing.assert_allclose(moves, [1, 1, 1, 1, 0.5, 0.5], rtol=1e-4)

  def test_equal_rates_have_momentum(self):
    made = training.two_time_scales(1.0, equal=True)
    for optimizer in made.values():
      state = optimizer.init(jnp.zeros(()))
      _, state = optimizer.update(jnp.ones(()), state)
      self.assertAlmostEqual(float(optax.tree.get(state, "mu")), 0.5)


class MetricsTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_scores_of_a_small_picture(self):
    labels = jnp.array([[[0, 0, 1], [1, 255, 3]]])
    predictions = jnp.array([[[0, 1, 1], [1, 0, 1]]])
    counts = self.variant(metrics.confusion, static_argnums=2)(labels, predictions, 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 2, 0], [0, 0, 0]])
    found = self.variant(metrics.scores)(counts)
    # Class 2 is nowhere, and counts neither way.
    self.assertAlmostEqual(float(found.mean_iou), (1 / 2 + 2 / 3) / 2, places=6)
    self.assertAlmostEqual(float(found.accuracy), 0.75, places=6)

  def test_without_labels_scores_are_nan(self):
    found = metrics.scores(jnp.zeros((2, 2), jnp.int32))
    self.assertTrue(np.isnan(found.mean_iou) and np.isnan(found.accuracy))


class SegmenterTest(absltest.TestCase):
  def test_cross_entropy_is_of_known_pixels(self):
    logits = jnp.log(jnp.array([[[[0.8, 0.2], [0.5, 0.5], [0.1, 0.9]]]]))
    found = segmenter.cross_entropy(logits, jnp.array([[[0, 255, 0]]]))
    self.assertAlmostEqual(float(found), -np.log(0.8 * 0.1) / 2, places=5)
    unknown = jnp.full((1, 1, 3), 255)
    self.assertEqual(float(segmenter.cross_entropy(logits, unknown)), 0.0)

  def test_judge_counts_and_pools(self):
    network = UNet(2, (2,), activation=jax.nn.relu)
    images = jax.random.uniform(KEY, (3, 4, 4, 3))
    params = filled(network, images)["params"]
    labels = np.ones((3, 4, 4), np.int32)
    predictions, counts, pooled = segmenter.Judge(network, params)(images, labels)
    logits = jax.jit(network.apply)({"params": params}, images)
    np.testing.assert_array_equal(predictions, logits.argmax(axis=-1))
    ones = int(np.sum(predictions == 1))
    np.testing.assert_array_equal(counts, [[0, 0], [48 - ones, ones]])
    # With one level its last features are what the head sees.
    head = params["head"]
    kernel = head["kernel"][0, 0]
    expected = pooled @ kernel + head.get("bias", 0.0)
    np.testing.assert_allclose(logits.mean(axis=(1, 2)), expected, rtol=1e-4)


class FakeSynthesizer:
  """Shows the labels 0 and 1 in black and white, tinted by the style picture."""

  def __call__(self, batch, key, style_images=None):
    image = np.repeat(batch["labels"][..., None], 3, axis=-1).astype(np.float32)
    if style_images is None:
      return image * jax.random.uniform(key, (1, 1, 1, 3))
    return image * np.mean(style_images, axis=(1, 2), keepdims=True)


class FakeJudge:
  """Takes bright pixels for class 1; its features are mean and brightest colour."""

  num_classes = 2

  def __call__(self, images, labels):
    predictions = (images.mean(axis=-1) > 0.5).astype(np.int32)
    counts = metrics.confusion(labels, predictions, 2)
    features = np.concatenate([images.mean(axis=(1, 2)), images.max(axis=(1, 2))], 1)
    return predictions, counts, features


class EvaluationTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=(2, 4, 4, 4)).astype(np.int32)
    self.examples = [
      {"labels": x, "images": np.repeat(x[..., None], 3, axis=-1).astype(np.float32)}
      for x in labels
    ]

  def test_real_pictures_show_their_labels_and_inverted_ones_none(self):
    real = evaluation.measure(FakeJudge(), self.examples)
    self.assertEqual((real.mean_iou, real.accuracy), (1.0, 1.0))
    self.assertEqual(real.features.count, 8)
    inverted = evaluation.measure(
      FakeJudge(), self.examples, lambda batch, key: 1 - batch["images"]
    )
    self.assertEqual((inverted.mean_iou, inverted.accuracy), (0.0, 0.0))
    self.assertAlmostEqual(evaluation.distance(real, real), 0.0, places=6)
    self.assertGreater(evaluation.distance(real, inverted), 1e-3)

  def test_classes_alone(self):
    classes = variants.DataSet(2, False, False, crop_size=4)
    for batch in (2, 3):  # the last is filled up
      found = evaluation.uniform_maps(
        lambda maps, key: FakeSynthesizer()(maps, key, np.ones((1, 1, 1, 3))),
        FakeJudge(),
        classes,
        batch,
      )
      self.assertEqual(found.images.shape, (2, 4, 4, 3))
      self.assertEqual((found.difference, found.recognised), (1.0, 1.0))

  def test_styles_are_followed_and_drawn(self):
    pictures = np.random.default_rng(0).random((6, 4, 4, 3)).astype(np.float32)
    found = evaluation.styles(FakeSynthesizer(), self.examples[0], pictures, 3)
    self.assertAlmostEqual(found.correlation, 1.0, places=5)
    self.assertGreater(found.diversity, 0.01)
    constant = evaluation.styles(
      lambda batch, key, pictures=None: batch["images"], self.examples[0], pictures, 3
    )
    self.assertTrue(np.isnan(constant.correlation))
    self.assertEqual(constant.diversity, 0.0)

  def test_examples_in_order_without_chance(self):
    scenes = data.scenes(5, 16, 0)
    options = preprocessing.Preprocessing("resize_and_crop", 16, 16)
    found = list(evaluation.batches(scenes, 9, 3, options))
    self.assertEqual([len(batch["labels"]) for batch in found], [3, 2])
    np.testing.assert_array_equal(found[1]["labels"][1], scenes[4]["labels"])
    np.testing.assert_allclose(found[0]["images"][0], scenes[0]["image"] / 255)


class ClaimsTest(absltest.TestCase):
  def test_only_what_was_trained_is_compared(self):
    rows = {
      (name, seed): {
        "mIoU": iou + 0.01 * seed,
        "accuracy": iou,
        "Fréchet distance": 1 - iou,
        "difference of classes alone": iou,
        "classes alone recognised": iou,
      }
      for name, iou in {"spade": 0.8, "concat": 0.76, "styled": 0.74}.items()
      for seed in (0, 1)
    }
    del rows["concat", 1]
    made = {}

    class Claims:
      def claim(self, name, ours, baseline, **options):
        made[name] = ours, baseline, options

    claims.claim_all(Claims(), rows, {0: evaluation.Styles(0.9, 0.1)}, (0, 1))
    self.assertFalse([name for name in made if "pix2pix" in name or "1 x 1" in name])
    ours, baseline, options = made[
      "SPADE beats concatenated labels by 3 points of mIoU"
    ]
    self.assertEqual((ours, baseline), (0.8, 0.76))  # of the seed that both have
    self.assertEqual((options["seeds"], options["margin"]), ([0], 0.03))
    cost = made["Random styles cost less than 5 points of mIoU"]
    self.assertAlmostEqual(cost[0], 0.745)
    self.assertEqual(cost[2]["margin"], -0.05)
    (spade, *_) = claims.means(rows)
    self.assertAlmostEqual(spade["mIoU"], 0.805)


if __name__ == "__main__":
  absltest.main()
