"""Scene Flow and KITTI, read as their authors distribute them."""

import numpy as np
from etils import epath

from jaxvision.data import builder, fields, images
from jaxvision.errors import UserError
from jaxvision.papers.ganet.losses import INVALID
from jaxvision.papers.ganet.stereo_data import normalize

_HELD_OUT = 5  # every fifth KITTI pair is for testing


class SceneFlow(builder.Builder):
  """FlyingThings3D, Driving and Monkaa in one tree, final pass.

  frames_finalpass/{TRAIN,TEST}/.../left/NNNN.png, .../right/NNNN.png and
  disparity/{TRAIN,TEST}/.../left/NNNN.pfm.
  """

  FILES = tuple(
    f"{folder}/{split}/*"
    for folder in ("frames_finalpass", "disparity")
    for split in ("TRAIN", "TEST")
  )
  INSTRUCTIONS = (
    "Unpack the final pass and the disparities of https://lmb.informatik.uni-freiburg.de"
    "/resources/datasets/SceneFlowDatasets.en.html there"
  )

  def _features(self):
    return {
      "left": builder.ImageFile(),
      "right": builder.ImageFile(),
      "disparity": builder.Array(),
    }

  def _split_generators(self, dl_manager):
    return {
      name: self._generate_examples(dl_manager.manual_dir, name.upper())
      for name in ("train", "test")
    }

  def _generate_examples(self, folder, split):
    frames = epath.Path(folder) / "frames_finalpass" / split
    # Monkaa, FlyingThings3D and Driving lie one, two and three folders deep.
    found = [frames.glob(f"{'*/' * depth}left/*.png") for depth in (1, 2, 3)]
    for left in sorted(path for paths in found for path in paths):
      name = left.relative_to(frames.parent)
      right = left.parent.parent / "right" / left.name
      disparity = (folder / "disparity" / name).with_suffix(".pfm")
      truth = fields.read_pfm(disparity)
      yield str(name), {"left": left, "right": right, "disparity": truth}


class _Kitti(builder.Builder):
  """KITTI's training pairs with the disparities of all pixels, and of those not hidden.

  training/{VIEWS}/NNNNNN_10.png and training/{DISPARITIES}/NNNNNN_10.png.
  """

  VIEWS = ("image_2", "image_3")
  DISPARITIES = ("disp_occ_0", "disp_noc_0")

  def __init_subclass__(cls, **kwargs):
    cls.FILES = tuple(f"training/{n}/*_10.png" for n in (*cls.VIEWS, *cls.DISPARITIES))
    super().__init_subclass__(**kwargs)

  def _features(self):
    return {
      "left": builder.ImageFile(),
      "right": builder.ImageFile(),
      "disparity": builder.Array(),
      "visible": builder.Array(),
    }

  def _split_generators(self, dl_manager):
    folder = dl_manager.manual_dir / "training"
    return {
      "train": self._generate_examples(folder, False),
      "test": self._generate_examples(folder, True),
    }

  def _generate_examples(self, folder, held_out):
    for number, left in enumerate(sorted((folder / self.VIEWS[0]).glob("*_10.png"))):
      if (number % _HELD_OUT == _HELD_OUT - 1) != held_out:
        continue
      disparity, valid = fields.read_kitti_disparity(
        folder / self.DISPARITIES[0] / left.name
      )
      _, visible = fields.read_kitti_disparity(folder / self.DISPARITIES[1] / left.name)
      yield (
        left.name,
        {
          "left": left,
          "right": folder / self.VIEWS[1] / left.name,
          "disparity": np.where(valid, disparity, np.float32(INVALID)),
          "visible": visible,
        },
      )


class Kitti2015(_Kitti):
  __doc__ = _Kitti.__doc__
  INSTRUCTIONS = (
    "Unpack data_scene_flow.zip of "
    "https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php there"
  )


class Kitti2012(_Kitti):
  __doc__ = _Kitti.__doc__
  VIEWS = ("colored_0", "colored_1")
  DISPARITIES = ("disp_occ", "disp_noc")
  INSTRUCTIONS = (
    "Unpack data_stereo_flow.zip of "
    "https://www.cvlibs.net/datasets/kitti/eval_stereo_flow.php there"
  )


BUILDERS = {"SceneFlow": SceneFlow, "KITTI2015": Kitti2015, "KITTI2012": Kitti2012}


class Pairs:
  """Normalised pairs of a data set at random access."""

  def __init__(self, examples):
    self._examples = examples

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    example = dict(self._examples[index])
    shape = example["disparity"].shape
    for view in ("left", "right"):
      if example[view].shape[:2] != shape:
        raise UserError(
          f"pair {index}: the {view} view is {example[view].shape[:2]}, the disparity "
          f"{shape}"
        )
      example[view] = normalize(example[view][..., :3])
    return example


def pairs(
  name: str,
  split: str,
  data_dir: epath.PathLike,
  manual_dir: epath.PathLike | None = None,
) -> Pairs:
  """Returns the pairs of a split.

  Args:
    name: a key of BUILDERS.
    split: "train" or "test"; of KITTI, whose test has no public disparities, every
      fifth training pair is the test.
    data_dir: where the data set is, or is built.
    manual_dir: where the authors' files are, see `builder.load`.

  Raises:
    UserError: files are missing or damaged.
  """
  return Pairs(
    builder.load(BUILDERS[name], split, data_dir=data_dir, manual_dir=manual_dir)
  )


def read_pair(left: epath.PathLike, right: epath.PathLike):
  """Returns two views of one size, [H, W, 3] uint8.

  Raises:
    UserError: a file is missing or no image, or the sizes differ.
  """
  views = [images.read_rgb(path) for path in (left, right)]
  if views[0].shape != views[1].shape:
    sizes = " and ".join("x".join(map(str, view.shape[:2])) for view in views)
    raise UserError(f"{right}: the views of a pair have one size, not {sizes}")
  return views
