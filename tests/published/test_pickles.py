"""Tests of the pickle machine: what it reads, and all that it refuses."""

import collections
import pickle
import struct
from unittest import mock

import numpy as np
import scipy.sparse
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvision.published import arrays, pickles
from tests.published import assembler as asm
from tests.published.files import FileTestCase

NAMES = st.text(st.characters(exclude_characters=".", codec="utf-8"), min_size=1)
NUMBERS = st.one_of(
  st.booleans(),
  st.integers(-(2**63), 2**63 - 1),
  st.floats(allow_nan=False),
  st.complex_numbers(allow_nan=False),
)
LEAVES = st.one_of(NUMBERS, st.text(), st.binary(), st.none())
TREES = st.recursive(
  LEAVES, lambda tree: st.lists(tree) | st.dictionaries(NAMES, tree), max_leaves=20
)


class ReadPickleTest(FileTestCase):
  @settings(max_examples=60, deadline=None)
  @given(tree=TREES, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
  def test_plain_data_is_read_as_it_was_written(self, tree, protocol):
    data = b"before" + pickle.dumps(tree, protocol) + b"after"
    read, end = pickles.read_pickle(data, start=6)
    self.assertEqual(read, tree)
    self.assertEqual(data[end:], b"after")

  @parameterized.parameters(range(pickle.HIGHEST_PROTOCOL + 1))
  def test_every_protocol(self, protocol):
    rng = np.random.default_rng(0)
    sparse = scipy.sparse.random(7, 5, 0.3, random_state=0)
    shared = rng.standard_normal((3, 4))
    tree = {
      "c_order": shared,
      "again": shared,
      "f_order": np.asfortranarray(shared),
      "half": rng.standard_normal(3).astype(np.float16),
      "big_endian": np.arange(3, dtype=">i4"),
      "bool": np.array([[True], [False]]),
      "empty": np.zeros((0, 3), np.float32),
      "scalar": np.float32(2.5),
      "text_array": np.array(["a", "bc"]),
      "objects": np.array([None, {"x": 1}, shared[0]], dtype=object),
      "matrix": np.asmatrix(shared),
      "ordered": collections.OrderedDict([("a", 1), ("b", 2.5)]),
      "default": collections.defaultdict(list, {"numbers": [1, 2, 3]}),
      "set": {1, 2},
      "frozen": frozenset([1]),
      "bytes": b"\xff",
      "bytearray": bytearray(b"\xff"),
      "complex": 1 + 2j,
      "large": 2**63 - 1,
      "negative": -(2**40),
      "csr": sparse.tocsr(),
      "csc": scipy.sparse.csc_array(sparse),
      "coo": sparse.tocoo(),
    }
    weights = self.load(pickle.dumps(tree, protocol))
    for key in ("c_order", "again", "f_order", "matrix", "empty", "bool", "half"):
      np.testing.assert_array_equal(weights[key], tree[key])
      self.assertEqual(weights[key].dtype, tree[key].dtype)
    self.assertTrue(weights["big_endian"].dtype.isnative)
    np.testing.assert_array_equal(weights["big_endian"], [0, 1, 2])
    np.testing.assert_array_equal(weights["scalar"], np.float32(2.5))
    np.testing.assert_array_equal(weights["text_array"], ["a", "bc"])
    np.testing.assert_array_equal(weights["objects.1.x"], 1)
    np.testing.assert_array_equal(weights["objects.2"], shared[0])
    np.testing.assert_array_equal(weights["default.numbers"], [1, 2, 3])
    self.assertEqual(weights["ordered.b"], 2.5)
    self.assertEqual(weights["complex"], 1 + 2j)
    self.assertEqual(weights["large"], 2**63 - 1)
    self.assertEqual(weights["negative"], -(2**40))
    for form in ("csr", "csc", "coo"):
      dense = np.zeros(weights[f"{form}.shape"])
      dense[weights[f"{form}.row"], weights[f"{form}.col"]] = weights[f"{form}.data"]
      np.testing.assert_array_equal(dense, sparse.toarray())
    dropped = ("set", "frozen", "bytes", "bytearray", "objects.0")
    self.assertEmpty(weights.keys() & dropped)

  def test_python_2_text_carries_bytes(self):
    """Opcodes that Python 2 wrote arrays with, in protocols 0 and 2."""
    floats = np.array([1.5, -2.25], "<f4").tobytes()
    quoted = b"S'" + "".join(f"\\x{byte:02x}" for byte in floats).encode() + b"'\n"
    short = b"U" + bytes([len(floats)]) + floats
    long = b"T" + struct.pack("<i", len(floats)) + floats
    for pushed in (quoted, short, long):
      code = asm.numpy_array("f4", (2,), pushed)
      code = code.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
      np.testing.assert_array_equal(self.load(asm.program(code))[""], [1.5, -2.25])

  def test_python_2_numbers_and_instances(self):
    pairs = b"(lp1\nI01\naI-7\naL12345678901L\naF2.5\na"
    instance = b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR"
    instance += asm.value({"x": asm.numpy_array("f8", (1,), asm.raw(bytes(8)))}) + b"b"
    weights = self.load(b"(dS'n'\n" + pairs + b"sVc\n" + instance + b"s.")
    np.testing.assert_array_equal(weights["n"], [True, -7, 12345678901, 2.5])
    np.testing.assert_array_equal(weights["c.x"], [0.0])

  def test_records_are_read_as_their_attributes(self):
    state = {"variables": [("w/kernel", 1.0), ("w/bias", 2.0)], "source": "import os"}
    network = asm.name("dnnlib.tflib.network.Network") + b")\x81"
    code = network + asm.value(state) + asm.BUILD
    weights = self.load(asm.program(b"(" + code + asm.value(3) + b"t"))
    self.assertEqual(
      weights, {"0.variables.w/kernel": 1.0, "0.variables.w/bias": 2.0, "1": 3}
    )

  def test_two_pickles_in_a_file_are_refused(self):
    self.assert_refused("ends at byte 4 of 8", pickle.dumps(1, 0) * 2)

  def test_damaged_files(self):
    tree = {"a": np.arange(4), "b": [1, {"c": np.float32(2)}], "d": b"text"}
    for protocol in (0, 2, 5):
      self.assert_survives_damage(pickle.dumps(tree, protocol))


HARMFUL = (
  "os.system",
  "posix.system",
  "nt.system",
  "subprocess.Popen",
  "builtins.eval",
  "builtins.exec",
  "builtins.getattr",
  "builtins.__import__",
  "importlib.import_module",
  "operator.attrgetter",
  "torch.load",
  "torch.storage._load_from_bytes",
  "torch.hub.load",
  "numpy.load",
  "numpy.fromfile",
  "numpy.core.multiarray.fromfile",
  "numpy.testing.rundocs",
  "copyreg.add_extension",
  "codecs.decode",
  "collections.Counter",
  "jaxvision.published.load",
  "harmless.Unknown",
)


class RefusalTest(FileTestCase):
  @parameterized.parameters(*HARMFUL)
  def test_global_outside_the_list_is_refused_by_name(self, full):
    refused = rf"names the global {full}, which is not on the allow-list"
    module, _, attribute = full.rpartition(".")
    mark = self.directory() / "executed"
    argument = asm.value(f"touch {mark}")
    stacked = asm.value(module) + asm.value(attribute) + b"\x93"
    for code in (
      asm.name(full),  # named only
      asm.name(full) + b"0" + asm.value(1),  # named and thrown away
      asm.call(full, argument),
      stacked + asm.value((argument,)) + b"R",
      b"(" + argument + f"i{module}\n{attribute}\n".encode(),
      b"(" + asm.name(full) + argument + b"o",
      asm.name(full) + asm.value((argument,)) + b"\x81",
      asm.name(full) + asm.value(()) + asm.value({"x": argument}) + b"\x92",
      asm.value({"weights": [asm.call(full, argument)]}),
    ):
      self.assert_refused(refused, asm.program(code))
      self.assert_refused(refused, asm.torch_zip(code, {}), "model.pth")
      self.assert_refused(refused, asm.torch_stream(code, {}), "model.pth")
    self.assertFalse(mark.exists())

  def test_python_2_names_are_refused_too(self):
    self.assert_refused(
      r"the global builtins\.eval,", asm.program(asm.call("__builtin__.eval", "1"))
    )

  def test_what_python_itself_would_execute_is_not(self):
    mark = self.directory() / "executed"

    class Evil:
      def __reduce__(self):
        return exec, (f"open({str(mark)!r}, 'w').close()",)

    self.assert_refused("builtins.exec", pickle.dumps({"weights": Evil()}))
    self.assertFalse(mark.exists())

  @parameterized.parameters(b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00")
  def test_extension_registry_is_not_read(self, code):
    self.assert_refused("opcode .* which is not read", asm.program(code))

  @parameterized.parameters(b"\x97", b"\x98")
  def test_buffers_outside_the_file_are_not_read(self, code):
    self.assert_refused("opcode .* which is not read", asm.program(code))

  @parameterized.parameters(
    "collections.OrderedDict",
    "numpy.core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
    "chumpy.ch.Ch",
  )
  def test_attributes_of_listed_globals_cannot_be_set(self, full):
    for state in ({"__defaults__": ("harm",)}, (None, {"__code__": 1}), {"build": 1}):
      self.assert_refused(
        "sets attributes of a Global",
        asm.program(asm.name(full) + asm.value(state) + asm.BUILD),
      )
    self.assertEqual(pickles.to_bytes.__defaults__, (b"",))

  @parameterized.parameters(1, "text", (1,), None)
  def test_attributes_of_values_cannot_be_set(self, item):
    code = asm.value(item) + asm.value({"x": 1}) + asm.BUILD
    self.assert_refused("sets attributes of a", asm.program(code))

  def test_attributes_of_a_dict_are_no_data(self):
    code = asm.ordered_dict({"a": 1}, {"__class__": "harm", "items": 2})
    self.assertEqual(self.load(asm.program(code)), {"a": 1})

  def test_only_listed_globals_are_called(self):
    for item in (1, "text", {"a": 1}, [asm.name("numpy.dtype")]):
      code = asm.value(item) + asm.value(()) + asm.REDUCE
      self.assert_refused("calls a", asm.program(code))
    code = asm.name("collections.OrderedDict") + asm.value({"a": 1}) + asm.REDUCE
    self.assert_refused("calls a Global", asm.program(code))

  def test_types_hold_no_data(self):
    for full in ("numpy.ndarray", "builtins.object", "builtins.list"):
      self.assert_refused("calls a type", asm.program(asm.call(full, 10**9)))

  def test_containers_are_filled_only_as_what_they_are(self):
    array = asm.numpy_array("f4", (1,), asm.raw(bytes(4)))
    for code, pattern in (
      (array + asm.value(1) + b"a", "appends to a"),
      (array + asm.value("x") + asm.value(1) + b"s", "sets items of a"),
      (asm.value([]) + b"(" + asm.value(1) + b"\x90", "adds to a list"),
      (asm.value({}) + b"(" + asm.value("key") + b"u", "key without a value"),
    ):
      self.assert_refused(pattern, asm.program(code))

  def test_persistent_identifiers_are_refused_outside_pytorch(self):
    for code in (asm.value("storage") + b"Q", b"Pstorage\n"):
      self.assert_refused("persistent identifier", asm.program(code))

  @parameterized.parameters(
    (b"\x8e" + struct.pack("<Q", 2**60), "truncated"),  # BINBYTES8
    (b"\x8d" + struct.pack("<Q", 2**62), "truncated"),  # BINUNICODE8
    (b"\x96" + struct.pack("<Q", 2**40), "truncated"),  # BYTEARRAY8
    (b"T" + struct.pack("<i", -1), "truncated"),  # BINSTRING
    (b"\x8b" + struct.pack("<i", -5), "truncated"),  # LONG4
    (b"S'no end", "truncated"),
    (b"Snone\n", "string without quotes"),
    (b"j\xff\xff\xff\xff", "damaged"),  # a memo that was never filled
    (b"0", "damaged"),
    (b"t", "damaged"),
    (b"", "damaged"),
  )
  def test_damaged_programs(self, code, pattern):
    self.assert_refused(pattern, asm.program(code))

  def test_memory_is_not_taken_on_a_claim(self):
    code = asm.value(1) + b"r\xff\xff\xff\xff"  # memo index 2**32 - 1
    self.assertEqual(self.load(asm.program(code)), {"": 1})

  def test_endless_trees(self):
    loop = b"]q\x00h\x00a"  # a list that holds itself
    self.assert_refused("nested too deeply", asm.program(loop))
    doubled = b"]q\x00" + b"".join(
      b"](h%ch%ceq%c" % (level, level, level + 1) for level in range(60)
    )
    with mock.patch.object(arrays, "_MOST_ENTRIES", 10_000):
      self.assert_refused("nested too deeply", asm.program(doubled))
    deep = b"]" * 5000 + b"a" * 4999
    self.assert_refused("nested too deeply", asm.program(deep))


class NumpyMisuseTest(FileTestCase):
  @parameterized.parameters(
    ("f4", (10**12,), asm.raw(bytes(8)), "8 bytes instead of 4000000000000"),
    ("f4", (2,), asm.raw(bytes(9)), "9 bytes instead of 8"),
    ("f4", (-2,), asm.raw(bytes(8)), "shape"),
    ("f4", ("a",), asm.raw(bytes(8)), "shape"),
    ("f4", (2,), asm.value(10**12), "bytes that are a int"),
    ("f4", (2,), asm.value([1.0, 2.0]), "bytes that are a list"),
    ("f4,f4", (2,), asm.raw(bytes(16)), "dtype f4,f4"),
    ("V8", (2,), asm.raw(bytes(16)), "dtype V8"),
    ("M8[ns]", (2,), asm.raw(bytes(16)), "dtype M8"),
    ("O8", (10**9,), asm.value([1]), "reshape"),
    ("O8", (1,), asm.value(5), "damaged"),
  )
  def test_array(self, kind, shape, data, pattern):
    self.assert_refused(pattern, asm.program(asm.numpy_array(kind, shape, data)))

  def test_parts(self):
    reconstruct = "numpy.core.multiarray._reconstruct"
    for code, pattern in (
      (asm.call(reconstruct, name := asm.name("numpy.ndarray"), (0,)), "without cont"),
      (asm.call("numpy.core.multiarray.scalar", name, asm.raw(b"")), "without a dtype"),
      (
        asm.call("numpy.core.multiarray.scalar", asm.numpy_dtype("f8"), asm.raw(b"1")),
        "1 bytes instead of 8",
      ),
      (asm.call("_codecs.encode", 10**12), "bytes that are a int"),
      (asm.call("builtins.bytearray", 10**12), "bytes that are a int"),
      (asm.call("copy_reg._reconstructor", "os.system"), "object of a str"),
    ):
      self.assert_refused(pattern, asm.program(code))

  def test_sparse_matrix_with_impossible_pointers(self):
    def vector(kind, values):
      data = np.array(values, kind).tobytes()
      return asm.numpy_array(kind, (len(values),), asm.raw(data))

    for pointers in ([0, 10**12], [0, -1, 2], [0]):
      state = {
        "_shape": (2, 2),
        "data": vector("f8", [1.0, 2.0]),
        "indices": vector("i4", [0, 1]),
        "indptr": vector("i8", pointers),
      }
      code = asm.call("scipy.sparse.csr.csr_matrix") + asm.value(state) + asm.BUILD
      self.assert_refused("add up|negative", asm.program(code))


if __name__ == "__main__":
  absltest.main()
