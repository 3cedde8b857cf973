"""Tests of the base of data sets."""

import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import textwrap

import numpy as np
import tensorflow_datasets as tfds
from absl.testing import absltest

from jaxvision.data import builder, images, pipeline
from jaxvision.errors import UserError


class TinyScenes(builder.Builder):
  """Photographs with labels, numbers and frames."""

  FILES = ("photographs/*.jpg", "labels/*.png", "flow.npz")
  INSTRUCTIONS = "Unpack https://example.org/scenes.zip there."

  def _features(self):
    return {
      "photograph": builder.ImageFile(),
      "labels": builder.ImageFile(images.decode_labels),
      "flow": builder.Array(),
      "frames": tfds.features.Sequence(builder.ImageFile(images.decode_image)),
      "name": tfds.features.Text(),
      "weather": tfds.features.ClassLabel(names=["sun", "rain"]),
    }

  def _split_generators(self, dl_manager):
    return {"train": self._generate_examples(dl_manager.manual_dir)}

  def _generate_examples(self, directory):
    with np.load(directory / "flow.npz") as flows:
      for path in sorted((directory / "photographs").iterdir()):
        labels = directory / "labels" / f"{path.stem}.png"
        yield (
          path.stem,
          {
            "photograph": path,
            "labels": labels,
            "flow": flows[path.stem],
            "frames": [labels] * int(path.stem),
            "name": path.stem,
            "weather": "rain",
          },
        )


class Numbers(builder.Builder):
  """Made by a procedure, without files."""

  def _features(self):
    return {"number": tfds.features.Scalar(np.int64)}

  def _split_generators(self, dl_manager):
    del dl_manager
    return {"train": self._generate_examples(5), "test": self._generate_examples(2)}

  def _generate_examples(self, count):
    for number in range(count):
      yield number, {"number": number}


class Truncated(Numbers):
  """A file that the generator itself reads is damaged."""

  def _generate_examples(self, count):
    yield 0, {"number": count}
    raise UserError("a.flo: truncated")


class BuilderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.data_dir, self.manual_dir = root / "data", root / "manual"

  def write_files(self, count=3):
    (self.manual_dir / "photographs").mkdir(parents=True)
    (self.manual_dir / "labels").mkdir()
    rng = np.random.default_rng(0)
    self.flows = {str(i): rng.normal(size=(4, i, 2)) for i in range(count)}
    np.savez(self.manual_dir / "flow.npz", **self.flows)
    for i in range(count):
      photograph = rng.integers(0, 256, (8, 6 + i, 3)).astype(np.uint8)
      images.write_jpeg(self.manual_dir / f"photographs/{i}.jpg", photograph)
      labels = np.full((4, 5), 100 * i, np.uint8)
      images.write_labels(self.manual_dir / f"labels/{i}.png", labels)

  def load(self):
    return builder.load(
      TinyScenes, "train", data_dir=self.data_dir, manual_dir=self.manual_dir
    )

  def test_examples_are_what_the_files_hold_in_their_order(self):
    self.write_files()
    examples = self.load()
    self.assertLen(examples, 3)
    for i in range(3):
      example = examples[i]
      self.assertEqual((example["name"], example["weather"]), (str(i).encode(), 1))
      np.testing.assert_array_equal(
        example["photograph"],
        images.read_rgb(self.manual_dir / f"photographs/{i}.jpg"),
      )
      np.testing.assert_array_equal(example["labels"], np.full((4, 5), 100 * i))
      np.testing.assert_array_equal(example["flow"], self.flows[str(i)])
      self.assertEqual(example["flow"].dtype, np.float64)
      self.assertLen(example["frames"], i)

  def test_images_are_stored_as_the_bytes_of_their_files(self):
    self.write_files()
    path = self.manual_dir / "photographs/1.jpg"
    stored = builder.ImageFile().encode_example(path)
    self.assertEqual(stored, str(path).encode() + b"\0" + path.read_bytes())

  def test_is_built_once(self):
    self.write_files()
    self.load()
    (self.manual_dir / "flow.npz").unlink()
    self.assertLen(self.load(), 3)

  def test_feeds_the_pipeline_with_workers_too(self):
    examples = pickle.loads(
      pickle.dumps(builder.load(Numbers, "train", data_dir=self.data_dir))
    )
    batch = next(pipeline.batches(examples, batch_size=5, seed=0))
    self.assertCountEqual(batch["number"], range(5))

  def test_splits(self):
    found = builder.load(Numbers, "test", data_dir=self.data_dir)
    self.assertEqual([found[i]["number"] for i in range(len(found))], [0, 1])
    found = builder.load(Numbers, "train[3:]", data_dir=self.data_dir)
    self.assertEqual([found[i]["number"] for i in range(len(found))], [3, 4])

  def test_missing_files_are_listed_with_where_to_get_them(self):
    self.write_files()
    (self.manual_dir / "flow.npz").unlink()
    (self.manual_dir / "labels").rename(self.manual_dir / "label")
    with self.assertRaises(UserError) as raised:
      self.load()
    self.assertEqual(
      str(raised.exception),
      f"tiny_scenes: missing in {self.manual_dir}: labels/*.png, flow.npz. "
      "Unpack https://example.org/scenes.zip there.",
    )

  def test_files_are_sought_below_the_data_directory(self):
    with self.assertRaisesRegex(UserError, "data/downloads/manual/tiny_scenes: pho"):
      builder.load(TinyScenes, "train", data_dir=self.data_dir)

  def test_truncated_image_names_itself_while_building(self):
    self.write_files()
    for damaged in ("photographs/1.jpg", "labels/1.png"):
      path = self.manual_dir / damaged
      content = path.read_bytes()
      path.write_bytes(content[:-10])
      with self.assertRaisesRegex(UserError, f"^{path}: [^\n]*truncated[^\n]*$"):
        self.load()
      path.write_bytes(content)
    self.assertLen(self.load(), 3)  # nothing of the failed builds is in the way

  def test_error_of_the_generator_comes_through(self):
    with self.assertRaisesRegex(UserError, "^a.flo: truncated$"):
      builder.load(Truncated, "train", data_dir=self.data_dir)

  def test_image_damaged_since_then_names_itself_while_reading(self):
    feature = builder.ImageFile()
    self.write_files()
    stored = feature.encode_example(self.manual_dir / "photographs/1.jpg")
    with self.assertRaisesRegex(UserError, "photographs/1.jpg: .*truncated"):
      feature.decode_example_np(stored[:-10])

  def test_truncated_records_name_the_data_set(self):
    examples = builder.load(Numbers, "train", data_dir=self.data_dir)
    (record,) = self.data_dir.rglob("numbers-train.array_record*")
    content = record.read_bytes()
    for length in (0, 100, len(content) // 2):
      record.write_bytes(content[:length])
      examples = builder.load(Numbers, "train", data_dir=self.data_dir)
      with self.assertRaisesRegex(UserError, "numbers/1.0.0: example 4: damaged"):
        examples[4]

  def test_tensorflow_is_never_imported(self):
    directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    (directory / "tensorflow.py").write_text("raise SystemExit('tensorflow!')")
    program = """
      import sys
      from jaxvision.data import builder
      from tests.data.test_builder import Numbers
      assert builder.load(Numbers, "train", data_dir=sys.argv[1])[4] == {"number": 4}
      assert "tensorflow" not in sys.modules
    """
    root = pathlib.Path(__file__).parents[2]
    subprocess.run(
      [sys.executable, "-c", textwrap.dedent(program), self.data_dir],
      env={**os.environ, "PYTHONPATH": f"{directory}:{root}"},
      check=True,
    )


class ImportTest(absltest.TestCase):
  def test_data_does_not_import_what_few_need(self):
    program = """
      import sys
      from jaxvision.data import (
        archives, clouds, fields, images, meshes, photographs, pipeline, scenes, sounds
      )
      heavy = {"tensorflow", "tensorflow_datasets", "scipy", "matplotlib", "trimesh"}
      assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


if __name__ == "__main__":
  absltest.main()
