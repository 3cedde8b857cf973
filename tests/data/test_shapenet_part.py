"""ShapeNet-Part's reader, on small files in the authors' layout."""

import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from jaxvision.data import builder, shapenet_part
from jaxvision.errors import UserError

RNG = np.random.default_rng(0)
SYNSETS = {"Airplane": "02691156", "Mug": "03797390"}


def draw(parts, count=6):
  points, normals = RNG.normal(size=(2, count, 3)).astype(np.float32)
  return points, normals, RNG.choice(parts, count)


class ShapenetPartTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data_dir, self.manual = root / "data", root / "manual"
    self.folder = self.manual / shapenet_part.FOLDER

  def write(self):
    """Writes three planes and two mugs as the authors do."""
    lists = self.folder / "train_test_split"
    lists.mkdir(parents=True)
    text = "".join(f"{name}\t{synset}\n" for name, synset in SYNSETS.items())
    (self.folder / "synsetoffset2category.txt").write_text(text)
    split = {
      "train": [("Mug", "b"), ("Airplane", "a")],
      "val": [("Airplane", "c")],
      "test": [("Airplane", "e"), ("Mug", "d")],
    }
    drawn = {}
    for name, shapes in split.items():
      names = []
      for category, shape in shapes:
        (self.folder / SYNSETS[category]).mkdir(exist_ok=True)
        drawn[shape] = draw(shapenet_part.PARTS[category])
        rows = np.concatenate([*drawn[shape][:2], drawn[shape][2][:, None]], axis=1)
        np.savetxt(self.folder / SYNSETS[category] / f"{shape}.txt", rows, "%.6f")
        names.append(f"shape_data/{SYNSETS[category]}/{shape}")
      (lists / f"shuffled_{name}_file_list.json").write_text(json.dumps(names))
    return drawn

  def test_files_of_the_authors_layout(self):
    drawn = self.write()
    train, test = (
      builder.load(
        shapenet_part.ShapenetPart,
        split,
        data_dir=self.data_dir,
        manual_dir=self.manual,
      )
      for split in ("train+val", "test")
    )
    self.assertEqual((len(train), len(test)), (3, 2))
    for example, shape, category in ((train[0], "b", 11), (test[0], "e", 0)):
      points, normals, parts = drawn[shape]
      np.testing.assert_allclose(example["points"], points, atol=1e-6)
      np.testing.assert_allclose(example["normals"], normals, atol=1e-6)
      np.testing.assert_array_equal(example["parts"], parts)
      self.assertEqual(example["category"], category)

  def test_parts_are_counted_through_the_categories(self):
    counted = [part for parts in shapenet_part.PARTS.values() for part in parts]
    self.assertEqual(counted, list(range(50)))
    self.assertLen(shapenet_part.CATEGORIES, 16)

  def test_what_is_written_is_read(self):
    self.manual.mkdir()
    path, drawn = self.manual / "one.txt", draw((36, 37))
    shapenet_part.write(path, *drawn)
    for found, expected in zip(shapenet_part.read(path, 11), drawn, strict=True):
      np.testing.assert_allclose(found, expected, atol=1e-6)

  @parameterized.parameters(
    ("", "empty"),
    ("1 2 3 0 0 1\n", "have 6 numbers"),
    ("1 2 3 0 0 1 36\n1 2\n", "one.txt: damaged"),
    ("1 2 nan 0 0 1 36\n", "not finite"),
    ("1 2 3 0 0 1 0\n", r"part 0 is none of 36\.\.37"),
  )
  def test_wrong_files_name_themselves(self, text, message):
    self.manual.mkdir()
    path = self.manual / "one.txt"
    path.write_text(text)
    with self.assertRaisesRegex(UserError, message):
      shapenet_part.read(path, 11)

  def test_wrong_lists_name_themselves(self):
    with self.assertRaisesRegex(UserError, r"missing .*synsetoffset2category"):
      builder.load(
        shapenet_part.ShapenetPart,
        "test",
        data_dir=self.data_dir,
        manual_dir=self.manual,
      )
    self.write()
    listing = self.folder / "train_test_split" / "shuffled_val_file_list.json"
    listing.write_text('["shape_data/00000000/x"]')
    with self.assertRaisesRegex(UserError, "of no known synset"):
      shapenet_part.listed_shapes(self.folder, "val")
    listing.write_text("[")
    with self.assertRaisesRegex(UserError, "shuffled_val_file_list.json: damaged"):
      shapenet_part.listed_shapes(self.folder, "val")
    (self.folder / "synsetoffset2category.txt").write_text("Dog 123\n")
    with self.assertRaisesRegex(UserError, "'Dog 123'"):
      shapenet_part.read_synsets(self.folder)


if __name__ == "__main__":
  absltest.main()
