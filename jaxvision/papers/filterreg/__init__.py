"""FilterReg: robust and efficient probabilistic point-set registration.

Gao and Tedrake, "FilterReg: Robust and Efficient Probabilistic Point-Set Registration
using Gaussian Filter and Twist Parameterization", CVPR 2019.

The observation induces the mixture of Gaussians, so that the E-step of EM filters over
points that never move: a permutohedral lattice does it in linear time. The M-step of
any kinematic model (rigid, articulated, node graph) sums 6 × 6 systems of body twists.

`registration.solve` registers rigid clouds; `articulated` and `deformable` have their
own `solve`; `correspondences` is the E-step, `twists` the M-step, `baselines` what the
paper compares with. The lattice is `jaxvision.ops.permutohedral`.
"""
