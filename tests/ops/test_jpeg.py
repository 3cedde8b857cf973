"""Tests of the differentiable JPEG."""

import functools
import io

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from jax.test_util import check_grads
from PIL import Image

from jaxvision.ops import dct, jpeg, rounding

compress = jax.jit(jpeg.jpeg, static_argnames=("rounding", "subsampling", "arithmetic"))
coefficients = jax.jit(
  jpeg.coefficients, static_argnames=("rounding", "subsampling", "arithmetic")
)


def photograph(height, width, seed=0):
  """[H, W, 3] in [0, 1]: smooth shades, an edge and a little noise."""
  rng = np.random.default_rng(seed)
  y, x = np.mgrid[:height, :width] / 16
  phase = np.array([0.0, 0.4, 0.9])
  shades = 0.5 + 0.2 * np.sin(x[..., None] + phase) + 0.1 * np.cos(2 * y[..., None])
  shades[(x + y) > (height + width) / 32] *= 0.6
  return np.clip(shades + 0.02 * rng.standard_normal(shades.shape), 0, 1).astype(
    np.float32
  )


def psnr(image, reference):
  return -10 * np.log10(np.mean((np.asarray(image) - reference) ** 2))


def reference_korus(image, quality, round_):
  """Steps 1-6 of the specification in float64, block by block."""
  luma, colour = (np.asarray(t) for t in jpeg.quantization_tables(quality))
  matrix = np.round(dct.dct_matrix(), 4)
  r, g, b = np.moveaxis(255 * image.astype(np.float64), -1, 0)
  planes = [
    0.299 * r + 0.587 * g + 0.114 * b,
    128 - 0.168736 * r - 0.331264 * g + 0.5 * b,
    128 + 0.5 * r - 0.418688 * g - 0.081312 * b,
  ]
  for plane, table in zip(planes, (luma, colour, colour), strict=True):
    for i in range(0, plane.shape[0], 8):
      for j in range(0, plane.shape[1], 8):
        block = matrix @ (plane[i : i + 8, j : j + 8] - 127) @ matrix.T
        block = round_(block / table) * table
        plane[i : i + 8, j : j + 8] = matrix.T @ block @ matrix + 127
  y, cb, cr = planes[0], planes[1] - 128, planes[2] - 128
  rgb = [y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb]
  return np.clip(np.stack(rgb, axis=-1) / 255, 0, 1)


