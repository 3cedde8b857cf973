"""A procedural body in the format of SMPL's file, for where SMPL may not be had.

Tubes of rings stand for torso, head and limbs, at the joints of SMPL's skeleton. It has
everything that SMPL has: blend shapes, skinning weights, regressors of joints, and a
mesh of every second vertex of every second ring with the matrices between the two.
"""

import dataclasses
import itertools

import numpy as np

# SMPL's skeleton: the parent of each joint; the root has none.
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
PARENTS += (20, 21)
SHAPES = 10
PARTS = ("background", "head", "torso", "left arm", "right arm", "left leg")
PARTS += ("right leg",)

_ROUND = {"torso": 10, "leg": 8, "arm": 6}  # vertices of a ring, an even number


@dataclasses.dataclass(frozen=True)
class StandIn:
  """The body and what GraphCMR's other files hold of it; arrays are numpy's.

  Attributes:
    fields: SMPL's: v_template [V, 3], shapedirs [V, 3, 10], posedirs [V, 3, 207],
      J_regressor [24, V], weights [V, 24], f [F, 3], kintree_table [2, 24].
    extra_joints: [14, V] regressor of joints that SMPL has not.
    h36m_joints: [17, V] regressor of Human3.6M's joints.
    faces: of the fine and the coarse mesh, [F, 3] each.
    edges: of both meshes, (row, column) each, in both directions; they bridge the
      limbs and the torso, which no face does.
    selection: [N] the vertices that the coarse mesh keeps.
    up: (row, column, value) of the matrix [V, N] to the fine mesh.
    face_parts: [F] 1 to 6, indices of `PARTS`.
  """

  fields: dict[str, np.ndarray]
  extra_joints: np.ndarray
  h36m_joints: np.ndarray
  faces: tuple[np.ndarray, np.ndarray]
  edges: tuple[tuple[np.ndarray, np.ndarray], ...]
  selection: np.ndarray
  up: tuple[np.ndarray, np.ndarray, np.ndarray]
  face_parts: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Knot:
  """A point of a tube's axis; `intervals` rings lie between it and the next one.

  Attributes:
    joint: at this point, or None.
    place: (x, y, z) in metres.
    radii: half the width and half the depth of the ring.
    intervals: even, so that the coarse mesh keeps the rings at joints.
    bone: the joint that moves the rings up to the next knot.
  """

  joint: int | None
  place: tuple[float, float, float]
  radii: tuple[float, float]
  intervals: int
  bone: int


def make(detail: int = 1, seed: int = 0) -> StandIn:
  """Returns the stand-in body.

  Args:
    detail: multiplies the rings; 1 gives 696 vertices and 191 coarse ones.
    seed: of the pose-dependent changes.
  """
  tubes = [
    _Tube(
      [dataclasses.replace(k, intervals=k.intervals * detail) for k in knots],
      _ROUND[kind.split()[-1]],
      root,
      kind,
    )
    for kind, root, knots in _skeleton()
  ]
  first = 0
  for tube in tubes:
    tube.first = first
    first += len(tube.vertices)
  template = np.concatenate([tube.vertices for tube in tubes])
  count = len(template)

  weights = np.zeros((count, len(PARENTS)))
  joints = np.zeros((len(PARENTS), count))
  for tube in tubes:
    weights[tube.first : tube.first + len(tube.vertices)] = tube.weights
    for joint, ring in tube.joint_rings.items():
      joints[joint, tube.ring(ring)] = 1 / tube.round
  faces = np.concatenate([tube.faces(1) for tube in tubes])
  face_parts = np.concatenate([tube.face_parts() for tube in tubes])
  selection = np.concatenate([tube.kept for tube in tubes])
  coarse_of = np.full(count, -1)
  coarse_of[selection] = np.arange(len(selection))
  coarse_faces = coarse_of[np.concatenate([tube.faces(2) for tube in tubes])]
  bridges = _bridges(tubes, template)
  parent_table = np.array([PARENTS, range(len(PARENTS))], np.int64)
  parent_table[0, 0] = 2**32 - 1
  fields = {
    "v_template": template,
    "shapedirs": _shape_directions(template, weights, joints @ template),
    "posedirs": _pose_directions(template, weights, seed),
    "J_regressor": joints,
    "weights": weights,
    "f": faces,
    "kintree_table": parent_table.astype(np.uint32),
  }
  return StandIn(
    fields=fields,
    extra_joints=_extra_joints(tubes, count),
    h36m_joints=_h36m_joints(tubes, joints, count),
    faces=(faces, coarse_faces),
    edges=(
      _edges(faces, bridges),
      _edges(coarse_faces, coarse_of[bridges]),
    ),
    selection=selection,
    up=_up_sampling(tubes, coarse_of),
    face_parts=face_parts,
  )


