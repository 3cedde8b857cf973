"""Tests of inverse_compositional: data sets, ICP, training, weights, predictions."""

import functools
import json
import pathlib
import pickle
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from etils import epath

from jaxvision import train
from jaxvision.data import images, pipeline, rgbd_scenes, tum
from jaxvision.errors import UserError
from jaxvision.papers.inverse_compositional import (
  dataset,
  evaluation,
  icp,
  moving_objects,
  prediction,
  published,
  training,
  views,
)
from jaxvision.papers.inverse_compositional.tracker import Tracker

HEIGHT, WIDTH = 24, 32
RANGE = (0.5, 5.0)


@functools.cache
def rendered():
  return rgbd_scenes.random_pairs(5, 4, HEIGHT, WIDTH, depth_noise=0.0, missing=0.02)


class FolderTestCase(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))


class ViewsTest(absltest.TestCase):
  def test_quarter_as_opencv_resizes(self):
    image = np.random.default_rng(0).integers(256, size=(8, 12, 3), dtype=np.uint8)
    quarter = views.resize_color(image, (2, 3))
    # The centre of a block of 4 x 4 lies between its inner 2 x 2 pixels.
    blocks = image.reshape(2, 4, 3, 4, 3)[:, 1:3, :, 1:3].mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(quarter, blocks, atol=1e-6)
    np.testing.assert_array_equal(
      views.resize_nearest(image[..., 0], (2, 3)), image[::4, ::4, 0]
    )
    np.testing.assert_allclose(
      views.resize_intrinsics(dataset.INTRINSICS, (480, 640), (120, 160)),
      [131.25, 131.25, 79.875, 59.875],
    )


class TumPairsTest(FolderTestCase):
  def write_sequence(self, name, count):
    folder = self.folder / "files" / "fr1" / f"rgbd_dataset_{name}"
    for kind in ("rgb", "depth"):
      (folder / kind).mkdir(parents=True)
    lists, truth = {"rgb": [], "depth": []}, []
    for number in range(count):
      time = 10.0 + number / 30
      image = np.full((16, 24, 3), 10 * number, np.uint8)
      depth = np.full((16, 24), 5000 * (number + 1), np.uint16)
      depth[0] = 0
      for kind, array in (("rgb", image), ("depth", depth)):
        images.write_png(folder / kind / f"{time:.6f}.png", array)
        lists[kind].append(f"{time:.6f} {kind}/{time:.6f}.png")
      truth.append(f"{time:.4f} {number} 0 0 0 0 0 1")
    for kind, lines in lists.items():
      (folder / f"{kind}.txt").write_text("# comment\n" + "\n".join(lines) + "\n")
    (folder / "groundtruth.txt").write_text("\n".join(truth) + "\n")
    return folder

  def pairs(self, split, keyframes, sequences):
    return dataset.pairs(
      self.folder / "built",
      split,
      keyframes,
      RANGE,
      4,
      sequences=sequences,
      manual_dir=epath.Path(self.folder / "files"),
    )

  def test_pairs_of_a_sequence(self):
    self.write_sequence("freiburg1_desk2", 7)
    pairs = self.pairs("train", (1, 2), ["freiburg1_desk2"])
    # 95% of 7 frames are 6; a pair of distance 2 begins at the first four.
    self.assertLen(pairs, 4 * 2)
    pair = pairs[3]  # frames 1 and 3
    np.testing.assert_allclose(pair["image0"], np.full((4, 6, 3), 10 / 255), rtol=1e-6)
    np.testing.assert_allclose(pair["image1"], np.full((4, 6, 3), 30 / 255), rtol=1e-6)
    np.testing.assert_allclose(pair["depth0"][1:], 2.0)
    np.testing.assert_allclose(pair["depth0"][0], 0.5)  # not measured, so clipped
    # The second camera is 2 metres further along x.
    np.testing.assert_allclose(pair["pose"][:3, 3], [-2, 0, 0])
    np.testing.assert_allclose(pair["intrinsics"], np.array(dataset.INTRINSICS) / 4)
    test = self.pairs("test", (2,), ["freiburg1_desk2"])
    self.assertLen(test, 3)  # 0-2, 2-4, 4-6
    batch = next(pipeline.batches(pairs, batch_size=2, seed=0))
    shapes = training.batch_shapes(2, 4, 6)
    self.assertEqual(
      jax.tree.map(lambda a: a.shape, batch), jax.tree.map(lambda a: a.shape, shapes)
    )

  def test_missing_files_and_sequences_are_named(self):
    (self.folder / "files").mkdir()
    with self.assertRaisesRegex(UserError, r"missing in .*rgb\.txt.*Unpack sequences"):
      self.pairs("train", (1,), ["freiburg1_desk2"])
    folder = self.write_sequence("freiburg1_desk2", 3)
    with self.assertRaisesRegex(UserError, "lacks the sequences freiburg1_xyz"):
      self.pairs("train", (1,), ["freiburg1_desk2", "freiburg1_xyz"])
    damaged = next(iter(sorted((folder / "depth").iterdir())))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with self.assertRaisesRegex(UserError, f"{damaged.name}.*truncated"):
      dataset.pairs(
        self.folder / "again",
        "train",
        (1,),
        RANGE,
        4,
        sequences=["freiburg1_desk2"],
        manual_dir=epath.Path(self.folder / "files"),
      )

  def test_authors_split(self):
    self.assertLen(dataset.SEQUENCES["train"], 36)
    self.assertLen(dataset.SEQUENCES["test"], 7)
    self.assertEmpty(set(dataset.SEQUENCES["train"]) & set(dataset.SEQUENCES["test"]))


