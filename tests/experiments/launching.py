"""An experiment in a process of its own, through its real flags."""

import atexit
import functools
import os
import pathlib
import subprocess
import sys
import tempfile

from absl import flags

from jaxvision.train import launcher

ROOT = pathlib.Path(__file__).parents[2]


def launch(paper: str, *arguments: str) -> subprocess.CompletedProcess:
  """Returns what `python -m experiments.PAPER ARGUMENTS` ended with.

  Launches of one test process share what they compile, so that a prediction after a
  smoke run starts warm.
  """
  return subprocess.run(
    [sys.executable, "-m", f"experiments.{paper}", *arguments],
    cwd=ROOT,
    env=os.environ
    | {
      "PYTHONPATH": str(ROOT),
      "JAX_COMPILATION_CACHE_DIR": _cache(),
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    },
    capture_output=True,
    text=True,
  )


def config(paper: str, experiment, *arguments: str):
  """Returns the config that a command line asks for.

  Args:
    paper: the paper's name.
    experiment: its module.
    *arguments: the command line.
  """
  request, _ = launcher.read_request(
    paper,
    experiment.Config,
    experiment.PRESETS,
    [f"{paper}.py", *arguments],
    flags.FlagValues(),
  )
  return request.config


@functools.cache
def _cache() -> str:
  folder = tempfile.TemporaryDirectory()
  atexit.register(folder.cleanup)
  return folder.name
