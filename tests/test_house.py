"""The house rules that DESIGN.md states, held by reading the imports."""

import ast
import pathlib
import subprocess
import sys

from absl.testing import absltest, parameterized

ROOT = pathlib.Path(__file__).parents[1]
SHARED_LAYERS = ("nn", "data", "train", "published")
ALLOWED = {
  "ops": {"ops"},
  "nn": {"nn", "ops"},
  "data": {"data", "published", "ops", "errors"},  # some authors' data are pickles
  "train": {"train", "ops", "errors"},
  "published": {"published", "ops", "errors"},
  "papers": {"papers", "nn", "data", "train", "published", "ops", "errors"},
}


def imported_modules(path: pathlib.Path) -> set[str]:
  """Returns the full names of the modules and names that a file imports."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names


def files_of(layer: str) -> list[pathlib.Path]:
  return sorted((ROOT / "jaxvision" / layer).rglob("*.py"))


class HouseTest(parameterized.TestCase):
  @parameterized.parameters(*ALLOWED)
  def test_imports_run_one_way(self, layer):
    for path in files_of(layer):
      for name in imported_modules(path):
        if name.startswith("experiments"):
          self.fail(f"{path} imports {name}")
        if name.startswith("jaxvision."):
          self.assertIn(name.split(".")[1], ALLOWED[layer], f"{path} imports {name}")

  def test_ops_import_only_numerics(self):
    allowed = set(sys.stdlib_module_names) | {"jax", "numpy", "chex", "jaxvision"}
    for path in files_of("ops"):
      for name in imported_modules(path):
        self.assertIn(name.split(".")[0], allowed, f"{path} imports {name}")

  def test_papers_never_import_each_other(self):
    for path in files_of("papers"):
      paper = path.relative_to(ROOT / "jaxvision" / "papers").parts[0]
      for name in imported_modules(path):
        if name.startswith("jaxvision.papers."):
          self.assertEqual(name.split(".")[2], paper, f"{path} imports {name}")

  def test_pmap_is_called_in_one_file(self):
    for path in sorted((ROOT / "jaxvision").rglob("*.py")):
      if path.name != "replication.py":
        self.assertNotIn("jax.pmap(", path.read_text(), str(path))

  def test_no_other_framework_is_imported(self):
    for path in sorted(ROOT.glob("jaxvision/**/*.py")) + files_of("../experiments"):
      for name in imported_modules(path):
        if path.name == "benchmark_convolutions.py":
          continue  # compares with PyTorch where the user has it
        self.assertNotIn(name.split(".")[0], {"tensorflow", "torch"}, str(path))

  def test_importing_jaxvision_is_light(self):
    heavy = ["matplotlib", "tensorflow_datasets", "scipy", "orbax"]
    layers = ", ".join(f"jaxvision.{layer}" for layer in ("ops", *SHARED_LAYERS))
    program = (
      f"import sys, jaxvision, {layers}\n"
      f"print([name for name in {heavy} if name in sys.modules])"
    )
    result = subprocess.run(
      [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    self.assertEqual(result.stdout.strip(), "[]")


if __name__ == "__main__":
  absltest.main()
