"""One training loop for every paper: state, fit, checkpoints, run and report."""
