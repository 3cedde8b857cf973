"""Pre-trained classifiers with torchvision's names, as networks to compress."""

import os
from typing import Any

import flax.linen as nn

from jaxvision import published
from jaxvision.nn.vgg import VGG
from jaxvision.papers.cascaded_projection.network import shapes_of
from jaxvision.published import torchvision


def load(path: str | os.PathLike, model: nn.Module, image_shape) -> dict[str, Any]:
  """Returns a network's variables from a checkpoint file.

  Args:
    path: a state_dict with torchvision's names.
    model: a `VGG` or `ResNet`.
    image_shape: (H, W, C) that the network was trained on.

  Raises:
    UserError: the file is missing or damaged, or of another network.
  """
  convert = torchvision.vgg if isinstance(model, VGG) else torchvision.resnet
  return convert(published.load(path), shapes_of(model, image_shape))
