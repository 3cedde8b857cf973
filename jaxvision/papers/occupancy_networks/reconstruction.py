"""From trained variants to numbers, meshes and pictures of a set of shapes."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import pipeline
from jaxvision.errors import UserError
from jaxvision.ops import voxels
from jaxvision.papers.occupancy_networks import (
  data,
  evaluation,
  figures,
  generation,
  prediction,
  published,
  shapes,
)
from jaxvision.papers.occupancy_networks.generation import Generation, Surface
from jaxvision.papers.occupancy_networks.losses import reconstruction
from jaxvision.papers.occupancy_networks.model import EncoderDecoder, OccupancyNetwork
from jaxvision.papers.occupancy_networks.variants import Variant

_SHAPES_AT_ONCE = 32
_MOST_POINTS = 16384  # of a shape in validation, to fit in memory
_CUBE = 0.5  # half the side of voxel grids
_OBSERVATION_SEED = 7

Observed = Mapping[str, Any]


def groups(
  source: pipeline.Source, count: int, variant: Variant, observed: Observed
) -> Iterator[tuple[list[dict], np.ndarray | None]]:
  """Yields up to 32 shapes at a time, and what is observed of them [S, ...] or None."""
  count = min(count, len(source))
  for start in range(0, count, _SHAPES_AT_ONCE):
    some = [source[i] for i in range(start, min(start + _SHAPES_AT_ONCE, count))]
    if variant.task == "unconditional":
      yield some, None
      continue
    views = [data.observe(variant, one, _OBSERVATION_SEED, **observed) for one in some]
    yield some, np.stack(views)


def measure(
  net: nn.Module,
  variant: Variant,
  variables: Any,
  source: pipeline.Source,
  count: int,
  tau: float,
  observed: Observed,
) -> dict[str, Any]:
  """Returns a trained variant's numbers on the first `count` shapes.

  Means are over the shapes of each category, then over categories.

  Returns:
    "iou at τ", "best iou", "best τ", "iou at 0.2", "volume at 0.5" and "curve" ({τ:
    IoU}); of the unconditional model "elbo" and its parts; of PSGN its distances.
  """
  found, categories = [], []
  for some, views in groups(source, count, variant, observed):
    categories += [one.get("category", "") for one in some]
    if variant.output == "psgn":
      clouds = jax.jit(net.apply)(variables, views)
      for cloud, one in zip(clouds, some, strict=True):
        found.append(evaluation.measure_cloud(cloud, one["cloud"]))
      continue
    points, inside = _stacked(some, "points"), _stacked(some, "occupancies")
    if variant.task == "unconditional":
      found += _bounds(net, variables, points, inside)
      continue
    probability = evaluation.probabilities(net, variables, views, points)
    for one, truth in zip(probability, inside, strict=True):
      curve = evaluation.iou_by_threshold(one[None], truth[None], _taus(tau))
      volume = evaluation.volume_ratio(one[None], truth[None], 0.5)
      found.append(curve | {"volume at 0.5": volume})
  means = _class_means(found, categories)
  if variant.output == "psgn":
    return {key: means[key] for key in ("chamfer_l1", "accuracy", "completeness")}
  if variant.task == "unconditional":
    return means
  curve = {key: value for key, value in means.items() if isinstance(key, float)}
  best = max(curve, key=curve.get)
  return {
    "iou at τ": curve[tau],
    "τ": tau,
    "best iou": curve[best],
    "best τ": best,
    "iou at 0.2": curve[0.2],
    "volume at 0.5": means["volume at 0.5"],
    "curve": curve,
  }


def validation(
  net: nn.Module,
  variant: Variant,
  source: pipeline.Source,
  count: int,
  tau: float,
  observed: Observed,
) -> dict[str, Any]:
  """Returns `fit`'s evaluate and best: IoU at τ, the ELBO, or PSGN's distance (M4)."""
  metric, better = "iou at τ", "higher"
  if variant.task == "unconditional":
    metric = "elbo"
  if variant.output == "psgn":
    metric, better = "chamfer_l1", "lower"

  def evaluate(state):
    variables = {"params": state.params, **state.model_state}
    row = measure(net, variant, variables, source, count, tau, observed)
    return {metric: row[metric]}

  return {"evaluate": evaluate, "best": (metric, better)}


def grid_iou(source: pipeline.Source, count: int, resolution: int) -> float:
  """Returns the IoU of the shapes' own voxels, by points: what a grid can reach."""
  some = [source[index] for index in range(min(count, len(source)))]
  name = f"voxels{resolution}" if f"voxels{resolution}" in some[0] else "voxels"
  return evaluation.voxel_iou(
    _stacked(some, name), _stacked(some, "points"), _stacked(some, "occupancies")
  )


