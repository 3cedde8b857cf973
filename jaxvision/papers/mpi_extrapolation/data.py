"""Posed views to train and test on, at one of several sizes and numbers of planes."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import layered_scenes
from jaxvision.errors import UserError
from jaxvision.ops import rigid
from jaxvision.ops.resize import weights
from jaxvision.train import jit_once

Batch = Mapping[str, np.ndarray]

# Divisors of the size with numbers of planes, one of which each step draws (M10).
RESOLUTIONS = (
  (1, 16),
  (2, 32),
  (4, 32),
  (4, 64),
  (4, 128),
  (8, 32),
  (8, 64),
  (8, 128),
)


@dataclasses.dataclass(frozen=True)
class Rig:
  """Cameras that take views of a procedural scene.

  Attributes:
    height, width: of the images; the focal length is the width.
    near, far: depths of the nearest and the farthest plane.
    baseline: between the reference and the source, in the unit of depth.
  """

  height: int
  width: int
  near: float
  far: float
  baseline: float

  @property
  def intrinsics(self) -> np.ndarray:
    center = (self.width - 1) / 2, (self.height - 1) / 2
    focal = self.width
    return np.float32([[focal, 0, center[0]], [0, focal, center[1]], [0, 0, 1]])


def draw_motions(
  seed: int, count: int, rig: Rig, reach: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns poses [N, 4, 4] of sources and of targets, the reference at the origin.

  Args:
    seed: of what is drawn.
    count: N.
    rig: whose baseline is the unit.
    reach: smallest and largest distance of the target, in baselines.
  """
  rng = np.random.default_rng([3, seed])
  twists = np.zeros((2, count, 6))
  twists[0, :, 3] = rng.choice([-1, 1], count)
  twists[1, :, 3] = rng.choice([-1, 1], count) * rng.uniform(*reach, count)
  twists[1, :, 4:] = rng.uniform(-0.4, 0.4, (count, 2))
  twists *= rig.baseline
  twists[:, :, :3] = rng.uniform(-0.01, 0.01, (2, count, 3))
  poses = jit_once(rigid.exp_twist)(twists.astype(np.float32))
  return tuple(np.asarray(poses))


def render_examples(
  seed: int,
  count: int,
  rig: Rig,
  photographs: tuple[str, ...],
  *,
  reach: tuple[float, float],
  cards: int = 5,
) -> dict[str, np.ndarray]:
  """Returns procedural triplets.

  Args:
    seed: of scenes and motions.
    count: N, a scene each.
    rig: the cameras.
    photographs: among the textures.
    reach: of the target, see `draw_motions`.
    cards: in each scene.

  Returns:
    "reference", "target" [N, H, W, 3], "sources" [N, 1, H, W, 3] in [0, 1];
    "reference_pose", "target_pose" [N, 4, 4], "source_poses" [N, 1, 4, 4] from the
    world to the cameras; "intrinsics" [N, 3, 3].
  """
  sources, targets = draw_motions(seed, count, rig, reach)
  still = np.broadcast_to(np.eye(4, dtype=np.float32), sources.shape)
  poses = np.stack([still, sources, targets], axis=1)
  atlas = jnp.asarray(_atlas(photographs))
  keys = jax.random.split(jax.random.key(seed), count)
  view = _renderer(rig, cards)
  images = np.stack(
    [
      [np.asarray(view(key, pose, atlas)) for pose in own]
      for key, own in zip(keys, poses, strict=True)
    ]
  )
  return {
    "reference": images[:, 0],
    "sources": images[:, 1:2],
    "target": images[:, 2],
    "reference_pose": poses[:, 0],
    "source_poses": poses[:, 1:2],
    "target_pose": poses[:, 2],
    "intrinsics": np.broadcast_to(rig.intrinsics, (count, 3, 3)),
  }


_atlas = functools.cache(layered_scenes.photograph_atlas)


