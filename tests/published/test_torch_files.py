"""Tests of PyTorch's checkpoints, written here byte for byte."""

import struct

import ml_dtypes
import numpy as np
from absl.testing import absltest, parameterized

from tests.published import assembler as asm
from tests.published.files import FileTestCase

DTYPES = (
  ("FloatStorage", np.float32),
  ("DoubleStorage", np.float64),
  ("HalfStorage", np.float16),
  ("LongStorage", np.int64),
  ("IntStorage", np.int32),
  ("ShortStorage", np.int16),
  ("CharStorage", np.int8),
  ("ByteStorage", np.uint8),
  ("BoolStorage", np.bool_),
  ("ComplexFloatStorage", np.complex64),
)


def floats(*values) -> bytes:
  return np.array(values, "<f4").tobytes()


class TorchZipTest(FileTestCase):
  def load_tree(self, tree: bytes, storages: dict, byteorder="little"):
    return self.load(asm.torch_zip(tree, storages, byteorder), "model.pth")

  def assert_tree_refused(self, pattern: str, tree: bytes, storages: dict):
    self.assert_refused(pattern, asm.torch_zip(tree, storages), "model.pth")

  def test_state_dict(self):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    state = asm.ordered_dict(
      {
        "conv.weight": asm.tensor(
          asm.storage("FloatStorage", "0", 6), 0, (2, 3), (3, 1)
        ),
        "bn.num_batches_tracked": asm.tensor(
          asm.storage("LongStorage", "1", 1), 0, (), ()
        ),
      }
    )
    tree = asm.value({"epoch": 3, "arch": "resnet", "state_dict": state})
    weights = self.load_tree(tree, {"0": weight.tobytes(), "1": struct.pack("<q", 7)})
    self.assertEqual(
      list(weights),
      ["epoch", "state_dict.conv.weight", "state_dict.bn.num_batches_tracked"],
    )
    np.testing.assert_array_equal(weights["state_dict.conv.weight"], weight)
    self.assertEqual(weights["state_dict.bn.num_batches_tracked"].shape, ())
    self.assertEqual(weights["state_dict.bn.num_batches_tracked"], 7)

  @parameterized.parameters(*DTYPES)
  def test_every_type_in_both_byte_orders(self, kind, dtype):
    values = np.array([0, 1, 100], dtype)
    tree = asm.tensor(asm.storage(kind, "0", 3), 0, (3,), (1,))
    for byteorder, order in (("little", "<"), ("big", ">")):
      stored = values.astype(np.dtype(dtype).newbyteorder(order)).tobytes()
      weights = self.load_tree(tree, {"0": stored}, byteorder)
      np.testing.assert_array_equal(weights[""], values)
      self.assertEqual(weights[""].dtype, dtype)

  def test_bfloat16_becomes_float32(self):
    values = np.array([1.5, -2.0, 3e38, np.inf], ml_dtypes.bfloat16)
    tree = asm.tensor(asm.storage("BFloat16Storage", "0", 4), 0, (4,), (1,))
    weights = self.load_tree(tree, {"0": values.tobytes()})
    self.assertEqual(weights[""].dtype, np.float32)
    np.testing.assert_array_equal(weights[""], values.astype(np.float32))

  @parameterized.parameters(
    (0, (2, 3, 4), (12, 4, 1)),
    (0, (4, 3, 2), (1, 4, 12)),  # transposed
    (13, (2, 2), (4, 2)),  # part of a larger tensor
    (5, (), ()),
    (23, (1, 1), (1, 100)),
    (3, (3, 5), (0, 1)),  # expanded
    (24, (0, 3), (3, 1)),  # without elements, behind the end
  )
  def test_views_share_a_storage(self, offset, size, stride):
    data = np.arange(24, dtype=np.float32)
    stored = asm.storage("FloatStorage", "0", 24)
    tree = asm.value(
      {
        "view": asm.tensor(stored, offset, size, stride),
        "whole": asm.tensor(stored, 0, (24,), (1,)),
      }
    )
    weights = self.load_tree(tree, {"0": data.tobytes()})
    expected = [data[offset + int(np.dot(index, stride))] for index in np.ndindex(size)]
    np.testing.assert_array_equal(weights["view"], np.reshape(expected, size))
    self.assertEqual(weights["view"].shape, size)
    np.testing.assert_array_equal(weights["whole"], data)

  def test_parameters_types_and_other_leaves(self):
    stored = asm.storage("FloatStorage", "0", 2)
    plain = asm.tensor(stored, 0, (2,), (1,))
    rebuild = asm.name("torch._utils._rebuild_tensor_v2")
    typed = asm.call(
      "torch._utils._rebuild_tensor_v3",
      *(asm.storage("storage.UntypedStorage", "1", 4), 0, (2,), (1,), False),
      *(asm.ordered_dict({}), asm.name("torch.uint16")),
    )
    tree = asm.value(
      {
        "old": asm.call("torch._utils._rebuild_tensor", stored, 0, (2,), (1,)),
        "parameter": asm.parameter(plain),
        "with_state": asm.call(
          "torch._utils._rebuild_parameter_with_state",
          *(plain, True, asm.ordered_dict({}), {"extra": 1}),
        ),
        "subclass": asm.call(
          "torch._tensor._rebuild_from_type_v2",
          *(rebuild, asm.name("torch.nn.parameter.Parameter")),
          *((stored, 0, (2,), (1,), False, asm.ordered_dict({})), {}),
        ),
        "typed": typed,
        "size": asm.call("torch.Size", (3, 4)),
        "dtype": asm.name("torch.float32"),
        "device": asm.call("torch.device", "cuda", 0),
        "numpy": asm.numpy_array("f4", (2,), asm.raw(floats(1, 2)), ">"),
      }
    )
    weights = self.load_tree(
      tree, {"0": floats(5, 6), "1": np.array([1, 65535], "<u2").tobytes()}
    )
    for key in ("old", "parameter", "with_state", "subclass"):
      np.testing.assert_array_equal(weights[key], np.float32([5, 6]))
    np.testing.assert_array_equal(weights["typed"], np.uint16([1, 65535]))
    np.testing.assert_array_equal(weights["size"], [3, 4])
    self.assertEmpty(weights.keys() & {"dtype", "device"})
    self.assertTrue(weights["numpy"].dtype.isnative)

  @parameterized.parameters(
    (0, (7,), (1,), "ends at element 6 of a storage of 6"),
    (4, (3,), (1,), "ends at element 6"),
    (0, (2, 2), (5, 1), "ends at element 6"),
    (0, (2,), (10**12,), "ends at element"),
    (-1, (2,), (1,), "size"),
    (0, (-2,), (1,), "size"),
    (4, (2,), (-1,), "size"),
    (0, (2, 2), (1,), "size"),
    (0, (2.5,), (1,), "size"),
  )
  def test_views_outside_their_storage_are_refused(self, offset, size, stride, pattern):
    tree = asm.tensor(asm.storage("FloatStorage", "0", 6), offset, size, stride)
    self.assert_tree_refused(pattern, tree, {"0": floats(*range(6))})

  @parameterized.parameters("../0", "../../../../etc/passwd", "/etc/passwd", "1", "")
  def test_storages_are_looked_for_inside_the_file(self, key):
    tree = asm.tensor(asm.storage("FloatStorage", key, 1), 0, (1,), (1,))
    self.assert_tree_refused("lacks the storage model/data/", tree, {"0": floats(1)})

  @parameterized.parameters(
    ("module", "not a storage"),
    (1,),
    ("storage",),
    ("storage", "FloatStorage", "0", "cpu", 1),
    ("storage", asm.name("numpy.ndarray"), "0", "cpu", 1),
    ("storage", asm.name("torch.FloatStorage"), "0", "cpu"),
  )
  def test_persistent_identifiers_of_other_kinds_are_refused(self, *identifier):
    for code in (asm.value(identifier), asm.value(list(identifier)), asm.value("0")):
      self.assert_tree_refused("storage|identifier", code + b"Q", {"0": floats(1)})

  def test_storages_of_wrong_size_or_two_types_are_refused(self):
    one = asm.tensor(asm.storage("FloatStorage", "0", 3), 0, (1,), (1,))
    self.assert_tree_refused("holds 8 bytes of", one, {"0": floats(1, 2)})
    claimed = asm.tensor(asm.storage("FloatStorage", "0", 10**15), 0, (1,), (1,))
    self.assert_tree_refused("holds 8 bytes of", claimed, {"0": floats(1, 2)})
    other = asm.tensor(asm.storage("IntStorage", "0", 2), 0, (1,), (1,))
    right = asm.tensor(asm.storage("FloatStorage", "0", 2), 0, (1,), (1,))
    tree = asm.value([right, other])
    self.assert_tree_refused("by two types", tree, {"0": floats(1, 2)})

  @parameterized.parameters(
    ("torch._utils._rebuild_qtensor", "quantised tensors are not read"),
    ("torch._utils._rebuild_sparse_tensor", "sparse tensors are not read"),
    ("torch.nn.modules.linear.Linear", "a state_dict is needed"),
  )
  def test_unread_kinds_say_why(self, full, pattern):
    self.assert_tree_refused(f"{full}, which is .*{pattern}", asm.name(full), {})

  def test_conjugated_tensors_are_refused(self):
    stored = asm.storage("ComplexFloatStorage", "0", 1)
    view = (stored, 0, (1,), (1,), False, asm.ordered_dict({}), {"conj": True})
    tree = asm.call("torch._utils._rebuild_tensor_v2", *view)
    self.assert_tree_refused("conjugated", tree, {"0": bytes(8)})

  def test_damaged_files(self):
    tensor = asm.tensor(asm.storage("FloatStorage", "0", 6), 0, (2, 3), (3, 1))
    tree = asm.value({"a": tensor, "b": asm.parameter(tensor)})
    data = asm.torch_zip(tree, {"0": floats(*range(6))})
    self.assert_survives_damage(data, "model.pth")


