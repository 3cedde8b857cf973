"""Cascaded Projection: End-to-End Network Compression and Acceleration.

Minnehan and Savakis, "Cascaded Projection: End-to-End Network Compression and
Acceleration", CVPR 2019.

A trained network is made thinner: the output channels of a layer are projected onto
fewer by an orthonormal matrix, and the next layer's kernels are pulled down by its
transpose, so that nothing is re-expanded. The projections are learned, through the
polar factor of a free matrix, by reconstruction of features and by cross-entropy.

Modules: `links` (where projections go), `network` (the forward pass), `projection`
(proxies and baking), `losses`, `training`, `baselines`, `compression` (all ways to a
compressed network), `evaluation`, `models`, `data`, `published`.
"""
