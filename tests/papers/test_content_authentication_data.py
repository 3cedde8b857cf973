"""Tests of content_authentication: cameras, data, training, predictions."""

import json
import pathlib
import tempfile
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized
from etils import epath

from jaxvision.data import images
from jaxvision.errors import UserError
from jaxvision.ops import bayer
from jaxvision.ops.demosaic import menon
from jaxvision.papers.content_authentication import (
  camera,
  data,
  dataset,
  pipelines,
  prediction,
  training,
)
from jaxvision.papers.content_authentication.forensics import FAN
from jaxvision.papers.content_authentication.workflow import Workflow

GREY = jnp.broadcast_to(jnp.linspace(0.2, 0.9, 64)[:, None, None], (1, 64, 32, 3))


class CameraTest(parameterized.TestCase):
  def test_color_matrices_keep_white(self):
    for device in camera.CAMERAS.values():
      np.testing.assert_allclose(np.sum(device.color_matrix, axis=1), 1, atol=1e-3)

  def test_simulated_sensor_has_the_noise_and_the_bits_asked_for(self):
    raw, target = jax.jit(lambda x: camera.simulate(x, camera.D90, jax.random.key(0)))(
      GREY
    )
    light = 0.9 * GREY**2.2
    np.testing.assert_allclose(target, light ** (1 / 2.2), atol=1e-3)
    np.testing.assert_allclose(4095 * raw, jnp.round(4095 * raw), atol=1e-2)
    clean = bayer.sample(light, "GBRG")
    scaled = (raw - clean) / jnp.sqrt(1e-4 * clean + 1e-5)
    self.assertAlmostEqual(float(jnp.std(scaled)), 1.0, delta=0.05)

  def test_low_pass_filter_blurs_both_raw_and_target(self):
    photograph = jnp.zeros((1, 16, 16, 3)).at[0, 8, 8].set(1.0)
    key = jax.random.key(0)
    sharp, blurred = (
      jax.jit(lambda x, w=w: camera.simulate(x, camera.D90, key, low_pass=w)[1])(
        photograph
      )
      for w in (0.0, 1.0)
    )
    self.assertEqual(float(sharp[0, 8, 9, 0]), 0.0)
    self.assertGreater(float(blurred[0, 8, 9, 0]), 0.1)

  def test_preparing_balances_and_packs(self):
    sensor = jnp.array([[[100.0, 300.0], [500.0, 1100.0]]])
    planes = camera.prepare_raw(
      sensor, "GBRG", black=100, saturation=1100, multipliers=(4.0, 2.0, 3.0)
    )
    np.testing.assert_allclose(planes[0, 0, 0], [0.8, 0.0, 1.0, 0.3], rtol=1e-6)

  def test_developing_stretches_by_percentiles(self):
    planes = bayer.sample(0.5 * GREY, "RGGB")
    device = camera.CAMERAS["D7000"]
    develop = jax.jit(camera.develop, static_argnums=1, static_argnames="stretch")
    stretched = develop(planes, device)
    plain = develop(planes, device, stretch=None)
    linear = camera.convert_color(
      jax.jit(menon, static_argnums=1)(planes, "RGGB"), device.color_matrix
    )
    np.testing.assert_allclose(plain, linear ** (1 / 2.2), rtol=1e-3)
    dark = np.percentile(linear, 0.5)
    bright = np.percentile(linear - dark, 99.5)
    expected = np.clip((linear - dark) / bright, 0, 1) ** (1 / 2.2)
    np.testing.assert_allclose(stretched, expected, atol=5e-3)

  def test_gamma_has_a_finite_gradient_at_black(self):
    gradient = jax.grad(lambda x: jnp.sum(camera.encode_gamma(x)))(jnp.zeros(3))
    np.testing.assert_array_equal(gradient, np.zeros(3))


def numbered_pair(height: int = 20, width: int = 24) -> data.Pair:
  """Returns a pair whose values say where they are."""
  rows, columns = np.mgrid[:height, :width]
  raw = np.stack([rows, columns, rows, columns], axis=-1).astype(np.uint16)
  target = np.zeros((2 * height, 2 * width, 3), np.uint8)
  target[..., 0] = np.arange(2 * height)[:, None]
  target[..., 1] = np.arange(2 * width)
  return data.Pair(raw, target)


