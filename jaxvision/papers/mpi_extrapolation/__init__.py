"""Pushing the Boundaries of View Extrapolation with Multiplane Images.

Srinivasan, Tucker, Barron, Ramamoorthi, Ng and Snavely, "Pushing the Boundaries of View
Extrapolation with Multiplane Images", CVPR 2019.

Two views a little apart become planes of colour and opacity that can be seen from far
outside. How far follows from the number of planes, so a network of three-dimensional
convolutions, trained at many sizes, predicts any number of them. A second network sees
what the first found visible and may only move such colours, at or behind a plane, to
where they are hidden.

Modules: `networks` (both, and U-Nets of volumes), `model` (the prediction), `losses`,
`theory` (the range of views), `metrics`, `baselines`, `data`, `realestate` (triplets of
RealEstate10K), `training`, `published`. Rendering is `jaxvision.ops.mpi`.
"""
