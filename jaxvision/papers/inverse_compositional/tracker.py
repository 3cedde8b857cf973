"""The whole tracker: features, coarse-to-fine alignment, every variant (M1 to M15)."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxvision.ops.pyramids import max_pyramid
from jaxvision.papers.inverse_compositional import (
  alignment,
  encoders,
  estimators,
  preprocessing,
  solvers,
)

ENCODERS = ("RGB", "ConvRGBD", "ConvRGBD2")
ESTIMATORS = (*estimators.CLASSICAL, "learned")
SOLVERS = ("gauss_newton", "levenberg_marquardt", "trust_region", "fully_connected")

Batch = dict[str, chex.Array]


class Track(NamedTuple):
  """What `Tracker.track` finds.

  Attributes:
    poses: [B, levels, 4, 4] after every level, the coarsest first: the last is the
      answer.
    weights: [B, H >> l, W >> l, 1] of every level, the coarsest first.
    levels: the views at every scale, the coarsest first.
    model_state: the networks' running statistics, updated if they were trained.
  """

  poses: chex.Array
  weights: list[chex.Array]
  levels: list[alignment.Level]
  model_state: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Tracker:
  """Aligns two RGB-D views; its parameters and statistics stay outside.

  Attributes:
    encoder: "RGB", luminance without learning; "ConvRGBD", each view encoded alone;
      "ConvRGBD2", each with the other beside it (A).
    estimator: a key of `estimators.CLASSICAL`, or "learned" (B).
    solver: one of SOLVERS; "trust_region" is (C).
    iterations: K_iter, on each level.
    share_weights: whether all levels use the same (B) and (C).
    scales: of the encoder; their number is that of the levels.
    estimator_layers: of (B).
    hidden: features of the hidden layers of (C).
    samples: dampings that (C) tries.
    depth_range: metres; None for the authors' rule, by which the extremes of the batch
      are not known. Else depth counts strictly between these bounds.
  """

  encoder: str = "ConvRGBD2"
  estimator: str = "learned"
  solver: str = "trust_region"
  iterations: int = 3
  share_weights: bool = True
  scales: tuple[encoders.Layers, ...] = encoders.PYRAMID
  estimator_layers: encoders.Layers = estimators.LAYERS
  hidden: tuple[int, ...] = (128, 256)
  samples: int = solvers.SAMPLES
  depth_range: tuple[float, float] | None = (0.5, 5.0)

  def __post_init__(self):
    for name, known in (
      ("encoder", ENCODERS),
      ("estimator", ESTIMATORS),
      ("solver", SOLVERS),
    ):
      if getattr(self, name) not in known:
        raise ValueError(f"{name} {getattr(self, name)!r} is none of {known}")

  @property
  def is_learned(self) -> bool:
    """Whether there is any parameter."""
    return bool(self._networks())

  def init(self, key: chex.PRNGKey) -> tuple[dict, dict]:
    """Returns random parameters and running statistics: {"encoder", ...} each.

    "encoder" holds (A); "estimator" and "solver" hold (B) and (C), under "shared" or,
    where weights are not shared, under "level0" (the finest), "level1", ...
    """
    params, model_state = {}, {}
    for number, (name, (network, inputs)) in enumerate(self._networks().items()):
      keys = {"shared": jax.random.fold_in(key, number)}
      if name == "encoder":
        variables = network.init(keys["shared"], *inputs)
        params[name] = variables["params"]
        model_state[name] = variables["batch_stats"]
        continue
      if not self.share_weights:
        keys = {
          f"level{level}": jax.random.fold_in(keys["shared"], level)
          for level in range(len(self.scales))
        }
      variables = {part: network.init(k, *inputs) for part, k in keys.items()}
      params[name] = {part: v["params"] for part, v in variables.items()}
      if name == "estimator":
        model_state[name] = {part: v["batch_stats"] for part, v in variables.items()}
    return params, model_state

  def track(
    self,
    params: dict,
    model_state: dict,
    batch: Batch,
    *,
    train: bool = False,
    iterations: int | None = None,
  ) -> Track:
    """Returns the motion from the first view's camera to the second's.

    Args:
      params: as `init` makes them.
      model_state: likewise.
      batch: "image0", "image1" [B, H, W, 3] in [0, 1]; "depth0", "depth1" [B, H, W] in
        metres; "intrinsics" [B, 4] in pixels.
      train: whether to normalise by the batch.
      iterations: K_iter, if other than the tracker's.
    """
    views = [(batch[f"image{i}"], batch[f"depth{i}"]) for i in (0, 1)]
    chex.assert_equal_shape([image for image, _ in views])
    chex.assert_equal_shape([views[0][0][..., 0], *(depth for _, depth in views)])
    chex.assert_shape(batch["intrinsics"], (len(views[0][0]), 4))

    colors = [preprocessing.normalize_color(image) for image, _ in views]
    depths = [self.inverse_depth(depth)[..., None] for _, depth in views]
    model_state = dict(model_state)
    features = self._encode(params, model_state, colors, depths, train)
    depths = [max_pyramid(depth, len(self.scales)) for depth in depths]
    levels = [
      alignment.make_level(
        features[0][level],
        features[1][level],
        depths[0][level][..., 0],
        depths[1][level][..., 0],
        batch["intrinsics"] / 2**level,
      )
      for level in reversed(range(len(self.scales)))
    ]
    identity = jnp.eye(4, dtype=colors[0].dtype)
    pose = jnp.broadcast_to(identity, (len(colors[0]), 4, 4))
    prior = jnp.ones_like(levels[0].template)
    poses, weights = [], []
    for number, level in zip(reversed(range(len(levels))), levels, strict=True):
      prior = self._weigh(params, model_state, number, level, pose, prior, train)
      pose = self._solve(
        params, number, level, prior[..., 0], pose, iterations or self.iterations
      )
      poses.append(pose)
      weights.append(prior)
    return Track(jnp.stack(poses, axis=1), weights, levels, model_state)

  def inverse_depth(self, depth: chex.Array) -> chex.Array:
    """Returns inverse depth [B, H, W] of depth, 0 where it does not count."""
    if self.depth_range is None:
      return preprocessing.invert_depth(depth)
    valid = preprocessing.is_in_range(depth, *self.depth_range)
    return preprocessing.invert_valid_depth(depth, valid)

  def align_level(
    self,
    params: dict,
    model_state: dict,
    number: int,
    level: alignment.Level,
    pose: chex.Array,
    prior: chex.Array,
  ) -> tuple[chex.Array, chex.Array]:
    """Returns the pose [B, 4, 4] and weights [B, H, W, 1] of one level (M5).

    Args:
      params: as `init` makes them.
      model_state: likewise.
      number: of the level, 0 the finest.
      level: its views.
      pose: [B, 4, 4] that it starts from.
      prior: [B, h, w, 1] weights of the coarser level.
    """
    weights = self._weigh(params, dict(model_state), number, level, pose, prior, False)
    pose = self._solve(params, number, level, weights[..., 0], pose, self.iterations)
    return pose, weights

  def _encode(self, params, model_state, colors, depths, train):
    """Returns the features of both views at every scale; may update the statistics."""
    if self.encoder == "RGB":
      return [encoders.luminance_pyramid(color, len(self.scales)) for color in colors]
    views = [
      jnp.concatenate([color, depth], axis=-1)
      for color, depth in zip(colors, depths, strict=True)
    ]
    if self.encoder == "ConvRGBD2":
      views = [
        jnp.concatenate(pair, axis=-1) for pair in (views, list(reversed(views)))
      ]
    variables = {"params": params["encoder"], "batch_stats": model_state["encoder"]}
    features = self._encoder().apply(
      variables,
      jnp.concatenate(views),
      train=train,
      # In the authors' code one view is encoded after the other.
      groups=2 if train else 1,
      mutable=["batch_stats"] if train else False,
    )
    if train:
      features, updated = features
      model_state["encoder"] = updated["batch_stats"]
    means = encoders.channel_means(features)
    return list(zip(*(jnp.split(scale, 2) for scale in means), strict=True))

  def _weigh(self, params, model_state, number, level, pose, prior, train):
    """Returns the weights [B, H, W, 1] of a level; may update the statistics."""
    residual, visible = alignment.residual(level, pose)
    if self.estimator != "learned":
      return estimators.CLASSICAL[self.estimator](residual, visible)[..., None]
    part = self._part(number)
    variables = {
      "params": params["estimator"][part],
      "batch_stats": model_state["estimator"][part],
    }
    views = residual[..., None], level.template, level.image, prior
    if not train:
      return self._estimator().apply(variables, *views)
    weights, updated = self._estimator().apply(
      variables, *views, train=True, mutable=["batch_stats"]
    )
    statistics = {**model_state["estimator"], part: updated["batch_stats"]}
    model_state["estimator"] = statistics
    return weights

  def _solve(self, params, number, level, weights, pose, iterations):
    """Returns the pose after a level's iterations."""
    solve = getattr(solvers, self.solver)
    options: dict[str, Any] = {"iterations": iterations}
    if "solver" in self._networks():
      network = self._solver()
      variables = {"params": params["solver"][self._part(number)]}
      options["regress"] = functools.partial(network.apply, variables)
    if self.solver == "trust_region":
      options["samples"] = self.samples
    return solve(level, weights, pose, **options)

  def _part(self, number: int) -> str:
    return "shared" if self.share_weights else f"level{number}"

  def _encoder(self) -> encoders.FeaturePyramid:
    return encoders.FeaturePyramid(self.scales)

  def _estimator(self) -> estimators.MEstimator:
    return estimators.MEstimator(self.estimator_layers)

  def _solver(self) -> nn.Module:
    if self.solver == "trust_region":
      return solvers.DampingNetwork(self.hidden)
    return solvers.TwistNetwork(self.hidden)

  def _networks(self) -> dict[str, tuple[nn.Module, Sequence[chex.Array]]]:
    """Returns the networks that there are, with inputs of the least size."""
    size = 2 ** (len(self.scales) - 1)
    networks: dict[str, tuple[nn.Module, Sequence[chex.Array]]] = {}
    if self.encoder != "RGB":
      channels = 4 if self.encoder == "ConvRGBD" else 8
      networks["encoder"] = self._encoder(), [jnp.zeros((1, size, size, channels))]
    if self.estimator == "learned":
      networks["estimator"] = self._estimator(), [jnp.zeros((1, 1, 1, 1))] * 4
    if self.solver in ("trust_region", "fully_connected"):
      samples = self.samples if self.solver == "trust_region" else 1
      networks["solver"] = self._solver(), [jnp.zeros((1, 36 + 6 * samples))]
    return networks
