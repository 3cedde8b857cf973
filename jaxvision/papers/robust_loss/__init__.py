"""A General and Adaptive Robust Loss Function.

Barron, "A General and Adaptive Robust Loss Function", CVPR 2019.

One loss ρ(x, α, c) runs continuously from squared error to losses that ignore outliers.
Since it belongs to a probability density, its shape α and scale c can be learned by
maximum likelihood next to a network's weights, one pair for each output dimension.

The loss is `jaxvision.ops.robust`, the losses that learn are
`jaxvision.nn.robust_losses`. Of the paper's applications these
are here: `registration` (gFGR) and `clustering` (gRCC), with `data` for both.
"""
