"""Tests of robust_loss's autoencoder and depth networks."""

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
from jaxvision.train import fit

SHAPE = (4, 4, 3)
BOUNDS = likelihoods.Bounds(scale_init=0.2)


def count(tree) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


class LikelihoodTest(parameterized.TestCase):
  def test_one_module_is_every_row_and_column(self):
    module = likelihoods.AnyLikelihood(SHAPE, levels=2, bounds=BOUNDS)
    x = 0.5 * jax.random.normal(jax.random.key(0), (3, *SHAPE))
    params = module.init(jax.random.key(1), x, 0, 0)["params"]
    noise = iter(jax.random.split(jax.random.key(2), 3))
    params = jax.tree.map(lambda p: p + jax.random.normal(next(noise), p.shape), params)

    @jax.jit
    def evaluate(params, distribution, representation):
      def total(params):
        losses = module.apply({"params": params}, x, distribution, representation)
        return jnp.sum(losses), losses

      return jax.grad(total, has_aux=True)(params)

    for row, distribution in enumerate(likelihoods.DISTRIBUTIONS):
      single = likelihoods.likelihood(distribution, SHAPE, BOUNDS)
      own = {"latent_scale": params["adaptive"]["latent_scale"]}
      if distribution == "students_t":
        own["log_degrees"] = params["log_degrees"]
      if distribution == "adaptive":
        own["latent_alpha"] = params["adaptive"]["latent_alpha"]
      for column, (color, basis) in enumerate(likelihoods.REPRESENTATIONS.values()):
        gradients, losses = evaluate(params, row, column)
        coefficients = robust_losses.to_coefficients(x, color, basis, levels=2)
        expected = single.apply({"params": own}, coefficients)
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
    variables = prior.init(jax.random.key(0), codes, method="log_density")
    densities = jnp.exp(prior.apply(variables, codes, method="log_density"))
    self.assertAlmostEqual(float(jnp.sum(densities) * 24 / 2000), 1.0, delta=1e-3)
    drawn = prior.apply(variables, jax.random.key(1), 20_000, method="sample")
    mean = jnp.sum(densities * codes[:, 0]) * 24 / 2000
    self.assertAlmostEqual(float(drawn.mean()), float(mean), delta=0.03)

  def test_bound_is_below_the_likelihood_by_rate_and_distortion(self):
    network = vae.VAE(size=4, depth=2, latents=2, components=3, levels=1, bounds=BOUNDS)
    state = vae.initial_state(
      network, vae.optimizer(1e-3, 1e-3, 10), jax.random.key(0), "normal", "pixels"
    )
    images = jax.random.uniform(jax.random.key(1), (5, *SHAPE))
    variables = {"params": state.params}
    key = jax.random.key(2)
    parts = network.apply(variables, images, key, **state.model_state)
    np.testing.assert_allclose(parts["elbo"], -parts["rate"] - parts["distortion"])
    posterior = network.apply(variables, images, method=lambda m, x: m.encoder(x))
    codes = posterior.mean + posterior.deviation * jax.random.normal(key, (5, 2))
    means = network.apply(variables, codes, method=lambda m, x: m.decoder(x))
    expected = jnp.sum(robust.nll(images - means, 2.0, 0.2), axis=(1, 2, 3))
    np.testing.assert_allclose(parts["distortion"], expected, rtol=1e-5)

  def test_training_that_was_stopped_ends_with_the_same_bits(self):
    network = vae.VAE(size=2, depth=1, latents=1, components=2, levels=1, bounds=BOUNDS)
    rule = vae.optimizer(1e-2, 1e-1, 4)
    stage = vae.stage(network, rule, 2)
    state = vae.initial_state(network, rule, jax.random.key(0), "adaptive", "wavelets")
    images = np.random.default_rng(0).random((6, 2, 2, 3), np.float32)

    def train(run, steps):
      source = pipeline.ArraySource({"image": images})
      batches = pipeline.batches(source, batch_size=2, seed=0)
      return fit(run, "vae", state, stage.step, batches, steps, checkpoint_every=0)

    whole, stopped = (BareRun(self) for _ in range(2))
    expected = train(whole, 4)
    train(stopped, 2)
    chex.assert_trees_all_equal(train(stopped, 4).params, expected.params)
    before = state.params["likelihood"]["adaptive"]["latent_scale"]
    after = expected.params["likelihood"]["adaptive"]["latent_scale"]
    # The first three steps of Adam move each parameter by its own group's rate.
    np.testing.assert_array_less(0.1, jnp.max(jnp.abs(after - before)))
    moved = jax.tree.map(
      lambda a, b: float(jnp.max(jnp.abs(a - b))),
      expected.params["decoder"],
      state.params["decoder"],
    )
    self.assertLess(max(jax.tree.leaves(moved)), 0.041)

  def test_any_reconstruction_loss_takes_the_likelihoods_place(self):
    network = vae.VAE(size=2, depth=1, latents=1, components=2, loss="cauchy")
    rule = vae.optimizer(1e-2, 1e-1, 4)
    state = vae.initial_state(network, rule, jax.random.key(0), "normal", "pixels")
    self.assertNotIn("likelihood", state.params)
    images = jnp.zeros((1, 2, 2, 3))
    variables = {"params": state.params}
    parts = network.apply(variables, images, jax.random.key(1), **state.model_state)
    self.assertGreater(parts["distortion"][0], 0)

  def test_other_sizes_are_refused(self):
    with self.assertRaisesRegex(ValueError, "size=24"):
      vae.VAE(size=24).init(jax.random.key(0), jnp.zeros((1, 24, 24, 3)), None, 0, 0)


