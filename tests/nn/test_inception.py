"""Inception-v3 against the chains of convolutions that PyTorch's checkpoints mean.

The table of keys below is what the published files hold, written out here a second
time; blocks of it are computed at small maps with convolutions of XLA, NCHW.
"""

import functools
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.errors import UserError
from jaxvision.nn import inception
from jaxvision.published import torchvision
from jaxvision.train.once import jit_once

CONSTANT = np.float32(0.5)


def block_a(inputs, pooled):
  return f"""branch1x1 {inputs}>64 1x1
    branch5x5_1 {inputs}>48 1x1, branch5x5_2 48>64 5x5
    branch3x3dbl_1 {inputs}>64 1x1, branch3x3dbl_2 64>96 3x3, branch3x3dbl_3 96>96 3x3
    POOL, branch_pool {inputs}>{pooled} 1x1"""


def block_c(inner):
  return f"""branch1x1 768>192 1x1
    branch7x7_1 768>{inner} 1x1, branch7x7_2 {inner}>{inner} 1x7, \
branch7x7_3 {inner}>192 7x1
    branch7x7dbl_1 768>{inner} 1x1, branch7x7dbl_2 {inner}>{inner} 7x1, \
branch7x7dbl_3 {inner}>{inner} 1x7, branch7x7dbl_4 {inner}>{inner} 7x1, \
branch7x7dbl_5 {inner}>192 1x7
    POOL, branch_pool 768>192 1x1"""


def block_e(inputs):
  return f"""branch1x1 {inputs}>320 1x1
    branch3x3_1 {inputs}>384 1x1, branch3x3_2a 384>384 1x3
    branch3x3_1 {inputs}>384 1x1, branch3x3_2b 384>384 3x1
    branch3x3dbl_1 {inputs}>448 1x1, branch3x3dbl_2 448>384 3x3, \
branch3x3dbl_3a 384>384 1x3
    branch3x3dbl_1 {inputs}>448 1x1, branch3x3dbl_2 448>384 3x3, \
branch3x3dbl_3b 384>384 3x1
    POOL, branch_pool {inputs}>192 1x1"""


# Branches are lines, layers in them by commas; "/2" has stride 2 and no padding.
BLOCKS = {
  "": """Conv2d_1a_3x3 3>32 3x3/2, Conv2d_2a_3x3 32>32 3x3, Conv2d_2b_3x3 32>64 3x3, \
Conv2d_3b_1x1 64>80 1x1, Conv2d_4a_3x3 80>192 3x3""",
  "Mixed_5b.": block_a(192, 32),
  "Mixed_5c.": block_a(256, 64),
  "Mixed_5d.": block_a(288, 64),
  "Mixed_6a.": """branch3x3 288>384 3x3/2
    branch3x3dbl_1 288>64 1x1, branch3x3dbl_2 64>96 3x3, branch3x3dbl_3 96>96 3x3/2
    MAX/2""",
  "Mixed_6b.": block_c(128),
  "Mixed_6c.": block_c(160),
  "Mixed_6d.": block_c(160),
  "Mixed_6e.": block_c(192),
  "AuxLogits.": "conv0 768>128 1x1, conv1 128>768 5x5",
  "Mixed_7a.": """branch3x3_1 768>192 1x1, branch3x3_2 192>320 3x3/2
    branch7x7x3_1 768>192 1x1, branch7x7x3_2 192>192 1x7, branch7x7x3_3 192>192 7x1, \
branch7x7x3_4 192>192 3x3/2
    MAX/2""",
  "Mixed_7b.": block_e(1280),
  "Mixed_7c.": block_e(2048),
}
LAYER = re.compile(r"(\w+) (\d+)>(\d+) (\d)x(\d)(/2)?")


def shapes_of(block):
  """Returns the checkpoint's shapes of a block, by key."""
  shapes = {}
  for name, inputs, outputs, height, width, _ in LAYER.findall(BLOCKS[block]):
    size = (int(outputs), int(inputs), int(height), int(width))
    shapes[f"{block}{name}.conv.weight"] = size
    for leaf in ("weight", "bias", "running_mean", "running_var"):
      shapes[f"{block}{name}.bn.{leaf}"] = size[:1]
    shapes[f"{block}{name}.bn.num_batches_tracked"] = ()
  return shapes


