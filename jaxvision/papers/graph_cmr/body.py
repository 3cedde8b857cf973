"""The body's mesh as network and losses need it: from files, or the stand-in (M2, M7).

`read` takes a directory with SMPL's own file and those of the authors' repository:

  basicModel_neutral_lbs_10_207_0_v1.0.0.pkl   from https://smpl.is.tue.mpg.de
  mesh_downsampling.npz  J_regressor_extra.npy  J_regressor_h36m.npy
  vertex_texture.npy  cube_parts.npy           where parts are rendered
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxvision import published
from jaxvision.data import smpl, stand_in_bodies
from jaxvision.errors import UserError
from jaxvision.nn.graph_convolution import normalized_adjacency
from jaxvision.ops import skinning, sparse
from jaxvision.papers.graph_cmr import keypoints

SMPL_FILE = "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl"
MESH_FILE = "mesh_downsampling.npz"
EXTRA_FILE, H36M_FILE = "J_regressor_extra.npy", "J_regressor_h36m.npy"
TEXTURE_FILE, PARTS_FILE = "vertex_texture.npy", "cube_parts.npy"
NUM_PARTS = 7  # with the background


class Body(NamedTuple):
  """What is fixed of the body: V vertices, of which the network moves N.

  Attributes:
    model: SMPL or its stand-in.
    keypoints: [24, V] regressor of the joints of `keypoints.NAMES`.
    h36m: [17, V] regressor of Human3.6M's joints.
    reference: [N, 3] the template, in [-1, 1].
    adjacency: [N, N] mean over neighbours and the vertex itself.
    up: [V, N] interpolation to all vertices.
    down: [N, V] selection of the network's vertices.
  """

  model: skinning.BodyModel
  keypoints: chex.Array
  h36m: chex.Array
  reference: chex.Array
  adjacency: sparse.SparseMatrix
  up: sparse.SparseMatrix
  down: sparse.SparseMatrix


@dataclasses.dataclass(frozen=True)
class Surface:
  """What pictures and metrics need of the mesh, on the host.

  Attributes:
    faces: [F, 3] of all V vertices.
    coarse_faces: [G, 3] of the network's N.
    parts: [F] 1 to 6 of each face, or None where the files are not there.
    neighbours: [V, V] mean over each vertex's neighbours and itself.
  """

  faces: np.ndarray
  coarse_faces: np.ndarray
  parts: np.ndarray | None
  neighbours: sparse.SparseMatrix


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of a body; the default ones are SMPL's with the authors' coarse mesh.

  Attributes:
    vertices: V.
    coarse: N.
    joints: of the skeleton.
    shapes: shape numbers.
    neighbours: most vertices that a mean is over.
    up: most vertices that one is interpolated from, and most that one serves.
  """

  vertices: int = 6890
  coarse: int = 1723
  joints: int = 24
  shapes: int = 10
  neighbours: int = 11
  up: tuple[int, int] = (3, 45)


def normalized_reference(template: np.ndarray) -> np.ndarray:
  """Returns the template [V, 3] about its bounding box's centre, within [-1, 1]."""
  centre = (template.max(axis=0) + template.min(axis=0)) / 2
  centred = template - centre
  return centred / np.abs(centred).max()


def stand_in(hops: int = 1) -> tuple[Body, Surface]:
  """Returns the procedural body; hops as `normalized_adjacency` takes them."""
  made = stand_in_bodies.make()
  model, faces = smpl.from_fields(made.fields, "the stand-in body")
  vertices, coarse = len(model.template), len(made.selection)
  selected = np.arange(coarse), made.selection, np.ones(coarse)
  return _assemble(
    model,
    made.extra_joints,
    made.h36m_joints,
    up=sparse.from_elements(*made.up, (vertices, coarse)),
    down=sparse.from_elements(*selected, (coarse, vertices)),
    edges=made.edges,
    faces=(faces, made.faces[1]),
    parts=made.face_parts,
    hops=hops,
  )


def read(directory: epath.PathLike, hops: int = 1) -> tuple[Body, Surface]:
  """Reads SMPL and its meshes from a directory.

  Args:
    directory: holds the files that the module names.
    hops: of the graph's neighbourhoods.

  Raises:
    UserError: files are missing, damaged or of different bodies.
  """
  directory = epath.Path(directory)
  needed = SMPL_FILE, MESH_FILE, EXTRA_FILE, H36M_FILE
  missing = [name for name in needed if not (directory / name).exists()]
  if missing:
    raise UserError(
      f"{directory} lacks {', '.join(missing)}: get SMPL's file from "
      "https://smpl.is.tue.mpg.de, the others from data/ of nkolot/GraphCMR"
    )
  model, faces = smpl.read(directory / SMPL_FILE)
  path = directory / MESH_FILE
  fields = published.load(path)
  up, down = _matrix(fields, "U.0", path), _matrix(fields, "D.0", path)
  edges = [_elements(fields, f"A.{level}", path)[:2] for level in (0, 1)]
  vertices = len(model.template)
  if up.shape[0] != vertices:
    raise UserError(f"{path}: is of a body of {up.shape[0]} vertices, not {vertices}")
  regressors = []
  for name, rows in ((EXTRA_FILE, 14), (H36M_FILE, 17)):
    regressor = published.load(directory / name).get("")
    if regressor is None or regressor.shape != (rows, vertices):
      found = None if regressor is None else regressor.shape
      raise UserError(
        f"{directory / name}: holds {found} instead of {(rows, vertices)}"
      )
    regressors.append(regressor)
  parts = None
  if (directory / TEXTURE_FILE).exists() and (directory / PARTS_FILE).exists():
    parts = face_parts(
      published.load(directory / TEXTURE_FILE).get(""),
      published.load(directory / PARTS_FILE).get(""),
    )
  return _assemble(
    model,
    *regressors,
    up=up,
    down=down,
    edges=edges,
    faces=(faces, _array(fields, "F.1", path).astype(np.int32)),
    parts=parts,
    hops=hops,
  )


