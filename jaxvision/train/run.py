"""The Run: where an experiment logs, keeps pictures, compares, ends in a report."""

import datetime
import io
import json
import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import chex
import jax
import numpy as np
from etils import epath

from jaxvision.train import configs, report
from jaxvision.train.provenance import commit, device
from jaxvision.train.workdir import (
  CONFIG,
  PREDICTIONS,
  REPORT,
  RESULTS,
  read_json,
  refuse_another_run,
  remove_run,
)
from jaxvision.train.writers import (
  PICTURES,
  MetricWriter,
  read_metrics,
  write_atomically,
)

_RECORDS = ("results", "claims", "tables", "pictures")


class Run:
  """One run of one paper's experiment, tied to its workdir.

  Every process of a run makes one; process 0 alone writes. What an earlier run of
  the same config recorded in the workdir is kept until it is recorded again.

  Attributes:
    paper: the paper's name, as in `experiments/<paper>.py`.
    preset: the name of the preset that the config started from.
    config: the experiment's frozen dataclass.
    workdir: where everything is written; local or `gs://`.
    data_dir: where prepared data sets lie, or None.
    out: where `predict` writes.
    is_main: whether this is process 0.
    started: wall-clock time at which the run was made, in seconds since the epoch.
  """

  def __init__(
    self,
    paper: str,
    preset: str,
    config: Any,
    workdir: epath.PathLike | None = None,
    *,
    data_dir: epath.PathLike | None = None,
    out: epath.PathLike | None = None,
    overwrite: bool = False,
    citation: str = "",
    command: str = "",
  ):
    """Opens the workdir, for the first time or to go on.

    Args:
      paper: the paper's name.
      preset: the preset's name.
      config: a frozen dataclass.
      workdir: `runs/<paper>-<preset>` under the current directory when None.
      data_dir: where prepared data sets lie.
      out: where `predict` writes; `predictions` in the workdir when None.
      overwrite: whether what an earlier run wrote in the workdir is removed first.
      citation: the paper's authors, title and venue.
      command: the command that repeats the run.

    Raises:
      UserError: the workdir holds another config's run and `overwrite` is False.
    """
    self.paper, self.preset, self.config = paper, preset, config
    self.workdir = epath.Path(workdir or f"runs/{paper}-{preset}")
    self.data_dir = None if data_dir is None else epath.Path(data_dir)
    self.out = self.workdir / PREDICTIONS if out is None else epath.Path(out)
    self.is_main = jax.process_index() == 0
    self.started = time.time()
    self._citation = citation
    self._command = command or f"python -m experiments.{paper} --preset={preset}"

    if not overwrite:
      refuse_another_run(self.workdir, paper, config)
    _meet("workdir is read")  # nobody writes before everybody has looked
    if self.is_main:
      if overwrite:
        remove_run(self.workdir)
      self.workdir.mkdir(parents=True, exist_ok=True)
      owner = {
        "paper": paper,
        "preset": preset,
        "config": configs.jsonable(config),
        "command": self._command,
      }
      write_atomically(self.workdir / CONFIG, _dump(owner))
    _meet("workdir is written")

    earlier = read_json(self.workdir / RESULTS) or {}
    self._earlier_seconds = earlier.get("seconds", 0.0)
    self._records = {kind: earlier.get(kind, []) for kind in _RECORDS}
    self._records["pictures"] = [
      picture  # a killed process may not have written what it had recorded
      for picture in self._records["pictures"]
      if (self.workdir / picture["file"]).exists()
    ]
    self._writer = MetricWriter(self.workdir) if self.is_main else None

  def __enter__(self) -> "Run":
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def log(self, message: str) -> None:
    """Prints one line, above the progress bar if there is one."""
    if self.is_main:
      from tqdm import tqdm

      tqdm.write(message, file=sys.stdout)
      sys.stdout.flush()

  def scalars(self, stage: str, step: int, values: Mapping[str, Any]) -> None:
    """Writes one step's scalars to metrics.jsonl and TensorBoard, in the background.

    Args:
      stage: the training stage's name; its curves share a section of the report.
      step: the number of steps done; of one stage, never smaller than before.
      values: {name: scalar}, Python's or device arrays. Names that agree behind the
        last "/" (`loss` and `eval/loss`) share a chart.
    """
    if self._writer is not None:
      self._writer.scalars(stage, step, values)

  def picture(
    self, name: str, image: chex.Array, caption: str = "", step: int | None = None
  ) -> None:
    """Keeps an image as pictures/NAME.png, for TensorBoard and the report.

    Args:
      name: names the picture; a later one of the same name replaces it.
      image: [H, W, 3 or 1], float in [0, 1] (clipped) or uint8.
      caption: what the report says under it.
      step: the training step it belongs to.
    """
    chex.assert_rank(image, 3)
    chex.assert_axis_dimension_comparator(
      image, 2, lambda channels: channels in (1, 3), "image has 1 or 3 channels"
    )
    if self._writer is None:
      return
    image = np.array(image)  # a copy: it is encoded later, in another thread
    if image.dtype != np.uint8:
      chex.assert_type(image, float)
      image = np.round(255.0 * np.clip(np.nan_to_num(image), 0.0, 1.0)).astype(np.uint8)
    self._keep(name, lambda: _encode_png(image), caption, step, "picture")

  def figure(self, name: str, figure: Any, caption: str = "") -> None:
    """Keeps a matplotlib figure as pictures/NAME.png and for the report."""
    if self._writer is None:
      return
    encoded = io.BytesIO()
    figure.savefig(
      encoded, format="png", dpi=160, facecolor="white", bbox_inches="tight"
    )
    self._keep(name, encoded.getvalue, caption, None, "figure")

  def table(
    self, name: str, rows: Sequence[Mapping[str, Any]], caption: str = ""
  ) -> None:
    """Records a table: one mapping a row, its columns in the first one's order."""
    self._record("tables", {"name": name, "rows": list(rows), "caption": caption})

  def result(
    self,
    name: str,
    value: float,
    paper: float | str | None = None,
    unit: str = "",
    note: str = "",
  ) -> None:
    """Records one measured number, beside the paper's where there is one."""
    self._record(
      "results",
      {"name": name, "value": value, "paper": paper, "unit": unit, "note": note},
    )

  def claim(
    self,
    name: str,
    ours: float,
    baseline: float,
    better: Literal["higher", "lower"] = "higher",
    margin: float = 0.0,
    seeds: Sequence[int] = (),
    paper: float | str = "",
    note: str = "",
  ) -> bool:
    """Records a comparison that the paper makes, made again; returns whether it held.

    Args:
      name: the claim in words.
      ours: what the paper's method reaches.
      baseline: what it is compared with.
      better: whether a higher or a lower number is better.
      margin: by how much `ours` must be better. A tie does not hold with margin 0; a
        negative margin is how much worse `ours` may be.
      seeds: the seeds that both numbers are means over.
      paper: the paper's own numbers.
      note: what a reader should know of the comparison.
    """
    gain = gained(ours, baseline, better)
    held = is_held(gain, margin)
    self._record(
      "claims",
      {
        "name": name,
        "held": held,
        "ours": ours,
        "baseline": baseline,
        "better": better,
        "gain": gain,
        "margin": margin,
        "seeds": list(seeds),
        "paper": paper,
        "note": note,
      },
    )
    self.log(
      f"claim {'held' if held else 'NOT HELD'}: {name} "
      f"(ours {report.number(ours)}, baseline {report.number(baseline)})"
    )
    return held

  def finish(self) -> None:
    """Writes results.json and report.html."""
    if self._writer is None:
      return
    self._writer.flush()
    results = self._save()
    pictures = {
      picture["file"]: (self.workdir / picture["file"]).read_bytes()
      for picture in results["pictures"]
    }
    page = report.render(results, read_metrics(self.workdir), pictures)
    write_atomically(self.workdir / REPORT, page)

  def close(self) -> None:
    """Writes what is still buffered; the run can be made again and goes on."""
    if self._writer is not None:
      self._writer.close()

  def _keep(self, name, encode, caption, step, kind) -> None:
    file = f"{PICTURES}/{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}.png"
    self._writer.picture(name, file, encode, step or 0)
    self._record(
      "pictures",
      {"name": name, "caption": caption, "step": step, "file": file, "kind": kind},
    )

  def _record(self, kind: str, record: dict[str, Any]) -> None:
    record = configs.jsonable(record)
    records = self._records[kind]
    for index, earlier in enumerate(records):
      if earlier["name"] == record["name"]:
        records[index] = record
        break
    else:
      records.append(record)
    if self.is_main:
      self._save()

  def _save(self) -> dict[str, Any]:
    seeds = {seed for claim in self._records["claims"] for seed in claim["seeds"]}
    if isinstance(getattr(self.config, "seed", None), int):
      seeds.add(self.config.seed)
    now = datetime.datetime.now(datetime.UTC)
    results = {
      "paper": self.paper,
      "title": self.paper.replace("_", " ").capitalize(),
      "citation": self._citation,
      "date": now.isoformat(timespec="seconds"),
      "commit": commit(),
      "device": device(),
      "seconds": round(self._earlier_seconds + time.time() - self.started, 1),
      "preset": self.preset,
      "seeds": sorted(seeds),
      "command": self._command,
      "config": configs.jsonable(self.config),
    } | self._records
    write_atomically(self.workdir / RESULTS, _dump(results))
    return results


def gained(ours: float, baseline: float, better: Literal["higher", "lower"]) -> float:
  """Returns by how much `ours` is better; negative where it is worse."""
  if better not in ("higher", "lower"):
    raise ValueError(f"better is 'higher' or 'lower', not {better!r}")
  difference = float(ours) - float(baseline)
  return difference if better == "higher" else -difference


def is_held(gain: float, margin: float) -> bool:
  """Returns whether a gain reaches the margin, or exceeds 0 without one; NaN never."""
  if margin == 0.0:
    return gain > 0.0
  # 0.95 - 0.80 is not quite 0.15 in binary.
  return gain > margin or math.isclose(gain, margin, abs_tol=1e-12)


def _meet(why: str) -> None:
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(why)


def _dump(tree: Any) -> str:
  return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _encode_png(image: np.ndarray) -> bytes:
  import PIL.Image

  encoded = io.BytesIO()
  PIL.Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(
    encoded, format="png"
  )
  return encoded.getvalue()
