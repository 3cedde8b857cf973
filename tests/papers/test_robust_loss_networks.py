"""Tests of robust_loss's autoencoder and depth networks."""

import functools
import pathlib
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized
from etils import epath

from jaxvision.data import pipeline
from jaxvision.nn import robust_losses
from jaxvision.ops import robust
from jaxvision.papers.robust_loss import depth, likelihoods, vae
from jaxvision.papers.robust_loss.depth_networks import DisparityNet, PoseNet
from jaxvision.train import fit, jit_once

SHAPE = (4, 4, 3)
BOUNDS = likelihoods.Bounds(scale_init=0.2)
TINY = vae.VAE(size=2, depth=1, latents=1, components=2, levels=1, bounds=BOUNDS)
RULE = vae.optimizer(1e-2, 1e-1, 4)
STAGE = vae.stage(TINY, RULE, 2)
STREET = depth.DepthModel(
  8,
  8,
  (2, 2),
  convolutions=1,
  scales=2,
  pose_features=(2,),
  smoothness=0.0,
  baseline_smoothness=0.5,
)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def coefficients(pixels, color, basis, levels):
  return robust_losses.to_coefficients(pixels, color, basis, levels=levels)


@functools.cache
def start(init):
  """Returns the first state of a stage's `init`."""
  return jit_once(init)(jax.random.key(0))


def count(tree) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


class LikelihoodTest(parameterized.TestCase):
  def test_one_module_is_every_row_and_column(self):
    module = likelihoods.AnyLikelihood(SHAPE, levels=2, bounds=BOUNDS)
    x = 0.5 * jax.random.normal(jax.random.key(0), (3, *SHAPE))
    params = jit_once(module.init)(jax.random.key(1), x, 0, 0)["params"]
    rng = np.random.default_rng(2)
    params = jax.tree.map(
      lambda p: p + rng.normal(size=p.shape).astype(np.float32), params
    )

    @jax.jit
    def evaluate(params, distribution, representation):
      def total(params):
        losses = module.apply({"params": params}, x, distribution, representation)
        return jnp.sum(losses), losses

      return jax.grad(total, has_aux=True)(params)

    for row, distribution in enumerate(likelihoods.DISTRIBUTIONS):
      single = jax.jit(likelihoods.likelihood(distribution, SHAPE, BOUNDS).apply)
      own = {"latent_scale": params["adaptive"]["latent_scale"]}
      if distribution == "students_t":
        own["log_degrees"] = params["log_degrees"]
      if distribution == "adaptive":
        own["latent_alpha"] = params["adaptive"]["latent_alpha"]
      for column, (color, basis) in enumerate(likelihoods.REPRESENTATIONS.values()):
        gradients, losses = evaluate(params, row, column)
        expected = single({"params": own}, coefficients(x, color, basis, 2))
        np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-4)
        learns = jnp.any(gradients["adaptive"]["latent_alpha"] != 0)
        self.assertEqual(bool(learns), distribution == "adaptive")
        learns = jnp.any(gradients["log_degrees"] != 0)
        self.assertEqual(bool(learns), distribution == "students_t")


