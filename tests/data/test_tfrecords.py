"""TFRecord files, written here byte by byte as TensorFlow writes them."""

import pathlib
import struct
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import tfrecords
from jaxvision.errors import UserError

# CRC-32C with its mask, by a table of its own.
_TABLE = []
for _byte in range(256):
  for _ in range(8):
    _byte = (_byte >> 1) ^ 0x82F63B78 if _byte & 1 else _byte >> 1
  _TABLE.append(_byte)


def masked_crc(data):
  crc = 0xFFFFFFFF
  for byte in data:
    crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
  crc ^= 0xFFFFFFFF
  return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def record(contents):
  length = struct.pack("<Q", len(contents))
  parts = length, struct.pack("<I", masked_crc(length))
  return b"".join(parts) + contents + struct.pack("<I", masked_crc(contents))


def varint(value):
  value &= 2**64 - 1
  parts = []
  while value > 0x7F:
    parts.append(value & 0x7F | 0x80)
    value >>= 7
  return bytes([*parts, value])


def field(number, contents):
  return varint(number << 3 | 2) + varint(len(contents)) + contents


def feature(values):
  if isinstance(values, bytes):
    return field(1, field(1, values))
  if isinstance(values[0], float):
    return field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
  return field(3, field(1, b"".join(map(varint, values))))


def example(**features):
  entries = [
    field(1, field(1, name.encode()) + field(2, feature(values)))
    for name, values in features.items()
  ]
  return field(1, b"".join(entries))


def image_record(image):
  """Returns the record that the authors' dataset_tool.py makes of [C, H, W] uint8."""
  return record(example(shape=list(image.shape), data=image.tobytes()))


class TFRecordsTest(parameterized.TestCase):
  def write(self, contents):
    directory = self.enterContext(tempfile.TemporaryDirectory())
    path = pathlib.Path(directory) / "some.tfrecords"
    path.write_bytes(contents)
    return path

  def test_the_checksum_written_here(self):
    crc = 0xE3069283  # of these nine digits, RFC 3720
    mask = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    self.assertEqual(masked_crc(b"123456789"), mask)

  def test_records_at_random_access(self):
    contents = [b"one", b"", bytes(range(256)) * 40]
    records = tfrecords.Records(self.write(b"".join(map(record, contents))))
    self.assertLen(records, 3)
    for index in (2, 0, 1):
      self.assertEqual(records[index], contents[index])
    self.assertEmpty(tfrecords.Records(self.write(b"")))

  def test_every_kind_of_feature(self):
    found = tfrecords.parse_example(
      example(numbers=[3, -1, 2**40], some=[0.5, -2.0], text=b"\0\xff"), "it"
    )
    np.testing.assert_array_equal(found["numbers"], [3, -1, 2**40])
    np.testing.assert_array_equal(found["some"], np.float32([0.5, -2.0]))
    self.assertEqual(found["text"], [b"\0\xff"])

  @parameterized.parameters(0, 9, 14, -1)
  def test_one_wrong_bit_is_found(self, at):
    damaged = bytearray(record(b"some contents"))
    damaged[at] ^= 1
    with self.assertRaisesRegex(UserError, "some.tfrecords"):
      _ = tfrecords.Records(self.write(bytes(damaged)))[0]

  def test_truncated_and_missing_files(self):
    whole = record(b"one") + record(b"two")
    for length in (len(whole) - 1, 25):
      with self.assertRaisesRegex(UserError, "truncated"):
        tfrecords.Records(self.write(whole[:length]))
    with self.assertRaisesRegex(UserError, "none.tfrecords: no such file"):
      tfrecords.Records("/none.tfrecords")
    for wrong in (b"\xff\xff", b"\x0a\x7fshort"):
      with self.assertRaisesRegex(UserError, "it: damaged"):
        tfrecords.parse_example(wrong, "it")


if __name__ == "__main__":
  absltest.main()
