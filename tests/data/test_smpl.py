"""SMPL's file: read as its authors write it, refused where it is another's."""

import os
import pathlib
import pickle
import sys
import tempfile
import types
from unittest import mock

import numpy as np
import scipy.sparse
from absl.testing import absltest, parameterized

from jaxvision.data import smpl, stand_in_bodies
from jaxvision.errors import UserError


class Chumpy(types.ModuleType):
  """chumpy.ch and chumpy.reordering, as far as a pickle names them."""

  def __init__(self, name, classes):
    super().__init__(name)
    for kind in classes:
      kind.__module__, kind.__qualname__ = name, kind.__name__
      setattr(self, kind.__name__, kind)


class Ch:
  def __init__(self, **attributes):
    self.__dict__.update(attributes)


class Select:
  def __init__(self, **attributes):
    self.__dict__.update(attributes)


class Acts:
  def __reduce__(self):
    return os.system, ("touch acted",)


def official(fields, wrap=lambda array: array):
  """Returns the bytes of a file such as SMPL's authors write."""
  modules = {
    "chumpy": types.ModuleType("chumpy"),
    "chumpy.ch": Chumpy("chumpy.ch", [Ch]),
    "chumpy.reordering": Chumpy("chumpy.reordering", [Select]),
  }
  tree = {
    **fields,
    "J_regressor": scipy.sparse.csc_matrix(fields["J_regressor"]),
    "shapedirs": wrap(fields["shapedirs"]),
    "bs_style": "lbs",
    "bs_type": "lrotmin",
    "f": fields["f"].astype(np.uint32),
  }
  with mock.patch.dict(sys.modules, modules):
    return pickle.dumps(tree, protocol=2)


def view(array):
  """Returns a chumpy view of the first ten shapes of a larger array."""
  larger = np.concatenate([array, np.ones_like(array)], axis=-1)
  places = np.arange(larger.size).reshape(larger.shape)[..., : array.shape[-1]]
  return Select(
    a=Ch(x=larger), idxs=places.reshape(-1), preferred_shape=tuple(array.shape)
  )


class SmplTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.fields = stand_in_bodies.make().fields

  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(folder) / "body.pkl"

  def read(self, content):
    self.path.write_bytes(content)
    return smpl.read(self.path)

  @parameterized.named_parameters(
    ("plain", lambda array: array),
    ("chumpy", lambda array: Ch(x=array)),
    ("chumpy's view", view),
  )
  def test_a_file_as_its_authors_write_it(self, wrap):
    model, faces = self.read(official(self.fields, wrap))
    for ours, theirs in (
      ("template", "v_template"),
      ("shape_directions", "shapedirs"),
      ("pose_directions", "posedirs"),
      ("joint_regressor", "J_regressor"),
      ("weights", "weights"),
    ):
      np.testing.assert_allclose(getattr(model, ours), self.fields[theirs], atol=1e-6)
    np.testing.assert_array_equal(faces, self.fields["f"])
    np.testing.assert_array_equal(model.parents, np.maximum(stand_in_bodies.PARENTS, 0))

  def test_a_pickle_that_would_act_is_refused_and_does_not(self):
    for tree in (Acts(), {**self.fields, "shapedirs": Acts()}):
      with self.assertRaisesRegex(UserError, "body.pkl: names the global .*system"):
        self.read(pickle.dumps(tree, protocol=2))
    self.assertFalse(pathlib.Path("acted").exists())

  @parameterized.named_parameters(
    ("other", {"weights": np.ones((3, 2))}, "lacks v_template"),
    ("posedirs", {"posedirs": np.zeros((696, 3, 9))}, "posedirs has shape"),
    ("faces", {"f": np.full((2, 3), 700)}, "a face names vertex 700 of 696"),
    ("shapes", {"shapedirs": np.zeros((696, 3, 4))}, "has 4 shapes, not 10"),
  )
  def test_other_bodies_are_refused(self, changes, message):
    fields = changes if "weights" in changes else self.fields | changes
    with self.assertRaisesRegex(UserError, message):
      self.read(pickle.dumps(fields, protocol=2))

  @parameterized.named_parameters(
    ("two roots", (0, 3), "no single root"),
    ("child first", (23, 3), "comes before its parent"),
  )
  def test_skeletons_that_are_no_tree_are_refused(self, change, message):
    table = self.fields["kintree_table"].copy()
    table[0, change[1]] = 2**32 - 1 if change[0] == 0 else change[0]
    with self.assertRaisesRegex(UserError, message):
      self.read(pickle.dumps(self.fields | {"kintree_table": table}, protocol=2))

  def test_damaged_and_missing_files_are_named(self):
    content = official(self.fields)
    with self.assertRaisesRegex(UserError, "body.pkl"):
      self.read(content[: len(content) // 2])
    with self.assertRaisesRegex(UserError, "none.pkl"):
      smpl.read(self.path.with_name("none.pkl"))


if __name__ == "__main__":
  absltest.main()
