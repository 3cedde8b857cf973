"""One training loop for every paper: state, fit, checkpoints, run and report.

The public names are imported on first use, so that a program which only describes its
stages does not pay for flax, optax and the rest.
"""

import importlib

_HOME = {
  "NonFiniteError": "logbook",
  "Stage": "stage",
  "State": "state",
  "fit": "loop",
  "gradient_step": "steps",
  "jit_once": "once",
  "mixed_precision": "precision",
  "restore": "loop",
  "sequence": "steps",
}
__all__ = sorted(_HOME)


def __getattr__(name):
  if name not in _HOME:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
