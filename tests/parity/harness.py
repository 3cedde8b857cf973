"""Holds our implementations against what the authors' published code computes.

A pair `<paper>.json` and `<paper>.npz` lists cases: parameters and inputs, most of them
drawn by `rule` from their names, and the authors' outputs. `adapters/<paper>.py` offers

    ADAPTERS: dict[str, Callable[[dict, dict], dict]]   # parameters, inputs -> outputs
    MEASURES: dict[str, dict[str, Callable]]            # optional; see below

with numpy arrays in the authors' layout on both sides. The adapter is the one that the
case's field `adapter` names, or else its `name`.

An output agrees when its shape is the authors' and max|ours - theirs| <= tolerance *
max|theirs|; integers and booleans must be equal, and so must the places of NaN and
infinities. The tolerance is the case's field `tolerance`, or else what its notes state,
or else 1e-4. Where the notes ask for another measure (ties that may flip, areas of
meshes), MEASURES[case][output](ours, theirs) returns the error and what it may be.
"""

import contextlib
import dataclasses
import fnmatch
import importlib
import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from tests.parity import rule

DEFAULT_TOLERANCE = 1e-4

Arrays = dict[str, np.ndarray]


class Tolerance(NamedTuple):
  value: float
  absolute: bool = False


class Agreement(NamedTuple):
  """The error of one output, and what it may be."""

  output: str
  error: float
  tolerance: float

  @property
  def holds(self) -> bool:
    return self.error <= self.tolerance  # NaN does not

  @property
  def used(self) -> float:
    """Which part of the tolerance the error takes."""
    return self.error / self.tolerance if self.tolerance else float(self.error > 0)


@dataclasses.dataclass(frozen=True)
class Case:
  """One case of a pair; `record` is its entry in the .json."""

  paper: str
  record: Mapping[str, Any]
  arrays: Path

  @property
  def name(self) -> str:
    return self.record["name"]

  @property
  def notes(self) -> str:
    return self.record.get("notes") or ""

  @property
  def wants_float64(self) -> bool:
    """Whether the notes ask for our side to be computed in float64."""
    asked = r"(compare|evaluate)\b[^.;]*\bfloat64|jax_enable_x64"
    return re.search(asked, self.notes, re.IGNORECASE) is not None

  def parameters(self) -> Arrays:
    """Returns every key of the authors' checkpoint with its values."""
    overrides = self.record.get("overrides") or {}
    layout = self.record.get("layout", "torch")
    aliases = self.record.get("aliases") or {}
    # Several checkpoints in one case: each key is filled by its name in its own.
    prefixes = re.search(r"name WITHOUT the (\S+) prefix", self.notes)
    filled = {}
    with np.load(self.arrays) as stored:
      for key, shape in self.record["parameters"].items():
        how = overrides.get(key)
        if how == "npz":
          filled[key] = stored[f"{self.name}/override/{key}"]
        elif how in ("zeros", "ones"):
          filled[key] = getattr(np, how)(shape, np.float32)
        elif how is not None:
          raise ValueError(f"{self.name}: {key} is overridden by {how!r}")
        else:
          name = aliases.get(key, key)
          for prefix in prefixes[1].split("/") if prefixes else ():
            name = name.removeprefix(prefix)
          filled[key] = rule.tensor(name, shape, layout)
    return self._precise(filled)

  def inputs(self) -> Arrays:
    filled = {}
    with np.load(self.arrays) as stored:
      for key, how in self.record["inputs"].items():
        if how == "npz":
          filled[key] = stored[f"{self.name}/in/{key}"]
        else:
          filled[key] = rule.array(f"{self.name}/{key}", **how)
    return self._precise(filled)

  def _precise(self, arrays: Arrays) -> Arrays:
    if not self.wants_float64:
      return arrays
    return {
      key: array.astype(np.float64) if array.dtype == np.float32 else array
      for key, array in arrays.items()
    }

  def tolerance(self, output: str) -> Tolerance:
    """Returns the tolerance of an output, by the field or else by the notes."""
    if "tolerance" in self.record:
      return Tolerance(float(self.record["tolerance"]))
    stated = stated_tolerances(self.notes, self.record["outputs"])
    return stated.get(output, stated.get("", Tolerance(DEFAULT_TOLERANCE)))

  def run(self, adapters: ModuleType) -> list[Agreement]:
    """Runs the case's adapter and compares each of its outputs.

    Raises:
      AssertionError: the adapter or an output is missing, or has another shape.
    """
    name = self.record.get("adapter") or self.name
    assert name in adapters.ADAPTERS, f"ADAPTERS of {self.paper} lacks {name!r}"
    precision = jax.enable_x64(True) if self.wants_float64 else contextlib.nullcontext()
    with precision:
      ours = adapters.ADAPTERS[name](self.parameters(), self.inputs())
    measures = getattr(adapters, "MEASURES", {}).get(self.name, {})
    with np.load(self.arrays) as stored:
      return [
        self._compare(output, ours, stored, measures.get(output))
        for output in self.record["outputs"]
      ]

  def _compare(
    self, output: str, ours: Arrays, stored: Mapping, measure: Callable | None
  ) -> Agreement:
    assert output in ours, f"{self.name}: the adapter returns no {output!r}"
    mine, theirs = np.asarray(ours[output]), stored[f"{self.name}/out/{output}"]
    sampled = f"{self.name}/at/{output}" in stored
    shape = tuple(stored[f"{self.name}/shape/{output}"]) if sampled else theirs.shape
    assert mine.shape == shape, f"{self.name}: {output} is {mine.shape}, not {shape}"
    if sampled:
      mine = mine.reshape(-1)[stored[f"{self.name}/at/{output}"]]
    if measure is not None:
      return Agreement(output, *measure(mine, theirs))
    if theirs.dtype.kind in "biu":
      return Agreement(output, float(np.any(mine != theirs)), 0.0)
    tolerance = self.tolerance(output)
    return Agreement(
      output, largest_error(mine, theirs, tolerance.absolute), tolerance.value
    )


