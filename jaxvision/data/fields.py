"""Files of dense fields: optical flow, disparity, depth (PFM, FLO, KITTI's PNG).

Readers raise a UserError that names the file when it is missing, truncated or of
another type; writers replace the file at once.
"""

import re
import struct

import chex
import numpy as np
from etils import epath

from jaxvision.data import files, images
from jaxvision.errors import UserError

_PFM_HEADER = re.compile(rb"(P[Ff])\s+(\d+)\s+(\d+)\s+([-+.\deE]+)\s")
_FLO_MAGIC = struct.pack("<f", 202021.25)  # reads "PIEH"
_FLO_HEADER_BYTES = 12


def read_pfm(path: epath.PathLike) -> np.ndarray:
  """Returns a PFM file's [H, W] or [H, W, 3] float32 values, top row first.

  The magnitude of the header's scale, a unit that no data set of stereo or flow uses,
  is not applied.

  Raises:
    UserError: missing, truncated or not a PFM file; names the path.
  """
  content = files.read_bytes(path)
  header = _PFM_HEADER.match(content)
  if header is None:
    raise UserError(f"{path}: not a PFM file")
  kind, width, height, scale = header.groups()
  shape = (int(height), int(width)) + ((3,) if kind == b"PF" else ())
  with files.decoding(path, "PFM file"):
    dtype = "<f4" if float(scale) < 0 else ">f4"
  return _values(content[header.end() :], dtype, shape, path)[::-1].copy()


def write_pfm(path: epath.PathLike, image: np.ndarray) -> None:
  """Writes [H, W] or [H, W, 3] float32 as little-endian PFM, bottom row first."""
  chex.assert_rank(image, {2, 3})
  chex.assert_type(image, np.float32)
  if image.ndim == 3:
    chex.assert_shape(image, (None, None, 3))
  kind = "Pf" if image.ndim == 2 else "PF"
  height, width = image.shape[:2]
  header = f"{kind}\n{width} {height}\n-1\n".encode()
  files.write_bytes(path, header + image[::-1].astype("<f4").tobytes())


def read_flo(path: epath.PathLike) -> np.ndarray:
  """Returns the flow of Middlebury's .flo format, [H, W, 2] float32 in pixels.

  The first channel points right, the second down. Values above 1e9 mean unknown.

  Raises:
    UserError: missing, truncated or not a FLO file; names the path.

  Source: Baker et al., middlebury.edu/flow, flow-code/README.txt.
  """
  content = files.read_bytes(path)
  if content[:4] != _FLO_MAGIC or len(content) < _FLO_HEADER_BYTES:
    raise UserError(f"{path}: not a FLO file")
  width, height = struct.unpack_from("<ii", content, 4)
  return _values(content[_FLO_HEADER_BYTES:], "<f4", (height, width, 2), path)


def write_flo(path: epath.PathLike, flow: np.ndarray) -> None:
  """Writes [H, W, 2] float32 flow in pixels as Middlebury's .flo."""
  chex.assert_shape(flow, (None, None, 2))
  chex.assert_type(flow, np.float32)
  height, width, _ = flow.shape
  header = _FLO_MAGIC + struct.pack("<ii", width, height)
  files.write_bytes(path, header + flow.astype("<f4").tobytes())


def read_kitti_flow(path: epath.PathLike) -> tuple[np.ndarray, np.ndarray]:
  """Reads flow as KITTI stores it, a PNG with three channels of 16 bits.

  Returns:
    flow [H, W, 2] float32 in pixels, right and down, 0 where invalid; and the mask of
    valid pixels, [H, W] bool.

  Raises:
    UserError: missing, damaged or another kind of image; names the path.

  Source: KITTI 2012/2015 development kit, readme.txt.
  """
  image = images.read_image(path)
  if image.dtype != np.uint16 or image.shape[-1] != 3:
    raise UserError(f"{path}: KITTI's flow has 3 channels of 16 bits")
  valid = image[..., 2] > 0
  flow = (image[..., :2].astype(np.float32) - 2**15) / 64
  return np.where(valid[..., None], flow, np.float32(0)), valid


def write_kitti_flow(path: epath.PathLike, flow: np.ndarray, valid: np.ndarray) -> None:
  """Writes flow as KITTI does, rounded to 1/64 pixel and clipped to ±512 pixels.

  Args:
    path: where to; an existing file is replaced.
    flow: [H, W, 2] float32 in pixels, right and down.
    valid: [H, W] bool.
  """
  chex.assert_shape(flow, (*valid.shape, 2))
  chex.assert_type([flow, valid], [float, bool])
  # An invalid pixel may hold anything, NaN too.
  stored = np.where(valid[..., None], np.rint(flow * 64.0) + 2**15, 0.0)
  image = np.concatenate([np.clip(stored, 0, 2**16 - 1), valid[..., None]], axis=-1)
  images.write_png(path, image.astype(np.uint16))


def read_kitti_disparity(path: epath.PathLike) -> tuple[np.ndarray, np.ndarray]:
  """Reads disparity (or depth) as KITTI stores it, a PNG with 16 bits.

  Returns:
    [H, W] float32 disparity in pixels (of a depth map, metres), 0 where invalid; and
    the mask of valid pixels, [H, W] bool.

  Raises:
    UserError: missing, damaged or another kind of image; names the path.

  Source: KITTI 2012/2015 development kit, readme.txt.
  """
  image = images.read_image(path)
  if image.dtype != np.uint16 or image.shape[-1] != 1:
    raise UserError(f"{path}: KITTI's disparity has 1 channel of 16 bits")
  disparity = image[..., 0].astype(np.float32) / 256
  return disparity, disparity > 0


def write_kitti_disparity(
  path: epath.PathLike, disparity: np.ndarray, valid: np.ndarray
) -> None:
  """Writes disparity as KITTI does, rounded to 1/256 and clipped below 256.

  Args:
    path: where to; an existing file is replaced.
    disparity: [H, W] float32 in pixels; a valid one of 0 becomes 1/256, as 0 is the
      format's mark of invalid pixels.
    valid: [H, W] bool.
  """
  chex.assert_rank(disparity, 2)
  chex.assert_equal_shape([disparity, valid])
  chex.assert_type([disparity, valid], [float, bool])
  stored = np.clip(np.rint(disparity * 256.0), 1, 2**16 - 1)
  images.write_png(path, np.where(valid, stored, 0.0).astype(np.uint16))


def _values(
  content: bytes, dtype: str, shape: tuple[int, ...], path: epath.PathLike
) -> np.ndarray:
  """Returns the float32 values of a body that must hold exactly `shape`."""
  expected = 4 * np.prod(shape, dtype=np.int64)
  if min(shape) < 1 or len(content) != expected:
    size = "×".join(map(str, shape))
    raise UserError(
      f"{path}: truncated or damaged: {len(content)} bytes of values, {size} need "
      f"{expected}"
    )
  return np.frombuffer(content, dtype).astype(np.float32).reshape(shape)
