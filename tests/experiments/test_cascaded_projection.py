"""The experiment through its own command line: smoke preset, then a prediction."""

import csv
import dataclasses
import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest, parameterized

from experiments import cascaded_projection as experiment
from jaxvision.data import images
from jaxvision.papers.cascaded_projection import links, network
from tests.experiments import launching

launch = functools.partial(launching.launch, "cascaded_projection")


class ExperimentTest(parameterized.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    held = {claim["name"]: claim["held"] for claim in results["claims"]}
    self.assertTrue(held["merging identical channels has an error below 1e-5"])
    self.assertTrue(held["that projection is a fixed point of its optimisation"])
    self.assertIn("0.5 of the channels: CaP beats L1 pruning by 20 points", held)
    self.assertEqual([p["name"] for p in results["pictures"]], ["methods"])
    (table,) = results["tables"]
    rows = {row["method"]: row for row in table["rows"]}
    self.assertEqual(rows["uncompressed"]["error of features"], 0.0)
    # A quarter of the kernels between two compressed layers is left.
    self.assertBetween(rows["CaP"]["FLOPs left, %"], 30, 40)
    self.assertEqual(rows["CaP"]["parameters"], rows["L1"]["parameters"])
    self.assertGreater(
      rows["PCA, re-projected"]["parameters"], rows["PCA"]["parameters"]
    )

    images.write_png(workdir / "seven.png", np.full((20, 12, 3), 200, np.uint8))
    images.write_png(workdir / "grey.png", np.zeros((8, 8), np.uint8))
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={workdir}/seven.png,{workdir}/grey.png")
    self.assertEqual(done.returncode, 0, done.stderr)
    written = workdir / "predictions"
    predictions = json.loads((written / "predictions.json").read_text())
    self.assertLen(predictions, 2)
    for one in predictions:
      for kind in ("uncompressed", "compressed"):
        self.assertLen(one[kind]["probabilities"], 10)
        self.assertAlmostEqual(sum(one[kind]["probabilities"]), 1.0, places=5)
        self.assertEqual(one[kind]["class"], np.argmax(one[kind]["probabilities"]))
    self.assertNotEqual(
      predictions[0]["uncompressed"]["probabilities"],
      predictions[0]["compressed"]["probabilities"],
    )
    with open(written / "predictions.csv", newline="") as table:
      self.assertLen(list(csv.reader(table)), 3)

    (workdir / "text.png").write_bytes(b"no image")
    done = launch(*predict, f"--inputs={workdir}/text.png", f"--out={workdir}/none")
    self.assertEqual(done.returncode, 2)
    self.assertRegex(done.stderr, r"^error: \S*text.png: [^\n]*\n$")
    self.assertEmpty(list((workdir / "none").iterdir()))

  @parameterized.parameters(
    (("--preset=tiny",), "tiny"),
    (("--preset=smoke", "--config.networks=vgg17"), "'vgg17' is none of vgg_digits"),
    (("--preset=paper",), "cifar10 is read from --data_dir"),
    (("--preset=smoke", "--config.ratios=1.5"), "ratios: 1.5 is not in"),
  )
  def test_wrong_use_is_told_in_one_line(self, flags, message):
    workdir = self.enterContext(tempfile.TemporaryDirectory())
    done = launch(*flags, f"--workdir={workdir}/run")
    self.assertEqual(done.returncode, 2, done.stderr)
    self.assertRegex(done.stderr, rf"^error: [^\n]*{message}[^\n]*\n$")


class StagesTest(absltest.TestCase):
  def test_stages_of_every_preset_can_be_lowered(self):
    parameters = {"smoke": 33_194, "paper": 853_018, "vgg16": 138_357_544}
    for preset, config in experiment.PRESETS.items():
      stages = experiment.stages(config)
      kinds = ["train", "project", "relax", "finetune", "scratch"]
      self.assertEqual(list(stages), kinds, preset)
      for stage in stages.values():
        if preset == "demo":
          continue  # the networks of the smoke preset
        state = jax.eval_shape(stage.init, jax.random.key(0))
        after, _ = jax.eval_shape(stage.step, state, stage.batch)
        self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
        output = jax.eval_shape(stage.forward, state, stage.batch)
        classes = 1000 if preset == "vgg16" else 10
        self.assertEqual(output.shape, (config.batch, classes))
        if stage.name == "train":
          leaves = jax.tree.leaves(state.params)
          self.assertEqual(sum(leaf.size for leaf in leaves), parameters[preset])

  def test_vgg16_keeps_its_last_stage(self):
    config = experiment.PRESETS["vgg16"]
    (ratios,) = experiment.compressions(config, "vgg16").values()
    self.assertLen(ratios, 10)
    self.assertNotIn("conv5_1", ratios)
    model = experiment.folded_model(config, "vgg16")
    shapes = network.shapes_of(model, (224, 224, 3))["params"]
    chosen = experiment.links_at(config, "vgg16", ratios)
    ranks = links.ranks(chosen, links.widths_of(shapes, chosen), ratios)
    self.assertEqual(list(ranks.values()), [21, 21, 43, 43, 85, 85, 85, 256, 256, 256])

  def test_only_the_first_network_is_compressed_in_every_way(self):
    config = experiment.PRESETS["demo"]
    self.assertIs(experiment.config_of(config, "vgg_digits"), config)
    second = experiment.config_of(config, "resnet_digits")
    self.assertEqual((second.ratios, second.seeds), ((0.5,), (0,)))
    self.assertLen(experiment.compressions(second, "resnet_digits")["0.5"], 3)
    both = dataclasses.replace(config, source="cifar100")
    self.assertEqual(experiment.trained_model(both, "resnet56").num_classes, 100)


if __name__ == "__main__":
  absltest.main()
