"""The experiment through its own command line: smoke preset, then a prediction."""

import dataclasses
import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest

from experiments import graph_cmr as experiment
from jaxvision.data import images, meshes
from jaxvision.papers.graph_cmr import variants
from jaxvision.train import launcher
from tests.experiments import launching

launch = functools.partial(launching.launch, "graph_cmr")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    workdir = folder / "run"
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    results = json.loads((workdir / "results.json").read_text())
    titles = [row["variant"] for row in results["tables"][0]["rows"]]
    self.assertEqual(titles, ["no_norm"])
    self.assertGreater(results["tables"][0]["rows"][0]["MPJPE"], 1)
    self.assertEmpty(results["claims"])
    names = [picture["name"] for picture in results["pictures"]]
    self.assertCountEqual(names, ["meshes", "from the side"])

    # Nothing is written for a file that cannot be used.
    bad, good = folder / "bad.png", folder / "good.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    images.write_png(good, np.full((40, 30, 3), 90, np.uint8))
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={good},{bad}")
    self.assertEqual(done.returncode, 2)
    self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
    self.assertIn("bad.png: truncated PNG image", done.stderr)
    self.assertFalse(list((workdir / "predictions").glob("*")))

    done = launch(*predict, f"--inputs={good}")
    self.assertEqual(done.returncode, 0, done.stderr)
    out = workdir / "predictions"
    (row,) = json.loads((out / "predictions.json").read_text())
    self.assertEqual(row["box"], "whole picture")
    mesh = meshes.read_mesh(out / row["mesh"])
    self.assertEqual((mesh.vertices.shape, mesh.faces.shape), ((696, 3), (1372, 3)))
    picture = images.read_rgb(out / row["picture"])
    self.assertEqual(picture.shape[1], 3 * picture.shape[0])

  def test_wrong_names_are_told_in_one_line(self):
    for argument, message in (
      ("--config.variants=grph", "variants .*grph.*there are graph"),
      ("--config.readouts=false", "readouts are of 'true' meshes"),
      ("--config.mixture=most", "mixture 'most': all, itw"),
      ("--config.source=files", "whitened readouts are of rendered people"),
    ):
      with self.assertRaisesRegex(launcher.UserError, message):
        launching.config("graph_cmr", experiment, argument)

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      names = (*config.variants, *(f"readout_{kind}" for kind in config.readouts))
      if config.pretraining_steps:
        names = ("encoder", *names)
      self.assertEqual(tuple(experiment.stages(config)), names, preset)
    # A readout of the frozen network too.
    config = dataclasses.replace(
      experiment.PRESETS["smoke"], readouts=("true", "graph"), variants=("graph", "fc")
    )
    for name, stage in experiment.stages(config).items():
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, metrics = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state), name)
      self.assertEqual(metrics["loss"].shape, ())
      jax.eval_shape(stage.forward, state, stage.batch)

  def test_paper_preset_is_the_papers(self):
    config = experiment.PRESETS["paper"]
    self.assertEqual(config.sizes, variants.Sizes())
    self.assertEqual((config.batch, config.epochs, config.rate), (16, 50, 3e-4))
    stage = experiment.stages(config)["graph"]
    self.assertEqual(stage.batch["images"].shape, (16, 224, 224, 3))
    state = jax.eval_shape(stage.init, jax.random.key(0))
    self.assertEqual(state.model_state["body"].reference.shape, (1723, 3))
    count = sum(map(np.size, jax.tree.leaves(state.params)))
    self.assertBetween(count / 1e6, 40, 41)

  def test_files_that_are_needed_are_said(self):
    config = experiment.PRESETS["paper"]
    with self.assertRaisesRegex(launcher.UserError, "read from --data_dir=DIR"):
      experiment.training_source(config, None)
    with self.assertRaisesRegex(launcher.UserError, "lacks basicModel"):
      experiment.bodies(config, pathlib.Path(tempfile.gettempdir()))


if __name__ == "__main__":
  absltest.main()