def published_shapes(classes, auxiliary):
  shapes = {}
  for block in BLOCKS:
    if block != "AuxLogits." or auxiliary:
      shapes |= shapes_of(block)
  heads = {"fc": 2048} | ({"AuxLogits.fc": 768} if auxiliary else {})
  for name, inputs in heads.items():
    shapes |= {f"{name}.weight": (classes, inputs), f"{name}.bias": (classes,)}
  return shapes


def draw(shapes):
  rng = np.random.default_rng(0)
  weights = {}
  for key, shape in shapes.items():
    if key.endswith(("var", "bn.weight")):
      value = rng.uniform(0.5, 1.5, shape)
    else:
      value = rng.normal(size=shape) / math.sqrt(max(math.prod(shape[1:]), 1))
    weights[key] = np.asarray(value, np.float32)
  return weights


def pool(x, kind):
  """Returns x [N, C, H, W] pooled over 3 x 3 as PyTorch does."""
  starts, add = (x, -jnp.inf, jax.lax.max), (x, 0.0, jax.lax.add)
  size, one, padding = (1, 1, 3, 3), (1, 1, 1, 1), ((0, 0), (0, 0), (1, 1), (1, 1))
  if kind == "MAX/2":
    return jax.lax.reduce_window(*starts, size, (1, 1, 2, 2), "VALID")
  if kind == "maximum":
    return jax.lax.reduce_window(*starts, size, one, padding)
  total = jax.lax.reduce_window(*add, size, one, padding)
  if kind == "average":
    return total / 9
  ones = jnp.ones_like(x)
  return total / jax.lax.reduce_window(ones, *add[1:], size, one, padding)


