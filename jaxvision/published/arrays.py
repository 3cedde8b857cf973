"""Arrays from raw bytes, and nested data flattened to arrays by name."""

import math
import numbers
from typing import Any

import ml_dtypes
import numpy as np

from jaxvision.published.pickles import Unresolved

# Far above any network's number of tensors: ends lists that hold themselves.
_MOST_ENTRIES = 1_000_000
_MOST_LEVELS = 100

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT8_E4M3 = np.dtype(ml_dtypes.float8_e4m3fn)
FLOAT8_E5M2 = np.dtype(ml_dtypes.float8_e5m2)
_WIDENED = (BFLOAT16, FLOAT8_E4M3, FLOAT8_E5M2)


def from_bytes(
  data: bytes,
  dtype: np.dtype,
  shape: tuple[int, ...],
  *,
  order: str = "C",
  big_endian: bool = False,
) -> np.ndarray:
  """Returns the array whose elements `data` holds, in native byte order.

  bfloat16 and 8-bit floats, which numpy alone does not know, become float32.

  Args:
    data: exactly the array's bytes.
    dtype: its element type and byte order.
    shape: its shape.
    order: "C" or "F", which axis is contiguous.
    big_endian: the byte order where `dtype` states none.

  Returns:
    A read-only array, which shares memory with `data` where nothing is converted.

  Raises:
    ValueError: `data` has not the size that dtype and shape say.
  """
  if not all(isinstance(length, numbers.Integral) and length >= 0 for length in shape):
    raise ValueError("an array of impossible shape")
  if math.prod(shape) * dtype.itemsize != len(data):
    raise ValueError(
      f"an array {dtype.name}{list(shape)} with {len(data)} bytes instead of "
      f"{math.prod(shape) * dtype.itemsize}"
    )
  native = dtype.newbyteorder("=")
  array = np.frombuffer(data, native) if data else np.zeros(0, native)
  if big_endian or not dtype.isnative:
    array = array.byteswap()
  if dtype in _WIDENED:
    array = array.astype(np.float32)
  array = array.reshape(shape, order=order)
  array.flags.writeable = False
  return array


def flatten(tree: Any) -> dict[str, np.ndarray]:
  """Returns the arrays of nested dicts and lists by their dotted path.

  A list of numbers is one array, and a number an array of rank 0. A list of pairs
  (name, value) is read as a dict. Text, bytes, None, sets, types and integers of
  more than 64 bits are left out. A tree that is itself an array has the name "".

  Raises:
    ValueError: two entries share a path, or the tree is endless.
  """
  arrays: dict[str, np.ndarray] = {}
  visited = 0

  def visit(node, path, level):
    nonlocal visited
    while isinstance(node, Unresolved):
      node = node.value()
    if isinstance(node, np.ndarray) and node.dtype.hasobject:
      node = {".".join(map(str, at)): node[at] for at in np.ndindex(node.shape)}
    if isinstance(node, list | tuple | dict):
      visited += len(node)
      if visited > _MOST_ENTRIES or level > _MOST_LEVELS:
        raise ValueError("nested too deeply")
    if isinstance(node, list | tuple):
      node = _array_or_dict(node)
    if isinstance(node, dict):
      for key, child in node.items():
        key = key.decode("latin-1") if isinstance(key, bytes) else str(key)
        visit(child, (*path, key) if key else path, level + 1)
      return
    if isinstance(node, bool | int | float | complex):
      node = np.asarray(node)
    if isinstance(node, np.ndarray | np.generic) and not node.dtype.hasobject:
      name = ".".join(path)
      if name in arrays:
        raise ValueError(f"holds {name} twice")
      arrays[name] = np.asarray(node)

  visit(tree, (), 0)
  return arrays


def _array_or_dict(items: list | tuple) -> np.ndarray | dict:
  if items and all(isinstance(item, bool | int | float | complex) for item in items):
    array = np.array(items)
    if not array.dtype.hasobject:
      return array
  if items and all(
    isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
    for item in items
  ):
    return dict(items)
  return {str(index): item for index, item in enumerate(items)}