class PatchesTest(parameterized.TestCase):
  def batch(self, step, seed=0, pairs=None, **options):
    pairs = pairs or [numbered_pair(), numbered_pair(30, 26)]
    batches = data.training_batches(pairs, batch_size=4, size=6, seed=seed, **options)
    return batches(step)

  def test_raw_and_target_show_the_same_place(self):
    batch = self.batch(3)
    chex.assert_shape(batch["raw"], (4, 6, 6, 4))
    chex.assert_shape(batch["target"], (4, 12, 12, 3))
    row = np.round(65535 * batch["raw"][:, 0, 0, 0])
    np.testing.assert_allclose(255 * batch["target"][:, 0, 0, 0], 2 * row, atol=1e-3)

  def test_batches_depend_on_seed_and_step_alone(self):
    chex.assert_trees_all_equal(self.batch(5), self.batch(5))
    for other in (self.batch(6), self.batch(5, seed=1)):
      self.assertFalse(np.array_equal(other["raw"], self.batch(5)["raw"]))

  def test_processes_share_the_batch_of_one(self):
    alone = self.batch(2)
    shares = []
    for index in range(2):
      with (
        mock.patch.object(jax, "process_count", return_value=2),
        mock.patch.object(jax, "process_index", return_value=index),
      ):
        shares.append(self.batch(2))
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *shares)
    chex.assert_trees_all_equal(together, alone)

  def test_flat_patches_are_rejected(self):
    raw, target = numbered_pair(64, 64)
    target = np.where(np.arange(128) < 96, 0, 255 * (np.arange(128) % 2))
    target = np.broadcast_to(target[None, :, None], (128, 128, 3)).astype(np.uint8)
    pair = data.Pair(raw, target)
    patches = data.validation_patches([pair], per_image=20, size=4, seed=0)
    self.assertGreater(np.var(patches["target"], axis=(1, 2, 3)).min(), data.FLAT)
    flat = data.Pair(raw, np.zeros_like(target))  # nothing else to be had
    data.validation_patches([flat], per_image=1, size=4, seed=0)

  def test_photographs_smaller_than_a_patch_are_refused(self):
    with self.assertRaisesRegex(UserError, "40 pixels has no patches of 60"):
      data.validation_patches([numbered_pair()], per_image=1, size=30, seed=0)

  def test_demo_photographs_are_disjoint_and_simulated(self):
    self.assertFalse(set(data.TRAIN_PHOTOGRAPHS) & set(data.VALIDATION_PHOTOGRAPHS))
    pairs = data.simulate_pairs(
      data.VALIDATION_PHOTOGRAPHS, camera.D90, jax.random.key(0), shape=(32, 48)
    )
    chex.assert_shape([pair.raw for pair in pairs], (16, 24, 4))
    chex.assert_type([pair.raw for pair in pairs], np.uint16)
    chex.assert_shape([pair.target for pair in pairs], (32, 48, 3))


class DatasetTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.manual_dir = epath.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data_dir = self.enterContext(tempfile.TemporaryDirectory())
    (self.manual_dir / "EOS-5D").mkdir()
    self.pairs = []
    for number in range(5):
      pair = numbered_pair()
      pair.raw[0, 0] = number
      np.save(self.manual_dir / f"EOS-5D/r{number}.npy", pair.raw)
      images.write_png(self.manual_dir / f"EOS-5D/r{number}.png", pair.target)
      self.pairs.append(pair)
    self.enterContext(mock.patch.object(dataset.RawPairs, "NUM_TRAIN", 3))

  def load(self, split="train", camera="EOS-5D"):
    return dataset.load_pairs(camera, split, self.data_dir, self.manual_dir)

  def test_files_of_the_authors_come_back_as_they_are(self):
    chex.assert_trees_all_equal(self.load(), self.pairs[:3])
    chex.assert_trees_all_equal(self.load("validation"), self.pairs[3:])

  @parameterized.parameters(
    (np.full((20, 24, 4), np.nan, np.float32), "r1.npy.*float32"),
    (np.zeros((20, 24), np.uint16), r"r1.npy.*\[20, 24\]"),
  )
  def test_other_arrays_are_refused_by_name(self, array, message):
    np.save(self.manual_dir / "EOS-5D/r1.npy", array)
    with self.assertRaisesRegex(UserError, message):
      self.load()

  def test_truncated_arrays_are_refused_by_name(self):
    path = pathlib.Path(self.manual_dir / "EOS-5D/r2.npy")
    path.write_bytes(path.read_bytes()[:-100])
    with self.assertRaisesRegex(UserError, "r2.npy"):
      self.load()

  def test_sizes_that_do_not_meet_are_refused_by_name(self):
    np.save(self.manual_dir / "EOS-5D/r0.npy", numbered_pair(18, 24).raw)
    with self.assertRaisesRegex(UserError, "r0: the RAW stack is 18 x 24"):
      self.load()

  def test_missing_files_are_told(self):
    empty = self.enterContext(tempfile.TemporaryDirectory())
    with self.assertRaisesRegex(UserError, "npy.*neural-imaging"):
      dataset.load_pairs("D90", "train", self.data_dir, empty)
    with self.assertRaisesRegex(UserError, "D90.*EOS_5D_train"):
      self.load(camera="D90")

  def test_too_few_photographs_are_told(self):
    with (
      mock.patch.object(dataset.RawPairs, "NUM_TRAIN", 5),
      self.assertRaisesRegex(UserError, "EOS-5D: 5 photographs"),
    ):
      self.load()


