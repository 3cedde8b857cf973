"""What the paper measures, measured again: one function for each application."""

from collections.abc import Callable, Iterable, Sequence

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data import pipeline
from jaxvision.ops import robust
from jaxvision.papers.robust_loss import (
  clustering,
  data,
  density,
  registration,
  regression,
  sampling,
  vae,
)
from jaxvision.papers.robust_loss.likelihoods import DISTRIBUTIONS, REPRESENTATIONS
from jaxvision.train import State, jit_once

SAMPLED_ALPHAS = (0.0, 0.5, 1.0, 2.0, 4.0)
OUTLIERS, NOISES = (0.5, 0.8), (0.0, 0.0025, 0.005)
SCHEDULES = {
  "shape annealed": registration.shape_annealed(),
  "FGR": registration.scale_annealed(),
  "α = 1": registration.fixed(1.0),
  "least squares": registration.fixed(2.0),
}
CLUSTER_ALPHAS = (1.0, 0.0, -0.5, -1.0, -2.0, -8.0)


def regression_errors(seeds: Sequence[int]) -> dict[str, np.ndarray]:
  """Returns the lines' root mean square errors, [seeds] for each loss."""
  errors = {loss: [] for loss in reversed(regression.LOSSES)}
  for seed in seeds:
    x, y = regression.points(jax.random.key(seed))
    for loss, found in errors.items():
      found.append(regression.rmse(regression.fit(x, y, loss)))
  return {loss: np.array(found) for loss, found in errors.items()}


def sampling_distances(seeds: Sequence[int], count: int) -> list[dict]:
  """Returns the Kolmogorov-Smirnov distance of `count` draws, a row for each α."""
  draw = jit_once(lambda key, alpha: robust.sample(key, alpha, 1.0, (count,)))
  rows = []
  for alpha in SAMPLED_ALPHAS:
    distances = [
      sampling.kolmogorov_smirnov(draw(jax.random.key(seed), alpha), alpha)
      for seed in seeds
    ]
    rows.append({"alpha": alpha, "distance": max(distances)})
  return rows


def density_rows(
  seeds: Sequence[int],
  config: density.Fit,
  *,
  size: int,
  train: int,
  held_out: int,
  splits: tuple[str, str],
) -> tuple[list[dict], dict[str, density.Density]]:
  """Returns held-out log-likelihoods of patches under every density.

  Args:
    seeds: of patches and batches.
    config: of the fits.
    size: of the patches in pixels.
    train: number of patches that are fitted.
    held_out: number of patches that judge.
    splits: of `data.patches`, for the one and for the other.

  Returns:
    rows of "seed", "representation" and a column for each distribution, in nats a
    patch; and the first seed's "adaptive" density of each representation.
  """
  rows, adaptive = [], {}
  for seed in seeds:
    patches = jnp.asarray(data.patches(2 * seed, train, size, splits[0]))
    judged = jnp.asarray(data.patches(2 * seed + 1, held_out, size, splits[1]))
    for representation in REPRESENTATIONS:
      row = {"seed": seed, "representation": representation}
      for distribution in DISTRIBUTIONS:
        names = distribution, representation
        found = density.fit(jax.random.key(seed), patches, *names, config)
        row[distribution] = float(density.log_likelihood(found, judged, *names, config))
        if distribution == "adaptive":
          adaptive.setdefault(representation, found)
      rows.append(row)
  return rows, adaptive


def registration_rows(seeds: Sequence[int], count: int) -> list[dict]:
  """Returns the mean error of each way of registering, in % of the clouds' unit.

  Args:
    seeds: one a trial.
    count: pairs of points a trial.

  Returns:
    rows of "outliers", "noise", and for each of SCHEDULES a column.
  """
  rows, make = [], _registrations(count)
  for outliers in OUTLIERS:
    for noise in NOISES:
      pairs = make(_keys(seeds), outliers, noise)
      row = {"outliers": outliers, "noise": noise}
      for name, schedule in SCHEDULES.items():
        row[name] = 100 * float(jnp.mean(_registration_errors(*pairs, schedule)))
      rows.append(row)
  return rows


def _registrations(count):
  """Returns (keys, outliers, noise) -> the trials of `count` pairs."""

  def make(key, outliers, noise):
    return data.registration(key, outliers=outliers, noise=noise, count=count)

  return jit_once(jax.vmap(make, in_axes=(0, None, None)))


