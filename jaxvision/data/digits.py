"""Handwritten digits that come inside the wheel of scikit-learn."""

import functools

import numpy as np

from jaxvision.errors import UserError

NUM_TRAIN = 1200


@functools.cache
def digits() -> dict[str, dict[str, np.ndarray]]:
  """Returns 1797 digits of 8 x 8 pixels as the splits "train" and "test".

  1200 are for training and 597 for testing, drawn once and for all: in scikit-learn's
  order the digits of one writer follow each other.

  Returns:
    {split: {"image": [N, 8, 8, 1] float32 in [0, 1], white on black, "label": [N]
    int32 in 0..9}}.

  Raises:
    UserError: scikit-learn is not installed.

  Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
  """
  try:
    from sklearn import datasets
  except ImportError:
    raise UserError(
      "the digits come with scikit-learn, which is not installed: "
      "pip install 'jaxvision[demo]'"
    ) from None
  found = datasets.load_digits()
  order = np.random.default_rng(0).permutation(len(found.target))
  image = (found.images[order, ..., None] / 16).astype(np.float32)
  label = found.target[order].astype(np.int32)
  return {
    "train": {"image": image[:NUM_TRAIN], "label": label[:NUM_TRAIN]},
    "test": {"image": image[NUM_TRAIN:], "label": label[NUM_TRAIN:]},
  }
