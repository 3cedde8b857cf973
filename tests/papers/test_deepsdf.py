"""Tests of DeepSDF's decoder, losses, training and inference."""

import dataclasses
import functools
import tempfile
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from jaxvision.data import pipeline
from jaxvision.papers.deepsdf import (
  decoder,
  inference,
  losses,
  meshing,
  raycasting,
  training,
)
from jaxvision.papers.deepsdf.decoder import Decoder
from jaxvision.train import State, fit, jit_once
from jaxvision.train.run import Run

SMALL = Decoder(
  3, (16,) * 4, (2,), norm_layers=(0, 1, 2, 3), dropout_layers=(0, 1), dropout=0.25
)


@functools.cache
def params_of(network):
  return jax.jit(functools.partial(decoder.init, network))(jax.random.key(0))


def ball_samples(radius, count=400, seed=0):
  """Rows x, y, z, s of a ball, outside and inside."""
  points = np.random.default_rng(seed).uniform(-1, 1, (count, 3))
  distance = np.linalg.norm(points, axis=1) - radius
  rows = np.concatenate([points, distance[:, None]], axis=1).astype(np.float32)
  return rows[distance > 0], rows[distance <= 0]


class DecoderTest(chex.TestCase):
  def test_paper_size_is_the_papers(self):
    params = jax.eval_shape(lambda k: decoder.init(Decoder(), k), jax.random.key(0))
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    self.assertEqual(sum(sizes), 1_843_195)
    scales = [layer["scale"].size for layer in params.values() if "scale" in layer]
    self.assertEqual(sum(scales), 3837)
    self.assertEqual(params["lin3"]["kernel"].shape, (512, 253))

  @chex.variants(with_jit=True, without_jit=True)
  def test_a_code_counts_for_each_of_its_points(self):
    params = {"params": params_of(SMALL)}
    apply = self.variant(lambda c, x: SMALL.apply(params, c, x))
    codes = jax.random.normal(jax.random.key(1), (2, 3))
    points = jax.random.normal(jax.random.key(2), (2, 5, 3))
    found = apply(codes, points)
    one = jnp.stack([apply(codes[i], points[i]) for i in range(2)])
    np.testing.assert_allclose(found, one, atol=1e-6)
    self.assertGreater(float(jnp.abs(found[0] - apply(codes[1], points[0])).max()), 0)

  def test_weight_norm_forgets_the_kernels_length(self):
    params = params_of(SMALL)
    longer = jax.tree.map(lambda x: x, params)
    longer["lin1"] = {**params["lin1"], "kernel": 3 * params["lin1"]["kernel"]}
    points = jax.random.normal(jax.random.key(0), (4, 3))
    both = [SMALL.apply({"params": p}, jnp.ones(3), points) for p in (params, longer)]
    np.testing.assert_allclose(*both, atol=1e-6)
    np.testing.assert_allclose(  # as they begin, gains change nothing
      params["lin1"]["scale"], jnp.linalg.norm(params["lin1"]["kernel"], axis=0)
    )
    folded, plain = decoder.fold(SMALL, longer)
    self.assertNotIn("scale", plain["lin1"])
    found = folded.apply({"params": plain}, jnp.ones(3), points)
    np.testing.assert_allclose(found, both[0], atol=1e-6)

  def test_dropout_only_in_training_and_unbiased_on_average(self):
    params = {"params": params_of(SMALL)}
    points = jax.random.normal(jax.random.key(0), (6, 3))
    apply = jax.jit(
      lambda key: SMALL.apply(
        params, jnp.ones(3), points, train=True, rngs={"dropout": key}
      )
    )
    draws = jax.vmap(apply)(jax.random.split(jax.random.key(1), 400))
    self.assertGreater(float(draws.std(axis=0).min()), 0)
    still = SMALL.apply(params, jnp.ones(3), points)
    np.testing.assert_allclose(draws.mean(axis=0), still, atol=0.05)

  def test_options(self):
    latent = dataclasses.replace(
      SMALL, latent_dropout=True, dropout=0.0, norm_layers=(), latent_in=()
    )
    points = jnp.zeros((50, 3))
    params = {"params": params_of(latent)}
    found = latent.apply(
      params, jnp.ones(3), points, train=True, rngs={"dropout": jax.random.key(0)}
    )
    # Every point has its own part of the code: 2³ of them.
    self.assertBetween(len(np.unique(np.round(found, 6))), 3, 8)
    twice = dataclasses.replace(SMALL, use_tanh=True)
    once = SMALL.apply({"params": params_of(SMALL)}, jnp.ones(3), points)
    again = twice.apply({"params": params_of(SMALL)}, jnp.ones(3), points)
    np.testing.assert_allclose(jnp.tanh(once), again, atol=1e-6)
    with self.assertRaisesRegex(ValueError, "leaves none"):
      Decoder(60, (16, 16), (1,)).layer_widths()
    with self.assertRaisesRegex(AssertionError, "shape"):
      SMALL.apply({"params": params_of(SMALL)}, jnp.ones(4), points)

  def test_normals_are_the_gradients_direction(self):
    points = 0.5 * jax.random.normal(jax.random.key(3), (7, 3))
    params = params_of(SMALL)
    found = decoder.normals(SMALL, params, jnp.ones(3), points)
    np.testing.assert_allclose(jnp.linalg.norm(found, axis=1), 1, rtol=1e-5)
    step = 1e-3
    for axis in range(3):
      change = step * jnp.eye(3)[axis]
      ends = [
        SMALL.apply({"params": params}, jnp.ones(3), points + s * change)
        for s in (1, -1)
      ]
      slope = (ends[0] - ends[1]) / (2 * step)
      _, slopes = decoder.gradient(SMALL, params, jnp.ones(3), points)
      np.testing.assert_allclose(slopes[:, axis], slope, atol=2e-4)


class LossesTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_clamped_l1(self):
    predicted = jnp.array([0.05, 0.3, -0.3, 0.02])
    target = jnp.array([0.02, 0.5, 0.05, 0.2])
    found = self.variant(losses.clamped_l1)(predicted, target)
    np.testing.assert_allclose(found, [0.03, 0, 0.15, 0.08], atol=1e-7)
    slope = jax.grad(lambda p: jnp.sum(losses.clamped_l1(p, target)))(predicted)
    np.testing.assert_array_equal(slope, [1, 0, 0, -1])

  def test_code_length_and_ramp(self):
    codes = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(losses.code_length(codes), [5, 0])
    slope = jax.grad(lambda z: jnp.sum(losses.code_length(z)))(codes)
    np.testing.assert_allclose(slope, [[0.6, 0.8], [0, 0]], rtol=1e-6)
    weights = [losses.regularization_weight(epoch) for epoch in (1, 50, 100, 2000)]
    np.testing.assert_allclose(weights, [1e-6, 5e-5, 1e-4, 1e-4], rtol=1e-6)
    np.testing.assert_array_equal(losses.free_space(jnp.array([-2.0, 3.0])), [2, 0])

  def test_only_long_codes_that_are_used_are_shortened(self):
    codes = jnp.array([[3.0, 4.0], [3.0, 4.0], [0.3, 0.4]])
    used = jnp.array([True, False, True])
    found = losses.project_codes(codes, used)
    np.testing.assert_allclose(found, [[0.6, 0.8], [3, 4], [0.3, 0.4]], atol=1e-6)
    np.testing.assert_array_equal(losses.project_codes(codes, used, None), codes)


def auto_state(auto, optimizer):
  return State.create(
    jax.random.key(1),
    jit_once(auto.init)(jax.random.key(0)),
    optimizer,
    model_state={"regularization": jnp.zeros(())},
  )


def optimizer_of():
  rates = training.constant_rate(1e-3), training.constant_rate(2e-3)
  return training.optimizer(*rates, 1)


@functools.cache  # compiled once for all tests
def stepping(parts=1):
  """What is trained, the step in so many parts, and the state before it."""
  network = dataclasses.replace(SMALL, dropout=0.0)
  auto = training.AutoDecoder(network, 4, regularization=1e-2, accumulate=parts)
  optimizer = optimizer_of()
  state = auto_state(auto, optimizer) if parts == 1 else stepping()[2]
  return auto, jax.jit(auto.step(optimizer, 1)), state


class TrainingTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 12, 4))
    self.batch = {
      "shape": jnp.array([2, 0], jnp.int32),
      "samples": jnp.float32(samples),
    }

  def test_loss_is_its_definition(self):
    auto, step, state = stepping()
    _, metrics = step(state, self.batch)
    table = losses.project_codes(state.params["codes"], jnp.ones(4, bool))
    codes = table[self.batch["shape"]]
    predicted = auto.decoder.apply(
      {"params": state.params["decoder"]}, codes, self.batch["samples"][..., :3]
    )
    error = np.abs(
      np.clip(predicted, -0.1, 0.1) - np.clip(self.batch["samples"][..., 3], -0.1, 0.1)
    ).mean()
    length = np.linalg.norm(codes, axis=1).mean()
    expected = error + 1e-2 * (1 / 100) * length  # the first of a hundred epochs
    self.assertAlmostEqual(metrics["loss"], expected, places=6)

  @parameterized.parameters(2, 6)
  def test_accumulating_changes_nothing(self, parts):
    after = []
    for count in (1, parts):
      _, step, state = stepping(count)
      state, metrics = step(state, self.batch)
      after.append((state.params, metrics["loss"]))
    # Adam's first step is the gradient's sign: rounding may turn tiny ones.
    close = [
      jnp.mean(jnp.abs(a - b) < 1e-5)
      for a, b in zip(*map(jax.tree.leaves, (after[0], after[1])), strict=True)
    ]
    self.assertGreater(float(jnp.mean(jnp.array(close))), 0.99)

  def test_unused_codes_move_by_their_momentum_and_are_not_projected(self):
    _, step, state = stepping()
    table = state.params["codes"].at[3].multiply(50.0)
    state = state.replace(params={**state.params, "codes": table})
    other = {**self.batch, "shape": jnp.array([1, 1], jnp.int32)}
    once, _ = step(state, self.batch)
    np.testing.assert_array_equal(once.params["codes"][3], table[3])
    twice, _ = step(once, other)
    moved = jnp.abs(twice.params["codes"] - once.params["codes"])
    self.assertGreater(float(moved[0].min()), 1e-4)  # not in the second batch
    np.testing.assert_array_equal(moved[3], 0)  # never in any

  def test_groups_have_their_rates_and_clipping_its_group(self):
    rates = training.step_rate(1.0, 3, 0.5), training.step_rate(0.1, 3, 0.5)
    optimizer = training.optimizer(*rates, 2)
    params = {"decoder": {"w": jnp.ones(2)}, "codes": jnp.ones(2)}
    state = optimizer.init(params)
    sizes = []
    for _ in range(5):  # epochs 1, 1, 2, 2, 3
      change, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state)
      sizes.append((float(-change["decoder"]["w"][0]), float(-change["codes"][0])))
    expected = np.array([1, 1, 1, 1, 0.5])
    np.testing.assert_allclose(
      sizes, np.stack([expected, 0.1 * expected], 1), rtol=1e-4
    )
    self.assertAlmostEqual(float(training.warmup_rate(0.0, 1.0, 4)(jnp.array(1))), 0.25)
    clipped = training.optimizer(*rates, 1, largest_norm=1e-3)
    self.assertIsInstance(clipped, optax.GradientTransformation)

  def test_draws_half_of_each_side(self):
    pos, neg = ball_samples(0.6)
    drawn = training.draw_samples(9)(
      {"shape": 5, "pos": pos, "neg": neg[:2]}, np.random.default_rng(0)
    )
    self.assertEqual((drawn["shape"], drawn["samples"].shape), (5, (9, 4)))
    self.assertEqual((drawn["samples"][:, 3] > 0).sum(), 5)

  def test_resumed_run_ends_with_the_same_bits(self):
    source = [
      {"shape": index, "pos": pos, "neg": neg}
      for index, (pos, neg) in enumerate(ball_samples(r, 60) for r in (0.5, 0.6, 0.7))
    ]
    auto = training.AutoDecoder(SMALL, 3)
    stage = training.stage(
      "auto_decoder", auto, optimizer_of(), batch=2, samples=8, epoch_steps=1
    )
    first = jit_once(stage.init)
    ends = []
    for stops in ((6,), (3, 6)):
      workdir = self.enterContext(tempfile.TemporaryDirectory())
      for stop in stops:
        with Run("deepsdf", "smoke", SmallConfig(), workdir) as run:
          batches = pipeline.batches(
            source, batch_size=2, seed=0, transform=training.draw_samples(8)
          )
          state = first(jax.random.key(0))
          state = fit(run, "auto_decoder", state, stage.step, batches, stop)
      ends.append(state.params)
    jax.tree.map(np.testing.assert_array_equal, *ends)


