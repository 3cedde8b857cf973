"""How fast this project runs here, beside what the machine can do.

  python -m experiments.benchmark                      # everything below
  python -m experiments.benchmark --papers=content_authentication
  python -m experiments.benchmark --papers=spade --stages=spade,concat
  python -m experiments.benchmark --convolutions | --jpeg | --fit

Each paper's forward pass and training step, at the batch of its demo preset, and what
its own `jaxvision/papers/<paper>/speed.py` times: median of at least 20 calls (3 where
a call takes seconds) after a warm-up, compile time apart, with one thread and with
all. FLOP/s (as XLA counts them) stand beside the matmul peak measured in the same
process. Rows that were measured replace those of the same name in
results/benchmark.json.
"""

import datetime
import functools
import importlib
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging

from experiments import benchmark_convolutions, benchmark_jpeg
from jaxvision.errors import UserError
from jaxvision.train import launcher
from jaxvision.train.memory import keep_freed_memory

_PAPERS = flags.DEFINE_list("papers", None, "experiments to time; all when not given")
_STAGES = flags.DEFINE_list("stages", None, "their stages to time; all when not given")
_TIMED_PRESET = flags.DEFINE_string("timed_preset", "demo", "preset that is timed")
_REPEATS = flags.DEFINE_integer("repeats", 20, "timed calls per figure", lower_bound=20)
_OUT = flags.DEFINE_string("out", "results/benchmark.json", "where rows are kept")
_CHILD = flags.DEFINE_string("child", None, "table to print as JSON (used by itself)")
_ONE_CORE = flags.DEFINE_bool("one_core", False, "keep to one core (used by itself)")
_TABLES = {
  "convolutions": "convolutions beside lax and, where installed, PyTorch",
  "jpeg": "the differentiable JPEG beside Pillow",
  "fit": "what fit adds to a bare jitted loop",
}
for _name, _what in _TABLES.items():
  flags.DEFINE_bool(_name, False, f"time only {_what}")

ONE_THREAD = {
  "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
  "OMP_NUM_THREADS": "1",
  "OPENBLAS_NUM_THREADS": "1",
}


def seconds(call, *, repeats: int = 20, limit: float = float("inf")) -> float:
  """Returns the median time of `call()`, after one call that does not count.

  Args:
    call: what is timed.
    repeats: how often.
    limit: seconds after which three timed calls are enough.
  """
  jax.block_until_ready(call())
  times = []
  while len(times) < repeats and (len(times) < 3 or sum(times) < limit):
    start = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - start)
  return statistics.median(times)


def peak_flops(size: int = 1536) -> float:
  """Returns the FLOP/s of a float32 matrix product of `size` squared."""
  matrix = jnp.ones((size, size), jnp.float32)
  product = jax.jit(jnp.matmul)
  return 2 * size**3 / seconds(lambda: product(matrix, matrix))


def random_batch(specification):
  """Returns a batch of a Stage's shapes: floats uniform in [0, 1), integers 0."""
  rng = np.random.default_rng(0)

  def fill(leaf):
    if jnp.issubdtype(leaf.dtype, jnp.floating):
      return rng.random(leaf.shape, np.float32).astype(leaf.dtype)
    return np.zeros(leaf.shape, leaf.dtype)

  return jax.tree.map(fill, specification)


def stage_rows(paper: str, preset: str, repeats: int) -> list[dict]:
  """Returns two rows a stage: its network's inference and its training step.

  A paper that trains no network has no stages, and so no rows.
  """
  module = importlib.import_module(f"experiments.{paper}")
  rows = []
  if not hasattr(module, "stages"):
    return rows
  stages = module.stages(module.PRESETS[preset])
  for name in _STAGES.value or ():
    if name not in stages:
      raise UserError(f"--stages={name}: {paper} has {', '.join(stages)}")
  for stage in [stages[name] for name in _STAGES.value or stages]:
    state = jax.jit(stage.init)(jax.random.key(0))
    batch = jax.device_put(random_batch(stage.batch))
    for what, function in (("forward", stage.forward), ("step", stage.step)):
      start = time.perf_counter()
      compiled = jax.jit(function).lower(state, batch).compile()
      compile_seconds = time.perf_counter() - start
      flops = compiled.cost_analysis().get("flops", float("nan"))
      duration = seconds(functools.partial(compiled, state, batch), repeats=repeats)
      rows.append(
        {
          "name": f"{paper}/{stage.name} {what}",
          "batch": jax.tree.leaves(stage.batch)[0].shape[0],
          "milliseconds": 1e3 * duration,
          "compile_seconds": compile_seconds,
          "gflops_per_second": flops / duration / 1e9,
        }
      )
  return rows


def speed_rows(paper: str, repeats: int) -> list[dict]:
  """Returns the rows of a paper's own `speed.rows(seconds)`, if it has that module.

  `seconds(call)` is the timer that it measures with; whole solutions take seconds, and
  are then timed less often than a step.
  """
  name = f"jaxvision.papers.{paper}.speed"
  if importlib.util.find_spec(name) is None:
    return []
  timer = functools.partial(seconds, repeats=repeats, limit=5.0)
  return importlib.import_module(name).rows(timer)


