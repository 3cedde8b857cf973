"""Mesh files that packages bring with them: found and read, their code never imported.

Where one is installed (`pip install pymeshlab`, `pyvista` or `pybullet`), its meshes
serve as real data without any download.
"""

import importlib.util
import pathlib
from collections.abc import Sequence

# Single objects: (package, file below it).
OBJECTS = {
  "bunny": ("pymeshlab", "tests/sample_meshes/bunny.obj"),
  "textured bunny": ("pymeshlab", "tests/sample_meshes/bunny10k_textured.obj"),
  "cow": ("pymeshlab", "tests/sample_meshes/cow.obj"),
  "airplane": ("pymeshlab", "tests/sample_meshes/airplane.obj"),
  "bone": ("pymeshlab", "tests/sample_meshes/bone.ply"),
  "small airplane": ("pyvista", "examples/airplane.ply"),
  "ant": ("pyvista", "examples/ant.ply"),
  "nut": ("pyvista", "examples/nut.ply"),
  "low bunny": ("pybullet_data", "bunny.obj"),
  "duck": ("pybullet_data", "duck.obj"),
  "mug": ("pybullet_data", "objects/mug.obj"),
  "teddy": ("pybullet_data", "teddy2_VHACD_CHs.obj"),
  "soccerball": ("pybullet_data", "soccerball.obj"),
}
# A folder of a thousand household-like objects, which makes a class.
_RANDOM_OBJECTS = ("pybullet_data", "random_urdfs")


def find(names: Sequence[str] = tuple(OBJECTS)) -> pathlib.Path | None:
  """Returns the file of the first of the named objects that is installed, or None.

  Args:
    names: of OBJECTS, the most wanted first.

  Raises:
    KeyError: there is no object of that name.
  """
  for name in names:
    package, file = OBJECTS[name]
    for folder in _folders(package):
      if (folder / file).exists():
        return folder / file
  return None


def find_all() -> dict[str, pathlib.Path]:
  """Returns the files of all single objects that are installed, by name."""
  found = {name: find([name]) for name in OBJECTS}
  return {name: path for name, path in found.items() if path is not None}


def random_objects(count: int | None = None) -> list[pathlib.Path]:
  """Returns the first `count` files of pybullet's random objects, in order of name."""
  package, name = _RANDOM_OBJECTS
  files = [
    path for folder in _folders(package) for path in (folder / name).glob("*/*.obj")
  ]
  return sorted(files)[:count]


def _folders(package: str) -> list[pathlib.Path]:
  """Returns where a package's files lie, without importing it."""
  try:
    found = importlib.util.find_spec(package)
  except (ImportError, ValueError):
    found = None
  places = (found.submodule_search_locations or ()) if found else ()
  return [pathlib.Path(place) for place in places]
