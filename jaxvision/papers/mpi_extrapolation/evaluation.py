"""Measures trained networks on held-out scenes."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import mpi
from jaxvision.papers.mpi_extrapolation import metrics, theory, training
from jaxvision.papers.mpi_extrapolation.baselines import inpaint
from jaxvision.papers.mpi_extrapolation.data import Batch
from jaxvision.papers.mpi_extrapolation.model import Extrapolator, unsigned
from jaxvision.train import jit_once

MEASURES = ("SSIM_fov", "SSIM_occ", "NAT_occ")
INITIAL, REFINED, INPAINTED, ORIGINAL, ADVERSARIAL = (
  "r_init",
  "r_fin",
  "disocclusion inpainting",
  "Original MPI",
  "r_init + adversarial",
)


class Evaluator:
  """Renders targets and compares them; compiled once for each size.

  Args:
    network: the extrapolator.
    original: the flat network, or None.
    adversarial: the network that predicts hidden colours, or None.
  """

  def __init__(
    self,
    network: Extrapolator,
    original: nn.Module | None = None,
    adversarial: nn.Module | None = None,
  ):
    self._network, self._original = network, original
    self._adversarial = adversarial
    # Few views of each size: compiling took longer than showing them.
    self._views = jit_once(self._render)

  def views(
    self, params: Mapping[str, Any], examples: Batch, planes: Batch | None = None
  ) -> dict[str, np.ndarray]:
    """Returns what each method shows of the targets, one example at a time.

    Args:
      params: of each network: "extrapolator", "original", "adversarial".
      examples: with "depths", see `data.at_resolution`.
      planes: the same with the depths of the flat network's planes.

    Returns:
      [N, H, W, 3] in [0, 1] by method; "fov" [N, H, W, 1], where all planes are seen,
      and "hidden" [N, H, W, 1], the weight that planes gain; and by measure and method
      "SSIM_fov/r_init" [N], NaN where no pixel counts.
    """
    rows = []
    for index in range(len(examples["reference"])):
      one = slice(index, index + 1)
      batch = {name: array[one] for name, array in examples.items()}
      fixed = batch if planes is None else batch | {"depths": planes["depths"][one]}
      rows.append(jax.device_get(self._views(params, batch, fixed["depths"])))
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}

  def _render(self, params, batch, fixed_depths):
    camera = training.camera_of(batch)
    prediction = self._network.apply(
      {"params": params["extrapolator"]}, training.volume_of(batch)
    )
    warped = mpi.warp_layers(prediction.initial, *camera)
    hidden = mpi.disocclusion(prediction.initial[..., 3], warped[..., 3], *camera)
    views = {
      INITIAL: unsigned(mpi.over_composite(warped)),
      REFINED: unsigned(mpi.render(prediction.refined, *camera)),
    }
    disoccluded = hidden >= metrics.DISOCCLUDED
    views[INPAINTED] = inpaint(views[INITIAL], disoccluded.astype(jnp.float32))
    if self._original is not None:
      fixed = {**batch, "depths": fixed_depths}
      layers = self._original.apply(
        {"params": params["original"]}, training.volume_of(fixed)
      )
      views[ORIGINAL] = unsigned(mpi.render(layers, *training.camera_of(fixed)))
    if self._adversarial is not None:
      free = self._adversarial.apply(
        {"params": params["adversarial"]["generator"]}, training.volume_of(batch)
      )
      views[ADVERSARIAL] = unsigned(mpi.render(free.refined, *camera))
    fov = mpi.sees_every_plane(warped)
    target = batch["target"]
    measured = {}
    for method, view in views.items():
      measured[f"SSIM_fov/{method}"] = metrics.masked_ssim(view, target, fov)
      measured[f"SSIM_occ/{method}"] = metrics.masked_ssim(
        view, target, disoccluded & fov
      )
      measured[f"NAT_occ/{method}"] = metrics.naturalness(
        view, target, disoccluded & fov
      )
    return views | measured | {"fov": fov, "hidden": hidden}


def means(views: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
  """Returns the mean of each measure by method, of the examples that have it."""
  table: dict[str, dict[str, float]] = {}
  for name, values in views.items():
    measure, _, method = name.partition("/")
    if method:
      known = values[np.isfinite(values)]
      mean = float(known.mean()) if len(known) else float("nan")
      table.setdefault(method, {})[measure] = mean
  return table


def oracle_range(
  planes: tuple[int, ...], near: float, far: float, width: int = 256
) -> dict[int, dict[str, np.ndarray | float]]:
  """Returns how the views of exact MPIs worsen as the camera moves sideways (C1).

  A surface slants from `far` to `near` across the image, with a smooth texture; its
  views are known in closed form.

  Args:
    planes: numbers of planes.
    near: smallest depth.
    far: largest depth.
    width: of the image; it is an eighth as high.

  Returns:
    By number of planes: "bound", the renderable range in the unit of depth; "shift" [S]
    from a tenth of it to three times; "psnr" [S] in dB where all planes are seen.
  """
  height, focal = width // 8, width / 4
  x, y = np.meshgrid(
    (np.arange(width) - (width - 1) / 2) / focal,
    (np.arange(height) - (height - 1) / 2) / focal,
  )
  slope = 0.98 * (1 / near - 1 / far) / (x[0, -1] - x[0, 0])
  normal = np.array([slope, 0.0, (1 / near + 1 / far) / 2])
  intrinsics = np.float32(
    [[[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]]
  )
  rng = np.random.default_rng(0)
  waves = [(*rng.uniform(-3, 3, 2), rng.uniform(0, 6.3)) for _ in range(24)]

  def view(shift):
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    depth = (1 + normal[0] * shift) / (rays @ normal)
    hit = rays * depth[..., None] - np.array([shift, 0, 0])
    # The texture is fixed to the surface, as the reference camera sees it.
    u, v = (hit[..., axis] / hit[..., 2] * focal / 6 for axis in (0, 1))
    grey = 0.5 + 0.06 * sum(np.sin(a * u + b * v + c) for a, b, c in waves)
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.float32), depth

  image, depth = view(0.0)
  found = {}
  render = jax.jit(theory.oracle_view)
  for number in planes:
    depths = mpi.plane_depths(near, far, number)
    step = (1 / near - 1 / far) / (number - 1)
    bound = theory.renderable_range(1 / focal, step, 1 / near)
    shifts, psnr = bound * np.arange(0.1, 3.05, 0.1), []
    for shift in shifts:
      pose = np.eye(4, dtype=np.float32)[None]
      pose[0, 0, 3] = shift
      shown, seen = render(
        2 * image[None] - 1, depth[None].astype(np.float32), depths, pose, intrinsics
      )
      error = np.square(unsigned(np.asarray(shown[0])) - view(shift)[0])
      error = error[np.asarray(seen[0, ..., 0])]
      psnr.append(-10 * np.log10(error.mean()) if error.size else np.nan)
    found[number] = {"bound": bound, "shift": shifts, "psnr": np.array(psnr)}
  return found


def reach(curve: Mapping[str, Any], level: float) -> float:
  """Returns the largest shift up to which a curve of PSNR stays at a level."""
  shift, psnr = curve["shift"], curve["psnr"]
  below = np.flatnonzero(~(psnr >= level))
  if not len(below):
    return float(shift[-1])
  last = int(below[0])
  if last == 0:
    return float(shift[0])
  share = (psnr[last - 1] - level) / (psnr[last - 1] - psnr[last])
  return float(shift[last - 1] + share * (shift[last] - shift[last - 1]))


@functools.cache
def leak() -> float:
  """Returns how much of a card's colour the planes behind it hold (C4).

  A card hides a background of another colour; both are opaque. The refined planes are
  gathered from what `model.visible` keeps, with no flow and with one that reaches
  beside the card.
  """
  from jaxvision.papers.mpi_extrapolation import model

  card, background = np.array([1.0, -1.0, 0.5]), np.array([-0.5, 0.5, -1.0])
  layers = np.zeros((1, 6, 12, 2, 4), np.float32)
  layers[..., 0, :3], layers[..., 0, 3] = background, 1
  layers[:, :, 4:8, 1, :3], layers[:, :, 4:8, 1, 3] = card, 1
  flow = np.zeros((2, 6, 12, 2, 2), np.float32)
  flow[1, :, 4:8, 0, 1] = 4.0

  @jit_once
  def gathered(layers, flow):
    _, behind = model.visible(layers)
    return model.flow_gather(jnp.concatenate([behind, behind]), flow)

  still, moved = gathered(layers, flow)[:, None]
  hidden = np.s_[:, :, 4:8, 0]
  # Without a flow a hidden voxel has no colour at all; with it, the background's.
  errors = np.abs(still[hidden]), np.abs(moved[hidden] - background)
  return float(max(error.max() for error in errors))
