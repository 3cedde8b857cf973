"""Test that freed memory is kept, in a process of its own: the setting is for all."""

import platform
import subprocess
import sys

from absl.testing import absltest

PROGRAM = """
import resource
import numpy as np
from jaxvision.train import memory

memory.keep_freed_memory()
np.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
  np.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


class MemoryTest(absltest.TestCase):
  def test_the_same_pages_serve_again(self):
    child = subprocess.run(
      [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    if platform.libc_ver()[0] == "glibc":
      # Ten times 128 MiB would be 640 pages even of 2 MiB each.
      self.assertLess(int(child.stdout), 100)


if __name__ == "__main__":
  absltest.main()
