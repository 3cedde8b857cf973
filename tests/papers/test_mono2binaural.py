"""Tests of mono2binaural's networks, whole clips, occlusion and distances."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.ops import spectrogram
from jaxvision.papers.mono2binaural import (
  audio,
  claims,
  inference,
  metrics,
  networks,
  occlusion,
)
from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.papers.mono2binaural.networks import Sizes
from jaxvision.train import jit_once
from tests.papers.mono2binaural_networks import FORM, KEY, TINY, filled

RNG = np.random.default_rng(0)
# Eight windows: seven every 300 samples and one that ends with the clip.
CLIP = RNG.standard_normal((2950, 2)).astype(np.float32)
FRAMES = RNG.random((15, 16, 24, 3)).astype(np.float32)
INPUTS = jnp.zeros((1, FORM.bins, FORM.frames, 2)), jnp.zeros((1, 16, 24, 3))


@functools.cache
def trained(sees=True):
  """Returns a tiny network and variables that are not those of a start."""
  network = TINY.make(sees=sees)
  return network, filled(jax.eval_shape(network.init, KEY, *INPUTS))


@functools.cache
def apply(sees=True):
  """Returns the tiny network's `apply`, compiled."""
  return jit_once(trained(sees)[0].apply)


def sizes(tree):
  return sum(map(np.size, jax.tree.leaves(tree)))


class AudioTest(parameterized.TestCase):
  def test_a_segment_is_64_frames_of_257_frequencies(self):
    form = AudioFormat()
    self.assertEqual((form.samples, form.frames, form.bins), (10080, 64, 257))
    with self.assertRaisesRegex(ValueError, "256 frequencies in 65 frames"):
      AudioFormat(segment=0.64)

  def test_segments_are_normalised_over_both_ears_and_silence_stays(self):
    clips = np.stack([CLIP, 0 * CLIP])
    found, gain = jax.jit(audio.normalize)(clips)
    np.testing.assert_allclose(np.sqrt(np.mean(found[0] ** 2)), 0.1, rtol=1e-5)
    np.testing.assert_allclose(found * gain[:, None, None], clips, atol=1e-5)
    np.testing.assert_allclose(gain[1], 1e-3, rtol=1e-5)
    self.assertEqual(np.abs(found[1]).max(), 0)
    gradient = jax.grad(lambda x: jnp.sum(audio.normalize(x)[0]))(0 * CLIP)
    self.assertTrue(np.all(np.isfinite(gradient)))

  def test_products_are_complex(self):
    mask, planes = RNG.standard_normal((2, 5, 3, 2))
    found = audio.complex_product(jnp.asarray(mask), jnp.asarray(planes))
    expected = (mask @ [1, 1j]) * (planes @ [1, 1j])
    np.testing.assert_allclose(found @ np.array([1, 1j]), expected, rtol=1e-5)


class NetworksTest(parameterized.TestCase):
  def test_the_papers_network_has_its_layers(self):
    network = Sizes().make()
    logits, variables = jax.eval_shape(
      network.init_with_output,
      KEY,
      jnp.zeros((2, 257, 64, 2)),
      jnp.zeros((2, 224, 448, 3)),
    )
    self.assertEqual(logits.shape, (2, 256, 64, 2))
    params = variables["params"]
    self.assertEqual(params["audio"]["up_1"]["kernel"].shape, (4, 4, 1296, 512))
    # By the table of layers, biases and normalisations included.
    down = [2, 64, 128, 256, 512, 512]
    up = [(1296, 512), (1024, 256), (512, 128), (256, 64)]
    expected = sum(16 * a * b + 3 * b for a, b in itertools.pairwise(down))
    expected += sum(16 * a * b + 3 * b for a, b in up) + 16 * 128 * 2 + 2
    expected += 512 * 8 + 3 * 8
    self.assertEqual(sizes(params["audio"]), expected)
    self.assertEqual(sizes(params["visual"]), 11_176_512)  # ResNet-18 without fc

  def test_the_frame_matters_and_only_to_what_sees(self):
    spectra = jnp.asarray(RNG.standard_normal((2, 33, 32, 2)), jnp.float32)
    for sees in (True, False):
      _, variables = trained(sees)
      found = apply(sees)(variables, spectra, FRAMES[:2])
      other = apply(sees)(variables, spectra, FRAMES[2:4])
      self.assertEqual(bool(np.abs(found - other).max() > 1e-4), sees)

  def test_sizes_that_do_not_halve_are_refused(self):
    network, _ = trained(False)
    with self.assertRaisesRegex(ValueError, "no multiples of 32"):
      jax.eval_shape(network.init, KEY, jnp.zeros((1, 33, 30, 2)))


