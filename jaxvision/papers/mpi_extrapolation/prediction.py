"""The user's own posed images as a multiplane image, and a path of views of it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import numpy as np
from etils import epath

from jaxvision.data import animations, files, images, photographs, realestate
from jaxvision.errors import UserError
from jaxvision.ops import mpi
from jaxvision.papers.mpi_extrapolation import training
from jaxvision.papers.mpi_extrapolation.data import shrink
from jaxvision.papers.mpi_extrapolation.model import (
  Extrapolator,
  predict_in_patches,
  unsigned,
)

SMALLEST = 16  # pixels along each side
_BATCH = ("src_images", "ref_image", "ref_pose", "src_poses", "intrinsics")
# Of the Middlebury pair: pixels between the principal points, focal length, metres.
_OFFSET, _FOCAL, _CENTER, _BASELINE = 31, 994.978, (311.193, 254.877), 0.193001


@dataclasses.dataclass(frozen=True)
class Path:
  """A camera that sways sideways (M14).

  Attributes:
    frames: of one period.
    disparity: pixels by which depth 1 moves at most.
    crop: pixels left out at each border of the MPI.
  """

  frames: int = 128
  disparity: float = 64.0
  crop: int = 20

  def transforms(self, focal: float) -> np.ndarray:
    """Returns [frames, 4, 4] from the reference camera to the path's."""
    poses = np.tile(np.eye(4, dtype=np.float32), (self.frames, 1, 1))
    phase = 2 * np.pi * np.arange(self.frames) / self.frames
    poses[:, 0, 3] = self.disparity / focal * np.sin(phase)
    return poses


def read_views(inputs: Sequence[epath.Path]) -> dict[str, np.ndarray]:
  """Returns posed images, the first of them the reference.

  Args:
    inputs: two or more images and one .txt file of RealEstate10K's format with a line
      for each; or one .npz of the authors' examples.

  Returns:
    As `data.render_examples`, N = 1, without a target.

  Raises:
    UserError: files are missing, damaged, of unequal sizes, too small, or have no
      poses; names the file.
  """
  paths = [epath.Path(path) for path in inputs]
  if len(paths) == 1 and paths[0].suffix == ".npz":
    return _read_batch(paths[0])
  cameras = [path for path in paths if path.suffix == ".txt"]
  pictures = [path for path in paths if path.suffix != ".txt"]
  if len(cameras) != 1 or len(pictures) < 2:
    raise UserError(
      f"{len(pictures)} images and {len(cameras)} camera files: two images and one "
      ".txt with their poses are needed, or one .npz"
    )
  poses = realestate.read_cameras(cameras[0])
  if len(poses) != len(pictures):
    raise UserError(f"{cameras[0]}: {len(poses)} poses for {len(pictures)} images")
  seen = [images.read_rgb(path) for path in pictures]
  for path, image in zip(pictures, seen, strict=True):
    if image.shape != seen[0].shape:
      raise UserError(
        f"{path}: {image.shape[1]} x {image.shape[0]} pixels, but {pictures[0]} has "
        f"{seen[0].shape[1]} x {seen[0].shape[0]}"
      )
  if np.ptp(poses.intrinsics, axis=0).max() > 1e-3:
    raise UserError(f"{cameras[0]}: the images' intrinsics differ")
  stacked = np.stack(seen).astype(np.float32)[None] / 255
  matrix = poses.matrix(0, *seen[0].shape[:2])
  return _views(str(pictures[0]), stacked, poses.poses[None], matrix[None])


def motorcycle(width: int) -> dict[str, np.ndarray]:
  """Returns scikit-image's stereo pair as views, metres as the unit of depth.

  The cameras' principal points differ by 31 pixels, of which both images lose the half
  that the other does not share. Depths are 2 to 5 metres.

  Args:
    width: to which the images are averaged.

  Raises:
    UserError: scikit-image is not installed.
  """
  left, right, _ = photographs.motorcycle_stereo()
  pair = np.stack([left[:, :-_OFFSET], right[:, _OFFSET:]]).astype(np.float32) / 255
  poses = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
  poses[1, 0, 3] = -_BASELINE
  matrix = np.float32([[_FOCAL, 0, _CENTER[0]], [0, _FOCAL, _CENTER[1]], [0, 0, 1]])
  views = _views("the motorcycle", pair[None], poses[None], matrix[None])
  return resized(views, round(pair.shape[1] * width / pair.shape[2]), width)


def resized(views: dict[str, np.ndarray], height: int, width: int) -> dict:
  """Returns views averaged by area to another size."""
  old = views["reference"].shape[1:3]
  scale = np.float32([[width / old[1]], [height / old[0]], [1]])
  return views | {
    "reference": shrink(views["reference"], height, width),
    "sources": shrink(views["sources"], height, width),
    "intrinsics": views["intrinsics"] * scale,
  }


