"""report.html: one run in one file that opens offline, read from top to bottom."""

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxvision.train.charts import line_chart
from jaxvision.train.configs import flatten
from jaxvision.train.report_style import STYLE
from jaxvision.train.writers import png_size

NUM_COLOURS = 6
# Images narrower than this are enlarged by a whole factor, pixel by pixel.
SMALL_IMAGE = 220
# Pictures at least this much wider than high get a row of their own.
WIDE_ASPECT = 1.9

_escape = html.escape


def number(value: Any) -> str:
  """Returns a number as tables show it: four digits, `–` for none; text unchanged."""
  if value is None or value == "":
    return "–"
  if isinstance(value, bool):
    return "yes" if value else "no"
  if isinstance(value, str):
    return value
  whole = isinstance(value, int) or 1e4 <= abs(value) < 1e15
  if math.isnan(value):
    return "NaN"
  return (f"{value:,.0f}" if whole else f"{value:.4g}").replace("-", "−")


def margin(claim: Mapping[str, Any]) -> str:
  """Returns what a claim's gain must be for the claim to hold."""
  return f"≥ {number(claim['margin'])}" if claim["margin"] else "> 0"


def render(
  results: Mapping[str, Any],
  metrics: Iterable[Mapping[str, Any]],
  pictures: Mapping[str, bytes],
) -> str:
  """Returns the page.

  Args:
    results: what results.json holds.
    metrics: the lines of metrics.jsonl.
    pictures: {file in results["pictures"]: PNG}.
  """
  sections = [
    _header(results),
    _claims(results["claims"]),
    _results(results["results"]),
    *map(_table_section, results["tables"]),
    _curves(metrics),
    _pictures(results["pictures"], pictures),
    _repeat(results),
  ]
  return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_escape(results["title"])} · {_escape(results["preset"])}</title>
<style>
{STYLE}
</style>
</head>
<body>
<main>
{"".join(sections)}
</main>
</body>
</html>
"""


def duration(seconds: float) -> str:
  """Returns seconds as a reader says them: 12.3 s, 4 min 05 s, 2 h 10 min."""
  if seconds < 60:
    return f"{seconds:.1f} s"
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f"{minutes} min {rest:02} s"
  return f"{minutes // 60} h {minutes % 60:02} min"


def _header(results: Mapping[str, Any]) -> str:
  claims = results["claims"]
  held = sum(claim["held"] for claim in claims)
  facts = {
    "Claims held": f"{held} of {len(claims)}" if claims else "none made",
    "Preset": results["preset"],
    "Date": results["date"][:16].replace("T", " ") + " UTC",
    "Time taken": duration(results["seconds"]),
    "Seeds": ", ".join(map(str, results["seeds"])) or "none",
    "Device": results["device"],
    "Commit": results["commit"],
  }
  listed = "".join(
    f"<div><dt>{_escape(name)}</dt><dd>{_escape(value)}</dd></div>"
    for name, value in facts.items()
  )
  return (
    f'<header><p class="eyebrow">jaxvision</p><h1>{_escape(results["title"])}</h1>'
    f'<p class="muted">{_escape(results["citation"])}</p>'
    f'<dl class="facts">{listed}</dl></header>\n'
  )


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
  if not claims:
    return ""
  paper_kind = _kind(claim["paper"] for claim in claims)
  rows = []
  for claim in claims:
    kind, verdict = ("held", "held") if claim["held"] else ("missed", "not held")
    notes = [claim["note"]] if claim["note"] else []
    notes.append(f"{claim['better']} is better")
    if claim["seeds"]:
      several = "mean over seeds" if len(claim["seeds"]) > 1 else "seed"
      notes.append(f"{several} {', '.join(map(str, claim['seeds']))}")
    rows.append(
      [
        _cell(claim["name"], "words", "; ".join(notes)),
        f'<td><span class="verdict {kind}">{verdict}</span></td>',
        _cell(number(claim["ours"]), "number"),
        _cell(number(claim["baseline"]), "number"),
        _cell(number(claim["gain"]), "number"),
        _cell(margin(claim), "number"),
        _cell(number(claim["paper"]), paper_kind),
      ]
    )
  columns = {
    "Claim": "words",
    "Verdict": "",
    "Ours": "number",
    "Baseline": "number",
    "Gain": "number",
    "Margin": "number",
    "Paper": paper_kind,
  }
  return (
    "<section><h2>Claims</h2><p class='muted'>Comparisons that the paper makes, made "
    "again here: both sides by the same code under the same budget. Gain says by how "
    "much ours is better; a claim holds where it reaches the margin.</p>"
    f"{_table(columns, rows)}</section>\n"
  )


def _results(results: Sequence[Mapping[str, Any]]) -> str:
  if not results:
    return ""
  with_notes = any(result["note"] for result in results)
  paper_kind = _kind(result["paper"] for result in results)
  columns = {"": "words", "Ours": "number", "Paper": paper_kind, "Unit": ""}
  rows = [
    [
      _cell(result["name"], "words"),
      _cell(number(result["value"]), "number"),
      _cell(number(result["paper"]), paper_kind),
      _cell(result["unit"], ""),
    ]
    + ([_cell(result["note"], "words muted")] if with_notes else [])
    for result in results
  ]
  if with_notes:
    columns["Note"] = "words"
  return (
    f"<section><h2>Results beside the paper’s</h2>{_table(columns, rows)}</section>\n"
  )


def _table_section(table: Mapping[str, Any]) -> str:
  names = list(dict.fromkeys(name for row in table["rows"] for name in row))
  kinds = {name: _kind(row.get(name) for row in table["rows"]) for name in names}
  columns = [_column([row.get(name) for row in table["rows"]]) for name in names]
  rows = [
    [_cell(text, kind) for text, kind in zip(row, kinds.values(), strict=True)]
    for row in zip(*columns, strict=True)
  ]
  return (
    f"<section><h2>{_escape(table['name'])}</h2>{_paragraph(table['caption'])}"
    f"{_table(kinds, rows)}</section>\n"
  )


def _column(values: Sequence[Any]) -> list[str]:
  """Returns the texts of a table's column; floats of like size share their decimals."""
  floats = [v for v in values if isinstance(v, float) and math.isfinite(v)]
  sizes = [abs(v) for v in floats if v] or [0.0]
  if not 1e-3 <= max(sizes) <= min(1e4, 1e3 * min(sizes)):
    return list(map(number, values))
  decimals = 3 - math.floor(math.log10(max(sizes)))
  return [
    f"{v:.{decimals}f}".replace("-", "−") if v in floats else number(v) for v in values
  ]


