"""A real photograph to locate and count on: scikit-image's Greek coins from Pompeii.

Half of it trains and the other half tests, by random crops, as the paper's plants are
crops of one orthophoto.
"""

import numpy as np
from PIL import Image

from jaxvision.data import photographs

# Centres (row, column), marked for this project.
CENTERS = np.array(
  [
    (54, 44),
    (56, 101),
    (51, 155),
    (51, 216),
    (53, 276),
    (43, 335),
    (124, 45),
    (125, 102),
    (127, 153),
    (124, 205),
    (120, 271),
    (124, 336),
    (197, 43),
    (195, 102),
    (198, 154),
    (193, 212),
    (194, 274),
    (186, 347),
    (260, 46),
    (266, 114),
    (261, 172),
    (263, 244),
    (263, 301),
    (268, 358),
  ],
  np.float32,
)
CUT = 188  # the column between both halves, along which hardly a coin is cut
MOST = 12  # coins in a crop at most
_CROPS = (120, 188)  # smallest and largest side
_TILE_CUT = 156  # the row between the tiles of a half


def halves() -> dict[str, dict[str, np.ndarray]]:
  """Returns "train" and "test": image [h, w, 3] uint8 and points [12, 2].

  Raises:
    UserError: scikit-image is not installed.
  """
  image = np.repeat(photographs.grey_photographs()["coins"], 3, axis=-1)
  is_left = CENTERS[:, 1] < CUT
  return {
    "train": {"image": image[:, :CUT], "points": CENTERS[is_left]},
    "test": {"image": image[:, CUT:], "points": CENTERS[~is_left] - [0, CUT]},
  }


def tiles() -> list[dict[str, np.ndarray]]:
  """Returns the half that tests in two tiles, nearly square, as `halves`."""
  half = halves()["test"]
  is_above = half["points"][:, 0] < _TILE_CUT
  return [
    {"image": half["image"][:_TILE_CUT], "points": half["points"][is_above]},
    {
      "image": half["image"][_TILE_CUT:],
      "points": half["points"][~is_above] - [_TILE_CUT, 0],
    },
  ]


def crops(count: int, size: int, seed: int, part: str) -> dict[str, np.ndarray]:
  """Returns random square crops of a half, of one size.

  Args:
    count: how many.
    size: height and width that they are resized to.
    seed: of the draw.
    part: "train" or "test".

  Returns:
    image [count, size, size, 3] uint8; points [count, MOST, 2] float32 (row, column) of
    the coins whose centres are in the crop, -1 where none; valid [count, MOST] bool.
  """
  half = halves()[part]
  height, width = half["image"].shape[:2]
  images = np.zeros((count, size, size, 3), np.uint8)
  points = np.full((count, MOST, 2), -1, np.float32)
  valid = np.zeros((count, MOST), bool)
  for index in range(count):
    rng = np.random.default_rng([seed, index])
    side = int(rng.integers(_CROPS[0], min(_CROPS[1], height, width) + 1))
    corner = rng.integers(0, (height - side + 1, width - side + 1))
    rows, columns = (slice(start, start + side) for start in corner)
    crop = Image.fromarray(np.ascontiguousarray(half["image"][rows, columns]))
    images[index] = np.asarray(crop.resize((size, size), Image.Resampling.BILINEAR))
    inside = half["points"] - corner
    inside = inside[np.all((inside >= 0) & (inside < side), axis=1)]
    points[index, : len(inside)] = inside * (size / side)
    valid[index, : len(inside)] = True
  return {"image": images, "points": points, "valid": valid}
