"""Tests of learning projections and kernels."""

import functools
import pathlib
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from jaxvision.nn.resnet import ResNet
from jaxvision.nn.vgg import VGG
from jaxvision.papers.cascaded_projection import (
  links,
  losses,
  network,
  projection,
  training,
)
from jaxvision.papers.cascaded_projection.compression import Compressor
from jaxvision.train import fit, restore
from jaxvision.train.run import Run

MODEL = VGG(3, ((6, 6), (5,)), hidden=(), pooled=1, pool_last=False)
LINKS = links.links_of(MODEL)[:-1]
RNG = np.random.default_rng(0)
BATCH = {
  "image": RNG.normal(size=(8, 4, 4, 1)).astype(np.float32),
  "label": RNG.integers(3, size=8).astype(np.int32),
}
SGD = optax.sgd(0.1, momentum=0.9)


@functools.cache
def teacher():
  shapes = network.shapes_of(MODEL, (4, 4, 1))["params"]
  rng = np.random.default_rng(1)

  def draw(leaf):
    fan_in = max(np.prod(leaf.shape[:-1]), 1)
    return jnp.asarray(rng.normal(size=leaf.shape) * (2 / fan_in) ** 0.5, jnp.float32)

  return jax.tree.map(draw, shapes)


def proxies(seed=0):
  widths = links.widths_of(teacher(), LINKS)
  ranks = links.ranks(LINKS, widths, 0.5)
  return projection.random_proxies(jax.random.key(seed), widths, ranks)


def projection_state(seed=0, optimizer=SGD):
  return training.projection_state(
    jax.random.key(seed), proxies(seed), teacher(), teacher(), optimizer
  )


@functools.cache
def projection_step(mode="simultaneous", gamma=1.0, rescale_every=0):
  step = training.projection_step(
    MODEL, LINKS, SGD, mode=mode, gamma=gamma, rescale_every=rescale_every
  )
  return step, jax.jit(step)


class CompressorTest(absltest.TestCase):
  """The order of stages, with a learner that leaves every state as it is."""

  def compressor(self, model, calls):
    rng = np.random.default_rng(0)
    params = jax.tree.map(
      lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32),
      network.shapes_of(model, (4, 4, 1))["params"],
    )
    every = links.links_of(model)

    def learn(kind, name, state, chosen):
      calls.append((kind, name, state, tuple(link.producer for link in chosen)))
      return state

    ratios = {link.producer: 0.5 for link in every}
    return params, Compressor(
      model, params, every, ratios, seed=0, optimizers=lambda _: SGD, learn=learn
    )

  def test_bottlenecks_take_two_rounds(self):
    calls = []
    model = ResNet(3, "bottleneck", (1, 1), (4, 2), "cifar", norm=False)
    _, compressor = self.compressor(model, calls)
    learned = compressor.projections()
    self.assertEqual(
      [(kind, name, chosen) for kind, name, _, chosen in calls],
      [
        ("project", "random-round0", ("layer1_0/conv1", "layer2_0/conv1")),
        ("project", "random-round1", ("layer1_0/conv2", "layer2_0/conv2")),
      ],
    )
    kernels = [
      state.params["student"]["layer1_0"]["conv2"]["kernel"].shape
      for _, _, state, _ in calls
    ]
    self.assertEqual(kernels, [(3, 3, 4, 4), (3, 3, 2, 4)])
    baked = compressor.bake(learned)["layer1_0"]["conv2"]["kernel"]
    self.assertEqual(baked.shape, (3, 3, 2, 2))

  def test_layer_by_layer_the_rest_is_uncompressed(self):
    calls = []
    params, compressor = self.compressor(MODEL, calls)
    compressor.projections(one_by_one=True)
    self.assertEqual(
      [(name, chosen) for _, name, _, chosen in calls],
      [(f"random-{n}", (n,)) for n in ("conv1_1", "conv1_2", "conv2_1")],
    )
    for _, _, state, _ in calls:
      self.assertIs(state.params["student"], params)

  def test_every_way_has_the_same_widths_but_re_projection(self):
    calls = []
    _, compressor = self.compressor(MODEL, calls)
    networks = compressor.every_way(
      BATCH["image"],
      one_by_one=False,
      starts=("random", "pca"),
      relaxed=("CaP", "L1"),
      finetune=True,
      scratch=True,
    )
    self.assertEqual(
      [(kind, name) for kind, name, _, _ in calls],
      [
        ("project", "random-round0"),
        ("project", "pca-round0"),
        ("relax", "CaP"),
        ("relax", "L1"),
        ("finetune", "CaP"),
        ("scratch", "he"),
      ],
    )
    factorised = networks.pop("PCA, re-projected")
    self.assertEqual(factorised["conv1_2"]["expand"].shape, (3, 6))
    shapes = [jax.tree.map(jnp.shape, params) for params in networks.values()]
    self.assertLen(networks, 9)
    self.assertTrue(all(shape == shapes[0] for shape in shapes))
    self.assertEqual(shapes[0]["conv1_2"]["kernel"], (3, 3, 3, 3))
    # A learner that does nothing leaves CaP at its random start.
    chex.assert_trees_all_close(networks["CaP"], networks["random"], atol=1e-5)


