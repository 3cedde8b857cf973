"""Parity adapters of weighted_hausdorff: the authors' names and layout (NCHW)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import beta_mixture
from jaxvision.papers.weighted_hausdorff import extraction, losses, metrics, published
from tests.parity.arrays import to_numpy

# What the authors' call of the case says and its tensors do not.
RADIUS = 5
FIXED_THRESHOLD = 0.5
LARGEST_AHD = 100.0
KNOWN_COUNT = 1.0  # of a network without a branch that counts


def numbered(inputs, name):
  """Returns inputs name0, name1, ... in their order."""
  count = sum(key.startswith(name) and key[len(name) :].isdigit() for key in inputs)
  return [inputs[f"{name}{index}"] for index in range(count)]


def weighted_hausdorff(parameters, inputs, exponent=-1.0):
  del parameters
  truth = numbered(inputs, "gt")
  most = max(map(len, truth))
  points = np.full((len(truth), most, 2), -1, np.float32)
  valid = np.zeros((len(truth), most), bool)
  for index, some in enumerate(truth):
    points[index, : len(some)] = some
    valid[index, : len(some)] = True
  sizes = jnp.asarray(inputs["orig_sizes"], jnp.float32)

  @jax.jit
  def run(maps):
    terms, pull = jax.vjp(
      lambda maps: losses.weighted_hausdorff(
        maps, jnp.asarray(points), jnp.asarray(valid), sizes, exponent=exponent
      ),
      maps,
    )
    one, zero = jnp.ones(()), jnp.zeros(())
    return {
      "term1": terms.first,
      "term2": terms.second,
      "grad_map_total": pull(losses.Terms(one, one))[0],
      "grad_map_term1": pull(losses.Terms(one, zero))[0],
    }

  return run(jnp.asarray(inputs["map"], jnp.float32))


def averaged_hausdorff(parameters, inputs):
  del parameters
  sets = [jnp.asarray(inputs[name], jnp.float32) for name in ("set1", "set2")]
  return {"ahd": losses.averaged_hausdorff(*sets)}


def unet(parameters, inputs):
  image = jnp.moveaxis(jnp.asarray(inputs["image"], jnp.float32), 1, -1)
  network, variables = published.locator(
    parameters, size=image.shape[1:3], known_count=KNOWN_COUNT
  )
  found = jax.jit(functools.partial(network.apply, train=False))(variables, image)
  return {
    "logits": found.logits[:, None],
    "map": found.map,
    "deepest_features": jnp.moveaxis(found.deepest, -1, 1),
    "count": found.count[:, None],
    "count_before_relu": found.signed_count[:, None],
  }


def threshold(parameters, inputs):
  del parameters
  saliency = jnp.asarray(inputs["map"], jnp.float32)
  otsu = extraction.threshold(saliency, extraction.OTSU)
  beta = extraction.threshold(saliency, extraction.BETA_MIXTURE)
  fixed = extraction.threshold(saliency, FIXED_THRESHOLD)
  mixture = jax.jit(beta_mixture.fit)(saliency)
  return {
    "otsu_tau": otsu.value,
    "otsu_mask_count": jnp.sum(otsu.mask),
    "bmm_tau": beta.value,
    "bmm_mask_count": jnp.sum(beta.mask),
    "bmm_params": jnp.stack([mixture.a, mixture.b, mixture.weights], axis=1),
    "fixed_mask_count": jnp.sum(fixed.mask),
  }


def judge(parameters, inputs):
  del parameters
  judge = metrics.Judge(RADIUS)
  points, truth = numbered(inputs, "pts"), numbered(inputs, "gt")
  for some, true in zip(points, truth, strict=True):
    judge.add_points(some, true, empty=LARGEST_AHD)
  for pair in zip(inputs["est_counts"], inputs["true_counts"], strict=True):
    judge.add_count(*pair)
  scores = judge.scores()
  return {
    "metrics": np.array(
      [
        scores.precision,
        scores.recall,
        scores.f_score,
        scores.ahd,
        scores.mean_error,
        scores.mae,
        scores.mean_percentage_error,
        scores.mape,
        scores.mse,
        scores.rmse,
      ]
    )
  }


ADAPTERS = {
  name: to_numpy(adapter)
  for name, adapter in {
    "whd_p1": weighted_hausdorff,
    "ahd": averaged_hausdorff,
    "unet_256": unet,
    "threshold": threshold,
    "judge": judge,
  }.items()
}
