"""Tests of cascaded projection: where it acts, what it computes, what it costs."""

import functools

import flax.traverse_util
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from jaxvision.errors import UserError
from jaxvision.nn.resnet import ResNet
from jaxvision.nn.vgg import VGG
from jaxvision.ops import svd
from jaxvision.papers.cascaded_projection import (
  baselines,
  evaluation,
  links,
  models,
  network,
  projection,
)

VGG_SMALL = VGG(3, ((4, 6), (5,)), hidden=(7,), pooled=2, pool_last=False)
BASIC = ResNet(3, "basic", (1, 1), (4, 6), "cifar", norm=False)
BOTTLENECK = ResNet(3, "bottleneck", (1,), (4,), "cifar", norm=False)
IMAGES = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype(np.float32)


@functools.cache
def parameters(model, seed=0):
  """Returns random parameters, biases too."""
  rng = np.random.default_rng(seed)
  shapes = network.shapes_of(model, IMAGES.shape[1:])["params"]

  def draw(leaf):
    fan_in = max(np.prod(leaf.shape[:-1]), 1)
    return jnp.asarray(rng.normal(size=leaf.shape) / np.sqrt(fan_in), jnp.float32)

  return jax.tree.map(draw, shapes)


def random_projections(model, ratio=0.5, seed=0):
  """Returns the links of a model, and an orthonormal P for each."""
  every = links.links_of(model)
  widths = links.widths_of(parameters(model), every)
  ranks = links.ranks(every, widths, ratio)
  return every, projection.random_proxies(jax.random.key(seed), widths, ranks)


def run(model, params, **options):
  return jax.jit(lambda p: network.run(model, p, IMAGES, **options))(params)


class LinksTest(parameterized.TestCase):
  def test_every_layer_of_vgg_feeds_the_next(self):
    every = links.links_of(VGG())
    self.assertLen(every, 13)
    self.assertEqual((every[1].producer, every[1].consumer), ("conv1_2", "conv2_1"))
    self.assertEqual(every[1].tap, links.Tap("conv2_1", relu=True))
    self.assertEqual((every[-1].producer, every[-1].consumer), ("conv5_3", "fc6"))
    self.assertTrue(every[-1].tap.relu)
    cifar = links.links_of(VGG(hidden=(), pooled=1))
    self.assertEqual(cifar[-1].tap, links.Tap("fc8", relu=False))

  @parameterized.parameters(
    ("resnet18", 8), ("resnet50", 32), ("resnet56", 27), ("resnet110", 54)
  )
  def test_residual_blocks_keep_their_outputs_and_skips(self, name, count):
    model = models.NETWORKS[name](10).clone(norm=False)
    every = links.links_of(model)
    self.assertLen(every, count)
    last = "conv3" if model.kind == "bottleneck" else "conv2"
    for link in every:
      self.assertFalse(link.producer.endswith(last))
      self.assertNotIn("downsample", link.producer + link.consumer)
      self.assertEqual(link.tap, links.Tap(link.producer.split("/")[0]))
    rounds = {link.round for link in every}
    self.assertEqual(rounds, {0, 1} if model.kind == "bottleneck" else {0})
    self.assertEqual(
      {link.round for link in every if link.producer.endswith("conv2")}, rounds - {0}
    )

  def test_relaxation_looks_only_where_nothing_is_shortened(self):
    every = links.links_of(VGG_SMALL)
    self.assertEqual([t.path for t in links.final_taps(every[:2])], ["conv2_1"])
    self.assertEqual([t.path for t in links.final_taps(every)], ["fc7"])
    self.assertEqual(
      [t.path for t in links.final_taps(links.links_of(BASIC))],
      ["layer1_0", "layer2_0"],
    )

  def test_normalised_networks_and_wrong_ratios_are_refused(self):
    with self.assertRaisesRegex(ValueError, "fold"):
      links.links_of(VGG(norm=True))
    every = links.links_of(VGG_SMALL)
    for ratio in (0.0, -1.0, 1.5, float("nan")):
      with self.assertRaisesRegex(UserError, f"conv1_1: ratio {ratio}"):
        links.ranks(every, dict.fromkeys(["conv1_1"], 4), ratio)
    widths = {"conv1_1": 4, "conv1_2": 6, "conv2_1": 5}
    self.assertEqual(list(links.ranks(every, widths, 0.01).values()), [1, 1, 1])


