"""A pickle reader that builds data and runs nothing.

`pickle.Unpickler` imports and calls what a stream names. This machine calls only the
builders of the table it is given: a stream that names any other global is refused
before that global means anything, and no opcode reaches an attribute, an import or
copyreg's extension registry.

Text of Python 2 (`str`) is read as latin-1, so that the bytes of an array survive.
"""

import abc
import codecs
import dataclasses
import pickle
import struct
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Global:
  """A name of the allow-list, and what stands in for it."""

  name: str
  build: Callable[..., Any]


class Unresolved(abc.ABC):
  """Something whose value is known only when the whole file has been read."""

  def set_state(self, state: Any):
    raise ValueError(f"sets the state of a {type(self).__name__}")

  @abc.abstractmethod
  def value(self) -> Any:
    """Returns what it stands for."""


class Record(dict):
  """An object of a class that holds data only: the dict of its attributes."""

  def set_state(self, state: Any):
    self.update(state)


# Names that moved between versions, in the form in which the builders are listed.
_MOVED = (
  ("__builtin__.", "builtins."),
  ("copy_reg.", "copyreg."),
  ("numpy._core.", "numpy.core."),
)

_WHY = (
  ("torch._utils._rebuild_q", "quantised tensors are not read"),
  ("torch._utils._rebuild_sparse", "sparse tensors are not read"),
  ("torch.nn.", "a whole pickled module, where a state_dict is needed"),
)


def reconstruct(kind: Global, *_):
  """Stands in for copyreg._reconstructor(class, base, state)."""
  if not isinstance(kind, Global):
    raise ValueError(f"builds an object of a {type(kind).__name__}")
  return kind.build()


def to_bytes(data: Any = b"", *_) -> bytes:
  """Returns the bytes of `data`, of which Python 2 makes text read as latin-1."""
  if isinstance(data, str):
    return data.encode("latin-1")
  if not isinstance(data, bytes):
    raise ValueError(f"holds bytes that are a {type(data).__name__}")
  return data


def inert(*_):
  """Stands in for a class that is named as a type and never called."""
  raise ValueError("calls a type that holds no data")


BUILDERS: Mapping[str, Callable[..., Any]] = {
  "__main__.MyMesh": Record,  # the meshes of GraphCMR's mesh_downsampling.npz
  "builtins.bytearray": to_bytes,
  "builtins.bytes": to_bytes,
  "builtins.complex": lambda real, imaginary=0.0: complex(real, imaginary),
  "builtins.dict": inert,
  "builtins.float": inert,
  "builtins.frozenset": lambda items=(): set(items),
  "builtins.int": inert,
  "builtins.list": inert,
  "builtins.object": inert,
  "builtins.set": lambda items=(): set(items),
  "chumpy.ch.Ch": Record,
  "chumpy.reordering.Select": Record,
  "collections.OrderedDict": lambda *pairs: dict(*pairs),
  "collections.defaultdict": lambda *_: {},
  "copyreg._reconstructor": reconstruct,
  "dnnlib.tflib.network.Network": Record,
  "dnnlib.util.EasyDict": Record,
  "psbody.mesh.mesh.Mesh": Record,
  "_codecs.encode": to_bytes,
}


def read_pickle(
  data: bytes,
  builders: Mapping[str, Callable[..., Any]] = BUILDERS,
  persistent: Callable[[Any], Any] | None = None,
  start: int = 0,
) -> tuple[Any, int]:
  """Reads one pickle.

  Args:
    data: holds the pickle.
    builders: what stands in for each global that the pickle may name, by its full
      name as Python 3 spells it.
    persistent: resolves persistent identifiers; without it they are refused.
    start: position of the pickle's first byte in `data`.

  Returns:
    The object, in which arrays may still be `Unresolved`, and the position after
    the pickle's last byte.

  Raises:
    ValueError: a global outside `builders`, or a stream that is no pickle. A
      damaged one may also raise IndexError, KeyError, TypeError or struct.error.
  """
  return _Machine(data, builders, persistent, start).run()


