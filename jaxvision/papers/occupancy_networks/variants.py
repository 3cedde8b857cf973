"""What is trained: tasks, ways of drawing points, ablations and baselines, by name."""

import dataclasses
from typing import Literal

import flax.linen as nn

from jaxvision.papers.occupancy_networks import baselines, decoders, encoders
from jaxvision.papers.occupancy_networks.model import EncoderDecoder, OccupancyNetwork

Task = Literal["image", "pointcloud", "voxels", "unconditional", "representation"]

# Of the authors' configurations: sizes of conditions, points of a shape in a batch.
_C_DIM = {
  "image": 256,
  "pointcloud": 512,
  "voxels": 256,
  "unconditional": 0,
  "representation": 512,
}
_POINTS = {"voxels": 1024, "representation": 1024}
FEW = 64


@dataclasses.dataclass(frozen=True)
class Variant:
  """One network and how it is trained.

  Attributes:
    task: what is observed.
    output: occupancies of points, of a grid (R2N2), or a point cloud (PSGN).
    decoder: a key of `decoders.DECODERS`, for occupancies of points.
    sampling: of the points that it learns from (M3).
  """

  task: Task
  output: Literal["occupancy", "r2n2", "psgn"] = "occupancy"
  decoder: str = "cbatchnorm"
  sampling: Literal["uniform", "few", "equal", "surface"] = "uniform"

  @property
  def threshold(self) -> float:
    """The probability above which a point is inside (M5)."""
    if self.output == "r2n2":
      return baselines.R2N2_THRESHOLD
    return 0.5 if self.task == "representation" else 0.2


VARIANTS = {
  "image": Variant("image"),
  "pointcloud": Variant("pointcloud"),
  "voxels": Variant("voxels"),
  "unconditional": Variant("unconditional", decoder="simple"),
  "representation": Variant("representation"),
}
for _task in ("image", "pointcloud"):
  for _sampling in ("few", "equal", "surface"):
    VARIANTS[f"{_task}_{_sampling}"] = Variant(_task, sampling=_sampling)
  VARIANTS |= {
    f"{_task}_no_cbn": Variant(_task, decoder="batchnorm"),
    f"{_task}_no_resnet": Variant(_task, decoder="no_resnet"),
    f"{_task}_r2n2": Variant(_task, output="r2n2"),
    f"{_task}_psgn": Variant(_task, output="psgn"),
  }


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of all networks; the paper's unless told.

  Attributes:
    c_dim: of conditions; the authors' for the task when None.
    image_encoder: which one.
    point_hidden: channels of the point encoder.
    voxel_widths: channels of the voxel encoder.
    hidden: channels of decoders under (conditional) batch normalisation.
    simple_hidden: channels of the decoder without.
    z_dim: of latent codes.
    latent_hidden: channels of the latent encoder.
    embeddings: shapes that representation power is measured on (chairs of the paper).
    points: drawn of a shape for a batch; the authors' for the task when None.
    r2n2_widths: channels of the decoder to voxels.
    psgn_points: of the decoder to point clouds.
    psgn_hidden: its channels.
  """

  c_dim: int | None = None
  image_encoder: Literal[
    "resnet18", "resnet34", "resnet50", "simple_conv", "r2n2_simple"
  ] = "resnet18"
  point_hidden: int = 512
  voxel_widths: tuple[int, ...] = (32, 64, 128, 256, 512)
  hidden: int = 256
  simple_hidden: int = 128
  z_dim: int = 128
  latent_hidden: int = 128
  embeddings: int = 4746
  points: int | None = None
  r2n2_widths: tuple[int, ...] = (256, 128, 64, 32)
  psgn_points: int = 1024
  psgn_hidden: int = 512

  def points_of(self, variant: Variant) -> int:
    """Returns T, the points of a shape in a batch."""
    if variant.sampling == "few":
      return FEW
    return self.points or _POINTS.get(variant.task, 2048)


def network(variant: Variant, sizes: Sizes) -> nn.Module:
  """Returns the network of a variant."""
  encoder = _encoder(variant.task, sizes)
  if variant.output == "r2n2":
    return EncoderDecoder(encoder, baselines.R2N2Decoder(sizes.r2n2_widths))
  if variant.output == "psgn":
    decoder = baselines.PSGNDecoder(sizes.psgn_points, sizes.psgn_hidden)
    return EncoderDecoder(encoder, decoder)
  make = decoders.DECODERS[variant.decoder]
  if variant.task == "representation":
    decoder = make(sizes.hidden, legacy=True)
  elif variant.decoder == "simple":
    decoder = make(sizes.simple_hidden)
  else:
    decoder = make(sizes.hidden)
  latent = None
  if variant.task == "unconditional" and sizes.z_dim:
    latent = encoders.LatentEncoder(sizes.z_dim, sizes.latent_hidden)
  return OccupancyNetwork(decoder, encoder, latent)


def _encoder(task, sizes):
  c_dim = sizes.c_dim or _C_DIM[task]
  if task == "image":
    kind = sizes.image_encoder
    if kind.startswith("resnet"):
      return encoders.ResnetEncoder(c_dim, int(kind.removeprefix("resnet")))
    return {
      "simple_conv": encoders.ConvEncoder,
      "r2n2_simple": encoders.R2N2Encoder,
    }[kind](c_dim)
  if task == "pointcloud":
    return encoders.PointNetEncoder(c_dim, sizes.point_hidden)
  if task == "voxels":
    return encoders.VoxelEncoder(c_dim, sizes.voxel_widths)
  if task == "representation":
    return encoders.EmbeddingEncoder(c_dim, sizes.embeddings)
  return None
