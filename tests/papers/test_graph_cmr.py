"""Networks, cameras, losses, metrics and published weights of graph_cmr."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.errors import UserError
from jaxvision.ops import sparse
from jaxvision.papers.graph_cmr import (
  body,
  camera,
  keypoints,
  losses,
  metrics,
  network,
  published,
  readout,
  rendering,
  variants,
)
from jaxvision.papers.graph_cmr.layers import GraphResidualBlock, VertexLinear
from jaxvision.papers.graph_cmr.variants import VARIANTS
from jaxvision.train import jit_once

SMALL = variants.Sizes(
  encoder=0, encoder_widths=(4,), channels=16, layers=1, hidden=(8,), readout=8
)


@functools.cache
def stand_in():
  return body.stand_in()


def draw(*shape, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


class LayersTest(parameterized.TestCase):
  def test_shared_inputs_are_what_copies_of_them_would_be(self):
    x, shared = draw(1, 5, 3), draw(2, 4, seed=1)
    layer = VertexLinear(6)
    variables = layer.init(jax.random.key(0), x, shared)
    copies = jnp.broadcast_to(shared[:, None], (2, 5, 4))
    whole = jnp.concatenate([jnp.broadcast_to(x, (2, 5, 3)), copies], axis=-1)
    np.testing.assert_allclose(
      layer.apply(variables, x, shared), layer.apply(variables, whole), rtol=1e-5
    )
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(variables))
    self.assertBetween(largest, 0.8 / 42, 1 / 42)
    usual = VertexLinear(6, "fan_in").init(jax.random.key(0), x, shared)
    largest = np.abs(usual["params"]["kernel"]).max()
    self.assertBetween(largest, 0.8 / 7**0.5, 1 / 7**0.5)

  @parameterized.parameters((16, 16, False), (16, 32, True))
  def test_a_block_skips_by_a_map_only_where_the_width_changes(self, a, b, has_map):
    x = draw(2, 5, a)
    block = GraphResidualBlock(b)
    variables = block.init(jax.random.key(0), x, sparse.identity(5))
    self.assertEqual("skip" in variables["params"], has_map)
    self.assertEqual(block.apply(variables, x, sparse.identity(5)).shape, (2, 5, b))
    np.testing.assert_allclose(
      block.apply(variables, x, sparse.identity(5)),
      block.apply(variables, x, None),
      atol=1e-5,
    )


class NetworkTest(parameterized.TestCase):
  @parameterized.parameters(*VARIANTS)
  def test_every_variant_gives_meshes_and_cameras(self, name):
    own, _ = stand_in()
    sizes = body.sizes_of(own)
    net = variants.network(VARIANTS[name], SMALL, sizes)
    images = jnp.zeros((2, 32, 32, 3))
    variables = jax.eval_shape(net.init, jax.random.key(0), images, own)
    made = jax.eval_shape(net.apply, variables, images, own)
    self.assertEqual(made.mesh.vertices.shape, (2, 696, 3))
    self.assertEqual(made.mesh.camera.shape, (2, 3))
    self.assertEqual(made.mesh.coarse is None, name == "parameters")
    reads = name in ("graph", "no_neighbours", "parameters")
    self.assertEqual(made.parameters is not None, reads)
    if reads:
      self.assertEqual(made.parameters.rotations.shape, (2, 24, 3, 3))
      self.assertEqual(made.parameters.vertices.shape, (2, 696, 3))
    kinds = "norm_0" in str(variables["params"]["decoder"])
    self.assertEqual(kinds, name in ("graph", "no_neighbours"))

  def test_cameras_may_start_with_a_scale(self):
    own, _ = stand_in()
    images = draw(1, 16, 16, 3)

    def cameras(scale):
      sizes = dataclasses.replace(SMALL, scale=scale)
      net = variants.network(VARIANTS["fc"], sizes, body.sizes_of(own))
      variables = net.init(jax.random.key(0), images, own)
      return net.apply(variables, images, own).mesh.camera

    plain, scaled = jit_once(lambda: (cameras(0.0), cameras(1.0)))()
    np.testing.assert_allclose(scaled - plain, [[1, 0, 0]], atol=1e-6)

  def test_the_small_encoder_says_where_it_sees_something(self):
    own = network.Encoder(0, widths=(4,), code=3)
    images = jnp.zeros((1, 32, 48, 3))
    variables = jax.eval_shape(own.init, jax.random.key(0), images)
    code = jax.eval_shape(own.apply, variables, images)
    self.assertEqual(code.shape, (1, 6))
    shares = jnp.zeros((1, 5, 9, 2)).at[0, 0, 4, 0].set(1).at[0, 4, 2, 1].set(1)
    places = network.mean_places(shares)
    np.testing.assert_allclose(places, [[[-1, 1], [0, -0.5]]], atol=1e-6)

  def test_a_body_without_neighbours_has_the_same_tables(self):
    own, _ = stand_in()
    alone = body.without_neighbours(own)
    self.assertEqual(jax.tree.map(np.shape, alone), jax.tree.map(np.shape, own))
    dense = sparse.to_dense(alone.adjacency)
    np.testing.assert_array_equal(dense, np.eye(len(own.reference)))
    x = draw(len(own.reference), 2)
    pulled = jax.vjp(lambda x: sparse.matmul(alone.adjacency, x), x)[1](x)[0]
    np.testing.assert_array_equal(pulled, x)

  def test_the_papers_network_has_the_papers_sizes(self):
    sizes = body.Sizes()
    own = body.zeros(sizes)
    self.assertEqual(body.sizes_of(own), sizes)
    net = variants.network(VARIANTS["graph"], variants.Sizes(), sizes)
    shapes = jax.eval_shape(
      net.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)), own
    )["params"]
    count = network.count_parameters
    self.assertEqual(count(shapes["encoder"]), 23_508_032)  # ResNet-50 without fc
    reads = 10338 * 1024 + 4 * 1024**2 + 1024 * 226 + 226 + 5 * 3 * 1024
    self.assertEqual(count(shapes["readout"]), reads)
    block = 2 * 256 + 2 * 2 * 128 + 2 * 128 * 256 + 128**2 + 256 + 2 * 128
    first = 2 * 512 + 2 * 2 * 128 + 128 * 512 + 128 * 256 + 128**2 + 256 + 2 * 128
    first += 512 * 256 + 256
    decoder = 2051 * 512 + 512 + first + 5 * block
    for a, b in ((256, 64), (64, 32)):
      half = b // 2
      decoder += 2 * a + 4 * half + a * half + half * b + half**2 + 2 * half + b
      decoder += a * b + b
    decoder += 2 * 32 + 32 * 3 + 3 + 2 * 256 + 256 + 1 + 1723 * 3 + 3
    self.assertEqual(count(shapes["decoder"]), decoder)

  def test_the_readout_sends_no_gradient_to_the_mesh(self):
    own, _ = stand_in()
    reads = dataclasses.replace(
      VARIANTS["fc"], reads=True
    )  # compiled sooner than "graph"
    net = variants.network(reads, SMALL, body.sizes_of(own))
    images = draw(1, 16, 16, 3)
    variables = jit_once(net.init)(jax.random.key(0), images, own)

    @jax.jit
    def gradients(params):
      def loss(params):
        made = net.apply({**variables, "params": params}, images, own)
        return jnp.sum(made.parameters.vertices**2)

      return jax.grad(loss)(params)

    found = gradients(variables["params"])
    for part in ("encoder", "decoder"):
      self.assertTrue(all(np.all(leaf == 0) for leaf in jax.tree.leaves(found[part])))
    leaves = jax.tree.leaves(found["readout"])
    self.assertGreater(max(np.abs(leaf).max() for leaf in leaves), 0)

  def test_a_whitening_kernel_makes_small_differences_count(self):
    rng = np.random.default_rng(0)
    # One direction in which meshes differ by metres, others by millimetres.
    spread = np.full(12, 0.004)
    spread[0] = 2.0
    basis = np.linalg.qr(rng.normal(size=(15, 15)))[0][:12]
    amounts = rng.normal(size=(500, 12))
    meshes = ((amounts * spread) @ basis + 1.0).reshape(500, 5, 3)
    kernel = readout.whitening_kernel(meshes, 40, components=12, floor=1e-4)
    self.assertEqual(kernel.shape, (30, 40))
    by_vertex = kernel.reshape(5, 6, 40)
    self.assertEqual(np.abs(by_vertex[:, 3:]).max(), 0)
    features = meshes.reshape(500, 15) @ by_vertex[:, :3].reshape(15, 40)
    large, *small = np.abs(np.linalg.lstsq(amounts, features - features.mean(0))[0])
    self.assertBetween(np.mean(large) / np.mean(small), 0.5, 2.0)
    self.assertBetween(features.std(axis=0).mean(), 0.7, 1.3)


class CameraTest(absltest.TestCase):
  def test_both_cameras_see_points_of_no_depth_at_the_same_place(self):
    points = draw(2, 4, 3) * jnp.array([1.0, 1.0, 0.0])
    cameras = jnp.array([[0.9, 0.1, -0.2], [1.4, 0.0, 0.3]])
    places = camera.project(points, cameras)
    moved = points + camera.perspective_translation(cameras)[:, None]
    pixels = camera.FOCAL_LENGTH * moved[..., :2] / moved[..., 2:]
    np.testing.assert_allclose(pixels / 112, places, rtol=1e-4)

  def test_a_crops_camera_in_the_whole_picture(self):
    vertices = np.asarray(draw(6, 3))
    own = np.array([0.7, 0.1, -0.3])
    center, side, size = np.array([30.0, 40.0]), 50.0, 100
    whole = rendering.uncropped(own, center, side, size)
    expected = rendering.project(vertices, own, 50) - 25 + center
    found = rendering.project(vertices, whole, size)
    np.testing.assert_allclose(found, expected, atol=1e-4)

  def test_the_nearest_face_is_seen(self):
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    vertices = np.concatenate(
      [np.c_[square, np.full(4, 2.0)], np.c_[square / 2, np.full(4, 1.0)]]
    )
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    seen = rendering.render(vertices, faces, np.array([1.0, 0.0, 0.0]), 32)
    self.assertIn(seen.face[16, 17], (2, 3))
    self.assertIn(seen.face[10, 10], (0, 1))
    self.assertEqual(seen.mask.sum(), 16 * 16)
    np.testing.assert_allclose(seen.normals[16, 16], [0, 0, -1])
    labels = rendering.part_labels(seen, np.array([1, 1, 5, 5]))
    self.assertEqual(np.bincount(labels.ravel()).tolist(), [768, 192, 0, 0, 0, 64])

  def test_meshes_that_are_not_finite_are_not_seen(self):
    vertices = np.full((3, 3), np.nan)
    seen = rendering.render(vertices, np.array([[0, 1, 2]]), np.ones(3), 8)
    self.assertFalse(seen.mask.any())


class LossesTest(absltest.TestCase):
  def test_only_who_has_the_truth_counts(self):
    found, truth = draw(3, 5, 3), draw(3, 5, 3, seed=1)
    expected = np.abs(found[1] - truth[1]).mean()
    has = jnp.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(
      losses.shape_loss(found, truth, has), expected, rtol=1e-6
    )
    for nobody in (jnp.zeros(3), jnp.zeros(3, jnp.int32)):
      value, gradient = jax.value_and_grad(losses.shape_loss)(found, truth, nobody)
      self.assertEqual(value, 0)
      self.assertTrue(np.all(gradient == 0))

  def test_joints_are_compared_about_the_middle_of_the_hips(self):
    truth = jnp.concatenate([draw(2, 24, 3), jnp.ones((2, 24, 1))], axis=-1)
    moved = truth[..., :3] + jnp.array([3.0, -1.0, 2.0])
    loss = losses.joint_loss(moved, truth, jnp.ones(2))
    np.testing.assert_allclose(loss, 0, atol=1e-10)

  def test_unseen_joints_do_not_count_but_stay_in_the_mean(self):
    found = jnp.zeros((1, 24, 2))
    truth = jnp.zeros((1, 24, 3)).at[0, 3].set(jnp.array([0.5, 0.0, 1.0]))
    truth = truth.at[0, 4, :2].set(9.0)
    self.assertAlmostEqual(
      float(losses.keypoint_loss(found, truth)), 0.25 / 48, places=6
    )
    paper = losses.keypoint_loss(found, truth, "absolute")
    self.assertAlmostEqual(float(paper), 0.5 / 48, places=6)


class MetricsTest(absltest.TestCase):
  def test_errors_of_a_moved_mesh(self):
    own, surface = stand_in()
    truth = jnp.asarray(own.model.template)[None]
    moved = truth + jnp.array([0.03, 0.0, 0.04])
    np.testing.assert_allclose(metrics.shape_error(moved, truth), [0.05], rtol=1e-4)
    joints = [metrics.evaluated_joints(v, own.h36m) for v in (1.1 * moved, truth)]
    self.assertGreater(metrics.joint_error(*joints)[0], 0.01)
    np.testing.assert_allclose(metrics.reconstruction_error(*joints), [0], atol=1e-5)
    neighbours = jax.tree.map(jnp.asarray, surface.neighbours)
    rough = metrics.roughness(moved, truth, neighbours)
    np.testing.assert_allclose(rough, [0], atol=1e-6)

  def test_roughness_is_the_mean_length_of_the_laplacian(self):
    rng = np.random.default_rng(0)
    adjacency = rng.random((6, 6)) < 0.5
    adjacency |= adjacency.T | np.eye(6, k=1, dtype=bool) | np.eye(6, k=-1, dtype=bool)
    np.fill_diagonal(adjacency, False)
    means = adjacency + np.eye(6)
    neighbours = sparse.from_dense(means / means.sum(axis=1, keepdims=True))
    error = rng.normal(size=(6, 3))
    own = adjacency / adjacency.sum(axis=1, keepdims=True)
    expected = np.linalg.norm(error - own @ error, axis=1).mean()
    found = metrics.roughness(
      jnp.float32(error)[None], jnp.zeros((1, 6, 3)), neighbours
    )
    np.testing.assert_allclose(found, [expected], rtol=1e-5)

  def test_segmentations_are_taken_together(self):
    measured = metrics.Segmentation(3)
    measured.add(np.array([[0, 1], [1, 2]]), np.array([[0, 1], [0, 255]]))
    measured.add(np.array([[1, 1]]), np.array([[1, 0]]))
    self.assertAlmostEqual(measured.accuracy, 4 / 6)
    # Background: 1 hit, 2 missed, and one found where nothing is labelled: not counted.
    self.assertAlmostEqual(measured.f1, (2 / 4 + 4 / 6) / 2)

  def test_no_pixel_is_no_error(self):
    self.assertEqual(metrics.Segmentation(2).accuracy, 0)


class KeypointsTest(absltest.TestCase):
  def test_mirroring_twice_changes_nothing(self):
    joints = np.asarray(draw(24, 4))
    np.testing.assert_array_equal(keypoints.mirror(keypoints.mirror(joints)), joints)
    pose = np.asarray(draw(72))
    twice = keypoints.mirror_pose(keypoints.mirror_pose(pose))
    np.testing.assert_allclose(twice, pose)

  def test_left_and_right_change_places(self):
    for index, other in enumerate(keypoints.MIRRORED):
      name = keypoints.NAMES[index].replace("left", "?").replace("right", "left")
      self.assertEqual(keypoints.NAMES[other], name.replace("?", "right"))


def checkpoint_shapes(channels=256, layers=5, vertices=1723, hidden=1024):
  """Returns {name: shape} of the authors' checkpoint."""
  encoder = network.Encoder(50)
  variables = jax.eval_shape(
    encoder.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3))
  )
  leaves = {"scale": "weight", "mean": "running_mean", "var": "running_var"}
  shapes = {"resnet.fc.weight": (1000, 2048), "resnet.fc.bias": (1000,)}
  for path, leaf in jax.tree.leaves_with_path(variables):
    *parts, last = [key.key for key in path[2:]]
    name = ".".join(parts).replace("downsample_", "downsample.")
    for stage in range(1, 5):
      name = name.replace(f"layer{stage}_", f"layer{stage}.")
    shape = leaf.shape[::-1] if last == "kernel" else leaf.shape
    if last == "kernel":
      shape = (shape[0], shape[1], *leaf.shape[:2])
    shapes[
      f"resnet.{name}.{leaves.get(last, 'weight' if last == 'kernel' else last)}"
    ] = shape
    if last == "mean":
      shapes[f"resnet.{name}.num_batches_tracked"] = ()

  def linear(name, a, b):
    shapes.update({f"{name}.W": (b, a), f"{name}.b": (b,)})

  def norm(name, width):
    shapes.update({f"{name}.weight": (width,), f"{name}.bias": (width,)})

  def block(name, a, b):
    half = b // 2
    linear(f"{name}.lin1", a, half)
    shapes.update({f"{name}.conv.weight": (half, half), f"{name}.conv.bias": (half,)})
    linear(f"{name}.lin2", half, b)
    linear(f"{name}.skip_conv", a, b)
    for part, width in (("pre_norm", a), ("norm1", half), ("norm2", half)):
      norm(f"{name}.{part}", width)

  linear("gc.0", 2051, 2 * channels)
  for layer in range(layers + 1):
    block(f"gc.{layer + 1}", 2 * channels if layer == 0 else channels, channels)
  block("shape.0", channels, 64)
  block("shape.1", 64, 32)
  norm("shape.2", 32)
  linear("shape.4", 32, 3)
  norm("camera_fc.0", channels)
  linear("camera_fc.2", channels, 1)
  shapes.update({"camera_fc.4.weight": (3, vertices), "camera_fc.4.bias": (3,)})
  whole = {f"graph_cnn.{name}": shape for name, shape in shapes.items()}

  prefix = "smpl_param_regressor.layers"
  for place, number in ((0, 0), (1, 0), (1, 3), (2, 0), (2, 3)):
    inputs = 6 * vertices if place == 0 else hidden
    whole[f"{prefix}.{place}.fc_block.{number}.weight"] = (hidden, inputs)
    whole[f"{prefix}.{place}.fc_block.{number}.bias"] = (hidden,)
    for name in ("weight", "bias", "running_mean", "running_var"):
      whole[f"{prefix}.{place}.fc_block.{number + 1}.{name}"] = (hidden,)
    whole[f"{prefix}.{place}.fc_block.{number + 1}.num_batches_tracked"] = ()
  return whole | {f"{prefix}.3.weight": (226, hidden), f"{prefix}.3.bias": (226,)}


class PublishedTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.weights = {
      name: np.broadcast_to(np.float32(0.5), shape)
      for name, shape in checkpoint_shapes().items()
    }

  def test_every_key_of_the_papers_size_finds_its_place(self):
    loaded = published.whole(self.weights)
    sizes = body.Sizes()
    net = variants.network(VARIANTS["graph"], variants.Sizes(), sizes)
    self.assertEqual(loaded.network, net)
    images = jnp.zeros((1, 224, 224, 3))
    expected = jax.eval_shape(net.init, jax.random.key(0), images, body.zeros(sizes))
    shapes = jax.tree.map(lambda leaf: leaf.shape, expected)
    self.assertEqual(jax.tree.map(np.shape, loaded.variables), dict(shapes))

  def test_keys_left_over_or_missing_are_told(self):
    for name in ("graph_cnn.gc.6.lin3.W", "smpl_param_regressor.layers.3.scale"):
      with self.assertRaisesRegex(UserError, f"never used {name.split('.', 1)[1]}"):
        published.whole(self.weights | {name: np.zeros(3)})
    for name in ("graph_cnn.shape.1.lin2.b", "graph_cnn.resnet.layer3.4.conv2.weight"):
      some = {key: array for key, array in self.weights.items() if key != name}
      with self.assertRaisesRegex(UserError, "lacks|layer3.4.conv2"):
        published.whole(some)

  def test_other_checkpoints_are_refused(self):
    with self.assertRaisesRegex(UserError, "no graph convolutions"):
      published.whole({"features.0.weight": np.zeros((3, 3))})


if __name__ == "__main__":
  absltest.main()
