"""flax.linen modules that two or more papers use."""