def _skeleton():
  """Returns (kind, joint that the tube hangs on, knots) of the five tubes."""
  torso = [
    _Knot(None, (0, -0.13, 0), (0.10, 0.08), 2, 0),
    _Knot(0, (0, 0, 0), (0.16, 0.11), 2, 0),
    _Knot(3, (0, 0.12, 0), (0.14, 0.10), 2, 3),
    _Knot(6, (0, 0.25, 0), (0.15, 0.11), 2, 6),
    _Knot(9, (0, 0.31, 0), (0.17, 0.12), 4, 9),
    _Knot(None, (0, 0.47, 0), (0.10, 0.08), 2, 9),
    _Knot(12, (0, 0.52, 0), (0.055, 0.06), 2, 12),
    _Knot(15, (0, 0.61, 0.01), (0.07, 0.08), 2, 15),
    _Knot(None, (0, 0.72, 0.02), (0.08, 0.10), 2, 15),
    _Knot(None, (0, 0.82, 0.01), (0.045, 0.055), 0, 15),
  ]
  tubes = [("torso", None, torso)]
  for side, (hip, knee, ankle, foot), (collar, shoulder, elbow, wrist, hand) in (
    (1, (1, 4, 7, 10), (13, 16, 18, 20, 22)),
    (-1, (2, 5, 8, 11), (14, 17, 19, 21, 23)),
  ):
    word = "left" if side > 0 else "right"
    leg = [
      _Knot(hip, (side * 0.08, -0.09, 0), (0.085, 0.09), 6, hip),
      _Knot(knee, (side * 0.09, -0.47, 0), (0.055, 0.06), 6, knee),
      _Knot(ankle, (side * 0.09, -0.87, -0.02), (0.035, 0.04), 2, ankle),
      _Knot(foot, (side * 0.10, -0.92, 0.10), (0.045, 0.03), 2, foot),
      _Knot(None, (side * 0.105, -0.93, 0.17), (0.035, 0.018), 0, foot),
    ]
    arm = [
      _Knot(collar, (side * 0.07, 0.42, 0), (0.055, 0.06), 2, collar),
      _Knot(shoulder, (side * 0.17, 0.44, 0), (0.055, 0.06), 6, shoulder),
      _Knot(elbow, (side * 0.43, 0.44, -0.01), (0.038, 0.042), 4, elbow),
      _Knot(wrist, (side * 0.68, 0.44, 0), (0.022, 0.032), 2, wrist),
      _Knot(hand, (side * 0.77, 0.435, 0), (0.018, 0.042), 2, hand),
      _Knot(None, (side * 0.85, 0.43, 0.01), (0.010, 0.028), 0, hand),
    ]
    tubes += [(f"{word} leg", 0, leg), (f"{word} arm", 9, arm)]
  return tubes


