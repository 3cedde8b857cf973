"""How far generated images are, as a set, from real ones.

The feature network is the caller's. Only with the pool features of Inception-v3 and
50,000 images of each kind is the result the paper's FID.
"""

from collections.abc import Callable, Iterable, Iterator

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import frechet
from jaxvision.papers.stylegan import growing

Features = Callable[[chex.Array], chex.Array]


def statistics(features: Features, batches: Iterable[chex.Array]) -> frechet.Statistics:
  """Returns the moments of the features of batches of images.

  Args:
    features: [N, H, W, C] float in [0, 255] -> [N, D].
    batches: of images [N, H, W, C], uint8; or float in [-1, 1], which are
      rounded to bytes first, as the authors do.

  Raises:
    ValueError: fewer than two images, or features that are not finite.
  """

  def features_of(images):
    if images.dtype != np.uint8:
      images = growing.to_uint8(jnp.asarray(images))
    return features(jnp.asarray(images, jnp.float32))

  return frechet.statistics_of_batches(map(features_of, batches))


def generated(
  generate: Callable[[chex.PRNGKey], chex.Array], key: chex.PRNGKey, batches: int
) -> Iterator[chex.Array]:
  """Yields so many batches of images, each generated from a key of its own."""
  for number in range(batches):
    yield generate(jax.random.fold_in(key, number))


def distance(
  features: Features, reals: Iterable[chex.Array], fakes: Iterable[chex.Array]
) -> float:
  """Returns the Fréchet distance between two sets of images; see `statistics`."""
  return frechet.frechet_distance(
    statistics(features, reals), statistics(features, fakes)
  )
