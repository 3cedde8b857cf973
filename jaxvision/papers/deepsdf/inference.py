"""Finds the codes of new shapes by optimisation, many shapes at once (M9, M11)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.papers.deepsdf import decoder as decoders
from jaxvision.papers.deepsdf import losses
from jaxvision.papers.deepsdf.decoder import Decoder

ITERATIONS = 800
RATE = 5e-3
SAMPLES = 8000
DEVIATION = 0.01
PRIOR = 1e-4


class Observations(NamedTuple):
  """What is known of some shapes, in lists padded to one length.

  Attributes:
    pos: [S, P, 5] rows x, y, z, s, band: samples outside; the distance is clamped to
      the band of its row. A row whose s is infinite is free space: the surface is not
      behind it, but no distance is known.
    neg: [S, Q, 5] samples inside.
    counts: [S, 2] int32 rows of either that are there.
  """

  pos: chex.Array
  neg: chex.Array
  counts: chex.Array


class Fit(NamedTuple):
  """Codes found by optimisation.

  Attributes:
    codes: [S, L].
    errors: [S, K] data term at each iteration.
  """

  codes: chex.Array
  errors: chex.Array


def observe(
  pos: Sequence[np.ndarray],
  neg: Sequence[np.ndarray],
  *,
  band: float = losses.BAND,
  seed: int = 0,
  length: int = 1,
) -> Observations:
  """Returns the observations of several shapes, each list in random order.

  Args:
    pos: of each shape [P_i, 4], or [P_i, 5] with a band of its own.
    neg: of each shape [Q_i, 4 or 5].
    band: of rows that have none.
    seed: of the order.
    length: least length of the lists; equal lengths are compiled for once.

  Raises:
    ValueError: a shape has no sample at all.
  """
  rng = np.random.default_rng(seed)

  def stack(lists):
    longest = max([length, *(len(rows) for rows in lists)])
    stacked = np.zeros((len(lists), longest, 5), np.float32)
    for filled, rows in zip(stacked, lists, strict=True):
      if rows.shape[1] == 4:
        rows = np.concatenate([rows, np.full((len(rows), 1), band)], axis=1)
      filled[: len(rows)] = rng.permutation(rows)
    return stacked

  counts = np.array(
    [(len(p), len(n)) for p, n in zip(pos, neg, strict=True)], np.int32
  ).reshape(-1, 2)
  if np.any(counts.sum(axis=1) == 0):
    raise ValueError(f"shape {np.argmin(counts.sum(axis=1))} has no samples")
  return Observations(stack(pos), stack(neg), counts)


def fit_codes(
  decoder: Decoder,
  params: Mapping[str, Any],
  observations: Observations,
  key: chex.PRNGKey,
  *,
  iterations: int = ITERATIONS,
  rate: float = RATE,
  samples: int = SAMPLES,
  deviation: float = DEVIATION,
  prior: float = PRIOR,
) -> Fit:
  """Returns the maximum-a-posteriori codes of shapes, all found in one scan.

  Every iteration takes windows of the (shuffled) samples of both sides that begin
  anywhere; a side with fewer rows than a window is drawn from with replacement. The
  rate is divided by ten once, at half of the iterations.

  Args:
    decoder: without dropout (it is only applied in training).
    params: its parameters.
    observations: of S shapes.
    key: of the first codes and the windows.
    iterations: of Adam.
    rate: of Adam.
    samples: of each shape at an iteration, half of them outside.
    deviation: of the first codes' numbers.
    prior: weight of mean(z²).

  Source: Eq. 10; reconstruct.py.
  """
  chex.assert_rank([observations.pos, observations.neg, observations.counts], [3, 3, 2])
  decoder, params = decoders.fold(decoder, params)
  shapes = observations.counts.shape[0]
  half = max(1, samples // 2)
  shown = jnp.moveaxis(jnp.asarray(observations.counts), -1, 0) > 0

  def error(codes, rows):
    predicted = decoder.apply({"params": params}, codes, rows[..., :3])
    target, band = rows[..., 3], rows[..., 4]
    errors = jnp.where(
      jnp.isinf(target),
      losses.free_space(predicted),
      losses.clamped_l1(predicted, jnp.where(jnp.isinf(target), 0.0, target), band),
    )
    # Of a side without rows nothing is known.
    weight = jnp.repeat(jnp.moveaxis(shown, 0, -1).astype(errors.dtype), half, axis=-1)
    return jnp.sum(weight * errors, axis=-1) / jnp.sum(weight, axis=-1)

  def objective(codes, rows):
    errors = error(codes, rows)
    # The sum over shapes: their gradients do not meet.
    return jnp.sum(errors + prior * jnp.mean(jnp.square(codes), axis=-1)), errors

  def update(state, step):
    codes, moments = state
    keys = jax.random.split(jax.random.fold_in(key, step + 1), (2, shapes))
    sides = zip(
      (observations.pos, observations.neg), observations.counts.T, keys, strict=True
    )
    rows = jnp.concatenate(
      [jax.vmap(_window, (0, 0, 0, None))(k, *side, half) for *side, k in sides], axis=1
    )
    slopes, errors = jax.grad(objective, has_aux=True)(codes, rows)
    change, moments = adam.update(slopes, moments)
    return (optax.apply_updates(codes, change), moments), errors

  adam = optax.adam(lambda step: rate * 0.1 ** (step // max(1, iterations // 2)))
  codes = deviation * jax.random.normal(key, (shapes, decoder.latent_size))
  (codes, _), errors = jax.lax.scan(
    update, (codes, adam.init(codes)), jnp.arange(iterations)
  )
  return Fit(codes, errors.T)


def _window(key, rows, count, size):
  """Returns [size, 5] consecutive rows of the first `count`, or repeated ones."""
  start_key, draw_key = jax.random.split(key)
  start = jax.random.randint(start_key, (), 0, jnp.maximum(count - size, 0) + 1)
  drawn = jax.random.randint(draw_key, (size,), 0, jnp.maximum(count, 1))
  index = jnp.where(count <= size, drawn, start + jnp.arange(size))
  return rows[index]


def compiled_fit(decoder: Decoder, **options: Any) -> Callable:
  """Returns `fit_codes` of a decoder jitted: (params, observations, key) -> Fit."""

  @jax.jit
  def fit(params, observations, key):
    return fit_codes(decoder, params, observations, key, **options)

  return fit
