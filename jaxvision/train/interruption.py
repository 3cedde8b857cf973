"""SIGTERM and SIGINT while training: noted, so that the loop can save first."""

import signal
import threading


class Interruption:
  """Context that puts off SIGTERM and SIGINT to its end, where it exits the program.

  The status is 128 + the signal's number: 143 or 130.

  A second SIGINT interrupts at once, for the impatient; further SIGTERMs, which
  schedulers like to send in series, change nothing. Outside of the main thread, where
  Python allows no handlers, nothing is changed.

  Attributes:
    signal: number of the first signal received, or 0.
  """

  def __init__(self):
    self.signal = 0
    self._previous = {}

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *exception):
    for number, handler in self._previous.items():
      # None stands for a handler installed by C code, which Python cannot put back.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if self.signal and exception[0] is None:
      raise SystemExit(128 + self.signal)

  def _note(self, number, frame):
    self.signal = self.signal or number
    if number == signal.SIGINT:
      signal.signal(signal.SIGINT, signal.default_int_handler)
