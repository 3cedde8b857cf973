"""A network, data and a Run small enough to train in a test."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from jaxvision.train import State, gradient_step


class Network(nn.Module):
  """Two layers with normalisation over the whole batch, of all replicas."""

  normalize: bool = False
  axis_name: str | None = "batch"

  @nn.compact
  def __call__(self, inputs, train):
    # A bias before normalisation has no gradient but rounding, which Adam blows up.
    hidden = nn.Dense(16, use_bias=not self.normalize)(inputs)
    if self.normalize:
      hidden = nn.BatchNorm(
        use_running_average=not train, axis_name=self.axis_name, momentum=0.9
      )(hidden)
    return nn.Dense(1)(nn.tanh(hidden))[..., 0]


def batch_of(step, size=16):
  """Returns the batch of a step: 8 inputs, and a smooth function of them."""
  inputs = np.random.default_rng(step).normal(size=(size, 8)).astype(np.float32)
  return {"inputs": inputs, "targets": np.sin(inputs).sum(-1)}


def loss_of(network):
  def loss_fn(params, model_state, batch, rng):
    outputs, model_state = network.apply(
      {"params": params, **model_state},
      batch["inputs"],
      train=True,
      mutable=list(model_state),
    )
    errors = (outputs - batch["targets"]).astype(jnp.float32)
    return jnp.mean(errors**2), ({"error": jnp.mean(jnp.abs(errors))}, model_state)

  return loss_fn


def make(*, normalize=False, axis_name="batch", seed=0, **options):
  """Returns the initial state and the step; options go to gradient_step."""
  network = Network(normalize, axis_name)
  variables = network.init(jax.random.key(seed), jnp.zeros((1, 8)), train=False)
  params = variables.pop("params")
  optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 100))
  state = State.create(
    jax.random.key(seed + 1),
    params,
    optimizer,
    model_state=variables,
    ema=options.get("ema_decay") is not None,
  )
  return state, gradient_step(loss_of(network), optimizer, **options)


@dataclasses.dataclass
class Run:
  """What fit needs of a Run, kept in memory."""

  workdir: epath.Path
  is_main: bool = True
  config: Any = None
  lines: list = dataclasses.field(default_factory=list)
  curves: dict = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    self.workdir = epath.Path(self.workdir)

  def log(self, message):
    self.lines.append(message)

  def scalars(self, stage, step, values):
    for name, value in values.items():
      self.curves.setdefault((stage, name), {})[step] = value


def assert_same_bits(actual, expected):
  """Fails unless two trees of arrays are equal, bit for bit."""

  def check(path, one, other):
    if jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key):
      one, other = jax.random.key_data(one), jax.random.key_data(other)
    np.testing.assert_array_equal(one, other, err_msg=jax.tree_util.keystr(path))

  jax.tree_util.tree_map_with_path(check, actual, expected)