def fit_rows(steps: int = 100) -> list[dict]:
  """Returns the time a step of about 10 ms takes in `fit` and in a bare loop."""
  import tempfile

  import optax
  from etils import epath

  from jaxvision import train

  width = 384 if jax.default_backend() == "cpu" else 4096
  shape = (width, width)

  def loss_fn(params, model_state, batch, rng):
    del rng
    features = batch["x"]
    for _ in range(3):
      features = jnp.tanh(features @ params)
    return jnp.mean(jnp.square(features)), ({}, model_state)

  optimizer = optax.adam(1e-4)
  step = train.gradient_step(loss_fn, optimizer)
  params = 0.04 * jax.random.normal(jax.random.key(1), shape)
  state = train.State.create(jax.random.key(0), params, optimizer)
  batch = {"x": np.ones((512, width), np.float32)}

  class BareRun:
    is_main = True

    def __init__(self, workdir):
      self.workdir = epath.Path(workdir)

    def log(self, message):
      del message

    def scalars(self, stage, step, values):
      del stage, step, values

  compiled = jax.jit(step, donate_argnums=0)

  def bare():
    current = jax.tree.map(jnp.copy, state)
    start = time.perf_counter()
    for _ in range(steps):
      current, _ = compiled(current, jax.device_put(batch))
    jax.block_until_ready(current.params)
    return time.perf_counter() - start

  def fitted():
    # fit compiles in its first call: two lengths of run tell the steps' own time.
    times = []
    for count in (10, 10 + steps):
      with tempfile.TemporaryDirectory() as workdir:
        start = time.perf_counter()
        train.fit(
          BareRun(workdir),
          "fit",
          state,
          step,
          lambda _: batch,
          count,
          checkpoint_every=0,
        )
        times.append(time.perf_counter() - start)
    return times[1] - times[0]

  bare()
  pairs = [(bare(), fitted()) for _ in range(9)]
  plain = statistics.median(pair[0] for pair in pairs) / steps
  ours = statistics.median(pair[1] for pair in pairs) / steps
  ratio = statistics.median(ours / plain for plain, ours in pairs)
  return [
    {"name": "bare jitted loop", "milliseconds": 1e3 * plain},
    {"name": "fit", "milliseconds": 1e3 * ours, "over_bare": ratio},
  ]


def table(name: str) -> list[dict]:
  """Returns the rows of one table, measured in this process."""
  if name == "fit":
    return fit_rows()
  if name == "convolutions":
    one = ONE_THREAD["XLA_FLAGS"] in os.environ.get("XLA_FLAGS", "")
    return benchmark_convolutions.table(1 if one else os.cpu_count())
  if name == "jpeg":
    return benchmark_jpeg.rows()
  peak = peak_flops()
  rows = stage_rows(name, _TIMED_PRESET.value, _REPEATS.value)
  rows += speed_rows(name, _REPEATS.value)
  for row in rows:
    if "gflops_per_second" in row:
      row["of_peak"] = row["gflops_per_second"] * 1e9 / peak
  return [{"name": "matmul peak", "gflops_per_second": peak / 1e9}, *rows]


def in_child(name: str, threads: str) -> list[dict]:
  """Returns a table's rows from a process of its own, with `threads` one or all."""
  environment = dict(os.environ)
  command = [sys.executable, "-m", "experiments.benchmark", f"--child={name}"]
  command += [f"--timed_preset={_TIMED_PRESET.value}", f"--repeats={_REPEATS.value}"]
  if threads == "one":
    environment |= ONE_THREAD
    command.append("--one_core")
  if _STAGES.value:
    command.append(f"--stages={','.join(_STAGES.value)}")
  child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
  if child.returncode:
    raise UserError(f"timing {name} with {threads} threads failed (its error is above)")
  return [row | {"threads": threads} for row in json.loads(child.stdout)]


def show(rows: list[dict]):
  """Prints rows as one table with a column for each of their keys."""
  columns = list(dict.fromkeys(key for row in rows for key in row))

  def text(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)

  lines = [columns] + [[text(row.get(key, "")) for key in columns] for row in rows]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  for line in lines:
    print(
      "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
    )


def keep(path: str, tables: dict[str, list[dict]]):
  """Puts tables into the JSON file, replacing those of the same name."""
  file = pathlib.Path(path)
  kept = json.loads(file.read_text()) if file.exists() else {}
  about = {
    "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    "device": f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores",
    "python": platform.python_version(),
    "jax": jax.__version__,
  }
  kept |= {name: {**about, "rows": rows} for name, rows in tables.items()}
  file.parent.mkdir(parents=True, exist_ok=True)
  temporary = file.with_suffix(".part")
  temporary.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
  temporary.replace(file)


def main(argv):
  if len(argv) > 1:
    raise UserError(f"benchmark takes flags only, not {argv[1]}")
  logging.set_verbosity(logging.WARNING)  # orbax tells of every file it opens
  if _CHILD.value:
    if _ONE_CORE.value and hasattr(os, "sched_setaffinity"):
      # XLA's matrix products take threads that its flags do not count.
      os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    keep_freed_memory()  # as the launcher does
    print(json.dumps(table(_CHILD.value)))
    return
  experiments = pathlib.Path(__file__).parent
  papers = sorted(
    folder.name
    for folder in (experiments.parent / "jaxvision" / "papers").iterdir()
    if (experiments / f"{folder.name}.py").exists()
  )
  for paper in _PAPERS.value or ():
    if paper not in papers:
      raise UserError(f"--papers={paper}: there are {', '.join(papers)}")
  names = [name for name in _TABLES if flags.FLAGS[name].value]
  if not names or _PAPERS.value:
    names += _PAPERS.value or [*_TABLES, *papers]
  for name in names:
    rows = in_child(name, "one")
    if jax.default_backend() != "cpu" or os.cpu_count() > 1:
      rows += in_child(name, "all")
    print(f"\n{name}")
    show(rows)
    keep(_OUT.value, {name: rows})


if __name__ == "__main__":
  app.run(lambda argv: launcher.told_in_one_line(lambda: main(argv)))
