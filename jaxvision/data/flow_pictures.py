"""Optical flow as colours: the hue is the direction, the saturation the length."""

import chex
import numpy as np

# Lengths of the transitions red-yellow-green-cyan-blue-magenta-red, chosen by how well
# the eye tells the hues apart.
_TRANSITIONS = (15, 6, 4, 11, 13, 6)
_UNKNOWN = 1e9  # Middlebury's files mark what is unknown by larger components


def color_wheel() -> np.ndarray:
  """Returns the [55, 3] colours in [0, 1] of the wheel, from red by yellow.

  Source: Baker et al., A Database and Evaluation Methodology for Optical Flow, IJCV
    2011, Fig. 7; lengths of transitions from their colorcode.
  """
  corners = np.array(
    [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]], float
  )
  return np.concatenate(
    [
      start + np.arange(count)[:, None] / count * (end - start)
      for start, end, count in zip(
        corners, np.roll(corners, -1, axis=0), _TRANSITIONS, strict=True
      )
    ]
  )


def flow_picture(flow: np.ndarray, *, largest: float | None = None) -> np.ndarray:
  """Returns flow as colours.

  Args:
    flow: [H, W, 2] float in pixels, right and down. What is not finite, or larger than
      1e9 in a component, is unknown and black.
    largest: length in pixels that has the full colour; longer flow is darker. The
      largest of the picture when None.

  Returns:
    [H, W, 3] float32 in [0, 1]; flow of length 0 is white.
  """
  chex.assert_rank(flow, 3)
  chex.assert_axis_dimension(flow, -1, 2)
  flow = np.asarray(flow, np.float64)
  known = np.all(np.isfinite(flow) & (np.abs(flow) <= _UNKNOWN), axis=-1)
  u, v = np.moveaxis(np.where(known[..., None], flow, 0.0), -1, 0)
  length = np.hypot(u, v)
  if largest is None:
    largest = max(length.max(initial=0.0), 1e-6)
  length = length / largest

  wheel = color_wheel()
  turn = np.arctan2(-v, -u) / np.pi  # in [-1, 1]
  position = (turn + 1) / 2 * (len(wheel) - 1)
  low = np.floor(position).astype(int)
  share = (position - low)[..., None]
  hue = (1 - share) * wheel[low] + share * wheel[(low + 1) % len(wheel)]
  length = length[..., None]
  color = np.where(length <= 1, 1 - length * (1 - hue), 0.75 * hue)
  return (color * known[..., None]).astype(np.float32)


def wheel_picture(size: int = 64) -> np.ndarray:
  """Returns the legend [size, size, 3], a disc whose colour is of flow to its side."""
  axis = np.linspace(-1, 1, size)
  u, v = np.meshgrid(axis, axis)
  picture = flow_picture(np.stack([u, v], axis=-1), largest=1.0)
  return np.where((np.hypot(u, v) <= 1)[..., None], picture, np.float32(1))