class WholeClipTest(absltest.TestCase):
  def by_loop(self, n_fft):
    """The authors' loop over windows, one after the other."""
    _, variables = trained()
    size, step, starts = FORM.samples, 300, []
    start = 0
    while start + size < len(CLIP):
      starts.append(start)
      start += step
    starts.append(len(CLIP) - size)
    total, counts = np.zeros((2, len(CLIP))), np.zeros(len(CLIP))
    for start in starts:
      segment = CLIP[start : start + size]
      rms = max(1e-4, np.sqrt(np.mean(segment**2)))
      left, right = (segment * 0.1 / rms).T
      spectra = audio.spectrum(jnp.asarray(left + right), FORM)
      second = (start + size / 2) / FORM.rate
      number = int(np.clip(round((second + 0.05) * 10), 1, len(FRAMES)))
      frame = networks.normalize_frames(FRAMES[number - 1])
      logits = apply()(variables, spectra[None], frame[None])[0]
      mask = 2 / (1 + np.exp(-logits)) - 1
      planes = np.asarray(spectra)[:-1]
      product = (mask @ [1, 1j]) * (planes @ [1, 1j])
      difference = spectrogram.istft(
        jnp.asarray(product, jnp.complex64), n_fft=n_fft, hop=32, window=50
      )
      pair = np.stack([left + right + difference, left + right - difference]) / 2
      total[:, start : start + size] += pair * rms / 0.1
      counts[start : start + size] += 1
    return (total / counts).T

  def test_one_call_is_the_authors_loop(self):
    network, variables = trained()
    for kind, n_fft, batch in (("exact", 64, 3), ("published", None, 99)):
      found = jit_once(
        lambda variables, clip, frames, kind=kind, batch=batch: inference.binauralize(
          network, variables, clip, frames, FORM, hop=0.15, n_fft=kind, batch=batch
        )
      )(variables, CLIP, FRAMES)
      np.testing.assert_allclose(found, self.by_loop(n_fft), atol=2e-5)
      np.testing.assert_allclose(found.sum(1), CLIP.sum(1), atol=1e-5)

  def test_windows_end_with_the_clip(self):
    self.assertEqual(inference.window_starts(100, 40, 25).tolist(), [0, 25, 50, 60])
    self.assertEqual(inference.window_starts(90, 40, 25).tolist(), [0, 25, 50])
    self.assertEqual(inference.window_starts(40, 40, 25).tolist(), [0])
    with self.assertRaisesRegex(ValueError, "39 samples is shorter"):
      inference.window_starts(39, 40, 25)
    # About 188 windows in 10 s, as published.
    self.assertLen(inference.window_starts(160000, 10080, 800), 189)

  def test_frames_are_counted_as_the_authors_files(self):
    found = inference.frame_indices(np.array([0.0, 0.315, 5.0, 9.99]), 100, 10.0)
    self.assertEqual(found.tolist(), [0, 3, 49, 99])
    self.assertEqual(inference.frame_indices(7.0, 1, 10.0), 0)

  def test_a_clip_as_long_as_a_window_and_one_picture(self):
    network, variables = trained()
    clip = CLIP[: FORM.samples]
    found = jit_once(lambda v, c, f: inference.binauralize(network, v, c, f, FORM))(
      variables, clip, FRAMES[:1]
    )
    self.assertEqual(found.shape, clip.shape)
    self.assertGreater(np.abs(found[:, 0] - found[:, 1]).max(), 1e-4)
    mono = inference.mono_mono(clip)
    np.testing.assert_allclose(mono[:, 0], clip.mean(1), atol=1e-6)
    np.testing.assert_array_equal(mono[:, 0], mono[:, 1])


