"""Tests of weighted_hausdorff's training, free maps, weights and measures."""

import functools
import pathlib
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.errors import UserError
from jaxvision.papers.weighted_hausdorff import (
  data,
  evaluation,
  free_maps,
  metrics,
  network,
  published,
  speed,
  training,
)
from jaxvision.train import jit_once

SIZE = 16
SMALL = network.Locator((4, 6), (4,), 5)


def filled(locator, size):
  """Returns random variables of a network, which takes no compilation."""
  image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
  init = functools.partial(locator.init, train=False)
  shapes = jax.eval_shape(init, jax.random.key(0), image)
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes
  )


def theirs(locator, variables, size):
  """Returns our variables under the authors' names, in their layout."""
  weights = {"lin.weight": np.ones((1, 1), np.float32)}
  downs = len(locator.features) - 1

  def convolution(name, layer):
    weights[f"{name}.weight"] = layer["kernel"].transpose(3, 2, 0, 1)
    weights[f"{name}.bias"] = layer["bias"]

  for ours, layer in variables["params"].items():
    kind, _, number = ours.partition("_")
    if kind not in ("down", "up"):
      continue
    n = int(number)
    name = f"down{n}.mpconv.1.conv" if kind == "down" else f"up{n + 1}.conv.conv"
    name = "inc.conv.conv" if ours == "down_0" else name
    is_linear = ours == f"up_{downs - 1}"
    at = 0
    for index in range(2):
      convolution(f"{name}.{at}", layer[f"conv_{index}"])
      at += 1
      if f"norm_{index}" in layer:
        norm, running = layer[f"norm_{index}"], variables["batch_stats"][ours]
        weights[f"{name}.{at}.weight"] = norm["scale"]
        weights[f"{name}.{at}.bias"] = norm["bias"]
        weights[f"{name}.{at}.running_mean"] = running[f"norm_{index}"]["mean"]
        weights[f"{name}.{at}.running_var"] = running[f"norm_{index}"]["var"]
        weights[f"{name}.{at}.num_batches_tracked"] = np.array(3)
        at += 1
      at += not is_linear
  convolution("outc.conv", variables["params"]["head"])
  if locator.known_count is None:
    params = variables["params"]
    height, width = (side // 2**downs for side in size)
    deep = params["deep_branch"]["kernel"].reshape(height, width, -1, locator.hidden)
    deep = deep.transpose(3, 2, 0, 1).reshape(locator.hidden, -1)
    weights["branch_1.0.weight"] = deep
    weights["branch_2.0.weight"] = params["map_branch"]["kernel"].T
    weights["regressor.0.weight"] = params["regressor"]["kernel"].T
    for name, ours in (
      ("branch_1", "deep_branch"),
      ("branch_2", "map_branch"),
      ("regressor", "regressor"),
    ):
      weights[f"{name}.0.bias"] = params[ours]["bias"]
  return {f"module.{name}": array for name, array in weights.items()}


class PublishedTest(parameterized.TestCase):
  @parameterized.parameters(
    (network.Locator((3, 4, 5, 6), (5, 4, 3), 7), (16, 24)),
    (network.Locator((3, 4, 5), (4, 3), 7), (16, 16)),
    (network.Locator((3, 4), (3,), known_count=1.0), (8, 8)),
  )
  def test_every_weight_finds_its_place(self, locator, size):
    variables = filled(locator, size)
    weights = theirs(locator, variables, size)
    found, converted = published.locator(
      weights, size=size, known_count=locator.known_count
    )
    self.assertEqual(found, locator)
    chex.assert_trees_all_equal(converted, variables)

  def test_papers_network_by_shapes(self):
    shapes = jax.eval_shape(
      functools.partial(network.Locator().init, train=False),
      jax.random.key(0),
      jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32),
    )
    # Views of one number: 260 MB are not needed to follow names and shapes.
    variables = jax.tree.map(
      lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), shapes
    )
    params = variables["params"]
    for name in ("deep_branch", "map_branch"):
      params[name]["kernel"] = np.zeros(params[name]["kernel"].shape, np.float32)
    weights = theirs(network.Locator(), variables, (256, 256))
    found, converted = published.locator(weights)
    self.assertEqual(found, network.Locator())
    chex.assert_trees_all_equal_shapes(converted, shapes)

  def test_a_checkpoint_tells_its_number(self):
    locator = network.Locator((3, 4), (3,), known_count=2.0)
    weights = theirs(locator, filled(locator, (8, 8)), (8, 8))
    content = {f"model.{name}": array for name, array in weights.items()}
    with tempfile.TemporaryDirectory() as folder:
      path = pathlib.Path(folder) / "pupil.npz"
      np.savez(path, epoch=np.array(3), n_points=np.array(2), **content)
      found, _ = published.load(path)
      self.assertEqual(found.known_count, 2.0)
      np.savez(path, epoch=np.array(3), **content)
      with self.assertRaisesRegex(UserError, "pupil.npz: has no branch that counts"):
        published.load(path)

  def test_what_does_not_fit_is_said(self):
    size = (16, 16)
    weights = theirs(SMALL, filled(SMALL, size), size)
    with self.assertRaisesRegex(UserError, "maps of 256 pixels, not of 8 x 16"):
      published.locator(weights, size=(8, 16))
    with self.assertRaisesRegex(UserError, "never used other.weight"):
      published.locator(weights | {"other.weight": np.zeros(3)})
    del weights["module.up1.conv.conv.2.bias"]
    with self.assertRaisesRegex(UserError, "lacks up1.conv.conv.2.bias"):
      published.locator(weights)
    with self.assertRaisesRegex(UserError, "levels"):
      published.locator({"conv1.weight": np.zeros((3, 3, 3, 3))})


class TrainingTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    transform = data.transform((SIZE, SIZE), 12, (True, True))
    source = data.scenes("plants", 4, SIZE, 0)
    examples = [transform(source[index], None) for index in range(4)]
    cls.batch = jax.tree.map(lambda *leaves: np.stack(leaves), *examples)
    cls.stages = {
      kind: training.stage(
        kind,
        SMALL,
        kind,
        training.optimizer("amsgrad", 1e-2),
        data.batch_shapes(4, (SIZE, SIZE), 12),
      )
      for kind in ("weighted Hausdorff", "one-hot")
    }
    cls.state = jit_once(cls.stages["one-hot"].init)(jax.random.key(0))

  def test_batches_have_their_shapes(self):
    expected = self.stages["one-hot"].batch
    chex.assert_trees_all_equal_shapes_and_dtypes(self.batch, expected)

  def test_the_loss_falls_and_is_the_sum_of_its_parts(self):
    step = jax.jit(self.stages["weighted Hausdorff"].step)
    state, curve = self.state, []
    for _ in range(25):
      state, measured = step(state, self.batch)
      curve.append(float(measured["loss"]))
    self.assertLess(np.mean(curve[-3:]), 0.9 * curve[0])
    parts = set(measured) - {"loss", "gradient_norm"}
    self.assertEqual(parts, {"pixels to points", "points to pixels", "count"})
    total = sum(float(measured[name]) for name in parts)
    self.assertAlmostEqual(total, curve[-1], delta=1e-4 * curve[-1])
    # The statistics that inference takes have moved.
    statistics = state.model_state["batch_stats"]["up_0"]["norm_0"]
    self.assertEqual(statistics["mean"].shape, (4,))
    self.assertFalse(np.array_equal(statistics["var"], np.ones(4)))

  def test_the_baseline_differs_in_its_loss_alone(self):
    stage = self.stages["one-hot"]
    after, measured = jax.eval_shape(stage.step, self.state, self.batch)
    self.assertEqual(set(measured), {"loss", "gradient_norm", "pixels", "count"})
    chex.assert_trees_all_equal_shapes(after.params, self.state.params)

  def test_count_pulls_at_the_map(self):
    # The head's bias is behind all that the deep branch sees.
    def counted(params):
      variables = {"params": params, **self.state.model_state}
      images = network.to_signed(jnp.asarray(self.batch["image"]))
      return jnp.sum(SMALL.apply(variables, images, train=False).signed_count)

    gradient = jax.jit(jax.grad(counted))(self.state.params)
    self.assertTrue(np.any(gradient["head"]["bias"]))

  def test_a_predictor_fills_its_last_batch(self):
    one = evaluation.Predictor(SMALL, self.state.params, self.state.model_state)
    source = data.scenes("plants", 3, 20, 1)
    examples = [source[index] for index in range(3)]
    together = one.predict(examples, (SIZE, SIZE), 2)
    self.assertLen(together, 3)
    for example, found in zip(examples, together, strict=True):
      self.assertEqual(found.size, (20, 20))
      self.assertEqual(found.saliency.shape, (SIZE, SIZE))
      self.assertLen(found.truth, example["valid"].sum())
    np.testing.assert_allclose(
      one.predict(examples[2:], (SIZE, SIZE), 2)[0].saliency, together[2].saliency
    )


