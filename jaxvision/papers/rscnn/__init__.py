"""Relation-Shape Convolutional Neural Network for Point Cloud Analysis.

Liu, Fan, Xiang and Pan, "Relation-Shape Convolutional Neural Network for Point Cloud
Analysis", CVPR 2019.

A convolution on points whose weights are not parameters: a small network makes the
weight of a neighbour from its geometric relation to the centroid. The weighted
features are max-pooled over the ball and raised to more channels; stacked over points
that are sampled farthest from each other, this is a hierarchical network.

Modules: `grouping` (centroids, neighbours, local frames), `relations` (what a weight is
made from), `convolution` (the operator), `networks` (classification, parts, normals),
`baselines` (PointNet), `augmentation`, `voting`, `losses`, `metrics`, `training`,
`shapes` (the demo's data), `data`, `evaluation`, `published`.
"""
