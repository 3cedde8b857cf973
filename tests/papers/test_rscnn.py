"""Tests of rscnn: grouping, relations, the convolution and the networks."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.papers.rscnn import (
  augmentation,
  baselines,
  evaluation,
  grouping,
  networks,
  relations,
)
from jaxvision.papers.rscnn.convolution import (
  RelationShapeConv,
  Scales,
  SetAbstraction,
)
from jaxvision.papers.rscnn.training import Model
from jaxvision.train import jit_once

TINY = (Scales(12, (0.6,), (5,), 8), Scales(6, (1.0,), (4,), 12))


def cloud(batch=2, size=32, seed=0):
  points = np.random.default_rng(seed).normal(size=(batch, size, 3))
  return np.float32(points / np.linalg.norm(points, axis=-1, keepdims=True))


class GroupingTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_centroid_comes_first_and_fills_empty_slots(self):
    points = np.float32([[[1, 0, 0], [1, 0, 0], [1.1, 0, 0], [2, 0, 0], [0.9, 0, 0]]])
    query = functools.partial(grouping.neighbourhoods, radius=0.15, count=3)
    found = self.variant(query)(points, np.int32([[0, 3]]))
    # The second point coincides with the first one and is no neighbour.
    np.testing.assert_array_equal(found, [[[0, 2, 4, 0], [3, 3, 3, 3]]])
    group = grouping.gather(points, found)
    np.testing.assert_allclose(group.offsets[0, 0, :, 0], [0, 0.1, -0.1, 0], atol=1e-6)

  def test_points_near_the_origin_are_no_centroids(self):
    points = np.float32([[[1, 0, 0], [0.01, 0, 0], [0, 1, 0], [0, 0, 0.03]]])
    found = np.asarray(grouping.sample_centroids(points, 2))
    np.testing.assert_array_equal(found, [[0, 2]])

  def test_local_frames_turn_with_the_cloud(self):
    points = cloud(1, 20)
    normals = points  # of the unit sphere
    indices = grouping.neighbourhoods(points, np.arange(6)[None], 0.8, 8)
    turn = np.asarray(augmentation.rotation("x", 50) @ augmentation.rotation("z", 20))

    def coordinates(points, normals):
      offsets = grouping.gather(points, indices).offsets
      frames = grouping.local_frames(offsets, normals[:, :6])
      unit = jnp.einsum("bmij,bmkj->bmik", frames, frames)
      np.testing.assert_allclose(
        unit, np.broadcast_to(np.eye(3), unit.shape), atol=1e-5
      )
      np.testing.assert_allclose(np.linalg.det(frames), 1.0, atol=1e-5)
      return grouping.to_frames(offsets, frames)

    before, after = (
      coordinates(points, normals),
      coordinates(points @ turn.T, points @ turn.T),
    )
    np.testing.assert_allclose(after, before, atol=1e-5)
    # The farthest neighbour lies in the plane of x and z.
    far = np.argmax(np.sum(np.square(before), axis=-1), axis=-1)[..., None, None]
    np.testing.assert_allclose(
      np.take_along_axis(np.asarray(before), far, axis=2)[..., 1], 0, atol=1e-5
    )

  def test_a_lone_centroid_has_finite_coordinates(self):
    offsets = jnp.zeros((1, 1, 3, 3))
    frames = grouping.local_frames(offsets, jnp.array([[[0.0, 0, 1]]]))
    np.testing.assert_array_equal(grouping.to_frames(offsets, frames), offsets)


class RelationTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.points = jnp.array([[[1.0, 2, 3], [1, 2, 5], [4, 6, 3]]])
    self.offsets = self.points - self.points[:, :1]

  @parameterized.parameters(
    ("released", [5, 0, 0, 0, 3, 4, 0, 3, 4, 0]),
    ("paper", [5, 1, 2, 3, 4, 6, 3, 3, 4, 0]),
    ("distance", [5]),
    ("offset", [5, 3, 4, 0]),
    ("planar_xy", [5, 0, 0, 0, 3, 4, 0, 3, 4, 0]),
    ("planar_xz", [3, 0, 0, 0, 3, 0, 0, 3, 0, 0]),
    ("planar_yz", [4, 0, 0, 0, 0, 4, 0, 0, 4, 0]),
  )
  def test_channels_are_the_specifications(self, kind, expected):
    found = relations.relation(kind, self.points, self.offsets)
    self.assertEqual(found.shape[-1], relations.RELATIONS[kind])
    np.testing.assert_allclose(found[0, 2], expected, atol=1e-6)

  def test_normals(self):
    normals = jnp.array([[[1.0, 0, 0], [0, 1, 0], [0.6, 0.8, 0]]])
    found = relations.relation("normals", self.points, self.offsets, normals)
    np.testing.assert_allclose(found[0, 2], [0.6, 1, 0, 0, 0.6, 0.8, 0], atol=1e-6)
    with self.assertRaisesRegex(ValueError, "needs normals"):
      relations.relation("normals", self.points, self.offsets)
    with self.assertRaisesRegex(ValueError, "is none of released"):
      relations.relation("angles", self.points, self.offsets)

  def test_gradient_at_the_centroid_is_finite(self):
    grad = jax.grad(lambda x: jnp.sum(relations.safe_norm(x)))(self.offsets)
    np.testing.assert_allclose(grad[0, 0], 0)
    np.testing.assert_allclose(grad[0, 2], [0.6, 0.8, 0], atol=1e-6)


def initial(layer):
  """Returns random variables of a first layer, and a cloud for it."""
  init = functools.partial(layer.init, train=False)
  return jit_once(init)(jax.random.key(0), cloud(), None), cloud()


def apply(layer):
  def run(variables, points, key):
    rngs = None if key is None else {"permutation": key}
    return layer.apply(variables, points, None, train=False, rngs=rngs)

  return run


class ConvolutionTest(parameterized.TestCase):
  def test_is_its_formula(self):
    rng = np.random.default_rng(0)
    h, f = rng.normal(size=(1, 2, 5, 10)), rng.normal(size=(1, 2, 5, 6))
    conv = RelationShapeConv(8, first=False, norm=False)
    groups = [(jnp.float32(h), jnp.float32(f))]
    variables = conv.init(jax.random.key(0), groups, train=False)
    variables = jax.tree.map(
      lambda leaf: np.float32(rng.normal(size=leaf.shape)), variables
    )
    found = conv.apply(variables, groups, train=False)
    p = variables["params"]

    def linear(name, x):
      return x @ p[name]["kernel"] + p[name]["bias"]

    weights = linear("mapping1", np.maximum(linear("mapping0", h), 0))
    pooled = np.max(np.maximum(weights * f, 0), axis=2)
    expected = np.maximum(linear("channel_raising", pooled), 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    self.assertEqual(p["mapping0"]["kernel"].shape, (10, 2))  # a quarter of 8

  @parameterized.parameters("average", "sum")
  def test_other_aggregations(self, aggregation):
    conv = RelationShapeConv(4, first=True, aggregation=aggregation, norm=False)
    h, f = jnp.ones((1, 1, 3, 10)), jnp.ones((1, 1, 3, 3))
    variables = conv.init(jax.random.key(0), [(h, f)], train=False)
    one = conv.apply(variables, [(h[:, :, :1], f[:, :, :1])], train=False)
    three = conv.apply(variables, [(h, f)], train=False)
    if aggregation == "average":
      np.testing.assert_allclose(three, one, rtol=1e-5)
    else:  # the bias of raising is 0 at first
      np.testing.assert_allclose(three, 3 * one, rtol=1e-5)

  def test_scales_share_maps_and_not_norms(self):
    layer = SetAbstraction(Scales(5, (0.4, 0.9), (3, 6), 8), first=True)
    points, features, _ = jax.eval_shape(apply(layer), *initial(layer), None)
    variables, _ = initial(layer)
    names = set(variables["params"]["conv"])
    self.assertEqual(
      {name for name in names if "norm" not in name},
      {"mapping0", "mapping1", "xyz_raising", "channel_raising"},
    )
    self.assertLen({name for name in names if "norm" in name}, 8)
    self.assertEqual((points.shape, features.shape), ((2, 5, 3), (2, 5, 16)))

  def test_permutation_moves_points_and_features_together(self):
    layer = SetAbstraction(TINY[0], first=True, permute=True)
    variables, points = initial(layer)
    run = jax.jit(apply(layer))
    plain = run(variables, points, None)
    mixed = run(variables, points, jax.random.key(1))
    self.assertGreater(float(jnp.max(jnp.abs(mixed[0] - plain[0]))), 0.1)
    for one in range(2):
      nearest = np.argmin(
        np.linalg.norm(mixed[0][one][:, None] - plain[0][one][None], axis=-1), axis=1
      )
      self.assertCountEqual(nearest, range(12))
      np.testing.assert_allclose(mixed[1][one], plain[1][one][nearest], atol=1e-6)

  def test_scales_that_do_not_fit_are_refused(self):
    with self.assertRaisesRegex(ValueError, "2 radii, 1 counts"):
      Scales(8, (0.1, 0.2), (4,), 8)
    with self.assertRaisesRegex(ValueError, "needs normals"):
      SetAbstraction(TINY[0], local_frames=True).init(
        jax.random.key(0), cloud(), None, train=False
      )


class NetworksTest(parameterized.TestCase):
  def shapes(self, network, *inputs):
    shapes = jax.eval_shape(
      lambda key, *inputs: network.init_with_output(key, *inputs),
      jax.random.key(0),
      *inputs,
    )
    output, variables = shapes
    return output.shape, sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))

  def test_papers_classifier(self):
    # The released state_dict has 32 more, of a norm that nothing uses.
    points = jax.ShapeDtypeStruct((2, 1024, 3), jnp.float32)
    self.assertEqual(self.shapes(networks.Classifier(), points), ((2, 40), 1_289_473))

  def test_papers_segmenter(self):
    # The released state_dict has 288 more, of norms that nothing uses.
    points = jax.ShapeDtypeStruct((2, 2048, 3), jnp.float32)
    category = jax.ShapeDtypeStruct((2, 16), jnp.float32)
    self.assertEqual(
      self.shapes(networks.PointLabeller(), points, category),
      ((2, 2048, 50), 3_488_417),
    )
    normals = networks.PointLabeller(3, 0)
    self.assertEqual(self.shapes(normals, points)[0], (2, 2048, 3))

  def test_pointnets(self):
    points = jax.ShapeDtypeStruct((2, 99, 3), jnp.float32)
    category = jax.ShapeDtypeStruct((2, 16), jnp.float32)
    shape, count = self.shapes(baselines.PointNetClassifier(), points)
    self.assertEqual((shape, count), ((2, 40), 817_512))
    shape, _ = self.shapes(baselines.PointNetLabeller(), points, category)
    self.assertEqual(shape, (2, 99, 50))

  def test_category_must_be_given_where_it_is_asked_for(self):
    points = jax.ShapeDtypeStruct((1, 32, 3), jnp.float32)
    with self.assertRaisesRegex(ValueError, "16 categories"):
      self.shapes(networks.PointLabeller(layers=TINY), points)

  def test_set_abstractions_see_neither_place_nor_order(self):
    network = networks.Classifier(5, TINY, 16, (8,))
    variables = jit_once(network.init)(jax.random.key(0), cloud())
    model = Model(network, "classification")
    found = evaluation.invariances(model, variables, cloud(), jax.random.key(1))
    self.assertLess(max(found.values()), 1e-5)
    # The paper's own formula sees the place.
    other = dataclasses.replace(model, network=network.clone(relation="paper"))
    found = evaluation.invariances(other, variables, cloud(), jax.random.key(1))
    self.assertGreater(found["translation"], 1e-3)

  def test_local_frames_make_logits_blind_to_rotation(self):
    points = cloud(2, 40)
    turn = augmentation.rotation("x", 90) @ augmentation.rotation("y", 33)
    differences = {}
    for local in (True, False):
      network = networks.Classifier(
        5, TINY, 16, (8,), relation="distance", local_frames=local
      )
      variables = jit_once(network.init)(jax.random.key(0), points, points)
      run = jax.jit(network.apply)
      before = run(variables, points, points)
      after = run(variables, points @ turn.T, points @ turn.T)
      differences[local] = float(jnp.max(jnp.abs(before - after)))
    self.assertLess(differences[True], 1e-4)
    self.assertGreater(differences[False], 1e-2)


if __name__ == "__main__":
  absltest.main()
