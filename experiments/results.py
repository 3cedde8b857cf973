"""RESULTS.md: what each paper's demo measured here, drawn from results/*.json.

python -m experiments.results                    rebuilds RESULTS.md
python -m experiments.results --check            exits 1 when RESULTS.md is stale
python -m experiments.results --collect WORKDIR  takes a run's results.json first
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from jaxvision.errors import UserError
from jaxvision.train.report import duration, margin, number
from jaxvision.train.workdir import RESULTS, read_json

ROOT = pathlib.Path(__file__).parents[1]
PREAMBLE = """\
# Results

What the demo presets measured here, beside what the papers report. A claim is a
comparison that a paper makes, made again on the demo data, both sides by the same code
under the same budget. Gain says by how much ours is better than the baseline; the claim
holds where it reaches the margin. `python -m experiments.results` draws this page from
`results/*.json`.
"""


def collect(workdir: epath.PathLike, root: pathlib.Path) -> pathlib.Path:
  """Copies a run's results.json to results/<paper>.json.

  Args:
    workdir: of a run whose evaluation ended.
    root: the repository.

  Returns:
    The file written.

  Raises:
    UserError: the workdir holds no results.
  """
  path = epath.Path(workdir) / RESULTS
  entry = read_json(path)
  if entry is None:
    raise UserError(f"{path} does not exist: has the run in {workdir} ended?")
  if not entry["results"] and not entry["claims"]:
    raise UserError(f"{path} holds neither results nor claims: evaluate the run first")
  del entry["pictures"]  # they stay in the workdir
  target = root / "results" / f"{entry['paper']}.json"
  target.parent.mkdir(exist_ok=True)
  target.write_text(json.dumps(entry, indent=2, ensure_ascii=False) + "\n")
  return target


def load(root: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the papers' entries, sorted by paper.

  Raises:
    UserError: a file is damaged.
  """
  entries = []
  for path in sorted((root / "results").glob("*.json")):
    entry = read_json(epath.Path(path))
    if {"paper", "claims", "results"} <= entry.keys():
      entries.append(entry)  # the others are benchmarks
  return entries


def render(entries: Sequence[Mapping[str, Any]]) -> str:
  """Returns RESULTS.md of the entries."""
  overview = [
    [
      f"[{entry['title']}](#{_anchor(entry['title'])})",
      f"{sum(claim['held'] for claim in entry['claims'])} of {len(entry['claims'])}",
      entry["preset"],
      ", ".join(map(str, entry["seeds"])),
      duration(entry["seconds"]),
      entry["device"],
      entry["date"][:10],
      f"`{entry['commit']}`",
    ]
    for entry in entries
  ]
  columns = ("Paper", "Claims held", "Preset", "Seeds", "Time", "Device", "Date")
  parts = [PREAMBLE, _table([*columns, "Commit"], overview)]
  return "\n".join(parts + [_section(entry) for entry in entries])


def _section(entry: Mapping[str, Any]) -> str:
  parts = [f"## {entry['title']}\n"]
  if entry["citation"]:
    parts.append(f"{_one_line(entry['citation'])}\n")
  if entry["results"]:
    rows = [
      [
        result["name"] + (f" ({result['note']})" if result["note"] else ""),
        number(result["value"]),
        number(result["paper"]),
        result["unit"],
      ]
      for result in entry["results"]
    ]
    parts.append(_table(["Result", "Ours", "Paper", "Unit"], rows))
  if entry["claims"]:
    rows = [
      [
        claim["name"],
        "held" if claim["held"] else "**not held**",
        number(claim["ours"]),
        number(claim["baseline"]),
        number(claim["gain"]),
        margin(claim),
        number(claim["paper"]),
      ]
      for claim in entry["claims"]
    ]
    columns = ("Claim", "Verdict", "Ours", "Baseline", "Gain", "Margin", "Paper")
    parts.append(_table(columns, rows))
  return "\n".join(parts)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  lines = [columns, ["---"] * len(columns), *rows]
  return "".join(f"| {' | '.join(map(_one_line, line))} |\n" for line in lines)


def _one_line(text: str) -> str:
  """Returns text that Markdown shows as it is, in a table's cell too."""
  return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _anchor(title: str) -> str:
  """Returns the anchor that GitHub gives to a heading."""
  kept = "".join(
    letter for letter in title.lower() if letter.isalnum() or letter in " -_"
  )
  return kept.replace(" ", "-")


def main(argv: Sequence[str] | None = None, root: pathlib.Path = ROOT) -> int:
  """Rebuilds or checks RESULTS.md; returns the exit status."""
  parser = argparse.ArgumentParser(
    description="Draws RESULTS.md from results/*.json.", allow_abbrev=False
  )
  action = parser.add_mutually_exclusive_group()
  action.add_argument("--collect", metavar="WORKDIR", help="take this run's results")
  action.add_argument("--check", action="store_true", help="only say if it is stale")
  arguments = parser.parse_args(argv)
  try:
    if arguments.collect is not None:
      print(f"wrote {collect(arguments.collect, root)}")
    page = render(load(root))
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  target = root / "RESULTS.md"
  if arguments.check:
    stale = not target.exists() or target.read_text() != page
    if stale:
      print(
        "error: RESULTS.md is stale: python -m experiments.results", file=sys.stderr
      )
    return int(stale)
  target.write_text(page)
  print(f"wrote {target}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