class TrainingTest(parameterized.TestCase):
  def test_rate_decays_after_epoch_0_already(self):
    schedule = training.decayed_rate(1.0, factor=0.5, every=100, epoch_steps=6)
    for step, rate in ((0, 1), (5, 1), (6, 0.5), (605, 0.5), (606, 0.25)):
      self.assertEqual(schedule(step), rate)

  def test_convergence_is_that_of_the_authors(self):
    falling = list(np.linspace(2.0, 1.0, 11))
    self.assertFalse(training.has_converged(falling, 1e-3))
    self.assertTrue(training.has_converged([*falling, *[1.0] * 6], 1e-3))
    self.assertFalse(training.has_converged([1.0] * 10, 1e-3))  # too few to decide
    self.assertFalse(training.has_converged([1.0] * 20, 0.0))

  def test_history_outlives_the_process(self):
    path = epath.Path(self.enterContext(tempfile.TemporaryDirectory())) / "losses.json"
    history = training.History(path, True)
    for step, loss in ((10, 3.0), (20, 2.0)):
      history.add(step, loss)
    self.assertEqual(training.History(path, False).until(10), [3.0])
    self.assertEqual(training.History(path, False).until(30), [3.0, 2.0])

  @parameterized.parameters("fan", "sum", "turns")
  def test_who_learns(self, learning):
    flow = Workflow(pipelines.INet(), FAN(filters=(2,), dense=()))
    pair = numbered_pair()
    batch = data.training_batches([pair], batch_size=1, size=8, seed=0)(0)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch)
    optimizer = optax.adam(1e-3)
    stage = training.authentication_stage(
      "stage", flow, optimizer, shapes, learning=learning
    )
    networks = flow.quick_init(jax.random.key(0), batch["raw"])
    state = training.authentication_state(
      jax.random.key(1), *networks, optimizer, learning=learning, weight=0.1
    )
    chex.assert_trees_all_equal_shapes(
      state, jax.eval_shape(stage.init, jax.random.key(0)).replace(rng=state.rng)
    )
    after, metrics = jax.jit(stage.step)(state, batch)
    self.assertEqual(int(after.step), 1)
    chex.assert_tree_all_finite(metrics)
    has_learned = {
      name: not np.array_equal(
        *(jax.flatten_util.ravel_pytree(s.params[name])[0] for s in (state, after))
      )
      for name in ("nip", "fan")
    }
    self.assertEqual(has_learned, {"nip": learning != "fan", "fan": True})
    np.testing.assert_array_equal(
      after.model_state["constants"]["upsampling"], bayer.scatter_kernel("GBRG")
    )


class PredictionTest(parameterized.TestCase):
  def test_a_photograph_is_judged_by_the_mean_of_its_tiles(self):
    photograph = np.zeros((20, 36, 3), np.float32)
    photograph[:16, 16:32] = 1.0  # one of two whole tiles of 16

    def judge(tiles):
      brightness = tiles.mean((1, 2, 3))
      return jnp.stack([brightness, 1 - brightness], axis=-1)

    probabilities = prediction.judge_photograph(judge, photograph, 16)
    np.testing.assert_allclose(probabilities, [0.5, 0.5], atol=1e-6)

  def test_files_that_cannot_be_judged_are_named(self):
    folder = epath.Path(self.enterContext(tempfile.TemporaryDirectory()))
    images.write_png(folder / "small.png", np.zeros((40, 20, 3), np.uint8))
    (folder / "text.png").write_text("no image")
    for name, reason in (("small", "20 x 40 pixels"), ("text", "text.png")):
      with self.assertRaisesRegex(UserError, reason):
        prediction.read_photographs([folder / f"{name}.png"], 32)

  def test_predictions_are_written_twice(self):
    folder = epath.Path(self.enterContext(tempfile.TemporaryDirectory()))
    one = {
      "file": "a,b.png",
      "verdict": "native",
      "probabilities": {"native": 0.75, "jpeg": 0.25},
    }
    prediction.write(folder, [one])
    self.assertEqual(json.loads((folder / "predictions.json").read_text()), [one])
    self.assertEqual(
      (folder / "predictions.csv").read_text().splitlines(),
      ["file,verdict,native,jpeg", '"a,b.png",native,0.75,0.25'],
    )


if __name__ == "__main__":
  absltest.main()
