"""Tests of metrics.jsonl and TensorBoard events."""

import json
import pathlib
import struct
import tempfile
import threading
from unittest import mock

import jax.numpy as jnp
from absl.testing import absltest
from etils import epath
from tensorboardX.proto import event_pb2

from jaxvision.train import writers

# The signature and the header of an image 3 wide and 2 high; the rest does not matter.
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 3, 2) + b"..."


def read_events(directory: pathlib.Path) -> list[event_pb2.Event]:
  """Returns the events in a TensorBoard run, read record by record."""
  events = []
  for path in sorted(directory.glob("events.out.tfevents.*")):
    data, offset = path.read_bytes(), 0
    while offset < len(data):
      (length,) = struct.unpack_from("<Q", data, offset)  # then 4 bytes of checksum
      record = data[offset + 12 : offset + 12 + length]
      events.append(event_pb2.Event.FromString(record))
      offset += 12 + length + 4
  return events


class WritersTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def write(self, stage, steps, value=1.0):
    writer = writers.MetricWriter(self.directory)
    for step in steps:
      writer.scalars(stage, step, {"loss": value})
    writer.close()

  def steps(self, stage):
    lines = writers.read_metrics(self.directory)
    return [(line["step"], line["loss"]) for line in lines if line["stage"] == stage]

  def test_a_line_has_stage_step_time_and_values(self):
    writer = writers.MetricWriter(self.directory)
    writer.scalars("first", 3, {"loss": jnp.float32(0.5), "eval/x": float("nan")})
    writer.close()
    text = (self.directory / "metrics.jsonl").read_text()
    line = json.loads(text, parse_constant=self.fail)  # strict JSON has no NaN
    self.assertGreater(line.pop("time"), 1e9)
    self.assertEqual(line, {"stage": "first", "step": 3, "loss": 0.5, "eval/x": "NaN"})

  def test_a_stage_that_goes_on_does_not_double_its_curve(self):
    self.write("first", [1, 2], value=0.0)
    self.write("second", [1, 2, 3, 4, 5], value=1.0)
    self.write("second", [4, 5, 6], value=2.0)
    self.assertEqual(self.steps("first"), [(1, 0.0), (2, 0.0)])
    self.assertEqual(
      self.steps("second"), [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (6, 2.0)]
    )

  def test_a_torn_last_line_is_dropped(self):
    self.write("first", [1, 2])
    with (self.directory / "metrics.jsonl").open("a") as file:
      file.write('{"stage": "first", "st')
    self.assertEqual(self.steps("first"), [(1, 1.0), (2, 1.0)])
    self.write("first", [3])
    self.assertEqual(self.steps("first"), [(1, 1.0), (2, 1.0), (3, 1.0)])

  def test_tensorboard_reads_scalars_images_and_the_resumed_step(self):
    writer = writers.MetricWriter(self.directory)
    writer.scalars("first", 7, {"loss": 0.25})
    writer.picture("a patch", "pictures/a.png", lambda: PNG, 7)
    writer.close()
    events = read_events(self.directory / "tensorboard" / "first")
    values = [(e.step, v.tag, v.simple_value) for e in events for v in e.summary.value]
    self.assertEqual(values, [(7, "loss", 0.25)])
    starts = [e.step for e in events if e.session_log.status == 1]
    self.assertEqual(starts, [7])
    self.assertEqual((self.directory / "pictures" / "a.png").read_bytes(), PNG)
    (image,) = [
      value.image
      for event in read_events(self.directory / "tensorboard" / "pictures")
      for value in event.summary.value
    ]
    self.assertEqual((image.height, image.width), (2, 3))
    self.assertEqual(image.encoded_image_string, PNG)

  def test_processes_of_one_second_do_not_share_an_event_file(self):
    for step in range(3):
      self.write("first", [step])
    events = read_events(self.directory / "tensorboard" / "first")
    self.assertEqual([e.step for e in events if e.summary.value], [0, 1, 2])

  def test_writing_blocks_no_step(self):
    writer = writers.MetricWriter(self.directory)
    released = threading.Event()
    writer.submit(released.wait)
    writer.scalars("first", 1, {"loss": 1.0})  # returns though the thread is held
    self.assertEmpty(self.steps("first"))
    released.set()
    writer.close()
    self.assertLen(self.steps("first"), 1)

  def test_flush_and_the_clock_bring_lines_to_the_disk(self):
    writer = writers.MetricWriter(self.directory, flush_seconds=3600.0)
    writer.scalars("first", 1, {"loss": 1.0})
    writer.flush()
    self.assertLen(self.steps("first"), 1)
    writer.close()
    writer = writers.MetricWriter(self.directory, flush_seconds=0.01)
    flushed = threading.Event()
    with mock.patch.object(writer, "_flush", flushed.set):
      self.assertTrue(flushed.wait(timeout=30.0))
    writer.close()

  def test_an_error_in_the_thread_is_raised_once_where_the_loop_calls(self):
    writer = writers.MetricWriter(self.directory)
    writer.scalars("first", 1, {"loss": "not a number"})
    with self.assertRaisesRegex(ValueError, "not a number"):
      writer.flush()
    writer.scalars("first", 2, {"loss": 1.0})
    writer.close()
    self.assertEqual(self.steps("first"), [(2, 1.0)])

  def test_a_directory_that_cannot_append_gets_whole_files(self):
    self.write("first", [1, 2], value=0.0)
    with mock.patch.object(writers, "_is_remote", return_value=True):
      writer = writers.MetricWriter(self.directory)
    writer.scalars("first", 2, {"loss": 5.0})
    writer.flush()
    self.assertEqual(self.steps("first"), [(1, 0.0), (2, 5.0)])
    writer.scalars("first", 3, {"loss": 6.0})
    writer.close()
    self.assertEqual(self.steps("first"), [(1, 0.0), (2, 5.0), (3, 6.0)])
    self.assertFalse(writer._spool.exists())

  def test_atomic_write_replaces_and_leaves_nothing_else(self):
    path = epath.Path(self.directory) / "a.json"
    writers.write_atomically(path, "old")
    writers.write_atomically(path, b"new")
    self.assertEqual(path.read_text(), "new")
    self.assertEqual([p.name for p in self.directory.iterdir()], ["a.json"])


if __name__ == "__main__":
  absltest.main()