class TorchStreamTest(FileTestCase):
  @parameterized.parameters(True, False)
  def test_storages_follow_the_tree(self, little_endian):
    order = "<" if little_endian else ">"
    state = asm.ordered_dict(
      {
        "weight": asm.tensor(
          asm.storage("FloatStorage", "94", 6, None), 0, (3, 2), (1, 3)
        ),
        "half": asm.tensor(asm.storage("HalfStorage", "7", 2, None), 1, (1,), (1,)),
      }
    )
    weight = np.arange(6, dtype=np.float32)
    half = np.array([1, 2], np.float16)
    storages = {
      "7": (2, half.astype(f"{order}f2").tobytes()),
      "94": (6, weight.astype(f"{order}f4").tobytes()),
    }
    data = asm.torch_stream(asm.value({"model": state}), storages, little_endian)
    weights = self.load(data, "model.pth.tar")
    np.testing.assert_array_equal(weights["model.weight"], weight.reshape(2, 3).T)
    np.testing.assert_array_equal(weights["model.half"], np.float16([2]))

  def test_views_of_storages(self):
    view = asm.storage("FloatStorage", "1", 6, ("2", 2, 3))
    tree = asm.value([asm.tensor(view, 1, (2,), (1,)), asm.tensor(view, 0, (1,), (1,))])
    data = asm.torch_stream(tree, {"1": (6, floats(*range(6)))})
    weights = self.load(data, "model.pth")
    np.testing.assert_array_equal(weights["0"], [3, 4])
    np.testing.assert_array_equal(weights["1"], [2])
    beyond = asm.storage("FloatStorage", "1", 6, ("2", 4, 3))
    self.assert_refused(
      "view 4\\+3 of 6",
      asm.torch_stream(asm.tensor(beyond, 0, (1,), (1,)), {"1": (6, bytes(24))}),
      "model.pth",
    )

  def test_truncated_missing_and_wrong_storages(self):
    tree = asm.tensor(asm.storage("FloatStorage", "1", 6, None), 0, (6,), (1,))
    whole = asm.torch_stream(tree, {"1": (6, bytes(24))})
    self.assert_refused("truncated: a storage of 6", whole[:-1], "model.pth")
    self.assert_refused("does not hold", asm.torch_stream(tree, {}), "model.pth")
    for length in (5, -6, 2**62):
      data = asm.torch_stream(tree, {"1": (length, bytes(24))})
      self.assert_refused("truncated: a storage of 6", data, "model.pth")

  def test_other_versions_are_refused(self):
    data = asm.torch_stream(asm.value(1), {}).replace(
      asm.value(1001), asm.value(1002), 1
    )
    self.assert_refused("stream of another version", data, "model.pth")

  def test_damaged_files(self):
    tree = asm.value(
      [asm.tensor(asm.storage("FloatStorage", "1", 6, None), 0, (6,), (1,))]
    )
    data = asm.torch_stream(tree, {"1": (6, bytes(24))})
    self.assert_survives_damage(data, "model.pth")


