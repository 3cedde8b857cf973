"""Tests of load: formats found by contents, flattening, and what it says of errors."""

import io
import json
import struct
import zipfile

import ml_dtypes
import numpy as np
import safetensors.numpy
import scipy.io
import scipy.sparse
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.published import arrays
from tests.published import assembler as asm
from tests.published.files import FileTestCase

DTYPES = st.sampled_from(
  ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "bool"]
)
ARRAYS = npst.arrays(DTYPES, npst.array_shapes(min_dims=0, max_side=4, min_side=0))
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)


def npz(**members) -> bytes:
  file = io.BytesIO()
  np.savez_compressed(file, **members)
  return file.getvalue()


def npy(array) -> bytes:
  file = io.BytesIO()
  np.save(file, array)
  return file.getvalue()


def safetensors_file(header: dict, contents: bytes = b"") -> bytes:
  text = json.dumps(header).encode()
  return struct.pack("<Q", len(text)) + text + contents


class FlattenTest(parameterized.TestCase):
  @settings(max_examples=50, deadline=None)
  @given(
    tree=st.recursive(ARRAYS, lambda tree: st.dictionaries(NAMES, tree), max_leaves=8)
  )
  def test_every_array_keeps_its_path(self, tree):
    flat = arrays.flatten(tree)
    count = 0

    def visit(node, path):
      nonlocal count
      if isinstance(node, dict):
        for key, child in node.items():
          visit(child, [*path, key])
      else:
        count += 1
        np.testing.assert_array_equal(flat[".".join(path)], node)
        self.assertEqual(flat[".".join(path)].dtype, node.dtype)

    visit(tree, [])
    self.assertLen(flat, count)

  @parameterized.parameters(
    ({"a": [np.zeros(1), {"b": np.ones(1)}]}, ["a.0", "a.1.b"]),
    ({"a": [1, 2.5], "b": [[1, 2], [3]]}, ["a", "b.0", "b.1"]),
    ({"a": 1, "b": True, "c": None, "d": "x", "e": b"y", "f": {1}}, ["a", "b"]),
    ({1: 2, b"k": 3}, ["1", "k"]),
    ([("x", 1), ("y", 2)], ["x", "y"]),
    ({"a": 2**70, "b": [1, 2**70], "c": []}, ["b.0"]),
    (np.zeros(2), [""]),
  )
  def test_names(self, tree, names):
    self.assertEqual(list(arrays.flatten(tree)), names)

  def test_two_entries_of_one_path_are_refused(self):
    with self.assertRaisesRegex(ValueError, r"holds a\.b twice"):
      arrays.flatten({"a": {"b": 1}, "a.b": 2})


class NumpyFilesTest(FileTestCase):
  @settings(max_examples=30, deadline=None)
  @given(members=st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=4))
  def test_npz(self, members):
    loaded = self.load(npz(**members), "weights.npz")
    self.assertEqual(list(loaded), list(members))
    for key, array in members.items():
      np.testing.assert_array_equal(loaded[key], array)
      self.assertEqual(loaded[key].dtype, array.dtype)

  def test_orders_object_arrays_and_single_arrays(self):
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    mixed = np.array([scipy.sparse.eye(3).tocsr(), None, np.ones(2)], dtype=object)
    members = {"f": fortran, "big": fortran.astype(">f4"), "object": mixed}
    loaded = self.load(npz(wrapped={"x": fortran}, **members), "weights.npz")
    np.testing.assert_array_equal(loaded["f"], fortran)
    np.testing.assert_array_equal(loaded["big"], fortran)
    np.testing.assert_array_equal(loaded["wrapped.x"], fortran)
    np.testing.assert_array_equal(loaded["object.0.row"], [0, 1, 2])
    np.testing.assert_array_equal(loaded["object.2"], [1, 1])
    self.assertEqual(list(self.load(npy(fortran), "weights.npy")), [""])

  def test_object_arrays_execute_nothing(self):
    class Evil:
      def __reduce__(self):
        return print, ("executed",)

    data = npz(weights=np.array([Evil()], dtype=object))
    self.assert_refused(r"the global builtins\.print,", data, "weights.npz")

  def test_headers_are_not_believed(self):
    data = npy(np.zeros((2, 3)))
    self.assert_refused("40 bytes instead of 48", data[:-8], "weights.npy")
    claimed = data.replace(b"(2, 3), }" + b" " * 12, b"(2, 3000000000000), }")
    self.assert_refused("48 bytes instead of", claimed, "weights.npy")
    self.assert_survives_damage(data, "weights.npy")
    self.assert_survives_damage(npz(a=np.zeros(3), b=np.ones(2)), "weights.npz")

  def test_members_of_one_name_are_refused(self):
    file = io.BytesIO()
    with (
      zipfile.ZipFile(file, "w") as archive,
      self.assertWarnsRegex(UserWarning, "Duplicate"),
    ):
      for _ in range(2):
        archive.writestr("a.npy", npy(np.zeros(1)))
    self.assert_refused("a member twice", file.getvalue(), "weights.npz")


