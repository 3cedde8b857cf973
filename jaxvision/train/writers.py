"""Metrics to files: metrics.jsonl and TensorBoard events, never in the way of a step.

A thread of its own converts, writes and flushes, so that neither a device nor a disk
is waited for where the training loop runs.
"""

import json
import pathlib
import queue
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from jaxvision.train.configs import jsonable

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
PICTURES = "pictures"


def write_atomically(path: epath.Path, data: bytes | str) -> None:
  """Writes a file so that a reader finds the old one or the new one, whole."""
  partial = path.parent / f".{path.name}.partial"
  partial.write_bytes(data.encode() if isinstance(data, str) else data)
  partial.replace(path)


def read_metrics(directory: epath.Path) -> list[dict[str, Any]]:
  """Returns the lines of a directory's metrics.jsonl; a torn last line is left out."""
  path = epath.Path(directory) / METRICS
  if not path.exists():
    return []
  lines = []
  for line in path.read_text().splitlines():
    try:
      lines.append(json.loads(line))
    except json.JSONDecodeError:
      break  # the process was killed while it wrote this line
  return lines


def png_size(png: bytes) -> tuple[int, int]:
  """Returns (width, height) of a PNG: the first fields of its first chunk."""
  return struct.unpack(">II", png[16:24])


def _is_remote(directory: epath.Path) -> bool:
  return "://" in str(directory)


class MetricWriter:
  """Writes a run's scalars and images from a background thread.

  Each stage has its own TensorBoard run, `tensorboard/STAGE`. When a stage goes on in
  a directory that already holds it, what it had written from its first new step on is
  dropped, so that no curve doubles.
  """

  def __init__(self, directory: epath.Path, flush_seconds: float = 5.0):
    self._directory = epath.Path(directory)
    self._flush_seconds = flush_seconds
    self._remote = _is_remote(self._directory)
    # Object stores cannot append: there, files grow here and are copied at a flush.
    self._spool = pathlib.Path(
      tempfile.mkdtemp(prefix="jaxvision-") if self._remote else self._directory
    )
    self._events: dict[str, Any] = {}
    self._stages: set[str] = set()
    self._lines = None
    self._flushed = time.monotonic()
    self._error: Exception | None = None
    self._jobs: queue.SimpleQueue = queue.SimpleQueue()
    self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
    self._thread.start()

  def scalars(self, stage: str, step: int, values: Mapping[str, Any]) -> None:
    """Writes {name: scalar} of one step; device scalars are fetched in the thread."""
    self.submit(self._write_scalars, stage, int(step), dict(values), time.time())

  def picture(
    self, name: str, file: str, encode: Callable[[], bytes], step: int
  ) -> None:
    """Writes a PNG, encoded in the thread, to a file and as TensorBoard's `name`."""
    self.submit(self._write_picture, name, file, encode, step)

  def submit(self, job: Callable, *arguments: Any) -> None:
    """Has the thread call a function; its error is raised by the next call here."""
    self._raise()
    self._jobs.put((job, arguments))

  def flush(self) -> None:
    """Returns when all that was given so far is on disk."""
    done = threading.Event()
    self._jobs.put((self._flush, ()))
    self._jobs.put((done.set, ()))
    done.wait()
    self._raise()

  def close(self) -> None:
    """Writes the rest and ends the thread; a second call does nothing."""
    if self._thread.is_alive():
      self._jobs.put((self._close, ()))
      self._jobs.put(None)
      self._thread.join()
    self._raise()

  def _raise(self) -> None:
    error, self._error = self._error, None
    if error is not None:
      raise error

  def _work(self) -> None:
    while True:
      try:
        job = self._jobs.get(timeout=self._flush_seconds)
      except queue.Empty:
        job = (self._flush, ())
      if job is None:
        return
      function, arguments = job
      try:
        function(*arguments)
        if time.monotonic() - self._flushed > self._flush_seconds:
          self._flush()
      except Exception as error:  # raised where the loop next calls
        self._error = self._error or error

  def _write_scalars(
    self, stage: str, step: int, values: dict[str, Any], wall_time: float
  ) -> None:
    values = {name: float(value) for name, value in values.items()}
    self._begin(stage, step)
    line = {"stage": stage, "step": step, "time": round(wall_time, 3)} | values
    self._lines.write(json.dumps(jsonable(line)) + "\n")
    summary = [{"tag": name, "simple_value": value} for name, value in values.items()]
    self._write_event(stage, step, wall_time, summary=summary)

  def _write_picture(
    self, name: str, file: str, encode: Callable[[], bytes], step: int
  ) -> None:
    png = encode()
    path = self._directory / file
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, png)
    width, height = png_size(png)
    image = {"height": height, "width": width, "encoded_image_string": png}
    summary = [{"tag": name, "image": image}]
    self._write_event(PICTURES, step, time.time(), summary=summary)

  def _begin(self, stage: str, step: int) -> None:
    """Opens the files and, at a stage's first line, drops what it will write anew."""
    if stage in self._stages:
      return
    if self._lines is not None:
      self._lines.close()
    elif self._remote and (self._directory / METRICS).exists():
      (self._directory / METRICS).copy(self._spool / METRICS)
    kept = [
      json.dumps(line) + "\n"
      for line in read_metrics(self._spool)
      if line["stage"] != stage or line["step"] < step
    ]
    write_atomically(epath.Path(self._spool / METRICS), "".join(kept))
    self._lines = (self._spool / METRICS).open("a")
    self._stages.add(stage)

  def _write_event(
    self, folder: str, step: int, wall_time: float, summary: list[dict]
  ) -> None:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2, summary_pb2

    # tensorboardX's SummaryWriter has a thread of its own, whose errors nobody sees.
    if folder not in self._events:
      path = self._spool / TENSORBOARD / folder
      path.mkdir(parents=True, exist_ok=True)
      writer = EventsWriter(str(path / "events"), f".{time.time_ns()}")
      self._events[folder] = writer
      # TensorBoard forgets what an earlier process wrote from this step on.
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      writer.write_event(
        event_pb2.Event(step=step, wall_time=wall_time, session_log=start)
      )
    self._events[folder].write_event(
      event_pb2.Event(
        step=step, wall_time=wall_time, summary=summary_pb2.Summary(value=summary)
      )
    )

  def _flush(self) -> None:
    if self._lines is not None:
      self._lines.flush()
    for events in self._events.values():
      events.flush()
    if self._remote:
      for path in self._spool.rglob("*"):
        if path.is_file():
          target = self._directory / path.relative_to(self._spool).as_posix()
          target.parent.mkdir(parents=True, exist_ok=True)
          epath.Path(path).copy(target, overwrite=True)
    self._flushed = time.monotonic()

  def _close(self) -> None:
    self._flush()
    if self._lines is not None:
      self._lines.close()
    for events in self._events.values():
      events.close()
    if self._remote:
      shutil.rmtree(self._spool)
