"""A TestCase that writes a file and loads it."""

import tempfile
from pathlib import Path

import numpy as np
from absl.testing import parameterized

from jaxvision import published
from jaxvision.errors import UserError


class FileTestCase(parameterized.TestCase):
  def directory(self) -> Path:
    return Path(self.enterContext(tempfile.TemporaryDirectory()))

  def write(self, data: bytes, file_name: str) -> Path:
    path = self.directory() / file_name
    path.write_bytes(data)
    return path

  def load(self, data: bytes, file_name: str = "weights.pkl") -> dict[str, np.ndarray]:
    return published.load(self.write(data, file_name))

  def assert_refused(self, pattern: str, data: bytes, file_name: str = "weights.pkl"):
    path = self.write(data, file_name)
    with self.assertRaisesRegex(UserError, pattern) as caught:
      published.load(path)
    message = str(caught.exception)
    self.assertStartsWith(message, f"{path}: ")
    self.assertNotIn("\n", message)

  def assert_survives_damage(self, data: bytes, file_name: str = "weights.pkl"):
    """Checks that a file cut or changed anywhere loads or is refused in one line."""
    rng = np.random.default_rng(0)
    path = self.write(data, file_name)
    for _ in range(150):
      damaged = bytearray(data[: rng.integers(1, len(data) + 1)])
      if rng.random() < 0.7:
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
          damaged[at] = rng.integers(256)
      path.write_bytes(damaged)
      try:
        published.load(path)
      except UserError as error:
        self.assertStartsWith(str(error), f"{path}: ")
