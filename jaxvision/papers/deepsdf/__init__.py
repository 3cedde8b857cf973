"""J. J. Park, P. Florence, J. Straub, R. Newcombe and S. Lovegrove, DeepSDF: Learning
Continuous Signed Distance Functions for Shape Representation, CVPR 2019.

A small network f(z, x) gives the signed distance of any point x to the shape of the
code z. There is no encoder: codes are free parameters, learned with the network, and
found for a new shape by optimisation, from full samples or a partial view. Surfaces are
zero level sets, normals gradients.
"""