class VAETest(parameterized.TestCase):
  def test_networks_of_the_paper_have_its_sizes(self):
    network = vae.VAE()
    state = jax.eval_shape(
      lambda key: vae.initial_state(
        network, vae.optimizer(1e-3, 1e-3, 10), key, "normal", "pixels"
      ),
      jax.random.key(0),
    )
    encoder = [(3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 64)]
    decoder = [(16, 128), (128, 128), (128, 64), (64, 64), (64, 32), (32, 32), (32, 3)]
    sizes = {
      "encoder": sum(25 * i * o + o for i, o in encoder) + 64 * 32 + 32,
      "decoder": sum(25 * i * o + o for i, o in decoder),
      "prior": 100 * 16 * 2 + 100,
      "likelihood": 3 * 64 * 64 * 3,
    }
    self.assertEqual({name: count(state.params[name]) for name in sizes}, sizes)

  def test_mixture_is_a_density(self):
    prior = vae.Mixture(3, 1)
    codes = jnp.linspace(-12.0, 12.0, 2001)[:, None]
    init = functools.partial(prior.init, method="log_density")
    variables = jit_once(init)(jax.random.key(0), codes)
    log_density = jit_once(functools.partial(prior.apply, method="log_density"))
    densities = jnp.exp(log_density(variables, codes))
    self.assertAlmostEqual(float(jnp.sum(densities) * 24 / 2000), 1.0, delta=1e-3)
    drawn = prior.apply(variables, jax.random.key(1), 20_000, method="sample")
    mean = jnp.sum(densities * codes[:, 0]) * 24 / 2000
    self.assertAlmostEqual(float(drawn.mean()), float(mean), delta=0.03)

  def test_bound_is_below_the_likelihood_by_rate_and_distortion(self):
    state = start(STAGE.init)
    images = jax.random.uniform(jax.random.key(1), (5, 2, 2, 3))
    key = jax.random.key(2)

    @jit_once
    def evaluate(params):
      variables = {"params": params}
      parts = TINY.apply(variables, images, key, 0, 0)
      posterior = TINY.apply(variables, images, method=lambda m, x: m.encoder(x))
      codes = posterior.mean + posterior.deviation * jax.random.normal(key, (5, 1))
      means = TINY.apply(variables, codes, method=lambda m, x: m.decoder(x))
      return parts, jnp.sum(robust.nll(images - means, 2.0, 0.2), axis=(1, 2, 3))

    parts, expected = evaluate(state.params)
    np.testing.assert_allclose(parts["distortion"], expected, rtol=1e-5)
    np.testing.assert_allclose(parts["elbo"], -parts["rate"] - parts["distortion"])

  def test_training_that_was_stopped_ends_with_the_same_bits(self):
    state = start(STAGE.init)
    images = np.random.default_rng(0).random((6, 2, 2, 3), np.float32)

    def train(run, steps):
      source = pipeline.ArraySource({"image": images})
      batches = pipeline.batches(source, batch_size=2, seed=0)
      return fit(run, "vae", state, STAGE.step, batches, steps, checkpoint_every=0)

    whole, stopped = (BareRun(self) for _ in range(2))
    expected = train(whole, 4)
    train(stopped, 2)
    chex.assert_trees_all_equal(train(stopped, 4).params, expected.params)
    before = state.params["likelihood"]["adaptive"]["latent_scale"]
    after = expected.params["likelihood"]["adaptive"]["latent_scale"]
    # The first three steps of Adam move each parameter by its own group's rate.
    np.testing.assert_array_less(0.1, jnp.max(jnp.abs(after - before)))
    moved = jax.tree.map(
      lambda a, b: float(np.max(np.abs(a - b))),
      jax.device_get(expected.params["decoder"]),
      jax.device_get(state.params["decoder"]),
    )
    self.assertLess(max(jax.tree.leaves(moved)), 0.041)

  def test_warmup_raises_the_weight_of_the_rate(self):
    numbers = vae.numbers("normal", "pixels", warmup=2)
    state = start(STAGE.init).replace(model_state=numbers)
    batch = {"image": np.full((2, 2, 2, 3), 0.3, np.float32)}
    run = BareRun(self)
    fit(run, "vae", state, STAGE.step, lambda _: batch, 4, checkpoint_every=0)
    for weight, metrics in zip((0.0, 0.5, 1.0, 1.0), run.curve, strict=True):
      expected = metrics["distortion"] + weight * metrics["rate"]
      self.assertAlmostEqual(metrics["loss"], expected, places=5)

  def test_any_reconstruction_loss_takes_the_likelihoods_place(self):
    network = TINY.clone(loss="cauchy")
    stage = vae.stage(network, RULE, 1)
    state = jax.eval_shape(stage.init, jax.random.key(0))
    self.assertNotIn("likelihood", state.params)
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), state.params)
    images = jnp.ones((1, 2, 2, 3))
    apply = jit_once(
      lambda p: network.apply({"params": p}, images, jax.random.key(1), 0, 0)
    )
    # Without weights, the mean image is 1/2 everywhere.
    expected = 12 * np.log1p(0.5 * (0.5 / 0.2) ** 2)
    self.assertAlmostEqual(float(apply(params)["distortion"][0]), expected, places=3)

  def test_other_sizes_are_refused(self):
    with self.assertRaisesRegex(ValueError, "size=24"):
      vae.VAE(size=24).init(jax.random.key(0), jnp.zeros((1, 24, 24, 3)), None, 0, 0)


class BareRun:
  """What fit needs of a Run."""

  is_main = True

  def __init__(self, test):
    directory = test.enterContext(tempfile.TemporaryDirectory())
    self.workdir = epath.Path(pathlib.Path(directory))
    self.curve = []

  def log(self, message):
    del message

  def scalars(self, stage, step, values):
    del stage, step
    self.curve.append(values)