def largest_error(ours: np.ndarray, theirs: np.ndarray, absolute: bool) -> float:
  """Returns max|ours - theirs|, over max|theirs| unless `absolute`.

  It is infinite where not the same elements are NaN or the same infinity, or where
  theirs are all zero and ours are not.
  """
  finite = np.isfinite(theirs)
  if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
    return float("inf")
  ours, theirs = ours[finite].astype(np.float64), theirs[finite].astype(np.float64)
  error = np.max(np.abs(ours - theirs), initial=0.0)
  scale = 1.0 if absolute else np.max(np.abs(theirs), initial=0.0)
  if scale == 0.0:
    return 0.0 if error == 0.0 else float("inf")
  return float("inf") if np.isnan(error) else float(error / scale)


def stated_tolerances(notes: str, outputs: list[str]) -> dict[str, Tolerance]:
  """Returns the tolerances that notes state, by output; "" for all the others.

  A clause states one by "accept 5e-4", "tolerance 3e-4", "compare ... at 1e-3" or
  "compare ... to 1e-5", each perhaps followed by "absolute". It is about the outputs
  that the clause names outside parentheses that follow the number, also by patterns
  (grad_*), or else about all.
  """
  stated = {}
  for clause in re.split(r";|\.(?=\s|$)", notes):
    found = re.search(
      r"\b(?:accept|tolerance|compare\b.*\b(?:at|to))\s+(\d\S*?e-\d+)(\s+absolute)?",
      clause,
      re.IGNORECASE,
    )
    if not found:
      continue
    tolerance = Tolerance(float(found[1]), found[2] is not None)
    comment_removed = clause[: found.start(1)] + clause[found.end() :].split("(")[0]
    words = re.findall(r"[\w*:./]+", comment_removed.replace("jax_enable_x64", ""))
    words = {part.strip(".:") for word in words for part in (word, *word.split("/"))}
    named = {output for word in words for output in fnmatch.filter(outputs, word)}
    if not named and any("_" in word or "*" in word for word in words):
      continue  # about an output of another case
    stated.update(dict.fromkeys(named or {""}, tolerance))
  return stated


def load_cases(directory: Path) -> list[Case]:
  """Returns the cases of every pair in `directory`.

  Raises:
    FileNotFoundError: there is no pair, or one lacks its .npz.
  """
  files = sorted(directory.glob("*.json"))
  if not files:
    raise FileNotFoundError(f"{directory} holds no parity cases")
  cases = []
  for file in files:
    arrays = file.with_suffix(".npz")
    if not arrays.exists():
      raise FileNotFoundError(f"{file} lacks {arrays.name}")
    for record in json.loads(file.read_text())["cases"]:
      cases.append(Case(file.stem, record, arrays))
  return cases


def load_adapters(paper: str) -> ModuleType:
  name = f"tests.parity.adapters.{paper}"
  assert importlib.util.find_spec(name), f"tests/parity/adapters/{paper}.py is missing"
  return importlib.import_module(name)
