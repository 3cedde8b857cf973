"""Semantic Image Synthesis with Spatially-Adaptive Normalization (GauGAN).

Park, Liu, Wang and Zhu, "Semantic Image Synthesis with Spatially-Adaptive
Normalization", CVPR 2019.

Normalisation wipes out what a label map says, most of all where one class fills the
picture. Here the scale and shift behind every normalisation are maps that a small
network makes from the labels, so that the generator needs no encoder of them and can
start from a random vector, or from that of a picture whose style is wanted.

Modules: `semantics` (labels and instances as channels), `conditioning` (SPADE, and
concatenation), `generator`, `pix2pixhd` (the baselines' generator), `discriminator`,
`encoder` (of styles), `losses`, `training`, `segmenter` (that judges), `metrics`,
`evaluation`, `claims`, `figures`, `prediction`, `data`, `coco_instances`,
`preprocessing`, `published`, `variants` (the paper's data sets and ablations), `speed`.

Networks take and give images in [-1, 1], as the authors'; `semantics.to_signed` and
`semantics.from_signed` lead there from [0, 1] and back.
"""
