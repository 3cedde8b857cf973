"""Deformable registration: a graph of nodes, each with a rigid motion of its own.

A point follows the dual-quaternion blend of its nearest nodes. Gauss-Newton solves for
all nodes' twists at once, under a term that keeps neighbours alike (as rigid as
possible), since the paper's supplement with its own is not available.

Source: Section 5.3, Eq. 21; Newcombe et al., DynamicFusion, CVPR 2015.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxvision.ops import dual_quaternion, graph, nearest, rigid
from jaxvision.papers.filterreg import correspondences, registration, twists
from jaxvision.papers.filterreg.correspondences import Mixture


@dataclasses.dataclass(frozen=True)
class Settings:
  """How a deformable model is registered.

  Attributes:
    sigma: σ of the mixture in metres, fixed.
    rigidity: weight of each directed edge of the graph against that of a point.
    max_iterations: of EM.
    inner_iterations: of Gauss-Newton in each M-step.
    tolerance: Gauss-Newton ends when no component of a twist is larger, and so does EM
      when the first step is not.
    mixture: what the E-step assumes.
  """

  sigma: float = 0.02
  rigidity: float = 50.0
  max_iterations: int = 30
  inner_iterations: int = 3
  tolerance: float = 1e-4
  mixture: Mixture = dataclasses.field(default_factory=Mixture)


# Points follow two nodes (`bind`), and each M-step is solved to the end.
PROBREG = Settings(inner_iterations=50)


class NodeGraph(NamedTuple):
  """What moves M points.

  Attributes:
    nodes: [n, 3] at rest.
    edges: [E, 2] int32, directed.
    anchors: [M, k] int32 nodes that each point follows.
    shares: [M, k] their weights, of sum 1.
  """

  nodes: chex.Array
  edges: chex.Array
  anchors: chex.Array
  shares: chex.Array


class Deformation(NamedTuple):
  """A registered deformation; always finite.

  Attributes:
    transforms: [n, 4, 4] of the nodes.
    points: [M, 3] where the model's points are, 0 for what is not finite.
    weights: [M] of the points.
    iterations: of EM, int32.
    is_converged: whether the tolerance was met.
    is_valid: whether any point had weight.
  """

  transforms: chex.Array
  points: chex.Array
  weights: chex.Array
  iterations: chex.Array
  is_converged: chex.Array
  is_valid: chex.Array


def farthest_points(points: chex.Array, count: int) -> chex.Array:
  """Returns [count] int32 indices of points [M, 3] far from each other, 0 first.

  A point that is not finite comes last of all.
  """
  chex.assert_shape(points, (None, 3))
  if not 1 <= count <= points.shape[0]:
    raise ValueError(f"{points.shape[0]} points have no {count} distinct ones")
  exists = jnp.all(jnp.isfinite(points), axis=1)
  points = jnp.where(exists[:, None], points, 0)

  def choose(distances, _):
    index = jnp.argmax(distances)
    new = jnp.sum(jnp.square(points - points[index]), axis=1)
    # A chosen point is not chosen again where all are at one place.
    distances = jnp.minimum(distances, new).at[index].set(-jnp.inf)
    return distances, index

  start = jnp.where(exists, jnp.inf, -1.0)
  return jax.lax.scan(choose, start, length=count)[1].astype(jnp.int32)


def make_graph(
  points: chex.Array, count: int, *, anchors: int = 4, neighbors: int = 6
) -> NodeGraph:
  """Returns a graph of nodes chosen among the model's points [M, 3].

  Args:
    points: [M, 3] at rest.
    count: number n of nodes, more than `neighbors`.
    anchors: nodes that each point follows; probreg has 2.
    neighbors: edges from each node.
  """
  nodes = points[farthest_points(points, count)]
  ends, _ = graph.nearest_neighbors(nodes, neighbors)
  starts = jnp.repeat(jnp.arange(count, dtype=jnp.int32), neighbors)
  edges = jnp.stack([starts, ends.ravel().astype(jnp.int32)], axis=1)
  found, shares = bind(points, nodes, anchors)
  return NodeGraph(nodes, edges, found, shares)


def bind(
  points: chex.Array, nodes: chex.Array, anchors: int, radius: float | None = None
) -> tuple[chex.Array, chex.Array]:
  """Returns the nodes that points follow and their weights exp(-d² / (2 r²)).

  Args:
    points: [M, 3].
    nodes: [n, 3].
    anchors: k, at most n.
    radius: r in metres; the mean distance of a point's k-th node when None.

  Returns:
    [M, k] int32 and [M, k] of sum 1.
  """
  found, distances = nearest.k_nearest(points, nodes, anchors)
  distances = jnp.where(jnp.isfinite(distances), distances, 0.0)
  if radius is None:
    radius = jnp.mean(distances[:, -1])
  radius = jnp.where(radius > 0, radius, 1.0)
  return found, jax.nn.softmax(-0.5 * jnp.square(distances / radius), axis=1)


def deform(model: NodeGraph, transforms: chex.Array, points: chex.Array) -> chex.Array:
  """Returns points [M, 3] moved by the blends of their nodes' [n, 4, 4]."""
  duals = dual_quaternion.from_transform(transforms)[model.anchors]
  blended = dual_quaternion.blend(duals, model.shares)
  moving = dual_quaternion.to_transform(blended)
  return rigid.apply(moving, points[:, None])[:, 0]


