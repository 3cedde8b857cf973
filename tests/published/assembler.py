"""Writes pickles opcode by opcode, and the files that hold them."""

import io
import pickle
import struct
import tarfile
import zipfile

NONE, TRUE, FALSE, REDUCE, BUILD = b"N", b"\x88", b"\x89", b"R", b"b"


def program(*code: bytes) -> bytes:
  """Returns a pickle of protocol 2."""
  return b"\x80\x02" + b"".join(code) + b"."


def name(full: str) -> bytes:
  module, _, attribute = full.rpartition(".")
  return f"c{module}\n{attribute}\n".encode()


def value(item) -> bytes:
  """Returns the code that pushes a plain value; bytes are code already."""
  if isinstance(item, bytes):
    return item
  if item is None:
    return NONE
  if isinstance(item, bool):
    return TRUE if item else FALSE
  if isinstance(item, int):
    return b"\x8a\x08" + struct.pack("<q", item)
  if isinstance(item, float):
    return b"G" + struct.pack(">d", item)
  if isinstance(item, str):
    return b"X" + struct.pack("<I", len(item.encode())) + item.encode()
  if isinstance(item, tuple):
    return b"(" + b"".join(map(value, item)) + b"t"
  if isinstance(item, list):
    return b"](" + b"".join(map(value, item)) + b"e"
  return b"}(" + b"".join(value(part) for pair in item.items() for part in pair) + b"u"


def raw(data: bytes) -> bytes:
  """Returns the code that pushes bytes."""
  return b"B" + struct.pack("<I", len(data)) + data


def call(function: str, *arguments) -> bytes:
  return name(function) + value(arguments) + REDUCE


def ordered_dict(items: dict, metadata=None) -> bytes:
  """Returns an OrderedDict, with the attribute that PyTorch gives a state_dict."""
  code = call("collections.OrderedDict") + value(items)[1:]
  return code + value({"_metadata": metadata or {}}) + BUILD


def storage(kind: str, key: str, length: int, *view) -> bytes:
  identifier = ("storage", name(f"torch.{kind}"), key, "cpu", length, *view)
  return value(identifier) + b"Q"


def tensor(stored: bytes, offset: int, size: tuple, stride: tuple) -> bytes:
  arguments = (stored, offset, size, stride, False, ordered_dict({}))
  return call("torch._utils._rebuild_tensor_v2", *arguments)


def parameter(data: bytes) -> bytes:
  return call("torch._utils._rebuild_parameter", data, True, ordered_dict({}))


def numpy_dtype(kind: str, order: str = "<") -> bytes:
  state = (3, order, None, None, None, -1, -1, 0)
  return call("numpy.dtype", kind, 0, 1) + value(state) + BUILD


def numpy_array(kind: str, shape: tuple, data: bytes, order: str = "<") -> bytes:
  """Returns an ndarray; `data` is the code that pushes its contents."""
  empty = call(
    "numpy.core.multiarray._reconstruct", name("numpy.ndarray"), (0,), raw(b"b")
  )
  return empty + value((1, shape, numpy_dtype(kind, order), False, data)) + BUILD


def torch_zip(tree: bytes, storages: dict[str, bytes], byteorder="little") -> bytes:
  """Returns a checkpoint as PyTorch 1.6 and later write it."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:
    archive.writestr("model/data.pkl", program(tree))
    archive.writestr("model/byteorder", byteorder)
    for key, data in storages.items():
      archive.writestr(f"model/data/{key}", data)
    archive.writestr("model/version", "3\n")
  return file.getvalue()


def torch_stream(
  tree: bytes, storages: dict[str, tuple[int, bytes]], little_endian=True
) -> bytes:
  """Returns a checkpoint as PyTorch before 1.6 wrote it.

  Args:
    tree: the object's code.
    storages: number of elements and bytes of each storage.
    little_endian: byte order of the machine that writes.
  """
  sizes = {"short": 2, "int": 4, "long": 8}
  system = {"protocol_version": 1001, "little_endian": little_endian}
  magic = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
  parts = [program(magic), program(value(1001))]
  parts.append(program(value(system | {"type_sizes": sizes})))
  parts += [program(tree), program(value(list(storages)))]
  for length, data in storages.values():
    parts += [struct.pack("<q" if little_endian else ">q", length), data]
  return b"".join(parts)


def torch_tar(storages: bytes, tensors: bytes, tree: bytes) -> bytes:
  """Returns a checkpoint as the first releases of PyTorch wrote it."""
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
    members = {
      "sys_info": pickle.dumps({"protocol_version": 1000}, 2),
      "pickle": program(tree),
      "storages": storages,
      "tensors": tensors,
    }
    for member, data in members.items():
      info = tarfile.TarInfo(member)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return file.getvalue()