class _Machine:
  def __init__(self, data, builders, persistent, start):
    self.data, self.at = data, start
    self.builders, self.persistent = builders, persistent
    self.stack, self.marked, self.memo = [], [], {}

  def run(self):
    while (code := self.data[self.at]) != pickle.STOP[0]:
      self.at += 1
      if code not in _OPERATIONS:
        raise ValueError(
          f"holds the pickle opcode {bytes([code])!r}, which is not read"
        )
      _OPERATIONS[code](self)
    return self.stack.pop(), self.at + 1

  def take(self, size: int) -> bytes:
    if not 0 <= size <= len(self.data) - self.at:
      raise ValueError("truncated pickle")
    self.at += size
    return self.data[self.at - size : self.at]

  def number(self, form: str):
    return struct.unpack(form, self.take(struct.calcsize(form)))[0]

  def line(self) -> bytes:
    end = self.data.find(b"\n", self.at)
    if end < 0:
      raise ValueError("truncated pickle")
    line, self.at = self.data[self.at : end], end + 1
    return line

  def push(self, value):
    self.stack.append(value)

  def pop_mark(self) -> list:
    items, self.stack = self.stack, self.marked.pop()
    return items

  def find(self, module: str, name: str) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
      raise ValueError("names a global by what is no text")
    full = f"{module}.{name}"
    for old, new in _MOVED:
      if full.startswith(old):
        full = new + full[len(old) :]
    if full not in self.builders:
      why = next((f": {text}" for start, text in _WHY if full.startswith(start)), "")
      raise ValueError(f"names the global {full}, which is not on the allow-list{why}")
    return Global(full, self.builders[full])

  def call(self, function, arguments):
    if not isinstance(function, Global) or not isinstance(arguments, list | tuple):
      raise ValueError(f"calls a {type(function).__name__}")
    self.push(function.build(*arguments))

  def build(self):
    state = self.stack.pop()
    target = self.stack[-1]
    if isinstance(target, Unresolved | Record):
      target.set_state(state)
    elif type(target) is not dict:  # an OrderedDict's attributes are not data
      raise ValueError(f"sets attributes of a {type(target).__name__}")

  def extend(self, items):
    if type(self.stack[-1]) is not list:
      raise ValueError(f"appends to a {type(self.stack[-1]).__name__}")
    self.stack[-1].extend(items)

  def update(self, items):
    if not isinstance(self.stack[-1], dict):
      raise ValueError(f"sets items of a {type(self.stack[-1]).__name__}")
    self.stack[-1].update(_pairs(items))

  def add(self, items):
    if type(self.stack[-1]) is not set:
      raise ValueError(f"adds to a {type(self.stack[-1]).__name__}")
    self.stack[-1].update(items)

  def pop(self):
    if self.stack:
      self.stack.pop()
    else:
      self.pop_mark()

  def mark(self):
    self.marked.append(self.stack)
    self.stack = []

  def instance(self):
    kind = self.find(self.line().decode(), self.line().decode())
    self.call(kind, self.pop_mark())

  def pop_two(self):
    second = self.stack.pop()
    return self.stack.pop(), second

  def new_with_keywords(self):
    keywords = self.stack.pop()
    if keywords:
      raise ValueError("calls a class with keywords")
    self.call(*self.pop_two())

  def resolve(self, identifier):
    if self.persistent is None:
      raise ValueError("holds a persistent identifier outside a PyTorch file")
    self.push(self.persistent(identifier))


def _pairs(items: list) -> dict:
  if len(items) % 2:
    raise ValueError("a key without a value")
  return dict(zip(items[::2], items[1::2], strict=True))


def _text_integer(text: bytes):
  if text in (b"00", b"01"):  # how protocols 0 and 1 write booleans
    return text == b"01"
  return int(text)


def _quoted(text: bytes) -> str:
  if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
    raise ValueError("a string without quotes")
  return codecs.escape_decode(text[1:-1])[0].decode("latin-1")


def _signed(data: bytes) -> int:
  return int.from_bytes(data, "little", signed=True)


def _latin(data: bytes) -> str:
  return data.decode("latin-1")


def _utf8(data: bytes) -> str:
  return data.decode("utf-8", "surrogatepass")


