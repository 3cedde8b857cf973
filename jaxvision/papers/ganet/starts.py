"""Initial weights for short trainings.

The authors' network starts at random. Then no feature of one view is compared with the
same feature of the other; costs are so large that the softmin takes one candidate and
passes no gradient to the others; the weights of guided layers have random signs, so
that a path forgets what it saw a cell or two ago and a filter shrinks what it gets. It
takes hundreds of updates until any of that changes. With these initialisers the volume
starts as differences of the views, all candidates count, and guided layers average.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxvision.papers.ganet.layers import KERNEL_INIT

# w0 to w4, of the first layer, where averages of differences tell little, and later.
_FIRST_PATH = np.array([0.85, 0.15, 0.0, 0.0, 0.0], np.float32)
_PATH = np.array([0.25, 0.55, 0.1, 0.1, 0.0], np.float32)
_MEAN_INPUT = (2 * np.pi) ** -0.5  # of a ReLU after a normalisation


def identity(key, shape, dtype=jnp.float32):
  """Initialises a convolution, of as many channels out as in, to change nothing."""
  del key
  center = tuple(size // 2 for size in shape[:-2])
  return jnp.zeros(shape, dtype).at[center].set(jnp.eye(*shape[-2:], dtype=dtype))


def difference(key, shape, dtype=jnp.float32):
  """Initialises a convolution to see the second half of its inputs less the first."""
  half = KERNEL_INIT(key, (*shape[:-2], shape[-2] // 2, shape[-1]), dtype)
  return jnp.concatenate([-half, half], axis=-2)


# Of the convolution that gives the costs: they differ by about 1.
small = nn.initializers.variance_scaling(0.25, "fan_in", "normal")


def path_start(lean: float, first: bool):
  """Returns the initialiser of what gives SGA weights: a path remembers some cells.

  Args:
    lean: as `_leaning` has it.
    first: whether the layer is the network's first, whose paths remember little.
  """
  return _leaning(lean, _FIRST_PATH if first else _PATH)


def window_start(lean: float, taps: int):
  """Returns the initialiser of what gives an LGA filter: it changes nothing.

  Args:
    lean: as `_leaning` has it.
    taps: of the filter, an odd number.
  """
  return _leaning(lean, np.eye(1, taps, taps // 2, dtype=np.float32)[0])


def _leaning(lean, start):
  """Returns an initialiser whose convolution gives random weights and constant ones.

  What is added to the kernels is constant. It takes effect as their inputs are not
  negative.

  Args:
    lean: how large the weights' constant part is, as a multiple of the random one; 0
      is the authors' start.
    start: the constant part, [terms], absolute values that sum to 1.
  """

  def init(key, shape, dtype=jnp.float32):
    inputs, outputs = shape[-2:]
    # A normal variable's mean size is sqrt(2 / pi) deviations.
    random = len(start) * (2 / np.pi * inputs / outputs) ** 0.5
    constant = lean * random / (_MEAN_INPUT * np.prod(shape[:-1]))
    repeated = np.tile(start, outputs // len(start))
    return KERNEL_INIT(key, shape, dtype) + jnp.asarray(constant * repeated, dtype)

  return init
