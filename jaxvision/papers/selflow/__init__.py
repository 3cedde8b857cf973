"""SelFlow: Self-Supervised Learning of Optical Flow.

Liu, Lyu, King and Xu, "SelFlow: Self-Supervised Learning of Optical Flow", CVPR 2019.

A network finds flow from a frame to the next and to the last one, looking at all three
together. It learns without labels: what is visible must look alike after warping
(a census loss, masked by a forward-backward check). Then superpixels of one frame are
filled with noise, and what the first network saw there teaches a second one to guess
the flow of what became hidden.

Modules: `network`, `losses`, `hallucination` (superpixels, rectangles and crops),
`training` (the stages), `inference`, `data` (clips with exact flow), `dataset` (Sintel
and KITTI), `evaluation`, `claims`, `figures`, `prediction`, `published`.
"""
