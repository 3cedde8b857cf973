"""Tests of TensorFlow's checkpoints, written here byte for byte."""

import struct
from pathlib import Path

import ml_dtypes
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.published import crc32c, protobuf, sstable
from jaxvision.published.tensorflow_checkpoint import slice_key
from tests.published.files import FileTestCase

FLOAT, INT32, STRING, INT64, BOOL, BFLOAT16, HALF = 1, 3, 7, 9, 10, 14, 19


def crc_by_bits(data: bytes) -> int:
  register = 0xFFFFFFFF
  for byte in data:
    register ^= byte
    for _ in range(8):
      register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
  return register ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
  crc = crc_by_bits(data)
  return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def varint(number: int) -> bytes:
  number %= 1 << 64
  code = b""
  while number > 0x7F:
    code += bytes([number & 0x7F | 0x80])
    number >>= 7
  return code + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
  if isinstance(value, int):
    return varint(number << 3) + varint(value)
  return varint(number << 3 | 2) + varint(len(value)) + value


def shape(*lengths: int) -> bytes:
  return b"".join(field(2, field(1, length)) for length in lengths)


def extents(*pairs: tuple[int, int] | None) -> bytes:
  """Returns a TensorSliceProto; None stands for a whole axis."""
  return b"".join(
    field(1, field(1, pair[0]) + field(2, pair[1]) if pair else b"") for pair in pairs
  )


def snappy_literal(data: bytes) -> bytes:
  """Returns `data` as snappy's format stores what it cannot compress."""
  chunks = [data[at : at + 60] for at in range(0, len(data), 60)]
  return varint(len(data)) + b"".join(
    bytes([len(chunk) - 1 << 2]) + chunk for chunk in chunks
  )


def block(entries: list[tuple[bytes, bytes]], interval: int = 3) -> bytes:
  """Returns a block whose keys share prefixes between restarts."""
  data, restarts, last = b"", [], b""
  for index, (key, value) in enumerate(entries):
    shared = 0
    if index % interval == 0:
      restarts.append(len(data))
    else:
      while shared < min(len(key), len(last)) and key[shared] == last[shared]:
        shared += 1
    data += varint(shared) + varint(len(key) - shared) + varint(len(value))
    data += key[shared:] + value
    last = key
  restarts = restarts or [0]
  return data + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(entries: dict[bytes, bytes], compressed: bool = False) -> bytes:
  """Returns a sorted string table with a data block for every four keys."""
  file = b""

  def append(contents: bytes) -> bytes:
    nonlocal file
    stored = snappy_literal(contents) if compressed else contents
    stored += bytes([compressed])
    handle = varint(len(file)) + varint(len(stored) - 1)
    file += stored + struct.pack("<I", masked(stored))
    return handle

  items = sorted(entries.items())
  groups = [items[at : at + 4] for at in range(0, len(items), 4)]
  index = [(group[-1][0], append(block(group))) for group in groups]
  footer = append(block([])) + append(block(index))
  return file + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


class BundleWriter:
  """Collects the tensors of a V2 checkpoint and writes its files."""

  def __init__(self, shards: int = 2, big_endian: bool = False):
    self.shards = [b""] * shards
    header = field(1, shards) + field(2, int(big_endian)) + field(3, field(1, 1))
    self.entries = {b"": header}

  def add(self, key, dtype, lengths, data, shard=0):
    entry = field(1, dtype) + field(2, shape(*lengths)) + field(3, shard)
    entry += field(4, len(self.shards[shard])) + field(5, len(data))
    entry += varint(6 << 3 | 5) + struct.pack("<I", masked(data))
    self.entries[key if isinstance(key, bytes) else key.encode()] = entry
    self.shards[shard] += data

  def write(self, prefix: Path, compressed: bool = False):
    Path(f"{prefix}.index").write_bytes(table(self.entries, compressed))
    for number, data in enumerate(self.shards):
      path = Path(f"{prefix}.data-{number:05d}-of-{len(self.shards):05d}")
      path.write_bytes(data)


