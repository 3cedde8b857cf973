"""Tests of fit: resuming, batches from anywhere, hooks, and what stops it."""

import os
import shutil
import tempfile

import chex
import grain
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.errors import UserError
from jaxvision.train import NonFiniteError, fit, restore
from tests.train import tiny

# One state and one step for the whole module, so that each is traced seldom.
STATE, STEP = tiny.make(normalize=True, ema_decay=0.9)
STEPS = 12


def grain_batches(workers=0):
  """Returns an iterator over shuffled, repeated batches of 16."""
  data = [tiny.batch_of(n, size=1) for n in range(40)]
  dataset = (
    grain.MapDataset.source(data)
    .shuffle(seed=3)
    .repeat()
    .to_iter_dataset()
    .map(lambda example: {key: value[0] for key, value in example.items()})
    .batch(16)
  )
  return iter(dataset)


def generator():
  for step in range(STEPS):
    yield tiny.batch_of(step)


class FitTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self.workdir)
    self.run_ = tiny.Run(self.workdir)

  def fit(self, name="stage", batches=tiny.batch_of, num_steps=STEPS, **options):
    return fit(self.run_, name, STATE, STEP, batches, num_steps, **options)

  def kept(self, name="stage"):
    return sorted(map(int, os.listdir(f"{self.workdir}/checkpoints/{name}")))

  def forget(self, *steps, name="stage"):
    """Takes the run back to before these checkpoints were written."""
    for step in steps:
      shutil.rmtree(f"{self.workdir}/checkpoints/{name}/{step}")

  @parameterized.named_parameters(
    ("callable", lambda: tiny.batch_of),
    ("grain", grain_batches),
    ("generator", generator),
    ("list", lambda: list(generator())),
  )
  def test_resumed_run_has_the_bits_of_an_uninterrupted_one(self, batches):
    whole = self.fit("whole", batches())
    self.fit(batches=batches(), checkpoint_every=5)
    self.assertEqual(self.kept(), [5, 10, 12])
    self.forget(10, 12)
    resumed = self.fit(batches=batches())
    tiny.assert_same_bits(resumed, whole)
    self.assertIn("stage: going on at step 5 of 12", self.run_.lines)

  def test_initial_state_and_batches_survive(self):
    self.fit()
    self.assertEqual(STATE.step, 0)
    self.assertTrue(np.isfinite(STATE.params["Dense_0"]["kernel"]).all())

  def test_finished_stage_is_restored_and_left_at_once(self):
    finished = self.fit()

    def never(step):
      raise AssertionError("a batch was drawn")

    tiny.assert_same_bits(self.fit(batches=never), finished)
    tiny.assert_same_bits(restore(self.run_, "stage", STATE), finished)
    shapes = jax.eval_shape(lambda: STATE)
    tiny.assert_same_bits(restore(self.run_, "stage", shapes), finished)

  def test_workdir_may_be_relative(self):
    self.run_ = tiny.Run(os.path.relpath(self.workdir))
    finished = self.fit(num_steps=2)
    tiny.assert_same_bits(restore(self.run_, "stage", STATE), finished)

  def test_stages_follow_each_other(self):
    first = self.fit("first", num_steps=4)
    second = fit(self.run_, "second", first, STEP, tiny.batch_of, 3)
    self.assertEqual(second.step, 7)
    self.assertEqual(self.kept("second"), [1, 2, 3])

  def test_an_iterator_passes_from_stage_to_stage_without_loss(self):
    batches = grain_batches()
    first = self.fit("first", batches, num_steps=4)
    whole = fit(self.run_, "second", first, STEP, batches, 3)
    self.forget(1, 2, 3, name="second")
    batches = grain_batches()
    first = self.fit("first", batches, num_steps=4)
    again = fit(self.run_, "second", first, STEP, batches, 3)
    tiny.assert_same_bits(again, whole)

  @parameterized.parameters(4, 5)
  def test_several_steps_a_call_give_the_bits_of_single_ones(self, steps_per_call):
    single = self.fit("single", eval_every=6, evaluate=lambda state: {})
    several = self.fit(steps_per_call=steps_per_call, checkpoint_every=6)
    tiny.assert_same_bits(several, single)
    for metric in ("loss", "error", "gradient_norm"):
      self.assertEqual(
        self.run_.curves["stage", metric], self.run_.curves["single", metric]
      )

  def test_newest_three_checkpoints_and_the_best_are_kept(self):
    accuracy = {2: 0.3, 4: 0.9, 6: np.nan, 8: 0.5, 10: 0.9, 12: 0.1}
    states = {}

    def evaluate(state):
      states[int(state.step)] = jax.device_get(state.params)
      return {"accuracy": accuracy[int(state.step)]}

    options = {"evaluate": evaluate, "eval_every": 2, "best": ("accuracy", "higher")}
    self.fit(checkpoint_every=3, **options)
    self.assertEqual(self.kept(), [4, 6, 9, 12])
    self.assertEqual(
      self.run_.curves["stage", "eval/accuracy"] | {6: None}, accuracy | {6: None}
    )
    best = restore(self.run_, "stage", STATE, best=True)
    self.assertEqual(best.step, 4)
    chex.assert_trees_all_equal(best.params, states[4])
    # Going on, it is still known which is the best.
    self.forget(12)
    self.fit(checkpoint_every=1, **options)
    self.assertEqual(self.kept(), [4, 10, 11, 12])

  def test_lower_may_be_better(self):
    self.fit(
      checkpoint_every=0,
      evaluate=lambda state: {"error": abs(int(state.step) - 6)},
      eval_every=3,
      best=("error", "lower"),
    )
    self.assertEqual(self.kept(), [3, 6, 12])

  def test_best_needs_an_evaluation(self):
    with self.assertRaisesRegex(ValueError, "needs evaluate"):
      self.fit(best=("accuracy", "higher"))

  def test_curves_are_means_over_windows(self):
    self.fit("each", log_every=1)
    self.fit(log_every=5)
    each = self.run_.curves["each", "loss"]
    self.assertEqual(list(each), list(range(1, 13)))
    windows = self.run_.curves["stage", "loss"]
    self.assertEqual(list(windows), [5, 10, 12])
    np.testing.assert_allclose(windows[12], (each[11] + each[12]) / 2, rtol=1e-6)

  @parameterized.parameters(1, 3)
  def test_nan_batch_stops_the_run_and_leaves_the_last_checkpoint(self, steps_per_call):
    def poisoned(step):
      batch = tiny.batch_of(step)
      return batch | {"inputs": batch["inputs"] + np.nan} if step == 7 else batch

    with self.assertRaisesRegex(NonFiniteError, "stage: .* is nan at step 8"):
      self.fit(batches=poisoned, checkpoint_every=3, steps_per_call=steps_per_call)
    self.assertEqual(self.kept(), [3, 6])
    mended = self.fit()
    tiny.assert_same_bits(mended, self.fit("whole"))

  def test_state_that_is_not_finite_is_not_saved(self):
    def last_update_overflows(state, batch):
      state, metrics = STEP(state, batch)
      scale = jnp.where(state.step == 4, jnp.inf, 1.0)
      params = jax.tree.map(lambda leaf: leaf * scale, state.params)
      return state.replace(params=params), metrics

    with self.assertRaisesRegex(NonFiniteError, "params/.* not finite after step 4"):
      fit(
        self.run_,
        "stage",
        STATE,
        last_update_overflows,
        tiny.batch_of,
        4,
        checkpoint_every=2,
      )
    self.assertEqual(self.kept(), [2])

  def test_batches_that_end_early_are_told(self):
    with self.assertRaisesRegex(UserError, "ended after 12 steps"):
      self.fit(batches=generator(), num_steps=STEPS + 1)

  def test_restoring_what_is_not_there_or_of_another_network(self):
    with self.assertRaisesRegex(UserError, "no checkpoint of stage"):
      restore(self.run_, "stage", STATE)
    self.fit(num_steps=1)
    other, _ = tiny.make(normalize=False)
    with self.assertRaisesRegex(UserError, "another network or optimiser"):
      restore(self.run_, "stage", other)
    narrow = STATE.replace(
      params=jax.tree.map(lambda leaf: leaf[..., :1], STATE.params)
    )
    with self.assertRaisesRegex(UserError, r"params/.* is float32\[\d+.* here"):
      restore(self.run_, "stage", narrow)


if __name__ == "__main__":
  absltest.main()
