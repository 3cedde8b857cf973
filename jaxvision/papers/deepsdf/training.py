"""The auto-decoder's training: codes and decoder learn together (M6 to M8)."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.papers.deepsdf import losses
from jaxvision.papers.deepsdf.decoder import Decoder, init
from jaxvision.train import Stage, State, gradient_step, replication


def step_rate(initial: float, interval: int, factor: float) -> optax.Schedule:
  """Returns epoch -> initial * factor^floor(epoch / interval); epochs from 1."""
  return lambda epoch: initial * factor ** jnp.floor_divide(epoch, interval)


def warmup_rate(initial: float, final: float, length: int) -> optax.Schedule:
  """Returns epoch -> rate, linear from initial to final at `length`, then final."""
  return lambda epoch: jnp.where(
    epoch > length, final, initial + (final - initial) * epoch / length
  )


def constant_rate(value: float) -> optax.Schedule:
  """Returns epoch -> value."""
  return lambda epoch: jnp.full(jnp.shape(epoch), value)


def optimizer(
  decoder_rate: optax.Schedule,
  code_rate: optax.Schedule,
  epoch_steps: int,
  *,
  largest_norm: float | None = None,
) -> optax.GradientTransformation:
  """Returns Adam with one rate for the decoder and one for the codes.

  The code table's moments are dense: rows that no batch holds still move.

  Args:
    decoder_rate: epoch -> rate, epochs from 1.
    code_rate: of the codes.
    epoch_steps: steps an epoch.
    largest_norm: to which the decoder's gradient is clipped; None for no clipping.
  """

  def adam(rate):
    return optax.adam(lambda step: rate(1 + step // epoch_steps))

  clip = [] if largest_norm is None else [optax.clip_by_global_norm(largest_norm)]
  groups = {"decoder": optax.chain(*clip, adam(decoder_rate)), "codes": adam(code_rate)}
  # One tree of parameters for one gradient; its two groups have their own rates.
  return optax.multi_transform(groups, {"decoder": "decoder", "codes": "codes"})


def init_codes(
  key: chex.PRNGKey, count: int, size: int, deviation: float = 1.0
) -> chex.Array:
  """Returns a table [count, size] of normal codes about `deviation` long (M7)."""
  return jax.random.normal(key, (count, size)) * (deviation / max(size, 1) ** 0.5)


@dataclasses.dataclass(frozen=True)
class AutoDecoder:
  """What is minimised over decoder and codes.

  Attributes:
    decoder: the network.
    shapes: number of shapes, and so of codes.
    band: δ, to which distances are clamped.
    regularization: λ of the codes' lengths.
    code_bound: largest length of a code; None for none.
    code_deviation: length of random codes, about.
    accumulate: parts, computed one after the other, into which a batch is cut
      (`batch_split`). Where there are more than shapes, their samples are cut too.
  """

  decoder: Decoder
  shapes: int
  band: float = losses.BAND
  regularization: float = losses.REGULARIZATION
  code_bound: float | None = 1.0
  code_deviation: float = 1.0
  accumulate: int = 1

  def init(self, key: chex.PRNGKey) -> dict:
    """Returns random {"decoder", "codes"}."""
    decoder_key, code_key = jax.random.split(key)
    size = self.decoder.latent_size
    return {
      "decoder": init(self.decoder, decoder_key),
      # Without codes a column stands idle: checkpoints cannot hold empty arrays.
      "codes": init_codes(code_key, self.shapes, max(size, 1), self.code_deviation),
    }

  def loss(self, params, model_state, batch, rng):
    """Returns what `gradient_step` asks for; see `stage` for the batch."""
    codes = params["codes"][batch["shape"], : self.decoder.latent_size]
    predicted = self.decoder.apply(
      {"params": params["decoder"]},
      codes,
      batch["samples"][..., :3],
      train=True,
      rngs={"dropout": rng},
    )
    errors = losses.clamped_l1(predicted, batch["samples"][..., 3], self.band)
    error = jnp.mean(errors)
    length = jnp.mean(losses.code_length(codes))
    metrics = {"error": error, "code_length": length}
    return error + model_state["regularization"] * length, (metrics, model_state)

  def step(self, optimizer: optax.GradientTransformation, epoch_steps: int):
    """Returns the training step for `train.fit`."""
    descend = gradient_step(self.loss, optimizer, accumulate=self.accumulate)

    def step(state, batch):
      used = jnp.zeros(self.shapes).at[batch["shape"]].set(1.0)
      used = replication.mean(used) > 0  # by any replica: their tables stay equal
      table = losses.project_codes(state.params["codes"], used, self.code_bound)
      epoch = 1 + state.step // epoch_steps
      weight = losses.regularization_weight(epoch, self.regularization)
      state = state.replace(
        params={**state.params, "codes": table}, model_state={"regularization": weight}
      )
      return descend(state, self._cut(batch))

    return step

  def _cut(self, batch):
    """Returns the batch with each shape's samples in pieces, each with its shape."""
    shapes = len(batch["shape"])
    pieces = max(1, self.accumulate // shapes)
    samples = batch["samples"]
    if samples.shape[1] % pieces:
      return batch
    return {
      "shape": jnp.repeat(batch["shape"], pieces),
      "samples": samples.reshape(shapes * pieces, -1, 4),
    }


def stage(
  name: str,
  auto_decoder: AutoDecoder,
  optimizer: optax.GradientTransformation,
  *,
  batch: int,
  samples: int,
  epoch_steps: int,
) -> Stage:
  """Returns the stage that trains decoder and codes.

  Args:
    name: of the stage.
    auto_decoder: what is trained.
    optimizer: see `optimizer`.
    batch: shapes of a batch.
    samples: of each shape, half of them inside.
    epoch_steps: steps an epoch.

  Returns:
    Its batch is {"shape": [B] int32 rows of the code table, "samples": [B, N, 4]
    float32 points and distances}.
  """
  shapes = {
    "shape": jax.ShapeDtypeStruct((batch,), jnp.int32),
    "samples": jax.ShapeDtypeStruct((batch, samples, 4), jnp.float32),
  }

  def create(key):
    params = auto_decoder.init(key)
    model_state = {"regularization": jnp.zeros(())}
    return State.create(key, params, optimizer, model_state=model_state)

  def forward(state, batch):
    size = auto_decoder.decoder.latent_size
    codes = state.params["codes"][batch["shape"], :size]
    variables = {"params": state.params["decoder"]}
    return auto_decoder.decoder.apply(variables, codes, batch["samples"][..., :3])

  step = auto_decoder.step(optimizer, epoch_steps)
  return Stage(name, create, step, shapes, forward)


def draw_samples(samples: int):
  """Returns the transform of an example that draws its samples (M8).

  Args:
    samples: of each shape; half come from "pos", half from "neg", with replacement.

  Returns:
    transform({"shape", "pos": [P, 4], "neg": [Q, 4]}, generator) -> {"shape",
    "samples": [samples, 4]}.
  """

  def transform(example: dict, rng: np.random.Generator) -> dict:
    sides = [
      side[rng.integers(len(side), size=count)]
      for side, count in (
        (example["pos"], samples - samples // 2),
        (example["neg"], samples // 2),
      )
    ]
    return {
      "shape": np.int32(example["shape"]),
      "samples": np.concatenate(sides).astype(np.float32),
    }

  return transform