class LossesTest(absltest.TestCase):
  def test_error_is_relative_and_its_target_fixed(self):
    target = jnp.array([[3.0, 4.0]])
    features = jnp.array([[3.0, 2.0]])
    error = losses.reconstruction_error
    self.assertAlmostEqual(float(error(target, features)), 4 / 25, places=6)
    self.assertAlmostEqual(float(error(9 * target, 9 * features)), 4 / 25, places=6)
    of_target, of_features = jax.grad(error, argnums=(0, 1))(target, features)
    np.testing.assert_array_equal(of_target, [[0.0, 0.0]])
    np.testing.assert_allclose(of_features, [[0.0, -4 / 25]], rtol=1e-6)

  def test_silent_layers_give_no_nan(self):
    zeros = jnp.zeros((2, 3))
    value, gradient = jax.value_and_grad(losses.reconstruction_error, 1)(zeros, zeros)
    self.assertEqual(float(value), 0.0)
    np.testing.assert_array_equal(gradient, zeros)


class ProjectionTrainingTest(parameterized.TestCase):
  def test_learning_lowers_the_error_and_moves_nothing_else(self):
    state = projection_state()
    _, step = projection_step(gamma=0.0)
    history = []
    for _ in range(40):
      state, metrics = step(state, BATCH)
      history.append(float(metrics["proxies/reconstruction"]))
    self.assertLess(history[-1], 0.7 * history[0])
    for group in ("student", "teacher"):
      jax.tree.map(np.testing.assert_array_equal, state.params[group], teacher())
    start, end = proxies(), projection.project(state.params["proxies"])
    for name, p in end.items():
      self.assertLess(float(jnp.max(jnp.abs(p.T @ p - jnp.eye(p.shape[1])))), 1e-5)
      self.assertGreater(float(jnp.max(jnp.abs(p - start[name]))), 1e-2)

  def test_simultaneous_loss_is_that_of_the_cascade(self):
    """Each error is taken behind all projections before it, before its own P."""
    p = proxies()
    state = projection_state()
    _, metrics = projection_step()[1](state, BATCH)
    relu = jax.nn.relu

    def layer(x, name):
      leaves = teacher()[name]
      y = jax.lax.conv_general_dilated(
        x,
        leaves["kernel"],
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
      )
      return y + leaves["bias"]

    def halve(x):
      return jnp.max(x.reshape(8, 2, 2, 2, 2, -1), axis=(2, 4))

    image = jnp.asarray(BATCH["image"])
    one = relu(layer(image, "conv1_1"))
    two = relu(layer(one, "conv1_2"))
    three = relu(layer(halve(two), "conv2_1"))
    p1, p2 = p["conv1_1"], p["conv1_2"]
    short = relu(layer(image, "conv1_1") @ p1)
    two_hat = layer(short @ p1.T, "conv1_2")  # O, seen before P_2
    three_hat = relu(layer(halve(relu(two_hat @ p2)) @ p2.T, "conv2_1"))
    errors = (
      losses.reconstruction_error(two, relu(two_hat)),
      losses.reconstruction_error(three, three_hat),
    )
    head = teacher()["fc8"]
    logits = jnp.mean(three_hat, axis=(1, 2)) @ head["kernel"] + head["bias"]
    expected = sum(errors) + losses.cross_entropy(logits, BATCH["label"])
    np.testing.assert_allclose(metrics["proxies/loss"], expected, rtol=1e-4)
    np.testing.assert_allclose(
      metrics["proxies/last_reconstruction"], errors[-1], rtol=1e-4
    )

  def test_layers_learn_alone_or_hear_of_each_other(self):
    def change_of_first(mode, seed_of_second):
      state = projection_state()
      second = {
        **state.params["proxies"],
        "conv1_2": proxies(seed_of_second)["conv1_2"],
      }
      state = state.replace(params={**state.params, "proxies": second})
      after, _ = projection_step(mode)[1](state, BATCH)
      return after.params["proxies"]["conv1_1"]

    alone = [change_of_first("layerwise", seed) for seed in (0, 1)]
    np.testing.assert_allclose(alone[0], alone[1], atol=1e-7)
    together = [change_of_first("simultaneous", seed) for seed in (0, 1)]
    self.assertGreater(float(jnp.max(jnp.abs(together[0] - together[1]))), 1e-4)

  def test_rescaling_every_second_step(self):
    state = projection_state()
    _, step = projection_step("simultaneous", 1.0, 2)
    sizes = []
    for _ in range(4):
      state, _ = step(state, BATCH)
      sizes.append(float(jnp.linalg.norm(state.params["proxies"]["conv1_2"], 2)))
    np.testing.assert_allclose(sizes[1::2], [1.0, 1.0], rtol=1e-5)
    self.assertGreater(sizes[0], 1.0)

  def test_second_round_of_a_bottleneck_starts_from_the_first_baked(self):
    model = ResNet(3, "bottleneck", (1,), (4,), "cifar", norm=False)
    shapes = network.shapes_of(model, (4, 4, 1))["params"]
    whole = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1), shapes)
    first, second = links.links_of(model)
    student = projection.bake(whole, [first], {first.producer: jnp.eye(4, 2)})
    p = {second.producer: jnp.eye(4, 2)}
    state = training.projection_state(jax.random.key(0), p, student, whole, SGD)
    step = jax.jit(training.projection_step(model, [second], SGD))
    state, metrics = step(state, BATCH)
    self.assertTrue(np.isfinite(float(metrics["proxies/loss"])))
    learned = projection.project(state.params["proxies"])
    baked = projection.bake(student, [second], learned)["layer1_0"]
    self.assertEqual(baked["conv2"]["kernel"].shape, (3, 3, 2, 2))

  def test_rate_is_constant_and_then_falls_to_nothing(self):
    rate = training.late_decay(0.2, 100)
    np.testing.assert_allclose([rate(0), rate(74)], [0.2, 0.2], rtol=1e-6)
    np.testing.assert_allclose(rate(87.5), 0.1, rtol=1e-5)
    self.assertLess(float(rate(100)), 1e-7)

  def test_stopped_and_resumed_run_ends_with_the_same_bits(self):
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    step, _ = projection_step()

    def batches(number):
      rng = np.random.default_rng(number)
      return {
        "image": rng.normal(size=(8, 4, 4, 1)).astype(np.float32),
        "label": rng.integers(3, size=8).astype(np.int32),
      }

    def learn(name, *stops):
      with Run("cascaded_projection", "test", None, root / name) as run:
        for stop in stops:
          state = fit(run, "project", projection_state(), step, batches, stop)
        restored = restore(run, "project", jax.eval_shape(projection_state))
        jax.tree.map(np.testing.assert_array_equal, restored.params, state.params)
      return state

    whole, resumed = learn("whole", 4), learn("resumed", 2, 4)
    self.assertEqual(int(resumed.step), 4)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    jax.tree.map(np.testing.assert_array_equal, resumed.opt_state, whole.opt_state)


