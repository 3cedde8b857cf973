"""The mapping network f: Z -> W (M2, M3)."""

from typing import Any

import chex
import flax.linen as nn
import jax.numpy as jnp

from jaxvision.nn.equalized import EqualizedDense
from jaxvision.ops.normalization import pixel_norm

SLOPE = 0.2  # of every leaky ReLU of the paper


class Mapping(nn.Module):
  """Maps latents z [N, Z] to intermediate latents w [N, W].

  Attributes:
    features: W; without layers w is the normalised input, of its width.
    hidden: width of the layers before the last.
    layers: their number; 0 for a generator without a mapping network.
    label_size: length of one-hot labels, which are embedded and appended to z; 0 where
      there are none.
    normalize: whether the input is scaled to a mean square of 1.
    lr_multiplier: of weights and biases.
    dtype: of the computation; None promotes input and parameters.

  Source: Figure 1b, Appendix C; the authors' G_mapping.
  """

  features: int = 512
  hidden: int = 512
  layers: int = 8
  label_size: int = 0
  normalize: bool = True
  lr_multiplier: float = 0.01
  dtype: Any = None

  @nn.compact
  def __call__(self, z: chex.Array, labels: chex.Array | None = None) -> chex.Array:
    """Returns w [N, W].

    Args:
      z: [N, Z], drawn from N(0, 1).
      labels: [N, label_size]; None where label_size is 0.
    """
    chex.assert_rank(z, 2)
    chex.assert_type(z, float)
    x = z
    if self.label_size:
      if labels is None:
        raise ValueError(f"labels [N, {self.label_size}] are missing")
      chex.assert_shape(labels, (len(z), self.label_size))
      shape = (self.label_size, z.shape[-1])
      embedding = self.param("labels", nn.initializers.normal(1.0), shape)
      x = jnp.concatenate([x, labels @ embedding], axis=-1)
    if self.normalize:
      x = pixel_norm(x)
    for number in range(self.layers):
      last = number == self.layers - 1
      layer = EqualizedDense(
        self.features if last else self.hidden,
        lr_multiplier=self.lr_multiplier,
        dtype=self.dtype,
        name=f"dense{number}",
      )
      x = nn.leaky_relu(layer(x), SLOPE)
    return x
