"""The networks that are compressed: the paper's, and two small ones for digits."""

from collections.abc import Callable

import flax.linen as nn

from jaxvision.nn.resnet import ResNet, cifar_resnet, resnet
from jaxvision.nn.vgg import VGG

# {name: number of classes -> network as it is trained}.
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
  "vgg_digits": lambda classes: VGG(
    classes, ((16, 32), (32, 64)), hidden=(), pooled=1, pool_last=False
  ),
  "resnet_digits": lambda classes: ResNet(
    classes, "basic", (1, 1, 1), (16, 32, 32), stem="cifar"
  ),
  "vgg16": lambda classes: VGG(classes),
  "resnet18": lambda classes: resnet(18, classes, stem="cifar"),
  "resnet50": lambda classes: resnet(50, classes, stem="cifar"),
  "resnet56": lambda classes: cifar_resnet(56, classes),
  "resnet110": lambda classes: cifar_resnet(110, classes),
}
