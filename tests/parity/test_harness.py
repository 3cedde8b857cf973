"""Tests of the parity harness itself, on a small pair made here."""

import json
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from tests.parity import harness, rule

WEIGHT_SHAPE = (3, 2)
INPUT = {"shape": [5, 2], "low": 0, "high": 2}


def record(**changes):
  return {
    "name": "linear",
    "layout": "torch",
    "parameters": {"fc.weight": list(WEIGHT_SHAPE), "fc.bias": [3]},
    "inputs": {"x": INPUT, "mask": "npz"},
    "outputs": ["y", "count"],
    "notes": "",
    **changes,
  }


def linear(parameters, inputs):
  y = inputs["x"] @ parameters["fc.weight"].T + parameters["fc.bias"]
  return {"y": y, "count": np.sum(inputs["mask"])}


def truth():
  parameters = {
    "fc.weight": rule.tensor("fc.weight", WEIGHT_SHAPE),
    "fc.bias": rule.tensor("fc.bias", (3,)),
  }
  mask = np.array([True, False, True])
  outputs = linear(parameters, {"x": rule.array("linear/x", **INPUT), "mask": mask})
  return {
    "linear/in/mask": mask,
    **{f"linear/out/{name}": value for name, value in outputs.items()},
  }


def with_errors(**errors):
  """Returns the right adapter with an error added to some outputs."""

  def adapter(parameters, inputs):
    outputs = linear(parameters, inputs)
    return {name: value + errors.get(name, 0) for name, value in outputs.items()}

  return adapter


