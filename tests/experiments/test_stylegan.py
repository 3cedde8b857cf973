"""The experiment through its own command line: smoke, prediction, growing, resuming."""

import dataclasses
import functools
import json
import pathlib
import tempfile
from unittest import mock

import jax
import numpy as np
from absl.testing import absltest, parameterized
from etils import epath

from experiments import stylegan as experiment
from jaxvision.data import images
from jaxvision.errors import UserError
from jaxvision.train.run import Run
from tests.experiments import launching
from tests.papers.test_stylegan import authors_pickle
from tests.papers.test_stylegan_data import write_dataset

launch = functools.partial(launching.launch, "stylegan")

GROWING = dataclasses.replace(
  experiment.PRESETS["smoke"],
  configurations=("B",),  # the least to compile
  stable=0.016,
  fading=0.032,
  kimg=0.064,
  repeats=2,
  judge_steps=0,
)


class ExperimentTest(parameterized.TestCase):
  def folder(self):
    return pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_smoke_trains_evaluates_and_predicts(self):
    workdir = self.folder()
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    self.assertLen(results["claims"], 4)
    self.assertEqual(
      [table["name"] for table in results["tables"]],
      [
        "the judge",
        "Fréchet distance of factor features",
        "path length and separability",
      ],
    )
    pictures = [picture["name"] for picture in results["pictures"]]
    for name in ("reals", "samples style-1", "mixing", "truncation", "noise"):
      self.assertIn(name, pictures)

    seeds = workdir / "seeds.txt"
    seeds.write_text("7 8 9")
    done = launch("--mode=predict", f"--workdir={workdir}", f"--inputs={seeds}")
    self.assertEqual(done.returncode, 0, done.stderr)
    out = workdir / "predictions"
    self.assertEqual(images.read_rgb(out / "seed8.png").shape, (8, 8, 3))
    self.assertTrue((out / "mixing.png").exists())

  def test_a_stopped_training_grows_on_to_the_same_bits(self):
    ends = []
    parts = experiment.segments(GROWING)
    self.assertEqual(
      [(part.resolution, part.is_fading, part.steps) for part in parts],
      [(4, False, 6), (8, True, 6), (8, False, 4)],
    )
    halved = [parts[0], dataclasses.replace(parts[1], steps=2)]
    for stops in (False, True):
      workdir = epath.Path(self.folder())
      with Run("stylegan", "smoke", GROWING, workdir) as run:
        if stops:
          with mock.patch.object(experiment, "segments", lambda *_: halved):
            experiment.train(GROWING, run)
        experiment.train(GROWING, run)
        found = experiment.restore_variables(GROWING, run, "B", 0)
        ends.append(jax.tree.map(np.asarray, found))
    for one, other in zip(*map(jax.tree.leaves, ends), strict=True):
      np.testing.assert_array_equal(one, other)
      self.assertTrue(np.isfinite(one).all())

  def test_published_weights_and_seeds(self):
    root = self.folder()
    (root / "karras.pkl").write_bytes(authors_pickle())
    (root / "seeds.txt").write_text("3")
    config = experiment.PRESETS["smoke"]
    with Run("stylegan", "smoke", config, root / "work") as run:
      run.out.mkdir(parents=True)
      inputs = [root / "karras.pkl", root / "seeds.txt"]
      experiment.predict(config, run, inputs)
      names = sorted(path.name for path in run.out.iterdir())
    self.assertEqual(names, ["grid.png", "predictions.json", "seed3.png"])

  def test_the_authors_records_are_read(self):
    root = epath.Path(self.folder())
    full = write_dataset(root)
    config = dataclasses.replace(GROWING, source="tfrecords", name="tiny")
    sources = experiment.sources(config, root)
    np.testing.assert_array_equal(sources[8][1]["image"], full[1])

  @parameterized.parameters(
    ({"configurations": ("G",)}, "configurations: .*'G' is none of A, B"),
    ({"batches": (4,)}, "--config.batches and rates: 2 from 4 pixels on"),
    ({"source": "tfrecords"}, "--data_dir=DIR"),
    ({"batches": (0, 0)}, "--config.batches: no image"),
  )
  def test_wrong_configs_are_named(self, changes, message):
    config = dataclasses.replace(GROWING, **changes)
    workdir = epath.Path(self.folder())
    with Run("stylegan", "smoke", config, workdir) as run:
      with self.assertRaisesRegex(UserError, message):
        experiment.train(config, run)
      self.assertFalse((workdir / "checkpoints").exists())

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    names = {
      preset: list(experiment.stages(config))
      for preset, config in experiment.PRESETS.items()
    }
    self.assertEqual(names["smoke"], ["features", "style-1-4"])
    self.assertEqual(names["demo"], ["features", "B-8", "B-16", "E-8", "E-16"])
    self.assertEqual(names["paper"], [f"F-{2**level}" for level in range(3, 11)])
    stages = experiment.stages(experiment.PRESETS["paper"])
    for side, batch in ((8, 256), (1024, 32)):
      stage = stages[f"F-{side}"]
      state = jax.eval_shape(stage.init, jax.random.key(0))
      generator = jax.tree.leaves(state.params["generator"])
      self.assertEqual(sum(leaf.size for leaf in generator), 26_219_627)
      after, _ = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      image = jax.eval_shape(stage.forward, state, stage.batch)
      self.assertEqual(image.shape, (batch, side, side, 3))


if __name__ == "__main__":
  absltest.main()