class BareRun:
  """What fit needs of a Run."""

  is_main = True

  def __init__(self, test):
    directory = test.enterContext(tempfile.TemporaryDirectory())
    self.workdir = epath.Path(pathlib.Path(directory))

  def log(self, message):
    del message

  def scalars(self, stage, step, values):
    del stage, step, values


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
    model = depth.DepthModel(
      8, 8, (2, 2), convolutions=1, scales=2, pose_features=(2,), smoothness=0.0
    )
    keys = jax.random.split(jax.random.key(0), 3)
    target = jax.random.uniform(keys[0], (1, 8, 8, 3))
    batch = {
      "target": target,
      "sources": jax.random.uniform(keys[1], (1, 2, 8, 8, 3)),
      "intrinsics": jnp.array([[[8.0, 0, 3.5], [0, 8.0, 3.5], [0, 0, 1]]]),
    }
    params = model.init(keys[2], batch, 0, 1.0)["params"]
    # No motion: the views are the sources themselves, all of them seen.
    params["pose"] = jax.tree.map(jnp.zeros_like, params["pose"])

    @jax.jit
    def evaluate(params, kind, alpha):
      def loss(params):
        return model.apply({"params": params}, batch, kind, alpha)["photometric"]

      return jax.value_and_grad(loss)(params)

    fine = target[:, None] - batch["sources"]
    coarse = fine.reshape(1, 2, 4, 2, 4, 2, 3).mean(axis=(3, 5))
    # Points on the last row and column may be just outside, by rounding.
    value, _ = evaluate(params, 0, 1.0)
    expected = jnp.mean(jnp.abs(fine)) + jnp.mean(jnp.abs(coarse))
    np.testing.assert_allclose(value, expected, rtol=0.15)
    scale = depth.SCALE
    at_one = 0.0
    for difference in (fine, coarse):
      pixels = difference.reshape(-1, *difference.shape[2:])
      levels = 3 if pixels.shape[1] == 8 else 2
      x = robust_losses.to_coefficients(pixels, "yuv", "cdf97", levels=levels)
      at_one += scale * jnp.mean(robust.loss(x, 1.0, scale))
    value, gradients = evaluate(params, 1, 1.0)
    np.testing.assert_allclose(value, at_one, rtol=0.15)
    for leaf in jax.tree.leaves([gradients["adaptive_0"], gradients["adaptive_1"]]):
      np.testing.assert_array_equal(leaf, 0)
    # α begins at 1 everywhere: the likelihood is the loss and the normaliser.
    adaptive, gradients = evaluate(params, 2, 0.3)
    normalizer = 2 * scale * (robust.nll(jnp.zeros(1), 1.0, scale)[0])
    np.testing.assert_allclose(adaptive, value + normalizer, rtol=1e-4)
    self.assertTrue(jnp.all(gradients["adaptive_0"]["latent_alpha"] != 0))
    # Annealing passes α through the same compiled step.
    self.assertGreater(evaluate(params, 1, 2.0)[0], value)
    self.assertLess(evaluate(params, 1, 0.0)[0], value)

  def test_alpha_is_annealed_by_the_step(self):
    model = depth.DepthModel(4, 4, (1,), convolutions=1, scales=1, pose_features=(1,))
    rule = optax.set_to_zero()
    stage = depth.stage(model, rule, batch=1, steps=3)
    state = depth.initial_state(model, rule, jax.random.key(0), "annealed", 3)
    rng = np.random.default_rng(0)
    batch = jax.tree.map(lambda leaf: rng.random(leaf.shape, np.float32), stage.batch)
    batch["intrinsics"] = np.eye(3, dtype=np.float32)[None]
    step = jax.jit(stage.step)
    losses = []
    for _ in range(3):
      state, metrics = step(state, batch)
      losses.append(float(metrics["photometric"]))
    for variant, expected in (("squared", losses[0]), ("cauchy", losses[2])):
      fixed = depth.initial_state(model, rule, jax.random.key(0), variant, 3)
      _, metrics = step(fixed, batch)
      self.assertAlmostEqual(float(metrics["photometric"]), expected, places=5)
    self.assertGreater(losses[0], losses[1])
    self.assertGreater(losses[1], losses[2])

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
