"""Tests of occupancy_networks: networks, losses, meshes, refinement, weights."""

import dataclasses
import functools
import pathlib
import tempfile

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from jax.test_util import check_grads

from jaxvision.data import archives
from jaxvision.errors import UserError
from jaxvision.papers.occupancy_networks import (
  baselines,
  encoders,
  evaluation,
  generation,
  layers,
  losses,
  model,
  published,
  reconstruction,
  refinement,
  variants,
)
from jaxvision.train import jit_once
from tests.papers.occupancy_networks_small import SIZES

TAU = 0.3
SMALL = dataclasses.replace(SIZES, embeddings=5, points=7, r2n2_widths=(4, 2))


class Ball(nn.Module):
  """A field that is a ball's exactly: logits fall by `slope` a unit."""

  radius: float = 0.31
  slope: float = 20.0

  def decode(self, p, z=None, c=None, *, train=False):
    del z, train
    center = jnp.zeros(3) if c is None else c[:, None]
    distance = jnp.linalg.norm(p - center, axis=-1)
    return self.slope * (self.radius - distance) + generation.logit(TAU)


def randomized(tree, seed=0):
  """Returns variables with no zeros in them, variances positive."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    values = 0.3 * rng.standard_normal(leaf.shape).astype(np.float32)
    return np.abs(values) + 0.5 if "var" in jax.tree_util.keystr(path) else values

  return jax.tree_util.tree_map_with_path(draw, tree)


def euler(vertices, faces):
  edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1), axis=0)
  return len(vertices) - len(edges) + len(faces)


class LayersTest(chex.TestCase):
  @chex.variants(with_jit=True, without_jit=True)
  def test_conditional_norm_by_hand(self):
    layer = layers.ConditionalBatchNorm(2)
    x = np.array([[[1, 2], [3, 2]], [[5, 2], [7, 6]]], np.float32)
    c = np.array([[1.0, 0, 0], [0, 2, 0]], np.float32)
    variables = layer.init(jax.random.key(0), x, c, train=False)
    apply = self.variant(
      functools.partial(layer.apply, train=True, mutable=["batch_stats"])
    )
    mean, deviation = x.mean((0, 1)), x.std((0, 1))
    normalized = (x - mean) / np.sqrt(deviation**2 + 1e-5)
    found, updated = apply(variables, x, c)
    np.testing.assert_allclose(found, normalized, atol=1e-5)  # identity at first
    np.testing.assert_allclose(updated["batch_stats"]["bn"]["mean"], 0.1 * mean)

    gamma = np.arange(6, dtype=np.float32).reshape(3, 2)
    params = {
      "conv_gamma": {"kernel": gamma, "bias": np.array([1.0, 2.0])},
      "conv_beta": {"kernel": -gamma, "bias": np.array([0.5, 0.0])},
    }
    found, _ = apply({**variables, "params": params}, x, c)
    scale = (c @ gamma + [1, 2])[:, None]
    shift = (-c @ gamma + [0.5, 0])[:, None]
    np.testing.assert_allclose(found, scale * normalized + shift, atol=1e-5)

  def test_blocks_begin_as_the_identity(self):
    x = jax.random.normal(jax.random.key(0), (2, 5, 6))
    c = jax.random.normal(jax.random.key(1), (2, 3))
    block = layers.ConditionalResnetBlock()
    variables = jit_once(functools.partial(block.init, train=False))(
      jax.random.key(2), x, c
    )
    found = block.apply(variables, x, c, train=False)
    bias = variables["params"]["fc_1"]["bias"]
    np.testing.assert_allclose(found, x + bias, atol=1e-6)
    self.assertGreater(np.abs(bias).max(), 0)  # the bias is no zero

  def test_initial_weights_are_within_the_fan_in(self):
    layer = layers.linear(16, 64, "fc")
    params = layer.init(jax.random.key(0), jnp.zeros((1, 16)))["params"]
    for leaf in params.values():
      self.assertLessEqual(np.abs(leaf).max(), 0.25)
      self.assertGreater(np.abs(leaf).max(), 0.2)


class LossTest(parameterized.TestCase):
  def test_cross_entropy_is_summed_over_points(self):
    logits = np.array([[0.0, 2.0], [-3.0, 100.0]], np.float32)
    occupancy = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -np.log(np.where(occupancy > 0, p, 1 - p)).sum(axis=1)
    found = losses.reconstruction(logits, occupancy)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

  def test_divergence_is_the_integral(self):
    mean, log_deviation = np.array([[0.7]]), np.array([[-0.4]])
    deviation = np.exp(-0.4)
    x = np.linspace(-12, 12, 200_001)
    density = np.exp(-0.5 * ((x - 0.7) / deviation) ** 2) / deviation
    density /= np.sqrt(2 * np.pi)
    ratio = -0.5 * ((x - 0.7) / deviation) ** 2 - np.log(deviation) + 0.5 * x**2
    expected = np.sum(density * ratio) * (x[1] - x[0])
    found = losses.kl_divergence(mean, log_deviation)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)

  def test_without_latent_codes_there_is_no_divergence(self):
    sizes = variants.Sizes(z_dim=0, simple_hidden=8)
    net = variants.network(variants.VARIANTS["unconditional"], sizes)
    p, inside = jnp.zeros((2, 3, 3)), jnp.ones((2, 3))
    params = net.init(jax.random.key(0), p, None, inside)
    logits, kl = net.apply(params, p, None, inside)
    self.assertEqual(logits.shape, (2, 3))
    np.testing.assert_array_equal(kl, 0.0)


class VariantsTest(parameterized.TestCase):
  @parameterized.parameters(
    # Sums of the sizes of the authors' tensors, as the parity cases list them.
    ("image", 11_307_840 + 2_106_625),
    ("voxels", 5_750_848 + 2_106_625),
    ("unconditional", 182_273 + 116_096),
    ("pointcloud", 6_825_472 + 3_548_417),
    ("representation", 4746 * 512 + 3_548_417),  # the paper's 6M
    ("image_no_cbn", 11_307_840 + 256 * 257 + 1024 + 657_920 + 11 * 512 + 257),
  )
  def test_parameters_of_the_papers_networks(self, name, expected):
    sizes = variants.Sizes()
    net = variants.network(variants.VARIANTS[name], sizes)
    inputs = {
      "image": jnp.zeros((1, 224, 224, 3)),
      "pointcloud": jnp.zeros((1, 300, 3)),
      "voxels": jnp.zeros((1, 32, 32, 32)),
      "unconditional": None,
      "representation": jnp.zeros(1, jnp.int32),
    }[variants.VARIANTS[name].task]
    points, inside = jnp.zeros((1, 1, 3)), jnp.zeros((1, 1))
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), points, inputs, inside))
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
    self.assertEqual(count, expected)

  def test_baselines_and_further_encoders_have_the_authors_shapes(self):
    code = jax.ShapeDtypeStruct((2, 512), np.float32)
    image = jax.ShapeDtypeStruct((2, 127, 127, 3), np.float32)
    large = jax.ShapeDtypeStruct((2, 224, 224, 3), np.float32)
    expected = (
      (baselines.R2N2Decoder(), code, (2, 32, 32, 32)),
      (baselines.PSGNDecoder(), code, (2, 1024, 3)),
      (encoders.R2N2Encoder(), image, (2, 1024)),
      (encoders.ConvEncoder(), large, (2, 128)),
      (encoders.ResnetEncoder(depth=50), large, (2, 256)),
    )
    for net, observed, shape in expected:
      output, _ = jax.eval_shape(
        functools.partial(net.init_with_output, jax.random.key(0)), observed
      )
      self.assertEqual(output.shape, shape, net)
    maps, _ = jax.eval_shape(
      functools.partial(
        encoders.Pixel2MeshEncoder().init_with_output, jax.random.key(0)
      ),
      large,
    )
    self.assertEqual(
      [m.shape[1:] for m in maps],
      [(56, 56, 64), (28, 28, 128), (14, 14, 256), (7, 7, 512)],
    )

  def test_thresholds(self):
    taus = {name: variants.VARIANTS[name].threshold for name in variants.VARIANTS}
    self.assertEqual(taus["image"], 0.2)
    self.assertEqual(taus["representation"], 0.5)
    self.assertEqual(taus["pointcloud_r2n2"], 0.4)

  def test_points_of_a_cloud_have_no_order(self):
    net = encoders.PointNetEncoder(6, 4)
    x = np.random.default_rng(0).normal(size=(1, 9, 3)).astype(np.float32)
    variables = randomized(jax.eval_shape(net.init, jax.random.key(0), x))
    code = net.apply(variables, x)
    np.testing.assert_allclose(net.apply(variables, x[:, ::-1]), code, rtol=1e-4)
    self.assertGreater(np.abs(net.apply(variables, x + 0.1) - code).max(), 1e-3)

  def test_coordinates_tell_mirrored_grids_apart(self):
    grid = np.zeros((1, 8, 8, 8), np.float32)
    grid[0, 1] = 1
    net = encoders.VoxelEncoder(4, (2, 2), coordinates=True)
    shapes = jax.eval_shape(net.init, jax.random.key(0), grid)
    self.assertEqual(shapes["params"]["conv_in"]["kernel"].shape, (3, 3, 3, 4, 2))


class PublishedTest(parameterized.TestCase):
  @parameterized.parameters(
    "pointcloud", "voxels", "unconditional", "representation", "image_r2n2",
    "pointcloud_psgn", "image_no_cbn", "pointcloud_no_resnet",
  )  # fmt: skip
  def test_a_network_comes_back_from_its_checkpoint(self, name):
    net = variants.network(variants.VARIANTS[name], SMALL)
    variables = randomized(_shapes(net, variants.VARIANTS[name]))
    weights = _authors_names(variables)
    found, converted = published.convert(weights)
    self.assertEqual(found, net)
    jax.tree.map(np.testing.assert_array_equal, converted, variables)

  def test_a_whole_checkpoint_file_is_read(self):
    net = variants.network(variants.VARIANTS["pointcloud"], SMALL)
    variables = randomized(_shapes(net, variants.VARIANTS["pointcloud"]))
    weights = _authors_names(variables)
    stored = {f"model.{name}": array for name, array in weights.items()}
    stored |= {"epoch_it": np.array(3), "optimizer.state.0.step": np.array(5)}
    path = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "onet.npz"
    archives.write_npz(path, stored)
    found, converted = reconstruction.load_weights(path, "pointcloud")
    self.assertEqual(found, net)
    jax.tree.map(np.testing.assert_array_equal, converted, variables)
    with self.assertRaisesRegex(UserError, "takes pointcloud inputs, not image"):
      reconstruction.load_weights(path, "image")

  def test_wrong_checkpoints_are_refused(self):
    net = variants.network(variants.VARIANTS["pointcloud"], SMALL)
    weights = _authors_names(randomized(_shapes(net, variants.VARIANTS["pointcloud"])))
    without = {k: v for k, v in weights.items() if k != "encoder.fc_c.bias"}
    with self.assertRaisesRegex(UserError, "lacks encoder.fc_c.bias"):
      published.convert(without)
    with self.assertRaisesRegex(UserError, "never used decoder.more"):
      published.convert(weights | {"decoder.more": np.zeros(3)})
    wrong = weights | {"decoder.block0.fc_0.weight": np.zeros((8, 9, 1))}
    with self.assertRaisesRegex(UserError, "decoder.block0.fc_0.weight has another"):
      published.convert(wrong)
    with self.assertRaisesRegex(UserError, "no decoder"):
      published.convert({"a": np.zeros(3)})


def _shapes(net, variant):
  inputs = {
    "image": jnp.zeros((1, 63, 63, 3)),
    "pointcloud": jnp.zeros((1, 2, 3)),
    "voxels": jnp.zeros((1, 8, 8, 8)),
    "unconditional": None,
    "representation": jnp.zeros(1, jnp.int32),
  }[variant.task]
  if isinstance(net, model.EncoderDecoder):
    return jax.eval_shape(net.init, jax.random.key(0), inputs)
  points, inside = jnp.zeros((1, 2, 3)), jnp.zeros((1, 2))
  return jax.eval_shape(lambda: net.init(jax.random.key(0), points, inputs, inside))


def _authors_names(variables):
  """Returns a state_dict, written down independently of the reader."""
  names = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "mean": "running_mean",
    "var": "running_var",
  }
  weights = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    _, *layer, name = (key.key for key in path)
    key = ".".join([*layer, names.get(name, name)])
    key = key.replace(".embedding.weight", ".weight")
    if name == "kernel" and "convtrp" in key:
      leaf = leaf.transpose(3, 4, 0, 1, 2)
    elif name == "kernel":
      leaf = np.moveaxis(leaf, (-1, -2), (0, 1))
      norms = ("bn", "conv_gamma", "conv_beta", "fc_0", "fc_1", "fc_p", "fc_out")
      if "decoder.bn" in key or ("block" in key and any(n in key for n in norms)):
        leaf = leaf[..., None] if "conv_" in key else leaf
    weights[key] = leaf
  return weights


class GenerationTest(parameterized.TestCase):
  def test_a_ball_is_closed_round_and_faces_outwards(self):
    settings_ = generation.Generation(resolution=8, steps=2, chunk=512)
    center = jnp.array([0.05, -0.1, 0.02])
    surface = generation.generate(
      Ball(), {}, None, center, threshold=TAU, settings=settings_
    )
    radius = np.linalg.norm(surface.vertices - center, axis=1)
    np.testing.assert_allclose(radius, 0.31, atol=2e-3)
    self.assertEqual(euler(surface.vertices, surface.faces), 2)
    volume = np.linalg.det(surface.vertices[surface.faces]).sum() / 6
    self.assertAlmostEqual(volume, 4 / 3 * np.pi * 0.31**3, delta=2e-3)
    self.assertLess(sum(surface.counts), 0.2 * 33**3)

  def test_what_leaves_the_cube_is_closed_at_its_sides(self):
    values = np.full((6, 6, 6), 3.0)
    vertices, faces = generation.surface_of(values, 0.0, half=0.55)
    self.assertEqual(euler(vertices, faces), 2)
    np.testing.assert_allclose(np.abs(vertices).max(axis=0), 0.55, atol=1e-4)
    values[:] = -np.inf
    vertices, faces = generation.surface_of(values, 0.0)
    self.assertEqual((vertices.shape, faces.shape), ((0, 3), (0, 3)))

  def test_empty_fields_give_empty_meshes(self):
    settings_ = generation.Generation(
      resolution=4, steps=1, chunk=128, faces=10, refinement=2
    )
    surface = generation.generate(
      Ball(radius=-9.0), {}, None, None, threshold=TAU, settings=settings_
    )
    self.assertEqual(surface.faces.shape, (0, 3))
    example = {"cloud": np.zeros((4, 3)), "points": np.zeros((4, 3))}
    found = evaluation.measure_mesh(surface.vertices, surface.faces, example)
    self.assertEqual((found["iou"], found["normal_consistency"]), (0.0, -1.0))
    self.assertAlmostEqual(found["chamfer_l1"], 3**0.5)

  def test_normals_point_outwards(self):
    points = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    found = generation.normals_of(Ball(), {}, None, None, points, chunk=4)
    expected = points / np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)

  def test_nan_in_the_network_is_told(self):
    with self.assertRaisesRegex(ValueError, "NaN"):
      generation.generate(
        Ball(), {}, None, jnp.full(3, jnp.nan), threshold=TAU,
        settings=generation.Generation(2, 1, 27),
      )  # fmt: skip


class RefinementTest(absltest.TestCase):
  def ball(self):
    """A coarse mesh of a ball, pushed off the level."""
    settings_ = generation.Generation(resolution=8, steps=1, chunk=1024)
    surface = generation.generate(
      Ball(), {}, None, None, threshold=TAU, settings=settings_
    )
    return surface.vertices * 1.03, surface.faces

  def test_vertices_come_to_the_level(self):
    vertices, faces = self.ball()
    refine = functools.partial(refinement.refine, Ball(), {}, None, None)
    refined = refine(vertices, faces, jax.random.key(0), threshold=TAU, steps=30)
    before, after = (
      evaluation.refinement_error(Ball(), {}, None, v, faces, TAU, count=512)
      for v in (vertices, refined)
    )
    self.assertLess(after, 0.7 * before)
    self.assertLess(np.abs(refined - vertices).max(), 30 * 1.5e-3)

  def test_gradient_is_second_order_in_the_field(self):
    rng = np.random.default_rng(0)
    vertices = jnp.asarray(rng.normal(size=(4, 3)) * 0.3, jnp.float32)
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    barycentric = jnp.asarray(rng.dirichlet([1.0] * 3, 2), jnp.float32)
    weights = jnp.array([0.25, 0.75])

    @jax.jit
    def loss(vertices):
      arguments = (vertices, faces, barycentric, weights, TAU)
      return refinement.loss(Ball(slope=3.0), {}, None, None, *arguments)

    check_grads(loss, (vertices,), 1, modes="rev", atol=1e-2, rtol=1e-2, eps=1e-3)

  def test_loss_of_the_exact_surface_vanishes(self):
    vertices, faces = self.ball()
    vertices = 0.31 * vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    barycentric = np.tile(np.eye(3, dtype=np.float32)[0], (len(faces), 1))
    weights = np.full(len(faces), 1 / len(faces), np.float32)
    arguments = (vertices, faces, barycentric, weights, TAU)
    loss = refinement.loss(Ball(), {}, None, None, *arguments)
    # What is left is the normals' term: faces are flat, the ball is round.
    self.assertLess(loss, 1e-3)
    flipped = (vertices, faces[:, ::-1], barycentric, weights, TAU)
    wrong = refinement.loss(Ball(), {}, None, None, *flipped)
    self.assertGreater(wrong, 0.03)  # 0.01 · |n - t|² with n = -t is 0.04


class EvaluationTest(absltest.TestCase):
  def test_measures_of_a_perfect_and_a_shifted_ball(self):
    settings_ = generation.Generation(resolution=8, steps=2, chunk=512)
    surface = generation.generate(
      Ball(), {}, None, None, threshold=TAU, settings=settings_
    )
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(500, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = rng.uniform(-0.5, 0.5, (500, 3)).astype(np.float32)
    example = {
      "cloud": 0.31 * normals,
      "normals": normals,
      "points": points,
      "occupancies": np.linalg.norm(points, axis=1) < 0.31,
    }
    found = evaluation.measure_mesh(surface.vertices, surface.faces, example)
    self.assertGreater(found["iou"], 0.97)
    self.assertGreater(found["normal_consistency"], 0.97)
    self.assertLess(found["chamfer_l1"], 0.03)
    shifted = surface.vertices + np.array([0.1, 0, 0], np.float32)
    worse = evaluation.measure_mesh(shifted, surface.faces, example)
    self.assertGreater(worse["chamfer_l1"], found["chamfer_l1"] + 0.02)
    self.assertLess(worse["iou"], 0.8)

  def test_thresholds_and_volume(self):
    probability = np.array([[0.1, 0.4, 0.6, 0.9]])
    truth = np.array([[False, False, True, True]])
    curve = evaluation.iou_by_threshold(probability, truth, (0.05, 0.5, 0.95))
    np.testing.assert_allclose(list(curve.values()), [0.5, 1.0, 0.0])
    self.assertEqual(evaluation.volume_ratio(probability, truth, 0.3), 1.5)


if __name__ == "__main__":
  absltest.main()