class MovingObjectsTest(FolderTestCase):
  def write_sequence(self, category, number, count, visible):
    root = self.folder / "files" / "data_objs3D"
    folder = root / category / f"{number:06d}"
    rng = np.random.default_rng(number)
    info = {kind: [] for kind in ("color", "depth", "invalid", "object_mask")}
    for frame in range(count):
      mask = np.zeros((8, 12), np.uint8)
      mask[2:6, 4:8] = 1
      arrays = {
        "color": np.full((8, 12, 3), 20 * frame, np.uint8),
        "depth": np.full((8, 12), 1000 * (frame + 1), np.uint16),
        "invalid": mask,
        "object_mask": mask,
      }
      for kind, array in arrays.items():
        name = f"{category}/{number:06d}/{kind}/{frame:06d}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        images.write_png(root / name, array)
        info[kind].append(f"/home/someone/final/{name}")
    self.camera, self.object = (np.tile(np.eye(4), (count, 1, 1)) for _ in range(2))
    for poses in (self.camera, self.object):
      poses[:, :3, 3] = rng.normal(size=(count, 3))
    info["pose"] = list(self.camera)
    info["object_poses"] = {"Model_1": list(self.object)}
    info["object_visible_frames"] = {"Model_1": visible}
    info["calib"] = [300.0, 300.0, 160.0, 120.0]
    (folder / "info.pkl").write_bytes(pickle.dumps(info, protocol=2))
    return folder / "info.pkl"

  def pairs(self, split, keyframes):
    return moving_objects.pairs(
      self.folder / "built",
      split,
      keyframes,
      4,
      manual_dir=epath.Path(self.folder / "files"),
    )

  def test_pairs_of_visible_frames(self):
    self.write_sequence("bus", 190, 2, [0, 1])
    self.write_sequence("boat", 0, 3, [0, 1, 2])
    self.write_sequence("boat", 1, 5, [1, 2, 4])
    pairs = self.pairs("test", (1,))
    self.assertLen(pairs, 4)
    pair = pairs[3]  # frames 2 and 4 of the second sequence
    np.testing.assert_allclose(pair["depth0"], 3.0)
    np.testing.assert_allclose(pair["depth1"], 5.0)
    np.testing.assert_allclose(pair["image1"], 80 / 255, rtol=1e-6)
    self.assertEqual(pair["mask0"].sum(), 4)
    np.testing.assert_allclose(pair["intrinsics"], [150, 150, 80, 60])
    # Translations alone: they add up.
    moved = self.object[4] - self.object[2] - self.camera[4] + self.camera[2]
    np.testing.assert_allclose(pair["pose"][:3, 3], moved[:3, 3], rtol=1e-5)
    self.assertLen(self.pairs("validation", (1,)), 1)
    with self.assertRaisesRegex(UserError, "no sequence of train"):
      self.pairs("train", (1,))

  def test_wrong_pickles_are_refused(self):
    path = self.write_sequence("boat", 0, 2, [0, 7])
    with self.assertRaisesRegex(UserError, r"info\.pkl: damaged .*frames 0 to 7 of 2"):
      moving_objects.read_info(path)
    path.write_bytes(pickle.dumps({"color": []}))
    with self.assertRaisesRegex(UserError, r"info\.pkl: damaged"):
      moving_objects.read_info(path)


