"""One XLA thread a worker: two pytest workers share two cores."""

import gc
import os
import pathlib

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XLA_FLAGS"] = " ".join(
  [
    os.environ.get("XLA_FLAGS", ""),
    "--xla_cpu_multi_thread_eigen=false",
    "intra_op_parallelism_threads=1",
  ]
).strip()

# Linux allows a process 65,530 maps of memory; XLA takes some dozens for all that a
# test compiles, and crashes where there are no more.
_MANY_MAPS = 25_000


@pytest.fixture(autouse=True, scope="module")
def compiled_functions_are_dropped():
  """Frees what earlier modules compiled, once it takes many maps of memory."""
  yield
  maps = pathlib.Path("/proc/self/maps")
  if maps.exists() and maps.read_bytes().count(b"\n") > _MANY_MAPS:
    import jax

    jax.clear_caches()
    gc.collect()


def pytest_addoption(parser):
  parser.addoption(
    "--parity-dir",
    help="directory of parity pairs to run instead of tests/parity/cases",
  )


def pytest_terminal_summary(terminalreporter):
  lines = [
    value
    for reports in terminalreporter.stats.values()
    for report in reports
    if getattr(report, "when", None) == "call"
    for name, value in report.user_properties
    if name == "parity"
  ]
  if lines:
    terminalreporter.section("parity")
    for line in sorted(lines):
      terminalreporter.write_line(line)