@jax.jit
def _registration_errors(source, target, truth, schedule):
  def error(source, target, truth):
    found = registration.solve(source, target, schedule)
    return registration.rmse(found.transform, source, truth)

  return jax.vmap(error)(source, target, truth)


def cluster_rows(
  points: np.ndarray, labels: np.ndarray, alphas: Sequence[float]
) -> tuple[list[dict], dict[float, clustering.Clustering]]:
  """Returns the adjusted mutual information of clusters with classes, for each α.

  Args:
    points: [N, D].
    labels: [N] true classes.
    alphas: shapes of the loss.

  Returns:
    rows of "alpha", "AMI" and "clusters"; and the clusters of each α.
  """
  from sklearn.metrics import adjusted_mutual_info_score

  edges = jit_once(clustering.neighborhood)(jnp.asarray(points))
  solve = jax.jit(clustering.solve)
  rows, found = [], {}
  for alpha in alphas:
    found[alpha] = jax.device_get(solve(jnp.asarray(points), edges, alpha))
    score = adjusted_mutual_info_score(labels, found[alpha].labels)
    row = {"alpha": alpha, "AMI": float(score), "clusters": int(found[alpha].count)}
    rows.append(row)
  return rows, found


def kmeans_scores(
  points: np.ndarray, labels: np.ndarray, seeds: Sequence[int]
) -> list[float]:
  """Returns the adjusted mutual information of k-means, which is told k, by seed."""
  from sklearn.cluster import KMeans
  from sklearn.metrics import adjusted_mutual_info_score

  clusters = len(np.unique(labels))
  return [
    float(
      adjusted_mutual_info_score(
        labels, KMeans(clusters, n_init=10, random_state=seed).fit_predict(points)
      )
    )
    for seed in seeds
  ]


class Autoencoders:
  """What autoencoders of one architecture are asked, compiled once for all.

  Args:
    network: their architecture.
    forward: (state, batch) -> {"elbo": [B], ...}, of its stage.
  """

  def __init__(self, network: vae.VAE, forward: Callable):
    self._forward = jax.jit(forward)

    def method(name):
      return jax.jit(
        lambda params, *arguments: network.apply(
          {"params": params}, *arguments, method=name
        )
      )

    self._reconstruct = method("reconstruct")
    self._sample = jax.jit(
      lambda params, key: network.apply({"params": params}, key, 8, method="sample")
    )
    self.shape_and_scale = method("shape_and_scale")

  def bound(self, state: State, batches: Iterable[dict]) -> dict[str, float]:
    """Returns the mean "elbo" and "rate" of all images of some batches, in nats."""
    parts = [self._forward(state, batch) for batch in batches]
    return {name: _mean(part[name] for part in parts) for name in ("elbo", "rate")}

  def mean_error(self, params: dict, batches: Iterable[dict]) -> float:
    """Returns the mean absolute error of reconstructed images."""
    return _mean(
      np.abs(self.reconstruct(params, batch["image"]) - batch["image"])
      for batch in batches
    )

  def reconstruct(self, params: dict, images: chex.Array) -> np.ndarray:
    """Returns mean images [B, S, S, 3] of images' codes."""
    return np.asarray(self._reconstruct(params, images))

  def sample(self, params: dict, key: chex.PRNGKey) -> np.ndarray:
    """Returns mean images [8, S, S, 3] of codes from the prior."""
    return np.asarray(self._sample(params, key))


def in_order(images: pipeline.Source, batch: int) -> Iterable[dict]:
  """Returns batches in which every image is once; the last may be smaller."""
  return pipeline.batches(
    images,
    batch_size=min(batch, len(images)),
    seed=0,
    shuffle=False,
    num_epochs=1,
    drop_remainder=False,
  )


def first_images(images: pipeline.Source, count: int = 8) -> np.ndarray:
  """Returns the first images, [count or fewer, S, S, 3]."""
  return np.stack([images[i]["image"] for i in range(min(count, len(images)))])


def _mean(arrays):
  """Returns the mean of all elements of arrays of different sizes."""
  total, count = 0.0, 0
  for values in map(np.asarray, arrays):
    total, count = total + np.sum(values, dtype=np.float64), count + values.size
  return float(total / count)


def _keys(seeds):
  return jax.vmap(jax.random.key)(jnp.array(seeds))