class IcpTest(parameterized.TestCase):
  def test_planes_are_brought_together(self):
    still = rgbd_scenes.random_pairs(
      5, 4, HEIGHT, WIDTH, moving=False, depth_noise=0.0, missing=0.02
    )
    before = evaluation.errors(
      np.tile(np.eye(4, dtype=np.float32), (4, 1, 1)), still, RANGE
    )
    for plane in (True, False):
      after = evaluation.measure_icp(still, RANGE, point_to_plane=plane)
      self.assertLess(np.median(after["epe"]), 0.7 * np.median(before["epe"]))

  @parameterized.parameters(True, False)
  def test_without_depth_the_pose_is_the_identity(self, plane):
    depth = jnp.full((1, 6, 8), jnp.nan)
    never = jnp.zeros(depth.shape, bool)
    pose = icp.icp(
      depth, depth, jnp.array([[8.0, 8, 4, 3]]), never, never, point_to_plane=plane
    )
    np.testing.assert_array_equal(pose[0], jnp.eye(4))


class TrainingTest(FolderTestCase):
  def test_augmentation_changes_both_views_alike(self):
    grey = np.linspace(0, 1, 48, dtype=np.float32).reshape(4, 4, 3)
    example = {"image0": grey, "image1": grey, "depth0": 1.0}
    changed = 0
    for seed in range(40):
      new = training.augment(example, np.random.default_rng(seed))
      np.testing.assert_array_equal(new["image0"], new["image1"])
      self.assertEqual(new["image0"].dtype, np.float32)
      self.assertTrue(np.all((new["image0"] >= 0) & (new["image0"] <= 1)))
      self.assertLess(np.abs(new["image0"] - grey).max(), 0.26)
      changed += not np.array_equal(new["image0"], grey)
    self.assertBetween(changed, 10, 30)

  def test_optimizer_decays_weights_and_rate(self):
    optimizer = training.optimizer(1.0, weight_decay=2.0, decay_steps=(1,))
    params = jnp.array([3.0])
    state = optimizer.init(params)
    update, state = optimizer.update(jnp.array([-6.0]), state, params)
    np.testing.assert_array_equal(update, 0)  # 2 · 3 - 6
    update, state = optimizer.update(jnp.array([1.0]), state, params)
    first, second = 7 * 0.1 / (1 - 0.9**2), 49 * 0.001 / (1 - 0.999**2)
    np.testing.assert_allclose(update, [-0.5 * first / second**0.5], rtol=1e-4)

  def test_training_lowers_the_loss_and_resumes_with_the_same_bits(self):
    tracker = Tracker(
      estimator="none",
      solver="gauss_newton",
      iterations=1,
      scales=(((4, 1),),),
    )
    stage = training.stage(
      "tiny",
      tracker,
      training.optimizer(1e-2, weight_decay=4e-4, largest_norm=10.0),
      training.batch_shapes(2, HEIGHT, WIDTH),
      size=(12, 16),
    )
    state = train.jit_once(stage.init)(jax.random.key(0))

    def fit(name, steps):
      batches = pipeline.batches(pipeline.ArraySource(rendered()), batch_size=2, seed=0)
      run = _BareRun(self.folder / name)
      return train.fit(run, "tiny", state, stage.step, batches, steps), run.losses

    whole, found = fit("whole", 30)
    self.assertLess(np.mean(found[-4:]), np.mean(found[:4]))
    moved = jax.tree.map(
      lambda new, old: np.any(new != old), whole.model_state, state.model_state
    )
    self.assertTrue(all(jax.tree.leaves(moved)))
    fit("parts", 11)
    resumed, _ = fit("parts", 30)
    for ours, theirs in zip(
      jax.tree.leaves(resumed.params), jax.tree.leaves(whole.params), strict=True
    ):
      np.testing.assert_array_equal(ours, theirs)


