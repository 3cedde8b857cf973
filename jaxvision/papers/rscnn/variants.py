"""What is trained and compared: the paper's networks, its ablations, PointNet."""

import dataclasses
from typing import Literal

from jaxvision.papers.rscnn import augmentation, baselines, networks
from jaxvision.papers.rscnn.convolution import Scales
from jaxvision.papers.rscnn.training import Model, Task


@dataclasses.dataclass(frozen=True)
class Variant:
  """One trained network.

  Attributes:
    task: what it is for.
    kind: whose network.
    relation: a key of `relations.RELATIONS`.
    aggregation: "max", "average" or "sum".
    local_frames: whether it is made blind to rotations (M14).
    norm: whether it is batch-normalised.
    dropout: whether hidden units are dropped out.
    drop_points: whether it is trained on clouds with random points left out.
    scales: radii a layer, of the classifier; the paper's Table 4 has one to three.
    further_layers: set abstractions of the classifier beside the paper's two.
  """

  task: Task = "classification"
  kind: Literal["rscnn", "pointnet"] = "rscnn"
  relation: str = "released"
  aggregation: str = "max"
  local_frames: bool = False
  norm: bool = True
  dropout: bool = True
  drop_points: bool = False
  scales: int = 1
  further_layers: int = 0


VARIANTS = {
  "rscnn": Variant(),
  "pointnet": Variant(kind="pointnet"),
  "frames": Variant(relation="distance", local_frames=True),
  "point_dropout": Variant(drop_points=True),
  "parts": Variant("parts"),
  "parts_pointnet": Variant("parts", kind="pointnet"),
  "normals": Variant("normals"),
  "normals_pointnet": Variant("normals", kind="pointnet"),
  # Table 4.
  "no_relation": Variant(relation="none"),
  "no_norm": Variant(norm=False, dropout=False),
  "no_dropout": Variant(dropout=False),
  "two_scales": Variant(scales=2),
  "three_scales": Variant(scales=3),
  # Table 5.
  "average": Variant(aggregation="average"),
  "sum": Variant(aggregation="sum"),
  "three_layers": Variant(further_layers=1),
  "four_layers": Variant(further_layers=2),
  # Table 6.
  "relation_paper": Variant(relation="paper"),
  "relation_distance": Variant(relation="distance"),
  "relation_offset": Variant(relation="offset"),
  "relation_normals": Variant(relation="normals"),
  "relation_planar_xy": Variant(relation="planar_xy"),
  "relation_planar_xz": Variant(relation="planar_xz"),
  "relation_planar_yz": Variant(relation="planar_yz"),
}


@dataclasses.dataclass(frozen=True)
class Size:
  """Widths of the networks, and how they sample.

  Attributes:
    classification: set abstractions of the classifier.
    pooled: width of its global pooling.
    hidden: of its hidden layers.
    labelling: set abstractions of what labels points.
    label_pooled: width of its global poolings.
    propagation: widths of its feature propagation.
    label_hidden: of its hidden layers.
    pointnet: widths of PointNet's layers for each point; the first two are local.
    pointnet_hidden: of the layers behind its maximum, for labels.
    dropout: whether hidden units are dropped out at all.
  """

  classification: tuple[Scales, ...] = networks.CLASSIFICATION
  pooled: int = 1024
  hidden: tuple[int, ...] = (512, 256)
  labelling: tuple[Scales, ...] = networks.SEGMENTATION
  label_pooled: int = 128
  propagation: tuple[int, ...] = (128, 256, 512, 512)
  label_hidden: tuple[int, ...] = (128,)
  pointnet: tuple[int, ...] = (64, 64, 64, 128, 1024)
  pointnet_hidden: tuple[int, ...] = (512, 256, 128)
  dropout: bool = True


SIZES = {
  "paper": Size(),
  # 256 points.
  "small": Size(
    classification=(Scales(96, (0.3,), (16,), 32), Scales(24, (0.5,), (16,), 96)),
    pooled=192,
    hidden=(96,),
    labelling=(
      Scales(96, (0.2, 0.3), (8, 16), 24),
      Scales(24, (0.4, 0.8), (8, 16), 48),
    ),
    label_pooled=32,
    propagation=(48, 64),
    label_hidden=(48,),
    pointnet=(32, 32, 64, 192),
    pointnet_hidden=(128, 64),
  ),
  # 64 points.
  "tiny": Size(
    classification=(Scales(16, (0.4,), (8,), 8),),
    pooled=16,
    hidden=(16,),
    labelling=(Scales(16, (0.4,), (4,), 8), Scales(4, (0.8,), (4,), 16)),
    label_pooled=8,
    propagation=(16, 16),
    label_hidden=(16,),
    pointnet=(8, 8, 16),
    pointnet_hidden=(16,),
    dropout=False,
  ),
}


def model(variant: Variant, size: Size, classes: int, parts: int) -> Model:
  """Returns a variant's network at a size.

  Args:
    variant: which.
    size: its widths.
    classes: of the classification, or categories of the shapes.
    parts: in all categories together.
  """
  drops = variant.dropout and size.dropout
  rate, pointnet_rate = (0.5, 0.3) if drops else (0.0, 0.0)
  if variant.task == "classification":
    if variant.kind == "pointnet":
      network = baselines.PointNetClassifier(
        classes, size.pointnet, size.hidden, pointnet_rate
      )
    else:
      layers = _layers(size.classification, variant)
      network = networks.Classifier(
        classes,
        layers,
        size.pooled,
        size.hidden,
        rate,
        variant.relation,
        variant.aggregation,
        variant.norm,
        variant.local_frames,
      )
    categories = 0
  else:
    of_parts = variant.task == "parts"
    outputs, categories = (parts, classes) if of_parts else (3, 0)
    # A regression does not leave out units: the mean of what is left is not the same.
    rate, pointnet_rate = (rate, pointnet_rate) if of_parts else (0.0, 0.0)
    if variant.kind == "pointnet":
      network = baselines.PointNetLabeller(
        outputs,
        categories,
        size.pointnet[:2],
        size.pointnet[2:],
        size.pointnet_hidden,
        pointnet_rate,
      )
    else:
      network = networks.PointLabeller(
        outputs,
        categories,
        size.labelling,
        size.label_pooled,
        size.propagation,
        size.label_hidden,
        rate,
        variant.relation,
        variant.aggregation,
      )
  needs = variant.local_frames or variant.relation == "normals"
  return Model(network, variant.task, categories, takes_normals=needs)


def _layers(layers: tuple[Scales, ...], variant: Variant) -> tuple[Scales, ...]:
  """Returns a variant's layers, which may be more, or have more radii.

  A further layer halves the centroids and widens the ball; radii are spread by a
  quarter around the layer's own, as the segmentation network's are.
  """
  layers = list(layers)
  for _ in range(variant.further_layers):
    last = layers[-1]
    layers.append(
      dataclasses.replace(
        last,
        centroids=max(last.centroids // 2, 1),
        radii=tuple(1.4 * radius for radius in last.radii),
      )
    )
  spread = {1: (1.0,), 2: (0.75, 1.0), 3: (0.75, 1.0, 1.25)}[variant.scales]
  return tuple(
    dataclasses.replace(
      layer,
      radii=tuple(share * layer.radii[-1] for share in spread),
      counts=layer.counts[-1:] * variant.scales,
    )
    for layer in layers
  )


def largest_drop(variant: Variant) -> float:
  """Returns the largest share of points that its training leaves out."""
  return augmentation.LARGEST_DROPOUT if variant.drop_points else 0.0
