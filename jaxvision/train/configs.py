"""Configs are frozen dataclasses; here they meet flags, JSON and each other.

A field of a nested config is named by its path: `optimizer.learning_rate`.
"""

import ast
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from jaxvision.errors import UserError

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def unknown_name(what: str, name: str, valid: Iterable[str]) -> UserError:
  """Returns the error that names a wrong name, the closest one and all valid ones."""
  valid = list(valid)
  close = difflib.get_close_matches(name, valid, 1)
  hint = f"; did you mean {close[0]}?" if close else ";"
  return UserError(f"{what} {name!r} is unknown{hint} valid: {', '.join(valid)}")


def fields(Config: type) -> dict[str, Any]:
  """Returns {path: type annotation} of every field, nested configs opened."""
  leaves = {}
  hints = typing.get_type_hints(Config)
  for field in dataclasses.fields(Config):
    annotation = hints[field.name]
    if dataclasses.is_dataclass(annotation):
      for path, inner in fields(annotation).items():
        leaves[f"{field.name}.{path}"] = inner
    else:
      leaves[field.name] = annotation
  return leaves


def values(config: Any) -> dict[str, Any]:
  """Returns {path: value} of every field of a config."""
  leaves = {}
  for path in fields(type(config)):
    value = config
    for name in path.split("."):
      value = getattr(value, name)
    leaves[path] = value
  return leaves


def replace(config: Any, changes: Mapping[str, Any]) -> Any:
  """Returns the config with the fields of {path: value} changed."""
  nested: dict[str, dict[str, Any]] = {}
  direct = {}
  for path, value in changes.items():
    name, _, rest = path.partition(".")
    if rest:
      nested.setdefault(name, {})[rest] = value
    else:
      direct[name] = value
  for name, inner in nested.items():
    direct[name] = replace(getattr(config, name), inner)
  return dataclasses.replace(config, **direct)


def type_name(annotation: Any) -> str:
  """Returns how a reader writes a type: `int`, `float | None`, `one of a, b`."""
  if typing.get_origin(annotation) is typing.Literal:
    return f"one of {', '.join(map(str, typing.get_args(annotation)))}"
  return annotation.__name__ if type(annotation) is type else str(annotation)


def parse(annotation: Any, text: str) -> Any:
  """Returns the value of a type that a flag's text stands for.

  Args:
    annotation: bool, int, float, str, None, a Literal, a tuple of these (`1,2` or
      `(1, 2)`), or a union of these.
    text: what stands behind `--config.FIELD=`.

  Raises:
    ValueError: the text is no such value.
    TypeError: a config has a field of a type that no text stands for.
  """
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  wrong = ValueError(f"{text!r} is not {type_name(annotation)}")
  if annotation is str:
    return text
  if annotation is types.NoneType:
    if text.lower() == "none":
      return None
    raise wrong
  if annotation is bool:
    if text.lower() in _BOOLEANS:
      return _BOOLEANS[text.lower()]
    raise wrong
  if annotation in (int, float):
    try:
      return annotation(text)
    except ValueError:
      raise wrong from None
  if origin is typing.Literal:
    for choice in arguments:
      if str(choice) == text:
        return choice
    raise wrong
  if origin in (typing.Union, types.UnionType):
    # None first: str would take "none" for itself.
    for member in sorted(arguments, key=lambda member: member is not types.NoneType):
      try:
        return parse(member, text)
      except ValueError:
        continue
    raise wrong
  if origin is tuple:
    items = _split(text)
    if arguments[-1] is Ellipsis:
      arguments = arguments[:1] * len(items)
    if len(items) != len(arguments):
      raise wrong
    try:
      return tuple(map(parse, arguments, items))
    except ValueError:
      raise wrong from None
  raise TypeError(f"no flag can set a field of type {type_name(annotation)}")


def _split(text: str) -> list[str]:
  """Returns the texts of a tuple's items."""
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text.split(",")
  items = value if isinstance(value, tuple | list) else (value,)
  return [item if isinstance(item, str) else repr(item) for item in items]


def jsonable(value: Any) -> Any:
  """Returns the value as strict JSON has it: lists for tuples, "NaN" for NaN."""
  if dataclasses.is_dataclass(value):
    return {
      field.name: jsonable(getattr(value, field.name))
      for field in dataclasses.fields(value)
    }
  if isinstance(value, Mapping):
    return {str(key): jsonable(inner) for key, inner in value.items()}
  if isinstance(value, list | tuple):
    return [jsonable(inner) for inner in value]
  if isinstance(value, bool | int | str | None):
    return value
  if isinstance(value, float):
    if math.isfinite(value):
      return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
  if hasattr(value, "tolist"):  # NumPy's and JAX's scalars and arrays
    return jsonable(value.tolist())
  raise TypeError(f"JSON has no {type(value).__name__}: {value!r}")


def from_json(annotation: Any, value: Any) -> Any:
  """Returns the config, or the value of a field, that `jsonable` wrote."""
  origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
  if dataclasses.is_dataclass(annotation):
    hints = typing.get_type_hints(annotation)
    return annotation(
      **{name: from_json(hints[name], inner) for name, inner in value.items()}
    )
  if origin is tuple:
    if arguments[-1] is Ellipsis:
      arguments = arguments[:1] * len(value)
    return tuple(map(from_json, arguments, value))
  if origin in (typing.Union, types.UnionType):
    if value is None:
      return None
    members = [member for member in arguments if member is not types.NoneType]
    return from_json(members[0], value) if len(members) == 1 else value
  return float(value) if annotation is float else value


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
  """Returns {path: value} of a config's JSON."""
  if not isinstance(tree, Mapping):
    return {prefix: tree}
  leaves = {}
  for name, inner in tree.items():
    leaves |= flatten(inner, f"{prefix}.{name}" if prefix else name)
  return leaves


def differences(here: Any, there: Any, place: str) -> list[str]:
  """Returns one text a field by which two configs' JSONs differ.

  Args:
    here: the JSON of the config that is asked for.
    there: the JSON of the config found in `place`.
    place: where the second one was found.

  Returns:
    Texts such as `steps: 100 here, 200 in PLACE`, in the fields' order.
  """
  here, there = flatten(here), flatten(there)
  return [
    f"{path}: {here.get(path, 'absent')} here, {there.get(path, 'absent')} in {place}"
    for path in here | there
    if path not in here or path not in there or here[path] != there[path]
  ]
