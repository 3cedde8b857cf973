"""Tests of the planner on a stage whose needs are known."""

import sys
import types
from unittest import mock

import jax
import jax.numpy as jnp
import optax
from absl.testing import absltest, parameterized

from experiments import plan
from jaxvision import train
from jaxvision.errors import UserError

WIDTH, BATCH = 32, 6


def linear_stage() -> train.Stage:
  optimizer = optax.sgd(0.1)

  def loss_fn(params, model_state, batch, rng):
    del rng
    return jnp.mean(jnp.square(batch["x"] @ params)), ({}, model_state)

  def init(key):
    return train.State.create(key, jnp.zeros((WIDTH, WIDTH)), optimizer)

  return train.Stage(
    name="linear",
    init=init,
    step=train.gradient_step(loss_fn, optimizer),
    batch={"x": jax.ShapeDtypeStruct((BATCH, WIDTH), jnp.float32)},
    forward=lambda state, batch: batch["x"] @ state.params,
  )


class PlanTest(parameterized.TestCase):
  def test_needs_of_a_linear_layer(self):
    needs = plan.plan(linear_stage(), 1)
    self.assertEqual(needs.parameters, WIDTH**2)
    self.assertEqual((needs.global_batch, needs.device_batch), (BATCH, BATCH))
    # Two products: the prediction and the gradient of the weights.
    products = 2 * 2 * BATCH * WIDTH**2
    self.assertBetween(needs.flops, products, 1.5 * products)
    self.assertBetween(needs.state_bytes, 4 * WIDTH**2, 4 * WIDTH**2 + 64)

  def test_batch_that_does_not_divide_is_refused(self):
    with self.assertRaisesRegex(UserError, "batch of 6 does not divide by 4"):
      plan.plan(linear_stage(), 4)

  @parameterized.parameters(
    ("no_such_paper", "paper", "no such experiment"),
    ("results", "paper", "no experiment"),
    ("content_authentication", "huge", "smoke, demo, paper"),
  )
  def test_wrong_names_are_told(self, paper, preset, message):
    with self.assertRaisesRegex(UserError, message):
      plan.load_experiment(paper, preset)

  def test_paper_without_a_network_is_told(self):
    paper = types.ModuleType("experiments.untrained")
    paper.PRESETS = {"paper": object()}
    with (
      mock.patch.dict(sys.modules, {"experiments.untrained": paper}),
      self.assertRaisesRegex(UserError, "untrained: it trains no network"),
    ):
      plan.load_experiment("untrained", "paper")


if __name__ == "__main__":
  absltest.main()
