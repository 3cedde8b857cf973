"""Grids of images: samples, mixed styles, interpolation, noise, truncation."""

from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops.interpolation import lerp
from jaxvision.papers.stylegan import growing, styles
from jaxvision.papers.stylegan.generator import Generator

_SHOWN = 64  # pixels that an image has at least in a picture
_GAP = 2
_RANGES = (("coarse", styles.COARSE), ("middle", styles.MIDDLE), ("fine", styles.FINE))


class Painter:
  """Compiled pictures of one generator; its noise is the constant one unless said."""

  def __init__(self, generator: Generator, variables: Any):
    """Takes the network, without labels, and its variables."""
    self.generator, self.variables = generator, variables
    self._map = jax.jit(
      lambda variables, z: generator.apply(variables, z, method="map")
    )

    def render(variables, w, key):
      return generator.apply(
        variables,
        w,
        fresh_noise=key is not None,
        method="synthesize",
        rngs=None if key is None else {"noise": key},
      )

    self._render = jax.jit(render)

  def styles(
    self, z: np.ndarray, *, psi: float | None = None, cutoff: int | None = 8
  ) -> np.ndarray:
    """Returns the styles [N, L, W] of latents [N, Z], truncated where ψ is given."""
    w = self._map(self.variables, jnp.asarray(z, jnp.float32))
    shape = (len(w), self.generator.synthesis.num_layers, w.shape[-1])
    w = jnp.broadcast_to(w[:, None], shape)
    if psi is not None:
      average = jnp.asarray(self.variables["average"]["w"])
      w = styles.truncate(w, average, psi=psi, cutoff=cutoff)
    return np.asarray(w)

  def render(self, w: np.ndarray, key: chex.PRNGKey | None = None) -> np.ndarray:
    """Returns images [N, R, R, C] uint8 of styles [N, L, W], some at a time."""
    batch = 16 if self.generator.synthesis.resolution <= 64 else 1
    images = []
    for first in range(0, len(w), batch):
      part = np.asarray(w[first : first + batch])
      # Filled up, so that one compilation serves all.
      rest = batch - len(part)
      part = np.concatenate([part, np.repeat(part[-1:], rest, axis=0)])
      found = growing.to_uint8(self._render(self.variables, part, key))
      images.append(np.asarray(found)[: batch - rest])
    return np.concatenate(images)


