"""CIFAR's readers, on small files in both layouts that the authors distribute."""

import pathlib
import pickle
import struct
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import builder, cifar
from jaxvision.errors import UserError

RNG = np.random.default_rng(0)


def draw(count, classes):
  """Returns planes [N, 3072] and labels of a file."""
  planes = RNG.integers(256, size=(count, 3072)).astype(np.uint8)
  return planes, RNG.integers(classes, size=count)


def write_pickle(path, planes, labels):
  """Writes the opcodes that Python 2 left in the authors' files (protocol 2, str)."""

  def text(value):
    return b"U" + bytes([len(value)]) + value

  def array(values):
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\0K\1\x87R"
    dtype += b"(K\3" + text(b"|") + b"NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\0tb"
    content = values.tobytes()
    rows, columns = (b"J" + struct.pack("<i", length) for length in values.shape)
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85"
    made += text(b"b") + b"\x87R(K\1" + rows + columns + b"\x86" + dtype + b"\x89"
    return made + b"T" + struct.pack("<i", len(content)) + content + b"tb"

  def numbers(values):
    return b"](" + b"".join(b"K" + bytes([int(value)]) for value in values) + b"e"

  items = text(b"batch_label") + text(b"training batch 1 of 5")
  for name, values in labels.items():
    items += text(name.encode()) + numbers(values)
  items += text(b"data") + array(planes)
  items += text(b"filenames") + b"](" + text(b"leptodactylus.png") + b"e"
  path.write_bytes(b"\x80\2}(" + items + b"u.")


def write_binary(path, planes, labels):
  columns = np.stack([np.asarray(values, np.uint8) for values in labels.values()], 1)
  path.write_bytes(np.concatenate([columns, planes], axis=1).tobytes())


WRITERS = {"py": write_pickle, "bin": write_binary}


class CifarTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data_dir, self.manual = root / "data", root / "manual"

  @parameterized.parameters("py", "bin")
  def test_ten_classes(self, kind):
    folder = self.manual / f"cifar-10-batches-{kind}"
    folder.mkdir(parents=True)
    ending = ".bin" if kind == "bin" else ""
    (folder / "batches.meta").write_bytes(b"names")
    drawn = {}
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
      drawn[name] = draw(2, 10)
      planes, labels = drawn[name]
      WRITERS[kind](folder / f"{name}{ending}", planes, {"labels": labels})
    train, test = (
      builder.load(cifar.Cifar10, split, data_dir=self.data_dir, manual_dir=self.manual)
      for split in ("train", "test")
    )
    self.assertEqual((len(train), len(test)), (10, 2))
    planes, labels = drawn["data_batch_3"]
    example = train[5]
    self.assertEqual(example["image"].shape, (32, 32, 3))
    # Red comes first, row by row.
    self.assertEqual(example["image"][1, 2, 0], planes[1, 34])
    self.assertEqual(example["image"][31, 31, 2], planes[1, 3071])
    self.assertEqual(example["label"], labels[1])
    self.assertEqual(test[0]["label"], drawn["test_batch"][1][0])

  @parameterized.parameters("py", "bin")
  def test_hundred_classes_are_the_fine_ones(self, kind):
    path = self.manual / ("train.bin" if kind == "bin" else "train")
    path.parent.mkdir()
    planes, fine = draw(3, 100)
    fine[0] = 99
    labels = {"coarse_labels": fine // 5, "fine_labels": fine}
    WRITERS[kind](path, planes, labels)
    images, found = cifar.read(path, cifar.Cifar100.LABELS, 100)
    np.testing.assert_array_equal(found, fine)
    np.testing.assert_array_equal(images[2, 0, :, 1], planes[2, 1024:1056])

  def test_missing_files_are_listed_with_where_to_get_them(self):
    self.manual.mkdir()
    with self.assertRaisesRegex(UserError, r"missing .*data_batch_1\*.*kriz/cifar"):
      builder.load(
        cifar.Cifar10, "train", data_dir=self.data_dir, manual_dir=self.manual
      )

  def test_damaged_files_name_themselves(self):
    self.manual.mkdir()
    short = self.manual / "data_batch_1.bin"
    short.write_bytes(bytes(3000))
    with self.assertRaisesRegex(UserError, f"{short}: 3000 bytes are not whole"):
      cifar.read(short, ("labels",), 10)
    short.write_bytes(b"")
    with self.assertRaisesRegex(UserError, "0 bytes"):
      cifar.read(short, ("labels",), 10)
    short.write_bytes(bytes([10]) + bytes(3072))
    with self.assertRaisesRegex(UserError, f"{short}: labels reach 10, but 10 are"):
      cifar.read(short, ("labels",), 10)
    path = self.manual / "data_batch_1"
    planes, labels = draw(4, 10)
    write_pickle(path, planes, {"labels": labels[:3]})
    with self.assertRaisesRegex(UserError, f"{path}: data are uint8"):
      cifar.read(path, ("labels",), 10)
    write_pickle(path, planes, {"others": labels})
    with self.assertRaisesRegex(UserError, f"{path}: lacks labels"):
      cifar.read(path, ("labels",), 10)
    path.write_bytes(path.read_bytes()[:500])
    with self.assertRaisesRegex(UserError, str(path)):
      cifar.read(path, ("labels",), 10)
    with self.assertRaisesRegex(UserError, "nowhere"):
      cifar.read(self.manual / "nowhere", ("labels",), 10)

  def test_pickles_that_would_run_something_are_refused(self):
    class Attack:
      def __reduce__(self):
        return print, ("executed",)

    path = self.manual / "data_batch_1"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps({"data": Attack()}))
    with self.assertRaisesRegex(UserError, f"{path}: .*print"):
      cifar.read(path, ("labels",), 10)


if __name__ == "__main__":
  absltest.main()
