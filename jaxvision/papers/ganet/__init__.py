"""GA-Net: guided aggregation of stereo costs.

Zhang, Prisacariu, Yang and Torr, "GA-Net: Guided Aggregation Net for End-to-End Stereo
Matching", CVPR 2019.

Most 3-D convolutions on a cost volume give way to two cheap layers whose weights a
small network reads from the left image: semi-global aggregation (SGA), a differentiable
semi-global matching along whole image rows and columns, and local guided aggregation
(LGA), a filter of each pixel's own, before and after the softmin over disparities.

Modules: `model` (the whole, every variant), `features`, `guidance`, `cost_aggregation`,
`heads`, `layers`, `starts`; `losses`, `training`, `stereo_data` (files and
augmentation), `dataset`, `prediction`, `training_free`, `published`. The layers
themselves are `jaxvision.ops.aggregation` and `jaxvision.ops.local_aggregation`.
"""

from jaxvision.papers.ganet.model import VARIANTS, GANet

__all__ = ["VARIANTS", "GANet"]
