"""Tests of report.html, read as a parser does and without a browser."""

import html.parser
import io
import math
import re

import numpy as np
import PIL.Image
from absl.testing import absltest, parameterized

from jaxvision.train import charts, report

VOID = {"meta", "img", "br", "line", "circle", "path"}


class Page(html.parser.HTMLParser):
  """Checks that every element is closed; gathers text and attributes by element."""

  def __init__(self, page: str):
    super().__init__()
    self.open, self.elements, self.text = [], [], []
    self.feed(page)
    self.close()
    assert not self.open, self.open

  def handle_starttag(self, tag, attributes):
    self.elements.append((tag, dict(attributes)))
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.elements.append((tag, dict(attributes)))

  def handle_endtag(self, tag):
    assert self.open.pop() == tag, tag

  def handle_data(self, data):
    if "style" not in self.open:
      self.text.append(data)

  def all(self, tag):
    return [attributes for name, attributes in self.elements if name == tag]


def png(height, width):
  encoded = io.BytesIO()
  PIL.Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(encoded, "png")
  return encoded.getvalue()


def claim(name, held, ours, baseline, **changes):
  return {
    "name": name,
    "held": held,
    "ours": ours,
    "baseline": baseline,
    "better": "higher",
    "gain": 0.5,
    "margin": 0.0,
    "seeds": [],
    "paper": "",
    "note": "",
  } | changes


def results(**changes):
  return {
    "paper": "toy",
    "title": "Toy",
    "citation": "A. Author & B. Author, “Title”",
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0123456789ab-dirty",
    "device": "1 × CPU, some",
    "seconds": 125.0,
    "preset": "demo",
    "seeds": [0, 1],
    "command": "python -m experiments.toy --preset=demo",
    "config": {"steps": 100, "optimizer": {"learning_rate": 0.0001}},
    "results": [],
    "claims": [],
    "tables": [],
    "pictures": [],
  } | changes


class ReportTest(parameterized.TestCase):
  def test_an_empty_run_is_a_page(self):
    page = Page(report.render(results(), [], {}))
    text = "".join(page.text)
    for expected in (
      "A. Author & B. Author, “Title”",
      "2026-01-02 03:04 UTC",
      "0123456789ab-dirty",
      "1 × CPU, some",
      "2 min 05 s",
      "0, 1",
      "python -m experiments.toy --preset=demo",
      "optimizer.learning_rate",
      "0.0001",
    ):
      self.assertIn(expected, text)
    self.assertLen(page.all("h1"), 1)
    self.assertIn("prefers-color-scheme: dark", report.render(results(), [], {}))

  def test_claims_have_both_numbers_and_a_word(self):
    claims = [
      claim("good", True, 0.75, 0.125, margin=0.5, paper="0.45 → 0.91", seeds=[0, 1]),
      claim("bad", False, "NaN", 1.5, better="lower", note="on two photographs"),
    ]
    page = Page(report.render(results(claims=claims), [], {}))
    text = " ".join(page.text)
    for expected in ("0.75", "0.125", "≥ 0.5", "0.45 → 0.91", "NaN", "1.5", "> 0"):
      self.assertIn(expected, text)
    self.assertIn("on two photographs; lower is better", text)
    self.assertIn("higher is better; mean over seeds 0, 1", text)
    verdicts = [a["class"] for a in page.all("span") if "verdict" in a["class"]]
    self.assertEqual(verdicts, ["verdict held", "verdict missed"])
    self.assertIn("not held", text)
    self.assertIn("1 of 2", text)

  def test_ours_stands_beside_the_papers(self):
    rows = [
      {"name": "PSNR", "value": 36.25, "paper": 35.9, "unit": "dB", "note": "UNet"},
      {"name": "size", "value": 1341990, "paper": None, "unit": "", "note": ""},
    ]
    page = Page(report.render(results(results=rows), [], {}))
    cells = [text for text in page.text if text.strip()]
    at = cells.index("PSNR")
    self.assertEqual(cells[at : at + 5], ["PSNR", "36.25", "35.9", "dB", "UNet"])
    self.assertIn("1,341,990", cells)

  def test_a_columns_floats_share_their_decimals(self):
    table = {
      "name": "Confusion",
      "caption": "rows are true",
      "rows": [{"true": "cat", "cat": 0.5, "n": 10}, {"true": "dog", "cat": 0.0625}],
    }
    page = Page(report.render(results(tables=[table]), [], {}))
    cells = [text for text in page.text if text.strip()]
    at = cells.index("cat", cells.index("n"))
    self.assertEqual(cells[at : at + 6], ["cat", "0.5000", "10", "dog", "0.0625", "–"])

  def test_everything_is_escaped_and_nothing_is_loaded(self):
    bad = "<script src='http://x/'>\"&"
    curves = [{"stage": bad, "step": 1, "time": 0.0, bad: 1.0}]
    page = report.render(
      results(
        title=bad,
        citation=bad,
        command=bad,
        config={bad: bad},
        preset=bad,
        results=[{"name": bad, "value": 1, "paper": bad, "unit": bad, "note": bad}],
        claims=[claim(bad, True, 1, 2, paper=bad, note=bad)],
        tables=[{"name": bad, "caption": bad, "rows": [{bad: bad}]}],
        pictures=[
          {"name": bad, "caption": bad, "step": 1, "file": bad, "kind": "picture"}
        ],
      ),
      curves,
      {bad: png(4, 4)},
    )
    parsed = Page(page)
    self.assertEmpty(parsed.all("script"))
    self.assertGreaterEqual("".join(parsed.text).count("<script"), 12)
    for tag, attributes in parsed.elements:
      for name in ("src", "href", "data", "srcset"):
        if name in attributes:
          self.assertRegex(attributes[name], "^(data:image/png;base64,|#)", tag)
      self.assertEmpty([name for name in attributes if name.startswith("on")])
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)[1]
    self.assertNotRegex(style, r"url\(|@import")

  @parameterized.parameters(
    (32, 32, "picture", 192, "small"),  # enlarged six times
    (400, 500, "picture", 500, None),
    (300, 640, "figure", 320, "paper"),
  )
  def test_pictures_are_inside_the_file(self, height, width, kind, shown, look):
    record = {"name": "p", "caption": "c", "step": None, "file": "p.png", "kind": kind}
    page = report.render(results(pictures=[record]), [], {"p.png": png(height, width)})
    (image,) = Page(page).all("img")
    self.assertEqual((int(image["width"]), image.get("class")), (shown, look))
    self.assertEqual(image["alt"], "p")

  def test_curves_of_one_quantity_share_a_chart(self):
    metrics = [
      {"stage": stage, "step": step, "time": 0.0, "loss": 1.0 / step, "eval/loss": 2.0}
      for stage in ("first", "second")
      for step in (1, 2, 3)
    ]
    metrics.append({"stage": "second", "step": 3, "time": 0.0, "broken": "NaN"})
    page = Page(report.render(results(), metrics, {}))
    self.assertLen(page.all("svg"), 3)
    lines = [a["class"] for a in page.all("path")]
    self.assertEqual(lines, ["line series-0", "line series-1"] * 2)
    self.assertIn("no finite value", page.text)
    self.assertIn("eval 2", page.text)
    self.assertIn("training 0.3333", page.text)

  @parameterized.parameters(
    (0.125, "0.125"),
    (-2.5, "−2.5"),
    (12345.6, "12,346"),
    (1341990, "1,341,990"),
    (1e-5, "1e−05"),
    (math.nan, "NaN"),
    (None, "–"),
    ("≈ 3", "≈ 3"),
    (True, "yes"),
  )
  def test_numbers(self, value, text):
    self.assertEqual(report.number(value), text)

  @parameterized.parameters((9.96, "10.0 s"), (125, "2 min 05 s"), (7260, "2 h 01 min"))
  def test_durations(self, seconds, text):
    self.assertEqual(report.duration(seconds), text)


