"""Tests of files of dense fields, against bytes written by hand."""

import pathlib
import struct
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxvision.data import fields, images
from jaxvision.errors import UserError

_SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))
_VALUES = st.floats(width=32, allow_nan=False)


class FieldsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    directory = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(directory) / "field.bin"

  @parameterized.parameters(("-1.0", "<"), ("1", ">"), ("-0.00392", "<"))
  def test_pfm_of_either_endian_is_turned_upright(self, scale, endian):
    body = struct.pack(f"{endian}6f", 1, 2, 3, 4, 5, 6)  # the bottom row comes first
    self.path.write_bytes(f"Pf\n3 2\n{scale}\n".encode() + body)
    np.testing.assert_array_equal(fields.read_pfm(self.path), [[4, 5, 6], [1, 2, 3]])

  def test_colour_pfm(self):
    self.path.write_bytes(b"PF 1 2 1.0\n" + struct.pack(">6f", 1, 2, 3, 4, 5, 6))
    np.testing.assert_array_equal(
      fields.read_pfm(self.path), [[[4, 5, 6]], [[1, 2, 3]]]
    )

  def test_pfm_is_written_as_expected(self):
    fields.write_pfm(self.path, np.array([[1, 2], [3, 4]], np.float32))
    self.assertEqual(
      self.path.read_bytes(), b"Pf\n2 2\n-1\n" + struct.pack("<4f", 3, 4, 1, 2)
    )

  def test_first_value_may_look_like_white_space(self):
    # 0x20 and 0x0a are the first bytes: a header read too far would eat them.
    body = b"\x20\x0a\x20\x0a"
    self.path.write_bytes(b"Pf\n1 1\n-1\n" + body)
    self.assertEqual(fields.read_pfm(self.path).tobytes(), body)

  @settings(max_examples=25, deadline=None)
  @given(
    _SIZES.flatmap(lambda size: hnp.arrays(np.float32, size, elements=_VALUES))
    | _SIZES.flatmap(lambda size: hnp.arrays(np.float32, (*size, 3), elements=_VALUES))
  )
  def test_pfm_round_trip(self, image):
    fields.write_pfm(self.path, image)
    np.testing.assert_array_equal(fields.read_pfm(self.path), image)

  def test_flo_by_hand(self):
    content = b"PIEH" + struct.pack("<2i4f", 2, 1, 1.5, -2, 3, 1e10)
    self.path.write_bytes(content)
    flow = fields.read_flo(self.path)
    np.testing.assert_array_equal(flow, np.float32([[[1.5, -2], [3, 1e10]]]))
    fields.write_flo(self.path, flow)
    self.assertEqual(self.path.read_bytes(), content)

  def test_kitti_flow_by_hand(self):
    stored = np.array(
      [[[2**15 + 64, 2**15 - 32, 1], [0, 0, 0], [65535, 0, 1]]], np.uint16
    )
    images.write_png(self.path, stored)
    flow, valid = fields.read_kitti_flow(self.path)
    np.testing.assert_array_equal(valid, [[True, False, True]])
    np.testing.assert_array_equal(
      flow, np.float32([[[1, -0.5], [0, 0], [511.984375, -512]]])
    )
    fields.write_kitti_flow(self.path, flow, valid)
    np.testing.assert_array_equal(images.read_image(self.path), stored)

  def test_kitti_flow_is_rounded_and_clipped(self):
    flow = np.float32([[[0.01, 600], [np.nan, np.inf]]])
    fields.write_kitti_flow(self.path, flow, np.array([[True, False]]))
    flow, valid = fields.read_kitti_flow(self.path)
    np.testing.assert_array_equal(flow, np.float32([[[0.015625, 511.984375], [0, 0]]]))
    np.testing.assert_array_equal(valid, [[True, False]])

  def test_kitti_disparity_by_hand(self):
    stored = np.array([[0, 1, 256, 65535]], np.uint16)
    images.write_png(self.path, stored)
    disparity, valid = fields.read_kitti_disparity(self.path)
    np.testing.assert_array_equal(valid, [[False, True, True, True]])
    np.testing.assert_array_equal(
      disparity, np.float32([[0, 0.00390625, 1, 255.99609375]])
    )
    fields.write_kitti_disparity(self.path, disparity, valid)
    np.testing.assert_array_equal(images.read_image(self.path)[..., 0], stored)

  def test_kitti_disparity_of_zero_stays_valid(self):
    disparity = np.float32([[0, np.nan]])
    fields.write_kitti_disparity(self.path, disparity, np.array([[True, False]]))
    _, valid = fields.read_kitti_disparity(self.path)
    np.testing.assert_array_equal(valid, [[True, False]])

  @parameterized.parameters(
    (fields.read_pfm, b"Pf\n2 3\n-1\n" + bytes(24)),
    (fields.read_flo, b"PIEH" + struct.pack("<2i4f", 2, 1, 1, 2, 3, 4)),
  )
  def test_every_truncation_names_the_file(self, read, content):
    self.path.write_bytes(content)
    read(self.path)
    for length in range(len(content)):
      self.path.write_bytes(content[:length])
      with self.assertRaisesRegex(UserError, "field.bin: (truncated|not a)"):
        read(self.path)
    self.path.write_bytes(content + b"\0")
    with self.assertRaisesRegex(UserError, "field.bin: truncated or damaged"):
      read(self.path)

  def test_other_files_are_refused(self):
    self.path.write_bytes(b"PIEG" + bytes(100))
    with self.assertRaisesRegex(UserError, "field.bin: not a FLO file"):
      fields.read_flo(self.path)
    with self.assertRaisesRegex(UserError, "field.bin: not a PFM file"):
      fields.read_pfm(self.path)
    images.write_png(self.path, np.zeros((2, 2, 3), np.uint8))
    with self.assertRaisesRegex(UserError, "field.bin: KITTI's flow has 3 channels"):
      fields.read_kitti_flow(self.path)
    with self.assertRaisesRegex(UserError, "field.bin: KITTI's disparity has 1"):
      fields.read_kitti_disparity(self.path)


if __name__ == "__main__":
  absltest.main()