class BundleTest(FileTestCase):
  def setUp(self):
    super().setUp()
    self.prefix = self.directory() / "model.ckpt-1000"
    rng = np.random.default_rng(0)
    self.truth = {
      f"net/layer_{layer}/{leaf}": rng.standard_normal((3, layer)).astype(np.float32)
      for layer in range(1, 8)
      for leaf in ("bias", "kernel")
    }

  def bundle(self) -> BundleWriter:
    writer = BundleWriter()
    for number, (name, array) in enumerate(self.truth.items()):
      writer.add(name, FLOAT, array.shape, array.tobytes(), shard=number % 2)
    return writer

  @parameterized.parameters(True, False)
  def test_every_way_to_name_a_checkpoint(self, compressed):
    self.bundle().write(self.prefix, compressed)
    directory = self.prefix.parent
    state = 'model_checkpoint_path: "/authors/run/model.ckpt-1000"\n'
    (directory / "checkpoint").write_text(state + 'all_model_checkpoint_paths: "x"\n')
    for path in (self.prefix, f"{self.prefix}.index", directory):
      weights = published.load(path)
      self.assertEqual(list(weights), sorted(self.truth))
      for name, array in self.truth.items():
        np.testing.assert_array_equal(weights[name], array)
        self.assertEqual(weights[name].dtype, np.float32)

  @parameterized.parameters(False, True)
  def test_types(self, big_endian):
    values = {
      "bool": (BOOL, np.array([True, False])),
      "half": (HALF, np.float16([1.5, -2])),
      "int": (INT32, np.array(-7, np.int32)),
      "long": (INT64, np.array([[-(2**40)]])),
      "none": (FLOAT, np.zeros((0, 3), np.float32)),
    }
    writer = BundleWriter(1, big_endian)
    for name, (dtype, array) in values.items():
      stored = array.byteswap() if big_endian else array
      writer.add(name, dtype, array.shape, stored.tobytes())
    writer.add("text", STRING, (1,), b"\x01x")
    brain = np.array([1.5, -2], ml_dtypes.bfloat16)
    stored = brain.view(np.uint16)
    stored = stored.byteswap() if big_endian else stored
    writer.add("brain", BFLOAT16, (2,), stored.tobytes())
    writer.write(self.prefix)
    weights = published.load(self.prefix)
    self.assertCountEqual(weights, [*values, "brain"])
    for name, (_, array) in values.items():
      np.testing.assert_array_equal(weights[name], array)
      self.assertEqual(weights[name].dtype, array.dtype)
    np.testing.assert_array_equal(weights["brain"], np.float32([1.5, -2]))

  def test_partitioned_variables_are_put_together(self):
    whole = np.arange(300 * 6, dtype=np.float32).reshape(300, 6)
    writer = BundleWriter()
    entry = field(1, FLOAT) + field(2, shape(300, 6))
    for number, (start, length) in enumerate(((0, 100), (100, 200))):
      entry += field(7, extents((start, length), None))
      key = slice_key(b"emb", ((start, length), (0, -1)))
      part = whole[start : start + length]
      writer.add(key, FLOAT, part.shape, part.tobytes(), shard=number)
    writer.entries[b"emb"] = entry
    writer.write(self.prefix)
    weights = published.load(self.prefix)
    self.assertEqual(list(weights), ["emb"])
    np.testing.assert_array_equal(weights["emb"], whole)
    del writer.entries[key]
    writer.write(self.prefix)
    self.assert_prefix_refused("lacks a slice")

  def assert_prefix_refused(self, pattern):
    with self.assertRaisesRegex(UserError, f"^{self.prefix}.*{pattern}"):
      published.load(self.prefix)

  def test_damaged_shards(self):
    self.bundle().write(self.prefix)
    shard = Path(f"{self.prefix}.data-00001-of-00002")
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    self.assert_prefix_refused("of-00002 is truncated in net/layer_7/kernel")
    shard.write_bytes(b"?" + data[1:])
    self.assert_prefix_refused("of-00002 is damaged in net/layer_1/kernel")
    shard.unlink()
    self.assert_prefix_refused("lacks its shard .*data-00001-of-00002")

  def test_impossible_entries(self):
    for dtype, lengths, pattern in (
      (FLOAT, (5,), "bytes instead of"),
      (FLOAT, (-1,), "shape"),
      (21, (2,), "TensorFlow's type 21"),
    ):
      writer = BundleWriter()
      writer.add("w", dtype, lengths, bytes(8))
      writer.write(self.prefix)
      self.assert_prefix_refused(pattern)

  def test_damaged_index(self):
    self.bundle().write(self.prefix)
    index = Path(f"{self.prefix}.index")
    data = index.read_bytes()
    index.write_bytes(data[:20] + b"?" + data[21:])
    self.assert_prefix_refused("wrong checksum")
    index.write_bytes(data[:-10])
    self.assert_prefix_refused("truncated")
    rng = np.random.default_rng(0)
    for _ in range(100):
      damaged = bytearray(data)
      damaged[rng.integers(len(data))] = rng.integers(256)
      index.write_bytes(damaged)
      try:
        published.load(self.prefix)
      except UserError as error:
        self.assertStartsWith(str(error), str(self.prefix))

  def test_directories_without_a_checkpoint(self):
    directory = self.prefix.parent
    with self.assertRaisesRegex(UserError, "without a TensorFlow `checkpoint` file"):
      published.load(directory)
    (directory / "checkpoint").write_text("nothing\n")
    with self.assertRaisesRegex(UserError, "names no checkpoint"):
      published.load(directory)
    (directory / "checkpoint").write_text('model_checkpoint_path: "gone"\n')
    with self.assertRaisesRegex(UserError, "no such file"):
      published.load(directory)


