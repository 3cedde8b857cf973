"""Reads what the authors' training writes: decoders and code tables (.pth)."""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from jaxvision import published
from jaxvision.errors import UserError
from jaxvision.papers.deepsdf.decoder import Decoder


def load_decoder(path: str | os.PathLike, **options: Any) -> tuple[Decoder, dict]:
  """Returns the decoder of ModelParameters/<epoch>.pth and its parameters.

  Args:
    path: the file.
    **options: see `convert`.

  Raises:
    UserError: missing or damaged file, or one of another network.
  """
  weights = published.entry(published.load(path), "model_state_dict")
  return convert(weights, source=os.fspath(path), **options)


def load_codes(path: str | os.PathLike) -> np.ndarray:
  """Returns the code table [n, L] of LatentCodes/<epoch>.pth.

  Raises:
    UserError: missing or damaged file, or one without codes.
  """
  arrays = published.load(path)
  # Early versions of the authors' code kept one array [n, 1, L].
  for name in ("latent_codes.weight", "latent_codes"):
    if name in arrays:
      codes = np.asarray(arrays[name], np.float32)
      return codes.reshape(len(codes), -1)
  raise UserError(f"{os.fspath(path)}: holds no latent_codes")


def load_experiment(
  folder: epath.PathLike, checkpoint: str = "latest"
) -> tuple[Decoder, dict, np.ndarray]:
  """Returns decoder, parameters and code table of an experiment's folder.

  Args:
    folder: with specs.json, ModelParameters and LatentCodes.
    checkpoint: name of the .pth files.

  Raises:
    UserError: a file is missing or damaged; names it.
  """
  from jaxvision.papers.deepsdf import dataset

  folder = epath.Path(folder)
  specs = dataset.read_json(folder / "specs.json")
  network = specs.get("NetworkSpecs", {})
  decoder, params = load_decoder(
    folder / "ModelParameters" / f"{checkpoint}.pth",
    use_tanh=bool(network.get("use_tanh", False)),
    latent_dropout=bool(network.get("latent_dropout", False)),
    dropout_layers=tuple(network.get("dropout") or ()),
    dropout=float(network.get("dropout_prob") or 0.0),
  )
  if specs.get("CodeLength", decoder.latent_size) != decoder.latent_size:
    raise UserError(
      f"{folder}: specs.json says codes of {specs['CodeLength']} numbers, the weights "
      f"take {decoder.latent_size}"
    )
  codes = load_codes(folder / "LatentCodes" / f"{checkpoint}.pth")
  if codes.shape[1] != decoder.latent_size:
    raise UserError(f"{folder}: the decoder does not take the codes of this table")
  return decoder, params, codes


def convert(
  weights: Mapping[str, np.ndarray], *, source: str = "weights", **options: Any
) -> tuple[Decoder, dict]:
  """Returns the decoder that a state_dict describes, and its parameters.

  Widths, the layers that see the input again, and normalisation follow from the
  weights; what does not are `options`.

  Args:
    weights: arrays by the authors' names; "module." before all of them is left out.
    source: what errors call them.
    **options: `use_tanh`, `latent_dropout`, `dropout`, `dropout_layers` of Decoder.

  Raises:
    UserError: a weight is missing, of another shape, or of unknown meaning.
  """
  weights = {name.removeprefix("module."): array for name, array in weights.items()}
  reader = published.Reader(weights, source)
  numbers = [re.fullmatch(r"lin(\d+)\.bias", name) for name in weights]
  count = 1 + max((int(match[1]) for match in numbers if match), default=-1)
  if count < 2:
    raise UserError(f"{source}: holds no decoder of DeepSDF")

  params, norms, latent_in, dims = {}, [], [], []
  is_weight_norm, xyz_in_all = False, False
  inputs = before = 0  # widths of the network's input and of the layer before
  for number in range(count):
    name = f"lin{number}"
    is_normed = f"{name}.weight_g" in weights
    weight = reader.take(f"{name}.weight_v" if is_normed else f"{name}.weight")
    if weight.ndim != 2:
      raise UserError(f"{source}: {name} is not linear")
    width, fan_in = weight.shape
    layer = {
      "kernel": published.linear_kernel(weight),
      "bias": reader.take(f"{name}.bias", (width,)),
    }
    if is_normed:
      layer["scale"] = reader.take(f"{name}.weight_g", (width, 1))[:, 0]
      is_weight_norm = True
      norms.append(number)
    params[name] = layer
    if f"bn{number}.weight" in weights:
      params[f"bn{number}"] = {
        "scale": reader.take(f"bn{number}.weight", (width,)),
        "bias": reader.take(f"bn{number}.bias", (width,)),
      }
      norms.append(number)
    if number == 0:
      inputs = fan_in
    else:
      dims.append(fan_in)
      more = fan_in - before
      if more == inputs:
        latent_in.append(number)
      elif more == 3:
        xyz_in_all = True
      elif more != 0:
        raise UserError(
          f"{source}: {name} takes {fan_in} features, the layer before gives {before}"
        )
    before = width
  reader.finish()
  if before != 1:
    raise UserError(f"{source}: {name} gives {before} numbers, not one distance")
  return (
    Decoder(
      latent_size=inputs - 3,
      dims=tuple(dims),
      latent_in=tuple(latent_in),
      norm_layers=tuple(norms),
      weight_norm=is_weight_norm,
      xyz_in_all=xyz_in_all,
      **options,
    ),
    params,
  )
