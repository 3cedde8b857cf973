"""Tests of rscnn: augmentation, votes, losses, metrics, training, published weights."""

import dataclasses
import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from jaxvision.errors import UserError
from jaxvision.papers.rscnn import (
  augmentation,
  evaluation,
  losses,
  metrics,
  published,
  schedules,
  training,
  voting,
)
from jaxvision.papers.rscnn.convolution import Scales
from jaxvision.papers.rscnn.variants import SIZES, VARIANTS, model
from jaxvision.train import fit, jit_once, restore
from jaxvision.train.run import Run

SIZE = dataclasses.replace(
  SIZES["tiny"],
  classification=(Scales(8, (0.6,), (4,), 8),),
  pooled=8,
  hidden=(8,),
)


def batch(size=8, count=24, seed=0):
  """Flat and round clouds with their normals."""
  rng = np.random.default_rng(seed)
  points = rng.normal(size=(size, count, 3))
  label = np.arange(size) % 2
  points[label == 0] *= [1, 1, 0.05]
  points /= np.linalg.norm(points, axis=-1).max(axis=1)[:, None, None]
  normals = points / np.linalg.norm(points, axis=-1, keepdims=True)
  return {
    "points": np.float32(points),
    "normals": np.float32(normals),
    "parts": np.int32(points[..., 0] > 0),
    "label": np.int32(label),
  }


class AugmentationTest(parameterized.TestCase):
  def test_subsets_are_distinct_points_in_random_order(self):
    points = jnp.asarray(batch()["points"])
    found = np.asarray(augmentation.subset_indices(jax.random.key(0), points, 10))
    self.assertEqual(found.shape, (8, 10))
    for row in found:
      self.assertLen(set(row), 10)
    self.assertFalse(np.array_equal(found, np.sort(found)))
    chosen = augmentation.subset_indices(jax.random.key(1), points, 12, candidates=12)
    farthest = augmentation.farthest_subset(points, 12)
    np.testing.assert_array_equal(np.sort(chosen), np.sort(farthest))
    with self.assertRaisesRegex(ValueError, "25 of 24"):
      augmentation.subset_indices(jax.random.key(0), points, 25)

  def test_scales_and_shifts_are_the_papers(self):
    points = jnp.ones((500, 2, 3)).at[:, 1].set(-1.0)
    moved, _ = augmentation.scale_and_shift(jax.random.key(0), points)
    scales = (moved[:, 0] - moved[:, 1]) / 2
    shifts = (moved[:, 0] + moved[:, 1]) / 2
    self.assertBetween(float(jnp.min(scales)), 2 / 3 - 1e-5, 0.68)
    self.assertBetween(float(jnp.max(scales)), 1.48, 1.5 + 1e-5)
    self.assertBetween(float(jnp.max(jnp.abs(shifts))), 0.195, 0.2 + 1e-5)
    # Each axis has its own.
    self.assertLess(abs(np.corrcoef(scales[:, 0], scales[:, 1])[0, 1]), 0.2)

  def test_normals_stay_normal_to_a_stretched_surface(self):
    tangents = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    normals = np.cross(tangents[:, :1], tangents[:, 1:])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    stretched, leaning = augmentation.scale_and_shift(
      jax.random.key(0), jnp.asarray(tangents), jnp.asarray(normals), shift=0.0
    )
    products = jnp.einsum("bki,bli->bkl", stretched, leaning)
    np.testing.assert_allclose(products, 0, atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(leaning, axis=-1), 1, atol=1e-5)

  def test_dropped_points_repeat_the_first(self):
    points = jax.random.normal(jax.random.key(0), (200, 50, 3))
    dropped = augmentation.drop_points(jax.random.key(1), points)
    gone = np.all(np.asarray(dropped == points[:, :1]), axis=-1)
    kept = np.all(np.asarray(dropped == points), axis=-1)
    self.assertTrue(np.all(gone | kept))
    shares = np.mean(gone, axis=1)
    self.assertBetween(np.mean(shares), 0.38, 0.5)  # uniform up to 0.875
    self.assertGreater(np.std(shares), 0.2)
    thin = augmentation.thin(points, 10)
    np.testing.assert_array_equal(thin[:, :10], points[:, :10])
    np.testing.assert_array_equal(thin[:, 10:], jnp.repeat(points[:, :1], 40, axis=1))

  def test_rotations(self):
    point = jnp.array([1.0, 2.0, 3.0])
    turned = point @ augmentation.rotation("z", 90).T
    np.testing.assert_allclose(turned, [-2, 1, 3], atol=1e-6)
    turned = point @ augmentation.rotation("x", 180).T
    np.testing.assert_allclose(turned, [1, -2, -3], atol=1e-6)