class _BareRun:
  is_main = True

  def __init__(self, workdir):
    self.workdir = epath.Path(workdir)
    self.losses = []

  def log(self, message):
    pass

  def scalars(self, stage, step, values):
    self.losses.append(float(values["loss"]))


def in_authors_names(params, model_state):
  """Returns the state_dict that the authors' code would save."""
  weights = {}

  def blocks(prefix, params, statistics):
    for name in params:
      if name.startswith("conv"):
        number = name.removeprefix("conv")
        kernel = np.moveaxis(np.asarray(params[name]["kernel"]), (-1, -2), (0, 1))
        norm, stats = params[f"bn{number}"], statistics[f"bn{number}"]
        weights[f"{prefix}.{number}.0.weight"] = kernel
        weights[f"{prefix}.{number}.1.weight"] = norm["scale"]
        weights[f"{prefix}.{number}.1.bias"] = norm["bias"]
        weights[f"{prefix}.{number}.1.running_mean"] = stats["mean"]
        weights[f"{prefix}.{number}.1.running_var"] = stats["var"]
        weights[f"{prefix}.{number}.1.num_batches_tracked"] = np.int64(7)

  for name in params["encoder"]:
    blocks(f"encoder.{name}", params["encoder"][name], model_state["encoder"][name])
  for part in params["estimator"]:
    number = part.removeprefix("level").removeprefix("shared")
    layers = params["estimator"][part]["net"], model_state["estimator"][part]["net"]
    blocks(f"mEst_func{number}.net", *layers)
    for index in range(3):
      layer = params["solver"][part][f"fc{index}"]
      prefix = f"solver_func{number}.net.{index}.0"
      weights[f"{prefix}.weight"] = np.asarray(layer["kernel"]).T
      weights[f"{prefix}.bias"] = layer["bias"]
  return {name: np.asarray(array) for name, array in weights.items()}


class PublishedTest(FolderTestCase):
  @parameterized.parameters(True, False)
  def test_every_weight_finds_its_place(self, share):
    tracker = Tracker(share_weights=share, depth_range=None)
    shapes = jax.eval_shape(tracker.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
      lambda leaf: rng.random(leaf.shape).astype(np.float32), shapes
    )
    weights = in_authors_names(*variables)
    path = self.folder / "weights.npz"
    np.savez(path, **{f"state_dict.{name}": array for name, array in weights.items()})
    found, *ours = published.load(path)
    self.assertEqual(found, Tracker(share_weights=share))
    jax.tree.map(np.testing.assert_array_equal, tuple(ours), variables)

  def test_other_checkpoints_are_refused(self):
    with self.assertRaisesRegex(UserError, "never used head.weight"):
      published.convert({"head.weight": np.zeros(3)})
    with self.assertRaisesRegex(UserError, "of one view has 4 channels, of two 8"):
      published.convert({"encoder.net0.0.0.weight": np.zeros((16, 5, 3, 3))})
    with self.assertRaisesRegex(UserError, "lacks encoder.net0.0.1.weight"):
      published.convert({"encoder.net0.0.0.weight": np.zeros((16, 8, 3, 3))})


