"""Tests of image files."""

import io
import os
import pathlib
import struct
import tempfile
import zlib

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from jaxvision.data import images
from jaxvision.errors import UserError

_SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]))


def _png(bit_depth, color_type, rows, *, interlace=0):
  """A PNG by hand; `rows` hold each row's filter byte and its bytes."""

  def chunk(kind, content):
    return (
      struct.pack(">I", len(content))
      + kind
      + content
      + struct.pack(">I", zlib.crc32(kind + content))
    )

  width = {(16, 2): 2, (16, 4): 1, (4, 0): 4}[bit_depth, color_type]
  header = struct.pack(
    ">IIBBBBB", width, len(rows), bit_depth, color_type, 0, 0, interlace
  )
  return (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", header)
    + chunk(b"IDAT", zlib.compress(b"".join(rows)))
    + chunk(b"IEND", b"")
  )


class ImagesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  @settings(max_examples=40, deadline=None)
  @given(
    hnp.arrays(np.uint8, _SHAPES) | hnp.arrays(np.uint16, _SHAPES),
  )
  def test_png_round_trip(self, image):
    decoded = images.decode_image(images.encode_png(image), "image.png")
    self.assertEqual(decoded.dtype, image.dtype)
    np.testing.assert_array_equal(decoded, image)

  def test_16_bit_rgb_as_other_programs_write_it(self):
    # Two rows of two pixels: the first stored as is, the second by Paeth's predictor,
    # whose left neighbour is 6 bytes back.
    first = struct.pack(">6H", 1, 258, 65535, 256, 513, 0)
    second = bytes(6) + struct.pack(">6B", 1, 0, 0, 0, 0, 1)
    decoded = images.decode_image(_png(16, 2, [b"\0" + first, b"\4" + second]), "a")
    above = np.frombuffer(first, np.uint8).astype(int)
    expected = above.copy()
    for index in range(6, 12):
      left, up, corner = expected[index - 6], above[index], above[index - 6]
      predictor = left + up - corner
      nearest = min((left, up, corner), key=lambda value: abs(predictor - value))
      expected[index] = (second[index] + nearest) % 256
    np.testing.assert_array_equal(
      decoded,
      np.stack([above, expected]).astype(np.uint8).view(">u2").reshape(2, 2, 3),
    )

  def test_16_bit_grey_with_alpha_is_refused(self):
    with self.assertRaisesRegex(UserError, "a.png: 16-bit grey with alpha"):
      images.decode_image(_png(16, 4, [b"\0\1\2\3\4"]), "a.png")

  def test_4_bit_labels_are_not_scaled(self):
    encoded = _png(4, 0, [b"\0\x01\x2f"])
    np.testing.assert_array_equal(
      images.decode_labels(encoded, "a.png"), [[0, 1, 2, 15]]
    )

  @parameterized.parameters(
    ("L", (1,)), ("1", (1,)), ("P", (3,)), ("RGB", (3,)), ("RGBA", (4,)), ("LA", (2,))
  )
  def test_modes(self, mode, channels):
    stream = io.BytesIO()
    Image.new(mode, (3, 2)).save(stream, "PNG")
    decoded = images.decode_image(stream.getvalue(), "a.png")
    self.assertEqual((decoded.dtype, decoded.shape), (np.uint8, (2, 3, *channels)))
    self.assertEqual(images.decode_rgb(stream.getvalue(), "a.png").shape, (2, 3, 3))

  @parameterized.parameters("CMYK", "L", "RGB")
  def test_jpeg_modes(self, mode):
    stream = io.BytesIO()
    Image.new(mode, (3, 2)).save(stream, "JPEG")
    self.assertEqual(images.decode_rgb(stream.getvalue(), "a.jpg").shape, (2, 3, 3))

  def test_exif_orientation_turns_the_image(self):
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that rows run downwards
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", exif=exif)
    decoded = images.decode_image(stream.getvalue(), "a.jpg")
    self.assertEqual(decoded.shape, (16, 8, 3))
    self.assertGreater(decoded[:8].min(), 250)
    self.assertLess(decoded[8:].max(), 5)

  def test_jpeg_is_written_without_chroma_subsampling(self):
    path = self.directory / "a.jpg"
    image = np.kron(
      np.eye(4, dtype=np.uint8)[..., None] * [255, 0, 0], np.ones((1, 1, 1))
    )
    images.write_jpeg(path, image.astype(np.uint8), quality=100)
    self.assertLess(np.abs(images.read_image(path) - image).max(), 8)

  def test_palette_label_map(self):
    labels = np.array([[0, 3], [2, 1]], np.uint8)
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    path = self.directory / "labels.png"
    images.write_labels(path, labels, palette)
    np.testing.assert_array_equal(images.read_labels(path), labels)
    np.testing.assert_array_equal(images.read_rgb(path), palette[labels])

  def test_deep_label_map(self):
    labels = np.array([[0, 1000], [65535, 256]], np.uint16)
    path = self.directory / "labels.png"
    images.write_labels(path, labels)
    np.testing.assert_array_equal(images.read_labels(path), labels)

  def test_labels_of_colours_are_refused(self):
    path = self.directory / "photo.png"
    images.write_png(path, np.zeros((2, 2, 3), np.uint8))
    with self.assertRaisesRegex(UserError, "photo.png: a label map has one channel"):
      images.read_labels(path)

  def test_rgb_of_16_bits_is_refused(self):
    path = self.directory / "depth.png"
    images.write_png(path, np.zeros((2, 2), np.uint16))
    with self.assertRaisesRegex(UserError, "depth.png: 16 bits"):
      images.read_rgb(path)

  @parameterized.parameters(
    (np.zeros((2, 2, 2), np.uint8),), (np.zeros((2, 2, 3)),), (np.zeros(3, np.uint8),)
  )
  def test_writer_refuses_other_arrays(self, image):
    with self.assertRaises(AssertionError):
      images.write_png(self.directory / "a.png", image)


