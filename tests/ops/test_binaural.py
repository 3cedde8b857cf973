"""Tests of the spherical head."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from jaxvision.ops import binaural

RATE = 16000
RNG = np.random.default_rng(0)


@functools.partial(jax.jit, static_argnums=2)
def spatialize(sources, azimuths, rate=RATE):
  return binaural.spatialize(sources, azimuths, rate)


class BinauralTest(absltest.TestCase):
  def test_delay_is_woodworths(self):
    side = binaural.interaural_delay(jnp.float32(np.pi / 2))
    np.testing.assert_allclose(side, 0.09 / 343 * (np.pi / 2 + 1), rtol=1e-6)
    np.testing.assert_allclose(binaural.interaural_delay(-0.3), -0.156e-3, rtol=5e-3)

  def test_the_far_ear_hears_later_and_weaker(self):
    azimuth = 0.8
    click = np.zeros((1, 400), np.float32)
    click[0, 100] = 1.0
    ears = spatialize(click, jnp.array([azimuth], jnp.float32))
    left, right = ears.T
    np.testing.assert_allclose(right, click[0], atol=1e-5)
    # The first moment of the far ear: the delay, and that of the low-pass.
    time = np.arange(400)
    side = np.sin(azimuth)
    pole = 0.5 * side
    expected = 100 + RATE * 0.09 / 343 * (azimuth + side) + pole / (1 - pole)
    self.assertAlmostEqual(float(left @ time / left.sum()), expected, delta=0.05)
    np.testing.assert_allclose(left.sum(), 10 ** (-0.35 * side), rtol=1e-3)

  def test_mirrored_azimuths_change_ears_and_sources_add(self):
    sources = RNG.standard_normal((2, 300)).astype(np.float32)
    azimuths = np.array([0.7, -0.2], np.float32)
    both = spatialize(sources, azimuths)
    mirrored = spatialize(sources, -azimuths)
    np.testing.assert_allclose(mirrored, both[:, ::-1], atol=1e-5)
    apart = [spatialize(sources[i : i + 1], azimuths[i : i + 1]) for i in range(2)]
    np.testing.assert_allclose(sum(apart), both, atol=1e-5)

  def test_a_source_in_front_sounds_alike_in_both_ears(self):
    source = RNG.standard_normal((4, 1, 200)).astype(np.float32)
    ears = spatialize(source, np.zeros((4, 1), np.float32))
    np.testing.assert_allclose(ears[..., 0], source[:, 0], atol=1e-5)
    np.testing.assert_allclose(ears[..., 1], source[:, 0], atol=1e-5)


if __name__ == "__main__":
  absltest.main()
