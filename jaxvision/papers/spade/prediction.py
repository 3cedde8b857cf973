"""Images of the user's own label maps, in the styles of the user's own pictures."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from PIL import Image

from jaxvision.data import files, images
from jaxvision.errors import UserError
from jaxvision.papers.spade import data, published, training
from jaxvision.papers.spade.evaluation import Synthesizer
from jaxvision.papers.spade.preprocessing import resize_labels
from jaxvision.papers.spade.variants import DataSet

# Label maps' endings and those of the instance maps beside them.
_PARTNERS = (
  ("_gtFine_labelIds", "_gtFine_instanceIds"),
  ("_label", "_inst"),
  ("", "_inst"),
)


@dataclasses.dataclass(frozen=True)
class LabelMap:
  """A label map as a network takes it.

  Attributes:
    path: its file.
    maps: {"labels"} and, where they are used, {"instances"}, each [h, w] int32.
    instances: the instance map's file; None where there is none, and then borders of
      classes stand for borders of instances.
  """

  path: epath.Path
  maps: dict[str, np.ndarray]
  instances: epath.Path | None


@dataclasses.dataclass(frozen=True)
class StylePicture:
  """Attributes: path of a picture, and its image [h, w, 3] float32 in [0, 1]."""

  path: epath.Path
  image: np.ndarray


def read(path: epath.PathLike, classes: DataSet) -> LabelMap | StylePicture:
  """Reads a label map (a PNG of one channel or with a palette) or a style picture.

  Args:
    path: the file.
    classes: what the labels are, and the size that all is resized to.

  Raises:
    UserError: missing or damaged file, or a label that is none; names it.
  """
  path = epath.Path(path)
  encoded = files.read_bytes(path)
  height, width = classes.shape
  if _is_picture(encoded, path):
    picture = Image.fromarray(images.decode_rgb(encoded, path))
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return StylePicture(path, np.asarray(picture, np.float32) / 255)
  labels = data.decode_labels(encoded, path, classes)
  maps = {"labels": labels}
  partner = None
  if classes.instances:
    partner = _partner(path)
    maps["instances"] = labels if partner is None else images.read_labels(partner)
    if maps["instances"].shape != labels.shape:
      raise UserError(f"{partner}: its size is not that of {path}")
  maps = {
    name: resize_labels(array, classes.shape).astype(np.int32)
    for name, array in maps.items()
  }
  return LabelMap(path, maps, partner)


def _is_picture(encoded, path):
  if images.decode_image(encoded, path).shape[-1] < 3:
    return False
  try:
    images.decode_labels(encoded, path)  # a palette looks like colours
  except UserError:
    return True
  return False


def _partner(path):
  for ending, other in _PARTNERS:
    if path.stem.endswith(ending):
      partner = path.with_name(f"{path.stem.removesuffix(ending)}{other}.png")
      if partner.exists():
        return partner
  return None


def load_weights(paths: Sequence[str], classes: DataSet) -> Synthesizer:
  """Returns the generator of latest_net_G.pth and, where given, latest_net_E.pth.

  Args:
    paths: one or two of the authors' checkpoints.
    classes: what they were trained on.

  Raises:
    UserError: a missing or damaged file, or one of another network or data set.
  """
  made: dict[str, tuple[Any, Any]] = {}
  for path in paths:
    network, variables = published.load(
      path,
      upsampling=classes.upsampling,
      crop_size=classes.crop_size,
      aspect_ratio=classes.aspect_ratio,
    )
    kind = type(network).__name__
    made["encoder" if kind == "StyleEncoder" else kind] = network, variables
  encoder, variables = made.pop("encoder", (None, None))
  if len(made) != 1 or "Discriminator" in made:
    raise UserError(f"{', '.join(paths)}: not one generator, with its encoder or not")
  ((generator, of_generator),) = made.values()
  networks = training.Networks(
    generator, None, encoder, classes.num_classes, classes.unknown_class
  )
  found = {training.GENERATOR: of_generator}
  if encoder is not None:
    found["encoder"] = variables
  params = {name: tree["params"] for name, tree in found.items()}
  state = {
    name: {key: value for key, value in tree.items() if key != "params"}
    for name, tree in found.items()
  }
  first = next(iter(jax.tree.leaves(_label_layer(params))))
  if first.shape[2] != classes.channels:
    raise UserError(
      f"{paths[0]}: sees {first.shape[2]} channels of labels, the data set has "
      f"{classes.channels}"
    )
  return Synthesizer(networks, params, state)


def _label_layer(params):
  """Returns the kernel of a generator that sees nothing but labels."""
  generator = params[training.GENERATOR]
  if "head_0" in generator:
    return generator["head_0"]["norm_0"]["spade"]["shared"]["kernel"]
  return generator["stem_conv"]["kernel"]


def synthesize(
  synthesizer: Synthesizer,
  labels: Sequence[LabelMap],
  styles: Sequence[StylePicture],
  draws: int,
  seed: int,
) -> list[tuple[str, np.ndarray, dict[str, Any]]]:
  """Returns (file name, image [h, w, 3], what it was made from) of each image.

  Each label map is shown in each style; without style pictures, `draws` times in random
  ones where the network takes a style, else once.
  """
  styled = synthesizer.networks.latent > 0
  names: dict[str, int] = {}
  made = []
  for label in labels:
    batch = {name: array[None] for name, array in label.maps.items()}
    for number in range(len(styles) or (draws if styled else 1)):
      style = styles[number] if styles else None
      key = jax.random.fold_in(jax.random.key(seed), number)
      image = synthesizer(batch, key, None if style is None else style.image[None])[0]
      stem = _stem(label.path)
      if style is not None:
        stem += f"-{_stem(style.path)}"
      elif styled:
        stem += f"-{number}"
      names[stem] = names.get(stem, -1) + 1
      name = f"{stem}-again{names[stem]}.png" if names[stem] else f"{stem}.png"
      row = {
        "file": str(label.path),
        "image": name,
        "style": None if style is None else str(style.path),
        "instances": str(label.instances or "")
        or ("borders of classes" if "instances" in label.maps else None),
      }
      made.append((name, image, row))
  return made


def write(out: epath.Path, made: Sequence[tuple[str, np.ndarray, dict]]) -> list[dict]:
  """Writes the images and predictions.json, and returns its rows.

  Raises:
    UserError: an image is not finite; nothing is written then.
  """
  for _, image, row in made:
    if not np.all(np.isfinite(image)):
      raise UserError(f"{row['file']}: its image is not finite")
  for name, image, _ in made:
    images.write_png(out / name, np.uint8(np.round(255 * image)))
  rows = [row for _, _, row in made]
  files.write_bytes(out / "predictions.json", json.dumps(rows, indent=2).encode())
  return rows


def _stem(path: epath.Path) -> str:
  return pathlib.PurePath(path.name).stem