class DamageTest(parameterized.TestCase):
  """No truncated or changed file becomes pixels."""

  @parameterized.parameters("PNG", "deep PNG", "JPEG")
  def test_every_truncation_names_the_file(self, kind):
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    if kind == "JPEG":
      stream = io.BytesIO()
      Image.fromarray(noise).save(stream, "JPEG")
      encoded = stream.getvalue()
    else:
      encoded = images.encode_png(noise.astype(np.uint16 if "deep" in kind else "u1"))
    for length in range(len(encoded)):
      with self.assertRaisesRegex(UserError, "photo.img: "):
        images.decode_image(encoded[:length], "photo.img")

  @parameterized.parameters(np.uint8, np.uint16)
  def test_changed_pixels_of_a_png_are_found(self, dtype):
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(dtype)
    encoded = images.encode_png(noise)
    start = encoded.index(b"IDAT")
    for position in range(start, encoded.index(b"IEND") - 4):
      changed = bytearray(encoded)
      changed[position] ^= 16
      with self.assertRaisesRegex(UserError, "photo.png: "):
        images.decode_image(bytes(changed), "photo.png")

  def test_other_files(self):
    directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (directory / "text.png").write_text("hello")
    (directory / "empty.png").touch()
    with self.assertRaisesRegex(UserError, "text.png: not a PNG, JPEG or PPM image"):
      images.read_image(directory / "text.png")
    with self.assertRaisesRegex(UserError, "empty.png: not a"):
      images.read_image(directory / "empty.png")
    with self.assertRaisesRegex(UserError, "missing.png: no such file"):
      images.read_image(directory / "missing.png")
    with self.assertRaisesRegex(UserError, "cannot be read: Is a directory"):
      images.read_image(directory)


class WriteTest(absltest.TestCase):
  def test_failed_write_keeps_the_old_file_and_leaves_no_other(self):
    directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    path = directory / "a.png"
    images.write_png(path, np.zeros((2, 2), np.uint8))
    before = path.read_bytes()
    (directory / "a.png.directory").mkdir()
    with self.assertRaisesRegex(UserError, "a.png.directory: cannot be written"):
      images.write_png(directory / "a.png.directory", np.ones((2, 2), np.uint8))
    with self.assertRaisesRegex(UserError, "nowhere/a.png: cannot be written: No such"):
      images.write_png(directory / "nowhere" / "a.png", np.ones((2, 2), np.uint8))
    self.assertEqual(path.read_bytes(), before)
    self.assertCountEqual(os.listdir(directory), ["a.png", "a.png.directory"])


if __name__ == "__main__":
  absltest.main()