def slice_meta(name, lengths, dtype, *slices) -> bytes:
  meta = field(1, name.encode()) + field(2, shape(*lengths)) + field(3, dtype)
  return field(1, meta + b"".join(field(4, one) for one in slices))


def saved_slice(name, where, values: bytes) -> bytes:
  message = field(1, name.encode()) + field(2, where) + field(3, values)
  return field(2, message)


class TableTest(FileTestCase):
  """Checkpoints of version 1."""

  def entries(self):
    floats = np.arange(6, dtype=np.float32).reshape(2, 3)
    halves = np.float16([1.5, -2]).view(np.uint16)
    everywhere = extents(None, None)
    values = {
      "f": (FLOAT, (2, 3), field(5, floats.tobytes())),
      "i": (INT32, (2,), field(7, varint(-3) + varint(300))),
      "l": (INT64, (1,), field(10, -(2**40))),
      "b": (BOOL, (2,), field(11, b"\1\0")),
      "h": (HALF, (2,), field(13, b"".join(map(varint, map(int, halves))))),
      "raw": (FLOAT, (2, 3), field(4, floats.tobytes())),
      "s": (STRING, (1,), field(8, b"text")),
    }
    meta = b"".join(
      slice_meta(name, lengths, dtype, everywhere)
      for name, (dtype, lengths, _) in values.items()
    )
    meta += slice_meta("parts", (4, 2), FLOAT)
    entries = {b"": field(1, meta)}
    for name, (dtype, lengths, data) in values.items():
      where = extents(*(None for _ in lengths))
      key = slice_key(name.encode(), [(0, -1)] * len(lengths))
      entries[key] = saved_slice(name, where, field(1, dtype) + data)
    for start, length in ((0, 1), (1, 3)):
      part = np.full((length, 2), start, np.float32)
      key = slice_key(b"parts", [(start, length), (0, -1)])
      where = extents((start, length), None)
      entries[key] = saved_slice("parts", where, field(5, part.tobytes()))
    return entries, floats

  @parameterized.parameters(True, False)
  def test_values_of_every_kind(self, compressed):
    entries, floats = self.entries()
    weights = self.load(table(entries, compressed), "model.ckpt")
    self.assertCountEqual(weights, ["f", "i", "l", "b", "h", "raw", "parts"])
    np.testing.assert_array_equal(weights["f"], floats)
    np.testing.assert_array_equal(weights["raw"], floats)
    np.testing.assert_array_equal(weights["i"], np.int32([-3, 300]))
    np.testing.assert_array_equal(weights["l"], [-(2**40)])
    np.testing.assert_array_equal(weights["b"], [True, False])
    np.testing.assert_array_equal(weights["h"], np.float16([1.5, -2]))
    np.testing.assert_array_equal(weights["parts"], [[0, 0], [1, 1], [1, 1], [1, 1]])
    self.assertEqual(weights["h"].dtype, np.float16)
    self.assertEqual(weights["i"].dtype, np.int32)

  def test_tables_of_several_machines(self):
    directory = self.directory()
    for number in range(2):
      name = f"w{number}"
      meta = field(1, slice_meta(name, (1,), FLOAT, extents(None)))
      values = field(5, np.float32([number]).tobytes())
      entries = {b"": meta, b"\0" + name.encode(): saved_slice(name, b"", values)}
      entries[b"\0" + name.encode()] = saved_slice(name, extents(None), values)
      path = directory / f"model-{number:05d}-of-00002"
      path.write_bytes(table(entries))
    checkpoint = 'model_checkpoint_path: "model-?????-of-00002"'
    (directory / "checkpoint").write_text(checkpoint)
    for path in (directory, directory / "model"):
      self.assertEqual(published.load(path), {"w0": 0, "w1": 1})
    (directory / "model-00000-of-00002").unlink()
    with self.assertRaisesRegex(UserError, "only 1 of the files"):
      published.load(directory / "model")

  def test_missing_and_impossible_slices(self):
    entries, _ = self.entries()
    del entries[slice_key(b"parts", [(1, 3), (0, -1)])]
    self.assert_refused("lacks a slice of parts", table(entries), "model.ckpt")
    where = extents((3, 3), None)
    values = field(5, bytes(24))
    entries[b"\0x"] = saved_slice("parts", where, values)
    self.assert_refused("a slice .* of shape", table(entries), "model.ckpt")
    entries[b"\0x"] = saved_slice("other", where, values)
    self.assert_refused("holds other, which", table(entries), "model.ckpt")

  def test_damaged_files(self):
    self.assert_survives_damage(table(self.entries()[0]), "model.ckpt")


