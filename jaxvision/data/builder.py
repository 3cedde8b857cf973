"""The base of every data set: TFDS builders that need no TensorFlow.

A data set is written once as array_record files and read from there at random access.
Images are stored as the bytes of the authors' files, arrays as the bytes of an NPY
file: what comes out is bit for bit what went in. (TFDS's own `Image` encodes through
TensorFlow and its `Tensor` keeps float64 in 32 bits; its `Text`, `ClassLabel`, `Scalar`
and, of the features here, `Sequence` do well.)

  class Flow(builder.Builder):
    FILES = ("images/*.png", "flow.npz")
    INSTRUCTIONS = "Unpack https://... there."

    def _features(self):
      return {"image": builder.ImageFile(), "flow": builder.Array()}

    def _split_generators(self, dl_manager):
      return {"train": self._generate_examples(dl_manager.manual_dir)}

    def _generate_examples(self, directory):
      for path in sorted(directory.glob("images/*.png")):
        yield path.name, {"image": path, "flow": ...}

  examples = builder.load(Flow, "train", data_dir=run.data_dir)
"""

import abc
import io
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from jax.experimental import multihost_utils
from tensorflow_datasets.core import decode

from jaxvision.data import files, images
from jaxvision.errors import UserError

_MISSING_SHOWN = 10


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A data set that is read from its authors' files, or made by a procedure.

  A subclass has the attributes below, `_features` and, as in TFDS, `_split_generators`
  and `_generate_examples`. Examples keep the order in which they are generated.

  Attributes:
    FILES: what must be in the manual directory: names or glob patterns; none for data
      made by a procedure.
    INSTRUCTIONS: where to get these files, one sentence.
  """

  VERSION = tfds.core.Version("1.0.0")
  FILES: ClassVar[tuple[str, ...]] = ()
  INSTRUCTIONS: ClassVar[str] = ""
  # TFDS would look beside the class for checksums of downloads (there are none), and
  # for that import a package that it does not require.
  code_path = None

  def __init_subclass__(cls, **kwargs: Any):
    super().__init_subclass__(skip_registration=True, **kwargs)
    # TFDS asks for it before it tells where the manual directory is.
    cls.MANUAL_DOWNLOAD_INSTRUCTIONS = cls.INSTRUCTIONS or None

  @abc.abstractmethod
  def _features(self) -> dict[str, tfds.features.FeatureConnector]:
    """Returns the features of an example: those of this module or tfds.features."""

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.__doc__,
      features=tfds.features.FeaturesDict(self._features()),
      disable_shuffling=True,
    )


def load(
  builder: type[Builder],
  split: str,
  *,
  data_dir: epath.PathLike,
  manual_dir: epath.PathLike | None = None,
) -> "Examples":
  """Returns a split of a data set, which is built first when it is not there yet.

  Of several processes the first one builds; all must see the same `data_dir`.

  Args:
    builder: the data set's class.
    split: "train", "test[:100]", ... as TFDS names them.
    data_dir: where built data sets are, local or `gs://`.
    manual_dir: where the authors' files are; `data_dir`/downloads/manual/NAME when
      None, NAME being the class's in snake case.

  Raises:
    UserError: files are missing, listed with where to get them; or one is damaged.
  """
  if jax.process_index() == 0:
    _build(builder, data_dir, manual_dir)
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(f"build {builder.name}")
  dataset = builder(data_dir=data_dir, file_format="array_record")
  records = dataset.as_data_source(
    split, deserialize_method=decode.DeserializeMethod.RAW_BYTES
  )
  return Examples(records, dataset.info.features, str(dataset.data_path))


class Examples:
  """A split at random access; damaged records name their data set."""

  def __init__(
    self, records: Sequence[bytes], features: tfds.features.FeaturesDict, name: str
  ):
    self._records = records
    self._features = features
    self._name = name

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> dict[str, Any]:
    with files.decoding(f"{self._name}: example {index}", "record"):
      record = self._records[index]
      if not record:  # what array_record gives of some truncated files
        raise ValueError("it is empty")
      return self._features.deserialize_example_np(record)


class _DamagedFile(UserError):
  """Keeps its message, which TFDS surrounds with the whole example."""

  def __init__(self, message: str):
    super().__init__(message)
    self.message = message


class _Bytes(tfds.features.FeatureConnector):
  """A feature that is stored as one string of bytes."""

  def get_tensor_info(self) -> tfds.features.TensorInfo:
    return tfds.features.TensorInfo(shape=(), dtype=np.object_)

  def to_json_content(self) -> dict[str, Any]:
    return {}

  @classmethod
  def from_json_content(cls, value: dict[str, Any]) -> "_Bytes":
    del value
    return cls()


class ImageFile(_Bytes):
  """An image, given as the path of its file, stored as the bytes of this file.

  Args:
    decode: (bytes, name) -> array, `decode_rgb`, `decode_image` or `decode_labels` of
      jaxvision.data.images. It runs at each read, and once when the data set is built,
      so that a damaged file is found then.
  """

  def __init__(self, decode: Callable[[bytes, str], np.ndarray] = images.decode_rgb):
    super().__init__()
    self._decode = decode

  def encode_example(self, example_data: epath.PathLike) -> bytes:
    try:
      encoded = files.read_bytes(example_data)
      self._decode(encoded, example_data)
    except UserError as error:
      raise _DamagedFile(str(error)) from error
    return str(example_data).encode() + b"\0" + encoded

  def decode_example_np(self, example_data: bytes) -> np.ndarray:
    name, _, encoded = example_data.partition(b"\0")
    return self._decode(encoded, name.decode())


class Array(_Bytes):
  """A numpy array of any shape and type but object."""

  def encode_example(self, example_data: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(example_data), allow_pickle=False)
    return stream.getvalue()

  def decode_example_np(self, example_data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(example_data), allow_pickle=False)


def _build(
  builder: type[Builder],
  data_dir: epath.PathLike,
  manual_dir: epath.PathLike | None,
) -> None:
  dataset = builder(data_dir=data_dir, file_format="array_record")
  if dataset.data_path.exists():
    return
  if manual_dir is None:
    manual_dir = epath.Path(data_dir) / "downloads" / "manual" / builder.name
  _check_files(builder, epath.Path(manual_dir))
  try:
    dataset.download_and_prepare(
      download_config=tfds.download.DownloadConfig(
        manual_dir=manual_dir, try_download_gcs=False
      )
    )
  except _DamagedFile as error:
    raise UserError(error.message) from error


def _check_files(builder: type[Builder], manual_dir: epath.Path) -> None:
  missing = [file for file in builder.FILES if not any(manual_dir.glob(file))]
  if missing:
    shown = ", ".join(missing[:_MISSING_SHOWN])
    more = len(missing) - _MISSING_SHOWN
    raise UserError(
      f"{builder.name}: missing in {manual_dir}: {shown}"
      + (f" and {more} more" if more > 0 else "")
      + f". {builder.INSTRUCTIONS}"
    )
