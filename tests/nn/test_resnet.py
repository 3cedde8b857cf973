"""Tests of residual networks: sizes, strides, dilation, shortcuts."""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.nn import resnet


def shapes(model, shape):
  return jax.eval_shape(
    model.init_with_output,
    jax.random.key(0),
    jax.ShapeDtypeStruct(shape, jnp.float32),
  )


def random_like(tree):
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype("f4"), tree)


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


class ResNetTest(parameterized.TestCase):
  @parameterized.parameters(
    (18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)
  )
  def test_parameters_are_torchvisions(self, depth, parameters):
    result, variables = shapes(resnet.resnet(depth), (2, 224, 224, 3))
    self.assertEqual(count(variables["params"]), parameters)
    self.assertEqual(result.shape, (2, 1000))

  @parameterized.parameters((20, 269_722), (56, 853_018), (110, 1_727_962))
  def test_cifar_networks_have_the_papers_sizes(self, depth, parameters):
    # Table 6 of the paper: 0.27 M, 0.85 M, 1.7 M.
    result, variables = shapes(resnet.cifar_resnet(depth), (2, 32, 32, 3))
    self.assertEqual(count(variables["params"]), parameters)
    self.assertEqual(result.shape, (2, 10))

  def test_names_and_shapes_are_torchvisions(self):
    _, variables = shapes(resnet.resnet(50), (1, 64, 64, 3))
    block = variables["params"]["layer2_0"]
    self.assertEqual(block["conv2"]["kernel"].shape, (3, 3, 128, 128))
    self.assertEqual(block["downsample_0"]["kernel"].shape, (1, 1, 256, 512))
    self.assertEqual(block["downsample_1"]["scale"].shape, (512,))
    self.assertNotIn("downsample_0", variables["params"]["layer2_1"])
    self.assertEqual(variables["batch_stats"]["bn1"]["mean"].shape, (64,))

  @parameterized.parameters(
    (None, [(16, 16), (8, 8), (4, 4), (2, 2)]),
    (16, [(16, 16), (8, 8), (4, 4), (4, 4)]),
    (8, [(16, 16), (8, 8), (8, 8), (8, 8)]),
  )
  def test_features_of_every_stage_at_an_output_stride(self, stride, sizes):
    model = resnet.resnet(50, 0, output_stride=stride)
    features, _ = shapes(model, (1, 64, 64, 3))
    self.assertEqual([f.shape[1:3] for f in features], sizes)
    self.assertEqual([f.shape[3] for f in features], [256, 512, 1024, 2048])

  def test_dilated_network_is_the_strided_one_at_every_position(self):
    options = {"blocks": (1, 1), "widths": (2, 3), "stem": "cifar", "norm": False}
    strided = resnet.ResNet(0, "bottleneck", **options)
    dilated = strided.clone(output_stride=1)
    images = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    variables = random_like(shapes(strided, images.shape)[1])
    # The first block of a dilated stage keeps the dilation before, as torchvision.
    coarse = jax.jit(strided.apply)(variables, images)[-1]
    fine = jax.jit(dilated.apply)(variables, images)[-1]
    np.testing.assert_allclose(fine[:, ::2, ::2], coarse, rtol=1e-4, atol=1e-5)

  def test_block_adds_its_input_and_pads_missing_channels_with_zeros(self):
    block = resnet.Block(6, stride=2, shortcut="pad", norm=False)
    x = jax.random.uniform(jax.random.key(0), (1, 4, 4, 2))
    silent = jax.tree.map(jnp.zeros_like, shapes(block, x.shape)[1])
    expected = np.zeros((1, 2, 2, 6))
    expected[..., 2:4] = x[:, ::2, ::2]
    np.testing.assert_array_equal(block.apply(silent, x), expected)
    bare = block.clone(final_activation=False)
    np.testing.assert_array_equal(bare.apply(silent, -x), -expected)

  def test_stride_stands_where_it_is_told(self):
    x = jax.ShapeDtypeStruct((1, 8, 8, 4), jnp.float32)
    for where, size in (("conv1", 4), ("conv2", 8)):
      block = resnet.Block(2, "bottleneck", stride=2, stride_at=where)
      out, found = jax.eval_shape(
        lambda k, x, b=block: b.init_with_output(k, x, capture_intermediates=True),
        jax.random.key(0),
        x,
      )
      inner = found["intermediates"]["conv1"]["__call__"][0]
      self.assertEqual(inner.shape[1], size)
      self.assertEqual(out.shape, (1, 4, 4, 8))

  def test_depths_that_do_not_exist_are_refused(self):
    with self.assertRaisesRegex(ValueError, "depth 19 is not one of 18, 34"):
      resnet.resnet(19)
    with self.assertRaisesRegex(ValueError, "depth 57 is not 6 n"):
      resnet.cifar_resnet(57)


if __name__ == "__main__":
  absltest.main()
