"""An experiment in a process of its own, through its real flags."""

import atexit
import functools
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]


def launch(paper: str, *flags: str) -> subprocess.CompletedProcess:
  """Returns what `python -m experiments.PAPER FLAGS` ended with.

  Launches of one test process share what they compile, so that a prediction after a
  smoke run starts warm.
  """
  return subprocess.run(
    [sys.executable, "-m", f"experiments.{paper}", *flags],
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


@functools.cache
def _cache() -> str:
  folder = tempfile.TemporaryDirectory()
  atexit.register(folder.cleanup)
  return folder.name
