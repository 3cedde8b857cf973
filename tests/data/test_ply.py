"""Tests of PLY clouds, on small files written in the format."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import ply
from jaxvision.errors import UserError

_HEADER = """ply
format {storage} 1.0
comment made by hand
element vertex 3
property float x
property double y
property uchar red
property float32 z
element face 1
property list uchar int vertex_indices
end_header
"""
_ROWS = [(1.5, -2.25, 7, 0.5), (0.0, 1e-3, 255, -1.0), (3.0, 4.0, 0, 2.0)]


class PlyTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.path = self.folder / "cloud.ply"

  @parameterized.parameters("ascii", "binary_little_endian", "binary_big_endian")
  def test_reads_every_storage(self, storage):
    header = _HEADER.format(storage=storage).encode()
    if storage == "ascii":
      body = "\n".join(" ".join(map(str, row)) for row in _ROWS).encode()
      body += b"\n3 0 1 2\n"
    else:
      order = "<" if "little" in storage else ">"
      kinds = [("x", "f4"), ("y", "f8"), ("red", "u1"), ("z", "f4")]
      record = np.dtype([(name, order + kind) for name, kind in kinds])
      body = np.array(_ROWS, record).tobytes() + b"\x03" + bytes(12)
    self.path.write_bytes(header + body)
    found = ply.read_ply_vertices(self.path)
    for name, column in zip(
      ("x", "y", "red", "z"), zip(*_ROWS, strict=True), strict=True
    ):
      np.testing.assert_allclose(found[name], column, rtol=1e-6)
    self.assertEqual(found["red"].dtype, np.uint8)

  def test_what_is_written_is_read(self):
    rng = np.random.default_rng(0)
    vertices = {name: rng.normal(size=5).astype(np.float32) for name in "xyz"}
    vertices["red"] = np.arange(5, dtype=np.uint8)
    ply.write_ply_vertices(self.path, vertices)
    found = ply.read_ply_vertices(self.path)
    self.assertEqual(list(found), list(vertices))
    for name, column in vertices.items():
      np.testing.assert_array_equal(found[name], column)

  @parameterized.parameters(
    (b"", "not a PLY"),
    (b"ply\nformat ascii 1.0\n", "damaged"),
    (_HEADER.format(storage="binary_little_endian").encode() + b"12", "damaged"),
    (_HEADER.format(storage="ascii").encode() + b"1 2 3\n", "damaged"),
    (b"ply\nformat ascii 1.0\nelement face 0\nend_header\n", "damaged"),
  )
  def test_damaged_files_name_themselves(self, content, what):
    self.path.write_bytes(content)
    with self.assertRaisesRegex(UserError, f"cloud.ply.*{what}"):
      ply.read_ply_vertices(self.path)

  def test_a_missing_file_names_itself(self):
    with self.assertRaisesRegex(UserError, "nowhere.ply: no such file"):
      ply.read_ply_vertices(self.folder / "nowhere.ply")


if __name__ == "__main__":
  absltest.main()
