"""Tests of training steps: accumulation, averages, adversaries, precision."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest

from jaxvision.errors import UserError
from jaxvision.train import State, gradient_step, mixed_precision, sequence
from tests.train import tiny


def quadratic(params, model_state, batch, rng):
  """Half the mean squared distance of "at" to the batch, with gradient at - mean."""
  del rng
  distance = params["at"] - batch
  count = model_state["count"] + 1
  return 0.5 * jnp.mean(jnp.sum(distance**2, axis=-1)), (
    {"distance": jnp.mean(jnp.abs(distance))},
    {"count": count},
  )


def start(optimizer, **options):
  params = {"at": jnp.array([1.0, -2.0])}
  model_state = {"count": jnp.zeros((), jnp.int32)}
  return State.create(
    jax.random.key(0), params, optimizer, model_state=model_state, **options
  )


BATCH = np.arange(12, dtype=np.float32).reshape(6, 2)


class GradientStepTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_one_step_of_gradient_descent_in_closed_form(self):
    optimizer = optax.sgd(0.1)
    state, metrics = self.variant(gradient_step(quadratic, optimizer))(
      start(optimizer), BATCH
    )
    gradient = np.array([1.0, -2.0]) - BATCH.mean(0)
    np.testing.assert_allclose(
      state.params["at"], np.array([1.0, -2.0]) - 0.1 * gradient, rtol=1e-6
    )
    np.testing.assert_allclose(
      metrics["gradient_norm"], np.linalg.norm(gradient), rtol=1e-6
    )
    self.assertEqual(sorted(metrics), ["distance", "gradient_norm", "loss"])
    self.assertEqual((state.step, state.model_state["count"]), (1, 1))

  def test_schedule_of_optax_is_followed(self):
    optimizer = optax.sgd(optax.piecewise_constant_schedule(0.1, {1: 0.0}))
    step = jax.jit(gradient_step(quadratic, optimizer))
    first, _ = step(start(optimizer), BATCH)
    second, _ = step(first, BATCH)
    np.testing.assert_array_equal(second.params["at"], first.params["at"])

  def test_accumulation_equals_the_whole_batch(self):
    optimizer = optax.adam(0.1)
    whole, metrics = jax.jit(gradient_step(quadratic, optimizer))(
      start(optimizer), BATCH
    )
    parts, parts_metrics = jax.jit(gradient_step(quadratic, optimizer, accumulate=3))(
      start(optimizer), BATCH
    )
    chex.assert_trees_all_close(parts.params, whole.params, rtol=1e-6)
    chex.assert_trees_all_close(parts.opt_state, whole.opt_state, rtol=1e-6)
    chex.assert_trees_all_close(parts_metrics, metrics, rtol=1e-6)
    self.assertEqual(parts.model_state["count"], 3)

  def test_batch_that_cannot_be_cut_is_refused(self):
    optimizer = optax.sgd(0.1)
    step = gradient_step(quadratic, optimizer, accumulate=4)
    with self.assertRaisesRegex(UserError, "6 examples cannot be cut into 4"):
      step(start(optimizer), BATCH)

  def test_moving_average_in_closed_form(self):
    optimizer = optax.sgd(0.1)
    step = jax.jit(gradient_step(quadratic, optimizer, ema_decay=0.8))
    state = start(optimizer, ema=True)
    history = [np.asarray(state.params["at"])]
    for _ in range(5):
      state, _ = step(state, BATCH)
      history.append(np.asarray(state.params["at"]))
    weights = [0.8**5] + [0.2 * 0.8 ** (5 - n) for n in range(1, 6)]
    np.testing.assert_allclose(
      state.ema["at"], np.tensordot(weights, history, 1), rtol=1e-6
    )

  def test_moving_average_decay_may_depend_on_the_step(self):
    optimizer = optax.sgd(0.1)
    step = gradient_step(
      quadratic, optimizer, ema_decay=lambda n: jnp.where(n == 0, 0.0, 1.0)
    )
    first, _ = step(start(optimizer, ema=True), BATCH)
    second, _ = step(first, BATCH)
    np.testing.assert_array_equal(second.ema["at"], first.params["at"])

  def test_moving_average_without_room_for_it_is_refused(self):
    optimizer = optax.sgd(0.1)
    with self.assertRaisesRegex(ValueError, "ema=True"):
      gradient_step(quadratic, optimizer, ema_decay=0.9)(start(optimizer), BATCH)

  def test_random_numbers_differ_from_step_to_step_and_micro_batch(self):
    def noise(params, model_state, batch, rng):
      draw = jax.random.uniform(rng)
      return draw + 0 * params["at"].sum(), ({"draw": draw}, model_state)

    optimizer = optax.sgd(0.1)
    step = gradient_step(noise, optimizer)
    state, first = step(start(optimizer), BATCH)
    _, second = step(state, BATCH)
    _, again = step(start(optimizer), BATCH)
    _, halves = gradient_step(noise, optimizer, accumulate=2)(start(optimizer), BATCH)
    draws = {float(metrics["draw"]) for metrics in (first, second, halves)}
    self.assertLen(draws, 3)
    self.assertEqual(first["draw"], again["draw"])


class SequenceTest(chex.TestCase):
  def test_adversaries_take_turns(self):
    """x y has its saddle at 0: one group descends it, the other ascends it."""

    def game(sign):
      def loss_fn(params, model_state, batch, rng):
        del batch
        value = params["low"] * params["high"]
        return sign * value, ({"draw": jax.random.uniform(rng)}, model_state)

      return loss_fn

    optimizers = {"low": optax.sgd(0.1), "high": optax.adam(0.2)}
    params = {"low": jnp.array(1.0), "high": jnp.array(2.0)}
    state = State.create(jax.random.key(0), params, optimizers, ema=True)
    step = jax.jit(
      sequence(
        gradient_step(game(1), optimizers["low"], group="low", ema_decay=0.5),
        gradient_step(game(-1), optimizers["high"], group="high"),
      )
    )
    state, metrics = step(state, BATCH)
    # low descends with high = 2; high then ascends with the new low = 0.8, and Adam's
    # first step is as long as its rate.
    np.testing.assert_allclose(state.params["low"], 0.8, rtol=1e-6)
    np.testing.assert_allclose(state.params["high"], 2.2, rtol=1e-6)
    np.testing.assert_allclose(state.ema["low"], 0.9, rtol=1e-6)
    np.testing.assert_allclose(state.ema["high"], 2.0, rtol=1e-6)
    np.testing.assert_allclose(metrics["low/loss"], 2.0, rtol=1e-6)
    np.testing.assert_allclose(metrics["high/loss"], -1.6, rtol=1e-6)
    self.assertNotEqual(metrics["low/draw"], metrics["high/draw"])
    self.assertEqual(state.step, 1)
    state, _ = step(state, BATCH)
    self.assertEqual(state.step, 2)
    self.assertEqual(state.opt_state["high"][0].count, 2)

  def test_optimizers_must_match_the_groups(self):
    with self.assertRaises(AssertionError):
      State.create(jax.random.key(0), {"a": jnp.zeros(1)}, {"b": optax.sgd(0.1)})


class MixedPrecisionTest(chex.TestCase):
  def test_computes_in_bfloat16_and_keeps_float32(self):
    seen = []
    network = tiny.Network(normalize=True, axis_name=None)
    loss_fn = tiny.loss_of(network)

    def watched(params, model_state, batch, rng):
      seen.append(
        jax.tree.leaves(jax.tree.map(lambda leaf: leaf.dtype, (params, batch)))
      )
      return loss_fn(params, model_state, batch, rng)

    state, step = tiny.make(normalize=True, axis_name=None)
    half_step = gradient_step(mixed_precision(watched), optax.adam(1e-2))
    full, full_metrics = jax.jit(step)(state, tiny.batch_of(0))
    half, half_metrics = jax.jit(half_step)(state, tiny.batch_of(0))
    self.assertEqual({str(dtype) for dtype in seen[0]}, {"bfloat16"})
    chex.assert_trees_all_equal_dtypes(half.params, full.params)
    chex.assert_trees_all_equal_dtypes(half.model_state, full.model_state)
    chex.assert_trees_all_equal_dtypes(half.opt_state[0].mu, full.opt_state[0].mu)
    chex.assert_trees_all_close(half_metrics, full_metrics, rtol=2e-2)
    self.assertNotEqual(half_metrics["loss"], full_metrics["loss"])

  def test_integers_are_left_alone(self):
    def loss_fn(params, model_state, batch, rng):
      self.assertEqual(batch["label"].dtype, jnp.int32)
      return params["at"].sum(), ({}, model_state)

    optimizer = optax.sgd(0.1)
    step = gradient_step(mixed_precision(loss_fn), optimizer)
    step(start(optimizer), {"label": jnp.arange(4)})


if __name__ == "__main__":
  absltest.main()
