"""Tests of mono2binaural's files: FAIR-Play, the user's recordings, and segments."""

import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from etils import epath

from jaxvision.data import builder, hdf5, images, sounds
from jaxvision.errors import UserError
from jaxvision.papers.mono2binaural import (
  data,
  evaluation,
  fair_play,
  figures,
  networks,
  prediction,
  recordings,
)
from jaxvision.papers.mono2binaural.audio import AudioFormat
from tests.papers.mono2binaural_networks import FORM

RNG = np.random.default_rng(0)


def noise(seconds, rate=2000, channels=2):
  return RNG.uniform(-0.5, 0.5, (int(seconds * rate), channels)).astype(np.float32)


class TemporaryCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.enterContext(tempfile.TemporaryDirectory())
    self.folder = epath.Path(folder)


class FairPlayTest(TemporaryCase):
  def setUp(self):
    super().setUp()
    self.manual = self.folder / "manual"
    self.pictures, self.sounds = {}, {}
    for number, name in enumerate(("000001", "000002", "000003", "000004")):
      sound = noise(1.0, 16000)
      path = self.manual / "binaural_audios" / f"{name}.wav"
      path.parent.mkdir(parents=True, exist_ok=True)
      sounds.write_wav(path, sound, 16000)
      self.sounds[name] = sound
      frames = self.manual / "frames" / f"{name}.mp4"
      frames.mkdir(parents=True)
      for frame in range(3 + number):
        picture = RNG.integers(256, size=(12, 20, 3)).astype(np.uint8)
        images.write_png(frames / f"{frame + 1:06d}.png", picture)
        self.pictures[name, frame] = picture
    self.lists = self.manual / "splits" / "split2"
    self.lists.mkdir(parents=True)
    root = "/somewhere/else/binaural16k"
    for split, names in (("train", "321"), ("val", "4"), ("test", "1")):
      paths = [f"{root}/00000{name}.wav".encode() for name in names]
      hdf5.write_hdf5(self.lists / f"{split}.h5", {"audio": np.array(paths)})

  def load(self, split):
    kind = fair_play.split(2)
    return builder.load(
      kind, split, data_dir=self.folder / "data", manual_dir=self.manual
    )

  def test_clips_are_what_was_written(self):
    train = self.load("train")
    self.assertLen(train, 3)
    clip = train[0]
    self.assertEqual(clip["audio"].dtype, np.int16)
    np.testing.assert_allclose(
      data.samples(clip["audio"]), self.sounds["000003"], atol=2e-5
    )
    self.assertEqual(data.count_frames(clip), 5)
    for frame in (0, 4):
      found = data.read_frame(clip, frame)
      np.testing.assert_array_equal(found, self.pictures["000003", frame])
    self.assertLen(self.load("val"), 1)
    halves = fair_play.Half(train, 0), fair_play.Half(train, 1)
    self.assertEqual([len(half) for half in halves], [2, 1])
    np.testing.assert_array_equal(halves[1][0]["audio"], train[1]["audio"])
    self.assertLen(data.Head(train, 2), 2)

  def test_a_segment_of_a_real_clip(self):
    form = AudioFormat(segment=0.63)
    prepare = data.Preparation(form, 14, 28)
    example = prepare(self.load("train")[0], np.random.default_rng(0))
    self.assertEqual(example["audio"].shape, (10080, 2))
    self.assertEqual(example["frames"].shape, (14, 28, 3))
    self.assertEqual(example["frames"].dtype, np.float32)
    self.assertBetween(example["frames"].min(), 0, example["frames"].max())

  def test_sounds_of_other_rates_are_resampled(self):
    path = self.manual / "binaural_audios" / "000001.wav"
    sounds.write_wav(path, noise(0.5, 48000), 48000)
    clip = fair_play.read_clip(path, self.manual / "frames" / "000001.mp4")
    self.assertEqual(clip["audio"].shape, (8000, 2))

  @parameterized.parameters(
    ("binaural_audios/000004.wav", "000004.wav: no such file"),
    ("frames/000002.mp4", "000002.mp4: holds no frames"),
    ("splits/split2/val.h5", "missing in .*splits/split2/val.h5.*Get FAIR-Play"),
  )
  def test_what_is_missing_is_named(self, name, message):
    path = self.manual / name
    path.rmtree() if path.is_dir() else path.unlink()
    with self.assertRaisesRegex(UserError, message):
      self.load("train")

  def test_damage_and_mono_are_named(self):
    sound = self.manual / "binaural_audios" / "000001.wav"
    frames = self.manual / "frames" / "000001.mp4"
    (frames / "000002.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    with self.assertRaisesRegex(UserError, "000002.png"):
      fair_play.read_clip(sound, frames)
    sounds.write_wav(sound, noise(1, 16000, 1), 16000)
    with self.assertRaisesRegex(UserError, "000001.wav: 1 channels where two"):
      fair_play.read_clip(sound, frames)
    with self.assertRaisesRegex(UserError, "splits 1 to 10, not 11"):
      fair_play.split(11)


class SegmentsTest(parameterized.TestCase):
  def test_the_frame_is_the_one_in_the_middle(self):
    clip = {
      "audio": noise(2.0),
      "frames": np.arange(20, dtype=np.uint8)[:, None, None, None]
      * np.ones((1, 8, 8, 3), np.uint8),
    }
    prepare = data.Preparation(FORM, 8, 8, augment=False)
    for seed in range(5):
      example = prepare(clip, np.random.default_rng(seed))
      start = np.flatnonzero(clip["audio"][:, 0] == example["audio"][0, 0])[0]
      np.testing.assert_array_equal(
        example["audio"], clip["audio"][start : start + FORM.samples]
      )
      seconds = (start + FORM.samples / 2) / FORM.rate
      shown = round(float(example["frames"][0, 0, 0] * 255))
      self.assertEqual(shown, round((seconds + 0.05) * 10) - 1)
      self.assertLessEqual(start + FORM.samples, len(clip["audio"]) - 200)

  def test_augmentation_crops_and_changes_light(self):
    prepare = data.Preparation(FORM, 14, 28)
    ramp = np.zeros((15, 30, 3), np.uint8)
    ramp[..., 0] = 8 * np.arange(30)
    found = {}
    for seed in range(8):
      found[seed] = prepare.picture(ramp, np.random.default_rng(seed))
      self.assertEqual(found[seed].shape, (14, 28, 3))
    self.assertGreater(np.ptp([one[0, -1, 0] for one in found.values()]), 0.05)
    plain = prepare.picture(ramp)
    np.testing.assert_array_equal(plain, prepare.picture(ramp))
    # Never mirrored: red grows to the right.
    for one in found.values():
      self.assertGreater(one[0, -1, 0], one[0, 0, 0])

  def test_mixtures_are_of_partners(self):
    kinds, columns = np.array([0, 0, 1, 0, 2]), np.array([0.0, 9.0, 3.0, 1.0, 5.0])
    partners = data.partners(5, kinds, columns, 4.0)
    self.assertEqual([list(p) for p in partners[:2]], [[1], [0, 3]])
    self.assertEqual(list(partners[2]), [0, 1, 3, 4])  # none is like it
    self.assertEqual(list(data.partners(3)[1]), [0, 2])
    self.assertEqual(data.pairs(data.partners(3), 9), [(0, 1), (0, 2), (1, 2)])
    self.assertEqual(data.pairs(data.partners(3), 2), [(0, 1), (1, 2)])

    clips = [{"audio": noise(1.0), "frames": np.zeros((1, 8, 8, 3), np.uint8)}] * 5
    heard = [np.full((2000, 1), number, np.float32) for number in range(5)]
    mixing = data.Mixing(data.Preparation(FORM, 8, 8, False), clips, heard, partners)
    example = mixing(0, np.random.default_rng(0))
    self.assertEqual(set(example["first"].flat), {0.0})
    self.assertEqual(set(example["second"].flat), {1.0})
    self.assertEqual(example["second"].shape, (FORM.samples, 1))
    self.assertEqual(example["frames"].shape, (8, 8, 3))


class RecordingsTest(TemporaryCase):
  def write(self, samples, rate=2000, name="a.wav"):
    sounds.write_wav(self.folder / name, samples, rate)
    return self.folder / name

  def read(self, path, **options):
    return recordings.read(path, FORM.rate, shortest=FORM.segment, **options)

  def test_mono_is_heard_by_both_ears(self):
    samples = noise(1.0, channels=1)
    found = self.read(self.write(samples))
    self.assertTrue(found.is_mono)
    np.testing.assert_allclose(found.clip, np.repeat(samples, 2, 1), atol=2e-5)
    self.assertEqual(found.remarks, ())

  def test_other_rates_are_resampled_and_said(self):
    time = np.arange(8000) / 8000
    tone = np.float32(0.5 * np.sin(2 * np.pi * 300 * time))[:, None]
    found = self.read(self.write(tone, 8000))
    self.assertEqual(found.remarks, ("resampled from 8000 to 2000 Hz",))
    expected = 0.5 * np.sin(2 * np.pi * 300 * np.arange(2000) / 2000)
    np.testing.assert_allclose(found.clip[100:-100, 0], expected[100:-100], atol=0.01)

  def test_binaural_recordings_are_taken_only_if_asked_for(self):
    path = self.write(noise(1.0))
    with self.assertRaisesRegex(UserError, "2 channels where mono .*mix_down"):
      self.read(path)
    found = self.read(path, mix_down=True)
    self.assertFalse(found.is_mono)
    with self.assertRaisesRegex(UserError, "3 channels where mono is expected"):
      self.read(self.write(noise(1.0, channels=3)), mix_down=True)

  def test_what_cannot_be_used_is_said(self):
    silent = self.write(np.zeros((2000, 1), np.float32))
    with self.assertRaisesRegex(UserError, "a.wav: silent"):
      self.read(silent)
    opposite = noise(1.0, channels=1) * np.array([[1, -1]], np.float32)
    with self.assertRaisesRegex(UserError, "silent"):
      self.read(self.write(opposite), mix_down=True)
    loud = np.clip(8 * noise(1.0, channels=1), -1, 1)
    with self.assertRaisesRegex(UserError, "clipped: .* % of its samples"):
      self.read(self.write(loud))
    with self.assertRaisesRegex(UserError, "0.20 s, where 0.496 s are needed"):
      self.read(self.write(noise(0.2, channels=1)))
    with self.assertRaisesRegex(UserError, "holds no samples"):
      self.read(self.write(np.zeros((0, 1), np.float32)))
    (self.folder / "b.wav").write_bytes(b"RIFF")
    with self.assertRaisesRegex(UserError, "b.wav"):
      self.read(self.folder / "b.wav")

  def test_a_few_clipped_samples_are_remarked(self):
    samples = noise(1.0, channels=1)
    samples[5] = 1.0
    (remark,) = self.read(self.write(samples)).remarks
    self.assertIn("clipped", remark)

  def test_pictures_of_folders_come_in_order(self):
    frames = self.folder / "frames"
    frames.mkdir()
    for number in (2, 1):
      picture = np.full((4, 6, 3), number, np.uint8)
      images.write_png(frames / f"{number:06d}.png", picture)
    found = recordings.read_pictures([frames])
    self.assertEqual([one[0, 0, 0] for one in found], [1, 2])
    for paths, message in (
      ([], "give a picture"),
      ([self.folder / "film.mp4"], "ffmpeg -i film.mp4"),
      ([self.folder / "none.png"], "none.png: no such file"),
    ):
      with self.assertRaisesRegex(UserError, message):
        recordings.read_pictures(paths)
    (self.folder / "empty").mkdir()
    with self.assertRaisesRegex(UserError, "empty: holds no pictures"):
      recordings.read_pictures([self.folder / "empty"])

  def test_inputs_need_sound(self):
    prepare = data.Preparation(FORM, 8, 8, False)
    with self.assertRaisesRegex(UserError, "give a WAV file"):
      prediction.read_inputs([self.folder / "a.png"], prepare, mix_down=False)


class PredictionTest(TemporaryCase):
  def test_a_loud_prediction_is_made_to_fit_and_compared(self):
    clip = noise(1.0)

    def method(given, frames):
      return 2.5 * given

    method.form = FORM
    method.network = networks.Sizes().make(sees=False)
    recording = recordings.Recording(self.folder / "x.wav", clip, False, ("resampled",))
    made = prediction.predict(
      method, recording, np.zeros((2, 8, 8, 3)), block=4, frame_rate=10
    )
    rows = prediction.write(self.folder, [made, made])
    self.assertEqual(
      [row["binaural"] for row in rows], ["x-binaural.wav", "x-2-binaural.wav"]
    )
    written, rate = sounds.read_wav(self.folder / "x-binaural.wav")
    self.assertEqual(rate, 2000)
    self.assertAlmostEqual(float(np.abs(written).max()), 0.99, delta=0.01)
    row = rows[0]
    self.assertLess(row["gain"], 1)
    self.assertAlmostEqual(row["STFT distance"], 0, delta=1e-6)
    self.assertLen(row["remarks"], 3)  # resampled, too few frames, quieter
    self.assertGreater(images.read_rgb(self.folder / row["spectrograms"]).std(), 10)

  def test_the_loudest_segment_is_found(self):
    clip = np.zeros((100, 2))
    clip[60:70] = 1
    start = prediction.loudest_segment(clip, 20, 15)
    self.assertEqual(start, 60)

  def test_colours_tell_the_louder_ear(self):
    time = np.arange(2000) / 2000
    clip = np.zeros((2000, 2), np.float32)
    clip[:, 0] = np.sin(2 * np.pi * 250 * time)
    clip[:, 1] = np.sin(2 * np.pi * 750 * time)
    picture = figures.balance_picture(clip, FORM)
    self.assertEqual(picture.shape, (33, 63, 3))
    low, high = picture[32 - 8, 30], picture[32 - 24, 30]
    self.assertGreater(low[2], low[0] + 0.3)  # blue
    self.assertGreater(high[0], high[2] + 0.3)  # orange
    rows = evaluation.compared(
      [(clip, np.zeros((3, 8, 8, 3)))], {"swap_ears": lambda c, _: c[:, ::-1]}, FORM
    )
    swapped = rows[0]["swap ears"]
    self.assertGreater(swapped[32 - 8, 30, 0], swapped[32 - 8, 30, 2] + 0.3)
    figures.rows_figure(rows)


if __name__ == "__main__":
  absltest.main()
