"""Training of graph_cmr: what learns, what is frozen, what is claimed."""

import dataclasses
import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from jaxvision.data import images, meshes
from jaxvision.errors import UserError
from jaxvision.papers.graph_cmr import (
  body,
  claims,
  data,
  evaluation,
  prediction,
  training,
  variants,
)
from jaxvision.papers.graph_cmr.evaluation import Predictor
from jaxvision.papers.graph_cmr.variants import VARIANTS
from jaxvision.train import jit_once

SMALL = variants.Sizes(
  encoder=0, encoder_widths=(4,), channels=16, layers=0, hidden=(16,), readout=16
)
BATCH, SIDE = 4, 16
ADAM = optax.flatten(optax.adam(3e-3))  # compiled sooner than leaf by leaf
# The graph network takes ten times as long to compile; the smoke preset trains it.
KINDS = {"fc": dataclasses.replace(VARIANTS["fc"], reads=True)}
KINDS["parameters"] = VARIANTS["parameters"]


@functools.cache
def people():
  own, surface = body.stand_in()
  return own, surface, data.stand_ins(own, surface, BATCH, 0, size=SIDE, inputs="parts")


@functools.cache
def a_batch():
  some = [data.to_batch(people()[2][i], None) for i in range(BATCH)]
  return {name: np.stack([one[name] for one in some]) for name in some[0]}


def first_shapes():
  return data.batch_shapes(BATCH, SIDE)


@functools.cache
def trained(name, steps=12):
  """Returns network, first state, last state, and the losses on the way."""
  own = people()[0]
  net = variants.network(KINDS[name], SMALL, body.sizes_of(own))
  stage = training.stage(name, net, ADAM, first_shapes(), own)
  first = jit_once(stage.init)(jax.random.key(0))
  step = jax.jit(stage.step)
  state, found = first, []
  for _ in range(steps):
    state, metrics = step(state, a_batch())
    found.append({k: float(v) for k, v in metrics.items()})
  return net, first, state, found


