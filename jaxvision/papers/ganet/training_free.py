"""Matching without any learning: hand-made costs, aggregated in several ways (claim 3).

Scores are high where the views agree, [1, D, H, W] in [0, 1].
"""

import chex
import jax.numpy as jnp
import numpy as np

from jaxvision.data import photographs
from jaxvision.ops import aggregation, cost_volume

DOWNSAMPLING = 3  # of the motorcycle pair
CANDIDATES = 24
TRUNCATION = (0.12, 0.04)  # of differences of colour, of horizontal gradient
GRADIENT_SHARE = 0.6
SIMILARITY = 0.04  # difference of colour at which a path's memory falls by e
MEMORY = 8.0  # weight of the path's own candidate, of its neighbours, of its maximum
NEIGHBOURS = 1.0
JUMP = 0.5
TEXTURELESS = 0.02  # standard deviation of brightness around a pixel
_WINDOW = 7


def motorcycle() -> dict[str, np.ndarray]:
  """Returns scikit-image's pair at a third of its size.

  Returns:
    left and right [H, W, 3] in [0, 1], disparity [H, W] (infinite where unknown), and
    textureless [H, W] bool.
  """
  left, right, disparity = photographs.motorcycle_stereo()
  k = DOWNSAMPLING
  height, width = (k * (side // k) for side in disparity.shape)

  def smaller(image):
    blocks = image[:height, :width].reshape(height // k, k, width // k, k, 3)
    return blocks.mean((1, 3)).astype(np.float32) / 255

  left = smaller(left)
  grey = np.pad(left.mean(-1), _WINDOW // 2, mode="edge")
  windows = np.lib.stride_tricks.sliding_window_view(grey, (_WINDOW, _WINDOW))
  return {
    "left": left,
    "right": smaller(right),
    "disparity": disparity[k // 2 : height : k, k // 2 : width : k] / k,
    "textureless": windows.std((2, 3)) < TEXTURELESS,
  }


def matching_scores(
  left: chex.Array, right: chex.Array, candidates: int = CANDIDATES
) -> chex.Array:
  """Returns 1 - the truncated differences of colour and of horizontal gradient.

  Args:
    left: [N, H, W, 3] in [0, 1].
    right: of the same shape.
    candidates: D.

  Returns:
    [N, D, H, W] in [0, 1].
  """

  def gradient(image):
    padded = jnp.pad(image, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    return (padded[:, :, 2:] - padded[:, :, :-2]) / 2

  color, slope = (
    cost_volume.absolute_difference_volume(*views, candidates, truncation=limit) / limit
    for views, limit in zip(
      ((left, right), (gradient(left), gradient(right))), TRUNCATION, strict=True
    )
  )
  return 1 - (1 - GRADIENT_SHARE) * color - GRADIENT_SHARE * slope


def edge_weights(image: chex.Array) -> chex.Array:
  """Returns SGA weights by hand: a path remembers as long as the colour stays.

  Args:
    image: [N, H, W, 3] in [0, 1].

  Returns:
    [N, H, W, 4, 5, 1], sums of absolute values 1.
  """
  chex.assert_rank(image, 4)
  shares = []
  for name in aggregation.DIRECTIONS:
    axis = 1 if name in ("down", "up") else 2
    step = 1 if name in ("down", "right") else -1
    change = jnp.mean(jnp.abs(image - jnp.roll(image, step, axis)), axis=-1)
    same = jnp.exp(-change / SIMILARITY)
    terms = [jnp.ones_like(same), MEMORY * same]
    terms += [NEIGHBOURS * same, NEIGHBOURS * same, JUMP * same]
    shares.append(jnp.stack(terms, axis=-1))
  weights = jnp.stack(shares, axis=3)
  return aggregation.normalize_weights(weights, axis=-1)[..., None]


def guided(scores: chex.Array, image: chex.Array, fusion: str) -> chex.Array:
  """Returns the scores aggregated by `edge_weights`, [N, D, H, W]."""
  aggregated = aggregation.semi_global_aggregation(
    scores[..., None], edge_weights(image), fusion=fusion
  )
  return aggregated[..., 0]


def box(scores: chex.Array, size: int = 5, depth: int = 3) -> chex.Array:
  """Returns the means of [N, D, H, W] over windows, the edges going on."""
  for axis, length in ((1, depth), (2, size), (3, size)):
    padding = [(0, 0)] * 4
    padding[axis] = (length // 2, length // 2)
    padded = jnp.pad(scores, padding, mode="edge")
    count = scores.shape[axis]
    scores = sum(
      jnp.take(padded, jnp.arange(k, k + count), axis=axis) for k in range(length)
    )
  return scores / (depth * size * size)


def compare(pair: dict[str, np.ndarray]) -> dict[str, dict]:
  """Returns, for each way to aggregate, disparities and rates of errors above 1 pixel.

  Args:
    pair: as `motorcycle` returns it.

  Returns:
    {name: {"disparity": [H, W], "all": rate, "textureless": rate}}.
  """
  left, right = (jnp.asarray(pair[view])[None] for view in ("left", "right"))
  scores = matching_scores(left, right)
  ways = {
    "raw": scores,
    "SGA, maximum": guided(scores, left, "max"),
    "SGA, sum": guided(scores, left, "sum"),
    "box 5 x 5 x 3": box(scores),
  }
  truth = pair["disparity"]
  known = np.isfinite(truth) & (np.arange(truth.shape[1]) >= CANDIDATES)
  rows = {}
  for name, volume in ways.items():
    disparity = np.asarray(cost_volume.winner_takes_all(-volume))[0]
    wrong = np.abs(disparity - np.where(known, truth, 0)) > 1
    rows[name] = {
      "disparity": disparity,
      "all": float(wrong[known].mean()),
      "textureless": float(wrong[known & pair["textureless"]].mean()),
    }
  return rows
