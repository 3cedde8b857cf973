"""2.5D Visual Sound: binaural audio from mono audio and a picture.

Gao and Grauman, "2.5D Visual Sound", CVPR 2019.

A mono track has lost the differences between the ears that tell where sounds come from,
but the video still shows it. A U-Net sees the spectrum of the sum of both channels and,
in its bottleneck, features of the frame; it gives a complex mask that turns the sum
into the difference of the channels, which no network can guess without looking.

Modules: `audio` (spectra of segments), `networks`, `training`, `inference` (whole
clips, and what a clip is compared with), `occlusion` (where the network looks),
`separation` (of two clips, by their pictures), `metrics`, `data` (segments and frames),
`fair_play` (the authors' data set), `evaluation`, `claims`, `figures`, `recordings`
(the user's files), `prediction`, `published`, `speed`.

Audio is [..., T, channels], channel 0 left; spectra are planes [..., F, N, 2] of real
and imaginary parts, N frames of F frequencies.
"""
