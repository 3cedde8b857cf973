"""Tests of what is checked, averaged, written and shown of the metrics."""

import io
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.train import NonFiniteError, logbook
from tests.train import tiny


class Terminal(io.StringIO):
  def isatty(self):
    return True


class LogbookTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.run_ = tiny.Run("unused")

  def add(self, *rows, **options):
    """Adds rows of the metrics a and b to the book of a run of 4 steps."""
    with logbook.Logbook(self.run_, "stage", 0, 4, log_every=3) as book:
      for row in rows:
        book.add(["a", "b"], np.array(row, np.float32), num_examples=5)

  def test_means_over_windows_and_the_rest(self):
    self.add([[1, 2], [3, 4]], [[5, 9], [7, 8]])
    curves = {("stage", "a"): {3: 3.0, 4: 7.0}, ("stage", "b"): {3: 5.0, 4: 8.0}}
    self.assertEqual(self.run_.curves, curves)

  @parameterized.parameters(np.nan, np.inf, -np.inf)
  def test_first_value_that_is_not_finite_is_named(self, value):
    with self.assertRaisesRegex(NonFiniteError, f"stage: b is {value} at step 2$"):
      self.add([[1, 1]], [[1, value], [np.nan, 1]])

  @mock.patch.object(logbook, "SECONDS_BETWEEN_LINES", 0.0)
  def test_plain_lines_elsewhere(self):
    with mock.patch("sys.stderr", io.StringIO()) as stderr:
      self.add([[1, 2], [3, 4], [5, 9]], [[7, 8]])
    self.assertEqual(stderr.getvalue(), "")
    self.assertLen(self.run_.lines, 3)
    speed = r"\(\S+ steps/s, \S+ examples/s, "
    self.assertRegex(self.run_.lines[0], f"^stage: step 3/4 a 3 b 5 {speed}ETA 0:00:00")
    self.assertRegex(
      self.run_.lines[2], f"^stage: step 4/4 a 7 b 8 {speed}took 0:00:00"
    )

  def test_bar_on_a_terminal(self):
    with mock.patch("sys.stderr", Terminal()) as stderr:
      self.add([[1, 2], [3, 4], [5, 9], [7, 8]])
    self.assertRegex(stderr.getvalue(), r"stage: 100%.*4/4.*a 7 b 8")

  def test_only_the_main_process_shows_a_bar(self):
    self.run_.is_main = False
    with mock.patch("sys.stderr", Terminal()) as stderr:
      self.add([[1, 2]])
    self.assertEqual(stderr.getvalue(), "")


if __name__ == "__main__":
  absltest.main()
