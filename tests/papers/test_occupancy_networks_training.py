"""Tests of occupancy_networks: training, comparisons."""

import dataclasses
import functools

import jax
import numpy as np
import optax
from absl.testing import absltest

from jaxvision.data import archives, pipeline
from jaxvision.errors import UserError
from jaxvision.papers.occupancy_networks import (
  claims,
  data,
  extraction,
  reconstruction,
  training,
)
from jaxvision.papers.occupancy_networks.variants import VARIANTS
from jaxvision.train import fit, jit_once
from jaxvision.train.run import Run
from tests.papers.occupancy_networks_small import (
  OBSERVED,
  SIZES,
  FolderTest,
  source,
)


@functools.cache
def stage_of(name):
  variant = VARIANTS[name]
  batch = data.batch_shapes(variant, SIZES, 4, resolution=8, cloud=20, image=63)
  return training.stage(name, variant, SIZES, optax.adam(1e-2), batch)


class TrainingTest(FolderTest):
  def learn(self, name, folder, *ends):
    stage = stage_of(name)
    for end in ends:
      batches = pipeline.batches(
        source(),
        batch_size=4,
        seed=0,
        transform=data.drawing(VARIANTS[name], SIZES, **OBSERVED),
      )
      state = jit_once(stage.init)(jax.random.key(0))
      with Run("paper", "tiny", SIZES, self.folder / folder) as run:
        state = fit(run, "stage", state, stage.step, batches, end)
    return state

  def test_stopped_and_resumed_run_ends_with_the_same_bits(self):
    whole = self.learn("unconditional", "whole", 4)
    resumed = self.learn("unconditional", "resumed", 2, 4)
    self.assertEqual(int(resumed.step), 4)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    jax.tree.map(np.testing.assert_array_equal, resumed.opt_state, whole.opt_state)

  def test_the_image_encoder_begins_with_torchvisions_weights(self):
    sizes = dataclasses.replace(SIZES, image_encoder="resnet18")
    batch = {"inputs": jax.ShapeDtypeStruct((2, 64, 64, 3), np.float32)}
    batch |= data.batch_shapes(
      VARIANTS["unconditional"], sizes, 2, cloud=1, resolution=8, image=64
    )
    stage = training.stage("image", VARIANTS["image"], sizes, optax.sgd(0.1), batch)
    state = jax.eval_shape(stage.init, jax.random.key(0))
    state = jax.tree.map(lambda s: np.zeros(s.shape, np.float32), state)
    names = {"scale": "weight", "kernel": "weight", "mean": "running_mean"}
    names["var"] = "running_var"
    weights = {"fc.weight": np.zeros((1000, 512)), "fc.bias": np.zeros(1000)}
    for tree in (state.params, state.model_state["batch_stats"]):
      features = tree["encoder"]["features"]
      for path, leaf in jax.tree_util.tree_leaves_with_path(features):
        *layer, leaf_name = (key.key for key in path)
        layer = ".".join(layer).replace("_", ".")
        value = np.full(leaf.shape, 0.5, np.float32)
        if leaf_name == "kernel":
          value = np.moveaxis(value, (-1, -2), (0, 1))
        weights[f"{layer}.{names.get(leaf_name, leaf_name)}"] = value
    path = self.folder / "resnet18.npz"
    archives.write_npz(path, weights)
    begun = training.with_imagenet(state, path)
    for tree in (begun.params, begun.model_state["batch_stats"]):
      for leaf in jax.tree.leaves(tree["encoder"]["features"]):
        np.testing.assert_array_equal(leaf, 0.5)
    np.testing.assert_array_equal(begun.params["encoder"]["fc"]["kernel"], 0.0)
    weights.pop("conv1.weight")
    archives.write_npz(path, weights)
    with self.assertRaisesRegex(UserError, "conv1.weight"):
      training.with_imagenet(state, path)

  def test_a_box_and_a_torus_are_learned_by_heart(self):
    """The loss falls far below what constant predictions reach."""
    stage = stage_of("representation")
    state = jit_once(stage.init)(jax.random.key(0))
    example = [source()[index] for index in (2, 3, 4, 0)]
    batch = {
      "inputs": np.arange(4, dtype=np.int32),
      "points": np.stack([e["points"][:16] for e in example]),
      "occupancies": np.stack([e["occupancies"][:16] for e in example]),
    }
    batch["occupancies"] = batch["occupancies"].astype(np.float32)
    step = jax.jit(stage.step)
    losses = []
    for _ in range(60):
      state, metrics = step(state, batch)
      losses.append(float(metrics["loss"]))
    share = batch["occupancies"].mean()
    constant = -16 * (share * np.log(share) + (1 - share) * np.log(1 - share))
    self.assertLess(losses[-1], 0.3 * constant)
    self.assertNotEqual(
      float(np.sum(state.model_state["batch_stats"]["decoder"]["bn"]["bn"]["mean"])), 0
    )


class ReconstructionTest(absltest.TestCase):
  def test_extraction_is_the_dense_one(self):
    self.assertEqual(extraction.extraction_difference(), 0.0)

  def test_grids_of_more_cells_are_better(self):
    coarse = reconstruction.grid_iou(source(), 5, 8)
    fine = reconstruction.grid_iou(source(), 5, 32)
    self.assertLess(coarse, fine)
    self.assertGreater(fine, 0.7)

  def test_means_weigh_categories_alike(self):
    found = [{"a": 1.0}, {"a": 3.0}, {"a": 8.0}]
    means = reconstruction._class_means(found, ["x", "x", "y"])
    self.assertEqual(means, {"a": 5.0})

  def test_claims_compare_what_they_say(self):
    calls = []

    class Recorder:
      def claim(self, name, **numbers):
        calls.append((name[:2], numbers["ours"], numbers["baseline"]))

    def row(iou, volume):
      return {
        "best iou": iou,
        "iou at τ": iou - 0.1,
        "iou at 0.2": iou - 0.2,
        "volume at 0.5": volume,
      }

    rows = {}
    for seed in (0, 1):
      rows["pointcloud", seed] = row(0.6 + 0.1 * seed, 0.9)
      rows["pointcloud_equal", seed] = row(0.5, 1.8)
      rows["pointcloud_r2n2", seed] = row(0.3, 1.0)
      rows["voxels", seed] = row(0.7, 1.0)
      rows["representation", seed] = row(0.8, 1.0)
    grids = {"input": 0.55, "16": 0.5}
    claims.claim_all(Recorder(), rows, grids, (0, 1))
    expected = [
      ("C1", 0.65, 0.3),
      ("C2", 2.0, 1.3),
      ("C2", 0.45, 0.3),
      ("C4", 0.7, 0.5),
      ("C5", 0.7, 0.55),
    ]
    self.assertEqual([name for name, *_ in calls], [name for name, *_ in expected])
    np.testing.assert_allclose([c[1:] for c in calls], [e[1:] for e in expected])


if __name__ == "__main__":
  absltest.main()
