"""A run's directory: what lies where, and whose it is.

A workdir holds:
  config.json     paper, preset and config of the run that owns the directory
  metrics.jsonl   {"stage", "step", "time", name: value, ...} a line
  tensorboard/    the same, and the pictures, as TensorBoard events
  pictures/       PNG
  predictions/    what --mode=predict writes unless --out says otherwise
  results.json    everything but the curves: results, claims, tables, and what made them
  report.html     all of it to look at, in one file
  checkpoints/    written by the training loop
"""

import json
from typing import Any

from etils import epath

from jaxvision.errors import UserError
from jaxvision.train import configs
from jaxvision.train.writers import METRICS, PICTURES, TENSORBOARD

CONFIG = "config.json"
RESULTS = "results.json"
REPORT = "report.html"
PREDICTIONS = "predictions"
CHECKPOINTS = "checkpoints"


def read_owner(workdir: epath.Path) -> dict[str, Any] | None:
  """Returns the config.json of a workdir, or None when no run owns it.

  Raises:
    UserError: there is a config.json that no run wrote.
  """
  path = epath.Path(workdir) / CONFIG
  owner = read_json(path)
  if owner is not None and not {"paper", "preset", "config"} <= owner.keys():
    raise UserError(f"{path} was not written by a run: give another --workdir")
  return owner


def refuse_another_run(workdir: epath.Path, paper: str, config: Any) -> None:
  """Raises UserError where another paper's or config's run owns the workdir."""
  owner = read_owner(workdir)
  if owner is None:
    return
  if paper != owner["paper"]:
    here, there = {"paper": paper}, {"paper": owner["paper"]}
  else:
    here, there = configs.jsonable(config), owner["config"]
  different = configs.differences(here, there, str(workdir))
  if different:
    raise UserError(
      f"{workdir} holds another run ({'; '.join(different)}): "
      "give another --workdir, or --overwrite to start anew"
    )


def remove_run(workdir: epath.Path) -> None:
  """Removes what a run wrote, and nothing that somebody else put beside it."""
  if read_owner(workdir) is None:
    return
  for name in (TENSORBOARD, PICTURES, PREDICTIONS, CHECKPOINTS):
    if (workdir / name).exists():
      (workdir / name).rmtree()
  # config.json last: a removal that was interrupted can be begun again.
  for name in (METRICS, RESULTS, REPORT, CONFIG):
    (workdir / name).unlink(missing_ok=True)


def read_json(path: epath.Path) -> dict[str, Any] | None:
  """Returns the JSON object in a file, or None without the file.

  Raises:
    UserError: the file holds something else.
  """
  if not path.exists():
    return None
  try:
    tree = json.loads(path.read_text())
  except ValueError:
    tree = None
  if not isinstance(tree, dict):
    raise UserError(f"{path} is damaged: it holds no JSON object")
  return tree
