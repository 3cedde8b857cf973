"""Flow of the user's own frames: .flo, colours and occlusion."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from jaxvision.data import fields, flow_pictures, images
from jaxvision.errors import UserError
from jaxvision.papers.selflow import dataset, inference
from jaxvision.papers.selflow.network import SelFlow

_SUFFIXES = (".png", ".jpg", ".jpeg", ".ppm")


def read_inputs(inputs: Sequence[epath.Path]) -> tuple[list[str], np.ndarray]:
  """Returns names and frames [T, H, W, 3] of images, or of the images of folders.

  Raises:
    UserError: naming the file that is damaged or of another size, or saying that there
      are no three.
  """
  paths = []
  for path in map(epath.Path, inputs):
    if path.is_dir():
      paths += sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
    else:
      paths.append(path)
  if len(paths) < 3:
    raise UserError(f"{len(paths)} frames: three in order of time are needed")
  return [path.stem for path in paths], dataset.read_frames(paths)


def write(
  out: epath.Path,
  network: SelFlow,
  params: Any,
  names: Sequence[str],
  frames: np.ndarray,
) -> list[str]:
  """Writes what is found between frames; returns a line for each file of flow.

  Of every frame but the first and last: NAME-to-NEXT.flo, the same in colours (.png)
  and, where the flow back is known too, what the next frame hides (-occluded.png).

  Args:
    out: directory.
    network: the network.
    params: its parameters.
    names: of the frames.
    frames: [T, H, W, 3] in [0, 1].
  """
  flow, hidden = inference.estimate_with_occlusion(network, params, frames)
  if not np.all(np.isfinite(flow)):
    raise UserError("the network's flow is not finite: nothing was written")
  lines = []
  for number, one in enumerate(flow):
    name = f"{number + 1:04d}-{names[number + 1]}-to-{names[number + 2]}"
    fields.write_flo(out / f"{name}.flo", one)
    colors = flow_pictures.flow_picture(one)
    images.write_png(out / f"{name}.png", np.round(255 * colors).astype(np.uint8))
    length = np.hypot(one[..., 0], one[..., 1])
    line = f"{name}.flo: mean {length.mean():.2f} px, largest {length.max():.2f} px"
    if number < len(hidden):
      mask = (255 * hidden[number]).astype(np.uint8)
      images.write_png(out / f"{name}-occluded.png", mask)
      line += f", {100 * hidden[number].mean():.1f} % occluded"
    lines.append(line)
  return lines