def reference(weights, x, block, pooling="average"):
  """Returns what the lines of a block mean, x and the result NHWC."""
  results = []
  for line in BLOCKS[block].splitlines():
    y = jnp.moveaxis(x, -1, 1)
    for layer in line.strip().split(", "):
      if layer in ("POOL", "MAX/2"):
        y = pool(y, layer if layer == "MAX/2" else pooling)
        continue
      name, _, _, height, width, halves = LAYER.fullmatch(layer).groups()
      key = f"{block}{name}"
      is_valid = halves or key in ("Conv2d_2a_3x3", "Conv2d_4a_3x3", "AuxLogits.conv1")
      pads = [0 if is_valid else int(size) // 2 for size in (height, width)]
      y = jax.lax.conv_general_dilated(
        y,
        weights[f"{key}.conv.weight"],
        (2, 2) if halves else (1, 1),
        [(p, p) for p in pads],
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
      )
      scale, bias, mean, var = (
        weights[f"{key}.bn.{leaf}"][:, None, None]
        for leaf in ("weight", "bias", "running_mean", "running_var")
      )
      y = jnp.maximum((y - mean) / jnp.sqrt(var + 1e-3) * scale + bias, 0)
      if key in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
        y = pool(y, "MAX/2")
    results.append(y)
  return jnp.moveaxis(jnp.concatenate(results, axis=1), 1, -1)


@functools.cache
def variable_shapes(classes, variant):
  network = inception.InceptionV3(classes, variant)
  images = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
  return jax.eval_shape(network.init, jax.random.key(0), images)


def stem_variables(weights):
  shapes = {
    kind: {name: layer for name, layer in tree.items() if name.startswith("Conv2d")}
    for kind, tree in variable_shapes(1008, "fid").items()
  }
  return torchvision.inception(weights, shapes)


class WholeTest(parameterized.TestCase):
  # The counts that torchvision's documentation and users of FID's port give.
  @parameterized.parameters(
    (1000, "torchvision", 27_161_264), (1008, "fid", 23_850_960)
  )
  def test_published_keys_are_all_used(self, classes, variant, parameters):
    shapes = variable_shapes(classes, variant)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
    self.assertEqual(count, parameters)
    weights = {
      key: np.broadcast_to(CONSTANT, shape)
      for key, shape in published_shapes(classes, variant == "torchvision").items()
    }
    found = torchvision.inception(weights, shapes)
    self.assertEqual(*jax.tree.map(lambda leaf: leaf.shape, (found, shapes)))
    weights["Mixed_7d.branch1x1.conv.weight"] = np.zeros(1)
    with self.assertRaisesRegex(UserError, "never used Mixed_7d.branch1x1.conv.weight"):
      torchvision.inception(weights, shapes)
    del (
      weights["Mixed_7d.branch1x1.conv.weight"],
      weights["Mixed_5c.branch_pool.bn.bias"],
    )
    with self.assertRaisesRegex(UserError, "lacks Mixed_5c.branch_pool.bn.bias"):
      torchvision.inception(weights, shapes)

  def test_maps_at_every_depth(self):
    shapes = variable_shapes(1008, "fid")
    images = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)

    def maps(depths, params=shapes["params"]):
      network = inception.InceptionV3(1008, "fid")
      variables = {"params": params, "batch_stats": shapes["batch_stats"]}
      run = functools.partial(network.apply, depths=depths)
      return [found.shape for found in jax.eval_shape(run, variables, images)]

    expected = [(2, 2048), (2, 73, 73, 64), (2, 17, 17, 768), (2, 35, 35, 192)]
    self.assertEqual(maps((2048, 64, 768, 192)), expected)
    shallow = {k: v for k, v in shapes["params"].items() if k.startswith("Conv2d")}
    self.assertEqual(maps((192,), shallow), [(2, 35, 35, 192)])
    with self.assertRaisesRegex(ValueError, "100"):
      maps((64, 100))
    with self.assertRaisesRegex(ValueError, "'tf'"):
      variable_shapes(10, "tf")

  def test_auxiliary_logits_in_training_only(self):
    network = inception.InceptionV3(7)
    images = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)
    variables = variable_shapes(7, "torchvision")

    def run(train):
      apply = functools.partial(
        network.apply,
        train=train,
        rngs={"dropout": jax.random.key(0)},
        mutable=["batch_stats"],
      )
      return jax.tree.map(
        lambda x: x.shape, jax.eval_shape(apply, variables, images)[0]
      )

    self.assertEqual(run(False), (2, 7))
    self.assertEqual(run(True), ((2, 7), (2, 7)))