class NetworkTest(parameterized.TestCase):
  def test_compressed_pair_is_equation_8(self):
    """Projected by P before the ReLU, pulled back by P^T in the next kernel."""
    model = VGG(3, ((4, 6),), hidden=(), pooled=1, pool_last=False)
    params = parameters(model)
    every, projections = random_projections(model)
    p = projections["conv1_1"]
    first, second = params["conv1_1"], params["conv1_2"]

    def conv(x, kernel):
      dimensions = ("NHWC", "HWIO", "NHWC")
      return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=dimensions
      )

    relu = jax.nn.relu
    projected = relu((conv(IMAGES, first["kernel"]) + first["bias"]) @ p)
    # The channels are spread again by P^T and meet the second kernel as it was: the
    # same thing, written without projecting any kernel.
    expected = relu(conv(projected @ p.T, second["kernel"]) + second["bias"])
    tap = every[0].tap
    _, seen = run(
      model, params, links=every[:1], projections={"conv1_1": p}, taps=[tap]
    )
    np.testing.assert_allclose(seen[tap], expected, rtol=1e-4, atol=1e-5)
    outputs = conv(IMAGES, first["kernel"]) + first["bias"]
    factorised = relu(conv(relu(outputs @ p @ p.T), second["kernel"]) + second["bias"])
    self.assertGreater(float(jnp.max(jnp.abs(factorised - expected))), 1e-2)
    re_projected = baselines.factorise(params, every[:1], {"conv1_1": p})
    _, seen = run(model, re_projected, taps=[tap])
    np.testing.assert_allclose(seen[tap], factorised, rtol=1e-4, atol=1e-5)

  @parameterized.named_parameters(
    ("vgg", VGG_SMALL), ("basic", BASIC), ("bottleneck", BOTTLENECK)
  )
  def test_baked_network_is_the_projected_one(self, model):
    params = parameters(model)
    every, projections = random_projections(model)
    expected, _ = run(model, params, links=every, projections=projections)
    baked = projection.bake(params, every, projections)
    logits, _ = run(model, baked)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    # It really is smaller, and of no layer but the linked ones.
    flat = flax.traverse_util.flatten_dict(baked, sep="/")
    whole = flax.traverse_util.flatten_dict(params, sep="/")
    changed = {
      name.rpartition("/")[0] for name in flat if flat[name].size < whole[name].size
    }
    self.assertEqual(changed, set(projection.compressed_layers(every)))
    for link in every:
      last = f"{link.consumer}/bias"
      if link.consumer not in projections:
        np.testing.assert_array_equal(flat[last], whole[last])
    for name in set(flat) - {n for n in flat if n.rpartition("/")[0] in changed}:
      np.testing.assert_array_equal(flat[name], whole[name])

  def test_without_projections_it_is_the_module_itself(self):
    for model in (VGG_SMALL, BOTTLENECK):
      params = parameters(model)
      expected = jax.jit(model.apply)({"params": params}, IMAGES)
      np.testing.assert_allclose(run(model, params)[0], expected, rtol=1e-5, atol=1e-6)

  def test_square_permutations_change_nothing_but_rotations_do(self):
    params = parameters(BASIC)
    every = links.links_of(BASIC)
    expected, _ = run(BASIC, params)
    turned = {"layer1_0/conv1": jnp.eye(4)[::-1]}
    logits, _ = run(BASIC, projection.bake(params, every, turned))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    rotated = {
      "layer1_0/conv1": svd.random_orthonormal(jax.random.key(0), 4, 4)
    }  # ReLU does not commute with it
    logits, _ = run(BASIC, projection.bake(params, every, rotated))
    self.assertGreater(float(jnp.max(jnp.abs(logits - expected))), 1e-3)

  @hypothesis.given(st.integers(1, 4), st.integers(0, 50))
  @hypothesis.settings(max_examples=10, deadline=None)
  def test_projections_of_kernels_are_sums_over_channels(self, rank, seed):
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(3, 3, 4, 4)).astype(np.float32)
    p = np.linalg.qr(rng.normal(size=(4, rank)))[0].astype(np.float32)
    np.testing.assert_allclose(
      network.project_outputs(kernel, p),
      np.einsum("hwao,os->hwas", kernel, p),
      atol=1e-5,
    )
    np.testing.assert_allclose(
      network.project_inputs(kernel, p),
      np.einsum("cs,hwco->hwso", p, kernel),
      atol=1e-5,
    )
    dense = network.project_inputs(kernel.reshape(36, 4), p)
    np.testing.assert_allclose(
      dense, np.einsum("cs,hwco->hwso", p, kernel).reshape(-1, 4), atol=1e-5
    )

  def test_bad_projections_are_refused_by_name(self):
    params, every = parameters(BASIC), links.links_of(BASIC)
    for p in (2 * jnp.eye(4, 2), jnp.full((4, 2), jnp.nan)):
      with self.assertRaisesRegex(ValueError, "layer1_0/conv1: P.T P differs"):
        projection.bake(params, every, {"layer1_0/conv1": p})
    with self.assertRaisesRegex(ValueError, "conv9: no link"):
      projection.bake(params, every, {"conv9": jnp.eye(4, 2)})
    with self.assertRaises(AssertionError):
      projection.bake(params, every, {"layer1_0/conv1": jnp.eye(5, 2)})

  def test_accuracy_counts_neither_ties_nor_nan_as_right(self):
    logits = jnp.array([[1.0, 0.0, 0.5], [2.0, 2.0, 0.0], [jnp.nan, 0, 0], [0, 1, 2]])
    labels = jnp.array([0, 1, 0, 0])
    self.assertEqual(float(network.accuracy(logits, labels)), 0.25)
    self.assertEqual(float(network.accuracy(logits, labels, top=2)), 0.5)