class PredictionTest(FolderTestCase):
  def write_frames(self, count=3, size=(HEIGHT, WIDTH)):
    pairs = rendered()
    for kind in ("color", "depth"):
      (self.folder / kind).mkdir(exist_ok=True)
    for number in range(count):
      image = np.round(255 * pairs["image0"][number]).astype(np.uint8)
      depth = np.round(5000 * pairs["depth0"][number]).astype(np.uint16)
      name = f"{100 + number / 30:.6f}.png"
      images.write_png(self.folder / "color" / name, image[: size[0], : size[1]])
      images.write_png(self.folder / "depth" / name, depth[: size[0], : size[1]])
    return sorted((self.folder / "color").iterdir()), sorted(
      (self.folder / "depth").iterdir()
    )

  def test_frames_are_aligned_and_written(self):
    colors, depths = self.write_frames()
    images.write_png(depths[2], np.zeros((HEIGHT, WIDTH), np.uint16))
    frames = prediction.read_frames([epath.Path(self.folder)], 5000.0)
    self.assertEqual([frame.name for frame in frames], [path.name for path in colors])
    self.assertAlmostEqual(frames[1].time, 100 + 1 / 30, places=5)
    tracker = Tracker("RGB", "none", "gauss_newton", scales=(((1, 1),),))
    found = prediction.align(
      tracker, ({}, {}), frames, (26.0, 26.0, 15.5, 11.5), (HEIGHT, WIDTH)
    )
    self.assertEqual([one.valid for one in found], [True, False])
    np.testing.assert_array_equal(found[1].pose, np.eye(4))
    self.assertIn("too little depth", found[1].line())
    out = epath.Path(self.folder / "out")
    out.mkdir()
    prediction.write(out, found)
    rows = json.loads((out / "poses.json").read_text())
    self.assertEqual([row["valid"] for row in rows], [True, False])
    np.testing.assert_allclose(rows[0]["rotation"], found[0].pose[:3, :3], rtol=1e-6)
    times, poses = tum.read_trajectory(out / "trajectory.txt")
    self.assertLen(times, 3)
    np.testing.assert_allclose(
      poses[1] @ np.eye(4), np.linalg.inv(found[0].pose), atol=1e-5
    )
    for number in range(2):
      self.assertGreater(
        min(images.read_rgb(out / f"residual-{number:04d}.png").shape[:2]), 90
      )

  def test_wrong_files_are_named(self):
    colors, depths = self.write_frames(2)
    couple = [epath.Path(path) for path in (colors[0], depths[0], colors[1], depths[1])]
    with self.assertRaisesRegex(UserError, "without a depth file behind it"):
      prediction.read_frames(couple[:3], 5000.0)
    with self.assertRaisesRegex(UserError, "two frames are needed"):
      prediction.read_frames(couple[:2], 5000.0)
    with self.assertRaisesRegex(UserError, "a depth image is 16-bit grey"):
      prediction.read_frames([couple[0], couple[2], *couple[2:]], 5000.0)
    with self.assertRaisesRegex(UserError, "no folders `rgb`"):
      prediction.read_frames([epath.Path(self.folder / "color")], 5000.0)
    images.write_png(depths[1], np.ones((5, 6), np.uint16))
    with self.assertRaisesRegex(UserError, "6 x 5 pixels, but .* has 32 x 24"):
      prediction.read_frames(couple, 5000.0)
    depths[1].unlink()
    with self.assertRaisesRegex(UserError, "no such file"):
      prediction.read_frames(couple, 5000.0)


if __name__ == "__main__":
  absltest.main()