@functools.cache
def _renderer(rig: Rig, cards: int):
  @jax.jit
  def view(key, pose, atlas):
    scene = layered_scenes.random_scene(
      key,
      cards=cards,
      near=rig.near,
      far=rig.far,
      pixels=float(rig.width),
      aspect=rig.height / rig.width,
    )
    shape = (rig.height, rig.width)
    return layered_scenes.render(scene, pose, rig.intrinsics, atlas, shape)[0]

  return view


def at_resolution(
  examples: Batch, divisor: int, planes: int, near: float, far: float
) -> dict[str, np.ndarray]:
  """Returns examples of a smaller size, with the depths of their planes.

  Args:
    examples: as `render_examples` returns them.
    divisor: of height and width, rounded down.
    planes: D.
    near, far: depths of the nearest and the farthest plane.

  Returns:
    The same with images averaged, focal lengths and centres divided, and "depths"
    [N, D], the farthest first.

  Source: M1 and M10; the authors' build_train_graph.
  """
  height, width = (n // divisor for n in examples["reference"].shape[1:3])
  scaled = dict(examples)
  if divisor > 1:
    for name in ("reference", "sources", "target"):
      scaled[name] = shrink(examples[name], height, width)
    division = np.float32([[divisor], [divisor], [1]])
    scaled["intrinsics"] = examples["intrinsics"] / division
  depths = 1 / np.linspace(1 / far, 1 / near, planes, dtype=np.float32)
  count = len(examples["reference"])
  return scaled | {"depths": np.broadcast_to(depths, (count, planes))}


def shrink(images: np.ndarray, height: int, width: int) -> np.ndarray:
  """Returns images [..., H, W, C] averaged by area to another size."""
  rows = weights(images.shape[-3], height, "area", "").astype(np.float32)
  columns = weights(images.shape[-2], width, "area", "").astype(np.float32)
  images = np.einsum("oh,...hwc->...owc", rows, images, optimize=True)
  return np.einsum("ow,...hwc->...hoc", columns, images, optimize=True)


def training_batches(
  read: Callable[[np.random.Generator, int], Batch],
  *,
  batch_size: int,
  seed: int,
  resolutions: Sequence[tuple[int, int]],
  near: float,
  far: float,
) -> Callable[[int], Batch]:
  """Returns step -> batch of this process, all of one size and number of planes.

  Which follows from seed and step alone, so that a resumed run sees the same.

  Args:
    read: (generator, count) -> count examples.
    batch_size: examples of a global batch.
    seed: of everything.
    resolutions: (divisor, planes) of which each step draws one.
    near, far: depths of the nearest and the farthest plane.

  Raises:
    UserError: the processes cannot share a batch.
  """
  processes = jax.process_count()
  if batch_size % processes:
    raise UserError(f"{processes} processes cannot share batches of {batch_size}")
  local = batch_size // processes

  def batch(step):
    rng = np.random.default_rng([seed, step])
    divisor, planes = resolutions[rng.integers(len(resolutions))]
    own = np.random.default_rng([seed, step, jax.process_index()])
    return at_resolution(read(own, local), divisor, planes, near, far)

  return batch


def reader(examples: Batch) -> Callable[[np.random.Generator, int], Batch]:
  """Returns what `training_batches` reads of examples in memory."""
  total = len(examples["reference"])

  def read(rng, count):
    chosen = rng.integers(total, size=count)
    return {name: array[chosen] for name, array in examples.items()}

  return read


def batch_shapes(
  batch: int, height: int, width: int, planes: int
) -> dict[str, jax.ShapeDtypeStruct]:
  """Returns the shapes of a batch of two views and a target."""

  def shape(*sizes):
    return jax.ShapeDtypeStruct((batch, *sizes), np.float32)

  return {
    "reference": shape(height, width, 3),
    "sources": shape(1, height, width, 3),
    "target": shape(height, width, 3),
    "reference_pose": shape(4, 4),
    "source_poses": shape(1, 4, 4),
    "target_pose": shape(4, 4),
    "intrinsics": shape(3, 3),
    "depths": shape(planes),
  }
