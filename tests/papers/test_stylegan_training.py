"""Training of stylegan: Adam, segments, the order of a step, averages, resumption."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from jaxvision.data import sprite_faces
from jaxvision.papers.stylegan import configurations, growing, speed, styles, training
from jaxvision.papers.stylegan.optimizer import adam, skip_nonfinite
from tests.papers.test_stylegan import filled

SEGMENT = growing.Segment(
  level=1,
  resolution=4,
  is_fading=False,
  batch=4,
  rate=1e-2,
  steps=2,
  first_fade=0.0,
  fade_change=0.0,
  images=0,
)


class AdamTest(parameterized.TestCase):
  def test_first_updates_by_hand(self):
    optimizer = adam(0.1, beta1=0.5, beta2=0.9, epsilon=1e-2)
    state = optimizer.init(jnp.zeros(2))
    mean, square = np.zeros(2), np.zeros(2)
    for number, gradient in enumerate(([1.0, 1e-3], [-2.0, 1e-3]), 1):
      gradient = np.array(gradient)
      updates, state = optimizer.update(jnp.asarray(gradient), state)
      mean = 0.5 * mean + 0.5 * gradient
      square = 0.9 * square + 0.1 * gradient**2
      rate = 0.1 * np.sqrt(1 - 0.9**number) / (1 - 0.5**number)
      np.testing.assert_allclose(
        updates, -rate * mean / (np.sqrt(square) + 1e-2), rtol=1e-5
      )

  def test_it_is_the_usual_adam_where_epsilon_is_nothing(self):
    gradients = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    ours, theirs = adam(1e-3, epsilon=1e-20), optax.adam(1e-3, 0.0, 0.99, eps=1e-20)
    a, b = ours.init(jnp.zeros(3)), theirs.init(jnp.zeros(3))
    for gradient in gradients:
      x, a = ours.update(jnp.asarray(gradient), a)
      y, b = theirs.update(jnp.asarray(gradient), b)
      np.testing.assert_allclose(x, y, rtol=1e-5)

  @parameterized.parameters(np.nan, np.inf)
  def test_one_bad_element_stops_the_whole_update(self, bad):
    optimizer = skip_nonfinite(adam(0.1))
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    gradients = {"a": jnp.ones(2), "b": jnp.asarray([1.0, bad, 1.0])}
    updates, state = optimizer.update(gradients, optimizer.init(params))
    for leaf in jax.tree.leaves((updates, state)):
      np.testing.assert_array_equal(leaf, 0)
    gradients["b"] = jnp.ones(3)
    updates, state = optimizer.update(gradients, state)
    self.assertEqual(int(state.count), 1)
    np.testing.assert_allclose(updates["a"], -0.1, rtol=1e-5)


class SegmentsTest(parameterized.TestCase):
  def test_the_papers_training(self):
    parts = growing.segments(growing.Schedule(), 25e6)
    self.assertEqual(
      [(part.resolution, part.is_fading) for part in parts],
      [(8, False)]
      + [(side, fading) for side in (16, 32, 64, 128, 256, 512, 1024)
         for fading in (True, False)],
    )  # fmt: skip
    images = sum(part.steps * part.batch for part in parts)
    self.assertBetween(images, 25e6, 25e6 + 512 * 4)
    self.assertEqual(
      [part.rate for part in parts[-8::2]], [1.5e-3, 2e-3, 3e-3, 3e-3][-4:]
    )
    for earlier, later in itertools.pairwise(parts):
      self.assertEqual(later.images, earlier.images + earlier.steps * earlier.batch)

  def test_fades_of_steps_are_those_of_the_schedule(self):
    schedule = growing.Schedule(
      resolution=16, initial=4, stable=0.4, fade=0.3, batches={4: 16, 8: 8, 16: 4}
    )
    schedule = growing.dataclasses.replace(schedule, devices=2)
    both = tiny(16)
    for part in growing.segments(schedule, 2500, repeats=4):
      state = both.enter(empty_state(), part, jax.random.key(0))
      for step in range(0, part.steps, 3):
        seen = part.images + step // 4 * 4 * part.batch
        expected = schedule.at(seen)
        self.assertEqual(expected.level, part.level)
        fade = both.fade(state.replace(step=jnp.asarray(step)))
        self.assertAlmostEqual(float(fade), expected.fade, places=4)

  def test_a_batch_too_small_for_the_devices(self):
    schedule = growing.Schedule(batches={8: 4}, devices=8)
    with self.assertRaisesRegex(ValueError, "8 devices"):
      growing.segments(schedule, 100)


def tiny(resolution=8, configuration="style-1", **options):
  sizes = {"base": 16, "largest": 4}
  return training.Adversaries(
    configurations.generator(configuration, resolution, latent=4, **sizes),
    configurations.discriminator(configuration, resolution, **sizes),
    latent=4,
    **options,
  )


def empty_state():
  params = {group: {"w": jnp.zeros(1)} for group in training.GROUPS}
  return training.State.create(
    jax.random.key(0), params, {g: optax.identity() for g in params}
  )


@functools.cache
def adversaries():
  return tiny(half_life=0.008)  # twice a batch of four


@functools.cache
def compiled():
  """Returns the compiled step of 4 x 4 pixels, of a network of 8 x 8."""
  return jax.jit(adversaries().step(SEGMENT))


@functools.cache
def start():
  """Returns a state whose parameters are drawn by numpy."""
  both = adversaries()
  shapes = jax.eval_shape(lambda k: both.init(k, SEGMENT, 0.9), jax.random.key(0))
  generator = filled(both.generator, jnp.zeros((1, 4)))
  discriminator = filled(both.discriminator, jnp.zeros((4, 8, 8, 3)), seed=1)
  params = {
    "discriminator": discriminator["params"],
    "generator": generator.pop("params"),
  }
  mixing = {"mixing": jnp.asarray(0.9)}
  state = training.State(
    step=0,
    params=params,
    opt_state=None,
    model_state=generator | mixing,
    ema={"generator": jax.tree.map(jnp.copy, params["generator"])},
    rng=None,
  )
  state = both.enter(state, SEGMENT, jax.random.key(3))
  assert jax.tree.structure(state) == jax.tree.structure(shapes)
  return state


def batch(seed=0):
  faces = sprite_faces.faces(seed, 4, 8).images
  return {"images": growing.halve(faces)}


class StepTest(absltest.TestCase):
  def test_the_order_of_a_step(self):
    before = start()
    after, metrics = compiled()(before, batch())
    self.assertEqual(int(after.step), 1)
    # The average has seen the generator of before this step's update.
    for old, average in zip(
      jax.tree.leaves(before.params["generator"]),
      jax.tree.leaves(after.ema["generator"]),
      strict=True,
    ):
      np.testing.assert_allclose(old, average, atol=1e-6)
    again, _ = compiled()(after, batch(1))
    decay = 0.5 ** (4 / 8)
    for old, new, average in zip(
      jax.tree.leaves(before.params["generator"]),
      jax.tree.leaves(after.params["generator"]),
      jax.tree.leaves(again.ema["generator"]),
      strict=True,
    ):
      np.testing.assert_allclose(average, decay * old + (1 - decay) * new, atol=1e-5)
    self.assertTrue(all(np.isfinite(value) for value in metrics.values()))
    # w is averaged in both halves of the step.
    w = before.model_state["average"]["w"]
    moved = np.abs(after.model_state["average"]["w"] - 0.995**2 * w)
    self.assertLess(moved.max(), 0.01 * 30)
    self.assertGreater(moved.max(), 0)
    np.testing.assert_array_equal(
      after.model_state["noise"]["synthesis"]["noise0"],
      before.model_state["noise"]["synthesis"]["noise0"],
    )

  def test_only_the_level_learns(self):
    before = start()
    after, _ = compiled()(before, batch())
    moved = {
      f"{group}/{path[-2].key}" if len(path) < 4 else f"{group}/{path[1].key}"
      for group in training.GROUPS
      for (path, old), new in zip(
        jax.tree_util.tree_leaves_with_path(before.params[group]),
        jax.tree.leaves(after.params[group]),
        strict=True,
      )
      if np.abs(old - new).max() > 1e-7
    }
    for name in ("discriminator/from_rgb0", "discriminator/dense0"):
      self.assertIn(name, moved)
    for name in ("generator/to_rgb0", "generator/conv1", "generator/dense0"):
      self.assertIn(name, moved)
    for name in ("discriminator/conv1_0", "discriminator/from_rgb1"):
      self.assertNotIn(name, moved)
    for name in ("generator/conv2", "generator/to_rgb1"):
      self.assertNotIn(name, moved)

  def test_the_discriminator_learns_to_tell(self):
    state = start()
    gaps = []
    for number in range(60):
      state, metrics = compiled()(state, batch(number % 4))
      gaps.append(metrics["discriminator/real_score"] - metrics[
        "discriminator/fake_score"])  # fmt: skip
    losses = np.array(gaps)
    self.assertGreater(losses[-20:].mean(), losses[:5].mean())

  def test_the_same_seed_gives_the_same_bits(self):
    one, two = (compiled()(start(), batch())[0] for _ in range(2))
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params)):  # noqa: B905
      np.testing.assert_array_equal(a, b)

  def test_a_gradient_that_is_not_finite_is_skipped(self):
    state = start()
    # Scores that are finite, of which the squared gradient is not.
    huge = jax.tree.map(lambda x: x, state.params["discriminator"])
    huge["dense1"] = {**huge["dense1"], "kernel": huge["dense1"]["kernel"] * 1e30}
    params = {**state.params, "discriminator": huge}
    after, metrics = compiled()(state.replace(params=params), batch())
    self.assertEqual(metrics["discriminator/skipped"], 1.0)
    self.assertEqual(metrics["discriminator/gradient_norm"], 0.0)
    for a, b in zip(
      jax.tree.leaves(after.params["discriminator"]),
      jax.tree.leaves(huge),
      strict=True,
    ):
      np.testing.assert_array_equal(a, b)

  def test_a_new_segment_forgets_moments_but_no_parameter(self):
    state, _ = compiled()(start(), batch())
    entered = adversaries().enter(state, SEGMENT, jax.random.key(9))
    self.assertEqual(int(entered.step), 0)
    for leaf in jax.tree.leaves(entered.opt_state):
      np.testing.assert_array_equal(leaf, 0)
    self.assertIs(entered.params, state.params)
    self.assertIs(entered.ema, state.ema)
    kept = training.variables(entered)
    self.assertIs(kept["params"], state.ema["generator"])
    self.assertIs(training.variables(entered, average=False)["average"],
                  state.model_state["average"])  # fmt: skip


class StagesTest(parameterized.TestCase):
  @parameterized.parameters(
    ("A", "wgan", 0), ("F", "logistic", 3), ("B", "hinge", 0), ("E", "logistic", 0)
  )
  def test_steps_of_other_losses_and_labels_have_their_shapes(self, name, loss, labels):
    sizes = {"base": 16, "largest": 4, "label_size": labels}
    both = training.Adversaries(
      configurations.generator(name, 8, latent=4, **sizes),
      configurations.discriminator(name, 8, **sizes),
      latent=4,
      loss=loss,
    )
    for level, side in ((0, 8), (1, 4)):
      part = growing.dataclasses.replace(SEGMENT, level=level, resolution=side)
      stage = both.stage(f"{side}", part)
      state = jax.eval_shape(stage.init, jax.random.key(0))
      after, metrics = jax.eval_shape(stage.step, state, stage.batch)
      self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
      self.assertIn("generator/skipped", metrics)
      image = jax.eval_shape(stage.forward, state, stage.batch)
      self.assertEqual(image.shape, (4, side, side, 3))


class SpeedTest(absltest.TestCase):
  def test_rows_and_the_arithmetic_of_bare_convolutions(self):
    rows = speed.rows(lambda call: 2.0)
    self.assertLen(rows, 4)
    self.assertEqual(rows[1]["times_bare_convolutions"], 1.0)
    self.assertAlmostEqual(rows[3]["times_bare_convolutions"], 1 / 6)
    self.assertAlmostEqual(rows[3]["times_bare_forwards"], 1 / 15)
    layers = speed.discriminator_layers((8, 4))
    call, flops = speed.bare_convolutions(layers, 3)
    expected = 64 * 3 * 4 + 16 * 9 * 9 * 8 + 64 * 9 * 4 * 4 + 16 * 16 * 4 * 8
    self.assertEqual(flops, 2 * 3 * expected)
    shapes = [y.shape for y in jax.eval_shape(call)]
    self.assertEqual(shapes[0], (3, 8, 8, 4))
    _, gradients = jax.eval_shape(speed.bare_convolutions(layers, 3, (1,))[0])[0]
    self.assertEqual(gradients[0].shape, (1, 1, 3, 4))


class ManyLatentsTest(absltest.TestCase):
  def test_latents_follow_each_other(self):
    w = jnp.broadcast_to(jnp.arange(3.0)[None, :, None, None], (500, 3, 6, 2))
    mixed = np.asarray(styles.mix_many(jax.random.key(0), w))[..., 0]
    self.assertTrue((np.diff(mixed, axis=1) >= 0).all())
    np.testing.assert_array_equal(mixed[:, 0], 0.0)
    np.testing.assert_array_equal(mixed[:, -1], 2.0)
    first = (mixed == 0).sum(axis=1)
    # The smaller of two uniform draws of 1, ..., 5.
    shares = np.bincount(first, minlength=6)[1:] / 500
    np.testing.assert_allclose(shares, np.array([9, 7, 5, 3, 1]) / 25, atol=0.07)
    one = styles.mix_many(jax.random.key(0), w[:, 1:2])
    np.testing.assert_array_equal(one, 1.0)


if __name__ == "__main__":
  absltest.main()
