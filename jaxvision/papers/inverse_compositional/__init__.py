"""Taking a Deeper Look at the Inverse Compositional Algorithm.

Lv, Dellaert, Rehg and Geiger, "Taking a Deeper Look at the Inverse Compositional
Algorithm", CVPR 2019.

The motion between two RGB-D views is found by dense alignment, coarse to fine. Three
parts of the classical algorithm become small networks, trained through its iterations:
(A) features of both views, (B) the weight of each pixel, (C) the damping of each step.

Modules: `tracker` (the whole, every variant), `encoders` (A), `estimators` (B),
`solvers` (C and the classical ones), `alignment`, `geometry`, `preprocessing`;
`regressors` and `icp` (what it is compared with), `losses`, `metrics`, `data`, `tum`,
`moving_objects`, `published`.
"""