def _operations() -> dict[int, Callable[[_Machine], Any]]:
  """Returns what each opcode does, by the opcode's byte."""
  p = pickle
  table = {
    p.PROTO: lambda m: m.take(1),
    p.FRAME: lambda m: m.take(8),
    p.MARK: _Machine.mark,
    p.POP: _Machine.pop,
    p.POP_MARK: _Machine.pop_mark,
    p.DUP: lambda m: m.push(m.stack[-1]),
    p.LIST: lambda m: m.push(m.pop_mark()),
    p.TUPLE: lambda m: m.push(tuple(m.pop_mark())),
    p.DICT: lambda m: m.push(_pairs(m.pop_mark())),
    p.FROZENSET: lambda m: m.push(set(m.pop_mark())),
    p.APPEND: lambda m: m.extend([m.stack.pop()]),
    p.APPENDS: lambda m: m.extend(m.pop_mark()),
    p.SETITEM: lambda m: m.update(m.pop_two()),
    p.SETITEMS: lambda m: m.update(m.pop_mark()),
    p.ADDITEMS: lambda m: m.add(m.pop_mark()),
    p.MEMOIZE: lambda m: m.memo.update({len(m.memo): m.stack[-1]}),
    p.GLOBAL: lambda m: m.push(m.find(m.line().decode(), m.line().decode())),
    p.STACK_GLOBAL: lambda m: m.push(m.find(*m.pop_two())),
    p.REDUCE: lambda m: m.call(*m.pop_two()),
    p.NEWOBJ: lambda m: m.call(*m.pop_two()),
    p.NEWOBJ_EX: _Machine.new_with_keywords,
    p.OBJ: lambda m: m.call((items := m.pop_mark())[0], items[1:]),
    p.INST: _Machine.instance,
    p.BUILD: _Machine.build,
    p.PERSID: lambda m: m.resolve(_latin(m.line())),
    p.BINPERSID: lambda m: m.resolve(m.stack.pop()),
  }
  for code, value in ((p.NONE, None), (p.NEWTRUE, True), (p.NEWFALSE, False)):
    table[code] = lambda m, value=value: m.push(value)
  for code, empty in (
    (p.EMPTY_LIST, list),
    (p.EMPTY_DICT, dict),
    (p.EMPTY_SET, set),
    (p.EMPTY_TUPLE, tuple),
  ):
    table[code] = lambda m, empty=empty: m.push(empty())
  for code, size in ((p.TUPLE1, 1), (p.TUPLE2, 2), (p.TUPLE3, 3)):
    table[code] = lambda m, size=size: m.push(
      tuple([m.stack.pop() for _ in range(size)][::-1])
    )
  for code, form in (
    (p.BININT, "<i"),
    (p.BININT1, "<B"),
    (p.BININT2, "<H"),
    (p.BINFLOAT, ">d"),
  ):
    table[code] = lambda m, form=form: m.push(m.number(form))
  for code, parse in (
    (p.INT, _text_integer),
    (p.LONG, lambda text: int(text.rstrip(b"L"))),
    (p.FLOAT, float),
    (p.STRING, _quoted),
    (p.UNICODE, lambda text: text.decode("raw-unicode-escape")),
  ):
    table[code] = lambda m, parse=parse: m.push(parse(m.line()))
  for code, form, decode in (
    (p.LONG1, "<B", _signed),
    (p.LONG4, "<i", _signed),
    (p.BINSTRING, "<i", _latin),
    (p.SHORT_BINSTRING, "<B", _latin),
    (p.BINBYTES, "<I", bytes),
    (p.SHORT_BINBYTES, "<B", bytes),
    (p.BINBYTES8, "<Q", bytes),
    (p.BYTEARRAY8, "<Q", bytes),
    (p.BINUNICODE, "<I", _utf8),
    (p.SHORT_BINUNICODE, "<B", _utf8),
    (p.BINUNICODE8, "<Q", _utf8),
  ):
    table[code] = lambda m, form=form, decode=decode: m.push(
      decode(m.take(m.number(form)))
    )
  for get, put, index in (
    (p.GET, p.PUT, lambda m: int(m.line())),
    (p.BINGET, p.BINPUT, lambda m: m.number("<B")),
    (p.LONG_BINGET, p.LONG_BINPUT, lambda m: m.number("<I")),
  ):
    table[get] = lambda m, index=index: m.push(m.memo[index(m)])
    table[put] = lambda m, index=index: m.memo.update({index(m): m.stack[-1]})
  return {code[0]: operation for code, operation in table.items()}


_OPERATIONS = _operations()
