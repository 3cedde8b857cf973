"""Content Authentication for Neural Imaging Pipelines.

Korus and Memon, "Content Authentication for Neural Imaging Pipelines: End-to-end
Optimization of Photo Provenance in Complex Distribution Channels", CVPR 2019.

A camera's imaging pipeline is itself a network, trained together with the network
that later judges, after down-sampling and JPEG, how a photograph was manipulated. The
pipeline learns to leave traces that survive the channel: accuracy doubles, for some
decibels of fidelity. All between the two networks is differentiable.

Modules: `camera` (classical development, a simulated camera), `pipelines` (INet, UNet,
DNet), `manipulations`, `channel`, `forensics` (FAN), `losses`, `data`, `published`.
"""
