"""The experiment through its own command line: smoke preset, then a prediction."""

import functools
import json
import pathlib
import tempfile

import jax
import numpy as np
from absl.testing import absltest

from experiments import mono2binaural as experiment
from jaxvision.data import images, sounds
from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.papers.mono2binaural.networks import Sizes
from jaxvision.train import launcher
from tests.experiments import launching

launch = functools.partial(launching.launch, "mono2binaural")


class ExperimentTest(absltest.TestCase):
  def test_smoke_trains_evaluates_and_predicts(self):
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    workdir = folder / "run"
    done = launch("--preset=smoke", f"--workdir={workdir}")
    self.assertEqual(done.returncode, 0, done.stderr)
    results = json.loads((workdir / "results.json").read_text())
    (distances,) = (table["rows"] for table in results["tables"])
    names = ["mono2binaural", "flipped_visual", "mono_mono"]
    self.assertEqual([row["method"] for row in distances], names)
    for row in distances:
      self.assertGreater(row["STFT"], 0)
      self.assertGreater(row["ENV"], 0)
    self.assertLen(results["claims"], 1)  # where it looks; nothing else is compared
    shown = [picture["name"] for picture in results["pictures"]]
    self.assertCountEqual(shown, ["ears", "occlusion"])

    # Nothing is written for a sound that cannot be used.
    rng = np.random.default_rng(0)
    mono, stereo = folder / "mono.wav", folder / "stereo.wav"
    samples = rng.uniform(-0.5, 0.5, (8000, 2)).astype(np.float32)
    sounds.write_wav(mono, samples[:, :1], 8000)
    sounds.write_wav(stereo, samples, 8000)
    frames = folder / "frames"
    frames.mkdir()
    for number in range(10):
      picture = rng.integers(256, size=(40, 80, 3)).astype(np.uint8)
      images.write_png(frames / f"{number + 1:06d}.png", picture)
    predict = ("--mode=predict", f"--workdir={workdir}")
    done = launch(*predict, f"--inputs={mono},{stereo},{frames}")
    self.assertEqual(done.returncode, 2)
    self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
    self.assertIn("stereo.wav: 2 channels where mono is expected", done.stderr)
    self.assertFalse(list((workdir / "predictions").glob("*")))

    done = launch(*predict, f"--inputs={mono},{frames}")
    self.assertEqual(done.returncode, 0, done.stderr)
    out = workdir / "predictions"
    (row,) = json.loads((out / "predictions.json").read_text())
    self.assertIn("resampled from 8000 to 4000 Hz", row["remarks"])
    heard, rate = sounds.read_wav(out / "mono-binaural.wav")
    self.assertEqual((heard.shape, rate), ((4000, 2), 4000))
    self.assertGreater(np.abs(heard[:, 0] - heard[:, 1]).max(), 0)
    for name in ("mono-spectrograms.png", "mono-occlusion.png"):
      self.assertGreater(images.read_rgb(out / name).std(), 0)

  def test_every_preset_has_stages_that_plan_and_benchmark_can_lower(self):
    for preset, config in experiment.PRESETS.items():
      names = list(config.variants)
      names += [f"separation_{kind}" for kind in config.separation]
      self.assertEqual(list(experiment.stages(config)), names, preset)
    for preset, name in (
      ("demo", "audio_only"),
      ("demo", "separation_mono"),
      ("paper", "mono2binaural"),
    ):
      stage = experiment.stages(experiment.PRESETS[preset])[name]
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, metrics = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      self.assertEqual(metrics["loss"].shape, ())
      loss = jax.eval_shape(stage.forward, state, stage.batch)
      self.assertEqual(loss.shape, ())

  def test_paper_preset_is_the_papers(self):
    config = experiment.PRESETS["paper"]
    self.assertEqual(config.sizes, Sizes())
    self.assertEqual(config.form, AudioFormat())
    self.assertEqual(
      (config.batch, config.epochs, config.decay_epochs), (256, 1000, 10)
    )
    self.assertEqual((config.audio_rate, config.visual_rate), (1e-3, 1e-4))
    self.assertEqual((config.weight_decay, config.decay), (5e-4, 0.94))
    stage = experiment.stages(config)["mono2binaural"]
    self.assertEqual(stage.batch["audio"].shape, (256, 10080, 2))
    self.assertEqual(stage.batch["frames"].shape, (256, 224, 448, 3))

  def test_wrong_names_and_missing_files_are_told_in_one_line(self):
    with self.assertRaisesRegex(launcher.UserError, "separation .*stereo.*there are"):
      launching.config("mono2binaural", experiment, "--config.separation=stereo")
    with self.assertRaisesRegex(launcher.UserError, "must be multiples of 32"):
      launching.config("mono2binaural", experiment, "--config.form.segment=0.6")
    with self.assertRaisesRegex(launcher.UserError, "variants are mono2binaural, aud"):
      launching.config("mono2binaural", experiment, "--config.variants=audio_only")
    with self.assertRaisesRegex(launcher.UserError, "form.rate is 4000, scenes.rate"):
      launching.config("mono2binaural", experiment, "--config.scenes.rate=8000")
    config = experiment.PRESETS["paper"]
    with self.assertRaisesRegex(launcher.UserError, "--config.imagenet=FILE"):
      experiment.train(config, None)
    with self.assertRaisesRegex(launcher.UserError, "fair_play is read from"):
      experiment.clips(config, None, "test")


if __name__ == "__main__":
  absltest.main()
