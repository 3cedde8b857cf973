"""Errors over all, visible and occluded pixels, and F1 of the occlusion."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxvision.ops import flow_metrics
from jaxvision.ops.warp import occlusion
from jaxvision.papers.selflow import inference, losses
from jaxvision.papers.selflow.network import SelFlow
from jaxvision.train import jit_once

Errors = dict[str, float]


def measure_clips(
  network: SelFlow, params: Any, clips: Mapping[str, np.ndarray]
) -> tuple[Errors, np.ndarray, np.ndarray]:
  """Returns the errors on procedural clips, with flow and occlusion of frame 2 to 3.

  Args:
    network: the network.
    params: its parameters.
    clips: as data.clips returns them.

  Returns:
    {"EPE all", "Fl all", ..., "occlusion F1"}, over the pixels of all clips; flow
    [N, H, W, 2]; occlusion [N, H, W].
  """
  frames = np.moveaxis(clips["frames"], 1, 0)
  return _measure(network, params, frames, clips["flow"][:, 0], clips["occluded"][:, 0])


def errors_of(flow, truth, valid, occluded):
  """Returns flow_metrics.flow_errors."""
  measure = _compiled(flow_metrics.flow_errors)
  return measure(flow, truth, valid=valid, occluded=occluded)


def _measure(network, params, frames, truth, hidden):
  flow, occluded = _middle_flow(network, params, frames)
  errors = errors_of(flow, truth, np.ones(hidden.shape, bool), hidden)
  errors["occlusion F1"] = _compiled(flow_metrics.f1_score)(occluded, hidden)
  numbers = {name: float(value) for name, value in errors.items()}
  return numbers, np.asarray(flow), np.asarray(occluded)


@functools.partial(jax.jit, static_argnames="network")
def _middle_flow(network, params, frames):
  """Returns flow and occlusion of frame 2 of five to the next."""
  flow = inference.estimate(network, params, frames)
  return flow[0, 1], losses.pair_occlusion(flow, network.border)[0, ..., 0]


def measure_examples(network: SelFlow, params: Any, examples: Sequence) -> Errors:
  """Returns the mean errors of labelled examples, each weighing the same.

  Args:
    network: the network.
    params: its parameters.
    examples: dataset.Labelled; sizes may differ.
  """
  rows = []
  for index in range(len(examples)):
    example = examples[index]
    flow = inference.estimate(network, params, example["frames"][:, None])[0, 0, 0]
    errors = errors_of(flow, example["flow"], example["valid"], example["occluded"])
    rows.append({name: float(value) for name, value in errors.items()})
  return {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}


def true_occlusion_f1(clips: Mapping[str, np.ndarray]) -> float:
  """Returns how well the consistency of true flow finds true occlusion (M8)."""
  measure = _compiled(_consistency_f1)
  return float(measure(clips["flow"], clips["back"], clips["occluded"]))


@functools.cache
def _compiled(function: Callable) -> Callable:
  return jit_once(function)


def _consistency_f1(flow, back, hidden):
  return flow_metrics.f1_score(occlusion(flow, back, border="zero")[..., 0], hidden)


def mean_errors(rows: Sequence[Errors]) -> Errors:
  """Returns the mean of several seeds' errors."""
  return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def by_seed(seeds: Sequence[int], rows: Sequence[Errors]) -> Errors:
  """Returns the end point errors of visible and of occluded pixels, seed by seed."""
  return {
    f"{region}, seed {seed}": errors[f"EPE {region}"]
    for region in ("noc", "occ")
    for seed, errors in zip(seeds, rows, strict=True)
  }