class Maker:
  """A trained variant that makes meshes, or point clouds, of what it observes.

  Args:
    net: the variant's network.
    variant: which.
    variables: trained.
    tau: threshold of the probability.
    settings: of the extraction.
    observed: how shapes are observed.
  """

  def __init__(
    self,
    net: nn.Module,
    variant: Variant,
    variables: Any,
    tau: float,
    settings: Generation,
    observed: Observed,
  ):
    self.net, self.variant, self.variables = net, variant, variables
    self.tau, self.settings, self.observed = tau, settings, observed

  def observe(self, example: dict[str, Any]) -> np.ndarray:
    """Returns what is observed of an example."""
    return data.observe(self.variant, example, _OBSERVATION_SEED, **self.observed)

  def surface(self, values: np.ndarray) -> Surface:
    """Returns the mesh for an observation; of PSGN, points without faces."""
    if isinstance(self.net, EncoderDecoder):
      output = np.asarray(_apply(self.net)(self.variables, values[None])[0])
      if self.variant.output == "psgn":
        return Surface(output, np.zeros((0, 3), np.int32), ())
      occupied = output > generation.logit(self.tau)
      return Surface(*voxels.boundary_mesh(occupied, -_CUBE, _CUBE), ())
    code = _encode(self.net)(self.variables, values[None])[0]
    return self.from_codes(None, code)

  def from_codes(self, z, c) -> Surface:
    """Returns the mesh for a latent code [Z] and a condition [C], either None."""
    return generation.generate(
      self.net, self.variables, z, c, threshold=self.tau, settings=self.settings
    )


@functools.cache
def _apply(net):
  return jax.jit(net.apply)


@functools.cache
def _encode(net):
  return jax.jit(functools.partial(net.apply, method="encode"))


def conditions(
  net: OccupancyNetwork,
  variant: Variant,
  variables: Any,
  source: pipeline.Source,
  count: int,
  observed: Observed,
) -> list[jax.Array]:
  """Returns the conditions [C] of the first `count` shapes."""
  views = [
    view for _, some in groups(source, count, variant, observed) for view in some
  ]
  return list(_encode(net)(variables, np.stack(views)))


def compare(
  makers: Mapping[str, Maker],
  source: pipeline.Source,
  count: int,
  pictures: int,
  truth: Callable[[int], tuple[np.ndarray, np.ndarray]] | None,
  points: int | None = None,
) -> tuple[dict[str, dict[str, float]], list[dict[str, np.ndarray]]]:
  """Returns the measures of meshes of variants of one task, and pictures of some.

  Args:
    makers: the variants.
    source: shapes; the first `count` are made and measured.
    count: see there.
    pictures: of the first few, rows of pictures are returned.
    truth: index -> the true mesh, for the pictures; the true cloud where None.
    points: that the IoU of a mesh is measured on; all when None.

  Returns:
    {variant: {measure: mean}} with distances in tenths of the longest edge, and rows
    {title: picture}.
  """
  measures = {name: [] for name in makers}
  rows = []
  for index in range(min(max(count, pictures), len(source))):
    example = source[index]
    row = {}
    for name, maker in makers.items():
      values = maker.observe(example)
      if not row and maker.variant.task != "representation":
        row["observed"] = prediction.picture_of(maker.variant.task, values)
      surface = maker.surface(values)
      if index < count and "cloud" in example:
        if maker.variant.output == "psgn":
          measured = evaluation.measure_cloud(surface.vertices, example["cloud"])
        else:
          mesh = surface.vertices, surface.faces
          measured = evaluation.measure_mesh(*mesh, example, points=points)
        measures[name].append(measured)
      if index < pictures:
        title = title_of(name)
        row[title] = figures.draw(surface.vertices, surface.faces)
    if index < pictures:
      if truth is not None:
        row["truth"] = figures.draw(*truth(index))
      elif "cloud" in example:
        row["truth"] = prediction.picture_of("pointcloud", example["cloud"])
      rows.append(row)
  found = {}
  for name, all_of in measures.items():
    if all_of:
      means = {key: np.mean([one[key] for one in all_of]) for key in all_of[0]}
      found[name] = {
        _TITLES[key]: float(means[key] * (_UNITS.get(key, 1.0)))
        for key in _TITLES
        if key in means
      }
  return found, rows


