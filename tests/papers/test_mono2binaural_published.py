"""Tests of how mono2binaural takes the authors' weights."""

import pathlib
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.errors import UserError
from jaxvision.nn.resnet import ResNet
from jaxvision.papers.mono2binaural import published
from jaxvision.papers.mono2binaural.networks import AudioNet, Sizes

KEY = jax.random.key(0)


def their_audio(variables):
  """Returns the variables of an audio network under the authors' names."""
  weights = {}
  for collection, tree in variables.items():
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      layer, name = (key.key for key in path)
      child = "1" if layer.endswith("_norm") else "0"
      layer = layer.removesuffix("_norm")
      leaf = np.asarray(leaf)
      if leaf.ndim == 4:
        leaf = leaf.transpose((2, 3, 0, 1) if layer[:2] == "up" else (3, 2, 0, 1))
      for ours, theirs in (
        ("down_", "audionet_convlayer"),
        ("up_", "audionet_upconvlayer"),
        ("visual", "conv1x1"),
      ):
        layer = layer.replace(ours, theirs)
      weights[f"module.{layer}.{child}.{_leaf(collection, name)}"] = leaf
      weights[f"module.{layer}.1.num_batches_tracked"] = np.array(3)
  return weights


def their_visual(shapes):
  """Returns zeros for all variables of a visual network, under the authors' names."""
  weights = {}
  for collection, tree in shapes.items():
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      *layer, name = (key.key for key in path)
      layer = ".".join(layer).replace("_", ".")
      layer = {"conv1": "0", "bn1": "1"}.get(layer, layer)
      for stage in range(1, 5):
        layer = layer.replace(f"layer{stage}.", f"{stage + 3}.")
      shape = leaf.shape
      if len(shape) == 4:
        shape = (shape[3], shape[2], *shape[:2])
      name = f"feature_extraction.{layer}.{_leaf(collection, name)}"
      weights[name] = np.zeros(shape, np.float32)
  return weights


def _leaf(collection, name):
  if collection == "batch_stats":
    return f"running_{name}"
  return {"kernel": "weight", "scale": "weight"}.get(name, name)


def visual_shapes(network):
  return jax.eval_shape(network.init, KEY, jnp.zeros((1, 64, 64, 3)))


def audio_shapes(network, visual):
  return jax.eval_shape(network.init, KEY, jnp.zeros((1, 33, 32, 2)), visual)


class PublishedTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.network = AudioNet(2, reduced=3)
    shapes = audio_shapes(self.network, jnp.zeros((1, 1, 2, 4)))
    rng = np.random.default_rng(0)
    self.variables = jax.tree.map(
      lambda leaf: rng.standard_normal(leaf.shape).astype(np.float32), shapes
    )
    self.weights = their_audio(self.variables)

  def test_every_weight_of_the_audio_network_finds_its_place(self):
    found, converted = published.audio_net(self.weights)
    self.assertEqual(found, self.network)
    chex.assert_trees_all_equal(converted, self.variables)

  def test_missing_and_superfluous_weights_are_named(self):
    extra = self.weights | {"audionet_convlayer6.0.weight": np.zeros(3)}
    with self.assertRaisesRegex(UserError, "never used audionet_convlayer6"):
      published.audio_net(extra)
    self.weights.pop("module.audionet_upconvlayer3.0.bias")
    with self.assertRaisesRegex(UserError, "lacks audionet_upconvlayer3.0.bias"):
      published.audio_net(self.weights)

  def test_the_papers_sizes_leave_no_weight_over(self):
    network = Sizes().make()
    shapes = visual_shapes(network.visual)
    weights = their_visual(shapes)
    found, variables = published.visual_net(weights)
    self.assertEqual(found, network.visual)
    chex.assert_trees_all_equal_shapes(variables, shapes)
    weights["feature_extraction.8.weight"] = np.zeros(1)
    with self.assertRaisesRegex(UserError, "never used layer5.weight"):
      published.visual_net(weights)

    shapes = audio_shapes(network.audio, jnp.zeros((1, 7, 14, 512)))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    found, variables = published.audio_net(their_audio(zeros))
    self.assertEqual(found, network.audio)
    chex.assert_trees_all_equal_shapes(variables, shapes)

  def test_files_tell_whose_they_are(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    small = Sizes(visual_blocks=(1, 1, 1, 1), visual_widths=(2, 2, 3, 3)).make()
    visual, sound, other = (folder / f"{name}.npz" for name in ("v", "a", "o"))
    np.savez(visual, **their_visual(visual_shapes(small.visual)))
    np.savez(sound, **self.weights)
    np.savez(other, weight=np.zeros(1))
    network, variables = published.load((visual, sound))
    self.assertEqual(network.visual, small.visual)
    self.assertEqual(network.audio, self.network)
    self.assertEqual(set(variables["params"]), {"audio", "visual"})
    self.assertIsNone(published.load((sound,))[0].visual)
    with self.assertRaisesRegex(UserError, "audio_best.pth is missing"):
      published.load((visual,))
    with self.assertRaisesRegex(UserError, "o.npz: neither visual_best.pth nor"):
      published.load((sound, other))

  def test_imagenets_classifier_is_left_out(self):
    network = ResNet(0, "basic", (1, 1), (2, 3))
    shapes = visual_shapes(network)
    weights = {
      key.removeprefix("feature_extraction."): array
      for key, array in their_visual(shapes).items()
    }
    renamed = {}
    for key, array in weights.items():
      child, rest = key.split(".", 1)
      first = {"0": "conv1", "1": "bn1"}.get(child) or f"layer{int(child) - 3}"
      renamed[f"{first}.{rest}"] = array
    renamed |= {"fc.weight": np.zeros((10, 3)), "fc.bias": np.zeros(10)}
    found = published.imagenet(renamed, network)
    chex.assert_trees_all_equal_shapes(found, shapes)


if __name__ == "__main__":
  absltest.main()
