"""Convolutional Mesh Regression for Single-Image Human Shape Reconstruction.

N. Kolotouros, G. Pavlakos, K. Daniilidis, CVPR 2019.

A network that looks at one person gives no parameters of a body model, which are hard
to regress, but the places of the vertices of its mesh: the image's features are copied
to every vertex, and a graph convolution network moves each to where it belongs.
Parameters are then read off the regressed mesh by a small network.

  body.read, body.stand_in          SMPL's mesh as the network needs it
  network.Regressor                 images in, meshes and cameras out
  readout.ParameterReadout          vertices in, rotations and shape out
  published.load                    the authors' weights
"""