@dataclasses.dataclass(frozen=True)
class SmallConfig:
  seed: int = 0


@functools.cache
def trained_on_balls():
  """A decoder of balls by their radius, its code table, and the radii."""
  radii = np.linspace(0.35, 0.75, 6)
  network = Decoder(2, (32,) * 3, (2,), norm_layers=(0, 1, 2), dropout=0.0)
  auto = training.AutoDecoder(network, 6)
  rates = training.constant_rate(5e-3), training.constant_rate(1e-2)
  optimizer = training.optimizer(*rates, 1)
  samples = [np.concatenate([s[:100] for s in ball_samples(r, 6000)]) for r in radii]
  batch = {"shape": jnp.arange(6), "samples": jnp.stack(samples)}
  step = auto.step(optimizer, 1)

  @jax.jit
  def train(state):
    return jax.lax.scan(lambda s, _: (step(s, batch)[0], None), state, length=400)[0]

  state = train(auto_state(auto, optimizer))
  return network, state.params["decoder"], state.params["codes"], radii


class InferenceTest(absltest.TestCase):
  def test_codes_of_new_balls_and_what_is_made_of_them(self):
    network, params, codes, radii = trained_on_balls()
    fitting = inference.compiled_fit(network, iterations=150, samples=100, rate=0.02)
    pos, neg = zip(*(ball_samples(r, 800, 3) for r in (0.43, 0.6)), strict=True)
    observed = inference.observe(pos, neg)
    found = fitting(params, observed, jax.random.key(0))
    self.assertEqual(found.errors.shape, (2, 150))
    self.assertLess(float(found.errors[:, -20:].mean()), 0.01)
    for radius, code in zip((0.43, 0.6), found.codes, strict=True):
      vertices, faces = meshing.mesh(network, params, code, 33)
      self.assertGreater(len(faces), 500)
      self.assertLess(abs(np.linalg.norm(vertices, axis=1).mean() - radius), 0.02)

    # A shape's code does not depend on what it was fitted beside.
    alone = inference.observe(pos[:1], neg[:1], length=observed.pos.shape[1])
    self.assertEqual(alone.counts.tolist(), [[len(pos[0]), len(neg[0])]])

    # Half of the samples, and one side only: the class says the rest.
    half = [side[side[:, 2] > 0] for side in (pos[1], neg[1])]
    nothing = np.zeros((0, 4), np.float32)
    length = observed.pos.shape[1]
    partial = inference.observe([half[0], half[0]], [half[1], nothing], length=length)
    code, one_sided = fitting(params, partial, jax.random.key(1)).codes
    vertices, _ = meshing.mesh(network, params, code, 33)
    self.assertLess(abs(np.linalg.norm(vertices, axis=1).mean() - 0.6), 0.03)
    self.assertTrue(np.all(np.isfinite(one_sided)))

    # Normals of a ball point away from its centre.
    points = radii[2] * np.eye(3, dtype=np.float32)
    normals = decoder.normals(network, params, codes[2], points)
    self.assertGreater(float(jnp.min(jnp.sum(normals * jnp.eye(3), axis=1))), 0.95)

    # Rays meet it at its radius, or go past it.
    axes = jnp.eye(3)
    origins, directions = raycasting.rays(axes, 15)
    hit = jax.jit(functools.partial(raycasting.trace, network))(
      params, codes[2], origins, directions
    )
    offset = np.linalg.norm(origins[:, :2], axis=1)
    is_hit = np.isfinite(hit.depth)
    np.testing.assert_array_equal(is_hit[offset < radii[2] - 0.06], True)
    np.testing.assert_array_equal(is_hit[offset > radii[2] + 0.06], False)
    reached = np.linalg.norm(hit.points[is_hit], axis=1)
    np.testing.assert_allclose(reached, radii[2], atol=0.04)
    picture = raycasting.shade(hit, axes, 15)
    self.assertEqual(picture.shape, (15, 15, 3))
    np.testing.assert_array_equal(picture[0, 0], 1)

  def test_free_space_keeps_the_surface_away(self):
    network, params, _, _ = trained_on_balls()
    fitting = inference.compiled_fit(network, iterations=150, samples=100, rate=0.02)
    pos, neg = ball_samples(0.6, 800, 3)
    # Only the inside of a small ball is known, and that all from 0.45 on is empty.
    inside = neg[np.linalg.norm(neg[:, :3], axis=1) < 0.3]
    empty = np.zeros((200, 5), np.float32)
    directions = np.random.default_rng(0).normal(size=(200, 3))
    empty[:, :3] = 0.45 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    empty[:, 3] = np.inf
    del pos
    observed = inference.observe([empty], [inside])
    code = fitting(params, observed, jax.random.key(0)).codes[0]
    vertices, _ = meshing.mesh(network, params, code, 33)
    self.assertLess(np.linalg.norm(vertices, axis=1).mean(), 0.48)

  def test_windows_are_consecutive_or_repeated(self):
    rows = jnp.arange(50.0).reshape(10, 5)
    window = inference._window(jax.random.key(0), rows, jnp.int32(10), 4)
    np.testing.assert_array_equal(jnp.diff(window[:, 0]), 5)
    few = inference._window(jax.random.key(0), rows, jnp.int32(3), 8)
    self.assertLess(float(few[:, 0].max()), 15)
    with self.assertRaisesRegex(ValueError, "shape 1 has no samples"):
      one, nothing = np.zeros((1, 4)), np.zeros((0, 4))
      inference.observe([one, nothing], [one, nothing])