class TrainingTest(parameterized.TestCase):
  @parameterized.parameters("fc", "parameters")
  def test_losses_fall_and_the_body_stays(self, name):
    _, first, last, found = trained(name)
    self.assertLess(found[-1]["loss"], 0.95 * found[0]["loss"])
    self.assertTrue(np.all(np.isfinite([row["loss"] for row in found])))
    same = jax.tree.map(
      np.array_equal, first.model_state["body"], last.model_state["body"]
    )
    self.assertTrue(all(jax.tree.leaves(same)))
    wanted = {"vertices", "keypoints", "joints"}
    self.assertLessEqual(wanted, set(found[0]))
    self.assertEqual("readout/rotations" in found[0], name == "fc")
    self.assertEqual("rotations" in found[0], name == "parameters")

  def test_the_true_mesh_has_no_loss(self):
    own, _, _ = people()
    batch = {name: jnp.asarray(value) for name, value in a_batch().items()}
    cameras = jnp.stack([jnp.asarray(people()[2][i]["camera"]) for i in range(BATCH)])

    @jit_once
    def run(own, batch, cameras):
      _, vertices = training.true_mesh(own, batch)
      # Everything is seen a tenth of the picture's half to the right.
      moved = cameras.at[:, 1].add(0.1 / cameras[:, 0])
      return training.mesh_losses(own, vertices, cameras, batch, vertices), {
        error: training.mesh_losses(own, vertices, moved, batch, vertices, error)
        for error in ("square", "absolute")
      }

    found, moved = run(own, batch, cameras)
    for name, loss in found.items():
      self.assertLess(float(loss), 1e-9, name)
    self.assertAlmostEqual(float(moved["square"]["keypoints"]), 0.005, places=5)
    self.assertAlmostEqual(float(moved["absolute"]["keypoints"]), 0.05, places=5)

  def test_a_readout_of_true_meshes_learns(self):
    own, _, _ = people()
    batch = {name: a_batch()[name] for name in ("pose", "shape")}
    stage = training.readout_stage(
      "readout", None, SMALL, ADAM, data.pose_shapes(BATCH), own
    )
    state = jit_once(stage.init)(jax.random.key(1))
    step, found = jax.jit(stage.step), []
    for _ in range(12):
      state, metrics = step(state, batch)
      found.append(float(metrics["loss"]))
    self.assertLess(found[-1], 0.9 * found[0])
    self.assertTrue(training.has_readout(state))
    kernel = np.ones_like(state.params["input_linear"]["kernel"])
    begun = training.with_readout_kernel(state, kernel)
    np.testing.assert_array_equal(begun.params["input_linear"]["kernel"], kernel)
    self.assertEqual(jax.tree.structure(begun), jax.tree.structure(state))
    reads = variants.readout(SMALL, body.sizes_of(own))
    measured = evaluation.measure_readout(
      reads, training.readout_of(state), own, data.poses(4, 5)
    )
    self.assertBetween(measured["rotation"], 1, 180)
    self.assertBetween(measured["mean rotation"], 10, 60)

  def test_a_readout_of_a_network_keeps_it_frozen(self):
    own, _, _ = people()
    net, _, trained_state, _ = trained("fc")
    stage = training.readout_stage("readout", net, SMALL, ADAM, first_shapes(), own)
    state = jit_once(stage.init)(jax.random.key(1))
    state = training.with_frozen(state, trained_state)
    after, metrics = jax.eval_shape(stage.step, state, a_batch())
    self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
    self.assertIn("keypoints", metrics)
    self.assertEqual(set(state.params), set(trained_state.params["readout"]))
    # What it reads is what the trained network gives.
    made = jit_once(stage.forward)(state, a_batch())
    predicted = Predictor.of(net, trained_state)(a_batch()["images"])
    reads = variants.readout(SMALL, body.sizes_of(own))
    rotations, _, _ = reads.apply(
      training.readout_of(state), predicted.mesh.coarse, own.reference
    )
    np.testing.assert_allclose(made.rotations, rotations, atol=1e-3)

  def test_a_pretrained_encoder_is_what_others_begin_with(self):
    _, first, _, _ = trained("fc")
    stage = training.pretraining_stage(
      "encoder", variants.encoder(SMALL), ADAM, first_shapes()
    )
    state = jit_once(stage.init)(jax.random.key(2))
    after, metrics = jax.eval_shape(stage.step, state, stage.batch)
    self.assertEqual(jax.tree.structure(after), jax.tree.structure(state))
    self.assertEqual(metrics["loss"].shape, ())
    places = jax.eval_shape(stage.forward, state, stage.batch)
    self.assertEqual(places.shape, (BATCH, 24, 2))
    begun = training.with_encoder(first, training.encoder_of(state))
    self.assertEqual(jax.tree.structure(begun), jax.tree.structure(first))
    for own, theirs in (
      (begun.params, state.params),
      (begun.model_state["batch_stats"], state.model_state["batch_stats"]),
    ):
      same = jax.tree.map(np.array_equal, own["encoder"], theirs["encoder"])
      self.assertTrue(all(jax.tree.leaves(same)))

  def test_measures(self):
    net, _, state, _ = trained("fc")
    _, surface, source = people()
    predictor = Predictor.of(net, state)
    found = evaluation.measure(predictor, surface, source, data.to_batch, 3, 2)
    self.assertGreater(found["MPJPE"], found["reconstruction"])
    self.assertGreater(found["read MPJPE"], 10)
    self.assertBetween(found["rotation"], 0, 180)
    segmented = evaluation.measure_segmentation(
      predictor, surface, source, data.to_batch, data.labels, 3, 2
    )
    for name, value in segmented.items():
      self.assertBetween(value, 0, 1, name)
    joints = evaluation.measure_joints(predictor, source, data.to_batch, 3, 2)
    self.assertGreater(joints["MPJPE"], joints["reconstruction"])

  def test_test_sets_are_recorded(self):
    net, _, state, _ = trained("fc")
    _, surface, source = people()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    for name in ("mask", "parts"):
      labels = np.full((SIDE, SIDE), 255 if name == "mask" else 2, np.uint8)
      images.write_png(folder / f"{name}.png", labels)

    class Labelled:
      def __len__(self):
        return len(source)

      def __getitem__(self, index):
        names = ("mask", "parts")
        labels = {name: str(folder / f"{name}.png").encode() for name in names}
        place = {"center": np.full(2, SIDE / 2), "scale": np.float32(SIDE / 200)}
        return source[index] | labels | place

    asked, run = [], FakeRun()

    def load(name, split):
      asked.append((name, split))
      return Labelled()

    predictor = Predictor.of(net, state)
    claims.record_test_sets(run, "ours", predictor, surface, load, data.to_batch, 3, 2)
    self.assertEqual(asked[-2:], [("up3d", "test"), ("lsp", "test")])
    self.assertEqual(run.results["ours, protocol2: MPJPE"][1], 72.7)
    self.assertEqual(run.results["ours, protocol1: read reconstruction"][1], 51.9)
    measured = evaluation.measure(predictor, surface, source, data.to_batch, 3, 2)
    found, _ = run.results["ours, UP-3D: shape error"]
    self.assertAlmostEqual(found, measured["shape"], places=3)
    self.assertEqual(run.results["ours, LSP: silhouette accuracy"][1], 0.9146)
    self.assertLen(run.results, 8 + 1 + 4)

  def test_predictions_are_written(self):
    net, _, state, _ = trained("fc")
    _, surface, source = people()
    folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    picture = folder / "one.png"
    images.write_png(picture, source[0]["images"])
    person = prediction.read(picture, SIDE, stretch=False)
    np.testing.assert_allclose(person.crop, source[0]["images"] / 255, atol=1e-6)
    predictor = Predictor.of(net, state)
    made = prediction.predict(predictor, surface, person)
    rows = prediction.write(folder, surface, [(person, made), (person, made)])
    self.assertEqual(rows[0]["read"], "one_read.obj")
    self.assertEqual(rows[1]["mesh"], "one-again1.obj")
    self.assertEqual(np.shape(rows[0]["rotations"]), (24, 3, 3))
    for name, key in (("mesh", "mesh"), ("read", "read")):
      mesh = meshes.read_mesh(folder / rows[0][name])
      np.testing.assert_allclose(mesh.vertices, made[key], atol=1e-5)
    shown = images.read_rgb(folder / rows[0]["picture"])
    self.assertEqual(shown.shape[1], 4 * shown.shape[0])
    lost = jax.tree.map(lambda leaf: leaf * np.nan, state.params)
    with self.assertRaisesRegex(UserError, "one.png: its mesh is not finite"):
      prediction.predict(Predictor(net, lost, predictor.model_state), surface, person)

  def test_states_of_other_bodies_are_replaced(self):
    own, _, _ = people()
    _, first, _, _ = trained("fc")
    kernel = np.ones_like(first.params["readout"]["input_linear"]["kernel"])
    begun = training.with_readout_kernel(first, kernel)
    found = begun.params["readout"]["input_linear"]["kernel"]
    np.testing.assert_array_equal(found, kernel)
    self.assertFalse(training.has_readout(trained("parameters")[1]))
    empty = jax.tree.map(jnp.zeros_like, first.model_state["body"])
    state = first.replace(model_state={**first.model_state, "body": empty})
    again = training.with_body(state, own)
    np.testing.assert_array_equal(
      again.model_state["body"].model.template, own.model.template
    )


