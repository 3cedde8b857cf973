"""Tests of the benchmark's own arithmetic; none looks at a clock's reading."""

import json
import pathlib
import tempfile

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


if __name__ == "__main__":
  absltest.main()
