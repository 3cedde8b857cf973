"""Replicas of a training step: the only file that knows how devices share the work.

`jax.pmap` (in maintenance; today itself jit over `shard_map`) is called here and
nowhere else. The state is replicated: the same values on every device, without a
leading device axis, so that a state inside and outside of the loop looks the same. The
batch is cut along its leading axis over the devices of this process, and the processes
hold different batches. Collectives under the axis name "batch" reach all devices of
all processes.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxvision.errors import UserError

AXIS = "batch"


def mean(tree: Any) -> Any:
  """Returns the mean over all replicas of the floating-point leaves.

  Other leaves (counters) and an unbound axis leave values as they are.
  """
  if _replicas() == 1:
    return tree  # XLA would not see that there is nothing to reduce, and copy it

  def average(leaf):
    leaf = jnp.asarray(leaf)
    is_floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return jax.lax.pmean(leaf, AXIS) if is_floating else leaf

  return jax.tree.map(average, tree)


def replica_index() -> Any:
  """Returns this replica's number among all, or 0 where the axis is not bound."""
  return jax.lax.axis_index(AXIS) if _replicas() > 1 else 0


def _replicas():
  try:
    return jax.lax.axis_size(AXIS)
  except NameError:  # outside of a parallel step
    return 1


def replicate(tree: Any) -> Any:
  """Returns a copy of `tree` on every device of this process.

  It is a copy on every device, because the loop donates it: the caller's arrays stay
  valid.
  """
  # Copied to one device first: the replicas on several would share its own arrays.
  tree = jax.device_put(tree, jax.local_devices()[0], may_alias=False)
  return jax.device_put(tree, _local_sharding(PartitionSpec()))


def unreplicate(tree: Any) -> Any:
  """Returns a replicated tree as it is on this process's first device (no copy)."""
  return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def shard(batches: Sequence[Any]) -> Any:
  """Puts the batches of one call of a `parallel` step on this process's devices.

  Args:
    batches: K local batches, trees of [B, ...] arrays.

  Returns:
    Tree of [D, K, B / D, ...] arrays, the leading axis over the D local devices.

  Raises:
    UserError: when B is no multiple of D.
  """
  devices = jax.local_device_count()

  def cut(*leaves):
    shape = np.shape(leaves[0])
    if not shape or shape[0] % devices:
      raise UserError(
        f"a local batch of {shape[0] if shape else 'no'} examples cannot be shared by "
        f"{devices} local devices"
      )
    shape = (devices, shape[0] // devices, *shape[1:])
    if len(leaves) == 1:
      return np.reshape(leaves[0], (devices, 1, *shape[1:]))
    return np.stack([np.reshape(leaf, shape) for leaf in leaves], axis=1)

  batch = jax.tree.map(cut, *batches)
  if jax.default_backend() == "cpu":
    return batch  # lies in the devices' memory as it is
  return jax.device_put(batch, _local_sharding(PartitionSpec(AXIS)))


def flag(value: int) -> Any:
  """Returns `value` on every local device, as a `parallel` step takes it."""
  values = np.full(jax.local_device_count(), value, np.int32)
  return jax.device_put(values, _local_sharding(PartitionSpec(AXIS)))


@functools.cache
def _local_sharding(spec):
  return NamedSharding(Mesh(jax.local_devices(), (AXIS,)), spec)


class Parallel:
  """A training step on all devices.

  Calling it, `(state, batches, flag) -> (state, rows, flag)`, takes K steps in one
  dispatch. It donates the state. `rows` is [K, M] float32, the metrics of each step in
  the order of `names`, averaged over all replicas; the returned flag is the largest
  of all replicas', by which processes agree without waiting for each other.

  Attributes:
    names: of the metrics, known once the step was traced.
  """

  def __init__(self, step):
    """Takes `step(state, batch) -> (state, {metric: scalar})`."""
    self.names: list[str] = []

    def one(state, batch):
      state, metrics = step(state, batch)
      self.names = list(metrics)
      values = [jnp.asarray(value, jnp.float32) for value in metrics.values()]
      return state, mean(jnp.stack(values))

    def call(state, batches, flag):
      if jax.tree.leaves(batches)[0].shape[0] == 1:
        # No loop around a single step: XLA compiles and runs it better.
        state, row = one(state, jax.tree.map(lambda leaf: leaf[0], batches))
        rows = row[None]
      else:
        state, rows = jax.lax.scan(one, state, batches)
      return state, rows, flag if _replicas() == 1 else jax.lax.pmax(flag, AXIS)

    self._call = jax.pmap(
      call, AXIS, in_axes=(None, 0, 0), out_axes=None, donate_argnums=0
    )

  def __call__(self, state, batches, flag):
    return self._call(state, batches, flag)

  def lower(self, state, batches, flag):
    """Returns the call lowered for such arguments, which may be shapes alone."""
    return self._call.lower(state, batches, flag)


@functools.lru_cache(maxsize=8)
def parallel(step) -> Parallel:
  """Returns `Parallel(step)`, the same for the same step: it is compiled only once."""
  return Parallel(step)


def lower(step, state: Any, batch: Any, devices: int) -> Any:
  """Returns one step lowered for `devices` local devices, without any array.

  Args:
    step: (state, batch) -> (state, {metric: scalar}).
    state: tree of arrays or `jax.ShapeDtypeStruct`.
    batch: tree of [B, ...] `jax.ShapeDtypeStruct`, B a multiple of `devices`.
    devices: at most as many as this process has.

  Returns:
    `jax.stages.Lowered`; its costs are those of one device.
  """

  def cut(leaf):
    shape = (devices, 1, leaf.shape[0] // devices, *leaf.shape[1:])
    return jax.ShapeDtypeStruct(shape, leaf.dtype)

  flag = jax.ShapeDtypeStruct((devices,), jnp.int32)
  return parallel(step).lower(state, jax.tree.map(cut, batch), flag)
