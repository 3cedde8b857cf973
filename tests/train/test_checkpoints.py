"""Tests of checkpoints that are damaged, or for which the disk has no room."""

import os
import pathlib
import resource
import shutil
import tempfile
import time

import chex
import jax
import jax.numpy as jnp
import optax
from absl.testing import absltest

from jaxvision.errors import UserError
from jaxvision.train import State, fit, gradient_step, restore
from tests.train import tiny

OPTIMIZER = optax.adam(1e-3)


def loss_fn(params, model_state, batch, rng):
  return jnp.mean((batch["inputs"] @ params["kernel"]) ** 2), ({}, model_state)


# Large enough that orbax stores an array in a file of its own.
STATE = State.create(
  jax.random.key(0),
  {"kernel": jax.random.normal(jax.random.key(1), (8, 20_000))},
  OPTIMIZER,
)
STEP = gradient_step(loss_fn, OPTIMIZER)


class CheckpointsTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.run_ = tiny.Run(tempfile.mkdtemp())
    self.addCleanup(shutil.rmtree, self.run_.workdir)
    self.stage = pathlib.Path(self.run_.workdir) / "checkpoints" / "stage"

  def fit(self, batches=tiny.batch_of):
    return fit(self.run_, "stage", STATE, STEP, batches, 6, checkpoint_every=2)

  def damaged(self):
    """Yields with each file of the newest truncated, then with a bit flipped."""
    for path in sorted((self.stage / "6").rglob("*")):
      if not path.is_file():
        continue
      whole = path.read_bytes()
      flipped = bytearray(whole)
      flipped[len(whole) // 3] ^= 0x10
      for content in (whole[: len(whole) // 2], flipped):
        path.write_bytes(content)
        self.run_.lines.clear()
        yield path.relative_to(self.stage)
      path.write_bytes(whole)

  def test_a_damaged_newest_is_never_used(self):
    last = self.fit()
    gone_back = []
    for path in self.damaged():
      with self.subTest(str(path)):
        state = restore(self.run_, "stage", STATE)
        if state.step == 6:  # what was damaged is of no consequence
          self.assertEqual(self.run_.lines, [])
          tiny.assert_same_bits(state, last)
        else:
          self.assertEqual(state.step, 4)
          self.assertRegex(
            self.run_.lines[0],
            "^warning: checkpoint .*/checkpoints/stage/6 is damaged, using the one bef",
          )
          gone_back.append(path)
    # Arrays in files of their own are of consequence, and so is the JSON beside them.
    arrays = [path for path in gone_back if "ocdbt.process_0" in path.parts]
    self.assertNotEmpty(arrays)
    self.assertLen(arrays, 2 * len(set(arrays)))
    self.assertIn(pathlib.Path("6/progress/metadata"), gone_back)

  def test_going_on_from_the_one_before_replaces_the_damaged(self):
    last = self.fit()
    manifest = self.stage / "6" / "state" / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:50])
    tiny.assert_same_bits(self.fit(), last)
    self.assertIn("stage/6 is damaged", self.run_.lines[1])
    self.assertEqual(self.run_.lines[2], "stage: going on at step 4 of 6")
    tiny.assert_same_bits(restore(self.run_, "stage", STATE), last)

  def test_nothing_is_started_afresh_where_all_are_damaged(self):
    self.fit()
    for manifest in self.stage.glob("*/state/manifest.ocdbt"):
      manifest.write_bytes(b"")
    with self.assertRaisesRegex(UserError, "all checkpoints in .* are damaged"):
      self.fit()

  def test_full_disk_is_told_and_the_earlier_checkpoint_is_intact(self):
    """A limit on the size of files stands for the disk, which only root can fill."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))

    def batches(step):
      if step == 3:
        while not (self.stage / "2").exists():
          time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
      return tiny.batch_of(step)

    message = "cannot write checkpoints to .*/stage: File too large .*intact"
    with self.assertRaisesRegex(UserError, message):
      self.fit(batches)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    self.assertEqual(restore(self.run_, "stage", STATE).step, 2)
    # With room again the same command goes on, and clears what lay half written.
    self.fit()
    self.assertEqual(sorted(os.listdir(self.stage)), ["2", "4", "6"])


if __name__ == "__main__":
  absltest.main()
