"""One XLA thread a worker: two pytest workers share two cores."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XLA_FLAGS"] = " ".join(
  [
    os.environ.get("XLA_FLAGS", ""),
    "--xla_cpu_multi_thread_eigen=false",
    "intra_op_parallelism_threads=1",
  ]
).strip()


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