class SafetensorsTest(FileTestCase):
  @settings(max_examples=30, deadline=None)
  @given(tensors=st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=4))
  def test_round_trip(self, tensors):
    data = safetensors.numpy.save(tensors, {"format": "pt"})
    loaded = self.load(data, "model.safetensors")
    self.assertCountEqual(loaded, tensors)
    for key, array in tensors.items():
      np.testing.assert_array_equal(loaded[key], array)
      self.assertEqual(loaded[key].dtype, array.dtype)

  @parameterized.parameters(
    ("BF16", ml_dtypes.bfloat16),
    ("F8_E4M3", ml_dtypes.float8_e4m3fn),
    ("F8_E5M2", ml_dtypes.float8_e5m2),
  )
  def test_narrow_floats_become_float32(self, kind, dtype):
    values = np.array([1.5, -2, 0.25, np.nan], dtype)
    entry = {"dtype": kind, "shape": [2, 2], "data_offsets": [0, values.nbytes]}
    data = safetensors_file({"w": entry}, values.tobytes())
    weight = self.load(data, "model.safetensors")["w"]
    self.assertEqual(weight.dtype, np.float32)
    np.testing.assert_array_equal(weight.reshape(-1), values.astype(np.float32))

  @parameterized.parameters(
    ("F32", [2], [0, 16], "truncated: w ends at byte 16 of 8"),
    ("F32", [2], [-8, 8], "truncated"),
    ("F32", [2], [8, 0], "truncated"),
    ("F32", [3], [0, 8], "8 bytes instead of 12"),
    ("F32", [-2], [0, 8], "shape"),
    ("F4", [2], [0, 8], "the type F4"),
    ("F32", None, [0, 8], "damaged"),
  )
  def test_impossible_entries_are_refused(self, dtype, shape, offsets, pattern):
    entry = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    data = safetensors_file({"w": entry}, bytes(8))
    self.assert_refused(pattern, data, "model.safetensors")

  def test_damaged_files(self):
    data = safetensors.numpy.save({"a": np.zeros((2, 2)), "b": np.ones(3)})
    self.assert_survives_damage(data, "model.safetensors")
    self.assert_refused("header of", data[:40], "model.safetensors")
    twice = b'{"a": {}, "a": {}}'
    self.assert_refused(
      "names a tensor twice", struct.pack("<Q", len(twice)) + twice, "m.safetensors"
    )


