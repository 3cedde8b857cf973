"""Occupancy Networks: Learning 3D Reconstruction in Function Space.

L. Mescheder, M. Oechsle, M. Niemeyer, S. Nowozin, A. Geiger, CVPR 2019.

A shape is the decision boundary of a classifier of points, inside or outside, given
what was observed of it: an image, a noisy cloud, coarse voxels, or nothing. So it has
no resolution; a mesh is extracted from coarse to fine, and refined by the classifier's
own gradient.

  variants.VARIANTS, variants.network     tasks, ablations and baselines
  generation.generate                     network and codes in, mesh out
  published.load                          the authors' weights
"""
