"""Tests of mesh files."""

import pathlib
import struct
import sys
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import meshes
from jaxvision.errors import UserError

_TETRAHEDRON = meshes.Mesh(
  vertices=np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0.1]]),
  faces=np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
)
_COLORS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)

_PLY = b"""ply
format binary_big_endian 1.0
element vertex 3
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 1
property list uchar int vertex_indices
end_header
""" + b"".join(
  [
    struct.pack(">3f3B", 0, 0, 0, 1, 2, 3),
    struct.pack(">3f3B", 1, 0, 0, 4, 5, 6),
    struct.pack(">3f3B", 0, 1, 0, 7, 8, 9),
    struct.pack(">B3i", 3, 2, 0, 1),
  ]
)
_ASCII_PLY = b"""ply
format ascii 1.0
element vertex 2
property double x
property double y
property double z
end_header
0.5 1 2
3 4 5
"""


class MeshesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  @parameterized.parameters("ply", "obj", "off")
  def test_round_trip(self, suffix):
    path = self.directory / f"mesh.{suffix}"
    meshes.write_mesh(path, _TETRAHEDRON)
    found = meshes.read_mesh(path)
    np.testing.assert_allclose(found.vertices, _TETRAHEDRON.vertices, atol=1e-8)
    np.testing.assert_array_equal(found.faces, _TETRAHEDRON.faces)
    self.assertEqual((found.vertices.dtype, found.faces.dtype), (np.float64, np.int32))
    self.assertIsNone(found.colors)

  @parameterized.product(suffix=["ply", "obj"], faces=[_TETRAHEDRON.faces, None])
  def test_colours_of_meshes_and_clouds(self, suffix, faces):
    path = self.directory / f"mesh.{suffix}"
    faces = np.zeros((0, 3), int) if faces is None else faces
    meshes.write_mesh(path, meshes.Mesh(_TETRAHEDRON.vertices, faces, _COLORS))
    found = meshes.read_mesh(path)
    np.testing.assert_array_equal(found.colors, _COLORS)
    np.testing.assert_array_equal(found.faces, faces)

  @parameterized.parameters("ply", "obj", "off")
  def test_clouds(self, suffix):
    path = self.directory / f"cloud.{suffix}"
    cloud = meshes.Mesh(_TETRAHEDRON.vertices, np.zeros((0, 3), int))
    meshes.write_mesh(path, cloud)
    found = meshes.read_mesh(path)
    np.testing.assert_allclose(found.vertices, cloud.vertices, atol=1e-8)
    self.assertEqual(found.faces.shape, (0, 3))

  def test_big_endian_ply_by_hand(self):
    path = self.directory / "mesh.ply"
    path.write_bytes(_PLY)
    found = meshes.read_mesh(path)
    np.testing.assert_array_equal(found.vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(found.faces, [[2, 0, 1]])
    np.testing.assert_array_equal(found.colors, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])

  def test_obj_keeps_its_vertices_whatever_its_groups_and_textures(self):
    path = self.directory / "mesh.obj"
    path.write_text(
      "mtllib none.mtl\ng a\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 0 0\nvt 0 0\nvt 1 1\n"
      "usemtl red\nf 1/1 2/2 3/1\ng b\nv 0 1 0\nusemtl blue\nf 1/2 3/1 5/2 4/1\n"
    )
    found = meshes.read_mesh(path)
    self.assertEqual(found.vertices.shape, (5, 3))
    self.assertCountEqual(
      map(tuple, found.faces.tolist()), [(0, 1, 2), (0, 2, 4), (4, 3, 0)]
    )

  def test_a_file_of_nothing_says_so(self):
    path = self.directory / "nothing.ply"
    meshes.write_mesh(path, meshes.Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32)))
    with self.assertRaisesRegex(UserError, "nothing.ply: .*it holds no vertices"):
      meshes.read_mesh(path)

  def test_obj_faces_may_count_back_from_the_last_vertex(self):
    path = self.directory / "mesh.obj"
    text = (
      "v 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nvn 0 0 1\nf -3/-1/-1 -2/-1/-1 -1/-1/-1\n"
      "v 0 1 0\nf -4//-1 -2//-1 -1//-1\n"
    )
    path.write_text(text)
    found = meshes.read_mesh(path)
    np.testing.assert_array_equal(found.faces, [(0, 1, 2), (0, 2, 3)])
    np.testing.assert_array_equal(found.vertices[3], (0, 1, 0))
    path.write_text(text + "f -5 -2 -1\n")
    with self.assertRaisesRegex(UserError, "mesh.obj: .*a face of vertex 0"):
      meshes.read_mesh(path)

  @parameterized.parameters(("ply", _PLY), ("ply", _ASCII_PLY[:-4]))
  def test_every_truncation_names_the_file(self, suffix, content):
    path = self.directory / f"mesh.{suffix}"
    for length in range(len(content)):
      path.write_bytes(content[:length])
      with self.assertRaisesRegex(UserError, f"mesh.{suffix}: "):
        meshes.read_mesh(path)

  def test_truncated_off_names_the_file(self):
    path = self.directory / "mesh.off"
    meshes.write_mesh(path, _TETRAHEDRON)
    lines = path.read_text().splitlines(keepends=True)
    for count in range(len(lines)):
      path.write_text("".join(lines[:count]))
      with self.assertRaisesRegex(UserError, "mesh.off: "):
        meshes.read_mesh(path)

  def test_face_of_a_missing_vertex_is_refused(self):
    path = self.directory / "mesh.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nf 1 2 3\n")
    with self.assertRaisesRegex(UserError, "mesh.obj: "):
      meshes.read_mesh(path)

  def test_other_suffix_is_refused(self):
    with self.assertRaisesRegex(UserError, "mesh.stl: meshes are .ply, .obj or .off"):
      meshes.read_mesh(self.directory / "mesh.stl")

  def test_absent_trimesh_names_the_extra(self):
    with (
      mock.patch.dict(sys.modules, {"trimesh": None}),
      self.assertRaisesRegex(UserError, r"jaxvision\[mesh\]"),
    ):
      meshes.read_mesh(self.directory / "mesh.ply")


if __name__ == "__main__":
  absltest.main()
