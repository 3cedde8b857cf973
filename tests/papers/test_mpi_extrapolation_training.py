"""Tests of the data, training and predictions of mpi_extrapolation."""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized
from etils import epath

from jaxvision.data import images, realestate
from jaxvision.errors import UserError
from jaxvision.ops import mpi
from jaxvision.papers.mpi_extrapolation import (
  baselines,
  data,
  model,
  prediction,
  starting,
  training,
)
from jaxvision.papers.mpi_extrapolation.realestate import Clips, draw_frames
from jaxvision.train import fit, jit_once
from tests.train import tiny

RIG = data.Rig(12, 16, 2.0, 20.0, 0.25)


def random_examples(count=3, height=12, width=16):
  rng = np.random.default_rng(0)
  poses = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
  moved = poses.copy()
  moved[:, 0, 3] = 0.25
  return {
    "reference": rng.random((count, height, width, 3), np.float32),
    "sources": rng.random((count, 1, height, width, 3), np.float32),
    "target": rng.random((count, height, width, 3), np.float32),
    "reference_pose": poses,
    "source_poses": moved[:, None],
    "target_pose": moved,
    "intrinsics": np.tile(RIG.intrinsics, (count, 1, 1)),
  }


class DataTest(parameterized.TestCase):
  def test_motions_are_so_many_baselines(self):
    sources, targets = data.draw_motions(0, 20, RIG, (2.0, 3.0))
    np.testing.assert_allclose(np.abs(sources[:, 0, 3]), 0.25, rtol=1e-3)
    shifts = np.abs(targets[:, 0, 3]) / 0.25
    self.assertTrue(np.all((shifts > 1.95) & (shifts < 3.05)))
    for pose in (*sources, *targets):
      np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-5)

  def test_a_smaller_size_sees_the_same_rays(self):
    examples = random_examples()
    small = data.at_resolution(examples, 2, 8, 2.0, 20.0)
    blocks = examples["sources"].reshape(3, 1, 6, 2, 8, 2, 3).mean(axis=(3, 5))
    np.testing.assert_allclose(small["sources"], blocks, rtol=1e-5)
    expected = RIG.intrinsics / np.float32([[2], [2], [1]])
    np.testing.assert_allclose(small["intrinsics"][0], expected)
    np.testing.assert_allclose(
      small["depths"][1], mpi.plane_depths(2.0, 20.0, 8), rtol=1e-5
    )

  def test_batches_follow_from_seed_and_step(self):
    def make(seed):
      return data.training_batches(
        data.reader(random_examples()),
        batch_size=2,
        seed=seed,
        resolutions=((1, 4), (2, 8)),
        near=2.0,
        far=20.0,
      )

    one, other = make(0), make(0)
    sizes = set()
    for step in (5, 0, 3, 1, 2, 4):
      batch, again = one(step), other(step)
      for name in batch:
        np.testing.assert_array_equal(batch[name], again[name])
      sizes.add((batch["reference"].shape[1], batch["depths"].shape[1]))
    self.assertEqual(sizes, {(12, 4), (6, 8)})
    different = [
      np.any(one(s)["target"].mean() != make(1)(s)["target"].mean()) for s in range(6)
    ]
    self.assertTrue(any(different))

  def test_rendered_triplets_agree_with_their_poses(self):
    examples = data.render_examples(0, 1, RIG, ("chelsea",), reach=(2.0, 2.0), cards=0)
    # The background alone: the target's plane, swept, shows what the reference sees.
    batch = data.at_resolution(examples, 1, 64, 2.0, 20.0)
    swept = jax.jit(mpi.plane_sweep_volume)(
      batch["target"],
      batch["target_pose"] @ np.linalg.inv(batch["reference_pose"]),
      jnp.asarray(batch["depths"]),
      batch["intrinsics"],
    )
    error = np.abs(swept - batch["reference"][:, :, :, None])[:, 2:-2, 5:-5]
    errors = error.mean(axis=(0, 1, 2, 4))
    self.assertLess(errors.argmin(), 6)  # 1.3 / 20 is the third of 64 planes
    self.assertLess(errors.min(), 0.5 * errors[20])


