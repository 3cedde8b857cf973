"""The networks of stylegan: sizes, growing, noise, styles, and published variables."""

import functools
import pathlib
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.errors import UserError
from jaxvision.ops import resampling
from jaxvision.papers import stylegan
from jaxvision.papers.stylegan import configurations, published, styles, synthesis
from tests.published import assembler as asm

SMALL = {"resolution": 16, "base": 32, "largest": 8, "latent": 8}


def normal(seed, *shape):
  return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def filled(network, *inputs, seed=0):
  """Returns variables of a network drawn by numpy, which compiles nothing."""
  shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
  rng = np.random.default_rng(seed)
  return jax.tree.map(
    lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes
  )


@functools.cache
def small():
  """Returns a small generator and its variables."""
  network = stylegan.generator("F", **SMALL)
  variables = filled(network, jnp.zeros((1, 8)))
  for layer in variables["params"]["mapping"].values():
    layer["kernel"] *= 100  # as a multiplier of the learning rate of 1/100 asks
  return network, variables


@functools.cache
def applied(method="__call__", **static):
  """Returns a compiled method of the small generator."""
  network, _ = small()
  return jax.jit(functools.partial(network.apply, method=method, **static))


@functools.cache
def small_discriminator():
  network = configurations.discriminator("F", 16, base=32, largest=8)
  return network, filled(network, jnp.zeros((4, 16, 16, 3)), seed=1)


def count(shapes):
  return sum(leaf.size for leaf in jax.tree.leaves(shapes))


