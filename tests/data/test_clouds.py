"""Tests of PCD files, against bytes written by hand."""

import pathlib
import struct
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxvision.data import clouds
from jaxvision.errors import UserError

_HEADER = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z _ label bins
SIZE 4 4 4 1 2 8
TYPE F F F U U F
COUNT 1 1 1 4 1 2
WIDTH 2
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 2
DATA {}
"""
_FIRST = (1.5, -2.0, 0.1, 1, 2, 3, 4, 65535, 0.1, 0.2)
_SECOND = (4.0, 5.0, 6.0, 5, 6, 7, 8, 7, 0.3, 0.4)
_RECORD = struct.Struct("<3f4BH2d")


class PcdTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    directory = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(directory) / "cloud.pcd"

  def assert_is_expected(self):
    cloud = clouds.read_pcd(self.path)
    self.assertEqual(list(cloud), ["x", "y", "z", "label", "bins"])
    np.testing.assert_array_equal(
      clouds.points(cloud), np.float32([[1.5, -2, 0.1], [4, 5, 6]])
    )
    self.assertEqual(clouds.points(cloud).dtype, np.float32)
    np.testing.assert_array_equal(cloud["label"], np.uint16([65535, 7]))
    np.testing.assert_array_equal(cloud["bins"], [[0.1, 0.2], [0.3, 0.4]])

  def test_ascii(self):
    rows = "\n".join(" ".join(map(str, row)) for row in (_FIRST, _SECOND))
    self.path.write_text(_HEADER.format("ascii") + rows + "\n")
    self.assert_is_expected()

  def test_binary(self):
    body = _RECORD.pack(*_FIRST) + _RECORD.pack(*_SECOND)
    self.path.write_bytes(_HEADER.format("binary").encode() + body)
    self.assert_is_expected()

  def test_binary_compressed(self):
    # One field after the other, as runs of literal bytes.
    fields = struct.pack("<6f", 1.5, 4, -2, 5, 0.1, 6) + bytes(range(1, 9))
    fields += struct.pack("<2H4d", 65535, 7, 0.1, 0.2, 0.3, 0.4)
    runs = [fields[i : i + 32] for i in range(0, len(fields), 32)]
    compressed = b"".join(bytes([len(run) - 1]) + run for run in runs)
    self.path.write_bytes(
      _HEADER.format("binary_compressed").encode()
      + struct.pack("<II", len(compressed), len(fields))
      + compressed
    )
    self.assert_is_expected()

  def test_version_5_has_fewer_lines(self):
    self.path.write_text(
      "# .PCD v.5\nVERSION .5\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
      "WIDTH 1\nHEIGHT 2\nDATA ascii\n1 2 3\n4 nan 6\n"
    )
    np.testing.assert_array_equal(
      clouds.points(clouds.read_pcd(self.path)), [[1, 2, 3], [4, np.nan, 6]]
    )

  @parameterized.parameters(
    (b"\x02abc", b"abc"),
    (b"\x02abc\x20\x02", b"abcabc"),  # 3 bytes from 3 back
    (b"\x00a\xe0\x01\x00", b"a" * 11),  # 2 + 7 + 1 bytes from 1 back, overlapping
    (b"\x01ab\x60\x01", b"abababa"),
    (
      b"\x1f" + bytes(32) + (b"\x1f" + bytes(range(32))) * 9 + b"\x21\x1f",
      bytes(32) + bytes(range(32)) * 9 + bytes(range(3)),
    ),  # 0x11f + 1 = 288 back
  )
  def test_lzf_by_hand(self, compressed, expected):
    self.assertEqual(clouds.decompress_lzf(compressed, len(expected)), expected)

  def test_damaged_lzf_is_refused(self):
    with self.assertRaisesRegex(ValueError, "before the first"):
      clouds.decompress_lzf(b"\x00a\x20\x05", 4)
    with self.assertRaisesRegex(ValueError, "1 of 4 bytes"):
      clouds.decompress_lzf(b"\x00a", 4)

  @settings(max_examples=30, deadline=None)
  @given(
    hnp.arrays(np.float32, (3,), elements=st.floats(width=32)),
    hnp.arrays(np.float64, (3, 2)),
    hnp.arrays(np.int64, (3,)),
    hnp.arrays(np.uint8, (3,)),
    st.booleans(),
  )
  def test_round_trip(self, x, pairs, counts, labels, ascii):
    cloud = {"x": x, "pairs": pairs, "counts": counts, "labels": labels}
    clouds.write_pcd(self.path, cloud, ascii=ascii)
    found = clouds.read_pcd(self.path)
    self.assertEqual(list(found), list(cloud))
    for name, column in cloud.items():
      self.assertEqual(found[name].dtype, column.dtype)
      np.testing.assert_array_equal(found[name], column)

  @parameterized.parameters(True, False)
  def test_every_truncation_names_the_file(self, ascii):
    cloud = {"x": np.float32([1, 20]), "y": np.float32([3, 40])}
    clouds.write_pcd(self.path, cloud, ascii=ascii)
    content = (
      self.path.read_bytes().rstrip(b"0.\n") if ascii else self.path.read_bytes()
    )
    for length in range(len(content)):
      self.path.write_bytes(content[:length])
      with self.assertRaisesRegex(UserError, "cloud.pcd: "):
        clouds.read_pcd(self.path)

  def test_unknown_storage_is_refused(self):
    self.path.write_text(_HEADER.format("zip"))
    with self.assertRaisesRegex(UserError, "cloud.pcd: unknown storage .*: zip"):
      clouds.read_pcd(self.path)

  def test_columns_of_unequal_length_are_refused(self):
    with self.assertRaises(AssertionError):
      clouds.write_pcd(self.path, {"x": np.zeros(2), "y": np.zeros(3)})


if __name__ == "__main__":
  absltest.main()
