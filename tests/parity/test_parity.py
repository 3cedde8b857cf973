"""Every parity case of a directory: ours against the authors' published code.

pytest tests/parity [--parity-dir=DIR]
"""

from pathlib import Path

from tests.parity import harness


def pytest_generate_tests(metafunc):
  directory = metafunc.config.getoption("--parity-dir")
  cases = harness.load_cases(
    Path(directory) if directory else Path(__file__).parent / "cases"
  )
  metafunc.parametrize(
    "case", cases, ids=[f"{case.paper}-{case.name}" for case in cases]
  )


def test_parity(case, record_property):
  agreements = case.run(harness.load_adapters(case.paper))
  worst = max(agreements, key=lambda one: one.used)
  line = (
    f"{case.paper}/{case.name}: {worst.output} differs by {worst.error:.1e} "
    f"of {worst.tolerance:.0e}"
  )
  print(line)
  record_property("parity", line)
  failed = [one for one in agreements if not one.holds]
  assert not failed, "; ".join(
    f"{case.name}: {one.output} differs by {one.error:.2e}, allowed {one.tolerance:.0e}"
    for one in failed
  )
