"""The stand-in body is a closed mesh of SMPL's format."""

import numpy as np
from absl.testing import absltest

from jaxvision.data import smpl, stand_in_bodies


class StandInBodiesTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.made = stand_in_bodies.make()
    cls.model, cls.faces = smpl.from_fields(cls.made.fields, "made")

  def test_it_has_the_fields_of_the_file(self):
    vertices = len(self.model.template)
    self.assertEqual((vertices, len(self.made.selection)), (696, 191))
    self.assertEqual(self.model.shape_directions.shape, (vertices, 3, 10))
    self.assertEqual(self.model.pose_directions.shape, (vertices, 3, 207))
    np.testing.assert_array_equal(self.model.parents[1:], stand_in_bodies.PARENTS[1:])

  def test_weights_and_regressors_are_means(self):
    for rows in (
      self.model.weights,
      self.model.joint_regressor,
      self.made.extra_joints,
      self.made.h36m_joints,
    ):
      np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
      self.assertGreaterEqual(rows.min(), 0)

  def test_left_is_where_x_grows_and_joints_are_where_rings_are(self):
    joints = self.model.joint_regressor @ self.model.template
    np.testing.assert_allclose(joints[20], [0.68, 0.44, 0.0], atol=1e-5)
    np.testing.assert_allclose(joints[21], [-0.68, 0.44, 0.0], atol=1e-5)
    h36m = self.made.h36m_joints @ self.model.template
    np.testing.assert_allclose(h36m[[3, 6, 13, 16]], joints[[7, 8, 20, 21]], atol=1e-5)
    extra = self.made.extra_joints @ self.model.template
    self.assertGreater(extra[0, 2], extra[13, 2])  # the nose before the head
    self.assertGreater(extra[2, 0], extra[1, 0])  # the left eye

  def test_both_meshes_are_closed_and_seen_from_outside(self):
    selected = self.model.template[self.made.selection]
    for vertices, faces in (
      (self.model.template, self.made.faces[0]),
      (selected, self.made.faces[1]),
    ):
      pairs = np.concatenate([faces[:, (0, 1)], faces[:, (1, 2)], faces[:, (2, 0)]])
      there = set(map(tuple, pairs))
      self.assertLen(there, len(pairs))
      self.assertEqual(there, {(b, a) for a, b in there})
      a, b, c = vertices[faces].transpose(1, 0, 2)
      self.assertGreater(np.sum(a * np.cross(b, c)) / 6, 0.04)

  def test_graphs_are_connected(self):
    for (row, column), count in zip(
      self.made.edges, (696, len(self.made.selection)), strict=True
    ):
      reached = np.zeros(count, bool)
      reached[0] = True
      for _ in range(count):
        reached[column[reached[row]]] = True
      self.assertTrue(reached.all())

  def test_up_sampling_keeps_what_was_selected(self):
    row, column, value = self.made.up
    matrix = np.zeros((696, len(self.made.selection)))
    np.add.at(matrix, (row, column), value)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_array_equal(
      matrix[self.made.selection], np.eye(len(self.made.selection))
    )
    template = self.model.template
    back = matrix @ template[self.made.selection]
    error = np.linalg.norm(back - template, axis=1)
    self.assertLess(error.max(), 0.015)
    # Rings of which every second vertex is kept are as they were.
    self.assertGreater(np.mean(error < 1e-6), 0.5)
    joints = self.model.joint_regressor
    np.testing.assert_allclose(joints @ back, joints @ template, atol=1e-6)

  def test_parts_are_where_they_are(self):
    middle = self.model.template[self.faces].mean(axis=1)
    parts = self.made.face_parts
    self.assertEqual(set(parts), set(range(1, 7)))
    names = stand_in_bodies.PARTS
    self.assertGreater(middle[parts == names.index("left arm"), 0].min(), 0)
    self.assertLess(middle[parts == names.index("right leg"), 1].max(), 0)
    self.assertGreater(middle[parts == names.index("head"), 1].min(), 0.5)

  def test_shape_numbers_move_vertices_by_centimetres(self):
    largest = np.linalg.norm(self.model.shape_directions, axis=1).max(axis=0)
    self.assertTrue(np.all((largest > 0.005) & (largest < 0.05)), largest)


if __name__ == "__main__":
  absltest.main()
