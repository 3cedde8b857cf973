"""A General and Adaptive Robust Loss Function.

Barron, "A General and Adaptive Robust Loss Function", CVPR 2019.

One loss ρ(x, α, c) runs continuously from squared error to losses that ignore outliers.
Since it belongs to a probability density, its shape α and scale c can be learned by
maximum likelihood next to a network's weights, one pair for each output dimension.

The loss is `jaxvision.ops.robust`, the losses that learn are
`jaxvision.nn.robust_losses`. Here are the paper's applications: `vae` and `depth`,
which train networks; `registration` (gFGR), `clustering` (gRCC), `regression`,
`density` and `sampling`, which do not; `likelihoods`, the rows and columns of Table 1;
the data sets `data`, `depth_data`, `celeba` and `kitti`; and `prediction` for the
user's own files.
"""
