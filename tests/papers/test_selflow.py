"""Tests of selflow: network, losses, hallucinated occlusion, training, weights."""

import dataclasses
import functools
import itertools
import pathlib
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from jaxvision.errors import UserError
from jaxvision.ops import warp
from jaxvision.papers.selflow import (
  hallucination,
  inference,
  losses,
  network,
  published,
  training,
)
from jaxvision.train import fit, jit_once

TINY = network.scaled(0.05, 2, estimator_layers=1, context_layers=1, border="zero")
SIZE = (16, 24)
FRAMES = jax.random.uniform(jax.random.key(0), (5, 1, *SIZE, 3))


@functools.cache
def tiny_params():
  return jit_once(TINY.init)(jax.random.key(1), FRAMES[:3])["params"]


@functools.cache
def run_tiny(two_frame=False):
  net = TINY.clone(two_frame=two_frame)
  return jit_once(lambda frames: net.apply({"params": tiny_params()}, frames).full)


def checkpoint_names(params):
  leaves = {"kernel": "weights", "bias": "biases"}
  return {
    f"{scope}/{layer}/{leaves[leaf]}": np.asarray(array)
    for scope, layers in params.items()
    for layer, arrays in layers.items()
    for leaf, array in arrays.items()
  }


class NetworkTest(chex.TestCase):
  def test_paper_size_has_the_tables_channels(self):
    net = network.SelFlow()
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((3, 1, 64, 64, 3)))
    params = shapes["params"]
    inputs = [
      params[f"estimator_level_{level}"]["conv1"]["kernel"].shape[-2]
      for level in (6, 5, 4, 3, 2)
    ]
    self.assertEqual(inputs, [358, 294, 262, 230, 198])
    self.assertEqual(
      params["context_network"]["dilated_conv1"]["kernel"].shape, (3, 3, 68, 128)
    )
    pyramid = 16, 16, 32, 32, 64, 64, 96, 96, 128, 128, 192, 192
    count = sum(9 * a * b + b for a, b in zip((3, *pyramid), pyramid, strict=False))
    chains = [(first, 128, 128, 96, 64, 32, 2) for first in inputs]
    for widths in (*chains, (68, 128, 128, 128, 96, 64, 32, 2)):
      count += sum(9 * a * b + b for a, b in itertools.pairwise(widths))
    self.assertEqual(sum(leaf.size for leaf in jax.tree.leaves(params)), count)

  def test_time_reversed_gives_the_directions_exchanged(self):
    flow = run_tiny()(FRAMES)
    self.assertEqual(flow.shape, (2, 3, 1, *SIZE, 2))
    reversed_flow = run_tiny()(FRAMES[::-1])
    np.testing.assert_allclose(reversed_flow[::-1, ::-1], flow, atol=1e-5)

  def test_triplets_are_independent(self):
    alone = run_tiny()(FRAMES[1:4])
    np.testing.assert_allclose(run_tiny()(FRAMES)[:, 1:2], alone, atol=1e-5)

  def test_two_frames_do_not_see_the_third(self):
    other = FRAMES[:3].at[0].set(0.3)
    two = [run_tiny(True)(frames) for frames in (FRAMES[:3], other)]
    np.testing.assert_array_equal(two[0][0], two[1][0])
    self.assertGreater(np.abs(two[0][1] - two[1][1]).max(), 1e-4)
    three = [run_tiny()(frames) for frames in (FRAMES[:3], other)]
    self.assertGreater(np.abs(three[0][0] - three[1][0]).max(), 1e-4)

  @parameterized.parameters(("zero", True), ("clamp", True), ("truncate", False))
  def test_no_flow_needs_no_warp_but_the_authors(self, border, same):
    middle, neighbours = FRAMES[0], FRAMES[1:3]
    flow = jnp.zeros((*neighbours.shape[:-1], 2))
    see = jit_once(
      lambda still: network.estimator_input(
        middle, neighbours, flow, radius=1, border=border, still=still
      ),
      static_argnums=0,
    )
    np.testing.assert_allclose(see(True), see(False), atol=1e-6)
    moved = warp.backward_warp(neighbours, flow, border=border)
    self.assertEqual(np.array_equal(moved, neighbours), same)

  @chex.variants(with_jit=True, without_jit=True)
  def test_resized_flow_has_the_new_pixels(self):
    flow = jnp.stack(jnp.meshgrid(jnp.arange(5.0), jnp.arange(3.0)), axis=-1)[None]
    resize = self.variant(network.flow_resize, static_argnums=1)
    ours = resize(flow, (5, 9))
    np.testing.assert_allclose(ours[0, 0, :, 0], np.arange(9) / 2 * 9 / 5, rtol=1e-5)
    np.testing.assert_allclose(ours[0, :, 0, 1], np.arange(5) / 2 * 5 / 3, rtol=1e-5)
    np.testing.assert_allclose(resize(ours, (3, 5)), flow, atol=1e-5)

  def test_normalized_frames_are_what_gain_and_offset_leave(self):
    frames = network.normalize(FRAMES)
    np.testing.assert_allclose(frames.mean((2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std((2, 3)), 1, rtol=1e-4)
    np.testing.assert_allclose(network.normalize(0.5 * FRAMES + 0.2), frames, atol=1e-4)
    np.testing.assert_array_equal(network.normalize(jnp.ones((4, 4, 3))), 0)

  def test_gain_is_of_the_layer_that_gives_flow_alone(self):
    key, x = jax.random.key(0), jnp.ones((1, 4, 4, 3))
    params = [
      network.Estimator((4,), gain).init(key, x)["params"] for gain in (1.0, 0.1)
    ]
    np.testing.assert_array_equal(*(one["conv1"]["kernel"] for one in params))
    full, small = (one["conv2"]["kernel"] for one in params)
    np.testing.assert_allclose(small, 0.1 * full, rtol=1e-6)

  def test_two_frames_are_refused(self):
    with self.assertRaisesRegex(ValueError, "three are needed"):
      jax.eval_shape(TINY.init, jax.random.key(0), FRAMES[:2])

  @parameterized.parameters((17, 21), (3, 5))
  def test_any_size_comes_back_and_flat_frames_give_finite_flow(self, height, width):
    frames = jnp.full((3, 1, height, width, 3), 0.5)
    flow = inference.estimate(TINY.clone(normalized=True), tiny_params(), frames)
    self.assertEqual(flow.shape, (2, 1, 1, height, width, 2))
    self.assertTrue(np.all(np.isfinite(flow)))


class LossesTest(chex.TestCase):
  def test_identical_images_have_no_gradient(self):
    image = jnp.zeros((1, 8, 8, 3))  # black, which no order of rounding changes
    mask = jnp.ones((1, 8, 8, 1))
    for loss in (
      lambda x: losses.abs_robust(image - x, mask),
      lambda x: losses.census_loss(image, x, mask),
    ):
      np.testing.assert_array_equal(jax.jit(jax.grad(loss))(image), 0)

  def test_robust_gradient_agrees_with_finite_differences(self):
    with jax.enable_x64(True):
      x = jnp.array([-2.0, -0.1, 0.05, 3.0])
      jax.test_util.check_grads(losses.robust, (x,), 1, modes=["rev"])

  def test_mean_is_over_the_mask_twice_and_empty_is_0(self):
    difference = jnp.full((2, 3, 4, 3), 0.99)
    mask = jnp.zeros((2, 3, 4, 1)).at[0, 1, 2].set(1)
    np.testing.assert_allclose(losses.abs_robust(difference, mask), 1.5, rtol=1e-5)
    self.assertEqual(losses.abs_robust(difference, 0 * mask), 0)

  def test_pairs_lead_where_they_say(self):
    # Frame f is a ramp moved by 2 f; the true flow is 2 forward and -2 backward.
    ramp = jnp.broadcast_to(0.02 * jnp.arange(30.0)[:, None], (1, 20, 30, 3))
    frames = jnp.stack([ramp - 0.04 * number for number in range(5)])
    flow = jnp.zeros((2, 3, 1, 20, 30, 2)).at[0, ..., 0].set(2).at[1, ..., 0].set(-2)
    hidden = losses.pair_occlusion(flow, "zero")
    np.testing.assert_array_equal(hidden[..., 4:-4, :], 0)
    np.testing.assert_array_equal(hidden[0, ..., -2:, :], 1)  # leaves to the right
    loss = jit_once(
      functools.partial(losses.unsupervised_loss, kind="brightness", border="zero")
    )
    right = loss(frames, flow, hidden)
    np.testing.assert_allclose(right, 4 * 3 * 0.01**0.4 / 2, rtol=1e-3)
    self.assertGreater(loss(frames, -flow, hidden), 1.5 * right)
    self.assertGreater(loss(frames, flow, 0 * hidden), 1.01 * right)

  def test_only_what_became_hidden_is_taught(self):
    teacher, student = jnp.zeros((4, 1, 6, 6, 2)), jnp.ones((4, 1, 6, 6, 2))
    hidden = jnp.zeros((4, 1, 6, 6, 1)).at[:, :, :3].set(1)
    loss = jax.jit(losses.self_supervised_loss)
    self.assertEqual(loss(teacher, student, hidden, hidden), 0)
    taught = loss(teacher, student, 0 * hidden, hidden)
    np.testing.assert_allclose(taught, 4 * 2 * 1.01**0.4 / 2 / 2, rtol=1e-5)
    gradient = jax.grad(lambda x: loss(teacher, x, 0 * hidden, hidden))(student)
    self.assertTrue(np.all(gradient[:, :, :3] > 0))
    np.testing.assert_array_equal(gradient[:, :, 3:], 0)

  def test_unknown_truth_may_be_anything(self):
    truth = jnp.zeros((1, 4, 4, 2)).at[0, 0, 0].set(jnp.nan)
    valid = jnp.ones((1, 4, 4), bool).at[0, 0, 0].set(False)
    loss, gradient = jax.jit(jax.value_and_grad(losses.supervised_loss))(
      jnp.ones((1, 4, 4, 2)), truth, valid
    )
    np.testing.assert_allclose(loss, 1.01**0.4, rtol=1e-5)
    self.assertTrue(np.all(np.isfinite(gradient)))

  def test_unknown_loss_is_refused(self):
    images = jnp.zeros((1, 1, 8, 8, 3))
    loss = functools.partial(losses.photometric_loss, kind="ssim", border="zero")
    with self.assertRaisesRegex(ValueError, "'ssim'"):
      jax.eval_shape(loss, images, images, images[..., :2], images[..., :1])


class HallucinationTest(parameterized.TestCase):
  LABELS = jnp.arange(48).reshape(1, 6, 8).repeat(2, 2).repeat(2, 1).repeat(9, 0)

  @parameterized.parameters("superpixels", "rectangles")
  def test_noise_fills_whole_regions_of_one_frame(self, noise):
    frames = jnp.full((5, 9, 12, 16, 3), 2.0)
    fill = jit_once(hallucination.hallucinate, static_argnums=3)
    ours = fill(jax.random.key(0), frames, self.LABELS, noise)
    changed = np.any(np.asarray(ours != frames), axis=-1)
    self.assertFalse(changed[[0, 1, 2, 4]].any())
    shares = changed[3].mean(axis=(1, 2))
    self.assertTrue(np.all((shares > 0.01) & (shares < 0.4)), shares)
    self.assertBetween(shares.mean(), 0.06, 0.18)
    self.assertTrue(np.all((ours[3] >= 0) & (ours[3] <= 2)))
    if noise == "superpixels":
      for image, labels in zip(changed[3], np.asarray(self.LABELS), strict=True):
        chosen = np.bincount(labels.ravel(), image.ravel())
        self.assertTrue(np.all((chosen == 0) | (chosen == 4)))
        self.assertGreater(np.sum(chosen > 0), 0)

  def test_no_noise_and_unknown_noise(self):
    ours = hallucination.hallucinate(jax.random.key(0), FRAMES, self.LABELS, "none")
    np.testing.assert_array_equal(ours, FRAMES)
    with self.assertRaisesRegex(ValueError, "'fog'"):
      hallucination.hallucinate(jax.random.key(0), FRAMES, self.LABELS, "fog")

  def test_windows_stay_inside_and_reach_every_place(self):
    draw = jax.vmap(lambda k: hallucination.random_window(k, (6, 9), (4, 9)))
    rows, columns = draw(jax.random.split(jax.random.key(0), 50))
    self.assertEqual(set(np.asarray(rows).tolist()), {0, 1, 2})
    np.testing.assert_array_equal(columns, 0)
    image = jnp.arange(54.0).reshape(1, 6, 9, 1)
    part = hallucination.crop(image, (1, 2), (3, 4))
    np.testing.assert_array_equal(part, image[:, 1:4, 2:6])


class TrainingTest(parameterized.TestCase):
  def test_augmented_flow_still_leads_to_the_same_pixel(self):
    rng = np.random.default_rng(0)
    image = rng.random((6, 8, 3), np.float32)
    frames = np.stack([image, image, np.roll(image, (1, 2), (0, 1))])
    flow = np.broadcast_to(np.float32([2, 1]), (6, 8, 2))
    example = {"frames": frames, "flow": flow, "valid": np.ones((6, 8), bool)}
    seen = set()
    for seed in range(12):
      ours = training.augment(example, np.random.default_rng(seed), (6, 8))
      u, v = ours["flow"][0, 0]
      seen.add((float(u), float(v)))
      for y, x in np.ndindex(6, 8):
        to = int((y + v) % 6), int((x + u) % 8)
        np.testing.assert_array_equal(ours["frames"][2][to], ours["frames"][1, y, x])
    self.assertLen(seen, 4)
    cropped = training.augment(example, rng, (4, 5))
    self.assertEqual(cropped["frames"].shape, (3, 4, 5, 3))
    self.assertEqual(cropped["valid"].shape, (4, 5))

  def test_rate_is_halved(self):
    optimizer = training.optimizer(1.0, halve_every=2)
    state = optimizer.init(jnp.zeros(()))
    steps = []
    for _ in range(5):
      update, state = optimizer.update(jnp.ones(()), state)
      steps.append(float(update))
    np.testing.assert_allclose(steps, [-1, -1, -0.5, -0.5, -0.25], rtol=1e-4)

  def test_rate_rises(self):
    optimizer = training.optimizer(1.0, halve_every=3, rise=4)
    state = optimizer.init(jnp.zeros(()))
    steps = []
    for _ in range(5):
      update, state = optimizer.update(jnp.ones(()), state)
      steps.append(float(update))
    np.testing.assert_allclose(steps, [-0.25, -0.5, -0.75, -0.5, -0.5], rtol=1e-4)

  def test_a_later_stage_begins_ahead_on_the_schedule(self):
    optimizer = training.optimizer(1.0, halve_every=2, largest_norm=1.0)
    params = jnp.zeros(3)
    state = training.start(jax.random.key(0), params, optimizer, None, ahead=2)
    gradient = jnp.full(3, 0.1)
    update, _ = optimizer.update(gradient, state.opt_state, params)
    np.testing.assert_allclose(update, -0.5, rtol=1e-4)  # Adam's first step, at half

  def test_teacher_and_mask_stay_and_resuming_changes_nothing(self):
    objective = training.Objective(noise="superpixels", window=(12, 16))
    optimizer = optax.adam(1e-3)
    shapes = training.batch_shapes(1, *SIZE)
    stage = training.stage("occ", TINY, objective, optimizer, shapes)
    state = training.start(jax.random.key(0), tiny_params(), optimizer, objective)
    batch = {
      "frames": np.asarray(jnp.moveaxis(FRAMES, 0, 1)),
      "superpixels": np.arange(384, dtype=np.int32).reshape(1, *SIZE) // 30,
    }

    def trained(workdir, *lengths):
      run = _Run(workdir)
      for steps in lengths:
        ended = fit(run, "occ", state, stage.step, lambda _: batch, steps)
      return ended

    with (
      tempfile.TemporaryDirectory() as first,
      tempfile.TemporaryDirectory() as second,
    ):
      whole, resumed = trained(first, 3), trained(second, 2, 3)
    chex.assert_trees_all_equal(whole.params, resumed.params)
    chex.assert_trees_all_equal(whole.model_state[training.TEACHER], tiny_params())
    self.assertEqual(whole.model_state[training.MASK], 1)
    with self.assertRaises(AssertionError):
      chex.assert_trees_all_close(whole.params, tiny_params())

  def test_supervised_step_learns(self):
    optimizer = optax.adam(3e-3)
    shapes = training.batch_shapes(1, *SIZE, supervised=True)
    stage = training.stage("tuned", TINY, None, optimizer, shapes)
    state = training.start(jax.random.key(0), tiny_params(), optimizer, None)
    batch = {
      "frames": jnp.moveaxis(FRAMES[:3], 0, 1),
      "flow": jnp.full((1, *SIZE, 2), 0.7),
      "valid": jnp.ones((1, *SIZE), bool),
    }
    step = jax.jit(stage.step)
    losses_seen = []
    for _ in range(30):
      state, metrics = step(state, batch)
      losses_seen.append(float(metrics["loss"]))
    self.assertLess(losses_seen[-1], 0.8 * losses_seen[0])


class _Run:
  """The least of a Run that fit needs."""

  is_main = True

  def __init__(self, workdir):
    self.workdir = pathlib.Path(workdir)

  def log(self, message):
    pass

  def scalars(self, *_):
    pass


class PublishedTest(absltest.TestCase):
  def test_names_convert_with_none_left_over(self):
    names = checkpoint_names(tiny_params())
    extra = {"global_step": np.zeros(()), "beta1_power": np.zeros(())}
    extra["context_network/dilated_conv1/weights/Adam"] = np.zeros(3)
    net, variables = published.convert(names | extra)
    self.assertEqual(dataclasses.replace(net, border="zero"), TINY)
    chex.assert_trees_all_equal(variables["params"], tiny_params())

  def test_wrong_checkpoints_are_told(self):
    names = checkpoint_names(tiny_params())
    with self.assertRaisesRegex(UserError, "never used stray"):
      published.convert(names | {"stray": np.zeros(3)})
    lacking = {k: v for k, v in names.items() if "context_network" not in k}
    with self.assertRaisesRegex(UserError, "scopes"):
      published.convert(lacking)
    with self.assertRaisesRegex(UserError, "layers"):
      published.convert(
        {k: v for k, v in names.items() if "feature_extractor/conv1_2" not in k}
      )


if __name__ == "__main__":
  absltest.main()
