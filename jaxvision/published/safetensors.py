"""The .safetensors format: a JSON header and one run of bytes."""

import json
import struct

import numpy as np

from jaxvision.published import arrays

_DTYPES = {
  "BF16": arrays.BFLOAT16,
  "BOOL": np.dtype(bool),
  "C64": np.dtype("<c8"),
  "F8_E4M3": arrays.FLOAT8_E4M3,
  "F8_E5M2": arrays.FLOAT8_E5M2,
  "F16": np.dtype("<f2"),
  "F32": np.dtype("<f4"),
  "F64": np.dtype("<f8"),
  "I8": np.dtype("i1"),
  "I16": np.dtype("<i2"),
  "I32": np.dtype("<i4"),
  "I64": np.dtype("<i8"),
  "U8": np.dtype("u1"),
  "U16": np.dtype("<u2"),
  "U32": np.dtype("<u4"),
  "U64": np.dtype("<u8"),
}


def is_safetensors(data: bytes) -> bool:
  return len(data) > 9 and data[8:9] == b"{"


def read(data: bytes) -> dict[str, np.ndarray]:
  """Returns the tensors of a .safetensors file by name."""
  (header_size,) = struct.unpack_from("<Q", data)
  if header_size > len(data) - 8:
    raise ValueError(f"truncated: a header of {header_size} bytes")
  header = json.loads(data[8 : 8 + header_size], object_pairs_hook=_unique)
  contents = memoryview(data)[8 + header_size :]
  header.pop("__metadata__", None)
  return {name: _tensor(name, entry, contents) for name, entry in header.items()}


def _unique(pairs: list) -> dict:
  if len(dict(pairs)) != len(pairs):
    raise ValueError("names a tensor twice")
  return dict(pairs)


def _tensor(name: str, entry: dict, contents: memoryview) -> np.ndarray:
  if entry["dtype"] not in _DTYPES:
    raise ValueError(f"{name} has the type {entry['dtype']}, which is not read")
  begin, end = entry["data_offsets"]
  if not 0 <= begin <= end <= len(contents):
    raise ValueError(f"truncated: {name} ends at byte {end} of {len(contents)}")
  return arrays.from_bytes(
    contents[begin:end], _DTYPES[entry["dtype"]], tuple(entry["shape"])
  )