class TorchTarTest(FileTestCase):
  def test_tensors_are_named_by_number(self):
    storages = (
      asm.program(asm.value(2))
      + asm.program(asm.value((10, "cpu", asm.name("torch.FloatStorage"))))
      + struct.pack("<q", 6)
      + floats(*range(6))
      + asm.program(asm.value((11, "cpu", asm.name("torch.LongStorage"))))
      + struct.pack("<q", 1)
      + struct.pack("<q", 42)
      + asm.program(asm.value([(12, 10, 2, 4)]))
    )

    def record(key, storage, kind, size, stride, offset):
      described = asm.program(asm.value((key, storage, asm.name(f"torch.{kind}"))))
      numbers = (len(size), *size, *stride, offset)
      return described + struct.pack(f"<{len(numbers)}q", *numbers)

    tensors = (
      asm.program(asm.value(3))
      + record(20, 10, "FloatTensor", (3, 2), (1, 3), 0)
      + record(21, 11, "LongTensor", (1,), (1,), 0)
      + record(22, 12, "FloatTensor", (2,), (1,), 1)
    )
    tree = asm.ordered_dict({"a": b"P20\n", "b": asm.value(21) + b"Q", "c": b"P22\n"})
    data = asm.torch_tar(storages, tensors, tree)
    weights = self.load(data, "model.t7")
    expected = np.arange(6, dtype=np.float32).reshape(2, 3).T
    np.testing.assert_array_equal(weights["a"], expected)
    np.testing.assert_array_equal(weights["b"], [42])
    np.testing.assert_array_equal(weights["c"], [3, 4])
    self.assert_survives_damage(data, "model.pth")
    evil = asm.torch_tar(storages, tensors, asm.call("os.system", "true"))
    self.assert_refused("global os.system,", evil, "model.pth")
    evil = asm.torch_tar(asm.program(asm.call("os.system", "true")), tensors, tree)
    self.assert_refused("global os.system,", evil, "model.pth")


if __name__ == "__main__":
  absltest.main()