_TITLES = {
  "iou": "IoU of the mesh",
  "chamfer_l1": "Chamfer-L1",
  "accuracy": "accuracy",
  "completeness": "completeness",
  "normal_consistency": "normal consistency",
}
_UNITS = dict.fromkeys(
  ("chamfer_l1", "accuracy", "completeness"), evaluation.TABLE_UNIT
)


def title_of(name: str) -> str:
  """Returns what a picture of a variant is called."""
  _, _, rest = name.partition("_")
  return {
    "": "occupancy network",
    "r2n2": "R2N2 (32^3 voxels)",
    "psgn": "PSGN (points)",
    "no_cbn": "without CBN",
    "no_resnet": "without ResNet",
  }.get(rest, f"{rest} sampling")


def true_meshes(
  families: tuple[str, ...], seed: int, index: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mesh of the solid `index` of those sampled with a seed."""
  solids = shapes.sample(families, index + 1, seed)
  return shapes.mesh(jax.tree.map(lambda part: part[index], solids))


def keep_pictures(run, task: str, rows: Sequence[Mapping[str, np.ndarray]]) -> None:
  """Keeps the figure of a task's reconstructions."""
  if rows:
    captions = {
      "pointcloud": "Completion of noisy clouds of unseen shapes, from two sides.",
      "voxels": "Super-resolution of voxels of unseen shapes, from two sides.",
      "image": "Reconstruction from one image, from two sides.",
      "representation": "Shapes that one network was fitted to, from two sides.",
    }
    figure = figures.reconstruction_figure(rows)
    run.figure(f"reconstructions_{task}", figure, captions[task])


def keep_curves(run, curves: Mapping[str, Mapping[float, float]]) -> None:
  """Keeps the figure of IoU over the threshold."""
  if curves:
    figure = figures.threshold_figure(curves)
    run.figure("thresholds", figure, "First seed; each on the shapes of its own claim.")


def keep_samples(run, maker: Maker, count: int) -> None:
  """Keeps a figure of shapes that the unconditional model draws."""
  codes = jax.random.normal(jax.random.key(0), (count, maker.net.z_dim))
  row = {}
  for index, code in enumerate(codes):
    surface = maker.from_codes(code, None)
    row[f"sample {index + 1}"] = figures.draw(surface.vertices, surface.faces)
  figure = figures.reconstruction_figure([row])
  run.figure("samples", figure, "Drawn by the unconditional model, from two sides.")


def load_weights(path: str, task: str) -> tuple[nn.Module, Any]:
  """Returns the network of an authors' checkpoint and its variables.

  Raises:
    UserError: it takes other observations than those of the task.
  """
  net, variables = published.load(path)
  kinds = {
    "PointNetEncoder": "pointcloud",
    "VoxelEncoder": "voxels",
    "ResnetEncoder": "image",
    "ConvEncoder": "image",
    "R2N2Encoder": "image",
  }
  takes = kinds.get(type(net.encoder).__name__, "no")
  if takes != task:
    raise UserError(f"{path}: the network takes {takes} inputs, not {task}")
  return net, variables


def _bounds(net, variables, points, inside):
  """Returns the ELBO of each shape, the code's posterior being sampled once."""
  noise = jax.random.normal(jax.random.key(0), (len(points), net.z_dim))
  occupancy = jnp.asarray(inside, jnp.float32)
  if not net.z_dim:
    logits, kl = _apply(net)(variables, points)
    errors = reconstruction(logits, occupancy)
  else:
    elbo = jax.jit(functools.partial(net.apply, method="elbo"))
    errors, kl = elbo(variables, points, occupancy, noise=noise)
  return [
    {"elbo": -float(e + k), "reconstruction": float(e), "kl": float(k)}
    for e, k in zip(errors, kl, strict=True)
  ]


def _taus(tau: float) -> tuple[float, ...]:
  return tuple(sorted({*evaluation.THRESHOLDS, tau, 0.2}))


def _stacked(some: Sequence[dict], name: str) -> np.ndarray:
  """Returns the arrays of shapes, cut to the shortest and to what fits in memory."""
  length = min(_MOST_POINTS, min(len(one[name]) for one in some))
  return np.stack([one[name][:length] for one in some])


def _class_means(found: Sequence[Mapping], categories: Sequence[str]) -> dict:
  """Returns the means over each category's shapes, averaged over categories."""
  names = sorted(set(categories))
  by_class = {
    name: [row for row, its in zip(found, categories, strict=True) if its == name]
    for name in names
  }
  return {
    key: float(
      np.mean([np.mean([row[key] for row in rows]) for rows in by_class.values()])
    )
    for key in found[0]
  }