class TrainingTest(absltest.TestCase):
  def test_a_stopped_training_goes_on_with_the_same_bits_at_all_sizes(self):
    network = model.Extrapolator((2,), (), -1.0)
    shapes = data.batch_shapes(1, 12, 16, 2)
    stage = training.stage("mpi", network, optax.flatten(optax.adam(5e-3)), shapes)
    batches = data.training_batches(
      data.reader(random_examples(1)),
      batch_size=1,
      seed=0,
      resolutions=((1, 2), (2, 4)),
      near=2.0,
      far=20.0,
    )
    state = jit_once(stage.init)(jax.random.key(0))

    def run(*lengths):
      folder = self.enterContext(tempfile.TemporaryDirectory())
      log = tiny.Run(epath.Path(folder))
      for steps in lengths:
        end = fit(log, "mpi", state, stage.step, batches, steps, log_every=1)
      return end, log

    whole, log = run(30)
    parts, _ = run(7, 30)
    tiny.assert_same_bits(parts, whole)
    losses = np.array(list(log.curves["mpi", "loss"].values()))
    large = [batches(i)["depths"].shape[1] == 2 for i in range(30)]
    losses = losses[large]
    self.assertLess(losses[-1], 0.95 * losses[0])  # noise has a floor
    self.assertIn(("mpi", "refined"), log.curves)

  def test_generator_and_discriminator_learn_in_turn(self):
    stage = training.adversarial_stage(
      "adversarial",
      baselines.DirectExtrapolator((2,), (), -1.0),
      baselines.PatchDiscriminator(2),
      optax.flatten(optax.adam(1e-2)),
      data.batch_shapes(1, 8, 8, 2),
      weight=5.0,
    )
    examples = data.at_resolution(random_examples(1, 8, 8), 1, 2, 2.0, 20.0)
    before = jit_once(stage.init)(jax.random.key(0))
    after, metrics = jit_once(stage.step)(before, examples)  # what learns, not how well
    for group in ("generator", "discriminator"):
      moved = jax.tree.map(
        lambda new, old: np.abs(new - old).max(),
        after.params[group],
        before.params[group],
      )
      self.assertGreater(max(jax.tree.leaves(moved)), 1e-3)
    self.assertEqual(int(after.step), 1)
    self.assertTrue(np.all(np.isfinite(list(metrics.values()))))
    view = jax.eval_shape(stage.forward, before, examples)
    self.assertEqual(view.shape, (1, 8, 8, 3))

  def test_initial_kernels_are_glorots(self):
    network = model.Extrapolator((8, 16), (1,))
    shape = jax.ShapeDtypeStruct((1, 4, 4, 2, 7), jnp.float32)
    params = training.initial_params(network, jax.random.key(0), shape)
    expected = jax.eval_shape(network.init, jax.random.key(0), shape)["params"]
    self.assertEqual(jax.tree.map(jnp.shape, params), jax.tree.map(jnp.shape, expected))
    kernel = params["initial"]["conv_2"]["kernel"]
    limit = np.sqrt(6 / (27 * (8 + 16)))
    self.assertLess(np.abs(kernel).max(), limit)
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.05)
    other = params["initial"]["conv_3"]["kernel"]
    self.assertNotAlmostEqual(float(kernel[0, 0, 0, 0, 0]), float(other[0, 0, 0, 0, 0]))