class PartsTest(parameterized.TestCase):
  @parameterized.parameters(
    (b"", 0),
    (b"123456789", 0xE3069283),
    (bytes(32), 0x8A9136AA),  # the vectors of RFC 3720
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
  )
  def test_checksum_of_known_data(self, data, expected):
    self.assertEqual(crc32c.crc32c(data), expected)

  def test_checksum_of_every_length(self):
    data = np.random.default_rng(0).bytes(5000)
    for size in (*range(1, 70), 255, 256, 257, 1023, 1025, 4999):
      self.assertEqual(crc32c.crc32c(data[:size]), crc_by_bits(data[:size]), size)

  @parameterized.parameters(
    (b"\x0a\x24abcdefghij", b"abcdefghij"),
    (b"\x0c\x08abc\x15\x03", b"abc" * 4),  # a copy that reads what it writes
    (b"\x08\x0cabcd\x0e\x04\x00", b"abcdabcd"),
    (b"\x08\x0cabcd\x0f\x04\x00\x00\x00", b"abcdabcd"),
    (b"\x64\xf0\x63" + b"x" * 100, b"x" * 100),
    (b"\x64\xf4\x63\x00" + b"x" * 100, b"x" * 100),
    (b"\x64\x00x\xfe\x01\x00\x8a\x01\x00", b"x" * 100),
  )
  def test_snappy(self, data, expected):
    self.assertEqual(sstable.decompress(data), expected)

  @parameterized.parameters(
    b"\x04\x0cabcde",
    b"\x08\x0cabcd\x0e\x05\x00",  # a copy from before the start
    b"\x08\x0cabcd\x0e\x00\x00",
    b"\x0a\x0cabcd",
    b"\x02\x0cabcd",
  )
  def test_damaged_snappy(self, data):
    with self.assertRaisesRegex(ValueError, "snappy"):
      sstable.decompress(data)

  @parameterized.parameters(
    ((), b"\x00"),
    (((0, -1),), b"\x01\x01\x80\x7f"),
    (((63, 64),), b"\x01\x01\xbf\xc0\x40"),
    (((8191, 8192),), b"\x01\x01\xdf\xff\xe0\x20\x00"),
  )
  def test_slice_key(self, pairs, expected):
    """Values of tensorflow/core/lib/strings/ordered_code_test.cc and its rule."""
    self.assertEqual(slice_key(b"w", pairs), b"\0w\0\1" + expected)
    self.assertEqual(slice_key(b"\0\xff", ())[:-1], b"\0\0\xff\xff\0\0\1")

  def test_messages(self):
    data = field(1, 300) + field(2, b"ab") + b"\x19" + bytes(8) + b"\x25\1\0\0\0"
    self.assertEqual(
      list(protobuf.fields(data)), [(1, 300), (2, b"ab"), (3, 0), (4, 1)]
    )
    self.assertEqual(protobuf.signed(2**64 - 5), -5)
    for damaged in (b"\x12\x05ab", b"\x0b", b"\x08" + b"\xff" * 11):
      with self.assertRaises(ValueError):
        list(protobuf.fields(damaged))


if __name__ == "__main__":
  absltest.main()