class SizesTest(parameterized.TestCase):
  def test_the_papers_generator(self):
    network = stylegan.generator("F", 1024)
    z = jax.ShapeDtypeStruct((1, 512), jnp.float32)
    image, shapes = jax.eval_shape(network.init_with_output, jax.random.key(0), z)
    self.assertEqual(image.shape, (1, 1024, 1024, 3))
    # Table 1's networks have 26.2 M, of which the mapping has 8 (512² + 512).
    self.assertEqual(count(shapes["params"]), 26_219_627)
    self.assertEqual(count(shapes["params"]["mapping"]), 8 * (512 * 512 + 512))
    self.assertLen(shapes["noise"]["synthesis"], 18)
    self.assertEqual(shapes["noise"]["synthesis"]["noise17"].shape, (1, 1024, 1024, 1))
    drawn = jax.eval_shape(lambda k: synthesis.sample_noise(k, 1024), jax.random.key(0))
    chex.assert_trees_all_equal_shapes(drawn, shapes["noise"]["synthesis"])

  def test_the_papers_discriminator(self):
    network = configurations.discriminator("F", 1024)
    images = jax.ShapeDtypeStruct((4, 1024, 1024, 3), jnp.float32)
    scores, shapes = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    self.assertEqual(scores.shape, (4,))
    sizes = [512, 512, 512, 512, 256, 128, 64, 32, 16]
    convolutions = sum(9 * a * b + b for a, b in zip(sizes, sizes, strict=True))
    convolutions -= 9 * 512 * 512 + 512  # 4 x 4 has one convolution only
    convolutions += sum(
      9 * a * b + b for a, b in zip(sizes[1:], sizes[:-1], strict=True)
    )
    colors = sum(3 * size + size for size in sizes)
    last = 9 * 513 * 512 + 512 + 8192 * 512 + 512 + 512 + 1
    self.assertEqual(count(shapes), convolutions + colors + last)

  @parameterized.parameters(
    # Kernels, biases, colours; with styles 2 C (W + 1) a layer; with noise C a layer.
    ("A", False, False, 0),
    ("B", False, False, 0),
    ("C", True, False, 8),
    ("D", True, False, 8),
    ("E", True, True, 8),
    ("F", True, True, 8),
    ("traditional-8", False, False, 8),
    ("style-0", True, True, 0),
    ("style-2", True, True, 2),
  )
  def test_every_configuration_has_its_layers(self, name, with_styles, noise, layers):
    network = stylegan.generator(name, **SMALL)
    z = jax.ShapeDtypeStruct((2, 8), jnp.float32)
    image, shapes = jax.eval_shape(network.init_with_output, jax.random.key(0), z)
    self.assertEqual(image.shape, (2, 16, 16, 3))
    widths = synthesis.widths(16, base=32, largest=8)
    self.assertEqual(widths, (8, 8, 4))
    kernels = 9 * (8 * 8 + 8 * 8 + 8 * 8 + 8 * 4 + 4 * 4)
    expected = kernels + 2 * 20 + sum(3 * width + 3 for width in widths)
    expected += 16 * 8 * (1 if configurations.find(name).constant_input else 8)
    expected += 2 * sum(2 * width * 9 for width in widths) * with_styles
    expected += 2 * sum(widths) * noise + layers * 72
    self.assertEqual(count(shapes["params"]), expected)
    self.assertEqual("noise" in shapes, noise)

  def test_labels(self):
    network = stylegan.generator("F", **SMALL, label_size=3)
    inputs = (jnp.zeros((2, 8)), jnp.eye(3)[:2])
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    self.assertEqual(shapes["params"]["mapping"]["labels"].shape, (3, 8))
    self.assertEqual(shapes["params"]["mapping"]["dense0"]["kernel"].shape, (16, 8))
    with self.assertRaisesRegex(ValueError, "labels"):
      network.init(jax.random.key(0), inputs[0])

  def test_bfloat16(self):
    network = stylegan.generator("F", **SMALL, dtype=jnp.bfloat16)
    z = jax.ShapeDtypeStruct((2, 8), jnp.float32)
    image, shapes = jax.eval_shape(network.init_with_output, jax.random.key(0), z)
    self.assertEqual(image.dtype, jnp.bfloat16)
    self.assertEqual({leaf.dtype for leaf in jax.tree.leaves(shapes)}, {np.dtype("f4")})

  @parameterized.parameters(0, 2, 12, 1000)
  def test_impossible_resolutions(self, resolution):
    with self.assertRaisesRegex(ValueError, str(resolution)):
      synthesis.widths(resolution)

  def test_unknown_configurations_and_levels(self):
    with self.assertRaisesRegex(ValueError, "'G' is none of A, B"):
      stylegan.generator("G")
    _, variables = small()
    with self.assertRaisesRegex(ValueError, "level 3 .* 0 to 2"):
      applied(level=3)(variables, jnp.zeros((1, 8)))
    discriminator, variables = small_discriminator()
    with self.assertRaisesRegex(ValueError, "12 pixels"):
      discriminator.apply(variables, jnp.zeros((4, 12, 12, 3)))


class GrowingTest(parameterized.TestCase):
  def test_a_fade_joins_two_levels(self):
    _, variables = small()
    z = normal(0, 3, 8)
    run = applied(level=1)
    np.testing.assert_allclose(run(variables, z, fade=0.0), run(variables, z))
    coarse = resampling.upsample_nearest(applied(level=2)(variables, z))
    np.testing.assert_allclose(run(variables, z, fade=1.0), coarse, atol=1e-5)
    half = run(variables, z, fade=0.5)
    np.testing.assert_allclose(half, (run(variables, z) + coarse) / 2, atol=1e-5)
    self.assertGreater(float(jnp.std(run(variables, z) - coarse)), 0.1)

  def test_the_discriminator_follows(self):
    network, variables = small_discriminator()
    run = jax.jit(network.apply)
    images = normal(1, 4, 8, 8, 3)
    coarse = resampling.downsample_box(images)
    np.testing.assert_allclose(
      run(variables, images, fade=1.0), run(variables, coarse), atol=1e-5
    )
    np.testing.assert_allclose(
      run(variables, images, fade=0.0), run(variables, images), atol=1e-5
    )
    apart = jnp.abs(run(variables, images) - run(variables, coarse))
    self.assertGreater(float(jnp.min(apart)), 1e-3)

  def test_labels_choose_a_score(self):
    network = stylegan.Discriminator((4, 4), hidden=4, label_size=2)
    images = normal(0, 4, 8, 8, 3)
    variables = filled(network, images, jnp.zeros((4, 2)))
    run = jax.jit(network.apply)
    one, two = (run(variables, images, jnp.eye(2)[jnp.full(4, i)]) for i in (0, 1))
    both = run(variables, images, jnp.asarray([[0.5, 0.5]] * 4))
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-6)
    self.assertGreater(float(jnp.min(jnp.abs(one - two))), 1e-3)


