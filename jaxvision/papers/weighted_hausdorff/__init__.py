"""Locating Objects Without Bounding Boxes (the weighted Hausdorff distance).

Ribera, Güera, Chen and Delp, "Locating Objects Without Bounding Boxes", CVPR 2019.

A network says of every pixel how likely an object's centre lies there, and learns from
nothing but points. The weighted Hausdorff distance makes the average Hausdorff distance
between pixels and points differentiable in these weights: pixels far from every point
must be off, and near every point there must be one that is on. A branch counts.

Modules: `losses` (M1-M4), `network`, `training`, `extraction` (from maps to points, M5
and M6), `metrics`, `evaluation`, `free_maps` (the loss without a network), `data`,
`dataset` (the real ones), `coins` (a photograph), `claims`, `figures`, `prediction`,
`published`, `speed`.

Points are (row, column), in pixels of the map or of the original image, as each
docstring says.
"""

from jaxvision.papers.weighted_hausdorff.extraction import locate
from jaxvision.papers.weighted_hausdorff.losses import (
  averaged_hausdorff,
  weighted_hausdorff,
)
from jaxvision.papers.weighted_hausdorff.network import Locator

__all__ = ["Locator", "averaged_hausdorff", "locate", "weighted_hausdorff"]