class ProxiesTest(absltest.TestCase):
  def test_equal_shapes_share_a_decomposition_and_keep_their_order(self):
    keys = jax.random.split(jax.random.key(0), 3)
    proxies = {
      "a": jax.random.normal(keys[0], (6, 3)),
      "b": jax.random.normal(keys[1], (4, 2)),
      "c": jax.random.normal(keys[2], (6, 3)),
    }
    found = projection.project(proxies)
    self.assertEqual(list(found), ["a", "b", "c"])
    for name, proxy in proxies.items():
      np.testing.assert_allclose(found[name], svd.polar_projection(proxy), atol=1e-6)
    jaxpr = str(jax.make_jaxpr(projection.project)(proxies))
    self.assertEqual(jaxpr.count("= svd["), 2)

  def test_rescaling_leaves_projections_alone(self):
    proxies = {"a": 7.0 * jax.random.normal(jax.random.key(0), (6, 3))}
    rescaled = projection.rescale(proxies)
    self.assertAlmostEqual(float(jnp.linalg.norm(rescaled["a"], 2)), 1.0, places=5)
    np.testing.assert_allclose(
      projection.project(rescaled)["a"], projection.project(proxies)["a"], atol=1e-6
    )


class BaselinesTest(absltest.TestCase):
  def test_pruning_keeps_the_filters_of_largest_sum(self):
    params = flax.traverse_util.flatten_dict(parameters(BASIC), sep="/")
    kernel = params["layer1_0/conv1/kernel"] * jnp.array([1.0, 9.0, 0.1, -5.0])
    params = flax.traverse_util.unflatten_dict(
      params | {"layer1_0/conv1/kernel": kernel}, sep="/"
    )
    p = baselines.l1_filters(params, {"layer1_0/conv1": 2})
    np.testing.assert_array_equal(p["layer1_0/conv1"], jnp.eye(4)[:, [1, 3]])
    pruned = projection.bake(params, links.links_of(BASIC), p)["layer1_0"]
    np.testing.assert_array_equal(pruned["conv1"]["kernel"], kernel[..., [1, 3]])
    np.testing.assert_array_equal(
      pruned["conv2"]["kernel"], params["layer1_0"]["conv2"]["kernel"][:, :, [1, 3]]
    )

  def test_principal_projections_are_those_of_the_outputs(self):
    params = parameters(BASIC)
    tap = links.Tap("layer1_0/conv1")
    _, seen = run(BASIC, params, taps=[tap])
    outputs = np.asarray(seen[tap]).reshape(-1, 4)
    _, vectors = np.linalg.eigh(np.cov(outputs.T, bias=True))
    found = baselines.principal_projections(
      BASIC, params, IMAGES, {"layer1_0/conv1": 2}, batch_size=1
    )["layer1_0/conv1"]
    aligned = np.abs(vectors[:, ::-1][:, :2].T @ found)
    np.testing.assert_allclose(aligned, np.eye(2), atol=1e-2)

  def test_factorising_by_all_axes_changes_nothing(self):
    params, every = parameters(BASIC), links.links_of(BASIC)
    p = {"layer1_0/conv1": svd.random_orthonormal(jax.random.key(0), 4, 4)}
    logits, _ = run(BASIC, baselines.factorise(params, every, p))
    np.testing.assert_allclose(logits, run(BASIC, params)[0], rtol=1e-4, atol=1e-5)

  def test_fresh_parameters_have_the_shapes_and_hes_variance(self):
    params = {"conv": {"kernel": jnp.zeros((3, 3, 40, 60)), "bias": jnp.ones(60)}}
    fresh = baselines.fresh(jax.random.key(0), params)["conv"]
    np.testing.assert_array_equal(fresh["bias"], np.zeros(60))
    self.assertAlmostEqual(
      float(jnp.var(fresh["kernel"])), 2 / 360, delta=0.05 * 2 / 360
    )