class NoiseAndStylesTest(parameterized.TestCase):
  def test_noise_is_constant_unless_asked_for(self):
    _, variables = small()
    z = jnp.broadcast_to(normal(0, 1, 8), (3, 8))
    constant = applied(level=2)(variables, z)
    np.testing.assert_allclose(constant[0], constant[1], atol=1e-5)
    run = applied(level=2, fresh_noise=True)
    fresh = run(variables, z, rngs={"noise": jax.random.key(0)})
    self.assertGreater(float(np.std(fresh[0] - fresh[1])), 0.05)
    again = run(variables, z, rngs={"noise": jax.random.key(0)})
    np.testing.assert_array_equal(fresh, again)
    noise = synthesis.sample_noise(jax.random.key(5), 4)
    noise = variables["noise"]["synthesis"] | noise
    other = applied(level=2)({**variables, "noise": {"synthesis": noise}}, z)
    self.assertGreater(float(np.std(other - constant)), 0.05)

  def test_styles_are_the_affine_part_of_the_last_maps(self):
    # A style of w = 0 and bias b makes every map's mean b_shift, whatever came before.
    epilogue = synthesis.Epilogue(use_noise=False)
    x = normal(0, 2, 4, 4, 3)
    w = jnp.zeros((2, 5))
    params = filled(epilogue, x, w, None)["params"]
    params["style"]["bias"] = jnp.asarray([0.5, 0.0, -0.5, 1.0, 2.0, 3.0])
    y = epilogue.apply({"params": params}, x, w, None)
    np.testing.assert_allclose(y.mean(axis=(1, 2)), [[1, 2, 3]] * 2, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(1, 2)), [[1.5, 1, 0.5]] * 2, rtol=1e-3)

  def test_coarse_styles_move_coarse_layers_only(self):
    _, variables = small()
    w, other = applied("map")(variables, normal(0, 2, 8))
    run = applied("synthesize", level=1)

    def image(styles_of_layers):
      return run(variables, styles_of_layers[None])

    plain = jnp.broadcast_to(w, (6, 8))
    # At level 1 only the first four layers run.
    np.testing.assert_array_equal(image(plain), image(plain.at[4:].set(other)))
    moved = image(plain.at[3].set(other)) - image(plain)
    self.assertGreater(float(jnp.std(moved)), 1e-3)

  def test_truncation(self):
    w, average = normal(0, 2, 6, 4), normal(1, 4)
    found = styles.truncate(w, average, psi=0.7, cutoff=2)
    np.testing.assert_array_equal(found[:, 2:], w[:, 2:])
    expected = 0.3 * average + 0.7 * w[:, :2]
    np.testing.assert_allclose(found[:, :2], expected, rtol=1e-4, atol=1e-6)
    everywhere = styles.truncate(w, average, psi=0.0, cutoff=None)
    np.testing.assert_allclose(everywhere, jnp.broadcast_to(average, w.shape))
    _, variables = small()
    variables = {**variables, "average": {"w": average[:1].repeat(8)}}
    images = applied(psi=0.0, cutoff=None, level=2)(variables, normal(0, 2, 8))
    np.testing.assert_allclose(images[0], images[1], atol=1e-5)

  def test_crossovers_are_uniform_where_styles_are_mixed(self):
    @jax.jit
    def draw_many(key):
      draw = functools.partial(styles.draw_crossover, layers=4, probability=0.6)
      return jax.vmap(draw)(jax.random.split(key, 4000))

    drawn = draw_many(jax.random.key(0))
    shares = np.bincount(drawn, minlength=5) / len(drawn)
    np.testing.assert_allclose(shares, [0, 0.2, 0.2, 0.2, 0.4], atol=0.03)
    first, second = jnp.zeros((1, 4, 2)), jnp.ones((1, 4, 2))
    mixed = styles.mix(first, second, 3)
    np.testing.assert_array_equal(mixed[0, :, 0], [0, 0, 0, 1])

  def test_training_averages_w_before_mixing(self):
    network, variables = small()
    z = normal(0, 3, 8)
    average = normal(2, 8)

    @jax.jit
    def run(seed):
      images, state = network.apply(
        {**variables, "average": {"w": average}},
        z,
        level=1,
        method="train",
        mixing_probability=1.0,
        rngs={"mixing": jax.random.key(seed), "noise": jax.random.key(1)},
        mutable=["average"],
      )
      return images, state["average"]["w"]

    (images, moved), (other, _) = run(0), run(1)
    w = applied("map")(variables, z)
    np.testing.assert_allclose(
      moved, 0.995 * average + 0.005 * w.mean(axis=0), atol=1e-5
    )
    # Same latents and noise: only the mixed styles differ.
    self.assertGreater(float(np.std(images - other)), 1e-2)
    gradient = jax.grad(lambda w: jnp.sum(styles.update_average(average, w)))(w)
    np.testing.assert_array_equal(gradient, 0.0)

  def test_every_parameter_of_the_level_learns(self):
    network, variables = small()
    weight = normal(3, 3, 8, 8, 3)

    def total(params):
      images = network.apply({**variables, "params": params}, z, level=1, fade=0.5)
      return jnp.sum(images * weight)

    z = normal(0, 3, 8)
    gradients = jax.jit(jax.grad(total))(variables["params"])
    zero = {
      jax.tree_util.keystr(path)
      for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
      if not leaf.any()
    }
    above = {"conv4", "conv5", "epilogue4", "epilogue5", "to_rgb2"}
    self.assertNotEmpty(zero)
    for path in zero:
      self.assertTrue(any(f"['{name}']" in path for name in above), path)