class StartingTest(absltest.TestCase):
  def test_planes_begin_opaque_where_the_views_agree(self):
    network = model.Extrapolator((10, 7), (1,))
    reference = jax.random.uniform(jax.random.key(1), (1, 9, 10, 1, 3), minval=-1)
    other = jax.random.uniform(jax.random.key(2), (1, 9, 10, 8, 3), minval=-1)
    other = other.at[:, :, :, 5].set(reference[:, :, :, 0])  # the fifth plane is right
    number = jnp.broadcast_to(jnp.linspace(0, 1, 8)[:, None], (1, 9, 10, 8, 1))
    same = jnp.broadcast_to(reference, other.shape)
    volume = jnp.concatenate([other, same, number], axis=-1)
    shape = jax.ShapeDtypeStruct(volume.shape, volume.dtype)

    @jit_once
    def predict(key):
      params = training.initial_params(network, key, shape)
      return network.apply({"params": starting.matching(params)}, volume)

    first, other = predict(jax.random.key(0)), predict(jax.random.key(2))
    colors = np.tanh(1.5 * same)
    np.testing.assert_allclose(first.initial[..., :3], colors, atol=1e-5)
    # Other channels, which differ from seed to seed, add a little.
    self.assertGreater(np.abs(first.initial - other.initial)[..., 3].max(), 1e-4)
    opacity = np.asarray(first.initial[0, 2:-2, 2:-2, :, 3])
    self.assertTrue(np.all(opacity[..., 5] > 0.9))
    self.assertTrue(np.all(opacity[..., 1:5] < 0.1))
    np.testing.assert_allclose(first.flow, 0.0, atol=1e-5)
    seen = np.asarray(mpi.transmittance(first.initial[..., 3]))
    farthest = 3.0 * (np.arange(8) == 0)
    expected = (np.tanh(6 * seen - 1.5 + farthest) + 1) / 2
    np.testing.assert_allclose(first.refined[..., 3], expected, atol=1e-5)

  def test_too_few_channels_are_refused(self):
    network = model.Extrapolator((7, 4), ())
    shape = jax.ShapeDtypeStruct((1, 4, 4, 2, 7), jnp.float32)
    params = training.initial_params(network, jax.random.key(0), shape)
    with self.assertRaisesRegex(ValueError, "7 channels of conv_0 cannot be 10"):
      starting.matching(params)


class ClipsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def make(self, frames=12):
    poses = np.tile(np.eye(4, dtype=np.float32), (frames, 1, 1))
    poses[:, 0, 3] = np.arange(frames)
    cameras = realestate.Cameras(
      "url", np.arange(frames) * 1000, np.tile([0.5, 0.9, 0.5, 0.5], (frames, 1)), poses
    )
    for part in ("cameras/train", "frames/train/a"):
      (self.folder / part).mkdir(parents=True)
    realestate.write_cameras(self.folder / "cameras/train/a.txt", cameras)
    for index in range(frames):
      image = np.full((8, 12, 3), 20 * index, np.uint8)
      images.write_png(self.folder / f"frames/train/a/{index * 1000}.png", image)

  def test_triplets_are_frames_with_their_poses(self):
    self.make()
    read = Clips(self.folder, "train", 4, 6, 0.5)
    batch = read(np.random.default_rng(0), 5)
    self.assertEqual(batch["sources"].shape, (5, 1, 4, 6, 3))
    for name in ("reference", "target"):
      frame = batch[name][:, 0, 0, 0] * 255 / 20
      np.testing.assert_allclose(batch[f"{name}_pose"][:, 0, 3], 0.5 * frame, rtol=1e-4)
    np.testing.assert_allclose(batch["intrinsics"][0, 0], [3, 0, 3])

  def test_missing_frames_and_clips_are_named(self):
    with self.assertRaisesRegex(UserError, "no clip of RealEstate10K"):
      Clips(self.folder, "train", 4, 6, 1.0)
    self.make(3)
    (self.folder / "frames/train/a/1000.png").unlink()
    with self.assertRaisesRegex(UserError, "1000.png: no such file"):
      Clips(self.folder, "train", 4, 6, 1.0)(np.random.default_rng(0), 3)

  def test_targets_lie_outside_in_87_of_100(self):
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):
      reference, source, target = draw_frames(rng, 40)
      self.assertLen({reference, source, target}, 3)
      self.assertTrue(min(reference, source, target) >= 0)
      self.assertLess(max(reference, source, target), 40)
      inside += min(reference, source) < target < max(reference, source)
    self.assertBetween(inside, 90, 170)
    with self.assertRaisesRegex(UserError, "fewer than three"):
      draw_frames(rng, 2)


class PredictionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = epath.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def write(self, cameras=2, size=(17, 19)):
    rng = np.random.default_rng(0)
    for name, (height, width) in {"a": (17, 19), "b": size}.items():
      picture = rng.integers(256, size=(height, width, 3), dtype=np.uint8)
      images.write_png(self.folder / f"{name}.png", picture)
    poses = np.tile(np.eye(4, dtype=np.float32), (cameras, 1, 1))
    poses[1:, 0, 3] = 0.3
    cameras = realestate.Cameras(
      "url", np.arange(cameras), np.tile([1.0, 1.1, 0.5, 0.5], (cameras, 1)), poses
    )
    realestate.write_cameras(self.folder / "cameras.txt", cameras)
    return [self.folder / name for name in ("a.png", "b.png", "cameras.txt")]

  def test_two_images_and_their_cameras(self):
    views = prediction.read_views(self.write())
    self.assertEqual(views["reference"].shape, (1, 17, 19, 3))
    self.assertAlmostEqual(float(views["source_poses"][0, 0, 0, 3]), 0.3, places=6)
    np.testing.assert_allclose(views["intrinsics"][0, 0], [19, 0, 9.5], rtol=1e-6)

  def test_what_is_wrong_is_named(self):
    with self.assertRaisesRegex(UserError, "3 poses for 2 images"):
      prediction.read_views(self.write(cameras=3))
    with self.assertRaisesRegex(UserError, "b.png: 20 x 17 pixels, but .*a.png has 19"):
      prediction.read_views(self.write(size=(17, 20)))
    with self.assertRaisesRegex(UserError, "2 images and 0 camera files"):
      prediction.read_views(self.write()[:2])
    with self.assertRaisesRegex(UserError, "c.png: no such file"):
      prediction.read_views([self.folder / "c.png", *self.write()[1:]])

  def test_the_authors_examples(self):
    arrays = {
      "src_images": np.zeros((1, 16, 20, 6), np.uint8),
      "ref_image": np.zeros((1, 16, 20, 3), np.uint8),
      "ref_pose": np.eye(4)[None],
      "src_poses": np.tile(np.eye(4), (1, 2, 1, 1)),
      "intrinsics": np.eye(3)[None],
    }
    arrays["src_images"][..., 3:] = 255
    path = self.folder / "0.npz"
    np.savez(path, **arrays)
    views = prediction.read_views([path])
    np.testing.assert_array_equal(views["reference"], 0.0)
    np.testing.assert_array_equal(views["sources"], 1.0)
    np.savez(path, **(arrays | {"intrinsics": np.full((1, 3, 3), np.nan)}))
    with self.assertRaisesRegex(UserError, "0.npz: a value is not finite"):
      prediction.read_views([path])
    arrays.pop("src_poses")
    np.savez(path, **arrays)
    with self.assertRaisesRegex(UserError, "0.npz: lacks src_poses"):
      prediction.read_views([path])

  def test_path_moves_depth_one_by_the_disparity_and_returns(self):
    path = prediction.Path(frames=8, disparity=6.0, crop=1)
    poses = path.transforms(30.0)
    np.testing.assert_allclose(30 * poses[2, 0, 3], 6.0, rtol=1e-6)
    np.testing.assert_allclose(poses[4, 0, 3], 0.0, atol=1e-6)
    layers = np.zeros((14, 30, 2, 4), np.float32)
    layers[..., 1, :] = 1.0
    layers[:, :15, 1, :3] = 0.0  # an edge on the plane at depth 1
    intrinsics = np.float32([[30, 0, 15], [0, 30, 7], [0, 0, 1]])
    depths = jnp.array([9.0, 1.0])
    frames = prediction.render_path(layers, depths, intrinsics, path)
    self.assertEqual(frames[0].shape, (12, 28, 3))
    edges = [int(np.argmax(frame[6, 8:, 0] > 128)) + 8 for frame in frames]
    self.assertEqual((edges[0], edges[2]), (14, 20))
    self.assertEqual(prediction.sample(frames).shape, (12, 5 * 28 + 4 * 2, 3))

  def test_the_motorcycle_is_rectified(self):
    views = prediction.motorcycle(64)
    self.assertEqual(views["sources"].shape, (1, 1, 45, 64, 3))
    # Between 2 and 5 metres each row of one image is found in the other.
    shift = views["intrinsics"][0, 0, 0] * 0.193 / np.array([5.0, 2.1])
    reference, other = views["reference"][0], views["sources"][0, 0]
    errors = [np.abs(reference[:, s:] - other[:, : 64 - s]).mean() for s in range(12)]
    self.assertBetween(int(np.argmin(errors)), int(shift[0]) - 1, int(shift[1]) + 1)


if __name__ == "__main__":
  absltest.main()
