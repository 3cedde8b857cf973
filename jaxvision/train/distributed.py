"""Several processes, one training: who starts `jax.distributed`, and when."""

import importlib.util
import os

import jax

from jaxvision.errors import UserError


def initialize(
  coordinator_address: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
) -> None:
  """Joins the processes of one run; call it before anything touches a device.

  With flags, by them. Without, by what Slurm (srun with several tasks), GKE and TPU
  pods tell a process of the others. Elsewhere, or with `num_processes` 1, nothing is
  done.

  Args:
    coordinator_address: "host:port" at which process 0 is reached by the others.
    num_processes: how many there are.
    process_id: which of them this is, from 0.

  Raises:
    UserError: when some of the flags are missing or wrong, or the others cannot be
      reached.
  """
  flags = {
    "coordinator_address": coordinator_address,
    "num_processes": num_processes,
    "process_id": process_id,
  }
  missing = [name for name, value in flags.items() if value is None]
  if num_processes == 1 or (len(missing) == 3 and not _is_one_of_many()):
    return
  if len(missing) in (1, 2):
    raise UserError(f"--{missing[0]} is missing: give all of --{', --'.join(flags)}")
  if not missing:
    if not coordinator_address.rpartition(":")[2].isdecimal():
      raise UserError(f"--coordinator_address={coordinator_address}: give host:port")
    if not 0 <= process_id < num_processes:
      raise UserError(f"--process_id={process_id} is not in 0..{num_processes - 1}")
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  # jax's own handler of SIGTERM would stand where the training loop's must.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(**flags, local_device_ids=_slurm_devices())
  except (RuntimeError, ValueError) as error:  # timeouts are RuntimeErrors
    raise UserError(f"cannot join the other processes: {error}") from error


def _is_one_of_many():
  """Returns whether a scheduler has started this process as one of several."""
  if "SLURM_STEP_NODELIST" in os.environ:
    return int(os.environ.get("SLURM_NTASKS", 1)) > 1
  if "TPU_WORKER_HOSTNAMES" in os.environ:
    return True
  if {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= os.environ.keys():
    if importlib.util.find_spec("kubernetes") is None:
      raise UserError(
        "to join the pods of an indexed Kubernetes job, `pip install jax[k8s]`, or "
        "give --coordinator_address, --num_processes and --process_id"
      )
    return True
  # jax itself sets TPU_SKIP_MDS_QUERY where it finds no TPU chip.
  has_libtpu = importlib.util.find_spec("libtpu") is not None
  return has_libtpu and "TPU_SKIP_MDS_QUERY" not in os.environ


def _slurm_devices():
  """Returns all GPUs of the node for a Slurm task that has it alone, else None.

  jax by itself gives each task the one GPU of its number on the node.
  """
  nodes = os.environ.get("SLURM_STEP_NUM_NODES")
  gpus = os.environ.get("SLURM_GPUS_ON_NODE")
  if gpus is None or nodes is None or nodes != os.environ.get("SLURM_NTASKS"):
    return None
  return list(range(int(gpus)))