def authors_weights(seed=0):
  """Returns a generator's and a discriminator's arrays of 8 pixels, by their names."""
  rng = np.random.default_rng(seed)

  def arrays(shapes):
    return {n: rng.normal(size=shape).astype(np.float32) for n, shape in shapes.items()}

  mapping = {"Dense0/weight": (6, 5), "Dense0/bias": (5,)}
  mapping |= {"Dense1/weight": (5, 4), "Dense1/bias": (4,)}
  layers = ("4x4/Const", "4x4/Conv", "8x8/Conv0_up", "8x8/Conv1")
  images = {"lod": (), "4x4/Const/const": (1, 3, 4, 4)}
  for number, name in enumerate(layers):
    channels = 3 if number < 2 else 2
    side = 4 if number < 2 else 8
    images |= {f"noise{number}": (1, 1, side, side), f"{name}/bias": (channels,)}
    images |= {f"{name}/Noise/weight": (channels,)}
    images |= {f"{name}/StyleMod/weight": (4, 2 * channels)}
    images |= {f"{name}/StyleMod/bias": (2 * channels,)}
    if number:
      images[f"{name}/weight"] = (3, 3, 2 if number == 3 else 3, channels)
  for lod, channels in ((1, 3), (0, 2)):
    images |= {f"ToRGB_lod{lod}/weight": (1, 1, channels, 3)}
    images |= {f"ToRGB_lod{lod}/bias": (3,)}
  scores = {"lod": ()}
  for name, shape in {
    "FromRGB_lod0": (1, 1, 3, 2),
    "FromRGB_lod1": (1, 1, 3, 3),
    "8x8/Conv0": (3, 3, 2, 2),
    "8x8/Conv1_down": (3, 3, 2, 3),
    "4x4/Conv": (3, 3, 4, 3),
    "4x4/Dense0": (48, 5),
    "4x4/Dense1": (5, 1),
  }.items():
    scores |= {f"{name}/weight": shape, f"{name}/bias": shape[-1:]}
  own = {"lod": (), "dlatent_avg": (4,)}
  return [arrays(shapes) for shapes in (own, mapping, images, scores)]


