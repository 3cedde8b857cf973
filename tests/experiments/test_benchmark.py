"""Tests of the benchmark's own arithmetic; none looks at a clock's reading."""

import importlib.machinery
import json
import pathlib
import sys
import tempfile
import types
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest

from experiments import benchmark


class BenchmarkTest(absltest.TestCase):
  def test_the_first_call_does_not_count(self):
    calls = []
    duration = benchmark.seconds(lambda: calls.append(None) or jnp.zeros(()), repeats=5)
    self.assertLen(calls, 6)
    self.assertGreater(duration, 0.0)

  def test_a_limit_leaves_three_calls(self):
    calls = []
    benchmark.seconds(lambda: calls.append(None) or jnp.zeros(()), limit=0.0)
    self.assertLen(calls, 4)

  def test_batches_have_the_shapes_of_the_specification(self):
    specification = {
      "image": jax.ShapeDtypeStruct((2, 3), jnp.float32),
      "label": jax.ShapeDtypeStruct((2,), jnp.int32),
    }
    batch = benchmark.random_batch(specification)
    self.assertEqual(batch["image"].dtype, np.float32)
    self.assertEqual(batch["image"].shape, (2, 3))
    np.testing.assert_array_equal(batch["label"], np.zeros(2, np.int32))

  def test_measured_tables_replace_those_of_the_same_name_only(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    path = pathlib.Path(folder.name) / "results" / "benchmark.json"
    benchmark.keep(path, {"fit": [{"name": "old"}], "jpeg": [{"name": "kept"}]})
    benchmark.keep(path, {"fit": [{"name": "new"}]})
    kept = json.loads(path.read_text())
    self.assertEqual(kept["fit"]["rows"], [{"name": "new"}])
    self.assertEqual(kept["jpeg"]["rows"], [{"name": "kept"}])
    self.assertEqual(kept["fit"]["jax"], jax.__version__)

  def test_papers_time_themselves_where_they_train_nothing(self):
    paper = types.ModuleType("experiments.untrained")
    speed = types.ModuleType("jaxvision.papers.untrained.speed")
    speed.__spec__ = importlib.machinery.ModuleSpec(speed.__name__, None)
    calls = []
    speed.rows = lambda seconds: [
      {
        "name": "untrained/solve",
        "milliseconds": 1e3 * seconds(lambda: calls.append(0)),
      }
    ]
    modules = {paper.__name__: paper, speed.__name__: speed}
    with mock.patch.dict(sys.modules, modules):
      self.assertEmpty(benchmark.stage_rows("untrained", "demo", 20))
      rows = benchmark.speed_rows("untrained", 20)
    self.assertEqual([row["name"] for row in rows], ["untrained/solve"])
    self.assertLen(calls, 21)

  def test_papers_need_not_time_themselves(self):
    self.assertEmpty(benchmark.speed_rows("content_authentication", 20))


if __name__ == "__main__":
  absltest.main()
