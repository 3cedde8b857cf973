"""Tests of selflow's clips, readers, predictions and measures."""

import pathlib
import tempfile
from unittest import mock

import jax
import numpy as np
import scipy.ndimage
from absl.testing import absltest, parameterized

from jaxvision.data import fields, images
from jaxvision.errors import UserError
from jaxvision.papers.selflow import (
  claims,
  data,
  dataset,
  evaluation,
  figures,
  network,
  prediction,
)
from jaxvision.train import jit_once

HEIGHT, WIDTH = 24, 40
CLIPS = data.clips(3, 4, HEIGHT, WIDTH, speed=6.0, gain=0.0)


class ClipsTest(absltest.TestCase):
  def test_visible_pixels_are_where_flow_leads(self):
    grid = np.stack(np.mgrid[:HEIGHT, :WIDTH])
    for frames, flow, hidden in zip(
      CLIPS["frames"], CLIPS["flow"], CLIPS["occluded"], strict=True
    ):
      for way, other in ((0, 3), (1, 1)):
        places = grid + np.moveaxis(flow[way], -1, 0)[::-1]
        warped = np.stack(
          [
            scipy.ndimage.map_coordinates(frames[other, ..., c], places, order=1)
            for c in range(3)
          ],
          axis=-1,
        )
        error = np.abs(warped - frames[2]).mean(axis=-1)
        self.assertLess(np.median(error[~hidden[way]]), 0.02)
        if hidden[way].sum() > 20:
          self.assertGreater(error[hidden[way]].mean(), 3 * error[~hidden[way]].mean())

  def test_way_back_returns_where_nothing_is_hidden(self):
    f1 = evaluation.true_occlusion_f1(CLIPS)
    self.assertGreater(f1, 0.75)
    swapped = dict(CLIPS, occluded=~CLIPS["occluded"])
    self.assertLess(evaluation.true_occlusion_f1(swapped), 0.3)

  def test_blobs_are_as_many_and_as_large_as_asked(self):
    rng = np.random.default_rng(0)
    counts = set()
    for _ in range(20):
      layers = data.random_layers(
        rng, HEIGHT, WIDTH, speed=4.0, blobs=(1, 3), radii=(0.2, 0.4)
      )
      counts.add(len(layers) - 1)
      for layer in layers[1:]:
        self.assertBetween(layer.radius / HEIGHT, 0.2, 0.4)
    self.assertEqual(counts, {1, 2, 3})

  def test_camera_moves_by_its_share_of_the_speed(self):
    steps = []
    for camera in (0.25, 1.0):
      rng = np.random.default_rng(0)
      ground = data.random_layers(rng, HEIGHT, WIDTH, speed=4.0, camera=camera)[0]
      steps.append(np.diff(ground.centers, axis=0))
    np.testing.assert_allclose(steps[1], 4 * steps[0])
    self.assertBetween(np.hypot(*steps[1][0]), 0.1, 4.0)

  def test_no_place_is_smooth(self):
    for frames in CLIPS["frames"]:
      grey = frames[2].mean(axis=-1)
      square, mean = (scipy.ndimage.uniform_filter(x, 7) for x in (grey**2, grey))
      deviation = np.sqrt(square - mean**2)
      self.assertGreater(deviation.min(), 0.015)
      self.assertBetween(np.median(deviation), 0.03, 0.2)

  def test_clips_depend_on_their_number_alone_and_gain_changes_brightness(self):
    again = data.clips(3, 2, HEIGHT, WIDTH, speed=6.0, gain=0.0)
    np.testing.assert_array_equal(again["frames"], CLIPS["frames"][:2])
    gains = data.clip(np.random.default_rng((3, 0)), HEIGHT, WIDTH, speed=6.0, gain=0.2)
    self.assertGreater(np.ptp(gains["frames"].mean(axis=(1, 2, 3))), 0.01)
    np.testing.assert_array_equal(gains["flow"], CLIPS["flow"][0])
    self.assertEqual(CLIPS["superpixels"].shape, (4, HEIGHT, WIDTH))


def write_frames(folder, names, size=(20, 30)):
  folder.mkdir(parents=True)
  rng = np.random.default_rng(list(folder.parts[-2].encode()))
  for name in names:
    images.write_png(folder / name, rng.integers(256, size=(*size, 3), dtype=np.uint8))


class ReadersTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def manual(self, name):
    return self.root / "downloads" / "manual" / name

  def write_sintel(self):
    training = self.manual("sintel") / "training"
    names = [f"frame_{number:04d}.png" for number in range(1, 7)]
    for render in ("clean", "final"):
      write_frames(training / render / "alley_1", names)
    write_frames(self.manual("sintel") / "movie" / "take-1", names[:5])
    write_frames(self.manual("sintel") / "movie" / "short", names[:4])
    for kind in ("flow", "occlusions", "invalid"):
      (training / kind / "alley_1").mkdir(parents=True)
    flow = np.random.default_rng(1).normal(size=(20, 30, 2)).astype(np.float32)
    mask = np.zeros((20, 30), np.uint8)
    mask[3, 4] = 255
    for name in names[:5]:
      fields.write_flo(training / "flow" / "alley_1" / f"{name[:-4]}.flo", flow)
      images.write_png(training / "occlusions" / "alley_1" / name, mask)
      images.write_png(training / "invalid" / "alley_1" / name, mask[::-1])
    return training, flow

  def test_sintel(self):
    training, flow = self.write_sintel()
    clips = dataset.clips("Sintel", self.root, (8, 8))
    self.assertLen(clips, 5)  # two of clean, two of final, one of the movie
    self.assertEqual(clips[4]["superpixels"].shape, (20, 30))
    paths = sorted((training / "clean" / "alley_1").glob("*.png"))
    np.testing.assert_array_equal(clips[1]["frames"], dataset.read_frames(paths[1:6]))
    labelled = dataset.labelled("Sintel", self.root, "final")
    self.assertLen(labelled, 4)
    example = labelled[2]
    paths = sorted((training / "final" / "alley_1").glob("*.png"))
    np.testing.assert_array_equal(example["frames"], dataset.read_frames(paths[2:5]))
    np.testing.assert_array_equal(example["flow"], flow)
    np.testing.assert_array_equal(np.argwhere(example["occluded"]), [[3, 4]])
    np.testing.assert_array_equal(np.argwhere(~example["valid"]), [[16, 4]])
    for refusing in (
      dataset.clips("Sintel", self.root, (64, 64)),
      dataset.labelled("Sintel", self.root, "clean", (64, 64)),
    ):
      with self.assertRaisesRegex(UserError, "smaller than 64 x 64"):
        _ = refusing[0]

  def test_a_damaged_flow_is_named(self):
    training, _ = self.write_sintel()
    (training / "flow" / "alley_1" / "frame_0003.flo").write_bytes(b"PIEH")
    with self.assertRaisesRegex(UserError, "frame_0003.flo"):
      dataset.labelled("Sintel", self.root, "clean")

  def test_kitti_leaves_out_what_is_evaluated(self):
    training = self.manual("kitti2015") / "training"
    write_frames(training / "image_2", [f"000000_{n:02d}.png" for n in range(21)])
    write_frames(
      self.manual("kitti2015") / "testing" / "image_2",
      [f"000007_{n:02d}.png" for n in range(6)],
    )
    flow = np.full((20, 30, 2), 1.5, np.float32)
    valid = np.ones((20, 30), bool)
    valid[0] = False
    visible = valid.copy()
    visible[1] = False
    for kind, mask in (("flow_occ", valid), ("flow_noc", visible)):
      (training / kind).mkdir()
      fields.write_kitti_flow(training / kind / "000000_10.png", flow, mask)
    clips = dataset.clips("KITTI2015", self.root, (8, 8))
    self.assertLen(clips, (9 - 4) + (8 - 4) + (6 - 4))
    frames = dataset.read_frames(sorted((training / "image_2").glob("*.png")))
    used = {
      number
      for index in range(len(clips))
      for frame in clips[index]["frames"]
      for number in np.flatnonzero(np.all(frames == frame, axis=(1, 2, 3)))
    }
    self.assertEqual(used, {*range(9), *range(13, 21)})
    labelled = dataset.labelled("KITTI2015", self.root, "train")
    self.assertLen(labelled, 1)
    example = labelled[0]
    np.testing.assert_array_equal(example["frames"], frames[9:12])
    np.testing.assert_array_equal(example["flow"][1:], flow[1:])
    np.testing.assert_array_equal(example["valid"], valid)
    np.testing.assert_array_equal(example["occluded"], valid & ~visible)

  def test_missing_data_are_told(self):
    with self.assertRaisesRegex(UserError, "training/clean.*http://sintel"):
      dataset.clips("Sintel", self.root, (8, 8))
    view = self.manual("kitti2012") / "training" / "colored_0"
    write_frames(view, ["000000_00.png", "000000_10.png"])
    with self.assertRaisesRegex(UserError, "no video has 5 frames"):
      dataset.clips("KITTI2012", self.root, (8, 8))
    with self.assertRaisesRegex(UserError, "flow_occ.*data_stereo_flow.zip"):
      dataset.labelled("KITTI2012", self.root, "train")


class PredictionTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

  def test_flow_colours_and_occlusion_are_written(self):
    net = network.scaled(
      0.05, 1, estimator_layers=1, context_layers=1, finest=1, border="zero"
    )
    frames = np.random.default_rng(0).random((4, 13, 18, 3)).astype(np.float32)
    init = jit_once(net.init)
    params = init(jax.random.key(0), frames[:3, None])["params"]
    lines = prediction.write(self.root, net, params, list("abcd"), frames)
    self.assertLen(lines, 2)
    flow = fields.read_flo(self.root / "0001-b-to-c.flo")
    self.assertEqual(flow.shape, (13, 18, 2))
    self.assertTrue(np.all(np.isfinite(flow)))
    self.assertTrue((self.root / "0001-b-to-c-occluded.png").exists())
    self.assertTrue((self.root / "0002-c-to-d.png").exists())
    self.assertFalse((self.root / "0002-c-to-d-occluded.png").exists())

    broken = jax.tree.map(lambda leaf: leaf * np.nan, params)
    out = self.root / "out"
    out.mkdir()
    with self.assertRaisesRegex(UserError, "not finite"):
      prediction.write(out, net, broken, list("abcd"), frames)
    self.assertEmpty(list(out.iterdir()))

  def test_wrong_inputs_are_told(self):
    write_frames(self.root / "f", ["0.png", "1.png"])
    with self.assertRaisesRegex(UserError, "2 frames: three"):
      prediction.read_inputs([self.root / "f"])
    write_frames(self.root / "g", ["2.png"], size=(20, 31))
    with self.assertRaisesRegex(UserError, "2.png: 31 x 20 pixels, but .*0.png has 30"):
      prediction.read_inputs([self.root / "f", self.root / "g"])
    (self.root / "g" / "2.png").write_bytes(b"nothing")
    with self.assertRaisesRegex(UserError, "2.png"):
      prediction.read_inputs([self.root / "f", self.root / "g"])


class ClaimsTest(absltest.TestCase):
  def test_claims_compare_what_they_say(self):
    def row(everything, visible, hidden):
      return {"EPE all": everything, "EPE noc": visible, "EPE occ": hidden}

    rows = {
      "unmasked": row(1.0, 0.0, 0.0),
      "warm-up": row(0.0, 0.0, 3.0),
      "noc": row(0.8, 0.0, 0.0),
      "continued": row(0.0, 0.6, 2.0),
      "occ": row(0.0, 0.5, 1.5),
      "two-frame": row(0.0, 0.0, 4.0),
      "brightness": row(2.0, 0.0, 0.0),
    }
    run = mock.Mock()
    for claim in (
      claims.claim_self_supervision,
      claims.claim_masking,
      claims.claim_census,
      claims.claim_three_frames,
    ):
      claim(run, rows, (0,))
      claim(run, {"noc": rows["noc"]}, (0,))  # nothing to compare with
    compared = [
      (call.kwargs["ours"], call.kwargs["baseline"])
      for call in run.claim.call_args_list
    ]
    expected = [(1.5, 1.8), (0.5, 0.63), (0.8, 0.95), (1.0, 1.7), (3.0, 4.0)]
    np.testing.assert_allclose(compared, expected)

  def test_census_is_invariant_and_brightness_is_not(self):
    run = mock.Mock()
    claims.claim_invariance(run, CLIPS["frames"][:, 2])
    census, brightness = (call.args[1] for call in run.result.call_args_list)
    self.assertLess(census, 0.15)
    self.assertGreater(brightness, 0.25)

  def test_errors_are_those_of_the_regions(self):
    truth = np.zeros((1, 2, 3, 2), np.float32)
    flow = truth.copy()
    flow[0, 0, 0] = (3, 4)
    hidden = np.zeros((1, 2, 3), bool)
    hidden[0, 0] = True
    errors = evaluation.errors_of(flow, truth, ~np.zeros_like(hidden), hidden)
    np.testing.assert_allclose(errors["EPE occ"], 5 / 3, rtol=1e-6)
    np.testing.assert_allclose(errors["EPE noc"], 0.0)

  def test_tables_name_regions_seeds_and_the_paper(self):
    rows = [{"EPE noc": 1.0, "EPE occ": 2.0}, {"EPE noc": 3.0, "EPE occ": 4.0}]
    by_seed = evaluation.by_seed((0, 7), rows)
    self.assertEqual(by_seed["occ, seed 7"], 4.0)
    self.assertLen(by_seed, 4)
    table = claims.beside_the_paper({"noc": rows[0], "continued": rows[1]})
    self.assertEqual(table[0]["paper, all / noc / occ"], "3.2 / 1.35 / 26.63")
    self.assertEqual(table[1]["paper, all / noc / occ"], "")
    self.assertEqual(table[1]["EPE noc"], 3.0)

  def test_figures_have_a_panel_for_every_array(self):
    clip = {name: array[0] for name, array in CLIPS.items()}
    row = {"frame": clip["frames"][2], "true flow": clip["flow"][0]}
    row["occluded"] = clip["occluded"][0].astype(float)
    figure = figures.flow_figure([row, row])
    self.assertLen(figure.axes, 8)  # a wheel in each row
    titles = [axis.get_title() for axis in figure.axes[:3]]
    self.assertEqual(titles, list(row))
    found = CLIPS["flow"][:, 0], CLIPS["occluded"][:, 0].astype(float)
    self.assertLen(figures.clip_figure(CLIPS, found, found).axes, 4 * 8)
    errors = {"noc": {"EPE all": 1.0, "EPE noc": 0.5, "EPE occ": 2.0}}
    self.assertLen(figures.error_figure(errors).axes[0].patches, 3)


if __name__ == "__main__":
  absltest.main()
