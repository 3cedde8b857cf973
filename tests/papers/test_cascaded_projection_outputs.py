"""Tests of data, checkpoints, prediction, claims and figures."""

import json
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision import published
from jaxvision.data import images
from jaxvision.errors import UserError
from jaxvision.nn.vgg import VGG
from jaxvision.papers.cascaded_projection import (
  claims,
  data,
  figures,
  prediction,
  speed,
)
from jaxvision.papers.cascaded_projection import published as paper_published
from jaxvision.train.run import Run

RNG = np.random.default_rng(0)


class DataTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_batches_of_digits_are_those_of_the_seed(self):
    train, test = data.load("digits", None)
    first, again, other = (
      next(data.training_batches(train, "digits", batch_size=4, seed=seed))
      for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first["image"], again["image"])
    self.assertFalse(np.array_equal(first["image"], other["image"]))
    self.assertEqual(first["image"].shape, (4, 8, 8, 1))
    tested = list(data.testing_batches(test, "digits", 400))
    self.assertEqual([len(batch["label"]) for batch in tested], [400, 197])

  def test_cifar_is_shifted_mirrored_and_normalised(self):
    rng = np.random.default_rng(0)
    examples = [
      {"image": rng.integers(256, size=(32, 32, 3), dtype=np.uint8), "label": n}
      for n in range(3)
    ]
    batch = next(data.training_batches(examples, "cifar10", batch_size=3, seed=0))
    self.assertEqual(batch["image"].dtype, np.float32)
    (tested,) = data.testing_batches(examples, "cifar10", 5)
    expected = (examples[1]["image"] / 255 - [0.4914, 0.4822, 0.4465]) / [
      0.2470,
      0.2435,
      0.2616,
    ]
    np.testing.assert_allclose(tested["image"][1], expected, atol=1e-5)
    shifted = data.random_shift(np.ones((4, 4, 1), np.uint8), 2, rng)
    self.assertEqual(shifted.shape, (4, 4, 1))
    self.assertLess(shifted.mean(), 1.0 + 1e-6)

  def test_users_images_of_any_size_and_colour(self):
    colours = np.zeros((16, 24, 3), np.uint8)
    colours[:, 12:] = (255, 0, 255)
    images.write_png(self.root / "wide.png", colours)
    images.write_png(self.root / "small.png", np.full((8, 8), 51, np.uint8))
    found = data.read_images(
      [self.root / "wide.png", self.root / "small.png"], "digits"
    )
    self.assertEqual(found.shape, (2, 8, 8, 1))
    np.testing.assert_allclose(found[0, :, :4], 0.0, atol=1e-6)
    np.testing.assert_allclose(found[0, :, 4:], 2 / 3, atol=1e-5)
    np.testing.assert_allclose(found[1], 0.2, atol=1e-6)

  def test_missing_and_damaged_files_name_themselves(self):
    with self.assertRaisesRegex(UserError, "cifar10 is read from --data_dir"):
      data.load("cifar10", None)
    with self.assertRaisesRegex(UserError, "nowhere.png"):
      data.read_images([self.root / "nowhere.png"], "digits")
    (self.root / "text.png").write_bytes(b"no image")
    with self.assertRaisesRegex(UserError, "text.png"):
      data.read_images([self.root / "text.png"], "digits")

  def test_pretrained_checkpoint_becomes_the_network(self):
    weights = {
      "features.0.weight": RNG.normal(size=(4, 1, 3, 3)),
      "features.0.bias": RNG.normal(size=4),
      "classifier.0.weight": RNG.normal(size=(3, 4)),
      "classifier.0.bias": RNG.normal(size=3),
    }
    weights = {name: np.float32(weight) for name, weight in weights.items()}
    path = self.root / "vgg.npz"
    np.savez(path, **weights)
    self.assertCountEqual(published.load(path), weights)
    model = VGG(3, ((4,),), hidden=(), pooled=1)
    variables = paper_published.load(path, model, (4, 4, 1))
    np.testing.assert_array_equal(
      variables["params"]["conv1_1"]["kernel"][1, 2, 0, 3],
      weights["features.0.weight"][3, 0, 1, 2],
    )
    with self.assertRaisesRegex(UserError, "2 of the network"):
      paper_published.load(path, VGG(3, ((4, 4),), hidden=(), pooled=1), (4, 4, 1))


class OutputsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_predictions_of_both_networks_in_both_files(self):
    networks = {
      "uncompressed": lambda x: jnp.log(jnp.array([[1.0, 3.0]] * len(x))),
      "compressed": lambda x: jnp.log(jnp.array([[3.0, 1.0]] * len(x))),
    }
    found = prediction.predict(networks, np.zeros((2, 8, 8, 1)), ["a.png", "b.png"])
    self.assertEqual(found[1]["uncompressed"]["class"], 1)
    np.testing.assert_allclose(found[0]["compressed"]["probabilities"], [0.75, 0.25])
    prediction.write(self.root, found)
    self.assertEqual(json.loads((self.root / "predictions.json").read_text()), found)
    lines = (self.root / "predictions.csv").read_text().splitlines()
    self.assertEqual(
      lines[0].split(",")[1:3], ["uncompressed class", "uncompressed probability"]
    )
    name, *numbers = lines[2].split(",")
    self.assertEqual(name, "b.png")
    np.testing.assert_allclose([float(n) for n in numbers], [1, 0.75, 0, 0.75])

  def rows(self, accuracies):
    rows = []
    for compression in ("0.5", "0.25"):
      for method, values in accuracies.items():
        for seed, value in enumerate(values):
          rows.append(
            {
              "network": "net",
              "compression": compression,
              "method": method,
              "seed": seed,
              "accuracy": value,
              "error": 0.1 if "CaP" in method else 0.9,
              "parameters": 10,
              "flops_left": 0.5,
              "activations_left": 0.5,
            }
          )
    return rows

  def test_claims_hold_and_fail_as_the_numbers_say(self):
    accuracies = {
      "uncompressed": (0.99, 0.97),
      "CaP": (0.95, 0.93),
      "random": (0.1, 0.2),
      "L1": (0.9, 0.8),
      "CaP + relaxation": (0.96, 0.95),
      "random + relaxation": (0.8, 0.8),
      "L1 + relaxation": (0.9, 0.8),
    }
    layers = [
      {"layer": "a", "ratio": ratio, "error": error, "accuracy": 0.9}
      for ratio, error in ((0.25, 0.5), (0.75, 0.1), (0.5, 0.3))
    ]
    curve = [
      {"ratio": r, "method": m, "accuracy": 0.5, "flops_left": r}
      for r in (0.2, 0.6)
      for m in ("CaP", "random")
    ]
    with Run("cascaded_projection", "test", None, self.root) as run:
      claims.claim_compression(run, self.rows(accuracies), "net")
      claims.claim_layers(run, layers)
      claims.record_tables(run, self.rows(accuracies))
      figures.keep(run, self.rows(accuracies), curve, layers, "net")
      run.finish()
    results = json.loads((self.root / "results.json").read_text())
    held = {claim["name"]: claim["held"] for claim in results["claims"]}
    half, quarter = "0.5 of the channels: ", "0.25 of the channels: "
    self.assertTrue(held[half + "CaP beats random projections by 50 points"])
    self.assertFalse(held[half + "CaP beats L1 pruning by 20 points"])
    self.assertTrue(held[quarter + "CaP stays within 10 points of the whole network"])
    self.assertTrue(held[half + "CaP beats random by 5 points, both relaxed"])
    self.assertFalse(held[quarter + "CaP beats random by 30 points, both relaxed"])
    self.assertTrue(held[quarter + "CaP beats L1 by 8 points, both relaxed"])
    self.assertTrue(
      held["the error of a layer does not fall as fewer channels are left"]
    )
    self.assertNotIn(quarter + "relaxation costs CaP at most 1 point", held)
    self.assertLen(results["pictures"], 2)
    layers[0]["error"] = 0.2
    with Run("cascaded_projection", "test", None, self.root / "falls") as run:
      claims.claim_layers(run, layers)
    results = json.loads((self.root / "falls" / "results.json").read_text())
    self.assertFalse(results["claims"][0]["held"])

  def test_speed_rows_compare_with_one_svd(self):
    called = []

    def seconds(call):
      called.append(jax.eval_shape(call))
      return 0.5 * len(called)

    bare, both = speed.rows(seconds)
    self.assertEqual((bare["milliseconds"], both["times_one_svd"]), (500.0, 2.0))
    projection_shape, gradient_shape = called[1]
    self.assertEqual(projection_shape.shape, speed.SHAPE)
    self.assertEqual(gradient_shape.shape, speed.SHAPE)


if __name__ == "__main__":
  absltest.main()