def predict(
  network: Extrapolator,
  params: Any,
  views: dict[str, np.ndarray],
  depths: chex.Array,
  *,
  patch: tuple[int, int] | None = None,
  kept: tuple[int, int] | None = None,
) -> np.ndarray:
  """Returns the refined MPI [H, W, D, 4], colours and opacities in [0, 1].

  Args:
    network: the extrapolator.
    params: of it.
    views: see `read_views`.
    depths: [D] of the planes, the farthest first.
    patch: height and width of what the network sees at once; all when None.
    kept: of the centre that is kept.
  """
  batch = views | {"depths": np.asarray(depths)[None]}
  volume = jax.jit(training.volume_of)(batch)
  refined = jax.jit(lambda seen: network.apply({"params": params}, seen).refined)
  if patch is None:
    layers = refined(volume)
  else:
    layers = predict_in_patches(refined, volume, patch, kept)
  layers = np.array(layers[0])
  layers[..., :3] = np.clip(unsigned(layers[..., :3]), 0, 1)
  return layers


def render_path(
  layers: np.ndarray, depths: chex.Array, intrinsics: np.ndarray, path: Path
) -> list[np.ndarray]:
  """Returns the frames [h, w, 3] uint8 of a path of views.

  Args:
    layers: [H, W, D, 4] in [0, 1]; outside of them is black.
    depths: [D].
    intrinsics: [3, 3].
    path: of the camera.
  """
  crop = min(path.crop, (min(layers.shape[:2]) - 1) // 4)
  inner = layers[crop : layers.shape[0] - crop, crop : layers.shape[1] - crop]
  shift = np.float32([[0, 0, crop], [0, 0, crop], [0, 0, 0]])
  render = _path_renderer()
  frames = []
  for pose in path.transforms(float(intrinsics[0, 0])):
    view = render(inner[None], pose[None], depths, (intrinsics - shift)[None])
    frames.append(np.round(255 * np.clip(view[0], 0, 1)).astype(np.uint8))
  return frames


def write(
  out: epath.Path,
  layers: np.ndarray,
  depths: chex.Array,
  intrinsics: np.ndarray,
  frames: Sequence[np.ndarray],
) -> None:
  """Writes mpi.npz, planes/000.png (the farthest), ..., path.gif and path.png."""
  import io

  planes = out / "planes"
  planes.mkdir(parents=True, exist_ok=True)
  for index in range(layers.shape[2]):
    rgba = np.round(255 * layers[:, :, index]).astype(np.uint8)
    images.write_png(planes / f"{index:03d}.png", rgba)
  stream = io.BytesIO()
  np.savez_compressed(
    stream,
    layers=layers.astype(np.float16),
    depths=np.asarray(depths, np.float32),
    intrinsics=intrinsics,
  )
  files.write_bytes(out / "mpi.npz", stream.getvalue())
  animations.write_gif(out / "path.gif", frames)
  images.write_png(out / "path.png", sample(frames))


def sample(frames: Sequence[np.ndarray]) -> np.ndarray:
  """Returns five frames of a path, from one end to the other, side by side."""
  quarter = len(frames) // 4
  order = [-quarter, -(quarter // 3), 0, quarter // 3, quarter]
  gap = [255 * np.ones_like(frames[0][:, :2])]
  strips = [part for index in order for part in (frames[index], *gap)]
  return np.concatenate(strips[:-1], axis=1)


@functools.cache
def _path_renderer() -> Callable:
  return jax.jit(mpi.render)


def _read_batch(path):
  with files.decoding(path, "example of the authors"):
    import io

    with np.load(io.BytesIO(files.read_bytes(path)), allow_pickle=False) as content:
      missing = [name for name in _BATCH if name not in content]
      if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}")
      batch = {name: np.asarray(content[name]) for name in _BATCH}
    stacked = batch["src_images"]
    _, height, width, channels = stacked.shape
    stacked = stacked.reshape(1, height, width, channels // 3, 3)
    stacked = np.moveaxis(stacked, 3, 1).astype(np.float32)
    if batch["src_images"].dtype == np.uint8:
      stacked = stacked / 255
    poses = batch["src_poses"].astype(np.float32)
    return _views(str(path), stacked, poses, batch["intrinsics"].astype(np.float32))


def _views(name, stacked, poses, intrinsics):
  """Returns views of images [1, N, H, W, 3] and poses [1, N, 4, 4], checked."""
  count, height, width, _ = stacked.shape[1:]
  if poses.shape != (1, count, 4, 4) or intrinsics.shape != (1, 3, 3):
    raise UserError(f"{name}: {count} images do not fit poses {poses.shape}")
  if count < 2:
    raise UserError(f"{name}: two images are needed, not {count}")
  if min(height, width) < SMALLEST:
    raise UserError(f"{name}: smaller than {SMALLEST} x {SMALLEST} pixels")
  if not all(np.all(np.isfinite(array)) for array in (stacked, poses, intrinsics)):
    raise UserError(f"{name}: a value is not finite")
  return {
    "reference": stacked[:, 0],
    "sources": stacked[:, 1:],
    "reference_pose": poses[:, 0],
    "source_poses": poses[:, 1:],
    "target_pose": poses[:, 0],
    "intrinsics": intrinsics,
  }