class ChartTest(parameterized.TestCase):
  def labels(self, points):
    svg = charts.line_chart({"a": points}, "step", "a over b")
    ticks = re.findall(r'<text class="tick"[^>]*text-anchor="(\w+)">([^<]*)<', svg)
    return [t for anchor, t in ticks if anchor == "end"], [
      t for anchor, t in ticks if anchor == "middle"
    ]

  def test_ticks_are_round(self):
    vertical, horizontal = self.labels([(0, 0.17), (1500, 0.93)])
    self.assertEqual(vertical, ["0.2", "0.4", "0.6", "0.8"])
    self.assertEqual(horizontal, ["0", "500", "1k", "1.5k"])

  def test_ticks_of_a_small_range_differ(self):
    vertical, _ = self.labels([(0, 1.59903), (1, 1.59921)])
    self.assertEqual(vertical, ["1.59905", "1.5991", "1.59915", "1.5992"])

  def test_a_wide_range_is_logarithmic(self):
    vertical, _ = self.labels([(0, 0.005), (1, 300.0)])
    self.assertEqual(vertical, ["0.01", "0.1", "1", "10", "100"])
    vertical, _ = self.labels([(0, 0.0), (1, 300.0)])  # no logarithm of 0
    self.assertEqual(vertical, ["0", "100", "200", "300"])

  @parameterized.parameters(0.0, -3.0, 2e6)
  def test_a_constant_curve_has_ticks(self, value):
    vertical, _ = self.labels([(0, value), (1, value)])
    self.assertIn(charts.short_number(value), vertical)

  def test_lines_stay_inside_and_go_up_where_values_do(self):
    svg = charts.line_chart({"a": [(0, 1.0), (5, 2.0)]}, "step", "")
    (x0, y0), (x1, y1) = re.findall(r"[ML](\d+\.\d) (\d+\.\d)", svg)
    self.assertEqual(float(x0), charts.LEFT)
    self.assertEqual(float(x1), charts.WIDTH - charts.RIGHT)
    self.assertLess(float(y1), float(y0))
    self.assertLessEqual(float(y0), charts.HEIGHT - charts.BOTTOM)

  def test_many_points_become_a_mean_and_a_band(self):
    noise = [(i, float(i % 2)) for i in range(10_000)]
    svg = charts.line_chart({"a": noise}, "step", "")
    self.assertIn('class="band series-0"', svg)
    self.assertLess(len(svg), 20_000)
    line = re.search(r'class="line series-0" d="([^"]*)"', svg)[1]
    heights = {y for _, y in re.findall(r"[ML](\S+) ([\d.]+)", line)}
    self.assertLen(heights, 1)  # every bucket's mean is a half

  def test_one_point_is_a_dot_and_others_are_left_out(self):
    points = [(0, math.nan), (1, 2.0), (2, math.inf)]
    self.assertIn("<circle", charts.line_chart({"a": points}, "step", ""))


if __name__ == "__main__":
  absltest.main()