class CostTest(parameterized.TestCase):
  def compressed(self, model, shape, ratios):
    """Returns the costs before and after, from shapes alone."""
    shapes = network.shapes_of(model, shape)["params"]
    every = [
      li for li in links.links_of(model) if ratios is None or li.producer in ratios
    ]
    widths = links.widths_of(shapes, every)
    ranks = links.ranks(every, widths, 0.5 if ratios is None else ratios)
    p = {n: jax.ShapeDtypeStruct((widths[n], r), jnp.float32) for n, r in ranks.items()}
    after = jax.eval_shape(
      lambda params, p: projection.project_kernels(params, every, p), shapes, p
    )
    return evaluation.cost(model, shapes, shape), evaluation.cost(model, after, shape)

  def test_vgg16_compressed_four_times_as_in_the_paper(self):
    ratios = {f"conv{n}_{i}": 1 / 3 for n in (1, 2) for i in (1, 2)}
    ratios |= {f"conv3_{i}": 1 / 3 for i in (1, 2, 3)}
    ratios |= {f"conv4_{i}": 1 / 2 for i in (1, 2, 3)}
    whole, after = self.compressed(VGG(), (224, 224, 3), ratios)
    self.assertEqual(round(whole.flops / 1e9, 1), 30.9)
    self.assertEqual(round(after.flops / 1e9, 1), 6.8)
    conv = after.total("flops", convolutions_only=True)
    self.assertEqual(round(conv / 1e9, 2), 6.57)
    weights = after.total("weights", convolutions_only=True)
    self.assertEqual(round(weights / 1e6, 2), 7.47)

  @parameterized.parameters(("resnet56", 50.2), ("resnet110", 50.1), ("resnet18", 50.7))
  def test_half_the_channels_cost_half_the_operations(self, name, percent):
    model = models.NETWORKS[name](10).clone(norm=False)
    whole, after = self.compressed(model, (32, 32, 3), None)
    self.assertEqual(round(100 * after.flops / whole.flops, 1), percent)

  def test_re_projection_costs_its_convolution(self):
    params, every = parameters(BASIC), links.links_of(BASIC)
    p = {"layer1_0/conv1": jnp.eye(4, 2)}
    factorised = baselines.factorise(params, every, p)
    layer = {
      one.name: one for one in evaluation.cost(BASIC, factorised, (6, 6, 2)).layers
    }["layer1_0/conv1"]
    self.assertEqual(layer.flops, 2 * 36 * (9 * 4 * 2 + 2 * 4))
    self.assertEqual(layer.activations, 36 * 4)


class ExactnessTest(parameterized.TestCase):
  @parameterized.named_parameters(("vgg", VGG_SMALL, 2), ("basic", BASIC, 3))
  def test_identical_channels_are_merged_without_loss(self, model, copies):
    params = parameters(model)
    link = links.links_of(model)[0]
    wide = evaluation.duplicate_channels(params, link, copies)
    np.testing.assert_allclose(
      run(model, wide)[0], run(model, params)[0], rtol=1e-4, atol=1e-5
    )
    found = evaluation.exactness(model, params, link, IMAGES, copies)
    self.assertLess(found["projected"], 1e-10)
    self.assertLess(found["moved"], 1e-5)
    self.assertGreater(found["pruned"], 1e-3)


if __name__ == "__main__":
  absltest.main()
