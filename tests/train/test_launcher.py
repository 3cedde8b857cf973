"""Tests of the command line: what it asks for, and one line where it is wrong."""

import contextlib
import dataclasses
import errno
import io
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile
import textwrap
from typing import Literal

from absl import flags
from absl.testing import absltest, parameterized
from etils import epath

from jaxvision.errors import UserError
from jaxvision.train import launcher


@dataclasses.dataclass(frozen=True)
class Optimizer:
  learning_rate: float = 1e-3
  name: Literal["adam", "sgd"] = "adam"


@dataclasses.dataclass(frozen=True)
class Config:
  steps: int = 100
  widths: tuple[int, ...] = (8, 16)
  augment: bool = True
  weights: str | None = None
  optimizer: Optimizer = Optimizer()

  def __post_init__(self):
    if self.steps < 0:
      raise ValueError("steps is negative")


PRESETS = {"smoke": Config(steps=3), "demo": Config(), "paper": Config(steps=10**6)}

PROGRAM = """
import dataclasses, sys
from jaxvision.errors import UserError
from jaxvision.train import launcher

@dataclasses.dataclass(frozen=True)
class Config:
  end: str = "well"

def train(config, run):
  run.scalars("first", 1, {"loss": 1.0})
  if config.end == "user error":
    raise UserError("the photograph is\\n1 pixel wide")
  if config.end == "terminated":
    sys.exit(143)

def evaluate(config, run):
  run.claim("a > b", 2.0, 1.0)

if __name__ == "__main__":
  launcher.main(
    "toy", Config, {"demo": Config()}, train=train, evaluate=evaluate, predict=None
  )
"""


class RequestTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.enterContext(contextlib.chdir(folder))
    self.enterContext(contextlib.redirect_stdout(io.StringIO()))

  def request(self, *arguments):
    argv = ["toy.py", *arguments]
    request, rest = launcher.read_request(
      "toy", Config, PRESETS, argv, flags.FlagValues()
    )
    self.assertEqual(rest, ["toy.py"])
    return request

  def perform(self, *arguments, **functions):
    def nothing(*_):
      pass

    chosen = {"train": nothing, "evaluate": nothing, "predict": nothing} | functions
    launcher.perform("toy", PRESETS, self.request(*arguments), **chosen)

  def test_defaults(self):
    request = self.request()
    self.assertEqual((request.mode, request.preset), ("all", "demo"))
    self.assertEqual(request.config, Config())
    self.assertEqual(request.workdir, epath.Path("runs/toy-demo"))
    self.assertIsNone(request.data_dir)
    self.assertFalse(request.overwrite)

  def test_fields_of_the_config(self):
    request = self.request(
      "--preset=smoke",
      "--config.steps=7",
      "--config.widths",
      "4,5",
      "--noconfig.augment",
      "--config.weights=a=b.pth",
      "--config.optimizer.learning_rate=1e-2",
      "--config.optimizer.name=sgd",
      "--config.steps=8",  # the last one counts
    )
    self.assertEqual(
      request.config, Config(8, (4, 5), False, "a=b.pth", Optimizer(1e-2, "sgd"))
    )
    self.assertTrue(self.request("--config.augment").config.augment)
    self.assertFalse(self.request("--config.augment=false").config.augment)

  @parameterized.parameters(
    ("--preset=smke", "--preset 'smke' is unknown; did you mean smoke? valid: smoke,"),
    ("--mode=tran", "--mode 'tran' is unknown; did you mean train? valid: all, train"),
    ("--presett=demo", "'--presett' is unknown; did you mean --preset?"),
    (
      "--config.stesp=1",
      "'stesp' is unknown; did you mean steps? valid: steps, widths",
    ),
    ("--config.optimizer.nam=sgd", "did you mean optimizer.name?"),
    ("--config.optimizer=sgd", "'optimizer' is unknown"),
    ("--config.steps=many", "--config.steps: 'many' is not int"),
    ("--config.steps=-1", "steps is negative"),
    ("--config.augment=perhaps", "perhaps"),
    ("--config.optimizer.name=adma", "'adma' is not one of adam, sgd"),
    ("--config=7", "--config"),
    ("--num_processes=two", "--num_processes=two"),
    ("--preset", "Missing value for flag --preset"),
    ("demo", "'demo' is not a flag"),
    ("--data_dir=missing", "--data_dir=missing is no directory"),
    ("--inputs=a.png", "--inputs is for --mode=predict"),
    ("--out=here", "--out is for --mode=predict"),
    ("--mode=predict", "--mode=predict needs --inputs"),
    ("--mode=predict --inputs=no*.png", "no file is, or matches, 'no*.png'"),
    ("--mode=evaluate --overwrite", "--overwrite would remove"),
  )
  def test_wrong_words_are_named(self, words, message):
    with self.assertRaises(UserError) as caught:
      self.request(*words.split())
    self.assertIn(message, str(caught.exception))
    self.assertNotIn("\n", str(caught.exception))

  def test_inputs_are_files_lists_and_patterns(self):
    for name in ("b.png", "a.png", "c,d.jpg"):
      pathlib.Path(name).touch()
    request = self.request(
      "--mode=predict", "--inputs=*.png", "--inputs=c,d.jpg", "--inputs=b.png,a.png"
    )
    self.assertEqual(
      [path.name for path in request.inputs],
      ["a.png", "b.png", "c,d.jpg", "b.png", "a.png"],
    )

  def test_predict_takes_the_trained_config_from_the_workdir(self):
    self.perform("--preset=smoke", "--config.widths=4", "--workdir=w")
    pathlib.Path("a.png").touch()
    words = ("--mode=predict", "--inputs=a.png", "--workdir=w")
    seen = []

    def predict(config, run, inputs):
      seen.append((config, run.preset, inputs))
      (run.out / "a.txt").write_text("a cat")

    self.perform(*words, predict=predict)
    self.assertEqual(
      seen, [(Config(steps=3, widths=(4,)), "smoke", [epath.Path("a.png")])]
    )
    self.assertTrue(pathlib.Path("w/predictions/a.txt").exists())
    self.perform(*words, "--out=elsewhere", predict=predict)
    self.assertTrue(pathlib.Path("elsewhere/a.txt").exists())
    with self.assertRaisesRegex(UserError, "steps: 9 here, 3 in w"):
      self.perform(*words, "--config.steps=9", predict=predict)
    with self.assertRaisesRegex(UserError, "steps: 100 here, 3 in w"):
      self.perform(*words, "--preset=demo", predict=predict)

  def test_a_workdir_of_an_older_config_is_refused(self):
    self.perform("--workdir=w")
    owner = json.loads(pathlib.Path("w/config.json").read_text())
    owner["config"]["momentum"] = owner["config"].pop("steps")
    pathlib.Path("w/config.json").write_text(json.dumps(owner))
    with self.assertRaisesRegex(UserError, r"other fields \(momentum, steps\)"):
      self.request("--mode=evaluate", "--workdir=w")

  @parameterized.parameters(
    ("all", ["train", "evaluate"]),
    ("train", ["train"]),
    ("evaluate", ["evaluate"]),
  )
  def test_modes(self, mode, expected):
    done = []
    self.perform(
      f"--mode={mode}",
      "--workdir=w",
      train=lambda config, run: done.append("train"),
      evaluate=lambda config, run: done.append("evaluate"),
    )
    self.assertEqual(done, expected)
    self.assertTrue(pathlib.Path("w/report.html").exists())

  def test_the_command_repeats_the_run(self):
    pathlib.Path("my data").mkdir()
    words = (
      "--preset=smoke",
      "--config.widths=4",
      "--noconfig.augment",
      "--config.weights=a b",
      "--data_dir=my data",
    )
    self.perform(*words, "--workdir=w")
    command = json.loads(pathlib.Path("w/results.json").read_text())["command"]
    self.assertStartsWith(command, "python -m experiments.toy --preset=smoke ")
    again = self.request(*shlex.split(command)[3:])
    self.assertEqual(again.config, self.request(*words).config)
    self.assertEqual(again.data_dir, epath.Path("my data"))

  def test_help_lists_every_field_with_its_presets(self):
    values = flags.FlagValues()
    launcher.read_request("toy", Config, PRESETS, ["toy.py"], values)
    text = " ".join(values.get_help().split())
    self.assertIn("--config.steps: int, smoke 3, demo 100, paper 1000000", text)
    self.assertIn("--config.optimizer.name: one of adam, sgd, smoke 'adam'", text)
    own = {flag.name for flag in values.get_key_flags_for_module("toy.py")}
    self.assertContainsSubset({"preset", "config", "workdir", "overwrite"}, own)


class ExitTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (self.folder / "toy.py").write_text(textwrap.dedent(PROGRAM))

  def launch(self, *arguments):
    return subprocess.run(
      [sys.executable, "toy.py", *arguments],
      cwd=self.folder,
      capture_output=True,
      text=True,
    )

  def test_a_run_ends_with_the_reports_path(self):
    process = self.launch()
    self.assertEqual((process.returncode, process.stderr), (0, ""))
    last = process.stdout.splitlines()[-1]
    self.assertEqual(last, "report: runs/toy-demo/report.html")
    self.assertTrue((self.folder / last.removeprefix("report: ")).exists())

  @parameterized.parameters(
    ("--config.edn=x", "error: config field 'edn' is unknown; did you mean end?"),
    ("--config.end=user error", "error: the photograph is 1 pixel wide"),
  )
  def test_a_users_error_is_one_line_and_status_2(self, argument, message):
    process = self.launch(argument)
    self.assertEqual(process.returncode, 2, process.stderr)
    self.assertLen(process.stderr.splitlines(), 1)
    self.assertStartsWith(process.stderr, message)

  def test_status_143_passes_and_metrics_are_kept(self):
    self.assertEqual(self.launch("--config.end=terminated").returncode, 143)
    self.assertIn("loss", (self.folder / "runs/toy-demo/metrics.jsonl").read_text())

  @parameterized.parameters(
    (UserError("two\nlines"), 2, "error: two lines"),
    (KeyboardInterrupt(), 130, "error: interrupted; the same command goes on"),
    (
      OSError(errno.ENOSPC, "No space left on device", "w/metrics.jsonl"),
      2,
      "error: cannot write w/metrics.jsonl: No space left on device",
    ),
  )
  def test_one_line(self, error, status, line):
    def fail():
      raise error

    with (
      contextlib.redirect_stderr(io.StringIO()) as printed,
      self.assertRaises(SystemExit) as caught,
    ):
      launcher.told_in_one_line(fail)
    self.assertEqual(caught.exception.code, status)
    self.assertEqual(printed.getvalue(), line + "\n")

  def test_other_errors_keep_their_traceback(self):
    def fail():
      raise PermissionError(errno.EACCES, "Permission denied", "w")

    with self.assertRaises(PermissionError):
      launcher.told_in_one_line(fail)


if __name__ == "__main__":
  absltest.main()
