import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.data import binvox
from jaxvision.errors import UserError


class BinvoxTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder) / "model.binvox"

  def test_a_file_by_hand(self):
    """Bytes as Min's program writes them: y runs fastest, then z, then x."""
    header = b"#binvox 1\ndim 2 2 2\ntranslate -0.5 -0.25 0\nscale 2\ndata\n"
    self.path.write_bytes(header + bytes([0, 1, 1, 2, 0, 5]))
    read = binvox.read_binvox(self.path)
    # Cells 1 and 2 of the order: x = 0, z = 0, y = 1 and x = 0, z = 1, y = 0.
    np.testing.assert_array_equal(np.argwhere(read.occupied), [[0, 0, 1], [0, 1, 0]])
    self.assertEqual((read.translate, read.scale), ((-0.5, -0.25, 0.0), 2.0))

  @settings(max_examples=20, deadline=None)
  @given(st.integers(0, 2**31), st.floats(0, 1))
  def test_what_was_written_is_read(self, seed, share):
    rng = np.random.default_rng(seed)
    grid = np.sort(rng.random((9, 8, 7)) < share, axis=1)  # long runs too
    written = binvox.Voxels(grid, (1.0, -2.0, 0.5), 0.25)
    binvox.write_binvox(self.path, written)
    read = binvox.read_binvox(self.path)
    np.testing.assert_array_equal(read.occupied, grid)
    self.assertEqual((read.translate, read.scale), ((1.0, -2.0, 0.5), 0.25))

  @parameterized.parameters(
    (b"no binvox", "not a binvox file"),
    (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\0\7", "7 of 8 voxels"),
    (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\0\7\1", "half a run"),
    (b"#binvox 1\ndim 2 2 2\ntranslate 0 0 0\nscale 1\ndata\n\2\10", "other than"),
    (b"#binvox 1\ndim 2 2 2\ntranslate a 0 0\nscale 1\ndata\n\0\10", "float"),
  )
  def test_damaged_files_name_themselves(self, content, message):
    self.path.write_bytes(content)
    with self.assertRaisesRegex(UserError, f"model.binvox.*{message}"):
      binvox.read_binvox(self.path)

  def test_a_missing_file_names_itself(self):
    with self.assertRaisesRegex(UserError, "model.binvox: no such file"):
      binvox.read_binvox(self.path)


if __name__ == "__main__":
  absltest.main()
