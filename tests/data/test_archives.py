"""Tests of archives of named arrays."""

import pathlib
import pickle
import tempfile

import numpy as np
from absl.testing import absltest
from scipy import io as scipy_io

from jaxvision.data import archives
from jaxvision.errors import UserError


class ArchivesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    directory = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(directory) / "arrays.bin"
    self.arrays = {"image": np.eye(3, dtype=np.float32), "count": np.int64([[7]])}

  def assert_found(self, found):
    self.assertCountEqual(found, self.arrays)
    for name, array in self.arrays.items():
      self.assertEqual(found[name].dtype, array.dtype)
      np.testing.assert_array_equal(found[name], array)

  def test_npz_round_trip(self):
    archives.write_npz(self.path, self.arrays)
    self.assert_found(archives.read_npz(self.path))

  def test_mat_round_trip(self):
    archives.write_mat(self.path, self.arrays)
    self.assert_found(archives.read_mat(self.path))

  def test_mat_structs_and_cells_can_be_simplified(self):
    cell = np.empty(2, object)
    cell[:] = ["a", "bc"]
    scipy_io.savemat(self.path, {"s": {"x": np.arange(3.0), "names": cell}})
    found = archives.read_mat(self.path, simplify=True)["s"]
    np.testing.assert_array_equal(found["x"], [0, 1, 2])
    self.assertEqual(list(found["names"]), ["a", "bc"])
    self.assertEqual(archives.read_mat(self.path)["s"].shape, (1, 1))

  def test_truncations_name_the_file(self):
    for write, read in (
      (archives.write_npz, archives.read_npz),
      (archives.write_mat, archives.read_mat),
    ):
      write(self.path, self.arrays)
      content = self.path.read_bytes()
      for length in {*range(0, len(content), 7), len(content) - 1}:
        self.path.write_bytes(content[:length])
        with self.assertRaisesRegex(UserError, "arrays.bin: "):
          read(self.path)

  def test_pickled_objects_are_never_loaded(self):
    np.savez(self.path.with_suffix(".npz"), objects=np.array([{}], object))
    with self.assertRaisesRegex(UserError, "arrays.npz: .*Object arrays"):
      archives.read_npz(self.path.with_suffix(".npz"))
    self.path.write_bytes(pickle.dumps({"a": 1}))
    with self.assertRaisesRegex(UserError, "arrays.bin: not an NPZ archive"):
      archives.read_npz(self.path)
    with self.assertRaisesRegex(AssertionError, "objects"):
      archives.write_npz(self.path, {"objects": np.array([{}], object)})

  def test_single_array_is_refused(self):
    np.save(self.path.with_suffix(".npy"), np.zeros(2))
    with self.assertRaisesRegex(UserError, "arrays.npy: not an NPZ archive"):
      archives.read_npz(self.path.with_suffix(".npy"))

  def test_matlab_73_names_h5py(self):
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8)
    header = (text + b"\x00\x02IM").ljust(512, b"\0")
    self.path.write_bytes(header + b"\x89HDF\r\n\x1a\n" + bytes(64))
    with self.assertRaisesRegex(UserError, "arrays.bin: .*h5py"):
      archives.read_mat(self.path)


if __name__ == "__main__":
  absltest.main()
