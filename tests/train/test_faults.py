"""Tests of a program that is killed, stopped or damaged, and started again."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

import chex
from absl.testing import absltest

from jaxvision.train import fit, restore
from tests.train import program, tiny

ROOT = pathlib.Path(__file__).parents[2]


def start(workdir, *flags):
  """Starts the program; returns the process."""
  return subprocess.Popen(
    [sys.executable, "-m", "tests.train.program", str(workdir), *flags],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def saved(workdir):
  state, _ = tiny.make(normalize=True, ema_decay=0.9)
  return restore(tiny.Run(workdir), "stage", state)


class FaultsTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(tempfile.mkdtemp())
    self.addCleanup(shutil.rmtree, self.workdir)

  def assert_ends(self, process, status):
    output, _ = process.communicate(timeout=120)
    self.assertEqual(process.returncode, status, output)
    return output

  def checkpoints(self):
    return sorted(os.listdir(self.workdir / "checkpoints" / "stage"))

  def test_killed_while_training_while_writing_and_stopped(self):
    """The same command after each fault: at last the bits of an uninterrupted run."""
    with self.subTest("kill -9 in the middle of the run"):
      self.assert_ends(
        start(self.workdir, "--fault=SIGKILL", "--at=7"), -signal.SIGKILL
      )
    with self.subTest("kill -9 in the middle of a write"):
      process = start(self.workdir, "--fault=write", "--at=11")
      output = self.assert_ends(process, -signal.SIGKILL)
      self.assertIn("going on at step 4 of 20", output)
      self.assertEqual(self.checkpoints()[0], "12.orbax-checkpoint-tmp")
    with self.subTest("SIGTERM"):
      output = self.assert_ends(start(self.workdir, "--fault=SIGTERM", "--at=14"), 143)
      self.assertIn("going on at step 8 of 20", output)
      self.assertIn("saved at step 14", output)
      self.assertEqual(self.checkpoints(), ["12", "14", "8"])
    with self.subTest("uninterrupted"):
      output = self.assert_ends(start(self.workdir), 0)
      self.assertIn("going on at step 14 of 20", output)
    whole = program.train(tempfile.mkdtemp(dir=self.workdir))
    tiny.assert_same_bits(saved(self.workdir), whole)

  def test_interrupt_saves_and_exits_with_130(self):
    state, step = tiny.make()

    def interrupted(number):
      if number == 5:
        signal.raise_signal(signal.SIGINT)
      return tiny.batch_of(number)

    run = tiny.Run(self.workdir)
    options = {"evaluate": lambda state: {"step": state.step}, "eval_every": 1}
    with self.assertRaises(SystemExit) as caught:
      fit(run, "stage", state, step, interrupted, 10, **options)
    self.assertEqual(caught.exception.code, 130)
    self.assertEqual(restore(run, "stage", state).step, 5)
    self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
    # What the interruption left out is made up for.
    fit(run, "stage", state, step, tiny.batch_of, 10, **options)
    evaluated = run.curves["stage", "eval/step"]
    self.assertEqual(evaluated, {step: step for step in range(1, 11)})

  def test_second_interrupt_does_not_wait(self):
    state, step = tiny.make()

    def interrupted(number):
      if number >= 5:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
      return tiny.batch_of(number)

    with self.assertRaises(KeyboardInterrupt):
      fit(tiny.Run(self.workdir), "stage", state, step, interrupted, 10)
    self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)

  def test_outside_of_the_main_thread_signals_are_left_alone(self):
    state, step = tiny.make()
    arguments = (tiny.Run(self.workdir), "stage", state, step, tiny.batch_of, 3)
    thread = threading.Thread(target=fit, args=arguments)
    thread.start()
    thread.join()
    self.assertEqual(self.checkpoints(), ["1", "2", "3"])


if __name__ == "__main__":
  absltest.main()