def face_parts(texture: np.ndarray, cube: np.ndarray) -> np.ndarray:
  """Returns the part, 1 to 6, of each face.

  Args:
    texture: [1, F, T, T, T, 3] colour of each face, in [0, 1].
    cube: [I, J, K] part of a colour, looked up at 100 times its value.
  """
  if texture is None or texture.ndim != 6 or cube is None or cube.ndim != 3:
    raise UserError(f"{TEXTURE_FILE} or {PARTS_FILE} does not hold what it should")
  color = texture[0].reshape(texture.shape[1], -1, 3).mean(axis=1)
  place = np.clip(np.floor(100 * color).astype(int), 0, np.array(cube.shape) - 1)
  return cube[tuple(place.T)].astype(np.int32)


def zeros(sizes: Sizes) -> Body:
  """Returns a body of these sizes without contents, for who needs only shapes."""
  v, n, j = sizes.vertices, sizes.coarse, sizes.joints

  def matrix(rows, columns, width, other):
    return sparse.SparseMatrix(
      *(
        sparse.Rows(jnp.zeros((length, w), jnp.int32), jnp.zeros((length, w)))
        for length, w in ((rows, width), (columns, other))
      )
    )

  return Body(
    model=skinning.BodyModel(
      template=jnp.zeros((v, 3)),
      shape_directions=jnp.zeros((v, 3, sizes.shapes)),
      pose_directions=jnp.zeros((v, 3, 9 * (j - 1))),
      joint_regressor=jnp.zeros((j, v)),
      weights=jnp.zeros((v, j)),
      parents=jnp.zeros((j,), jnp.int32),
    ),
    keypoints=jnp.zeros((keypoints.COUNT, v)),
    h36m=jnp.zeros((17, v)),
    reference=jnp.zeros((n, 3)),
    adjacency=matrix(n, n, sizes.neighbours, sizes.neighbours),
    up=matrix(v, n, *sizes.up),
    down=matrix(n, v, 1, 1),
  )


def without_neighbours(own: Body) -> Body:
  """Returns a body whose graph has no edges, in tables of the same size."""

  def alone(rows):
    itself = np.arange(len(rows.indices), dtype=np.int32)
    indices, weights = np.zeros_like(rows.indices), np.zeros_like(rows.weights)
    indices[:, 0], weights[:, 0] = itself, 1
    return sparse.Rows(indices, weights)

  rows, transposed = (alone(part) for part in own.adjacency)
  return own._replace(adjacency=sparse.SparseMatrix(rows, transposed))


def coarse(own: Body, vertices: np.ndarray) -> np.ndarray:
  """Returns the network's vertices [B, N, 3] among all [B, V, 3], on the host."""
  return vertices[:, np.asarray(own.down.rows.indices)[:, 0]]


def sizes_of(body: Body) -> Sizes:
  """Returns the sizes of a body."""
  return Sizes(
    vertices=body.model.template.shape[0],
    coarse=body.reference.shape[0],
    joints=body.model.weights.shape[1],
    shapes=body.model.shape_directions.shape[-1],
    neighbours=body.adjacency.rows.indices.shape[1],
    up=(body.up.rows.indices.shape[1], body.up.transposed.indices.shape[1]),
  )


def _assemble(model, extra, h36m, *, up, down, edges, faces, parts, hops):
  joints = np.concatenate([model.joint_regressor, extra])[list(keypoints.FROM_BODY)]
  reference = normalized_reference(np.asarray(model.template, np.float64))
  (fine_row, fine_column), (row, column) = edges
  body = Body(
    model=model,
    keypoints=joints.astype(np.float32),
    h36m=np.asarray(h36m, np.float32),
    reference=np.asarray(
      sparse.matmul(jax.tree.map(jnp.asarray, down), reference.astype(np.float32))
    ),
    adjacency=normalized_adjacency(row, column, down.shape[0], hops=hops),
    up=up,
    down=down,
  )
  fine, coarse = faces
  neighbours = normalized_adjacency(fine_row, fine_column, len(model.template))
  return body, Surface(fine, coarse, parts, neighbours)


def _array(fields: Mapping[str, np.ndarray], key: str, path) -> np.ndarray:
  if key not in fields:
    raise UserError(f"{path}: lacks {key}: it is no mesh_downsampling.npz")
  return fields[key]


def _elements(fields, key, path):
  parts = [_array(fields, f"{key}.{part}", path) for part in ("row", "col", "data")]
  return (*parts, tuple(map(int, _array(fields, f"{key}.shape", path))))


def _matrix(fields, key, path) -> sparse.SparseMatrix:
  try:
    return sparse.from_elements(*_elements(fields, key, path))
  except ValueError as error:
    raise UserError(f"{path}: {key}: {error}") from error