class MeshingTest(absltest.TestCase):
  def test_refined_mesh_is_the_whole_grids(self):
    network, params, codes, _ = trained_on_balls()
    whole = meshing.mesh(network, params, codes[3], 65)
    refined = meshing.mesh(network, params, codes[3], 65, refine=True)
    for ours, theirs in zip(refined, whole, strict=True):
      np.testing.assert_allclose(ours, theirs, atol=1e-5)

  def test_grid_is_in_the_authors_order(self):
    network, params, codes, _ = trained_on_balls()
    values = np.asarray(meshing.grid_values(network, params, codes[0], 5))
    point = jnp.array([[-1.0, -0.5, 1.0]])  # x slowest, z fastest
    expected = network.apply({"params": params}, codes[0], point)[0]
    self.assertAlmostEqual(values[0, 1, 4], expected, places=5)

  def test_wrong_resolutions_fields_and_packages_are_told(self):
    network, params, codes, _ = trained_on_balls()
    with self.assertRaisesRegex(meshing.UserError, "not 64"):
      meshing.mesh(network, params, codes[0], 64, refine=True)
    broken = jax.tree.map(lambda x: x * jnp.nan, params)
    for refine, resolution in ((False, 9), (True, 65)):
      with self.assertRaisesRegex(meshing.UserError, "no mesh"):
        meshing.mesh(network, broken, codes[0], resolution, refine=refine)
    with (
      mock.patch.object(
        meshing.marching_cubes, "require", side_effect=ModuleNotFoundError("demo")
      ),
      self.assertRaisesRegex(meshing.UserError, "demo"),
    ):
      meshing.require()


if __name__ == "__main__":
  absltest.main()
