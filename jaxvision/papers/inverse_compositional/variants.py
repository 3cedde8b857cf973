"""The rows of the paper's tables: what is compared, by name (M14, M15)."""

from collections.abc import Mapping
from typing import Any

from jaxvision.errors import UserError
from jaxvision.papers.inverse_compositional.regressors import Regressor
from jaxvision.papers.inverse_compositional.tracker import Tracker

# How each row differs from A+B+C.
_WITHOUT_B_C = {"estimator": "none", "solver": "gauss_newton"}
_CLASSICAL = {"encoder": "RGB", **_WITHOUT_B_C}

TRACKERS: Mapping[str, Mapping[str, Any]] = {
  "no learning": _CLASSICAL,
  "Huber": {**_CLASSICAL, "estimator": "huber"},
  "Tukey": {**_CLASSICAL, "estimator": "tukey"},
  "Levenberg-Marquardt": {**_CLASSICAL, "solver": "levenberg_marquardt"},
  "Huber, Levenberg-Marquardt": {
    "encoder": "RGB",
    "estimator": "huber",
    "solver": "levenberg_marquardt",
  },
  "DeepLK": {"encoder": "ConvRGBD", **_WITHOUT_B_C},
  "A": _WITHOUT_B_C,
  "A+B": {"solver": "gauss_newton"},
  "A+B+C": {},
  "A+B+C, no sharing": {"share_weights": False},
  "IC-FC-LS": {"estimator": "none", "solver": "fully_connected"},
}
REGRESSORS: Mapping[str, Mapping[str, Any]] = {
  "PoseCNN": {},
  "IC-PoseCNN": {"steps": 3},
  "Cascaded-PoseCNN": {"steps": 3, "cascaded": True},
}
ICP = ("ICP point-point", "ICP point-plane")
CLASSICAL = tuple(name for name in TRACKERS if TRACKERS[name].get("encoder") == "RGB")
LEARNED = (*(name for name in TRACKERS if name not in CLASSICAL), *REGRESSORS)


def make(name: str, **options: Any) -> Tracker | Regressor:
  """Returns the tracker of a row.

  Args:
    name: a key of TRACKERS or REGRESSORS.
    options: attributes of `Tracker`; a `Regressor` takes "depth_range" alone.

  Raises:
    UserError: no such row.
  """
  if name in TRACKERS:
    return Tracker(**{**options, **TRACKERS[name]})
  if name in REGRESSORS:
    return Regressor(depth_range=options["depth_range"], **REGRESSORS[name])
  known = ", ".join((*TRACKERS, *REGRESSORS))
  raise UserError(f"no variant {name!r}; known are {known}")