class HarnessTest(parameterized.TestCase):
  def write(self, arrays=None, **changes) -> harness.Case:
    directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
    np.savez(directory / "paper.npz", **(truth() if arrays is None else arrays))
    (directory / "paper.json").write_text(json.dumps({"cases": [record(**changes)]}))
    (case,) = harness.load_cases(directory)
    return case

  def failures(self, case, adapter, measures=None):
    adapters = types.SimpleNamespace(
      ADAPTERS={"linear": adapter}, MEASURES={"linear": measures or {}}
    )
    return [one.output for one in case.run(adapters) if not one.holds]

  def test_right_adapter_passes(self):
    self.assertEmpty(self.failures(self.write(), linear))

  @parameterized.parameters((0.9e-4, []), (2e-4, ["y"]), (-2e-4, ["y"]))
  def test_error_is_relative_to_the_largest_value(self, error, failures):
    largest = np.abs(truth()["linear/out/y"]).max()
    adapter = with_errors(y=error * largest)
    self.assertEqual(self.failures(self.write(), adapter), failures)

  def test_integers_must_be_equal(self):
    self.assertEqual(self.failures(self.write(), with_errors(count=1)), ["count"])

  def test_nan_fails(self):
    self.assertEqual(self.failures(self.write(), with_errors(y=np.nan)), ["y"])

  def test_zeros_must_be_zeros(self):
    arrays = truth() | {"linear/out/y": np.zeros((5, 3), np.float32)}
    case = self.write(arrays)
    self.assertEqual(self.failures(case, linear), ["y"])
    self.assertEmpty(
      self.failures(case, lambda *_: {"y": np.zeros((5, 3)), "count": 2})
    )

  def test_nan_and_infinity_must_agree_in_place_and_sign(self):
    y = truth()["linear/out/y"]
    y[0, 0], y[1, 1] = np.nan, np.inf
    case = self.write(truth() | {"linear/out/y": y})

    def adapter(infinity):
      ours = y.copy()
      ours[1, 1] = infinity
      return lambda *_: {"y": ours, "count": 2}

    self.assertEmpty(self.failures(case, adapter(np.inf)))
    self.assertEqual(self.failures(case, adapter(-np.inf)), ["y"])
    self.assertEqual(self.failures(case, linear), ["y"])

  def test_wrong_shape_fails(self):
    def transposed(parameters, inputs):
      outputs = linear(parameters, inputs)
      return outputs | {"y": outputs["y"].T}

    with self.assertRaisesRegex(AssertionError, r"y is \(3, 5\), not \(5, 3\)"):
      self.failures(self.write(), transposed)

  def test_missing_output_and_adapter_fail(self):
    with self.assertRaisesRegex(AssertionError, "returns no 'y'"):
      self.failures(self.write(), lambda *_: {"count": 2})
    with self.assertRaisesRegex(AssertionError, "lacks 'other'"):
      self.failures(self.write(adapter="other"), linear)
    with self.assertRaisesRegex(AssertionError, r"nowhere\.py is missing"):
      harness.load_adapters("nowhere")

  def test_adapter_field_names_the_adapter(self):
    case = self.write(adapter="linear_of_another_size")
    adapters = types.SimpleNamespace(ADAPTERS={"linear_of_another_size": linear})
    self.assertTrue(all(one.holds for one in case.run(adapters)))

  def test_sampled_output_is_compared_where_it_was_sampled(self):
    at = np.array([14, 0, 7])
    y = truth()["linear/out/y"].copy()
    arrays = truth() | {
      "linear/out/y": y.reshape(-1)[at],
      "linear/at/y": at,
      "linear/shape/y": np.array([5, 3]),
    }
    case = self.write(arrays)
    self.assertEmpty(self.failures(case, linear))
    error = np.zeros((5, 3))
    error[2, 1] = 1  # flat index 7
    self.assertEqual(self.failures(case, with_errors(y=error)), ["y"])
    with self.assertRaisesRegex(AssertionError, "shape|not"):
      self.failures(case, lambda *_: {"y": y.reshape(-1)[at], "count": 2})

  def test_overrides_and_aliases_fill_parameters(self):
    stored = np.arange(6, dtype=np.float32).reshape(WEIGHT_SHAPE)
    shapes = {"a": [3, 2], "b": [3, 2], "c": [4], "d": [4], "e": [4]}
    case = self.write(
      truth() | {"linear/override/a": stored},
      parameters=shapes,
      overrides={"a": "npz", "c": "zeros", "d": "ones"},
      aliases={"b": "other"},
      layout="tf",
    )
    parameters = case.parameters()
    np.testing.assert_array_equal(parameters["a"], stored)
    np.testing.assert_array_equal(parameters["b"], rule.tensor("other", [3, 2], "tf"))
    np.testing.assert_array_equal(parameters["c"], np.zeros(4))
    np.testing.assert_array_equal(parameters["d"], np.ones(4))
    np.testing.assert_array_equal(parameters["e"], rule.tensor("e", [4]))
    self.assertEqual(list(parameters), list(shapes))

  def test_unknown_override_is_refused(self):
    with self.assertRaisesRegex(ValueError, "fc.bias is overridden by 'twos'"):
      self.write(overrides={"fc.bias": "twos"}).parameters()

  def test_keys_of_several_checkpoints_are_filled_by_their_own_names(self):
    case = self.write(
      parameters={"netG.fc.weight": [3, 2]},
      notes="filled by the rule from the name WITHOUT the netG./netD. prefix.",
    )
    np.testing.assert_array_equal(
      case.parameters()["netG.fc.weight"], rule.tensor("fc.weight", [3, 2])
    )

  def test_notes_that_ask_for_float64_get_it(self):
    def adapter(parameters, inputs):
      self.assertEqual(parameters["fc.weight"].dtype, np.float64)
      self.assertEqual(jnp.asarray(inputs["x"]).dtype, jnp.float64)
      return linear(parameters, inputs)

    self.assertEmpty(self.failures(self.write(notes="Compare in float64."), adapter))
    self.assertFalse(jax.config.jax_enable_x64)
    self.assertFalse(self.write(notes="float64; accept 1e-4").wants_float64)

  def test_measure_of_the_adapters_replaces_the_default(self):
    def share_of_flips(ours, theirs):
      return np.mean(ours != theirs), 0.5

    adapter = with_errors(y=np.eye(5, 3), count=7)
    measures = {"y": share_of_flips}
    self.assertEqual(self.failures(self.write(), adapter, measures), ["count"])

  def test_tolerance_of_the_field_precedes_the_notes(self):
    case = self.write(tolerance=1e-2, notes="accept 5e-4.")
    self.assertEqual(case.tolerance("y"), harness.Tolerance(1e-2))

  @parameterized.parameters(
    ("1185574 parameters; accept 5e-4.", {"": (5e-4, False)}),
    ("No coefficient lies within 6e-4 of a rounding tie.", {}),
    ("BN eps 1e-5; tolerance 3e-4", {"": (3e-4, False)}),
    ("Compare at 1e-3 relative.", {"": (1e-3, False)}),
    ("y_b accept 2e-6 absolute; y_b is smooth", {"y_b": (2e-6, True)}),
    ("up to 1.3e-2 of them: accept 5e-2 for grad_*.", {"grad_a": (5e-2, False)}),
    ("accept 1e-3 of the maximum (y_a must be equal).", {"": (1e-3, False)}),
    (
      "y_a/y_b: in float64 (compare under jax_enable_x64 to 1e-5); accept 1e-3",
      {"y_a": (1e-5, False), "y_b": (1e-5, False), "": (1e-3, False)},
    ),
    ("grad_latent accept 1e-3", {}),  # no output of this case
  )
  def test_tolerance_stated_by_notes(self, notes, expected):
    stated = harness.stated_tolerances(notes, ["y_a", "y_b", "grad_a"])
    self.assertEqual(stated, {k: harness.Tolerance(*v) for k, v in expected.items()})

  def test_directory_without_whole_pairs_is_refused(self):
    directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
    with self.assertRaisesRegex(FileNotFoundError, "no parity cases"):
      harness.load_cases(directory)
    (directory / "paper.json").write_text('{"cases": []}')
    with self.assertRaisesRegex(FileNotFoundError, r"lacks paper\.npz"):
      harness.load_cases(directory)

  def test_command_line_runs_the_pairs_of_another_directory(self):
    directory = self.write().arrays.parent
    result = subprocess.run(
      [
        *(sys.executable, "-m", "pytest"),
        *("tests/parity/test_parity.py", f"--parity-dir={directory}"),
      ],
      cwd=Path(__file__).parents[2],
      env=os.environ,
      capture_output=True,
      text=True,
      check=False,
    )
    self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
    self.assertIn("tests/parity/adapters/paper.py is missing", result.stdout)


