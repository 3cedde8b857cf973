"""File formats, procedural scenes, TFDS builders, and the pipeline to the device."""
