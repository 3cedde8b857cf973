"""PNG, JPEG and PPM files as arrays, channels last, exactly the values stored.

Paths may be local or `gs://`. A reader raises a UserError that names the file when it
is missing, truncated or of another type; a writer replaces the file all at once.
"""

import io
import struct
import zlib

import chex
import numpy as np
from etils import epath
from PIL import Image, ImageOps, UnidentifiedImageError

from jaxvision.data import files
from jaxvision.errors import UserError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_PNG_COLOR_TYPES = {1: 0, 3: 2, 4: 6}  # channels -> colour type of the PNG header


def read_image(path: epath.PathLike) -> np.ndarray:
  """Returns an image as it is stored.

  Returns:
    [H, W, C] uint8 or uint16: 1 channel for grey, 2 with alpha, 3 for RGB, 4 with
    alpha; a palette is looked up, CMYK becomes RGB, EXIF orientation is applied.

  Raises:
    UserError: missing, damaged or unsupported file; names the path.
  """
  return decode_image(files.read_bytes(path), path)


def decode_image(encoded: bytes, name: epath.PathLike) -> np.ndarray:
  """Returns [H, W, C] uint8 or uint16 as `read_image`; errors carry `name`."""
  with files.decoding(name, "PNG, JPEG or PPM image"):
    image = _open(encoded, name)
    if image.format == "PNG":
      bit_depth, color_type = encoded[24:26]  # the header is always the first chunk
      if bit_depth == 16 and color_type != _PNG_COLOR_TYPES[1]:
        return _decode_deep_png(encoded, color_type, name)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
      return _as_uint16(image, name)[..., None]
    if image.mode == "P":
      image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode == "1":
      image = image.convert("L")
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
      image = image.convert("RGB")
    array = np.array(image)
    return array[..., None] if array.ndim == 2 else array


def read_rgb(path: epath.PathLike) -> np.ndarray:
  """Returns [H, W, 3] uint8: grey is repeated, alpha dropped.

  Raises:
    UserError: missing or damaged file, or 16 bits a channel (`read_image` keeps them).
  """
  return decode_rgb(files.read_bytes(path), path)


def decode_rgb(encoded: bytes, name: epath.PathLike) -> np.ndarray:
  """Returns [H, W, 3] uint8 as `read_rgb`; errors carry `name`."""
  image = decode_image(encoded, name)
  if image.dtype != np.uint8:
    raise UserError(f"{name}: 16 bits a channel where 8 are expected")
  if image.shape[-1] < 3:
    return np.repeat(image[..., :1], 3, axis=-1)
  return image[..., :3]


def read_labels(path: epath.PathLike) -> np.ndarray:
  """Returns [H, W] uint8 or uint16 labels: palette indices, or grey values.

  Raises:
    UserError: missing or damaged file, or colours without a palette.
  """
  return decode_labels(files.read_bytes(path), path)


def decode_labels(encoded: bytes, name: epath.PathLike) -> np.ndarray:
  """Returns [H, W] labels as `read_labels`; errors carry `name`."""
  with files.decoding(name, "label map"):
    image = _open(encoded, name)
    if image.mode.startswith("I"):
      return _as_uint16(image, name)
    if image.mode not in ("P", "L", "1"):
      raise UserError(f"{name}: a label map has one channel, this has {image.mode}")
    labels = np.array(image, np.uint8)
    if image.format == "PNG" and image.mode == "L":
      bit_depth = encoded[24]
      labels //= 255 // (2**bit_depth - 1)  # Pillow spreads 2 and 4 bits over 0..255
    return labels


def write_png(path: epath.PathLike, image: np.ndarray) -> None:
  """Writes an image without loss.

  Args:
    path: where to; an existing file is replaced.
    image: [H, W] or [H, W, C] uint8 or uint16 with 1, 3 or 4 channels.
  """
  files.write_bytes(path, encode_png(image))


def encode_png(image: np.ndarray) -> bytes:
  """Returns the bytes of the file that `write_png` writes."""
  image = _channels_last(image, channels=(1, 3, 4), dtypes=("uint8", "uint16"))
  if image.dtype == np.uint16:
    return _encode_deep_png(image)
  return _save(Image.fromarray(_squeeze(image)), "PNG")


def write_labels(
  path: epath.PathLike, labels: np.ndarray, palette: np.ndarray | None = None
) -> None:
  """Writes a label map as a PNG whose values are the labels.

  Args:
    path: where to; an existing file is replaced.
    labels: [H, W] uint8, or uint16 without a palette.
    palette: [K <= 256, 3] uint8 colour that viewers show for each label.
  """
  chex.assert_rank(labels, 2)
  if palette is None:
    write_png(path, labels)
    return
  chex.assert_type([labels, palette], np.uint8)
  chex.assert_shape(palette, (None, 3))
  image = Image.fromarray(labels)
  image.putpalette(palette.tobytes())
  files.write_bytes(path, _save(image, "PNG"))


