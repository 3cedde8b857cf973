"""The authors' checkpoints into our variables.

Their files hold {"model": state_dict, ...}; of a state_dict, names and shapes tell the
network's kind and sizes.
"""

import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.papers.occupancy_networks import baselines, decoders, encoders
from jaxvision.papers.occupancy_networks.model import EncoderDecoder, OccupancyNetwork
from jaxvision.published.reader import Reader

Weights = Mapping[str, np.ndarray]

_LEAVES = {
  "bias": ("bias",),
  "scale": ("weight",),
  "mean": ("running_mean",),
  "var": ("running_var",),
  "embedding": ("weight",),
  "kernel": ("weight",),
}
_IGNORED = ("*.num_batches_tracked",)


def load(path: epath.PathLike) -> tuple[nn.Module, dict[str, Any]]:
  """Returns the network of an authors' checkpoint and its variables.

  Raises:
    UserError: not such a checkpoint; nothing in it is executed.
  """
  weights = published.entry(published.load(path), "model")
  return convert(weights)


def convert(weights: Weights) -> tuple[nn.Module, dict[str, Any]]:
  """Returns the network of a state_dict and its variables.

  Args:
    weights: {name: array} with names `decoder.*`, `encoder.*`, `encoder_latent.*`.

  Raises:
    UserError: a weight is missing, too much or of another shape.
  """
  weights = {name.removeprefix("module."): array for name, array in weights.items()}
  parts = {
    part: {
      name.removeprefix(f"{part}."): array
      for name, array in weights.items()
      if name.startswith(f"{part}.")
    }
    for part in ("decoder", "encoder", "encoder_latent")
  }
  if not parts["decoder"]:
    raise UserError("the checkpoint has no decoder.*: it is no occupancy network")
  decoder = decoder_of(parts["decoder"])
  encoder = encoder_of(parts["encoder"]) if parts["encoder"] else None
  if isinstance(decoder, baselines.R2N2Decoder | baselines.PSGNDecoder):
    network = EncoderDecoder(encoder, decoder)
  else:
    latent = parts["encoder_latent"]
    latent = latent_encoder_of(latent) if latent else None
    network = OccupancyNetwork(decoder, encoder, latent)
  return network, variables(weights, network)


