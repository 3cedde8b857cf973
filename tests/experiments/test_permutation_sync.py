"""Test of the permutation_sync experiment: its smoke preset, then predictions."""

import functools
import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest

from experiments import permutation_sync as experiment
from jaxvision.data import images, photographs
from jaxvision.papers.permutation_sync import data
from tests.experiments import launching

launch = functools.partial(launching.launch, "permutation_sync")


class ExperimentTest(absltest.TestCase):
  def test_smoke_evaluates_and_predicts(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertTrue((workdir / "report.html").exists())
    results = json.loads((workdir / "results.json").read_text())
    held = {claim["name"]: claim["held"] for claim in results["claims"]}
    self.assertTrue(held["C2: U never rises along L-BFGS"])
    self.assertTrue(
      held["C4: consistent input is recovered exactly from a random start"]
    )
    self.assertLen(held, 18)
    self.assertCountEqual(
      [picture["name"] for picture in results["pictures"]],
      ["recall", "uncertainty", "matches", "convergence"],
    )
    tables = {table["name"]: table["rows"] for table in results["tables"]}
    self.assertLen(tables["recall"], 2)
    self.assertEqual(tables["cycle consistency"][0]["ours"], 1.0)

    edges = np.array([[0, 1], [1, 2], [0, 2], [3, 4], [4, 5], [3, 5]])
    truth = data.random_permutations(np.random.default_rng(0), 6, 6)
    maps = truth[edges[:, 0]] @ truth[edges[:, 1]].swapaxes(1, 2)
    np.savez(workdir / "matches.npz", edges=edges, matches=maps)
    out = workdir / "of_matches"
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={workdir}/matches.npz", f"--out={out}")
    self.assertEqual(done.returncode, 0, done.stderr)
    self.assertIn("2 parts that no edge joins", done.stdout)
    written = json.loads((out / "synchronization.json").read_text())
    self.assertFalse(written["connected"])
    self.assertEqual(
      [image["component"] for image in written["images"]], [0, 0, 0, 1, 1, 1]
    )
    for edge, one in zip(written["edges"], maps, strict=True):
      self.assertEqual(edge["matches"], np.argmax(one, axis=1).tolist())
      self.assertEqual(edge["changed"], 0)
    with np.load(out / "synchronization.npz") as arrays:
      np.testing.assert_array_equal(arrays["maps"], maps)
    self.assertEqual(images.read_rgb(out / "matches.png").shape[2], 3)

  def test_images_are_matched_without_any_training(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    photograph = photographs.photographs()["chelsea"][50:170, 100:260]
    for index in range(3):
      crop = photograph[4 * index : 100 + 4 * index, 6 * index : 130 + 6 * index]
      images.write_png(workdir / f"{index}.png", crop)
    out = workdir / "of_images"
    predict = ("--mode=predict", "--preset=smoke", f"--workdir={out}")
    predict += ("--config.predict_points=6", f"--inputs={workdir}/?.png")
    done = launch(*predict)
    self.assertEqual(done.returncode, 0, done.stderr)
    written = json.loads((out / "predictions" / "synchronization.json").read_text())
    self.assertLen(written["edges"], 3)
    self.assertLen(written["images"][2]["points"], 6)
    self.assertEqual(written["images"][0]["name"], "0.png")

  def test_a_bad_file_leaves_nothing(self):
    workdir = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (workdir / "bad.json").write_text('{"edges": [[0, 1]], "matches": [[0, 0]]}')
    out = workdir / "out"
    flags = ("--mode=predict", f"--workdir={workdir}/run", f"--out={out}")
    done = launch(*flags, f"--inputs={workdir}/bad.json")
    self.assertEqual(done.returncode, 2)
    self.assertIn("bad.json: edge 0 (0, 1) is partial", done.stderr)
    self.assertLen(done.stderr.strip().splitlines(), 1)
    self.assertEmpty(list(out.iterdir()))

  def test_paper_preset_asks_for_its_data(self):
    config = experiment.PRESETS["paper"]
    self.assertEqual(config.random_swaps, 28)
    self.assertEqual(config.sampler.samples, 1000)
    self.assertEqual(
      config.real, ("Car", "Duck", "Face", "Motorbike", "Winebottle", "house", "hotel")
    )
    with self.assertRaisesRegex(experiment.UserError, "Car is read from --data_dir"):
      experiment.real_set(config, "Car", None)


if __name__ == "__main__":
  absltest.main()
