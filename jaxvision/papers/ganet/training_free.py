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
# Of differences of colour and of horizontal gradient, and the latter's share.
# Source: Bleyer et al., PatchMatch Stereo, BMVC 2011, Section 4.
TRUNCATION = (10 / 255, 2 / 255)
GRADIENT_SHARE = 0.9
SIMILARITY = 0.04  # difference of colour at which a path's memory falls by e
MEMORY = 8.0  # weight of the path's own candidate, of its neighbours, of its maximum
NEIGHBOURS = 1.0
JUMP = 0.5
# Mean squared horizontal gradient in a window around a pixel without texture.
# Source: Scharstein and Szeliski, IJCV 2002, Section 5.1.
TEXTURELESS = 4 / 255**2
_WINDOW = 3


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
  return {
    "left": left,
    "right": smaller(right),
    "disparity": disparity[k // 2 : height : k, k // 2 : width : k] / k,
    "textureless": textureless(left),
  }


def textureless(image: np.ndarray) -> np.ndarray:
  """Returns which pixels of [H, W, 3] in [0, 1] have no texture, [H, W] bool."""
  chex.assert_shape(image, (None, None, 3))
  grey = image.mean(-1)
  slope = np.diff(grey, axis=1, append=grey[:, -1:])
  padded = np.pad(np.square(slope), _WINDOW // 2, mode="edge")
  windows = np.lib.stride_tricks.sliding_window_view(padded, (_WINDOW, _WINDOW))
  return windows.mean((2, 3)) < TEXTURELESS


def matching_scores(
  left: chex.Array,
  right: chex.Array,
  candidates: int = CANDIDATES,
  *,
  truncation: tuple[float, float] = TRUNCATION,
  gradient_share: float = GRADIENT_SHARE,
) -> chex.Array:
  """Returns 1 - the truncated differences of colour and of horizontal gradient.

  Args:
    left: [N, H, W, 3] in [0, 1].
    right: of the same shape.
    candidates: D.
    truncation: largest difference of colour, and of horizontal gradient, that counts.
    gradient_share: weight of the gradient.

  Returns:
    [N, D, H, W] in [0, 1].
  """

  def gradient(image):
    padded = jnp.pad(image, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    return (padded[:, :, 2:] - padded[:, :, :-2]) / 2

  color, slope = (
    cost_volume.absolute_difference_volume(*views, candidates, truncation=limit) / limit
    for views, limit in zip(
      ((left, right), (gradient(left), gradient(right))), truncation, strict=True
    )
  )
  return 1 - (1 - gradient_share) * color - gradient_share * slope


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
  rows = {}
  for name, volume in ways.items():
    disparity = np.asarray(cost_volume.winner_takes_all(-volume))[0]
    rows[name] = {"disparity": disparity, **wrong_rates(disparity, pair)}
  return rows


def wrong_rates(disparity: np.ndarray, pair: dict[str, np.ndarray]) -> dict[str, float]:
  """Returns the rates of errors above 1 pixel where the truth is known.

  Pixels count that only the left view sees, as in the paper's errors.

  Args:
    disparity: [H, W].
    pair: as `motorcycle` returns it.

  Returns:
    {"all": rate, "textureless": rate}.
  """
  known = np.isfinite(pair["disparity"])
  wrong = np.abs(disparity - np.where(known, pair["disparity"], 0)) > 1
  return {
    "all": float(wrong[known].mean()),
    "textureless": float(wrong[known & pair["textureless"]].mean()),
  }