class _Tube:
  """Rings along an axis, closed by a vertex at each end.

  Vertices are the first end, the rings one after another, and the last end.
  """

  def __init__(self, knots, vertices_of_ring, root, kind):
    self.round, self.kind, self.first = vertices_of_ring, kind, 0
    places, radii, bones, joints = [], [], [], []
    self.joint_rings = {}
    for knot, end in zip(knots, [*knots[1:], knots[-1]], strict=True):
      if knot.joint is not None:
        self.joint_rings[knot.joint] = len(joints)
      share = np.arange(max(knot.intervals, 1))[:, None] / max(knot.intervals, 1)
      places.append(np.add(knot.place, share * np.subtract(end.place, knot.place)))
      radii.append(np.add(knot.radii, share * np.subtract(end.radii, knot.radii)))
      bones += [knot.bone] * len(share)
      joints += [knot.joint] + [None] * (len(share) - 1)
    places, radii = np.concatenate(places), np.concatenate(radii)
    self.rings = len(places)
    self.vertices = self._surface(places, radii)
    self.weights = self._weights(bones, joints, root)
    rings = 1 + np.arange(0, self.rings, 2)[:, None] * self.round
    rings = rings + np.arange(0, self.round, 2)
    self._kept = np.concatenate([[0], rings.reshape(-1), [len(self.vertices) - 1]])

  @property
  def kept(self):
    return self.first + self._kept

  def ring(self, number, step=1):
    """Returns every `step`-th vertex of a ring."""
    return self.first + 1 + number * self.round + np.arange(0, self.round, step)

  def faces(self, step):
    """Returns the triangles of every `step`-th vertex of every `step`-th ring.

    They are seen from outside.
    """
    rings = [self.ring(r, step) for r in range(0, self.rings, step)]
    triangles = []
    for lower, upper in itertools.pairwise(rings):
      around, above = np.roll(lower, -1), np.roll(upper, -1)
      triangles += [np.stack([lower, around, above], 1)]
      triangles += [np.stack([lower, above, upper], 1)]
    ends = self.first, self.first + len(self.vertices) - 1
    triangles += [self._fan(ends[0], np.roll(rings[0], -1), rings[0])]
    triangles += [self._fan(ends[1], rings[-1], np.roll(rings[-1], -1))]
    return np.concatenate(triangles)

  def face_parts(self):
    """Returns the part of each face of the fine mesh."""
    if self.kind != "torso":
      return np.full(len(self.faces(1)), PARTS.index(self.kind))
    neck = self.vertices[self.ring(self.joint_rings[12]) - self.first, 1].mean()
    heights = self.vertices[self.faces(1) - self.first, 1].mean(axis=1)
    return np.where(heights > neck, PARTS.index("head"), PARTS.index("torso"))

  def _fan(self, end, ring, following):
    return np.stack([np.full(len(ring), end), ring, following], 1)

  def _surface(self, places, radii):
    tangents = np.gradient(places, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    # The ring's first axis lies across the body for upright tubes, up for arms.
    across = np.where(np.abs(tangents[:, :1]) < 0.7, [[1.0, 0, 0]], [[0, 1.0, 0]])
    across -= (across * tangents).sum(1, keepdims=True) * tangents
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(tangents, across)
    angle = 2 * np.pi * np.arange(self.round) / self.round
    circle = (
      np.cos(angle)[:, None] * (radii[:, :1] * across)[:, None]
      + np.sin(angle)[:, None] * (radii[:, 1:] * other)[:, None]
    )
    rings = (places[:, None] + circle).reshape(-1, 3)
    reach = 0.4 * radii.mean(axis=1)
    start = places[0] - reach[0] * tangents[0]
    end = places[-1] + reach[-1] * tangents[-1]
    return np.concatenate([start[None], rings, end[None]])

  def _weights(self, bones, joints, root):
    """Returns weights: a bone's own joint, blended over the rings next to joints."""
    table = np.zeros((self.rings, len(PARENTS)))
    table[np.arange(self.rings), bones] = 1
    for ring, joint in enumerate(joints):
      above = bones[ring - 1] if ring else root
      if joint is None or above is None or above == joint:
        continue
      for offset, own in ((-1, 0.25), (0, 0.5), (1, 0.75)):
        if 0 <= ring + offset < self.rings:
          table[ring + offset] = 0
          table[ring + offset, joint] = own
          table[ring + offset, above] = 1 - own
    each = np.repeat(table, self.round, axis=0)
    return np.concatenate([each[:1], each, each[-1:]])


def _bridges(tubes, template):
  """Returns [E, 2] edges from the limbs' first rings to the nearest kept of the torso.

  They join vertices that the coarse mesh keeps, so that they are edges of both.
  """
  torso = tubes[0].kept
  edges = []
  for limb in tubes[1:]:
    ring = limb.ring(0, 2)
    apart = np.linalg.norm(template[ring][:, None] - template[torso], axis=-1)
    edges.append(np.stack([ring, torso[apart.argmin(axis=1)]], axis=1))
  return np.concatenate(edges)


def _edges(faces, bridges):
  sides = faces[:, (0, 1)], faces[:, (1, 2)], faces[:, (2, 0)]
  pairs = np.concatenate([*sides, bridges])
  pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
  return pairs[:, 0], pairs[:, 1]


def _up_sampling(tubes, coarse_of):
  """Returns the elements of the matrix that interpolates between kept vertices.

  Within a ring it is exact for ellipses, which needs negative weights as SMPL's matrix
  has them; between rings it is linear.
  """
  row, column, value = [], [], []

  def add(rows, ring, around, weight):
    """Adds a ring [round] of rows as that of kept vertices, `around` [round, kept]."""
    kept = coarse_of[ring]
    row.append(np.repeat(rows, len(kept)))
    column.append(np.tile(kept, len(rows)))
    value.append(weight * around.reshape(-1))

  for tube in tubes:
    ends = tube.kept[[0, -1]]
    row.append(ends)
    column.append(coarse_of[ends])
    value.append(np.ones(2))
    around = _around_ring(tube.round)
    for ring in range(tube.rings):
      sources = (ring - 1, ring + 1) if ring % 2 else (ring,)
      for source in sources:
        add(tube.ring(ring), tube.ring(source, 2), around, 1 / len(sources))
  row, column, value = map(np.concatenate, (row, column, value))
  is_there = value != 0
  return row[is_there], column[is_there], value[is_there]


def _around_ring(count):
  """Returns [count, count / 2] weights of every second point of an ellipse."""
  places = np.arange(count)
  weights = np.zeros((count, count // 2))
  weights[places[::2], places[::2] // 2] = 1
  # Halfway between two neighbours lies the point, moved towards the centre.
  moved = np.cos(2 * np.pi / count)
  for neighbour in (places[1::2] - 1, (places[1::2] + 1) % count):
    weights[places[1::2], neighbour // 2] = 0.5 / moved
  weights[1::2] += (1 - 1 / moved) / (count // 2)
  return weights


def _shape_directions(template, weights, joints):
  """Returns [V, 3, 10] smooth changes of 1 to 3 cm for a unit of each number."""
  x, y, z = template.T
  centre = weights @ joints  # close to the axis of each vertex's tube
  outward = template - centre
  outward[:, 1] *= np.abs(x) > 0.2  # of arms too, whose axis lies across
  arms = np.clip((np.abs(x) - 0.15) / 0.7, 0, 1)
  legs = np.clip((-0.09 - y) / 0.8, 0, 1)
  head = np.clip((y - 0.5) / 0.15, 0, 1)
  trunk = np.exp(-np.square((y - 0.2) / 0.25)) * (np.abs(x) < 0.25)
  zero = np.zeros_like(x)
  fields = [
    0.03 * template,  # size
    np.stack([zero, 0.03 * y, zero], 1),  # height
    0.25 * outward * np.array([1, 0, 1]),  # girth
    np.stack([0.03 * arms * np.sign(x), -0.03 * legs, zero], 1),  # length of limbs
    np.stack([0.02 * np.sign(x) * np.clip(np.abs(x) / 0.17, 0, 1)
              * np.clip((y - 0.2) / 0.2, 0, 1), zero, zero], 1),  # shoulders
    np.stack([0.1 * x * trunk, zero, 0.2 * np.maximum(z, 0) * trunk], 1),  # belly
    0.2 * outward * head[:, None],  # head
    np.stack([zero, -0.025 * legs, zero], 1),  # length of legs
    np.stack([0.025 * arms * np.sign(x), zero, zero], 1),  # length of arms
    0.2 * outward * legs[:, None] * np.array([1, 0, 1]),  # girth of legs
  ]  # fmt: skip
  return np.stack(fields, axis=-1)


def _pose_directions(template, weights, seed):
  """Returns [V, 3, 207] small smooth changes, where the joint itself has weight."""
  rng = np.random.default_rng(seed)
  count = 9 * (len(PARENTS) - 1)
  waves = rng.normal(size=(3, 3, count)) * 4
  phases = rng.uniform(0, 2 * np.pi, (3, count))
  smooth = np.sin(np.einsum("vc,cdk->vdk", template, waves) + phases)
  return 1e-3 * smooth * np.repeat(weights[:, 1:], 9, axis=1)[:, None]


def _extra_joints(tubes, count):
  """Returns the regressor of SMPL's rows 24 to 37 as GraphCMR orders them."""
  torso = tubes[0]
  rows = np.zeros((14, count))

  def ring(tube, number):
    return tube.ring(number), 1 / tube.round

  def vertex_of(number, x, z):
    """Returns the vertex of a ring of the head in direction (x, z)."""
    places = torso.ring(number)
    directions = torso.vertices[places - torso.first][:, (0, 2)]
    directions = directions - directions.mean(axis=0)
    return [places[np.argmax(directions @ np.array([x, z]))]], 1.0

  middle = torso.rings - 3  # half of the head
  legs = {tube.kind: tube for tube in tubes if tube.kind.endswith("leg")}
  for row, (places, weight) in enumerate(
    [
      vertex_of(middle - 1, 0, 1),  # nose
      vertex_of(middle, -0.6, 1),  # right eye
      vertex_of(middle, 0.6, 1),  # left eye
      vertex_of(middle, -1, 0),  # right ear
      vertex_of(middle, 1, 0),  # left ear
      ring(legs["right leg"], 0),  # right hip
      ring(legs["left leg"], 0),  # left hip
      ring(torso, torso.joint_rings[12]),  # neck
      ([torso.first + len(torso.vertices) - 1], 1.0),  # top of the head
      ring(torso, torso.joint_rings[0]),  # pelvis
      ring(torso, torso.joint_rings[12] - 2),  # thorax
      ring(torso, torso.joint_rings[6]),  # spine
      ring(torso, torso.joint_rings[15]),  # jaw
      ring(torso, middle),  # head
    ]
  ):
    rows[row, places] = weight
  return rows


def _h36m_joints(tubes, joints, count):
  """Returns the regressor of Human3.6M's 17 joints as GraphCMR orders them."""
  extra = _extra_joints(tubes, count)
  neck, spine, jaw, head = extra[10], extra[11], extra[12], extra[13]
  order = [0, 1, 4, 7, 2, 5, 8]
  arms = [16, 18, 20, 17, 19, 21]
  return np.stack([*joints[order], spine, neck, jaw, head, *joints[arms]])
