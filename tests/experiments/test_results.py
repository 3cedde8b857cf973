"""Tests of RESULTS.md: drawn from results/*.json, the same each time."""

import contextlib
import io
import json
import pathlib
import tempfile

from absl.testing import absltest, parameterized

from experiments import results
from jaxvision.train.run import Run
from tests.train.test_run import Config


class ResultsTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
    self.printed = self.enterContext(contextlib.redirect_stdout(io.StringIO()))
    self.errors = self.enterContext(contextlib.redirect_stderr(io.StringIO()))

  def collect(self, paper):
    workdir = self.root / "runs" / paper
    with Run(paper, "demo", Config(), workdir, citation="A. Author | Title") as run:
      run.result("PSNR", 36.25, paper=35.9, unit="dB")
      run.claim("joint | better <b>", 0.75, 0.5, margin=0.15, paper="0.45 → 0.91")
      run.claim("smaller", 3.0, 2.0, better="lower")
      run.finish()
    return results.main(["--collect", str(workdir)], self.root)

  def page(self):
    return (self.root / "RESULTS.md").read_text()

  def test_collected_results_are_drawn(self):
    self.assertEqual(self.collect("two_words"), 0)
    lines = self.page().splitlines()
    self.assertIn("## Two words", lines)
    self.assertIn("| PSNR | 36.25 | 35.9 | dB |", lines)
    self.assertIn(
      "| joint \\| better &lt;b> | held | 0.75 | 0.5 | 0.25 | ≥ 0.15 | 0.45 → 0.91 |",
      lines,
    )
    self.assertIn("| smaller | **not held** | 3 | 2 | −1 | > 0 | – |", lines)
    (overview,) = [
      line for line in lines if line.startswith("| [Two words](#two-words)")
    ]
    self.assertIn("| 1 of 2 | demo | 5 |", overview)
    entry = json.loads((self.root / "results" / "two_words.json").read_text())
    self.assertContainsSubset(
      {"date", "commit", "device", "seconds", "preset", "seeds", "config", "tables"},
      entry,
    )
    self.assertNotIn("pictures", entry)

  def test_papers_are_sorted_and_the_page_is_the_same_each_time(self):
    self.collect("b_paper")
    self.collect("a_paper")
    page = self.page()
    self.assertLess(page.index("## A paper"), page.index("## B paper"))
    self.assertEqual(results.main([], self.root), 0)
    self.assertEqual(self.page(), page)

  def test_check_tells_a_stale_page(self):
    self.assertEqual(results.main(["--check"], self.root), 1)
    self.collect("paper")
    self.assertEqual(results.main(["--check"], self.root), 0)
    file = self.root / "results" / "paper.json"
    file.write_text(file.read_text().replace("36.25", "36.5"))
    self.assertEqual(results.main(["--check"], self.root), 1)
    self.assertIn("36.25", self.page())  # checking writes nothing
    self.assertIn("stale", self.errors.getvalue())

  def test_benchmarks_are_no_papers(self):
    (self.root / "results").mkdir()
    (self.root / "results" / "benchmark.json").write_text('{"rows": []}')
    self.assertEqual(results.main([], self.root), 0)
    self.assertNotIn("## ", self.page())

  def test_a_workdir_without_results_is_named(self):
    self.assertEqual(results.main(["--collect", "nowhere"], self.root), 2)
    with Run("paper", "demo", Config(), self.root / "run") as run:
      run.finish()
    self.assertEqual(results.main(["--collect", str(self.root / "run")], self.root), 2)
    (self.root / "results").mkdir()
    (self.root / "results" / "torn.json").write_text('{"paper": ')
    self.assertEqual(results.main([], self.root), 2)
    errors = self.errors.getvalue().splitlines()
    self.assertLen(errors, 3)
    self.assertIn("nowhere", errors[0])
    self.assertIn("evaluate the run first", errors[1])
    self.assertIn("torn.json is damaged", errors[2])

  def test_the_committed_page_is_fresh(self):
    self.assertEqual(results.main(["--check"]), 0, self.errors.getvalue())


if __name__ == "__main__":
  absltest.main()
