"""ModelNet40's reader, on small files in the authors' layout."""

import pathlib
import tempfile

import h5py
import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import builder, hdf5, modelnet
from jaxvision.errors import UserError

RNG = np.random.default_rng(0)


def draw(count, points=7):
  clouds = RNG.normal(size=(count, points, 3)).astype(np.float32)
  return clouds, RNG.integers(40, size=count)


class ModelnetTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data_dir, self.manual = root / "data", root / "manual"
    self.folder = self.manual / modelnet.FOLDER

  def test_files_of_the_authors_layout(self):
    self.folder.mkdir(parents=True)
    drawn = {}
    for split, sizes in {"train": (3, 2), "test": (2,)}.items():
      lines = ""
      for number, size in enumerate(sizes):
        name = f"ply_data_{split}{number}.h5"
        clouds, labels = drawn[name] = draw(size)
        with h5py.File(self.folder / name, "w") as file:
          file["data"] = clouds
          file["label"] = labels[:, None].astype(np.uint8)
          file["faceId"] = np.zeros((size, 7), np.int32)  # theirs have more
        lines += f"data/{modelnet.FOLDER}/{name}\n"
      (self.folder / f"{split}_files.txt").write_text(lines)
    train, test = (
      builder.load(
        modelnet.Modelnet40, split, data_dir=self.data_dir, manual_dir=self.manual
      )
      for split in ("train", "test")
    )
    self.assertEqual((len(train), len(test)), (5, 2))
    clouds, labels = drawn["ply_data_train1.h5"]
    np.testing.assert_array_equal(train[4]["points"], clouds[1])
    self.assertEqual(train[4]["points"].dtype, np.float32)
    self.assertEqual(train[4]["label"], labels[1])

  def test_what_is_written_is_read(self):
    parts = {"train": [draw(2), draw(1)], "test": [draw(3)]}
    modelnet.write(self.folder, parts)
    paths = modelnet.listed_files(self.folder, "train")
    self.assertEqual([path.name[-4:] for path in paths], ["0.h5", "1.h5"])
    for path, (clouds, labels) in zip(paths, parts["train"], strict=True):
      found, classes = modelnet.read(path)
      np.testing.assert_array_equal(found, clouds)
      np.testing.assert_array_equal(classes, labels)

  def test_classes_have_the_authors_order(self):
    self.assertLen(modelnet.NAMES, 40)
    self.assertEqual(
      (modelnet.NAMES[0], modelnet.NAMES[8], modelnet.NAMES[39]),
      ("airplane", "chair", "xbox"),
    )

  def test_missing_files_are_listed(self):
    self.manual.mkdir()
    with self.assertRaisesRegex(UserError, r"missing .*train_files\.txt.*PointNet"):
      builder.load(
        modelnet.Modelnet40, "train", data_dir=self.data_dir, manual_dir=self.manual
      )
    modelnet.write(self.folder, {"train": [draw(1)]})
    (self.folder / "ply_data_train0.h5").unlink()
    with self.assertRaisesRegex(UserError, r"not in .*ply_data_train0\.h5"):
      modelnet.listed_files(self.folder, "train")
    (self.folder / "train_files.txt").write_text("\n")
    with self.assertRaisesRegex(UserError, "lists no files"):
      modelnet.listed_files(self.folder, "train")

  @parameterized.named_parameters(
    ("labels", {"data": np.zeros((1, 5, 3)), "label": np.array([40])}, "reach 40"),
    ("shape", {"data": np.zeros((1, 5)), "label": np.array([0])}, r"data \[1, 5\]"),
    (
      "nan",
      {"data": np.full((1, 5, 3), np.nan), "label": np.array([0])},
      "not finite",
    ),
    ("array", {"data": np.zeros((1, 5, 3))}, "lacks label"),
  )
  def test_wrong_files_name_themselves(self, arrays, message):
    self.manual.mkdir()
    path = self.manual / "wrong.h5"
    hdf5.write_hdf5(path, arrays)
    with self.assertRaisesRegex(UserError, rf"wrong\.h5: .*{message}"):
      modelnet.read(path)

  def test_damaged_files_name_themselves(self):
    self.manual.mkdir()
    path = self.manual / "damaged.h5"
    hdf5.write_hdf5(path, {"data": RNG.normal(size=(4, 99, 3)), "label": np.zeros(4)})
    path.write_bytes(path.read_bytes()[:1000])
    with self.assertRaisesRegex(UserError, r"damaged\.h5: damaged or not a HDF5"):
      modelnet.read(path)
    with self.assertRaisesRegex(UserError, r"nowhere\.h5: no such file"):
      modelnet.read(self.manual / "nowhere.h5")


if __name__ == "__main__":
  absltest.main()
