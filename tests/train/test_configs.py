"""Tests of configs as flags' text and as JSON."""

import dataclasses
import json
import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.train import configs


@dataclasses.dataclass(frozen=True)
class Optimizer:
  learning_rate: float = 1e-3
  name: Literal["adam", "sgd"] = "adam"


@dataclasses.dataclass(frozen=True)
class Config:
  steps: int = 10
  widths: tuple[int, ...] = (8, 16)
  strides: tuple[tuple[int, int], ...] = ((1, 2),)
  weights: str | None = None
  clip: float | None = None
  augment: bool = True
  optimizer: Optimizer = Optimizer()


class ConfigsTest(parameterized.TestCase):
  def test_fields_open_nested_configs(self):
    self.assertEqual(
      list(configs.fields(Config))[-2:], ["optimizer.learning_rate", "optimizer.name"]
    )
    self.assertEqual(configs.values(Config())["optimizer.learning_rate"], 1e-3)

  @parameterized.parameters(
    (int, "1_000", 1000),
    (float, "1e-4", 1e-4),
    (float, "inf", math.inf),
    (bool, "False", False),
    (bool, "1", True),
    (str, "1e-4", "1e-4"),
    (str | None, "None", None),
    (str | None, "a.pth", "a.pth"),
    (float | None, "3", 3.0),
    (int | str, "3", 3),
    (int | str, "auto", "auto"),
    (Literal["adam", "sgd"], "sgd", "sgd"),
    (Literal[2, 4], "4", 4),
    (tuple[int, ...], "3", (3,)),
    (tuple[int, ...], "3,4", (3, 4)),
    (tuple[int, ...], "()", ()),
    (tuple[str, ...], "a,b", ("a", "b")),
    (tuple[str, float], "('a', 2)", ("a", 2.0)),
    (tuple[tuple[int, int], ...], "(1, 2), (3, 4)", ((1, 2), (3, 4))),
  )
  def test_text_becomes_its_type(self, annotation, text, value):
    parsed = configs.parse(annotation, text)
    self.assertEqual(parsed, value)
    self.assertIs(type(parsed), type(value))

  @parameterized.parameters(
    (int, "1.5", "'1.5' is not int"),
    (int, "", "'' is not int"),
    (bool, "maybe", "'maybe' is not bool"),
    (float | None, "x", r"'x' is not float \| None"),
    (Literal["adam", "sgd"], "adma", "'adma' is not one of adam, sgd"),
    (tuple[int, ...], "1,x", "'1,x' is not tuple"),
    (tuple[int, int], "1,2,3", "'1,2,3' is not tuple"),
  )
  def test_wrong_text_is_refused(self, annotation, text, message):
    with self.assertRaisesRegex(ValueError, message):
      configs.parse(annotation, text)

  def test_a_type_without_text_is_refused(self):
    with self.assertRaisesRegex(TypeError, "no flag can set a field of type dict"):
      configs.parse(dict, "{}")

  def test_replace_reaches_into_nested_configs(self):
    changed = configs.replace(
      Config(), {"steps": 3, "optimizer.name": "sgd", "optimizer.learning_rate": 1.0}
    )
    self.assertEqual(changed, Config(steps=3, optimizer=Optimizer(1.0, "sgd")))

  @parameterized.parameters(
    Config(),
    Config(clip=2.0, weights="a", widths=()),
    Config(clip=math.inf, optimizer=Optimizer(math.inf, "sgd")),
  )
  def test_json_restores_the_config(self, config):
    text = json.dumps(configs.jsonable(config), allow_nan=False)
    self.assertEqual(configs.from_json(Config, json.loads(text)), config)

  def test_json_of_arrays_and_numbers_that_are_not_finite(self):
    tree = {"a": jnp.float32(1.5), "b": np.arange(2), 3: (-math.inf, math.nan)}
    self.assertEqual(
      configs.jsonable(tree), {"a": 1.5, "b": [0, 1], "3": ["-Infinity", "NaN"]}
    )
    with self.assertRaisesRegex(TypeError, "JSON has no function"):
      configs.jsonable(lambda: None)

  def test_differences_name_fields_and_both_values(self):
    here = configs.jsonable(Config())
    there = configs.jsonable(Config(steps=20, optimizer=Optimizer(name="sgd")))
    del there["augment"]
    self.assertEqual(
      configs.differences(here, there, "W"),
      [
        "steps: 10 here, 20 in W",
        "augment: True here, absent in W",
        "optimizer.name: adam here, sgd in W",
      ],
    )
    self.assertEmpty(configs.differences(here, here, "W"))

  def test_unknown_name_offers_the_closest(self):
    error = str(configs.unknown_name("--preset", "dmeo", ["smoke", "demo"]))
    self.assertIn("'dmeo' is unknown; did you mean demo? valid: smoke, demo", error)
    error = str(configs.unknown_name("--preset", "xyz", ["smoke", "demo"]))
    self.assertNotIn("did you mean", error)


if __name__ == "__main__":
  absltest.main()
