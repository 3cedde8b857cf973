"""The README's snippets run as they stand."""

import pathlib
import re

import jax.numpy as jnp
from absl.testing import absltest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


class ReadmeTest(absltest.TestCase):
  def test_op_snippet_runs(self):
    snippet = next(
      code
      for code in re.findall(r"```python\n(.*?)```", README, re.S)
      if "jpeg" in code
    )
    names = {}
    exec(snippet, names)
    self.assertEqual(names["gradient"].shape, (2, 64, 64, 3))
    self.assertTrue(bool(jnp.all(jnp.isfinite(names["gradient"]))))
    self.assertGreater(float(jnp.max(jnp.abs(names["gradient"]))), 0.0)

  def test_files_that_it_names_exist(self):
    for path in re.findall(r"\]\(([\w./]+)(?:#[\w-]+)?\)", README):
      self.assertTrue((ROOT / path).exists(), path)
    for path in re.findall(r"(?:bash|sbatch|apply -f) (launch/[\w.]+)", README):
      self.assertTrue((ROOT / path).exists(), path)

  def test_each_paper_has_a_row(self):
    for folder in (ROOT / "jaxvision" / "papers").iterdir():
      if (ROOT / "experiments" / f"{folder.name}.py").exists():
        self.assertIn(f"| [{folder.name}]", README)


if __name__ == "__main__":
  absltest.main()
