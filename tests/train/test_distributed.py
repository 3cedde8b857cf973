"""Tests of one training on several devices and in several processes."""

import os
import pathlib
import shutil
import socket
import tempfile
from unittest import mock

import chex
import jax
from absl.testing import absltest, parameterized

from jaxvision.errors import UserError
from jaxvision.train import distributed, replication
from tests.train import program, tiny
from tests.train.test_faults import saved, start

FLAGS = ("--num_processes=2", "--devices=1")


def free_port():
  with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    return listener.getsockname()[1]


class SameNumbersTest(chex.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.directory = pathlib.Path(tempfile.mkdtemp())
    cls.addClassCleanup(shutil.rmtree, cls.directory)
    cls.single = program.train(cls.directory / "single")

  def assert_same_numbers(self, name):
    state = saved(self.directory / name)
    for field in ("step", "params", "model_state", "ema", "opt_state"):
      chex.assert_trees_all_close(
        getattr(state, field), getattr(self.single, field), rtol=1e-5, atol=1e-5
      )

  def assert_ends(self, process, status):
    output, _ = process.communicate(timeout=120)
    self.assertEqual(process.returncode, status, output)
    return output

  def test_eight_devices(self):
    self.assert_ends(start(self.directory / "eight", "--devices=8"), 0)
    self.assert_same_numbers("eight")

  def test_two_processes_one_of_which_is_told_to_stop(self):
    def start_both(*faults):
      address = f"--coordinator_address=127.0.0.1:{free_port()}"
      return [
        start(self.directory / "two", address, f"--process_id={number}", *FLAGS, *fault)
        for number, fault in enumerate(faults)
      ]

    for process in start_both((), ("--fault=SIGTERM", "--at=9")):
      self.assertIn("stopped by signal 15", self.assert_ends(process, 143))
    for process in start_both((), ()):
      self.assertIn("stage: going on at step", self.assert_ends(process, 0))
    self.assert_same_numbers("two")
    alone = start(self.directory / "two", "--num_processes=1")
    self.assertIn("was written by 2 processes", self.assert_ends(alone, 1))


class ReplicationTest(chex.TestCase):
  def test_batches_are_cut_over_devices_and_stacked_over_steps(self):
    first, second = tiny.batch_of(0, 6), tiny.batch_of(1, 6)
    sharded = replication.shard([first, second])
    devices = jax.local_device_count()
    chex.assert_shape(sharded["inputs"], (devices, 2, 6 // devices, 8))
    chex.assert_trees_all_equal(sharded["inputs"][0, 1], second["inputs"])

  def test_step_is_lowered_without_arrays(self):
    state, step = tiny.make(normalize=True)
    state = jax.eval_shape(lambda: state)
    batch = jax.eval_shape(lambda: tiny.batch_of(0, 64))
    lowered = replication.lower(step, state, batch, 1)
    # Forward, and both gradients but that by the inputs: 2 FLOPs a multiplication.
    products = 2 * 64 * (8 * 16 * 2 + 16 * 3)
    flops = lowered.compile().cost_analysis()["flops"]
    self.assertBetween(flops, products, 3 * products)

  @mock.patch.object(jax, "local_device_count", return_value=8)
  def test_batch_that_does_not_divide_is_refused(self, _):
    with self.assertRaisesRegex(UserError, "12 examples .* 8 local devices"):
      replication.shard([tiny.batch_of(0, 12)])
    with self.assertRaisesRegex(UserError, "no examples"):
      replication.shard([{"scalar": 1.0}])


class InitializeTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.initialize = self.enter_context(
      mock.patch.object(jax.distributed, "initialize")
    )
    self.enter_context(mock.patch.object(jax.config, "update"))

  def initialize_in(self, environment, **flags):
    with mock.patch.dict(os.environ, {"TPU_SKIP_MDS_QUERY": "1"} | environment):
      distributed.initialize(**flags)

  @parameterized.parameters(
    {},
    {"SLURM_STEP_NODELIST": "n1", "SLURM_NTASKS": "1"},
    {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
  )
  def test_single_process_is_left_alone(self, **environment):
    self.initialize_in(environment)
    self.initialize.assert_not_called()

  def test_one_process_by_flag_is_left_alone_anywhere(self):
    self.initialize_in({"TPU_WORKER_HOSTNAMES": "a,b"}, num_processes=1)
    self.initialize.assert_not_called()

  @parameterized.parameters(
    ({"TPU_WORKER_HOSTNAMES": "a,b"}, None),
    ({"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2"}, None),
    (
      {
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
      },
      [0, 1, 2, 3],
    ),
    (
      {
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_NTASKS": "8",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
      },
      None,
    ),
  )
  def test_schedulers_are_detected(self, environment, local_device_ids):
    self.initialize_in(environment)
    self.initialize.assert_called_once_with(
      coordinator_address=None,
      num_processes=None,
      process_id=None,
      local_device_ids=local_device_ids,
    )

  def test_kubernetes_without_its_package_says_what_to_do(self):
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}
    with (
      mock.patch.object(distributed.importlib.util, "find_spec", return_value=None),
      self.assertRaisesRegex(UserError, r"jax\[k8s\]"),
    ):
      self.initialize_in(environment)

  @parameterized.parameters(
    ({"num_processes": 2}, "--coordinator_address is missing"),
    ({"coordinator_address": "h:1", "num_processes": 2}, "--process_id is missing"),
    (
      {"coordinator_address": "host", "num_processes": 2, "process_id": 0},
      "give host:port",
    ),
    (
      {"coordinator_address": "h:1", "num_processes": 2, "process_id": 2},
      "--process_id=2 is not in 0..1",
    ),
  )
  def test_wrong_flags_are_named(self, flags, message):
    with self.assertRaisesRegex(UserError, message):
      self.initialize_in({}, **flags)

  def test_others_out_of_reach_is_an_error_of_the_user(self):
    self.initialize.side_effect = RuntimeError("deadline exceeded")
    with self.assertRaisesRegex(UserError, "cannot join .* deadline"):
      self.initialize_in({}, coordinator_address="h:1", num_processes=2, process_id=0)


if __name__ == "__main__":
  absltest.main()
