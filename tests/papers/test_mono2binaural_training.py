"""Tests of mono2binaural's objectives, optimiser and separation."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest

from jaxvision.papers.mono2binaural import audio, evaluation, separation, training
from jaxvision.papers.mono2binaural import data as segments
from jaxvision.papers.mono2binaural.networks import (
  normalize_frames,
  ratio_mask,
  signed_mask,
)
from jaxvision.train import jit_once
from tests.papers.mono2binaural_networks import FORM, KEY, TINY, filled

RNG = np.random.default_rng(0)


def random(shapes):
  return {
    name: RNG.standard_normal(leaf.shape).astype(np.float32)
    for name, leaf in shapes.items()
  }


class OptimizerTest(absltest.TestCase):
  def test_two_rates_decay_and_weights_decay_by_their_gradient(self):
    optimizer = training.optimizer(
      1e-3, 1e-4, weight_decay=0.5, decay=0.94, decay_steps=2
    )
    params = {"audio": {"w": jnp.ones(2)}, "visual": {"w": -jnp.ones(2)}}
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = optimizer.init(params)
    sizes = []
    for _ in range(3):
      updates, state = optimizer.update(zeros, state, params)
      sizes.append((updates["audio"]["w"][0], updates["visual"]["w"][0]))
    # Adam's first steps are as long as the rate; coupled decay alone moves weights.
    expected = [(-1e-3, 1e-4), (-1e-3, 1e-4), (-0.94e-3, 0.94e-4)]
    np.testing.assert_allclose(sizes, expected, rtol=1e-3)
    updates, _ = optimizer.update(
      {"audio": zeros["audio"]},
      optimizer.init({"audio": params["audio"]}),
      {"audio": params["audio"]},
    )
    self.assertLess(updates["audio"]["w"][0], 0)


class BinauralTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.network = TINY.make()
    cls.shapes = segments.batch_shapes(2, FORM, 16, 24)
    cls.stage = training.stage(
      "tiny", cls.network, FORM, training.optimizer(0.03, 0.03), cls.shapes
    )
    cls.state = jit_once(cls.stage.init)(KEY)
    cls.batch = random(cls.shapes)
    cls.step = staticmethod(jax.jit(cls.stage.step))
    cls.loss = float(jit_once(cls.stage.forward)(cls.state, cls.batch))

  def test_the_start_is_the_papers(self):
    params = self.state.params["audio"]
    kernel = params["up_1"]["kernel"]
    self.assertAlmostEqual(float(np.std(kernel)), 0.02, delta=2e-3)
    bias = np.abs(params["down_1"]["bias"])
    self.assertBetween(bias.max(), 1e-3, 1 / np.sqrt(32))  # of 4 x 4 x 2 inputs
    scales = params["up_1_norm"]["scale"]
    self.assertBetween(float(np.std(scales)), 1e-3, 0.05)

  def test_the_loss_is_that_of_the_difference(self):
    variables = training.variables_of(self.state)
    apply = jit_once(self.network.apply)
    expected = []
    for clip, frame in zip(self.batch["audio"], self.batch["frames"], strict=True):
      normal = clip * 0.1 / np.sqrt(np.mean(clip**2))
      left, right = (audio.spectrum(jnp.asarray(ear), FORM) for ear in normal.T)
      seen = normalize_frames(frame[None])
      logits = apply(variables, (left + right)[None], seen)
      mask = np.asarray(signed_mask(logits[0])) @ [1, 1j]
      sums = np.asarray((left + right)[:-1]) @ [1, 1j]
      differences = np.asarray((left - right)[:-1]) @ [1, 1j]
      expected.append(np.mean(np.abs(mask * sums - differences) ** 2) / 2)
    np.testing.assert_allclose(self.loss, np.mean(expected), rtol=1e-4)

  def test_steps_lower_the_loss_and_move_everything(self):
    state, losses = self.state, []
    for _ in range(12):
      state, metrics = self.step(state, self.batch)
      losses.append(float(metrics["loss"]))
    self.assertLess(losses[-1], 0.9 * losses[0])
    moved = jax.tree.map(
      lambda a, b: float(np.abs(a - b).max()), self.state.params, state.params
    )
    self.assertTrue(all(value > 0 for value in jax.tree.leaves(moved)))
    chex.assert_tree_all_finite(state.params)
    statistics = state.model_state["batch_stats"]
    self.assertEqual(set(statistics), {"audio", "visual"})

  def test_validation_keeps_what_is_best(self):
    options = training.validation(self.stage, [self.batch, self.batch], 7)
    found = options["evaluate"](self.state)
    np.testing.assert_allclose(found["loss"], self.loss, rtol=1e-5)
    self.assertEqual(options["best"], ("loss", "lower"))
    self.assertEqual(options["eval_every"], 7)

  def test_what_sees_can_start_from_other_weights(self):
    shapes = jax.eval_shape(self.network.visual.init, KEY, jnp.zeros((1, 16, 24, 3)))
    given = jax.tree.map(lambda leaf: np.full(leaf.shape, 7.0), shapes)
    state = training.with_visual(self.state, given)
    chex.assert_trees_all_equal(state.params["visual"], given["params"])
    chex.assert_trees_all_equal(state.params["audio"], self.state.params["audio"])
    chex.assert_trees_all_equal_shapes(state.params, self.state.params)
    chex.assert_trees_all_equal_structs(state, self.state)


class SeparationTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.network = TINY.make(outputs=2)
    cls.shapes = segments.mixture_shapes(2, FORM, 16, 24, 2)
    cls.stage = training.stage(
      "tiny",
      cls.network,
      FORM,
      optax.adam(0.01),
      cls.shapes,
      separation.mask_loss,
    )
    state = jax.eval_shape(cls.stage.init, KEY)
    params, model_state = filled(state.params), filled(state.model_state)
    cls.state = state.replace(params=params, model_state=model_state)
    cls.variables = training.variables_of(cls.state)

  def test_channels_of_each_kind(self):
    truth, predicted = RNG.standard_normal((2, 50, 2)).astype(np.float32)
    mean = truth.mean(-1, keepdims=True)
    for kind, expected in (
      ("mono", mean),
      ("mono_mono", np.repeat(mean, 2, -1)),
      ("binaural", predicted),
      ("true_binaural", truth),
    ):
      found = separation.heard(kind, truth, predicted)
      np.testing.assert_allclose(found, expected, atol=1e-6)
      self.assertEqual(found.shape[-1], separation.CHANNELS[kind])

  def test_the_target_is_the_share_of_the_first_clip(self):
    batch = random(self.shapes)
    batch["second"] = batch["first"] / 3  # a share of 3 / 4 everywhere
    found = jit_once(
      lambda v, batch: separation.mask_loss(self.network, FORM, v, batch, False)[0]
    )(self.variables, batch)
    mixture = batch["first"] + batch["second"]
    planes = audio.spectrum(
      jnp.moveaxis(audio.normalize(jnp.asarray(mixture))[0], -1, 1), FORM
    )
    magnitude = jnp.moveaxis(jnp.hypot(planes[..., 0], planes[..., 1]), 1, -1)
    seen = normalize_frames(batch["frames"])
    logits = jit_once(self.network.apply)(self.variables, magnitude, seen)
    expected = np.mean(np.abs(ratio_mask(logits) - 0.75))
    np.testing.assert_allclose(found, expected, rtol=1e-3)

  def test_estimates_are_masked_mixtures(self):
    # A network whose last layer says 0 everywhere halves what it hears.
    params = self.variables["params"]
    last = jax.tree.map(jnp.zeros_like, params["audio"]["up_5"])
    audio_params = {**params["audio"], "up_5": last}
    variables = {**self.variables, "params": {**params, "audio": audio_params}}
    time = np.arange(FORM.samples) / FORM.rate
    tones = [np.sin(2 * np.pi * f * time) for f in (200, 430)]
    sources = np.float32([[[tone, tone] for tone in tones]] * 3)
    sources = np.moveaxis(sources, 2, -1)  # [3, 2, T, 2]
    mixtures = evaluation.Mixtures(
      sources, RNG.random((3, 2, 16, 24, 3)).astype(np.float32)
    )
    found = evaluation.separate(self.network, variables, mixtures, FORM, 3)
    expected = 0.5 * sources.sum(1)
    inner = slice(100, -100)
    np.testing.assert_allclose(
      found.estimates[:, 0, inner], expected[:, inner], atol=5e-3
    )
    self.assertEqual(
      {k: v.shape for k, v in found.scores.items()},
      dict.fromkeys(("SDR", "SIR", "SAR"), (3, 2)),
    )
    rows = evaluation.parted(mixtures, {"true_binaural": found.estimates}, FORM, 2)
    self.assertLen(rows, 2)
    names = ["frame", "mixture", "true", "from true binaural"]
    self.assertEqual(list(rows[0]), names)
    self.assertEqual(rows[0]["true"].shape, (FORM.bins, FORM.frames))
    # Both tones in equal parts: as much interference as source.
    np.testing.assert_allclose(found.scores["SIR"], 0, atol=0.3)


if __name__ == "__main__":
  absltest.main()
