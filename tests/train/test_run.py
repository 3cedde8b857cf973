"""Tests of the Run: claims, records, who owns a workdir, what a resumed run keeps."""

import contextlib
import dataclasses
import io
import json
import math
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
from absl.testing import absltest, parameterized

import jaxvision
from jaxvision.errors import UserError
from jaxvision.train import provenance
from jaxvision.train.run import Run, gained, is_held


@dataclasses.dataclass(frozen=True)
class Config:
  seed: int = 5
  steps: int = 100
  widths: tuple[int, ...] = (8, 16)


class ClaimTest(parameterized.TestCase):
  @parameterized.parameters(
    (0.9, 0.8, "higher", 0.0, True),
    (0.8, 0.8, "higher", 0.0, False),  # a tie is no gain
    (0.7, 0.8, "higher", 0.0, False),
    (0.7, 0.8, "lower", 0.0, True),
    (0.9, 0.8, "lower", 0.0, False),
    (0.95, 0.80, "higher", 0.15, True),  # 0.1499999... in binary
    (0.94, 0.80, "higher", 0.15, False),
    (2.0, 5.0, "lower", 3.0, True),
    (2.1, 5.0, "lower", 3.0, False),
    (0.79, 0.80, "higher", -0.02, True),  # no more than 0.02 worse
    (0.77, 0.80, "higher", -0.02, False),
    (math.nan, 0.8, "higher", 0.0, False),
    (0.8, math.nan, "lower", -1.0, False),
    (math.inf, math.inf, "higher", -1.0, False),
    (math.inf, 1.0, "higher", 1.0, True),
    (1.0, 0.0, "higher", math.nan, False),
  )
  def test_held(self, ours, baseline, better, margin, held):
    self.assertIs(is_held(gained(ours, baseline, better), margin), held)

  def test_a_wrong_direction_is_refused(self):
    with self.assertRaisesRegex(ValueError, "'bigger'"):
      gained(1.0, 0.0, "bigger")


class RunTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.workdir = folder / "work"
    self.printed = self.enterContext(contextlib.redirect_stdout(io.StringIO()))

  def make(self, config=None, **options):
    run = Run("toy", "demo", config or Config(), self.workdir, **options)
    self.addCleanup(run.close)
    return run

  def results(self):
    return json.loads((self.workdir / "results.json").read_text())

  def test_a_run_says_what_it_is(self):
    run = self.make()
    self.assertEqual((run.paper, run.preset, run.config), ("toy", "demo", Config()))
    self.assertTrue(run.is_main)
    self.assertIsNone(run.data_dir)
    self.assertEqual(run.out, run.workdir / "predictions")
    owner = json.loads((self.workdir / "config.json").read_text())
    self.assertEqual(owner["config"], {"seed": 5, "steps": 100, "widths": [8, 16]})

  def test_the_workdir_without_a_name(self):
    self.enterContext(contextlib.chdir(self.workdir.parent))
    with Run("toy", "smoke", Config()):
      self.assertTrue((self.workdir.parent / "runs/toy-smoke/config.json").exists())

  def test_another_config_is_refused_with_both_values(self):
    self.make()
    with self.assertRaisesRegex(UserError, "steps: 7 here, 100 in .*work") as caught:
      self.make(Config(steps=7))
    self.assertNotIn("seed", str(caught.exception))
    self.assertIn("--overwrite", str(caught.exception))
    with self.assertRaisesRegex(UserError, "paper: other here, toy in"):
      Run("other", "demo", Config(), self.workdir)
    self.make()  # the same goes on

  @parameterized.parameters("not JSON", "[1]", '{"name": "somebody else"}')
  def test_a_config_file_of_somebody_else_is_refused(self, text):
    self.workdir.mkdir()
    (self.workdir / "config.json").write_text(text)
    for overwrite in (False, True):
      with self.assertRaisesRegex(UserError, "config.json"):
        self.make(overwrite=overwrite)
    self.assertEqual((self.workdir / "config.json").read_text(), text)

  def test_overwrite_removes_only_what_a_run_wrote(self):
    run = self.make()
    run.scalars("first", 1, {"loss": 1.0})
    run.picture("patch", np.zeros((4, 4, 3), np.uint8))
    run.finish()
    run.close()
    (self.workdir / "checkpoints" / "first").mkdir(parents=True)
    (self.workdir / "notes.txt").write_text("mine")
    self.make(Config(steps=7), overwrite=True)
    left = sorted(path.name for path in self.workdir.iterdir())
    self.assertEqual(left, ["config.json", "notes.txt"])

  def test_records_are_kept_and_replaced_by_name(self):
    run = self.make(citation="A. Author, Title")
    self.assertTrue(run.claim("a > b", jnp.float32(2.0), 1.0, seeds=(3, 1)))
    self.assertFalse(run.claim("c < d", 2.0, math.nan, better="lower", margin=0.5))
    run.result("accuracy", np.float32(0.5), paper=0.25, unit="%")
    run.table("confusion", [{"true": "cat", "cat": 0.75}])
    run.close()
    # A process that was killed and started again evaluates again.
    run = self.make(citation="A. Author, Title")
    run.result("accuracy", 0.75)
    run.finish()
    results = self.results()
    self.assertEqual([c["held"] for c in results["claims"]], [True, False])
    self.assertEqual(results["claims"][1]["baseline"], "NaN")
    self.assertEqual(results["claims"][0]["gain"], 1.0)
    (accuracy,) = results["results"]
    self.assertEqual((accuracy["value"], accuracy["paper"]), (0.75, None))
    self.assertEqual(results["tables"][0]["rows"], [{"true": "cat", "cat": 0.75}])
    self.assertEqual(results["seeds"], [1, 3, 5])
    self.assertEqual(results["config"]["widths"], [8, 16])
    self.assertEqual(results["citation"], "A. Author, Title")
    self.assertRegex(results["date"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")
    self.assertIn("claim held: a > b (ours 2, baseline 1)", self.printed.getvalue())
    self.assertIn("claim NOT HELD: c < d", self.printed.getvalue())

  def test_seconds_add_up_over_processes(self):
    for _ in range(2):
      run = self.make()
      run.started -= 100.0
      run.finish()
      run.close()
    self.assertBetween(self.results()["seconds"], 200.0, 260.0)

  @parameterized.parameters(
    (np.array([[[0.0], [0.5]], [[1.0], [7.0]]], np.float32), [[0, 128], [255, 255]]),
    (np.array([[[3], [4]]], np.uint8), [[3, 4]]),
    (jnp.full((1, 2, 3), jnp.nan), [[[0, 0, 0], [0, 0, 0]]]),
  )
  def test_pictures_are_png(self, image, expected):
    run = self.make()
    run.picture("first/one two", image, step=3)
    run.close()
    kept = PIL.Image.open(self.workdir / "pictures" / "first_one_two.png")
    np.testing.assert_array_equal(np.asarray(kept), expected)

  @parameterized.parameters((4, 4), (4, 4, 2), (1, 4, 4, 3))
  def test_a_wrong_picture_is_refused(self, *shape):
    with self.assertRaises(AssertionError):
      self.make().picture("wrong", np.zeros(shape, np.float32))

  def test_a_picture_that_was_never_written_is_forgotten(self):
    run = self.make()
    run.picture("patch", np.zeros((4, 4, 3), np.uint8))
    run.close()
    (self.workdir / "pictures" / "patch.png").unlink()  # as if killed before
    self.make().finish()
    self.assertEmpty(self.results()["pictures"])

  def test_figures_reach_the_report(self):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    run = self.make()
    run.figure("growth", figure, caption="it grows")
    run.finish()
    self.assertIn("it grows", (self.workdir / "report.html").read_text())
    self.assertGreater(PIL.Image.open(self.workdir / "pictures/growth.png").width, 200)

  def test_only_process_0_writes(self):
    with mock.patch.object(jax, "process_index", return_value=1):
      run = self.make()
    run.log("hello")
    run.scalars("first", 1, {"loss": 1.0})
    run.picture("patch", np.zeros((4, 4, 3), np.uint8))
    run.table("t", [])
    self.assertTrue(run.claim("a > b", 2.0, 1.0))
    run.finish()
    run.close()
    self.assertFalse(self.workdir.exists())
    self.assertEmpty(self.printed.getvalue())

  def test_making_a_run_imports_nothing_slow(self):
    program = (
      "import sys; from jaxvision.train import launcher, run\n"
      "slow = ('matplotlib', 'tensorboardX', 'tensorflow_datasets', 'orbax', 'scipy')\n"
      "print([name for name in slow if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    self.assertEqual(output.strip(), "[]")


class ProvenanceTest(absltest.TestCase):
  def test_commit_is_of_this_source_and_no_other_repository(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e"]
    (folder / "jaxvision").mkdir()
    source = folder / "jaxvision" / "__init__.py"
    source.write_text("")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "m"], check=True)
    self.enterContext(mock.patch.object(jaxvision, "__file__", str(source)))
    describe = provenance.commit.__wrapped__
    # Installed below somebody's repository, but not part of it.
    self.assertEqual(describe(), f"jaxvision {jaxvision.__version__}")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "m"], check=True)
    self.assertRegex(describe(), r"^[0-9a-f]{12}$")
    source.write_text("changed")
    self.assertRegex(describe(), r"^[0-9a-f]{12}-dirty$")

  def test_device_counts(self):
    self.assertRegex(provenance.device(), rf"^{jax.device_count()} × \S")


if __name__ == "__main__":
  absltest.main()
