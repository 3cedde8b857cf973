"""What a result came from: the source's commit and the device."""

import functools
import pathlib
import platform
import re
import subprocess

import jax

import jaxvision


@functools.cache
def commit() -> str:
  """Returns this source tree's git commit, or the package's version without one."""
  source = pathlib.Path(jaxvision.__file__)
  git = ["git", "-C", str(source.parent)]
  try:
    # A package installed below some other repository is not that repository's commit.
    subprocess.run(
      [*git, "ls-files", "--error-unmatch", source.name],
      capture_output=True,
      check=True,
    )
    described = subprocess.run(
      [*git, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
      capture_output=True,
      check=True,
      text=True,
    )
  except (OSError, subprocess.CalledProcessError):
    return f"jaxvision {jaxvision.__version__}"
  return described.stdout.strip()


def device() -> str:
  """Returns what the run computes on, in words."""
  count, kind = jax.device_count(), jax.devices()[0].device_kind
  if jax.default_backend() != "cpu":
    return f"{count} × {kind}"
  name = platform.machine()
  cpuinfo = pathlib.Path("/proc/cpuinfo")
  if cpuinfo.exists():
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
    name = found[1] if found else name
  return f"{count} × CPU, {name}"