class BlocksTest(parameterized.TestCase):
  """Which block stands where is told by the keys; what it computes, here."""

  @parameterized.named_parameters(
    ("5b", "Mixed_5b.", inception.InceptionA(32), 192, "average"),
    ("5d_fid", "Mixed_5d.", inception.InceptionA(64, "average_inside"), 288, None),
    ("6a", "Mixed_6a.", inception.InceptionB(), 288, None),
    ("6b", "Mixed_6b.", inception.InceptionC(128), 768, "average"),
    ("7a", "Mixed_7a.", inception.InceptionD(), 768, None),
    ("7b", "Mixed_7b.", inception.InceptionE("average_inside"), 1280, None),
    ("7c_fid", "Mixed_7c.", inception.InceptionE("maximum"), 2048, "maximum"),
  )
  def test_is_what_pytorch_computes(self, block, module, inputs, pooling):
    x = np.random.default_rng(1).normal(size=(1, 5, 4, inputs)).astype(np.float32)
    weights = draw(shapes_of(block))
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    plain = {key.removeprefix(block): weight for key, weight in weights.items()}
    variables = torchvision.inception(plain, shapes)
    found = jit_once(module.apply)(variables, x)
    run = functools.partial(reference, block=block, pooling=pooling or "average_inside")
    expected = jit_once(run)(weights, x)
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(expected.max()))

  def test_stem(self):
    weights = draw(shapes_of(""))
    x = np.random.default_rng(2).uniform(-1, 1, (1, 35, 31, 3)).astype(np.float32)
    expected = jit_once(functools.partial(reference, block=""))(weights, x)
    found = jit_once(self.features)(stem_variables(weights), x)
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(expected.max()))
    self.assertEqual(found.shape, (1, 2, 1, 192))

  def features(self, variables, x):
    (found,) = inception.InceptionV3(1008, "fid").apply(variables, x, depths=(192,))
    return found

  def test_auxiliary_head(self):
    rng = np.random.default_rng(4)
    maps = rng.normal(size=(2, 17, 17, 768)).astype(np.float32)
    plain = shapes_of("AuxLogits.") | {"fc.weight": (7, 768), "fc.bias": (7,)}
    weights = draw({key.removeprefix("AuxLogits."): s for key, s in plain.items()})
    module = inception.InceptionAux(7)
    shapes = jax.eval_shape(module.init, jax.random.key(0), maps)
    found = jit_once(module.apply)(torchvision.inception(weights, shapes), maps)
    windows = np.lib.stride_tricks.sliding_window_view(maps, (5, 5), axis=(1, 2))
    pooled = windows[:, ::3, ::3].mean(axis=(-2, -1))
    weights |= {f"AuxLogits.{key}": value for key, value in weights.items()}
    run = jit_once(functools.partial(reference, block="AuxLogits."))
    expected = run(weights, pooled)[:, 0, 0] @ weights["fc.weight"].T
    expected += weights["fc.bias"]
    np.testing.assert_allclose(found, expected, atol=1e-4)

  def test_order_of_the_blocks_and_their_pools(self):
    blocks = [name[:-1] for name in BLOCKS if name.startswith("Mixed")]
    for variant, pool_of_most, last in (
      ("torchvision", "average", "average"),
      ("fid", "average_inside", "maximum"),
    ):
      seen = []

      def note(call, args, kwargs, context, seen=seen):
        module = context.module
        if (module.name or "").startswith("Mixed"):
          seen.append((module.name, getattr(module, "pool", None)))
        return call(*args, **kwargs)

      network = inception.InceptionV3(10, variant)
      variables = variable_shapes(10, variant)
      images = jax.ShapeDtypeStruct((1, 75, 75, 3), jnp.float32)
      with nn.intercept_methods(note):
        jax.eval_shape(network.apply, variables, images)
      pools = dict.fromkeys(blocks, pool_of_most)
      pools |= {"Mixed_6a": None, "Mixed_7a": None, "Mixed_7c": last}
      self.assertEqual(seen, list(pools.items()))


class PrepareTest(absltest.TestCase):
  def test_conventions(self):
    rows = jnp.linspace(0, 1, 598).reshape(1, 598, 1, 1) * jnp.ones((1, 1, 598, 3))
    found = inception.prepare(rows)
    self.assertEqual(found.shape, (1, 299, 299, 3))
    # TensorFlow takes every second row as it is; PyTorch the mean of two.
    expected = (255 * np.arange(0, 598, 2) / 597 - 128) / 128
    np.testing.assert_allclose(found[0, :, 5, 1], expected, atol=1e-5)
    expected = 2 * (np.arange(0, 598, 2) + 0.5) / 597 - 1
    found = inception.prepare(rows, "pytorch")
    np.testing.assert_allclose(found[0, :, 5, 1], expected, atol=1e-5)
    with self.assertRaisesRegex(ValueError, "'tf'"):
      inception.prepare(rows, "tf")
    with self.assertRaises(AssertionError):
      inception.prepare(rows[..., :1])

  def test_features_are_means_of_the_prepared_images_maps(self):
    variables = stem_variables(draw(shapes_of("")))
    images = np.random.default_rng(3).uniform(size=(2, 9, 8, 3)).astype(np.float32)

    @jit_once
    def both(variables, images):
      ours = inception.inception_features(variables, images, 64)
      network = inception.InceptionV3(1008, "fid")
      (found,) = network.apply(variables, inception.prepare(images), depths=(64,))
      return ours, found.mean(axis=(1, 2))

    ours, expected = both(variables, images)
    self.assertEqual(ours.shape, (2, 64))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


if __name__ == "__main__":
  absltest.main()