def _curves(metrics: Iterable[Mapping[str, Any]]) -> str:
  stages: dict[str, dict[str, dict[str, list[tuple[float, float]]]]] = {}
  for line in metrics:
    charts = stages.setdefault(line["stage"], {})
    for name, value in line.items():
      if name in ("stage", "step", "time"):
        continue
      group, _, quantity = name.rpartition("/")
      series = charts.setdefault(quantity, {}).setdefault(group or "training", [])
      series.append((float(line["step"]), float(value)))
  if not stages:
    return ""
  sections = []
  for stage, charts in stages.items():
    figures = "".join(_chart(stage, *chart) for chart in charts.items())
    sections.append(f'<h3>{_escape(stage)}</h3><div class="charts">{figures}</div>')
  return f"<section><h2>Curves</h2>{''.join(sections)}</section>\n"


def _chart(
  stage: str, quantity: str, series: Mapping[str, Sequence[tuple[float, float]]]
) -> str:
  keys = "".join(
    f'<span class="key series-{index % NUM_COLOURS}">{_escape(name)} '
    f"{number(points[-1][1])}</span>"
    for index, (name, points) in enumerate(series.items())
  )
  drawing = line_chart(series, "step", f"{quantity} over the steps of {stage}")
  return (
    f"<figure><figcaption><strong>{_escape(quantity)}</strong>{keys}</figcaption>"
    f"{drawing}</figure>"
  )


def _pictures(
  records: Sequence[Mapping[str, Any]], pictures: Mapping[str, bytes]
) -> str:
  if not records:
    return ""
  figures = "".join(
    _picture(index, record, pictures[record["file"]])
    for index, record in enumerate(records)
  )
  return (
    '<section id="pictures"><h2>Pictures</h2><p class="muted">Select one to see it at '
    f'its full size.</p><div class="pictures">{figures}</div></section>\n'
  )


def _picture(index: int, record: Mapping[str, Any], png: bytes) -> str:
  width, height = png_size(png)
  shown, kind = width, ""
  if record["kind"] == "figure":
    shown, kind = width // 2, ' class="paper"'  # drawn at twice a screen's density
  elif width < SMALL_IMAGE:
    shown, kind = width * (SMALL_IMAGE // width), ' class="small"'
  wide = ' class="wide"' if width / height >= WIDE_ASPECT or shown > 700 else ""
  step = "" if record["step"] is None else f" (step {number(record['step'])})"
  return (
    f'<figure id="picture-{index}"{wide}><a class="open" href="#picture-{index}">'
    f'<img{kind} alt="{_escape(record["name"])}" width="{shown}" '
    f'height="{round(height * shown / width)}" '
    f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></a>'
    f"<figcaption><strong>{_escape(record['name'] + step)}</strong> "
    f'{_escape(record["caption"])} <a class="close" href="#pictures">Close</a>'
    "</figcaption></figure>"
  )


def _repeat(results: Mapping[str, Any]) -> str:
  rows = [
    [_cell(path, ""), _cell(str(value), "words")]
    for path, value in flatten(results["config"]).items()
  ]
  table = _table({"Field": "", "Value": "words"}, rows)
  return (
    "<section><h2>Repeat it</h2><p class='muted'>At commit "
    f"{_escape(results['commit'])}:</p><pre>{_escape(results['command'])}</pre>"
    f"<details><summary>The config, {len(rows)} fields</summary>{table}</details>"
    "</section>"
  )


def _table(columns: Mapping[str, str], rows: Iterable[Sequence[str]]) -> str:
  """Returns a table that scrolls sideways, of {heading: its cells' class} and cells."""
  headings = "".join(
    f'<th scope="col" class="{kind}">{_escape(name)}</th>'
    for name, kind in columns.items()
  )
  body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
  return (
    f'<div class="scroll"><table><thead><tr>{headings}</tr></thead>'
    f"<tbody>{body}</tbody></table></div>"
  )


def _cell(text: str, kind: str, note: str = "") -> str:
  note = f'<span class="note">{_escape(note)}</span>' if note else ""
  return f'<td class="{kind}">{_escape(text)}{note}</td>'


def _paragraph(text: str) -> str:
  return f'<p class="muted">{_escape(text)}</p>' if text else ""


def _kind(values: Iterable[Any]) -> str:
  """Returns the class of a column's cells."""
  numbers = all(
    value in (None, "") or isinstance(value, int | float) for value in values
  )
  return "number" if numbers else "text"
