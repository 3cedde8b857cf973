"""Tests of WAV files, against bytes written by hand."""

import pathlib
import struct
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxvision.data import sounds
from jaxvision.errors import UserError


def _wav(kind, bits, channels, body):
  """A WAV file at 8000 Hz; kind 1 is PCM, 3 float."""
  frame = channels * bits // 8
  header = struct.pack("<HHIIHH", kind, channels, 8000, 8000 * frame, frame, bits)
  chunks = b"WAVEfmt " + struct.pack("<I", 16) + header
  chunks += b"data" + struct.pack("<I", len(body)) + body
  return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


class SoundsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    directory = self.enterContext(tempfile.TemporaryDirectory())
    self.path = pathlib.Path(directory) / "sound.wav"

  @parameterized.parameters(
    (1, 8, bytes([0, 128, 192, 255]), [-1, 0, 0.5, 127 / 128]),
    (1, 16, struct.pack("<4h", -32768, 0, 16384, 1), [-1, 0, 0.5, 2**-15]),
    (1, 24, b"\0\0\x80" + bytes(3) + b"\0\0\x40\1\0\0", [-1, 0, 0.5, 2**-23]),
    (1, 32, struct.pack("<4i", -(2**31), 0, 2**30, 1), [-1, 0, 0.5, 2**-31]),
    (3, 32, struct.pack("<4f", -1, 0, 0.5, 1.5), [-1, 0, 0.5, 1.5]),
  )
  def test_samples_by_hand(self, kind, bits, body, expected):
    self.path.write_bytes(_wav(kind, bits, 2, body))
    samples, rate = sounds.read_wav(self.path)
    self.assertEqual((samples.dtype, rate), (np.float32, 8000))
    np.testing.assert_array_equal(samples, np.float32(expected).reshape(2, 2))
    if kind == 1:
      sounds.write_wav(self.path, samples, rate, bits=bits)
      self.assertEqual(self.path.read_bytes(), _wav(kind, bits, 2, body))

  @settings(max_examples=25, deadline=None)
  @given(
    hnp.arrays(np.int16, st.tuples(st.integers(1, 9), st.integers(1, 3))),
    st.sampled_from([16, 24, 32]),
  )
  def test_round_trip(self, integers, bits):
    samples = integers.astype(np.float32) / 2**15
    sounds.write_wav(self.path, samples, 44100, bits=bits)
    found, rate = sounds.read_wav(self.path)
    self.assertEqual(rate, 44100)
    np.testing.assert_array_equal(found, samples)

  def test_out_of_range_is_clipped(self):
    sounds.write_wav(self.path, np.float32([[2], [-2]]), 8000)
    np.testing.assert_array_equal(
      sounds.read_wav(self.path)[0], np.float32([[1 - 2**-15], [-1]])
    )

  def test_every_truncation_names_the_file(self):
    content = _wav(1, 16, 1, bytes(20))
    for length in range(len(content)):
      self.path.write_bytes(content[:length])
      with self.assertRaisesRegex(UserError, "sound.wav: "):
        sounds.read_wav(self.path)

  def test_other_file_is_refused(self):
    self.path.write_bytes(b"fLaC" + bytes(50))
    with self.assertRaisesRegex(UserError, "sound.wav: damaged or not a WAV file"):
      sounds.read_wav(self.path)


if __name__ == "__main__":
  absltest.main()
