"""The geometry of one convolution, shared by its formulations."""

import dataclasses

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Form:
  """F(x, k, y) = Σ x[b, strides · i + dilation · t - low, c] k[t, c, o] y[b, i, o].

  The sum runs over batch b, outputs i, taps t of the window and channels c, o of one
  group; elements of x outside its array are zero. All tuples have one entry per axis.

  Attributes:
    spatial: sizes of x.
    window: sizes of k.
    strides: distance of neighbouring windows in x.
    padding: (low, high) elements added to x; negative ones are cropped.
    dilation: distance of neighbouring taps in x.
    groups: number of groups of channels.
    precision: of matrix products, as `jax.default_matmul_precision` names it.
  """

  spatial: tuple[int, ...]
  window: tuple[int, ...]
  strides: tuple[int, ...]
  padding: tuple[Pair, ...]
  dilation: tuple[int, ...]
  groups: int = 1
  precision: str | None = None

  @property
  def extent(self) -> tuple[int, ...]:
    """Elements of x that the dilated window spans."""
    return tuple(
      d * (k - 1) + 1 for k, d in zip(self.window, self.dilation, strict=True)
    )

  @property
  def outputs(self) -> tuple[int, ...]:
    """Sizes of y."""
    return tuple(
      (n + low + high - e) // s + 1
      for n, (low, high), e, s in zip(
        self.spatial, self.padding, self.extent, self.strides, strict=True
      )
    )

  def without_first_axis(self) -> "Form":
    """Returns the form of the remaining axes."""
    return dataclasses.replace(
      self,
      spatial=self.spatial[1:],
      window=self.window[1:],
      strides=self.strides[1:],
      padding=self.padding[1:],
      dilation=self.dilation[1:],
    )