class MatlabTest(FileTestCase):
  @parameterized.parameters(True, False)
  def test_structs_cells_and_sparse_matrices(self, compressed):
    cells = np.empty((1, 2), object)
    cells[0, 0] = {"weights": np.arange(6.0).reshape(2, 3), "type": "conv"}
    cells[0, 1] = {"weights": np.float32([[7]]), "type": "relu"}
    file = io.BytesIO()
    scipy.io.savemat(
      file,
      {
        "net": {"layers": cells, "name": "vgg"},
        "matrix": np.arange(6, dtype=np.int16).reshape(2, 3),
        "kernel": np.zeros((1, 1, 4, 5), np.float32),
        "sparse": scipy.sparse.eye(3).tocsc(),
        "structs": np.array([(1.0,), (2.0,)], dtype=[("x", "f8")]),
        "complex": np.array([[1 + 2j, 3]]),
        "logical": np.array([[True, False]]),
        "empty": np.zeros((0, 3)),
      },
      do_compression=compressed,
    )
    loaded = self.load(file.getvalue(), "net.mat")
    np.testing.assert_array_equal(
      loaded["net.layers.0.weights"], np.arange(6.0).reshape(2, 3)
    )
    np.testing.assert_array_equal(loaded["net.layers.1.weights"], [[7]])
    self.assertEqual(loaded["matrix"].dtype, np.int16)
    self.assertEqual(loaded["kernel"].shape, (1, 1, 4, 5))
    np.testing.assert_array_equal(loaded["sparse.row"], [0, 1, 2])
    np.testing.assert_array_equal(loaded["structs.1.x"], [[2]])
    np.testing.assert_array_equal(loaded["complex"], [[1 + 2j, 3]])
    self.assertEqual(loaded["logical"].dtype, bool)
    np.testing.assert_array_equal(loaded["logical"], [[True, False]])
    self.assertEqual(loaded["empty"].shape, (0, 3))
    self.assertEmpty(loaded.keys() & {"net.name", "net.layers.0.type"})
    self.assert_survives_damage(file.getvalue(), "net.mat")

  @parameterized.parameters(
    b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n",
    b"\x89HDF\r\n\x1a\n" + bytes(100),
  )
  def test_hdf5_names_the_reader_to_use(self, data):
    self.assert_refused("read it with h5py", data, "net.mat")

  def test_big_endian_with_small_elements_and_impossible_sizes(self):
    def element(kind, data):
      tag = struct.pack(">2I", kind, len(data))
      return tag + data + bytes(-len(data) % 8)

    def small(kind, data):
      return struct.pack(">2H", len(data), kind) + data.ljust(4, b"\0")

    def file(shape, values):
      matrix = element(6, struct.pack(">2I", 6, 0)) + element(5, shape)
      matrix += small(1, b"x") + values
      header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI"
      return header + element(14, matrix)

    shape = struct.pack(">2i", 1, 2)
    loaded = self.load(file(shape, small(3, struct.pack(">2h", -5, 6))), "x.mat")
    np.testing.assert_array_equal(loaded["x"], [[-5, 6]])
    self.assertEqual(loaded["x"].dtype, np.float64)
    huge = struct.pack(">2i", 10**9, 10**9)
    self.assert_refused("reshape", file(huge, small(1, b"ab")), "x.mat")
    claimed = struct.pack(">2I", 9, 2**31) + bytes(8)
    self.assert_refused("truncated", file(shape, claimed), "x.mat")


class LoadTest(FileTestCase):
  @parameterized.parameters("weights", "weights.bin", "weights.pkl", "weights.npz")
  def test_contents_decide_the_format(self, file_name):
    tree = asm.tensor(asm.storage("FloatStorage", "0", 1), 0, (1,), (1,))
    for data in (
      npz(**{"": np.ones(1)}),
      asm.torch_zip(tree, {"0": np.float32([1]).tobytes()}),
      asm.program(asm.numpy_array("f4", (1,), asm.raw(np.float32([1]).tobytes()))),
    ):
      np.testing.assert_array_equal(self.load(data, file_name)[""], [1])

  @parameterized.parameters(b"", b"hello", bytes(600), b"PK\3\4", b"\x80")
  def test_unknown_and_empty_files(self, data):
    self.assert_refused("not a format|damaged|truncated", data, "weights.bin")

  def test_missing_file(self):
    with self.assertRaisesRegex(UserError, "nowhere.pth: no such file"):
      published.load("nowhere.pth")

  def test_weights_cannot_be_changed_behind_a_shared_storage(self):
    stored = asm.storage("FloatStorage", "0", 2)
    tree = asm.value([asm.tensor(stored, 0, (2,), (1,))] * 2)
    weights = self.load(asm.torch_zip(tree, {"0": bytes(8)}), "tied.pth")
    with self.assertRaisesRegex(ValueError, "read-only"):
      weights["0"][0] = 1


if __name__ == "__main__":
  absltest.main()