class VotingTest(absltest.TestCase):
  def test_first_vote_is_not_stretched_and_others_are(self):
    points = jnp.asarray(batch()["points"])

    def extent(seen):  # "logits" that tell the stretch
      return jnp.max(jnp.abs(seen), axis=1)

    vote = functools.partial(
      voting.classification_votes, extent, jax.random.key(0), points
    )
    one = vote(votes=1, count=24, candidates=24)
    np.testing.assert_allclose(one, jax.nn.softmax(extent(points)), rtol=1e-5)
    three = vote(votes=3, count=24, candidates=24)
    np.testing.assert_allclose(jnp.sum(three, axis=-1), 1, rtol=1e-5)
    self.assertGreater(float(jnp.max(jnp.abs(three - one))), 1e-2)

  def test_stretches_of_labels_do_not_pile_up(self):
    points = jnp.ones((1, 4, 3))
    seen = []

    def predict(points, key):
      jax.debug.callback(lambda p: seen.append(np.asarray(p)[0, 0]), points)
      return points

    found = voting.labelling_votes(predict, jax.random.key(0), points, votes=60)
    jax.block_until_ready(found)
    jax.effects_barrier()
    self.assertLen(seen, 60)
    np.testing.assert_array_equal(seen[0], 1.0)
    self.assertBetween(np.min(seen), 0.87, 0.89)
    self.assertBetween(np.max(seen), 1.13, 1.15)


