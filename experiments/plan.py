"""What a paper's training would need on N devices, without allocating an array.

  python -m experiments.plan --paper=content_authentication --preset=paper --devices=8

Lowers and compiles each stage's training step abstractly, on virtual CPU devices, and
prints its parameters, FLOPs a step, memory a device and batch a device. The compiler
is the CPU's: an accelerator's own temporaries differ, its arguments do not.
"""

import dataclasses
import importlib
import math

import jax
from absl import app, flags

from jaxvision.errors import UserError
from jaxvision.train import launcher, replication

_PAPER = flags.DEFINE_string("paper", None, "which experiment, e.g. ganet")
_PRESET = flags.DEFINE_string("preset", "paper", "which of its presets")
_DEVICES = flags.DEFINE_integer("devices", 1, "how many devices to plan for")


@dataclasses.dataclass(frozen=True)
class Plan:
  """One stage's needs; bytes and FLOPs are per device and step."""

  stage: str
  parameters: int
  global_batch: int
  device_batch: int
  flops: float
  state_bytes: int
  temporary_bytes: int


def load_experiment(paper: str, preset: str):
  """Returns (module, config) of an experiment that trains, or raises UserError."""
  name = f"experiments.{paper}"
  try:
    module = importlib.import_module(name)
  except ModuleNotFoundError as error:
    if error.name != name:
      raise
    raise UserError(f"--paper={paper}: there is no such experiment") from error
  presets = getattr(module, "PRESETS", None)
  if presets is None:
    raise UserError(f"--paper={paper}: that module is no experiment")
  if preset not in presets:
    raise UserError(f"--preset={preset}: {paper} has {', '.join(presets)}")
  if not hasattr(module, "stages"):
    raise UserError(f"--paper={paper}: it trains no network, so nothing is to plan")
  return module, presets[preset]


def count(tree) -> int:
  """Returns the number of elements in a tree of arrays or their shapes."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def plan(stage, devices: int) -> Plan:
  """Compiles a stage's training step for `devices` devices from shapes alone.

  Args:
    stage: train.Stage; the leading axis of its batch is the global batch.
    devices: number of devices, at most jax.local_device_count().

  Raises:
    UserError: the global batch does not divide by the devices.
  """
  state = jax.eval_shape(stage.init, jax.random.key(0))
  leaves = jax.tree.leaves(stage.batch)
  global_batch = leaves[0].shape[0]
  if global_batch % devices:
    raise UserError(
      f"stage {stage.name}: a global batch of {global_batch} does not divide by"
      f" {devices} devices"
    )
  compiled = replication.lower(stage.step, state, stage.batch, devices).compile()
  return Plan(
    stage=stage.name,
    parameters=count(state.params),
    global_batch=global_batch,
    device_batch=global_batch // devices,
    flops=compiled.cost_analysis().get("flops", math.nan),
    state_bytes=sum(
      math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)
    ),
    temporary_bytes=compiled.memory_analysis().temp_size_in_bytes,
  )


def main(argv):
  if len(argv) > 1:
    raise UserError(f"plan takes flags only, not {argv[1]}")
  if not _PAPER.value:
    raise UserError("--paper is missing, e.g. --paper=content_authentication")
  if _DEVICES.value < 1:
    raise UserError(f"--devices={_DEVICES.value}: at least 1")
  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_num_cpu_devices", _DEVICES.value)
  module, config = load_experiment(_PAPER.value, _PRESET.value)
  print(f"{_PAPER.value} --preset={_PRESET.value} on {_DEVICES.value} devices")
  for stage in module.stages(config).values():
    needs = plan(stage, _DEVICES.value)
    print(
      f"stage {needs.stage}\n"
      f"  parameters         {needs.parameters:,}\n"
      f"  batch              {needs.global_batch} in all,"
      f" {needs.device_batch} a device\n"
      f"  FLOPs              {needs.flops:.3e} a device and step\n"
      f"  state              {needs.state_bytes / 2**20:.1f} MiB a device\n"
      f"  temporaries        {needs.temporary_bytes / 2**20:.1f} MiB a device"
    )


if __name__ == "__main__":
  app.run(lambda argv: launcher.told_in_one_line(lambda: main(argv)))
