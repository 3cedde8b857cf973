"""Tests of how spade takes the authors' weights."""

import dataclasses
import pathlib
import tempfile

import chex
import jax
import numpy as np
from absl.testing import absltest

from jaxvision.errors import UserError
from jaxvision.nn.vgg import VGG19
from jaxvision.papers.spade import prediction, published, variants
from jaxvision.papers.spade.generator import LATENT, Generator
from tests.papers.spade_networks import filled


def theirs(params, spectral, statistics, prefix=""):
  """Returns our variables of a generator under the authors' names and layout."""
  weights = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    *layer, name = (key.key for key in path)
    key = ".".join(part for part in layer if part != "spade")
    for ours, original in (
      ("middle", "G_middle"),
      ("shared", "mlp_shared.0"),
      ("gamma", "mlp_gamma"),
      ("beta", "mlp_beta"),
      ("image", "conv_img"),
    ):
      key = key.replace(ours, original)
    if name == "bias":
      weights[f"{key}.bias"] = leaf
      continue
    is_spectral = ".conv_" in key
    leaf = leaf.T if leaf.ndim == 2 else leaf.transpose(3, 2, 0, 1)
    weights[f"{key}.weight_orig" if is_spectral else f"{key}.weight"] = leaf
  for path, leaf in jax.tree_util.tree_leaves_with_path(spectral):
    *layer, name = (key.key for key in path)
    key = ".".join(layer).replace("middle", "G_middle")
    if name == "v":
      side = 1 if key.endswith("conv_s") else 3
      leaf = leaf.reshape(side, side, -1).transpose(2, 0, 1).reshape(-1)
    weights[f"{key}.weight_{name}"] = leaf
  for path, leaf in jax.tree_util.tree_leaves_with_path(statistics):
    block, norm, *_, name = (key.key for key in path)
    key = f"{block.replace('middle', 'G_middle')}.{norm}.param_free_norm.running_{name}"
    weights[key] = leaf
    weights[key.replace(f"running_{name}", "num_batches_tracked")] = np.array(7)
  return {prefix + name: leaf for name, leaf in weights.items()}


class PublishedTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.network = Generator(2, crop_size=64, start="latent")
    maps, latent = np.zeros((1, 64, 64, 3)), np.zeros((1, LATENT))
    cls.variables = filled(cls.network, maps, latent)
    collections = (cls.variables[k] for k in ("params", "spectral", "batch_stats"))
    cls.weights = theirs(*collections, prefix="module.")
    # Their linear start is channels first: 32 maps of 2 x 2.
    cls.start = {}
    for name in ("weight", "bias"):
      ours = cls.weights[f"module.fc.{name}"]
      maps = ours.reshape(2, 2, 32, *ours.shape[1:])
      cls.start[name] = np.moveaxis(maps, 2, 0).reshape(ours.shape)
      cls.weights[f"module.fc.{name}"] = cls.start[name]

  def test_every_weight_of_a_generator_finds_its_place(self):
    network, variables = published.generator(self.weights, crop_size=64)
    self.assertEqual(network, self.network)
    chex.assert_trees_all_equal(variables, self.variables)

  def test_a_file_tells_whose_it_is(self):
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / "latest_net_G.npz"
      np.savez(path, **self.weights)
      network, variables = published.load(path, crop_size=64)
      self.assertEqual(network, self.network)
      chex.assert_trees_all_equal(variables, self.variables)
      for key, missing in {
        "fc_mu.weight": "layer1.0",
        "discriminator_0.model0.0.bias": "1 scales of 0 layers",
        "model.1.0.weight": "no residual blocks",
      }.items():
        np.savez(path, **{key: np.zeros((2, 2))})
        with self.assertRaisesRegex(UserError, f"latest_net_G.npz: .*{missing}"):
          published.load(path)

  def test_latent_start_is_theirs(self):
    _, variables = published.generator(self.weights, crop_size=64)
    z = np.random.default_rng(2).normal(size=LATENT)
    expected = (self.start["weight"] @ z + self.start["bias"]).reshape(32, 2, 2)
    fc = variables["params"]["fc"]
    found = (z @ fc["kernel"] + fc["bias"]).reshape(2, 2, 32)
    np.testing.assert_allclose(found, expected.transpose(1, 2, 0), rtol=1e-4, atol=1e-5)

  def test_a_latent_start_tells_how_often_it_is_doubled(self):
    start = np.zeros((32, LATENT), np.float32)  # 1 x 1, for 64 pixels: one more
    weights = self.weights | {
      "module.fc.weight": start,
      "module.fc.bias": start[:, 0],
    }
    network, _ = published.generator(weights, crop_size=64)
    self.assertEqual(network, self.network.clone(upsampling="more"))

  def test_predictions_through_their_weights(self):
    classes = variants.DataSet(3, False, False, 64)
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    path = folder / "latest_net_G.npz"
    np.savez(path, **self.weights)
    made = prediction.load_weights([str(path)], classes)
    self.assertEqual(made.networks.generator, self.network)
    self.assertEqual(made.networks.latent, LATENT)
    with self.assertRaisesRegex(UserError, "sees 3 channels of labels, .* has 4"):
      prediction.load_weights([str(path)], dataclasses.replace(classes, instances=True))
    with self.assertRaisesRegex(UserError, "not one generator"):
      prediction.load_weights([], classes)

  def test_what_does_not_fit_is_said(self):
    with self.assertRaisesRegex(UserError, "fc has 128 outputs.*another crop"):
      published.generator(self.weights, crop_size=256)
    more = self.weights | {"up_9.bias": np.zeros(1)}
    with self.assertRaisesRegex(UserError, "x.pth: never used up_9.bias"):
      published.generator(more, crop_size=64, source="x.pth")
    less = dict(self.weights)
    del less["module.up_1.norm_s.mlp_beta.bias"], less["module.conv_img.weight"]
    with self.assertRaisesRegex(UserError, "lacks conv_img.weight"):
      published.generator(less, crop_size=64)
    with self.assertRaisesRegex(UserError, "no such file"):
      published.load("/nowhere/latest_net_G.pth")

  def test_vgg_is_taken_from_torchvisions_names(self):
    widths = [width for stage in VGG19 for width in stage][:13]
    weights, number = {"classifier.0.weight": np.zeros((2, 2))}, 0
    for stage in VGG19:
      for _ in stage:
        weights[f"features.{number}.weight"] = np.full((1, 1, 1, 1), number)
        weights[f"features.{number}.bias"] = np.zeros(1)
        number += 2
      number += 1
    params = published.vgg19(weights)["params"]
    self.assertLen(params, len(widths))
    self.assertEqual(params["conv5_1"]["kernel"].item(), 28)
    self.assertEqual(params["conv3_2"]["kernel"].item(), 12)
    with self.assertRaisesRegex(UserError, "0 convolutions, not 13"):
      published.vgg19({})


if __name__ == "__main__":
  absltest.main()