class LossesAndMetricsTest(parameterized.TestCase):
  def test_cosine_loss(self):
    normals = jnp.array([[1.0, 0, 0]] * 4)
    found = jnp.array([[2.0, 0, 0], [-3, 0, 0], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(losses.cosine_loss(found, normals), [0, 2, 1, 1])
    unsigned = losses.cosine_loss(found, normals, oriented=False)
    np.testing.assert_allclose(unsigned, [0, 0, 1, 1])
    grad = jax.grad(lambda x: jnp.sum(losses.cosine_loss(x, normals)))(found)
    self.assertTrue(bool(jnp.all(jnp.isfinite(grad))))
    jax.test_util.check_grads(
      lambda x: losses.cosine_loss(x, normals[:3]), (found[:3],), 1, modes=["rev"]
    )

  def test_accuracy(self):
    logits = jnp.array([[1.0, 2, 0], [3, 1, 2], [jnp.nan] * 3, [1, 1, 0]])
    labels = jnp.array([1, 2, 0, 0])
    self.assertEqual(float(metrics.accuracy(logits, labels)), 0.25)

  def test_ious_are_the_benchmarks(self):
    truth, found = np.array([4, 4, 5, 5]), np.array([4, 5, 5, 5])
    self.assertAlmostEqual(metrics.shape_iou(found, truth, (4, 5)), (1 / 2 + 2 / 3) / 2)
    # A part that neither has counts 1.
    found = metrics.shape_iou(np.zeros(3, int), np.zeros(3, int), (0, 1, 2, 3))
    self.assertEqual(found, 1.0)
    logits = np.array([[9.0, 1, 2], [9, 2, 1]])
    np.testing.assert_array_equal(metrics.predicted_parts(logits, (1, 2)), [2, 1])
    instance, by_class = metrics.mean_ious({"a": [1.0, 0.5, 0.0], "b": [0.1], "c": []})
    self.assertAlmostEqual(instance, 0.4)
    self.assertAlmostEqual(by_class, 0.3)
    with self.assertRaisesRegex(ValueError, "no shapes"):
      metrics.mean_ious({"a": []})

  def test_schedules(self):
    epochs = jnp.array([0, 20, 21, 42, 10_000])
    factors = schedules.learning_rate_factor(epochs)
    np.testing.assert_allclose(factors, [1, 1, 0.7, 0.49, 0.01], rtol=1e-5)
    weights = schedules.norm_momentum(epochs)
    np.testing.assert_allclose(weights, [0.9, 0.9, 0.9, 0.45, 0.01], rtol=1e-5)
    self.assertAlmostEqual(float(schedules.norm_momentum(0, released=True)), 1.8, 5)


@functools.cache
def trainer(name, **changes):
  variant = dataclasses.replace(VARIANTS[name], **changes)
  found = model(variant, SIZE, 2, 2)
  preparation = training.Preparation(20, augment=False)
  optimizer = optax.flatten(optax.adam(1e-2))
  step = training.step(found, preparation, optimizer, training.fixed_momentum(0.1))
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch())

  def start():
    return training.state(jax.random.key(0), found, preparation, optimizer, shapes)

  return found, step, start


class TrainingTest(parameterized.TestCase):
  def test_loss_falls(self):
    _, step, start = trainer("rscnn")
    state, step = jit_once(start)(), jax.jit(step)
    history = []
    for _ in range(40):
      state, measured = step(state, batch())
      history.append(float(measured["loss"]))
    self.assertLess(np.mean(history[-5:]), 0.6 * np.mean(history[:3]))
    self.assertEqual(int(state.model_state["updates"]), 40)

  @parameterized.parameters(*VARIANTS)
  def test_every_variant_can_be_lowered(self, name):
    found, step, start = trainer(name)
    state = jax.eval_shape(start)
    if name in ("parts", "normals", "no_norm"):
      after, measured = jax.eval_shape(step, state, batch())
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      self.assertEqual(measured["loss"].shape, ())
    output = jax.eval_shape(found.apply, training.variables_of(state), batch())
    shape = {"classification": (8, 2), "parts": (8, 24, 2), "normals": (8, 24, 3)}
    self.assertEqual(output.shape, shape[found.task])

  def test_momentum_follows_the_updates(self):
    decay = training.momentum_decay(epoch_steps=2, every=3)
    found = [float(decay(jnp.int32(step))) for step in (0, 7, 8, 14)]
    np.testing.assert_allclose(found, [0.9, 0.9, 0.45, 0.225], rtol=1e-6)
    self.assertAlmostEqual(float(training.fixed_momentum(0.3)(jnp.int32(9))), 0.3)
    rate = training.step_decay(1e-3, 2, decay=0.7, every=3)
    np.testing.assert_allclose([rate(5), rate(6)], [1e-3, 7e-4], rtol=1e-6)

  def test_stopped_and_resumed_run_ends_with_the_same_bits(self):
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    _, step, start = trainer("normals_pointnet")

    def learn(name, *stops):
      with Run("rscnn", "test", None, root / name) as run:
        for stop in stops:
          state = fit(run, "a", jit_once(start)(), step, lambda n: batch(seed=n), stop)
        restored = restore(run, "a", jax.eval_shape(start))
        jax.tree.map(np.testing.assert_array_equal, restored.params, state.params)
      return state

    whole, resumed = learn("whole", 4), learn("resumed", 2, 4)
    self.assertEqual(int(resumed.step), 4)
    for ours, theirs in zip(
      jax.tree.leaves((whole.params, whole.model_state)),
      jax.tree.leaves((resumed.params, resumed.model_state)),
      strict=True,
    ):
      np.testing.assert_array_equal(ours, theirs)

  def test_disturbances(self):
    clean = {name: jnp.asarray(values) for name, values in batch().items()}
    moved = evaluation.CONDITIONS["shift -0.2"](clean)
    np.testing.assert_allclose(moved["points"], clean["points"] - 0.2, atol=1e-6)
    turned = evaluation.CONDITIONS["turned 90"](clean)
    np.testing.assert_allclose(
      turned["normals"][..., 2], clean["normals"][..., 1], atol=1e-6
    )
    thin = evaluation.CONDITIONS["1/4 of the points"](clean)
    self.assertLen(np.unique(thin["points"][0], axis=0), 6)


def weights_of_a_classifier():
  """A state_dict as the authors' classifier has it, small, by hand."""
  rng = np.random.default_rng(0)
  weights = {}

  def add(name, *shape):
    weights[name] = rng.normal(size=shape).astype(np.float32)

  def norm(name, width):
    for leaf in ("weight", "bias", "running_mean", "running_var"):
      add(f"{name}.{leaf}", width)
    weights[f"{name}.running_var"] = np.abs(weights[f"{name}.running_var"])
    weights[f"{name}.num_batches_tracked"] = np.array(7)

  for layer, (middle, width, raised) in enumerate([(4, 16, 8), (3, 11, 12)]):
    prefix = f"SA_modules.{layer}.mlps.0.RSConvLayer0.RS_Conv"
    for name, size in (
      ("bn_rsconv", width),
      ("bn_channel_raising", raised),
      ("bn_xyz_raising", 16),
      ("bn_mapping", middle),
    ):
      norm(f"{prefix}.{name}", size)
    maps = {
      "mapping_func1": (middle, 10, 1, 1),
      "mapping_func2": (width, middle, 1, 1),
      "cr_mapping": (raised, width, 1),
    }
    if layer == 0:
      maps["xyz_raising"] = (16, 3, 1, 1)
    for name, shape in maps.items():
      add(f"{prefix}.{name}.weight", *shape)
      add(f"{prefix}.{name}.bias", shape[0])
  add("SA_modules.2.mlps.0.conv_avg.weight", 20, 15, 1, 1)
  add("SA_modules.2.mlps.0.conv_avg.bias", 20)
  norm("SA_modules.2.mlps.0.bn_avg", 20)
  for layer, (inputs, outputs) in {0: (20, 10), 2: (10, 6)}.items():
    add(f"FC_layer.{layer}.fc.weight", outputs, inputs)
    norm(f"FC_layer.{layer}.bn.bn", outputs)
  add("FC_layer.4.fc.weight", 5, 6)
  add("FC_layer.4.fc.bias", 5)
  return weights


class PublishedTest(parameterized.TestCase):
  def test_hand_written_file_becomes_a_network(self):
    weights = weights_of_a_classifier()
    path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "w.npz"
    np.savez(path, **{f"module.{name}": array for name, array in weights.items()})
    network, variables = published.load(path)
    self.assertEqual(network.classes, 5)
    self.assertEqual([layer.features for layer in network.layers], [8, 12])
    self.assertEqual(network.layers[0].centroids, 512)
    expected = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 600, 3)))
    self.assertEqual(
      jax.tree.map(jnp.shape, dict(variables)), jax.tree.map(jnp.shape, dict(expected))
    )
    key = "SA_modules.1.mlps.0.RSConvLayer0.RS_Conv.mapping_func1.weight"
    np.testing.assert_array_equal(
      variables["params"]["abstraction1"]["conv"]["mapping0"]["kernel"],
      weights[key][:, :, 0, 0].T,
    )
    mean = variables["batch_stats"]["head"]["layer1"]["norm"]["mean"]
    np.testing.assert_array_equal(mean, weights["FC_layer.2.bn.bn.running_mean"])

  def test_one_channel_of_relation_is_the_distance(self):
    weights = weights_of_a_classifier()
    for layer in (0, 1):
      key = f"SA_modules.{layer}.mlps.0.RSConvLayer0.RS_Conv.mapping_func1.weight"
      weights[key] = weights[key][:, :1]
    self.assertEqual(published.convert(weights)[0].relation, "distance")

  def test_scales_that_do_not_share_their_tensors_are_refused(self):
    weights = weights_of_a_classifier()
    first = "SA_modules.0.mlps.0."
    for name in [name for name in weights if name.startswith(first)]:
      weights[name.replace("mlps.0", "mlps.1")] = weights[name].copy()
    reader = published.Reader(weights, "file")
    published.set_abstraction(
      reader, published.Variables(), "SA_modules.0", ("conv",), True
    )
    weights[f"{first}RSConvLayer0.RS_Conv.cr_mapping.bias"][0] += 1
    with self.assertRaisesRegex(UserError, r"mlps\.1.*cr_mapping\.bias differs"):
      published.set_abstraction(
        published.Reader(weights, "file"),
        published.Variables(),
        "SA_modules.0",
        ("conv",),
        True,
      )

  @parameterized.parameters(
    ("FC_layer.4.fc.weight", None, "lacks FC_layer.4.fc.weight"),
    ("surplus", np.zeros(3), "never used surplus"),
    ("FC_layer.0.bn.bn.weight", np.zeros(3), "instead of"),
    ("SA_modules.0.mlps.1.RSConvLayer0.RS_Conv.x", np.zeros(1), "lacks SA_modules.0"),
  )
  def test_other_files_are_told_apart(self, name, value, message):
    weights = weights_of_a_classifier() | {name: value}
    if value is None:
      del weights[name]
    with self.assertRaisesRegex(UserError, message):
      published.convert(weights, "file")


if __name__ == "__main__":
  absltest.main()
