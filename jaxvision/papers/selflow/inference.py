"""Flow of images of any size (M15)."""

import functools
from typing import Any

import chex
import jax
import numpy as np

from jaxvision.ops.resize import resize
from jaxvision.ops.warp import occlusion
from jaxvision.papers.selflow.network import SelFlow, flow_resize


def multiple(network: SelFlow) -> int:
  """Returns of what the sizes of images are to be multiples: 64 with six levels."""
  return 2 ** len(network.features)


@functools.partial(jax.jit, static_argnames="network")
def estimate(network: SelFlow, params: Any, frames: chex.Array) -> chex.Array:
  """Returns the flow of all frames that have two neighbours.

  Sizes are rounded up to what the network's levels divide, by repeating pixels; the
  flow is brought back the same way.

  Args:
    network: the network.
    params: its parameters.
    frames: [T, B, H, W, 3] in [0, 1], T >= 3.

  Returns:
    [2, T - 2, B, H, W, 2] in pixels: to the following and to the preceding frame.
  """
  chex.assert_rank(frames, 5)
  size = frames.shape[2:4]
  step = multiple(network)
  rounded = tuple(-(-length // step) * step for length in size)
  if rounded != size:
    frames = resize(frames, rounded, method="nearest", coordinates="align_corners")
  flow = network.apply({"params": params}, frames).full
  return flow if rounded == size else flow_resize(flow, size, method="nearest")


def estimate_with_occlusion(
  network: SelFlow, params: Any, frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the flow from each frame to the next, and what is hidden in the next.

  Args:
    network: the network.
    params: its parameters.
    frames: [T, H, W, 3] in [0, 1], T >= 3.

  Returns:
    flow [T - 2, H, W, 2] of frames 1 to T - 2, to the next one; and occlusion
    [T - 3, H, W, 1] of all but the last of them, whose way back is not known.
  """
  flow = estimate(network, params, frames[:, None])[:, :, 0]
  there, back = flow[0, :-1], flow[1, 1:]
  hidden = jax.jit(occlusion, static_argnames="border")(
    there, back, border=network.border
  )
  return np.asarray(flow[0]), np.asarray(hidden)
