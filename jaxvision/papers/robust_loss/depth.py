"""Self-supervised monocular depth under different photometric losses (M15).

A network guesses depth, another one the camera's motion; from both, a neighbouring
view is warped onto the target's, and what differs is the loss. SfMLearner takes the L1
norm of RGB. The paper puts the general loss on wavelet coefficients of the difference
in YUV, with the shape α fixed, annealed, or learned for each coefficient.

Source: Section 3.2.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.nn import robust_losses
from jaxvision.ops import rigid, robust, wavelets
from jaxvision.ops.robust_partition import log_partition
from jaxvision.ops.view_synthesis import scale_intrinsics, synthesize
from jaxvision.papers.robust_loss.depth_networks import DisparityNet, PoseNet
from jaxvision.train import Stage, State, gradient_step

SCALE = 0.01  # c, which is fixed; as a factor of the loss it bounds its gradient
_BASELINE, _FIXED, _ADAPTIVE = range(3)


class Variant(NamedTuple):
  """A photometric loss.

  Attributes:
    title: for tables.
    kind: 0 is L1 of RGB, 1 the general loss, 2 the adaptive one.
    first_alpha, last_alpha: α of the general loss at the first and last step.
    paper: average error on KITTI that the paper reports.
  """

  title: str
  kind: int
  first_alpha: float
  last_alpha: float
  paper: float


VARIANTS = {
  "baseline": Variant("L1 of RGB (SfMLearner)", _BASELINE, 1.0, 1.0, 0.398),
  "charbonnier": Variant("α = 1", _FIXED, 1.0, 1.0, 0.356),
  "cauchy": Variant("α = 0", _FIXED, 0.0, 0.0, 0.350),
  "squared": Variant("α = 2", _FIXED, 2.0, 2.0, 0.349),
  "annealed": Variant("α from 2 to 0", _FIXED, 2.0, 0.0, 0.341),
  "adaptive": Variant("α learned", _ADAPTIVE, 1.0, 1.0, 0.332),
}


class DepthModel(nn.Module):
  """Both networks and the α of every coefficient at every scale.

  Attributes:
    height, width: of the images.
    depth_features, pose_features: see `depth_networks`.
    convolutions, scales, pose_factor: likewise.
    smoothness: weight of the second derivatives of disparity.
    baseline_smoothness: likewise, beside the L1 norm of RGB.
  """

  height: int = 128
  width: int = 416
  depth_features: Sequence[int] = DisparityNet.features
  convolutions: int = DisparityNet.convolutions
  scales: int = DisparityNet.scales
  pose_features: Sequence[int] = PoseNet.features
  pose_factor: float = PoseNet.factor
  smoothness: float = 0.5
  baseline_smoothness: float = 0.5

  def setup(self):
    self.disparity = DisparityNet(self.depth_features, self.convolutions, self.scales)
    self.pose = PoseNet(self.pose_features, self.pose_factor)
    self.adaptive = [
      robust_losses.AdaptiveLoss(
        (*_size(self.height, self.width, scale), 3),
        alpha_low=0.0,
        alpha_high=2.0,
        scale_low=SCALE,
        scale_init=SCALE,
      )
      for scale in range(self.scales)
    ]

  def __call__(
    self, batch: Mapping[str, chex.Array], kind: chex.Numeric, alpha: chex.Numeric
  ) -> dict[str, chex.Array]:
    """Returns the parts of the loss.

    Args:
      batch: "target" [B, H, W, 3] and "sources" [B, N, H, W, 3] in [0, 1],
        "intrinsics" [B, 3, 3].
      kind: of a Variant.
      alpha: of the general loss.

    Returns:
      scalars "photometric" and "smoothness", whose sum is the loss.
    """
    target, sources = batch["target"], batch["sources"]
    chex.assert_shape(target, (None, self.height, self.width, 3))
    chex.assert_shape(sources, (len(target), None, *target.shape[1:]))
    count = sources.shape[1]
    disparities = self.disparity(target)
    transforms = rigid.exp_twist(self.pose(target, sources))

    differences, smoothness = [], 0.0
    for scale, disparity in enumerate(disparities):
      if scale:
        target = nn.avg_pool(target, (2, 2), (2, 2))
        sources = jax.vmap(lambda x: nn.avg_pool(x, (2, 2), (2, 2)))(sources)
      depth = jnp.broadcast_to(
        1 / disparity[:, None, ..., 0], (len(target), count, *disparity.shape[1:3])
      )
      intrinsics = scale_intrinsics(batch["intrinsics"], 0.5**scale)
      intrinsics = jnp.broadcast_to(intrinsics[:, None], (len(target), count, 3, 3))
      view = synthesize(sources, depth, transforms, intrinsics)
      difference = jnp.where(view.is_seen[..., None], target[:, None] - view.image, 0.0)
      difference = difference.reshape(-1, *target.shape[1:])
      differences.append(difference)
      smoothness += _roughness(disparity) / 2**scale
    smoothness *= jnp.where(
      kind == _BASELINE, self.baseline_smoothness, self.smoothness
    )
    photometric = _photometric(differences, kind, alpha, self.alphas())
    return {"photometric": photometric, "smoothness": smoothness}

  def depth(self, images: chex.Array) -> chex.Array:
    """Returns depths [B, H, W] of images [B, H, W, 3], up to a common factor."""
    return 1 / self.disparity(images)[0][..., 0]

  def alphas(self) -> list[chex.Array]:
    """Returns the learned α of every scale, [H / 2^s, W / 2^s, 3]."""
    return [loss.alpha() for loss in self.adaptive]


def numbers(variant: str, steps: int) -> dict[str, chex.Array]:
  """Returns what `State.model_state` tells the step of a variant.

  Args:
    variant: a key of VARIANTS.
    steps: of the training, over which α is annealed.
  """
  chosen = VARIANTS[variant]
  return {
    "kind": jnp.int32(chosen.kind),
    "first_alpha": jnp.float32(chosen.first_alpha),
    "last_alpha": jnp.float32(chosen.last_alpha),
    "step": jnp.int32(0),
    "steps": jnp.int32(steps),
  }


def stage(
  model: DepthModel,
  optimizer: optax.GradientTransformation,
  batch: int,
  steps: int,
  sources: int = 2,
) -> Stage:
  """Returns the stage that trains depth, for every variant.

  Args:
    model: both networks.
    optimizer: of all parameters.
    batch: targets in the global batch.
    steps: of the training.
    sources: views beside each target.
  """
  shape = model.height, model.width, 3
  shapes = {
    "target": (batch, *shape),
    "sources": (batch, sources, *shape),
    "intrinsics": (batch, 3, 3),
  }
  shapes = {
    name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()
  }

  def loss_fn(params, model_state, batch, rng):
    del rng
    done = model_state["step"] / jnp.maximum(model_state["steps"] - 1, 1)
    first, last = model_state["first_alpha"], model_state["last_alpha"]
    alpha = first + done * (last - first)
    parts = model.apply({"params": params}, batch, model_state["kind"], alpha)
    after = {**model_state, "step": model_state["step"] + 1}
    return sum(parts.values()), (parts, after)

  return Stage(
    name="depth",
    init=lambda key: initial_state(
      model, optimizer, key, "adaptive", steps, sources=sources
    ),
    step=gradient_step(loss_fn, optimizer),
    batch=shapes,
    forward=lambda state, batch: predict_depth(model, state.params, batch["target"]),
  )


def initial_state(
  model: DepthModel,
  optimizer: optax.GradientTransformation,
  key: chex.PRNGKey,
  variant: str,
  steps: int,
  *,
  sources: int = 2,
) -> State:
  """Returns the state that training starts from; the key decides the weights."""
  model_state = numbers(variant, steps)
  target = jnp.zeros((1, model.height, model.width, 3))
  batch = {
    "target": target,
    "sources": jnp.zeros((1, sources, *target.shape[1:])),
    "intrinsics": jnp.eye(3)[None],
  }
  params = model.init(key, batch, model_state["kind"], 1.0)["params"]
  return State.create(key, params, optimizer, model_state=model_state)


def predict_depth(model: DepthModel, params: dict, images: chex.Array) -> chex.Array:
  """Returns depths [B, H, W] of images [B, H, W, 3], up to a common factor."""
  return model.apply({"params": params}, images, method="depth")


def measure(depths: np.ndarray, truth: np.ndarray) -> dict[str, float]:
  """Returns the errors and accuracies of depth, means over images.

  Each depth map is first scaled so that its median is right.

  Args:
    depths: [B, H, W] > 0, guessed.
    truth: [B, H, W] > 0; pixels that are not finite or positive do not count.

  Returns:
    "AbsRel", "SqRel", "RMS", "logRMS" (lower is better), "d1", "d2", "d3" (higher),
    and "Avg", the geometric mean of the four errors and 1 - each accuracy.

  Source: Table 2.
  """
  chex.assert_equal_shape([depths, truth])
  rows = []
  for guess, true in zip(np.asarray(depths), np.asarray(truth), strict=True):
    counts = np.isfinite(true) & (true > 0)
    guess, true = guess[counts].astype(float), true[counts].astype(float)
    guess = guess * np.median(true) / np.median(guess)
    ratio = np.maximum(guess / true, true / guess)
    rows.append(
      {
        "AbsRel": np.mean(np.abs(guess - true) / true),
        "SqRel": np.mean(np.square(guess - true) / true),
        "RMS": np.sqrt(np.mean(np.square(guess - true))),
        "logRMS": np.sqrt(np.mean(np.square(np.log(guess / true)))),
        **{f"d{k}": np.mean(ratio < 1.25**k) for k in (1, 2, 3)},
      }
    )
  means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
  errors = [1 - value if name[0] == "d" else value for name, value in means.items()]
  # One accuracy of exactly 1 must not make all others irrelevant.
  means["Avg"] = float(np.exp(np.mean(np.log(np.maximum(errors, 1e-4)))))
  return means


def _photometric(differences, kind, alpha, learned):
  """Returns the sum over scales of the mean loss.

  Args:
    differences: [B, h, w, 3] of RGB images, of each scale.
    kind: of a Variant.
    alpha: of the general loss.
    learned: [h, w, 3] α of the adaptive loss, of each scale.
  """
  absolute = sum(jnp.mean(jnp.abs(difference)) for difference in differences)
  # All scales at once: the loss is compiled once, as are its derivatives.
  matrix = jnp.concatenate([_coefficients(x) for x in differences], axis=1)
  share = np.concatenate([np.full(x.size, 1 / x.size) for x in learned])
  learned = jnp.concatenate([x.ravel() for x in learned])
  is_adaptive = kind == _ADAPTIVE
  losses = robust.loss(matrix, jnp.where(is_adaptive, learned, alpha), SCALE)
  # Without the normaliser, α would fall to its least value.
  losses += jnp.where(is_adaptive, log_partition(learned) + math.log(SCALE), 0.0)
  robust_loss = SCALE * jnp.mean(losses @ jnp.asarray(share, losses.dtype))
  return jnp.where(kind == _BASELINE, absolute, robust_loss)


def _coefficients(difference):
  """Returns the wavelet coefficients [B, h w 3] of differences [B, h, w, 3]."""
  levels = min(5, wavelets.max_levels(*difference.shape[1:3]))
  found = robust_losses.to_coefficients(difference, "yuv", "cdf97", levels=levels)
  return found.reshape(len(difference), -1)


def _roughness(disparity):
  """Returns the mean magnitude of second derivatives of disparity [B, h, w, 1]."""
  along_x, along_y = jnp.diff(disparity, axis=2), jnp.diff(disparity, axis=1)
  seconds = [
    jnp.diff(part, axis=axis) for part in (along_x, along_y) for axis in (1, 2)
  ]
  return sum(jnp.mean(jnp.abs(second)) for second in seconds if second.size)


def _size(height, width, scale):
  return height >> scale, width >> scale