def assemble(
  model: NodeGraph,
  transforms: chex.Array,
  points: chex.Array,
  targets: chex.Array,
  weights: chex.Array,
  rigidity: float,
) -> tuple[chex.Array, chex.Array]:
  """Returns the normal equations of all nodes' twists, [6 n, 6 n] and [6 n].

  Args:
    model: the graph.
    transforms: [n, 4, 4] of the nodes.
    points: [M, 3] as they have moved the model's points.
    targets: [M, 3].
    weights: [M].
    rigidity: weight of an edge.
  """
  count, k = model.nodes.shape[0], model.anchors.shape[1]
  pairs = model.anchors[:, :, None] * count + model.anchors[:, None]
  shares = model.shares[:, :, None] * model.shares[:, None]
  often = functools.partial(jnp.repeat, repeats=k * k, axis=0)
  matrix, _ = twists.point_systems(
    often(points),
    often(targets),
    (weights[:, None, None] * shares).ravel(),
    pairs.ravel(),
    count * count,
  )
  often = functools.partial(jnp.repeat, repeats=k, axis=0)
  _, right = twists.point_systems(
    often(points),
    often(targets),
    (weights[:, None] * model.shares).ravel(),
    model.anchors.ravel(),
    count,
  )
  matrix = matrix.reshape(count, count, 6, 6)

  start, end = model.edges[:, 0], model.edges[:, 1]
  rest = model.nodes[start][:, None]
  own = rigid.apply(transforms[start], rest)[:, 0]
  other = rigid.apply(transforms[end], rest)[:, 0]
  one, two = twists.point_jacobian(own), twists.point_jacobian(other)

  def products(left, right):
    return rigidity * jnp.einsum("eai,eaj->eij", left, right, precision="highest")

  across = products(one, two)
  matrix = matrix.at[start, start].add(products(one, one))
  matrix = matrix.at[end, end].add(products(two, two))
  matrix = matrix.at[start, end].add(-across)
  matrix = matrix.at[end, start].add(-jnp.swapaxes(across, 1, 2))
  apart = (own - other)[..., None]
  right = right.at[start].add(products(one, apart)[..., 0])
  right = right.at[end].add(-products(two, apart)[..., 0])
  matrix = matrix.transpose(0, 2, 1, 3).reshape(6 * count, 6 * count)
  return matrix, right.ravel()


@functools.partial(jax.jit, static_argnames="settings")
def solve(
  model: NodeGraph,
  points: chex.Array,
  observation: chex.Array,
  settings: Settings = Settings(),
) -> Deformation:
  """Returns the deformation that explains the observation, from one close to rest.

  Args:
    model: the graph that moves the points.
    points: [M, 3] at rest; rows with NaN or infinities do not count.
    observation: [N, 3], rows as above.
    settings: of EM.

  Raises:
    ValueError: a cloud without points.
  """
  clouds = registration.center_clouds(points, observation)
  chex.assert_equal_shape_prefix([points, model.anchors], 1)
  nodes = jnp.where(jnp.isfinite(model.nodes), model.nodes, 0) - clouds.center
  model = model._replace(nodes=nodes)
  mixture = settings.mixture
  scale = settings.sigma * jnp.array(mixture.aspect, points.dtype)
  values = correspondences.observed_values(clouds.observation, None, mixture)
  seen = clouds.in_observation[:, None]
  prepared = correspondences.prepare(
    jnp.where(seen, clouds.observation / scale, jnp.inf), values, mixture
  )
  count = jnp.sum(clouds.in_observation)

  def maximize(transforms, found):
    def step(state):
      transforms, iteration, first, _ = state
      moved = deform(model, transforms, clouds.model)
      matrix, right = assemble(
        model, transforms, moved, found.targets, found.weights, settings.rigidity
      )
      change = twists.solve_normal(matrix, right)
      steps = twists.twist_transform(change.reshape(-1, 6))
      new = jnp.matmul(steps, transforms, precision="highest")
      new = jnp.where(jnp.all(jnp.isfinite(new)), new, transforms)
      size = jnp.max(jnp.abs(change))
      return new, iteration + 1, jnp.where(iteration == 0, size, first), size

    zero = jnp.zeros((), points.dtype)
    end = jax.lax.while_loop(
      lambda s: (s[1] < settings.inner_iterations) & (s[3] > settings.tolerance),
      step,
      (transforms, jnp.int32(0), zero, zero + jnp.inf),
    )
    return end[0], end[2]

  def iterate(state):
    queries = jnp.where(clouds.in_model[:, None], state.points / scale, jnp.inf)
    filtered = correspondences.sums(prepared, queries, mixture)
    found = correspondences.correspond(
      filtered, jnp.asarray(settings.sigma), mixture, count
    )
    transforms, size = maximize(state.transforms, found)
    return Deformation(
      transforms=transforms,
      points=deform(model, transforms, clouds.model),
      weights=found.weights,
      iterations=state.iterations + 1,
      is_converged=size <= settings.tolerance,
      is_valid=jnp.max(found.weights) > 0,
    )

  rest = jnp.broadcast_to(jnp.eye(4, dtype=points.dtype), (*nodes.shape[:1], 4, 4))
  start = Deformation(
    transforms=rest,
    points=clouds.model,
    weights=jnp.zeros_like(points[:, 0]),
    iterations=jnp.int32(0),
    is_converged=jnp.bool_(False),
    is_valid=jnp.bool_(False),
  )
  end = jax.lax.while_loop(
    lambda s: ~s.is_converged & (s.iterations < settings.max_iterations),
    iterate,
    start,
  )
  transforms = jax.vmap(registration.shift, in_axes=(0, None))(
    end.transforms, -clouds.center
  )
  placed = jnp.where(clouds.in_model[:, None], end.points + clouds.center, 0)
  return end._replace(transforms=transforms, points=placed)