def pickled_network(weights, components=None):
  """Returns the code of a dnnlib Network."""

  def code(kind):
    return asm.name(kind) + b")\x81"

  pairs = [
    (name, asm.numpy_array("f4", array.shape, asm.raw(array.tobytes())))
    for name, array in weights.items()
  ]
  parts = code("dnnlib.util.EasyDict") + asm.value(components or {})[1:]
  state = {"version": 3, "name": "G", "components": parts, "variables": pairs}
  state |= {"static_kwargs": {"resolution": 8, "fused_scale": "auto"}}
  network = code("dnnlib.tflib.network.Network")
  return network + asm.value(state) + asm.BUILD


def authors_pickle():
  """Returns a pickle (G, D, Gs) as it is published."""
  generators = []
  for seed in (0, 1):
    own, mapping, images, scores = authors_weights(seed)
    own["lod"] = images["lod"] = np.float32(0.25).reshape(())
    parts = {
      "synthesis": pickled_network(images),
      "mapping": pickled_network(mapping),
    }
    generators.append(pickled_network(own, parts))
  scores["lod"] = np.float32(0.25).reshape(())
  three = (generators[0], pickled_network(scores), generators[1])
  return asm.program(asm.value(three))


class PublishedTest(parameterized.TestCase):
  def file(self, name, contents):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    path = pathlib.Path(directory.name) / name
    path.write_bytes(contents)
    return path

  def test_a_pickle_of_three_networks(self):
    path = self.file("karras.pkl", authors_pickle())
    loaded = published.load(path)

    own, _, images, scores = authors_weights(1)
    self.assertEqual(loaded["average"].lod, 0.25)
    self.assertEqual(published.latent_size(loaded["average"]), 6)
    variables = loaded["average"].variables
    np.testing.assert_array_equal(variables["average"]["w"], own["dlatent_avg"])
    params = variables["params"]["synthesis"]
    constant = images["4x4/Const/const"]
    np.testing.assert_array_equal(params["constant"][0, 1, 2], constant[0, :, 1, 2])
    image = jax.jit(loaded["average"].module.apply)(variables, normal(0, 2, 6))
    self.assertEqual(image.shape, (2, 8, 8, 3))
    np.testing.assert_array_equal(
      params["conv2"]["kernel"], images["8x8/Conv0_up/weight"]
    )
    self.assertTrue(np.isfinite(image).all())
    discriminator = loaded["discriminator"]
    self.assertEqual(discriminator.module.num_spreads, 1)
    kernel = discriminator.variables["params"]["dense0"]["kernel"]
    # Row (y, x, c) of ours is row (c, y, x) of theirs.
    np.testing.assert_array_equal(
      kernel[(1 * 4 + 2) * 3 + 2], scores["4x4/Dense0/weight"][(2 * 4 + 1) * 4 + 2]
    )

  def test_wrong_weights_are_named(self):
    weights = {
      "Dense0/weight": np.ones((4, 3), np.float32),
      "Dense0/bias": np.zeros(3, np.float32),
    }
    network = published.convert_mapping(weights)
    self.assertEqual((network.module.layers, network.module.features), (1, 3))
    for broken, message in (
      (weights | {"Dense0/bias": np.zeros(4)}, "Dense0/bias has shape"),
      (weights | {"surprise": np.zeros(4)}, "never used surprise"),
      ({}, "no layer Dense0"),
    ):
      with self.assertRaisesRegex(UserError, message):
        published.convert_mapping(broken)
    for convert in (published.convert_synthesis, published.convert_discriminator):
      with self.assertRaisesRegex(UserError, "lacks"):
        convert({})

  def test_files_that_are_none(self):
    path = self.file("empty.pkl", b"")
    with self.assertRaisesRegex(UserError, "empty.pkl"):
      published.load(path)
    path = self.file("other.pkl", asm.program(asm.value({})))
    with self.assertRaisesRegex(UserError, "not a pickle of the networks"):
      published.load(path)


if __name__ == "__main__":
  absltest.main()