class QuantizationTablesTest(chex.TestCase):
  def test_quality_50_is_the_standards_table(self):
    luma, colour = jpeg.quantization_tables(50)
    np.testing.assert_array_equal(luma[0], [16, 11, 10, 16, 24, 40, 51, 61])
    np.testing.assert_array_equal(luma[7], [72, 92, 95, 98, 112, 100, 103, 99])
    np.testing.assert_array_equal(colour[:, 0], [17, 18, 24, 47, 99, 99, 99, 99])
    np.testing.assert_array_equal(colour, colour.T)

  def test_tables_of_pillow_at_every_quality(self):
    qualities = np.arange(1, 101)
    tables = jpeg.quantization_tables(qualities, integer_scale=True)
    chex.assert_shape(tables, (100, 8, 8))
    for quality in qualities:
      stream = io.BytesIO()
      Image.new("RGB", (8, 8)).save(stream, "jpeg", quality=int(quality))
      written = Image.open(stream).quantization
      for index in range(2):
        np.testing.assert_array_equal(
          tables[index][quality - 1].ravel(), written[index], f"quality {quality}"
        )

  def test_whole_qualities_in_exact_fractions(self):
    base = np.asarray(jpeg.quantization_tables(50)[0], np.int64)
    for quality in range(1, 50):
      # floor((t · 5000/q + 50) / 100) without any rounding.
      exact = np.clip((base * 5000 + 50 * quality) // (100 * quality), 1, 255)
      np.testing.assert_array_equal(jpeg.quantization_tables(quality)[0], exact)

  def test_quality_is_clipped(self):
    for inside, outside in ((1, -5), (100, 300)):
      chex.assert_trees_all_equal(
        jpeg.quantization_tables(inside), jpeg.quantization_tables(outside)
      )
    np.testing.assert_array_equal(jpeg.quantization_tables(100)[0], np.ones((8, 8)))


class JpegTest(chex.TestCase):
  @parameterized.parameters(20, 50, 90)
  def test_korus_is_the_specification_step_by_step(self, quality):
    image = photograph(24, 32)
    for mode, closed_form in (
      ("sin", lambda z: z - np.sin(2 * np.pi * z) / (2 * np.pi)),
      ("identity", lambda z: z),
    ):
      np.testing.assert_allclose(
        compress(image, quality, rounding=mode, arithmetic="korus"),
        reference_korus(image, quality, closed_form),
        atol=1e-5,
      )

  @parameterized.parameters("4:4:4", "4:2:2", "4:2:0")
  def test_real_numbers_come_close_to_libjpeg(self, subsampling):
    image = np.round(255 * photograph(37, 53)) / np.float32(255)
    for quality in (30, 75, 95):
      options = {"rounding": "round", "subsampling": subsampling}
      real = compress(image, quality, **options)
      exact = compress(image, quality, arithmetic="libjpeg", **options)
      # Coefficients near a tie go another way; the loss of the coding is far larger.
      self.assertGreater(psnr(real, np.asarray(exact)), psnr(exact, image) + 5)

  @parameterized.parameters("4:4:4", "4:2:2", "4:2:0")
  def test_grey_images_without_rounding_come_back(self, subsampling):
    image = np.repeat(photograph(19, 21)[..., :1], 3, axis=-1)
    result = compress(image, 10, rounding="identity", subsampling=subsampling)
    np.testing.assert_allclose(result, image, atol=1e-5)

  def test_colours_without_rounding_come_back(self):
    image = photograph(16, 24)
    result = compress(image, 100, rounding="identity")
    np.testing.assert_allclose(result, image, atol=1e-5)

  def test_compressing_twice_changes_nothing(self):
    # Far from black and white, where clipping would change the coefficients.
    image = 0.25 + 0.5 * photograph(32, 32)
    once = compress(image, 50, rounding="round")
    np.testing.assert_allclose(compress(once, 50, rounding="round"), once, atol=1e-5)

  def test_smooth_rounding_loses_less_than_true_rounding(self):
    image = photograph(64, 64)

    def score(mode):
      return psnr(compress(image, 50, rounding=mode, arithmetic="korus"), image)

    self.assertGreater(score("sin"), score("round") + 1)
    self.assertGreater(score("harmonic"), score("round") + 1)
    one_term = functools.partial(rounding.harmonic, terms=1)
    self.assertLess(score(one_term), score("round") - 1)

  def test_batches_and_qualities_are_independent(self):
    images = np.stack([photograph(17, 24, seed) for seed in range(3)])
    qualities = jnp.array([15.0, 50.5, 90.0])
    run = functools.partial(compress, subsampling="4:2:0")
    batch = run(images, qualities)
    alone = [run(*pair) for pair in zip(images, qualities, strict=True)]
    mapped = jax.vmap(run)(images, qualities)
    np.testing.assert_allclose(batch, np.stack(alone), atol=1e-5)
    np.testing.assert_allclose(batch, mapped, atol=1e-5)
    self.assertEqual(jax.eval_shape(run, images[None], qualities).ndim, 5)

  def test_one_compilation_for_all_qualities(self):
    traced = jax.jit(chex.assert_max_traces(lambda x, q: jpeg.jpeg(x, q), n=1))
    image = photograph(8, 8)
    results = [traced(image, jnp.float32(quality)) for quality in (5, 33.3, 100)]
    errors = [float(np.abs(result - image).mean()) for result in results]
    self.assertEqual(errors, sorted(errors, reverse=True))

  @parameterized.parameters(("sin", "4:2:0"), ("harmonic", "4:4:4"))
  def test_gradient_agrees_with_finite_differences(self, mode, subsampling):
    with jax.enable_x64(True):
      image = (0.3 + 0.4 * photograph(9, 11)).astype(np.float64)
      run = functools.partial(
        compress, quality=60.0, rounding=mode, subsampling=subsampling
      )
      check_grads(run, (image,), order=1, eps=1e-6)

  def test_soft_rounding_has_exact_values_and_the_gradient_of_sin_rounding(self):
    image = photograph(16, 16)
    weights = np.random.default_rng(0).standard_normal(image.shape)

    def value_and_gradient(mode):
      function = functools.partial(compress, quality=70, rounding=mode)
      value, pullback = jax.vjp(function, image)
      return value, pullback(jnp.asarray(weights, jnp.float32))[0]

    exact, zero = value_and_gradient("round")
    soft, surrogate = value_and_gradient("soft")
    _, sin = value_and_gradient("sin")
    np.testing.assert_array_equal(zero, np.zeros_like(image))
    np.testing.assert_array_equal(soft, exact)
    # The two images are clipped at different pixels, so most agree, not all.
    chex.assert_trees_all_close(surrogate, sin, atol=1e-5)

  def test_white_and_black_pass_the_gradient(self):
    image = jnp.concatenate([jnp.zeros((8, 8, 3)), jnp.ones((8, 8, 3))])
    gradient = jax.grad(lambda x: jnp.sum(compress(x, 100, rounding="identity")))(image)
    chex.assert_tree_all_finite(gradient)

  def test_half_precision_in_and_out(self):
    image = photograph(8, 16)
    result = jpeg.jpeg(jnp.asarray(image, jnp.bfloat16), 90)
    self.assertEqual(result.dtype, jnp.bfloat16)
    np.testing.assert_allclose(result.astype(jnp.float32), image, atol=0.06)


class CoefficientsTest(chex.TestCase):
  @parameterized.parameters("real", "korus", "libjpeg")
  def test_a_grey_image_has_only_its_level(self, arithmetic):
    shift = 127 if arithmetic == "korus" else 128
    image = jnp.full((16, 24, 3), 200 / 255)
    luma, cb, cr = coefficients(image, 60, arithmetic=arithmetic)
    expected = np.zeros((2, 3, 8, 8))
    expected[..., 0, 0] = np.round(8 * (200 - shift) / 13)
    np.testing.assert_array_equal(luma, expected)
    for plane in (cb, cr):
      expected[..., 0, 0] = np.round(8 * (128 - shift) / 14)
      np.testing.assert_array_equal(plane, expected)

  def test_subsampled_sizes_and_agreement_with_libjpeg(self):
    image = np.round(255 * photograph(33, 40)) / np.float32(255)
    real = coefficients(image, 60, subsampling="4:2:0")
    exact = coefficients(image, 60, subsampling="4:2:0", arithmetic="libjpeg")
    self.assertEqual([x.shape[:2] for x in real], [(5, 5), (3, 3), (3, 3)])
    for ours, theirs in zip(real, exact, strict=True):
      self.assertLessEqual(np.abs(ours - theirs).max(), 1)
      self.assertLess(np.mean(ours != theirs), 0.05)


class ArgumentsTest(parameterized.TestCase):
  @parameterized.parameters(jpeg.jpeg, jpeg.coefficients)
  def test_wrong_arguments_are_named(self, function):
    image = jnp.zeros((8, 8, 3))
    for bad in (
      jnp.zeros((8, 8)),
      jnp.zeros((8, 8, 4)),
      jnp.zeros((8, 8, 3), jnp.uint8),
    ):
      with self.assertRaisesRegex(AssertionError, "images"):
        function(bad, 50)
    with self.assertRaisesRegex(AssertionError, "quality"):
      function(image, jnp.array([50.0, 60.0]))
    for name in ("rounding", "subsampling", "arithmetic"):
      with self.assertRaisesRegex(ValueError, f"{name} must be one of .* got 'other'"):
        function(image, 50, **{name: "other"})


if __name__ == "__main__":
  absltest.main()
