"""SMPL's body model from the file that its authors distribute, executing nothing.

The file is a pickle of Python 2 with scipy and chumpy objects. It is under a licence of
its own and comes from https://smpl.is.tue.mpg.de; `stand_in_bodies` makes a body of the
same format.
"""

from collections.abc import Mapping

import numpy as np
from etils import epath

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.ops.skinning import BodyModel

_FIELDS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")
_FIELDS += ("kintree_table",)


def read(path: epath.PathLike, shapes: int = 10) -> tuple[BodyModel, np.ndarray]:
  """Reads a body model (basicModel_neutral_lbs_10_207_0_v1.0.0.pkl and the like).

  Args:
    path: the pickle.
    shapes: how many of the shape numbers are kept.

  Returns:
    the model, with float32 arrays, and its faces [F, 3] int32.

  Raises:
    UserError: a missing or damaged file, a pickle of something else, or one that would
      run code; names the file.
  """
  return from_fields(published.load(path), str(path), shapes)


def from_fields(
  fields: Mapping[str, np.ndarray], name: str, shapes: int = 10
) -> tuple[BodyModel, np.ndarray]:
  """Returns the model of arrays as the file names them; see `read`.

  Args:
    fields: sparse matrices as `published.load` gives them, or dense.
    name: what errors call it.
    shapes: how many of the shape numbers are kept.
  """
  dense = {key: _field(fields, key, name) for key in _FIELDS}
  template, weights = dense["v_template"], dense["weights"]
  if template.ndim != 2 or weights.ndim != 2:
    raise UserError(f"{name}: not a body model: v_template is {template.shape}")
  vertices, joints = len(template), weights.shape[1]
  wanted = {
    "v_template": (vertices, 3),
    "shapedirs": (vertices, 3, None),
    "posedirs": (vertices, 3, 9 * (joints - 1)),
    "J_regressor": (joints, vertices),
    "weights": (vertices, joints),
    "f": (None, 3),
    "kintree_table": (2, joints),
  }
  for key, shape in wanted.items():
    found = dense[key].shape
    if len(found) != len(shape) or any(
      length not in (None, own) for length, own in zip(shape, found, strict=True)
    ):
      raise UserError(f"{name}: {key} has shape {found}, not {shape}: no body model")
  faces = dense["f"].astype(np.int64)
  if faces.size and not 0 <= faces.min() <= faces.max() < vertices:
    raise UserError(f"{name}: a face names vertex {faces.max()} of {vertices}")
  if dense["shapedirs"].shape[2] < shapes:
    raise UserError(f"{name}: has {dense['shapedirs'].shape[2]} shapes, not {shapes}")
  model = BodyModel(
    template=np.asarray(template, np.float32),
    shape_directions=np.asarray(dense["shapedirs"][..., :shapes], np.float32),
    pose_directions=np.asarray(dense["posedirs"], np.float32),
    joint_regressor=np.asarray(dense["J_regressor"], np.float32),
    weights=np.asarray(weights, np.float32),
    parents=_parents(dense["kintree_table"], name),
  )
  return model, faces.astype(np.int32)


def densify(
  fields: Mapping[str, np.ndarray], key: str, dtype: np.typing.DTypeLike = np.float64
) -> np.ndarray | None:
  """Returns a matrix that is stored as its elements (or dense), None if it is not."""
  if key in fields:
    return np.asarray(fields[key])
  if f"{key}.shape" not in fields:
    return None
  dense = np.zeros(tuple(fields[f"{key}.shape"]), dtype)
  np.add.at(dense, (fields[f"{key}.row"], fields[f"{key}.col"]), fields[f"{key}.data"])
  return dense


def _field(fields, key, name):
  array = densify(fields, key)
  if array is None and f"{key}.x" in fields:  # chumpy's array
    array = np.asarray(fields[f"{key}.x"])
  if array is None and f"{key}.a.x" in fields:  # chumpy's view of another array
    chosen = np.asarray(fields[f"{key}.a.x"]).reshape(-1)[fields[f"{key}.idxs"]]
    array = chosen.reshape(tuple(fields[f"{key}.preferred_shape"]))
  if array is None:
    raise UserError(f"{name}: lacks {key}: it is no body model such as SMPL's")
  return array


def _parents(table, name):
  """Returns [K] int32 parents, 0 for the root's, of a table of parents and ids."""
  place = {int(joint): index for index, joint in enumerate(table[1])}
  parents = np.array([place.get(int(parent), -1) for parent in table[0]], np.int32)
  if parents[0] != -1 or np.any(parents[1:] < 0):
    raise UserError(f"{name}: its kintree_table has no single root at the first joint")
  if np.any(parents >= np.arange(len(parents))):
    raise UserError(f"{name}: a joint comes before its parent in its kintree_table")
  parents[0] = 0
  return parents