def grid(images: np.ndarray, columns: int, *, shown: int = _SHOWN) -> np.ndarray:
  """Returns images [N, H, H, C] uint8 in rows, small ones enlarged without blur.

  Args:
    images: any number; the last row is filled with white.
    columns: images in a row.
    shown: pixels of an image at least.
  """
  chex.assert_rank(images, 4)
  factor = -(-shown // images.shape[1])
  images = images.repeat(factor, axis=1).repeat(factor, axis=2)
  images = np.pad(images, ((0, 0), (0, _GAP), (0, _GAP), (0, 0)), constant_values=255)
  rows = -(-len(images) // columns)
  whole = np.full((rows * columns, *images.shape[1:]), 255, np.uint8)
  whole[: len(images)] = images
  whole = whole.reshape(rows, columns, *images.shape[1:]).swapaxes(1, 2)
  height, width = whole.shape[1], whole.shape[3]
  whole = whole.reshape(rows * height, columns * width, images.shape[-1])
  return whole[:-_GAP, :-_GAP]


def mixing_tables(
  first: np.ndarray, second: np.ndarray, resolution_layers: int
) -> dict[str, np.ndarray]:
  """Returns the styles of Figure 3: of `first`, with a range of layers of `second`.

  Args:
    first: [A, L, W], one a column.
    second: [B, L, W], one a row.
    resolution_layers: L; ranges that the network lacks are left out.

  Returns:
    By range, "coarse", "middle", "fine": [B, A, L, W].
  """
  tables = {}
  for name, layers in _RANGES:
    if layers.start is not None and layers.start >= resolution_layers:
      continue
    mixed = np.repeat(first[None], len(second), axis=0).copy()
    mixed[:, :, layers] = second[:, None, layers]
    tables[name] = mixed
  return tables


def mixing_grid(painter: Painter, first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Returns Figure 3: first's images on top, second's at the left, mixed between.

  The rows are, from above, second's coarse, middle and fine styles (as far as the
  network has them) on first's others.
  """
  tops, sides = painter.render(first), painter.render(second)
  blank = np.full_like(tops[0], 255)
  cells = [blank, *tops]
  for mixed in mixing_tables(first, second, first.shape[1]).values():
    images = painter.render(mixed.reshape(-1, *mixed.shape[2:]))
    images = images.reshape(*mixed.shape[:2], *images.shape[1:])
    for side, row in zip(sides, images, strict=True):
      cells += [side, *row]
  return grid(np.stack(cells), 1 + len(tops))


def strip(w: np.ndarray, between: int) -> np.ndarray:
  """Returns styles [(N - 1) · between + 1, L, W] on the straight ways from one w to
  the next.

  Args:
    w: [N, L, W].
    between: steps from each to the next.
  """
  times = np.arange((len(w) - 1) * between + 1) / between
  start = np.minimum(times.astype(int), len(w) - 2)
  rest = (times - start)[:, None, None].astype(np.float32)
  return np.asarray(lerp(w[start], w[start + 1], rest))


def without_noise(variables: Any, layers: Callable[[int], bool]) -> Any:
  """Returns variables whose noise is silent in the layers that `layers` refuses."""
  synthesis = dict(variables["params"]["synthesis"])
  for name, values in synthesis.items():
    if name.startswith("epilogue") and not layers(int(name.removeprefix("epilogue"))):
      zeros = np.zeros_like(values["noise_scale"])
      synthesis[name] = {**values, "noise_scale": zeros}
  return {
    **variables,
    "params": {**variables["params"], "synthesis": synthesis},
  }


def noise_rows(painter: Painter, w: np.ndarray) -> np.ndarray:
  """Returns Figure 5: w's images with all noise, none, fine noise, coarse noise.

  Fine layers are the later half of the network's.
  """
  middle = painter.generator.synthesis.num_layers // 2
  choices = (
    lambda layer: True,
    lambda layer: False,
    lambda layer: layer >= middle,
    lambda layer: layer < middle,
  )
  rows = []
  for chosen in choices:
    some = Painter(painter.generator, without_noise(painter.variables, chosen))
    some._render = painter._render  # compiled already
    rows.append(some.render(w))
  return np.concatenate(rows)


def deviation(images: np.ndarray) -> np.ndarray:
  """Returns Figure 4c [N, R, R, 1] uint8: how noise moves pixels, white the most.

  Args:
    images: [K, N, R, R, C] float, K draws of noise for each of N styles.
  """
  found = np.std(np.asarray(images), axis=0).mean(axis=-1, keepdims=True)
  return np.round(255 * found / max(found.max(), 1e-12)).astype(np.uint8)


def keep_samples(
  run, painters: Mapping[str, Painter], reals: np.ndarray, latent: int
) -> None:
  """Keeps pictures of real images and of each configuration's, of the same latents."""
  z = np.random.default_rng(0).normal(size=(32, latent))
  run.picture("reals", grid(reals[:32], 8), "Images to learn from")
  for name, painter in painters.items():
    samples = grid(painter.render(painter.styles(z)), 8)
    run.picture(f"samples {name}", samples, f"Configuration {name}, not truncated")


def keep_styles(run, painter: Painter, latent: int, *, psi: float) -> None:
  """Keeps pictures of what styles and noise do, as Figures 3, 4, 5 and 8."""
  synthesis = painter.generator.synthesis
  if not synthesis.use_styles:
    return
  z = np.random.default_rng(1).normal(size=(8, latent))
  w, truncated = painter.styles(z), painter.styles(z, psi=psi)
  run.picture(
    "mixing",
    mixing_grid(painter, truncated[2:], truncated[:2]),
    "Figure 3: images of the top row with the coarse, then middle, then fine styles "
    "of those at the left, two rows each",
  )
  path = painter.render(strip(w[:5], 8))
  run.picture("interpolation", grid(path[:-1], 8), "Straight ways in W, row after row")
  psis = (1.0, 0.7, 0.5, 0.0, -0.5, -1.0)
  rows = [painter.render(painter.styles(z, psi=p, cutoff=None)) for p in psis]
  caption = f"Figure 8: all layers truncated, ψ = {', '.join(map(str, psis))}"
  run.picture("truncation", grid(np.concatenate(rows), 8), caption)
  if synthesis.use_noise:
    caption = "Figure 5: noise in all layers, in none, in the later half, in the first"
    run.picture("noise", grid(noise_rows(painter, w), 8), caption)
    keys = jax.random.split(jax.random.key(0), 16)
    draws = np.stack([painter.render(w, key) for key in keys]).astype(np.float32)
    caption = "Figure 4c: how far noise moves pixels, white the most"
    run.picture("noise deviation", grid(deviation(draws), 8), caption)