class AmsgradTest(absltest.TestCase):
  def test_steps_are_pytorchs(self):
    gradients = [1.0, 0.1, -0.3, 0.02]
    optimizer = training.optimizer("amsgrad", 0.01)
    params = jnp.zeros(())
    state = optimizer.init(params)
    mean = square = largest = expected = 0.0
    for index, gradient in enumerate(gradients, start=1):
      updates, state = optimizer.update(jnp.asarray(gradient), state, params)
      params = params + updates
      mean = 0.9 * mean + 0.1 * gradient
      square = 0.999 * square + 0.001 * gradient**2
      largest = max(largest, square)
      second = np.sqrt(largest / (1 - 0.999**index)) + 1e-8
      expected -= 0.01 * mean / (1 - 0.9**index) / second
      self.assertAlmostEqual(float(params), expected, places=6)

  def test_sgd_has_momentum(self):
    optimizer = training.optimizer("sgd", 0.1, 0.5)
    state = optimizer.init(jnp.zeros(()))
    first, state = optimizer.update(jnp.ones(()), state)
    second, _ = optimizer.update(jnp.ones(()), state)
    np.testing.assert_allclose((first, second), (-0.1, -0.15), rtol=1e-6)


class FreeMapsTest(absltest.TestCase):
  def test_terms_pull_apart(self):
    maps = free_maps.optimize((3,), size=16, points=2, steps=400)
    free = maps[3]
    self.assertEqual(free.losses.shape, (400,))
    self.assertLess(free.losses[-1], 0.3 * free.losses[0])
    empty, full = (free.maps[name].mean() for name in ("first term", "second term"))
    self.assertLess(empty, 0.15)
    self.assertGreater(full, 0.6)
    self.assertLess(free.worst_center(), 3.0)
    self.assertGreater(free.pixels_on, 1)

  def test_points_that_do_not_fit_are_said(self):
    with self.assertRaisesRegex(ValueError, "90 points do not fit a map of 16"):
      free_maps.optimize((0,), size=16, points=90, steps=1)


class MetricsTest(absltest.TestCase):
  def test_numbers_by_hand(self):
    judge = metrics.Judge(2)
    judge.add_points([(0, 0), (1, 0), (9, 9)], [(0, 1), (5, 5)])
    judge.add_points(np.zeros((0, 2)), [(3, 3)], empty=50.0)
    for pair in ((3, 2), (0, 1), (2, 0)):
      judge.add_count(*pair)
    scores = judge.scores()
    # Two estimates lie by the first point, none by the others.
    self.assertAlmostEqual(scores.precision, 100 * 2 / 3)
    self.assertAlmostEqual(scores.recall, 100 * 2 / 4)
    self.assertAlmostEqual(scores.f_score, 2 * 200 / 3 * 50 / (200 / 3 + 50))
    there = (1 + np.sqrt(2) + np.hypot(4, 4)) / 3
    back = (1 + np.hypot(4, 4)) / 2
    self.assertAlmostEqual(scores.ahd, (there + back + 50) / 2)
    self.assertAlmostEqual(scores.mean_error, 2 / 3)
    self.assertAlmostEqual(scores.mae, 4 / 3)
    self.assertAlmostEqual(scores.mse, 2)
    self.assertAlmostEqual(scores.mean_percentage_error, (50 - 100 + 200) / 3)
    self.assertAlmostEqual(scores.mape, (50 + 100 + 200) / 3)
    self.assertAlmostEqual(scores.determination, 1 - 2 / (2 / 3))

  def test_nothing_found_and_nothing_there(self):
    judge = metrics.Judge(5, skip_empty_truth=True)
    judge.add_points([(1, 1)], np.zeros((0, 2)))
    scores = judge.scores()
    self.assertEqual((scores.precision, scores.recall, scores.f_score), (0, 0, 0))
    self.assertTrue(np.isnan(scores.ahd))
    self.assertTrue(np.isnan(scores.mae))
    judge.add_points([(1, 1)], [(1, 2)])
    self.assertEqual(judge.scores().ahd, 2.0)
    self.assertEqual(judge.scores().precision, 50.0)

  def test_perfect_counts(self):
    judge = metrics.Judge(1)
    for count in (1, 4, 2):
      judge.add_count(count, count)
    scores = judge.scores()
    self.assertEqual((scores.determination, scores.mape), (1, 0))
    self.assertAlmostEqual(scores.correlation, 1)
    mean = metrics.mean_scores([scores, scores])
    self.assertEqual(mean.mape, 0)


class SpeedTest(absltest.TestCase):
  def test_rows_have_names_and_times(self):
    ran = []

    def seconds(call):
      ran.append(call)
      return 0.002

    rows = speed.rows(seconds)
    self.assertEqual([row["milliseconds"] for row in rows], [2.0] * len(rows))
    self.assertLen({row["name"] for row in rows}, len(ran))
    value, gradient = speed.loss_call(8, 3)()
    self.assertGreater(float(value), 0)
    self.assertEqual(gradient.shape, (1, 8, 8))


if __name__ == "__main__":
  absltest.main()