# Drawn once with the rule that the references were computed with.
RULE_VALUES = {
  ("conv1.weight", "torch"): (0.10361385, 0.4440304),
  ("conv1.weight", "tf"): (0.12690052, 0.54382396),
  ("bn.running_var", "torch"): (0.6938386, 0.58478504),
  ("bn/moving_mean", "tf"): (-0.080688566, -0.27226529),
  ("bn.weight", "torch"): (1.148527, 1.4442784),
  ("bn.bias", "torch"): (0.045003843, -0.12676698),
}
RULE_ARRAY = (1.6870728, 2.5690012)


class RuleTest(parameterized.TestCase):
  @parameterized.parameters(
    ("conv1.weight", (2, 3), "torch"),
    ("conv1.weight", (2, 3), "tf"),
    ("bn.running_var", (2,), "torch"),
    ("bn/moving_mean", (2,), "tf"),
    ("bn.weight", (2,), "torch"),
    ("bn.bias", (2,), "torch"),
  )
  def test_tensor(self, name, shape, layout):
    np.testing.assert_allclose(
      rule.tensor(name, shape, layout).reshape(-1)[:2],
      RULE_VALUES[name, layout],
      rtol=1e-6,
    )

  def test_counter_is_zero_and_inputs_are_drawn_apart(self):
    np.testing.assert_array_equal(rule.tensor("bn.num_batches_tracked", ()), 0)
    np.testing.assert_allclose(rule.array("case/x", (2,), 0, 4), RULE_ARRAY, rtol=1e-6)


if __name__ == "__main__":
  absltest.main()
