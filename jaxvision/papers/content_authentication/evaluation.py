"""Measuring both networks: fidelity, and verdicts through the real JPEG too."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import jpeg, rounding
from jaxvision.ops.metrics import psnr, ssim
from jaxvision.papers.content_authentication import channel, pipelines
from jaxvision.papers.content_authentication.camera import Camera
from jaxvision.papers.content_authentication.prediction import judge_photograph
from jaxvision.papers.content_authentication.workflow import Workflow
from jaxvision.train import jit_once

DJPEG = "dJPEG"
CODECS = (DJPEG, "4:4:4", "4:2:0")
BATCH = 20

JPEGS = {
  "sin": "sin",
  "harmonic, 4 terms": "harmonic",
  "true rounding": "round",
  "harmonic, 1 term": functools.partial(rounding.harmonic, terms=1),
}


class Evaluator:
  """Measures a workflow's networks; compiled once for all their parameters.

  Attributes:
    workflow: what is measured.
    judge: (params, received) -> [K B, K] probabilities, compiled.
  """

  def __init__(self, workflow: Workflow):
    self.workflow = workflow
    self._develop = jax.jit(
      lambda nip, constants, raw: workflow.develop({"nip": nip}, constants, raw)
    )
    self._manipulate = jax.jit(workflow.manipulate)
    self._shrink = jax.jit(workflow.shrink)
    self._compress = jax.jit(workflow.compress)
    self.judge = jax.jit(
      lambda params, received: jax.nn.softmax(workflow.judge(params, received))
    )

  def fidelity(
    self, params: dict, constants: dict, patches: Mapping[str, np.ndarray]
  ) -> dict[str, float]:
    """Returns the mean "psnr" in dB, "ssim" and "loss" of developed patches.

    Args:
      params: {"nip": ...}.
      constants: the pipeline's.
      patches: {"raw": [N, h, w, 4], "target": [N, 2h, 2w, 3]}.
    """
    measures = []
    for batch in _batches(patches):
      developed = self._develop(params["nip"], constants, batch["raw"])
      measures.append(_fidelity(developed, batch["target"]))
    return {
      name: float(np.mean(np.concatenate([batch[name] for batch in measures])))
      for name in measures[0]
    }

  def confusion(
    self,
    params: dict,
    constants: dict,
    patches: Mapping[str, np.ndarray],
    codec: str = DJPEG,
  ) -> np.ndarray:
    """Returns the [K, K] counts of verdicts (columns) on each manipulation (rows).

    Args:
      params: {"nip": ..., "fan": ...}.
      constants: the pipeline's.
      patches: {"raw": [N, h, w, 4], ...}.
      codec: one of CODECS: the approximated JPEG of training, or libjpeg with a
        chroma subsampling.
    """
    classes = len(self.workflow.classes)
    counts = np.zeros((classes, classes), np.int64)
    for batch in _batches(patches):
      seen = self.follow(params, constants, batch["raw"], codec)
      verdicts = np.argmax(seen["probabilities"], axis=-1)
      labels = np.arange(classes)[:, None]
      np.add.at(counts, (np.broadcast_to(labels, verdicts.shape), verdicts), 1)
    return counts

  def follow(
    self, params: dict, constants: dict, raw: chex.Array, codec: str = DJPEG
  ) -> dict[str, np.ndarray]:
    """Returns all that becomes of RAW patches, versions first.

    Args:
      params: {"nip": ..., "fan": ...}.
      constants: the pipeline's.
      raw: [B, h, w, 4].
      codec: one of CODECS.

    Returns:
      "developed" [B, 2h, 2w, 3], "published" [K, B, 2h, 2w, 3], "received" [K, B, h,
      w, 3] and "probabilities" [K, B, K].
    """
    developed = self._develop(params["nip"], constants, raw)
    published = self._manipulate(developed)
    shrunk = self._shrink(published)
    if codec == DJPEG:
      received = self._compress(shrunk)
    else:
      quality = int(self.workflow.quality)
      received = channel.compress_with_libjpeg(np.asarray(shrunk), quality, codec)
    probabilities = self.judge(params, received)
    by_version = {
      "published": published,
      "received": received,
      "probabilities": probabilities,
    }
    classes = len(self.workflow.classes)
    return {"developed": np.asarray(developed)} | {
      name: np.asarray(array).reshape(classes, -1, *array.shape[1:])
      for name, array in by_version.items()
    }

  def examine(
    self, params: dict, constants: dict, raw: np.ndarray, *, tile: int
  ) -> list[dict[str, np.ndarray]]:
    """Returns what becomes of photographs, judged tile by tile.

    Args:
      params: {"nip": ..., "fan": ...}.
      constants: the pipeline's.
      raw: [B, h, w, 4].
      tile: see prediction.judge_photograph.

    Returns:
      For each photograph what `follow` returns, without the axis of the batch.
    """
    seen = self.follow(params, constants, raw)
    judge = functools.partial(self.judge, params)
    photographs = []
    for number, developed in enumerate(seen["developed"]):
      received = seen["received"][:, number]
      probabilities = [judge_photograph(judge, one, tile) for one in received]
      photographs.append(
        {
          "developed": developed,
          "published": seen["published"][:, number],
          "received": received,
          "probabilities": np.stack(probabilities),
        }
      )
    return photographs


def initial_inets(
  workflow: Workflow, camera: Camera, patches: Mapping[str, np.ndarray]
) -> tuple[float, float]:
  """Returns the PSNR, in dB, of INets that were not trained.

  Args:
    workflow: whose pipeline INet takes the place of.
    camera: that took the patches.
    patches: see Evaluator.fidelity.

  Returns:
    Of the INet that knows the camera's constants, and of one that starts from noise.
  """
  inet = pipelines.INet(camera.pattern, camera.color_matrix)
  evaluator = Evaluator(dataclasses.replace(workflow, nip=inet))
  measured = []
  for random_init in (False, True):
    initial = dataclasses.replace(inet, random_init=random_init)
    variables = jit_once(initial.init)(jax.random.key(0), patches["raw"][:1])
    networks = {"nip": variables["params"]}, {"constants": variables["constants"]}
    measured.append(evaluator.fidelity(*networks, patches)["psnr"])
  return tuple(measured)


def accuracy(counts: np.ndarray) -> float:
  """Returns the share of right verdicts in a confusion matrix of counts."""
  return float(np.trace(counts) / counts.sum())


def compare_jpegs(
  images: chex.Array, qualities: tuple[int, ...] = (20, 50, 80, 95)
) -> list[dict]:
  """Returns how well each approximation of JPEG keeps photographs (claim 1).

  Args:
    images: [B, H, W, 3] in [0, 1], multiples of 1/255.
    qualities: JPEG qualities.

  Returns:
    One row a quality: "quality", "libjpeg" and the keys of JPEGS, mean PSNR to the
    original in dB.
  """
  rows = []
  for quality in qualities:
    # A little more than k / 255, so that cutting to 8 bits finds k again.
    decoded = channel.compress_with_libjpeg(images + 1e-4, quality)
    rows.append({"quality": quality, "libjpeg": _mean_psnr(images, decoded)})
  for name, mode in JPEGS.items():
    compress = jax.jit(functools.partial(jpeg.jpeg, rounding=mode, arithmetic="korus"))
    for row in rows:
      row[name] = _mean_psnr(images, compress(images, float(row["quality"])))
  return rows


def _mean_psnr(a: chex.Array, b: chex.Array) -> float:
  return float(np.mean(_psnr(a, b)))


_psnr = jax.jit(psnr)


@jax.jit
def _fidelity(developed: chex.Array, target: chex.Array) -> dict[str, chex.Array]:
  clipped = jnp.clip(developed, 0, 1)
  error = jnp.square(255 * (clipped - target))
  return {
    "psnr": psnr(clipped, target),
    "ssim": ssim(clipped, target),
    "loss": jnp.mean(error, axis=(1, 2, 3)),
  }


def _batches(patches: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
  for start in range(0, len(patches["raw"]), BATCH):
    yield {name: array[start : start + BATCH] for name, array in patches.items()}