class KernelTrainingTest(absltest.TestCase):
  def test_relaxation_moves_the_compressed_layers_only(self):
    student = projection.bake(teacher(), LINKS, proxies())
    optimizer = optax.adam(1e-2)
    state = training.kernel_state(
      jax.random.key(0),
      student,
      teacher(),
      optimizer,
      layers=projection.compressed_layers(LINKS),
    )
    step = jax.jit(training.kernel_step(MODEL, LINKS, optimizer))
    history = []
    for _ in range(30):
      state, metrics = step(state, BATCH)
      history.append(float(metrics["kernels/reconstruction"]))
    self.assertLess(history[-1], 0.7 * history[0])
    after = training.join(state.params["kernels"], state.params["rest"])
    self.assertEqual(jax.tree.map(jnp.shape, after), jax.tree.map(jnp.shape, student))
    for name in ("conv1_1", "conv1_2", "conv2_1"):
      moved = jnp.abs(after[name]["kernel"] - student[name]["kernel"])
      self.assertGreater(float(jnp.max(moved)), 1e-3, name)
    jax.tree.map(np.testing.assert_array_equal, after["fc8"], student["fc8"])

  def test_fine_tuning_moves_everything_towards_the_labels(self):
    student = projection.bake(teacher(), LINKS, proxies())
    optimizer = optax.adam(1e-2)
    state = training.kernel_state(jax.random.key(0), student, teacher(), optimizer)
    self.assertEmpty(state.params["rest"])
    step = jax.jit(training.kernel_step(MODEL, LINKS, optimizer, gamma=1.0))
    before = state.params["kernels"]["fc8/kernel"]
    _, first = step(state, BATCH)
    for _ in range(20):
      state, metrics = step(state, BATCH)
    self.assertLess(float(metrics["kernels/loss"]), 0.8 * float(first["kernels/loss"]))
    self.assertGreater(
      float(jnp.max(jnp.abs(state.params["kernels"]["fc8/kernel"] - before))), 1e-3
    )


if __name__ == "__main__":
  absltest.main()