class DepthTest(parameterized.TestCase):
  def test_networks_of_the_paper_have_sfmlearners_sizes(self):
    images = jax.ShapeDtypeStruct((1, 128, 416, 3), jnp.float32)
    outputs, variables = jax.eval_shape(
      lambda x: DisparityNet().init_with_output(jax.random.key(0), x), images
    )
    sizes = [output.shape for output in outputs]
    self.assertEqual(sizes, [(1, 128 >> s, 416 >> s, 1) for s in range(4)])
    widths, kernels = (32, 64, 128, 256, 512, 512, 512), (7, 5, 3, 3, 3, 3, 3)
    total, last = 0, 3
    for width, kernel in zip(widths, kernels, strict=True):
      total += kernel**2 * (last * width + width * width) + 2 * width
      last = width
    for level in reversed(range(7)):
      width = widths[level - 1] if level else 16
      skip = widths[level - 1] if level else 0
      merged = width + skip + (level < 3)
      total += 9 * (last * width + merged * width) + 2 * width
      total += 9 * width + 1 if level < 4 else 0
      last = width
    self.assertEqual(count(variables), total)

    sources = jax.ShapeDtypeStruct((1, 2, 128, 416, 3), jnp.float32)
    twists, _ = jax.eval_shape(
      lambda x, y: PoseNet().init_with_output(jax.random.key(0), x, y), images, sources
    )
    self.assertEqual(twists.shape, (1, 2, 6))

  def test_photometric_losses_are_those_of_the_paper(self):
    rng = np.random.default_rng(0)
    # A step of rate 1 takes the gradient itself off the parameters.
    stage = depth.stage(STREET, optax.sgd(1.0), batch=1, steps=3)
    batch = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), stage.batch)
    batch["intrinsics"] = np.array(
      [[[8.0, 0, 3.5], [0, 8.0, 3.5], [0, 0, 1]]], np.float32
    )
    state = start(stage.init)
    # No motion: the views are the sources themselves, nearly all of them seen.
    still = jax.tree.map(jnp.zeros_like, state.params["pose"])
    state = state.replace(params={**state.params, "pose": still})
    compiled = jax.jit(stage.step)

    def step(variant, number=0):
      numbers = {**depth.numbers(variant, 3), "step": jnp.int32(number)}
      after, metrics = compiled(state.replace(model_state=numbers), batch)
      self.assertEqual(int(after.model_state["step"]), number + 1)
      self.assertEqual(float(metrics["smoothness"]) > 0, variant == "baseline")
      moved = after.params["adaptive_0"]["latent_alpha"]
      return float(metrics["photometric"]), np.any(np.asarray(moved) != 0, axis=-1)

    fine = batch["target"][:, None] - batch["sources"]
    coarse = fine.reshape(1, 2, 4, 2, 4, 2, 3).mean(axis=(3, 5))
    value, _ = step("baseline")
    expected = np.mean(np.abs(fine)) + np.mean(np.abs(coarse))
    np.testing.assert_allclose(value, expected, rtol=0.15)

    values = {}
    for variant, alpha in (("charbonnier", 1.0), ("cauchy", 0.0), ("squared", 2.0)):
      expected = 0.0
      for difference, levels in ((fine, 3), (coarse, 2)):
        pixels = jnp.asarray(difference[0])
        x = coefficients(pixels, "yuv", "cdf97", levels)
        expected += depth.SCALE * jnp.mean(robust.loss(x, alpha, depth.SCALE))
      values[variant], moved = step(variant)
      np.testing.assert_allclose(values[variant], expected, rtol=0.15)
      self.assertFalse(np.any(moved))
    # α begins at 1 everywhere: the likelihood is that loss and the normaliser.
    adaptive, moved = step("adaptive")
    normalizer = 2 * depth.SCALE * float(robust.nll(jnp.zeros(1), 1.0, depth.SCALE)[0])
    self.assertAlmostEqual(adaptive, values["charbonnier"] + normalizer, places=4)
    self.assertTrue(np.all(moved))
    # Annealing takes α from 2 through 1 to 0.
    for number, variant in enumerate(("squared", "charbonnier", "cauchy")):
      self.assertAlmostEqual(step("annealed", number)[0], values[variant], places=5)

  def test_measures_of_depth(self):
    truth = np.array([[[1.0, 2.0], [4.0, np.inf]]])
    same = depth.measure(7 * np.array([[[1.0, 2.0], [4.0, 3.0]]]), truth)
    self.assertAlmostEqual(same["AbsRel"], 0)
    self.assertEqual(same["d1"], 1)
    # The median, 2, is right; 1 is guessed 1.3 and 4 is guessed 3.
    guess = np.array([[[1.3, 2.0], [3.0, 9.0]]])
    found = depth.measure(guess, truth)
    self.assertAlmostEqual(found["AbsRel"], (0.3 + 0.25) / 3)
    self.assertAlmostEqual(found["SqRel"], (0.09 + 0.25) / 3)
    self.assertAlmostEqual(found["RMS"], np.sqrt((0.09 + 1) / 3))
    logs = np.log([1.3, 1, 0.75])
    self.assertAlmostEqual(found["logRMS"], np.sqrt(np.mean(logs**2)))
    self.assertAlmostEqual(found["d1"], 1 / 3)
    self.assertAlmostEqual(found["d2"], 1.0)


if __name__ == "__main__":
  absltest.main()
