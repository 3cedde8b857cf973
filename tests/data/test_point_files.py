"""Tests of the CSV of points."""

import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import point_files
from jaxvision.errors import UserError


class PointFilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder) / "gt.csv"

  def test_what_is_written_is_read(self):
    points = {
      "b, c.png": np.array([(1, 2), (30, 4)]),
      "a.png": np.zeros((0, 2), int),
      "c.png": np.array([(1.5, -2.25)]),
    }
    point_files.write_csv(self.path, points)
    found = point_files.read_csv(self.path)
    self.assertEqual(list(found), list(points))
    for name, pairs in points.items():
      np.testing.assert_array_equal(found[name], pairs)
      self.assertEqual(found[name].shape, pairs.shape)
    self.assertIn('"b, c.png",2,"[(1, 2), (30, 4)]"', self.path.read_text())

  def test_columns_in_any_order_and_numpys_numbers(self):
    self.path.write_text(
      'locations,filename\n"[(np.int64(3), np.float64(4.5)), [5, 6]]",a.png\n,b.png\n'
    )
    found = point_files.read_csv(self.path)
    np.testing.assert_array_equal(found["a.png"], [(3, 4.5), (5, 6)])
    self.assertEqual(found["b.png"].shape, (0, 2))

  @parameterized.parameters(
    ("name,locations\na,[]\n", "lacks the column filename"),
    ("filename,count,locations\na.png,1,[]\n", "line 2: count is 1, but 0 locations"),
    ("filename,count,locations\na.png,x,[]\n", "line 2: count is 'x'"),
    ('filename,locations\na.png,"[(1, 2)]"\nb.png,"[(1, 2"\n', "line 3: locations"),
    ('filename,locations\na.png,"[(1, 2, 3)]"\n', "line 2: locations are no list"),
    ('filename,locations\na.png,"[(1, 2), (3,)]"\n', "line 2: locations are no list"),
    ('filename,locations\na.png,"[(1, 1e999)]"\n', "line 2: a location is not finite"),
    ("filename,locations\na.png,\"__import__('os').abort()\"\n", "no list"),
    ("filename,locations\na.png,[]\na.png,[]\n", "line 3: a.png is named twice"),
    ("filename,locations\n,[]\n", "line 2: no file name"),
    ("", "lacks the column filename and locations"),
  )
  def test_what_is_wrong_is_said(self, text, message):
    self.path.write_text(text)
    with self.assertRaisesRegex(UserError, f"gt.csv: {message}|{message}"):
      point_files.read_csv(self.path)

  def test_other_files_are_told(self):
    with self.assertRaisesRegex(UserError, "none.csv: no such file"):
      point_files.read_csv(self.path.with_name("none.csv"))
    self.path.write_bytes(b"\xff\xfe\x00\x81")
    with self.assertRaisesRegex(UserError, "gt.csv: damaged or not a CSV of points"):
      point_files.read_csv(self.path)


if __name__ == "__main__":
  absltest.main()