class FakeRun:
  def __init__(self):
    self.claims, self.results = {}, {}

  def result(self, name, value, paper="", unit="", note=""):
    del unit, note
    self.results[name] = value, paper

  def claim(self, name, ours, baseline, better, **options):
    self.claims[name] = (ours, baseline, better, options["seeds"])


class OptimizerTest(absltest.TestCase):
  def test_only_cameras_of_graph_networks_learn_at_another_rate(self):
    head = {"kernel": jnp.ones(2)}
    graph = {"camera": head, "camera_linear": head, "vertices": head}
    slow = training.optimizer(0.5, 10, camera_rate=0.1)
    for decoder, factor in ((graph, 0.1), ({"camera": head, "hidden": head}, 1.0)):
      params = {"decoder": decoder, "encoder": head}
      grads = jax.tree.map(jnp.ones_like, params)
      updates, _ = slow.update(grads, slow.init(params), params)
      np.testing.assert_allclose(updates["encoder"]["kernel"], -0.5, rtol=1e-5)
      camera = updates["decoder"]["camera"]["kernel"]
      np.testing.assert_allclose(camera, -0.5 * factor, rtol=1e-5)

  def test_a_cosine_ends_at_its_share(self):
    fading = training.optimizer(0.5, 2, final_rate=0.2)
    params = {"kernel": jnp.ones(2)}
    state = fading.init(params)
    for rate in (0.5, 0.3, 0.1):
      updates, state = fading.update(params, state, params)
      np.testing.assert_allclose(updates["kernel"], -rate, rtol=1e-4)


class ClaimsTest(absltest.TestCase):
  def rows(self):
    def row(error, rough, **more):
      names = ("MPJPE", "reconstruction", "shape")
      return dict.fromkeys(names, error) | {"roughness": rough} | more

    read = {f"read {k}": v for k, v in row(110.0, 2.0).items()}
    return {
      ("graph", 0): row(100.0, 3.0, **read),
      ("fc", 0): row(120.0, 10.0),
      ("parameters", 0): row(104.0, 1.0),
      ("no_neighbours", 0): row(150.0, 5.0),
      ("no_norm", 0): row(200.0, 5.0),
    }

  def test_every_claim_is_made_of_what_was_trained(self):
    run = FakeRun()
    loss = {("graph", 0): 1.0, ("no_norm", 0): 1.5}
    read = {0: {"rotation": 9.0, "mean rotation": 20.0}}
    claims.claim_all(run, self.rows(), loss, read, (0, 1))
    self.assertLen(run.claims, 7)
    made = list(run.claims.values())
    self.assertAlmostEqual(made[0][1], 6.0)
    self.assertAlmostEqual(made[2][1], 0.95 * 104)
    self.assertAlmostEqual(made[3][0], 0.1)
    self.assertAlmostEqual(made[5][1], 3.9)
    self.assertEqual(made[5][2], "higher")
    self.assertTrue(all(one[3] == [0] for one in made))

  def test_nothing_is_claimed_of_what_was_not(self):
    run = FakeRun()
    some = {key: row for key, row in self.rows().items() if key[0] != "graph"}
    claims.claim_all(run, some, {}, {}, (0,))
    self.assertEmpty(run.claims)
    titles = [row["variant"] for row in claims.means(self.rows())]
    self.assertEqual(titles[:3], ["graph", "graph, read", "fc"])


if __name__ == "__main__":
  absltest.main()