class OcclusionTest(absltest.TestCase):
  def test_blocks_hide_what_is_under_them(self):
    frame = jnp.asarray(RNG.random((6, 8, 3)), jnp.float32)
    places = occlusion.corners(6, 8, 3, 2)
    self.assertEqual(places.shape, (2, 3, 2))
    found = np.asarray(occlusion.occlude(frame, jnp.asarray(places[1]), 3))
    for corner, one in zip(places[1], found, strict=True):
      row, column = corner
      expected = np.array(frame)
      expected[row : row + 3, column : column + 3] = frame.mean((0, 1))
      np.testing.assert_allclose(one, expected, atol=1e-6)
    with self.assertRaisesRegex(ValueError, "block of 9 exceeds"):
      occlusion.corners(6, 8, 9, 1)

  def test_maps_are_losses_of_one_block_after_the_other(self):
    network, variables = trained()
    segment = CLIP[: FORM.samples]

    @jit_once
    def run(variables, segment, frame):
      options = {"block": 8}
      arguments = (network, variables, segment, frame, FORM)
      return [
        occlusion.occlusion_map(*arguments, is_mono=is_mono, **options)
        for is_mono in (False, True)
      ]

    heat, change = run(variables, segment, FRAMES[0])
    self.assertEqual(heat.shape, (2, 3))
    normal, _ = audio.normalize(segment)
    mix, difference = (
      audio.spectrum(x, FORM) for x in audio.sum_and_difference(normal)
    )
    predicted = []
    corner = jnp.array([[8, 16]])
    for frame in (occlusion.occlude(FRAMES[0], corner, 8), FRAMES[:1]):
      logits = apply()(variables, mix[None], networks.normalize_frames(frame))
      mask = networks.signed_mask(logits[0])
      predicted.append(audio.complex_product(mask, mix[:-1]))
    expected = np.mean((predicted[0] - difference[:-1]) ** 2)
    np.testing.assert_allclose(heat[1, 2], expected, rtol=1e-3)
    expected = np.mean((predicted[0] - predicted[1]) ** 2)
    np.testing.assert_allclose(change[1, 2], expected, rtol=1e-2, atol=1e-9)

  def test_peaks_within_one_block_count(self):
    heat = np.zeros((3, 5))
    heat[1, 2] = 1.0  # pixels 8 to 15 and 16 to 23
    for position, near in (
      ([12, 20], True),
      ([23, 31], True),
      ([23, 32], False),
      ([-1, 20], False),
    ):
      found = occlusion.is_near(heat, np.array([position]), block=8)
      self.assertEqual(found, near, position)
    chance = occlusion.chance((3, 5), np.array([[12.0, 20.0]]), block=8)
    self.assertAlmostEqual(chance, 9 / 15)


class MetricsTest(absltest.TestCase):
  def test_distances_by_hand(self):
    truth, predicted = CLIP[:500], CLIP[500:1000]
    found = metrics.stft_distance(predicted, truth, FORM, normalize=False)
    expected = 0.0
    for ear in range(2):
      planes = audio.spectrum(jnp.asarray((predicted - truth)[:, ear]), FORM)
      expected += np.mean(np.square(planes))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    for distance in (
      functools.partial(metrics.stft_distance, form=FORM),
      metrics.envelope_distance,
    ):
      self.assertGreater(distance(predicted, truth), 0.1)
      np.testing.assert_allclose(distance(3 * truth, truth), 0, atol=1e-6)
      silence = np.zeros_like(truth)
      self.assertTrue(np.isfinite(distance(silence, silence)))


class ClaimsTest(absltest.TestCase):
  def test_claims_hold_and_fail_where_they_should(self):
    held = {}

    class Run:
      def claim(self, name, ours, baseline, better="higher", margin=0.0, **_):
        gain = ours - baseline if better == "higher" else baseline - ours
        held[name] = gain >= margin if margin else gain > 0

    def rows(*values):
      names = "mono2binaural", "audio_only", "flipped_visual", "mono_mono"
      return {
        (name, 0): {"STFT": np.array([x]), "ENV": np.array([x])}
        for name, x in zip(names, values, strict=True)
      }

    claims.claim_distances(Run(), rows(0.79, 1.0, 1.05, 0.99), [0])
    self.assertLen(held, 7)
    self.assertTrue(all(held.values()), held)
    claims.claim_distances(Run(), rows(0.99, 1.03, 0.9, 1.0), [0])
    self.assertEqual(sum(held.values()), 1, held)  # below Audio-Only's
    claims.claim_localisation(Run(), 0.69, 0.2, [0])
    claims.claim_separation(
      Run(),
      {
        ("mono", 0): {"SDR": np.array([1.0])},
        ("binaural", 0): {"SDR": np.array([2.1])},
      },
      [0],
    )
    self.assertEqual(list(held.values())[-2:], [False, True])


if __name__ == "__main__":
  absltest.main()
