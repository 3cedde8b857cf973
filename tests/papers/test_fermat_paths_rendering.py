"""Fermat paths: rendered transients against closed forms, and their noise."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.papers.fermat_paths import (
  closed_forms,
  noise,
  rendering,
  scenes,
  surfaces,
)

BINS = scenes.bin_centres(1200) * 2  # 0.24 cm

render = jax.jit(rendering.render, static_argnames=("reflectance", "occlusion"))


class RenderingTest(chex.TestCase):
  @parameterized.parameters(
    (surfaces.cap(scenes.CONVEX_CENTER, 38.0, np.pi), "sphere"),
    (surfaces.cap(scenes.CONCAVE_CENTER, 38.0, np.pi, concave=True), "bowl"),
  )
  def test_transients_agree_with_closed_forms(self, patch, name):
    wall = jnp.array([[9.0, 4.0, 0.0], [-30.0, 10.0, 0.0]])
    found = render(surfaces.sample_patch(patch, 2**18), wall, BINS)
    for v, transient in zip(wall, found, strict=True):
      if name == "sphere":
        distance = jnp.linalg.norm(v - jnp.array(scenes.CONVEX_CENTER))
        truth = closed_forms.sphere_transient(BINS, distance, 38.0)
      else:
        distance = jnp.linalg.norm(v - jnp.array(scenes.CONCAVE_CENTER))
        truth = closed_forms.bowl_transient(BINS, distance, 38.0)
      error = float(jnp.sum(jnp.abs(transient - truth)) / jnp.sum(truth))
      self.assertLess(error, 0.04)

  def test_plane_and_its_step(self):
    patch = surfaces.rectangle(120.0, 120.0, 30.0)
    transient = render(
      surfaces.sample_patch(patch, 2**18), jnp.array([[5.0, 0.0, 0.0]]), BINS
    )[0]
    seen = (BINS > 60.5) & (BINS < 110)
    truth = closed_forms.plane_transient(BINS, 30.0)
    np.testing.assert_allclose(transient[seen], truth[seen], rtol=0.12)
    height = closed_forms.step_height(
      1 / jnp.array(30.0) ** 4, jnp.zeros(2), jnp.array(30.0)
    )
    np.testing.assert_allclose(height, np.pi / 30.0**3, rtol=1e-5)
    np.testing.assert_allclose(truth[seen][0], height, rtol=0.06)

  def test_mesh_gives_the_same_transient_as_its_patch(self):
    vertices = np.array([[-30, -30, 75], [30, -30, 75], [30, 30, 75], [-30, 30, 75]])
    faces = np.array([[0, 2, 1], [0, 3, 2]])
    mesh = surfaces.sample_mesh(vertices.astype(float), faces, 2**13)
    patch = surfaces.sample_patch(surfaces.rectangle(60, 60, 75), 2**13)
    np.testing.assert_allclose(mesh.normals, patch.normals, atol=1e-6)
    np.testing.assert_allclose(jnp.sum(mesh.areas), 3600, rtol=1e-5)
    wall = jnp.array([[3.0, 8.0, 0.0], [20.0, 0.0, 0.0]])
    one, other = (render(s, wall, BINS) for s in (mesh, patch))
    blur = jnp.ones(16) / 16
    for a, b in zip(one, other, strict=True):
      a, b = jnp.convolve(a, blur), jnp.convolve(b, blur)
      self.assertLess(float(jnp.sum(jnp.abs(a - b)) / jnp.sum(b)), 0.03)

  def test_one_source_at_the_detector_is_confocal_and_exchange_changes_nothing(self):
    samples = surfaces.sample_patch(surfaces.rectangle(20, 20, 40), 512)
    wall = jnp.array([[5.0, 0.0, 0.0], [-7.0, 3.0, 0.0]])
    shiny = rendering.Reflectance(0.5, 2.0, 10.0, isotropic_wall=False)
    run = functools.partial(render, samples, bins=BINS, reflectance=shiny)
    confocal = run(wall)
    np.testing.assert_allclose(
      run(wall[:1], source=wall[0])[0], confocal[0], rtol=1e-4, atol=1e-12
    )
    np.testing.assert_allclose(
      run(wall[:1], source=wall[1])[0],
      run(wall[1:], source=wall[0])[0],
      rtol=1e-4,
      atol=1e-12,
    )

  def test_what_lies_behind_is_left_out(self):
    near = surfaces.sample_patch(surfaces.rectangle(20, 20, 40), 4096)
    far = surfaces.sample_patch(surfaces.rectangle(10, 10, 60), 4096)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), near, far)
    wall = jnp.zeros((1, 3))
    occluded = render(both, wall, BINS, occlusion=32)[0]
    alone = render(near, wall, BINS)[0]
    np.testing.assert_allclose(occluded, alone, rtol=1e-4, atol=1e-12)
    self.assertGreater(float(jnp.sum(render(both, wall, BINS)) / jnp.sum(alone)), 1.01)

  def test_two_dimensional_scene_has_an_asymptote_where_three_have_a_step(self):
    curve = surfaces.sample_curve(lambda s: jnp.stack([80 * s - 40, 60 + 0 * s]), 2**14)
    np.testing.assert_allclose(curve.normals[0], [0, 0, 1], atol=1e-6)
    flipped = curve._replace(normals=-curve.normals)
    transient = render(flipped, jnp.zeros((1, 3)), BINS)[0]
    # Of the plane, s = √(r² - h²) to both sides: 2 f ds/dτ, infinite at the onset.
    seen = (BINS > 121) & (BINS < 143)
    radius = BINS[seen] / 2
    truth = 3600 / radius**6 * radius / jnp.sqrt(radius**2 - 3600)
    np.testing.assert_allclose(transient[seen], truth, rtol=0.03)
    self.assertEqual(float(transient[BINS > 145].max()), 0.0)  # the ends' jump
    self.assertGreater(float(transient.max()), 3 * float(truth[-1]))

  def test_light_is_conserved_and_differentiable(self):
    lengths = jnp.array([10.03, 11.3, 500.0, jnp.nan])
    weights = jnp.array([1.0, 2.0, 4.0, 8.0])
    centres = jnp.arange(20.0)
    found = rendering.histogram(lengths, weights, centres)
    np.testing.assert_allclose(jnp.sum(found), 3.0, rtol=1e-6)
    np.testing.assert_allclose(found[10:13], [0.97, 1.43, 0.6], atol=1e-5)

    def centre(shift):
      moved = rendering.histogram(lengths[:2] + shift, weights[:2], centres)
      return jnp.sum(moved * centres)

    np.testing.assert_allclose(jax.grad(centre)(0.0), 3.0, rtol=1e-5)

  def test_shape_gradient_agrees_with_finite_differences(self):
    target = jnp.exp(-(((BINS - 85) / 5) ** 2))

    def score(depth):
      patch = surfaces.rectangle(20.0, 20.0, depth)
      samples = surfaces.sample_patch(patch, 256)
      return jnp.vdot(render(samples, jnp.zeros((1, 3)), BINS)[0], target) * 1e4

    rate = jax.grad(score)(40.3)
    numeric = (score(40.35) - score(40.25)) / 0.1
    np.testing.assert_allclose(rate, numeric, rtol=0.03)


class NoiseTest(absltest.TestCase):
  def test_counts_blur_and_tail(self):
    clean = jnp.zeros((1, 400)).at[0, 200].set(3.0)
    blurred = noise.measure(
      jax.random.key(0), clean, jitter=2.0, tail=10.0, tail_share=0.5
    )[0]
    np.testing.assert_allclose(jnp.sum(blurred), 3.0, rtol=1e-3)
    mean = jnp.sum(blurred * jnp.arange(400)) / jnp.sum(blurred)
    late = np.sum(np.arange(200) * np.exp(-np.arange(200) / 10.0))
    late /= np.sum(np.exp(-np.arange(200) / 10.0))
    np.testing.assert_allclose(mean, 200 + late / 2, atol=0.05)
    counts = noise.measure(jax.random.key(1), clean, 1e4, ambient=0.2)
    np.testing.assert_allclose(jnp.sum(counts), 1.2e4, rtol=0.05)
    np.testing.assert_array_equal(counts, jnp.round(counts))


if __name__ == "__main__":
  absltest.main()