def decoder_of(weights: Weights) -> nn.Module:
  """Returns the decoder whose weights these are."""
  if "convtrp_0.weight" in weights:
    count = sum(name.startswith("convtrp_") for name in weights) // 2
    ins = [weights[f"convtrp_{index}.weight"].shape[0] for index in range(count)]
    last = weights[f"convtrp_{count - 1}.weight"].shape[1]
    return baselines.R2N2Decoder((*ins, last))
  if "fc_0.weight" in weights and "fc_p.weight" not in weights:
    hidden, _ = _shape(weights, "fc_0.weight")
    return baselines.PSGNDecoder(_shape(weights, "fc_out.weight")[0] // 3, hidden)
  if "conv_p.weight" in weights:
    blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    return decoders.CBatchNorm2Decoder(_shape(weights, "conv_p.weight")[0], blocks)
  hidden = _shape(weights, "fc_p.weight")[0]
  if "bn_0.conv_gamma.weight" in weights:
    return decoders.NoResnetDecoder(hidden)
  legacy = "block0.bn_0.fc_gamma.weight" in weights
  if legacy or "block0.bn_0.conv_gamma.weight" in weights:
    return decoders.CBatchNormDecoder(hidden, legacy=legacy)
  if "block0.bn_0.weight" in weights:
    return decoders.BatchNormDecoder(hidden)
  return decoders.SimpleDecoder(hidden)


def encoder_of(weights: Weights) -> nn.Module:
  """Returns the encoder whose weights these are."""
  if "conv_in.weight" in weights:
    widths = [_shape(weights, "conv_in.weight")[0]]
    while f"conv_{len(widths) - 1}.weight" in weights:
      widths.append(weights[f"conv_{len(widths) - 1}.weight"].shape[0])
    coordinates = _shape(weights, "conv_in.weight")[1] == 4
    c_dim = _shape(weights, "fc.weight")[0]
    return encoders.VoxelEncoder(c_dim, tuple(widths), coordinates)
  if "fc_pos.weight" in weights:
    c_dim, hidden = _shape(weights, "fc_c.weight")
    return encoders.PointNetEncoder(c_dim, hidden, "block_0.fc_0.weight" in weights)
  if "conv0.weight" in weights:
    count = sum(re.fullmatch(r"conv\d\.weight", name) is not None for name in weights)
    widths = tuple(weights[f"conv{index}.weight"].shape[0] for index in range(count))
    return encoders.ConvEncoder(_shape(weights, "fc_out.weight")[0], widths)
  if "convnet.0.weight" in weights:
    return encoders.R2N2Encoder(_shape(weights, "fc_out.weight")[0])
  if "features.conv1.weight" in weights:
    if "features.layer1.0.conv3.weight" in weights:
      depth = 50
    else:
      depth = 34 if "features.layer1.2.conv1.weight" in weights else 18
    return encoders.ResnetEncoder(_shape(weights, "fc.weight")[0], depth)
  if set(weights) == {"weight"}:
    count, c_dim = weights["weight"].shape
    return encoders.EmbeddingEncoder(c_dim, count)
  raise UserError(
    f"the checkpoint's encoder is of no known kind: {sorted(weights)[:3]}"
  )


def latent_encoder_of(weights: Weights) -> encoders.LatentEncoder:
  """Returns the latent encoder whose weights these are."""
  return encoders.LatentEncoder(*_shape(weights, "fc_mean.weight"))


def variables(weights: Weights, network: nn.Module) -> dict[str, Any]:
  """Returns the variables of a network or of a part of one.

  Args:
    weights: by the authors' names.
    network: whole, an encoder or a decoder.

  Raises:
    UserError: a weight is missing, too much or of another shape.
  """
  reader = Reader(weights, "the checkpoint")
  shapes = jax.eval_shape(lambda: _init(network, weights))

  def convert(tree, path):
    return {
      name: convert(leaf, (*path, name))
      if isinstance(leaf, Mapping)
      else _take(reader, path, name, leaf.shape)
      for name, leaf in tree.items()
    }

  found = {name: convert(tree, ()) for name, tree in shapes.items()}
  reader.finish(_IGNORED)
  return found


def _take(reader, path, leaf, shape):
  layer = ".".join(_authors_name(part) for part in path)
  if layer == "encoder.embedding" or layer == "embedding":
    layer = layer.removesuffix(".embedding").removesuffix("embedding")
  name = f"{layer}.{_LEAVES[leaf][0]}".removeprefix(".")
  weight = reader.take(name)
  if leaf == "kernel":
    if len(shape) == 2:
      weight = weight.reshape(weight.shape[:2]).T  # [out, in] or [out, in, 1]
    elif "convtrp" in layer:  # transposed: [in, out, ...]
      weight = np.moveaxis(weight, (0, 1), (-2, -1))
    else:
      weight = np.moveaxis(weight, (0, 1), (-1, -2))
  if weight.shape != shape:
    raise UserError(f"the checkpoint: {name} has another shape than the network's")
  return np.asarray(weight)


def _authors_name(part: str) -> str:
  return re.sub(
    r"^(layer\d|downsample|blocks|convnet|block_[1-4])_(\d+)$", r"\1.\2", part
  )


def _init(network, weights):
  """Returns fresh variables; what they are initialised on decides their shapes."""
  key, p = jax.random.key(0), jnp.zeros((1, 1, 3))

  def zeros(name):
    return jnp.zeros((1, weights[name].shape[1])) if name in weights else None

  if isinstance(network, OccupancyNetwork):
    x = _observation(network.encoder, weights, "encoder.")
    return network.init(key, p, x, jnp.zeros((1, 1)))
  if isinstance(network, EncoderDecoder):
    return network.init(key, _observation(network.encoder, weights, "encoder."))
  if isinstance(network, encoders.LatentEncoder):
    return network.init(key, p, jnp.zeros((1, 1)), zeros("fc_c.weight"))
  if type(network) in decoders.DECODERS.values():
    conditions = ("fc_c", "bn.conv_gamma", "bn.fc_gamma", "bn_0.conv_gamma")
    c = next(
      (zeros(f"{n}.weight") for n in conditions if f"{n}.weight" in weights), None
    )
    return network.init(key, p, zeros("fc_z.weight"), c)
  if isinstance(network, baselines.R2N2Decoder):
    return network.init(key, zeros("fc_in.weight"))
  if isinstance(network, baselines.PSGNDecoder):
    return network.init(key, zeros("fc_0.weight"))
  return network.init(key, _observation(network, weights, ""))


def _observation(encoder, weights, prefix):
  """Returns zeros of what an encoder observes."""
  if encoder is None:
    return None
  if isinstance(encoder, encoders.VoxelEncoder):
    cells = weights[f"{prefix}fc.weight"].shape[1] // encoder.widths[-1]
    side = round(cells ** (1 / 3)) * 2 ** (len(encoder.widths) - 1)
    return jnp.zeros((1, side, side, side))
  if isinstance(encoder, encoders.PointNetEncoder):
    return jnp.zeros((1, 1, 3))
  if isinstance(encoder, encoders.EmbeddingEncoder):
    return jnp.zeros(1, jnp.int32)
  side = 127 if isinstance(encoder, encoders.R2N2Encoder) else 64
  return jnp.zeros((1, side, side, 3))


def _shape(weights, name):
  if name not in weights:
    raise UserError(f"the checkpoint lacks {name}")
  return weights[name].shape[:2]
