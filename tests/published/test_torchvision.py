"""Checkpoints with torchvision's names: against the networks computed as PyTorch does.

The weights are drawn here; the reference is a chain of NCHW convolutions.
"""

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.errors import UserError
from jaxvision.nn.resnet import ResNet
from jaxvision.nn.vgg import VGG
from jaxvision.published import torchvision

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)


def draw(*shape):
  return (RNG.normal(size=shape) / np.sqrt(max(np.prod(shape[1:]), 1))).astype(
    np.float32
  )


def norm(prefix, width):
  return {
    f"{prefix}.weight": 1 + draw(width),
    f"{prefix}.bias": draw(width),
    f"{prefix}.running_mean": draw(width),
    f"{prefix}.running_var": np.abs(draw(width)) + 0.5,
    f"{prefix}.num_batches_tracked": np.array(3),
  }


def conv(x, weights, name, stride=1):
  kernel = weights[f"{name}.weight"]
  pad = kernel.shape[-1] // 2
  y = jax.lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    [(pad, pad)] * 2,
    dimension_numbers=("NCHW", "OIHW", "NCHW"),
  )
  bias = weights.get(f"{name}.bias", np.zeros(len(kernel)))
  return y + bias[:, None, None]


def batch_norm(x, weights, name):
  scale, bias, mean, var = (
    weights[f"{name}.{leaf}"][:, None, None]
    for leaf in ("weight", "bias", "running_mean", "running_var")
  )
  return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def linear(x, weights, name):
  return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def shapes_of(model):
  return jax.eval_shape(model.init, jax.random.key(0), IMAGES)


class VGGTest(parameterized.TestCase):
  def weights(self, normalised):
    numbers = (0, 4) if normalised else (0, 3)
    weights = {}
    for number, shape in zip(numbers, ((4, 3, 3, 3), (5, 4, 3, 3)), strict=True):
      weights[f"features.{number}.weight"] = draw(*shape)
      weights[f"features.{number}.bias"] = draw(shape[0])
      if normalised:
        weights |= norm(f"features.{number + 1}", shape[0])
    for number, shape in ((0, (6, 20)), (3, (7, 6)), (6, (3, 7))):
      weights[f"classifier.{number}.weight"] = draw(*shape)
      weights[f"classifier.{number}.bias"] = draw(shape[0])
    return weights

  @parameterized.parameters(False, True)
  def test_is_what_pytorch_computes(self, normalised):
    weights = self.weights(normalised)
    x = np.moveaxis(IMAGES, -1, 1)
    for number in (0, 4) if normalised else (0, 3):
      x = conv(x, weights, f"features.{number}")
      if normalised:
        x = batch_norm(x, weights, f"features.{number + 1}")
      x = jnp.maximum(x, 0)
      x = jnp.max(x.reshape(*x.shape[:2], x.shape[2] // 2, 2, -1, 2), axis=(3, 5))
    x = x.reshape(2, -1)
    for number in (0, 3, 6):
      x = linear(x, weights, f"classifier.{number}")
      x = jnp.maximum(x, 0) if number < 6 else x

    model = VGG(3, ((4,), (5,)), normalised, (6, 7), pooled=2)
    variables = torchvision.vgg(weights, shapes_of(model))
    np.testing.assert_allclose(model.apply(variables, IMAGES), x, rtol=1e-4, atol=1e-5)

  def test_other_networks_are_refused_by_name(self):
    shapes = shapes_of(VGG(3, ((4,), (5,)), False, (6, 7), pooled=2))
    weights = self.weights(False)
    few = {name: w for name, w in weights.items() if not name.startswith("features.3")}
    with self.assertRaisesRegex(UserError, "1 layers for 2 of the network .* conv"):
      torchvision.vgg(few, shapes)
    wrong = weights | {"classifier.6.weight": draw(4, 7)}
    with self.assertRaisesRegex(UserError, r"classifier.6.weight has shape \(4, 7\)"):
      torchvision.vgg(wrong, shapes)
    with self.assertRaisesRegex(UserError, "never used extra.scale"):
      torchvision.vgg(weights | {"extra.scale": draw(2)}, shapes)


class ResNetTest(absltest.TestCase):
  def weights(self):
    weights = {"conv1.weight": draw(2, 3, 3, 3)} | norm("bn1", 2)
    inputs = 2
    for layer, width in (("layer1.0", 2), ("layer2.0", 3)):
      weights[f"{layer}.conv1.weight"] = draw(width, inputs, 1, 1)
      weights[f"{layer}.conv2.weight"] = draw(width, width, 3, 3)
      weights[f"{layer}.conv3.weight"] = draw(4 * width, width, 1, 1)
      weights[f"{layer}.downsample.0.weight"] = draw(4 * width, inputs, 1, 1)
      widths = {"bn1": width, "bn2": width, "bn3": 4 * width, "downsample.1": 4 * width}
      for name, channels in widths.items():
        weights |= norm(f"{layer}.{name}", channels)
      inputs = 4 * width
    return weights | {"fc.weight": draw(5, inputs), "fc.bias": draw(5)}

  def test_is_what_pytorch_computes(self):
    weights = self.weights()
    x = np.moveaxis(IMAGES, -1, 1)
    x = jnp.maximum(batch_norm(conv(x, weights, "conv1"), weights, "bn1"), 0)
    for layer, stride in (("layer1.0", 1), ("layer2.0", 2)):
      y = x
      for number in (1, 2, 3):
        y = conv(y, weights, f"{layer}.conv{number}", stride if number == 2 else 1)
        y = batch_norm(y, weights, f"{layer}.bn{number}")
        y = jnp.maximum(y, 0) if number < 3 else y
      skip = conv(x, weights, f"{layer}.downsample.0", stride)
      x = jnp.maximum(y + batch_norm(skip, weights, f"{layer}.downsample.1"), 0)
    expected = linear(jnp.mean(x, axis=(2, 3)), weights, "fc")

    model = ResNet(5, "bottleneck", (1, 1), (2, 3), "cifar")
    parallel = {f"module.{name}": weight for name, weight in weights.items()}
    variables = torchvision.resnet(parallel, shapes_of(model))
    np.testing.assert_allclose(
      jax.jit(model.apply)(variables, IMAGES), expected, rtol=1e-4, atol=1e-4
    )


if __name__ == "__main__":
  absltest.main()