def write_jpeg(path: epath.PathLike, image: np.ndarray, *, quality: int = 95) -> None:
  """Writes [H, W], [H, W, 1] or [H, W, 3] uint8 as JPEG without chroma subsampling.

  Args:
    path: where to; an existing file is replaced.
    image: the pixels.
    quality: libjpeg's, 1 to 100.
  """
  image = _channels_last(image, channels=(1, 3), dtypes=("uint8",))
  encoded = _save(
    Image.fromarray(_squeeze(image)), "JPEG", quality=quality, subsampling="4:4:4"
  )
  files.write_bytes(path, encoded)


def _channels_last(
  image: np.ndarray, *, channels: tuple[int, ...], dtypes: tuple[str, ...]
) -> np.ndarray:
  """Returns [H, W, C] of [H, W] or [H, W, C] after checking C and the type."""
  chex.assert_rank(image, {2, 3})
  image = image[..., None] if image.ndim == 2 else image
  if image.shape[-1] not in channels or image.dtype.name not in dtypes:
    raise AssertionError(
      f"image: {channels} channels of {dtypes} expected, not {image.shape[-1]} of "
      f"{image.dtype}"
    )
  return image


def _squeeze(image: np.ndarray) -> np.ndarray:
  """Pillow's grey has no channel axis."""
  return image[..., 0] if image.shape[-1] == 1 else image


def _save(image: Image.Image, kind: str, **options: int | str) -> bytes:
  stream = io.BytesIO()
  image.save(stream, kind, **options)
  return stream.getvalue()


def _open(encoded: bytes, name: epath.PathLike) -> Image.Image:
  """Opens and decodes, so that damage is found here."""
  if encoded.startswith(_PNG_SIGNATURE):
    _check_png(encoded, name)
  try:
    image = Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG", "PPM"))
  except UnidentifiedImageError:
    raise UserError(f"{name}: not a PNG, JPEG or PPM image") from None
  image.load()
  return image


def _check_png(encoded: bytes, name: epath.PathLike) -> None:
  """Raises a UserError unless every chunk of pixels is there with its checksum.

  Pillow skips these checksums and so decodes some damage into wrong pixels.
  """
  position, kind = len(_PNG_SIGNATURE), b""
  while kind != b"IEND":
    header = encoded[position : position + 8]
    length, kind = struct.unpack(">I4s", header.ljust(8, b"\0"))
    end = position + 12 + length
    if len(header) < 8 or end > len(encoded):
      raise UserError(f"{name}: truncated PNG image: ends after {len(encoded)} bytes")
    checksum = struct.unpack(">I", encoded[end - 4 : end])[0]
    is_critical = kind[0:1].isupper()
    if is_critical and zlib.crc32(encoded[position + 4 : end - 4]) != checksum:
      raise UserError(f"{name}: damaged PNG image: wrong checksum at byte {position}")
    position = end


def _as_uint16(image: Image.Image, name: epath.PathLike) -> np.ndarray:
  """Pillow holds 16-bit grey as I;16 or, by version and format, in 32 bits."""
  values = np.array(image)
  if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
    raise UserError(f"{name}: grey values do not fit 16 bits")
  return values.astype(np.uint16)


def _decode_deep_png(
  encoded: bytes, color_type: int, name: epath.PathLike
) -> np.ndarray:
  """Returns [H, W, C] uint16 of a PNG with several channels of 16 bits.

  Pillow has no such mode: it keeps the high byte of each value. Decoded once as big
  and once as little endian it yields both bytes.
  """
  mode = {_PNG_COLOR_TYPES[3]: "RGB", _PNG_COLOR_TYPES[4]: "RGBA"}.get(color_type)
  if mode is None:
    raise UserError(f"{name}: 16-bit grey with alpha is not supported")
  bytes_of_values = []
  for endian in "BL":
    image = Image.open(io.BytesIO(encoded), formats=("PNG",))
    codec, box, offset, _ = image.tile[0]
    image.tile = [(codec, box, offset, f"{mode};16{endian}")]
    image = ImageOps.exif_transpose(image)
    bytes_of_values.append(np.array(image).astype(np.uint16))
  high, low = bytes_of_values
  return high << 8 | low


def _encode_deep_png(image: np.ndarray) -> bytes:
  """Encodes [H, W, C] uint16 with each row stored as the difference to that above."""
  height, width, channels = image.shape
  rows = image.astype(">u2").view(np.uint8).reshape(height, -1)
  above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
  filter_up = np.full((height, 1), 2, np.uint8)
  filtered = np.concatenate([filter_up, rows - above], axis=1)
  header = struct.pack(
    ">IIBBBBB", width, height, 16, _PNG_COLOR_TYPES[channels], 0, 0, 0
  )
  return b"".join(
    [
      _PNG_SIGNATURE,
      _png_chunk(b"IHDR", header),
      _png_chunk(b"IDAT", zlib.compress(filtered.tobytes())),
      _PNG_END,
    ]
  )


def _png_chunk(kind: bytes, content: bytes) -> bytes:
  checksum = zlib.crc32(kind + content)
  return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
