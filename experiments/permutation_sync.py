"""Probabilistic Permutation Synchronization (Birdal and Simsekli, CVPR 2019).

The story: matches between pairs of images are noisy, and contradict each other around
cycles. Riemannian L-BFGS on the Birkhoff polytope finds the permutations that explain
them best, where spectral and low-rank methods err; Riemannian Langevin dynamics then
says which matches to trust, and which others to try.

  python -m experiments.permutation_sync [--preset=demo]

The demo has swapped permutations, points seen by cameras, and corners of photographs
matched across warped views, all with known answers. Chosen by looking at problems of
the same seeds: the solver's safeguard (`SolverConfig.shortest`) and when it stops
(`SolverConfig.tolerance`), MatchALS's λ, the noise of the views and how it grows with
the angle, the largest turn of the photographs, and the second line search of gradient
descent, which C2 is measured against too. The paper preset reads Willow and the CMU
sequences from --data_dir;
`jaxvision.papers.permutation_sync.dataset` says how.

  python -m experiments.permutation_sync --mode=predict --inputs=matches.npz
  python -m experiments.permutation_sync --mode=predict --inputs=a.jpg,b.jpg,c.jpg
"""

import dataclasses
import io
from collections.abc import Iterator

import jax
import numpy as np

from jaxvision.data import files
from jaxvision.errors import UserError
from jaxvision.papers.permutation_sync import (
  SamplerConfig,
  SolverConfig,
  claims,
  comparison,
  data,
  figures,
  langevin,
  metrics,
  photo_views,
  prediction,
  solver,
  synchronization,
)
from jaxvision.train import launcher
from jaxvision.train.workdir import CHECKPOINTS

CITATION = (
  "T. Birdal and U. Simsekli, Probabilistic Permutation Synchronization using the "
  "Riemannian Structure of the Birkhoff Polytope, CVPR 2019"
)
BETAS = (0.05, 0.2, 1.0, 10.0)  # of C5


@dataclasses.dataclass(frozen=True)
class Config:
  """What is synchronized, and what each method may spend."""

  # Problems: (images N, points n, swaps a point) on complete graphs, one a seed.
  swaps: tuple[tuple[int, int, float], ...] = ()
  random_swaps: int = 0  # problems with N and n in 10..100 and 16..100, rates .15...35
  views: tuple[tuple[int, int], ...] = ()  # (cameras, points)
  photographs: tuple[str, ...] = ()
  photograph_views: int = 8
  photograph_points: int = 24
  photograph_side: int = 192
  real: tuple[str, ...] = data.REAL
  real_side: int = 256  # pixels that the longer side of an image is brought to

  # The methods.
  solver: SolverConfig = solver.DEFAULT
  sampler: SamplerConfig = langevin.DEFAULT
  budget: comparison.Budget = comparison.DEFAULT

  # The claims on convergence, candidates, consistent input and temperature.
  claim_problem: tuple[int, int, float] = (10, 16, 0.2)
  candidate_problem: tuple[int, int, float] = (8, 12, 0.25)
  candidate_samples: int = 600
  chain_samples: int = 300
  chain_burn_in: int = 100

  seeds: tuple[int, ...] = (0, 1, 2, 3)
  seed: int = 0
  predict_points: int = 30  # corners that predict looks for in each image
  candidates: int = 3  # columns that predict names for each point


_DEMO = Config(
  swaps=((10, 16, 0.15), (10, 16, 0.2), (20, 16, 0.2), (20, 16, 0.25)),
  views=((12, 20),),
  photographs=photo_views.NAMES,
  real=(),
  solver=SolverConfig(iterations=100),
  sampler=SamplerConfig(samples=300),
  seeds=tuple(range(8)),
)

PRESETS = {
  "smoke": dataclasses.replace(
    _DEMO,
    swaps=((5, 6, 0.2),),
    views=(),
    photographs=("chelsea", "coffee"),
    photograph_views=5,
    photograph_points=6,
    photograph_side=96,
    solver=SolverConfig(iterations=30, memory=4, sweeps=20),
    sampler=SamplerConfig(samples=10),
    budget=comparison.Budget(als_iterations=10, lift_iterations=5),
    claim_problem=(5, 6, 0.2),
    candidate_problem=(5, 6, 0.2),
    candidate_samples=10,
    chain_samples=10,
    chain_burn_in=0,
    seeds=(0, 1),
  ),
  "demo": _DEMO,
  "paper": Config(random_swaps=28, candidate_samples=1000),
}


def problem_sets(config: Config, data_dir) -> Iterator[comparison.ProblemSet]:
  """Yields the sets of the config, in a fixed order."""
  for num_nodes, size, rate in config.swaps:
    yield comparison.swap_set(config.seeds, num_nodes, size, rate)
  rng = np.random.default_rng(config.seed)
  for index in range(config.random_swaps):
    num_nodes, size = int(rng.integers(10, 101)), int(rng.integers(16, 101))
    rate = round(float(rng.uniform(0.15, 0.35)), 3)
    made = comparison.swap_set((config.seed,), num_nodes, size, rate)
    yield made._replace(name=f"{index + 1}: {made.name}")
  for num_nodes, size in config.views:
    yield comparison.view_set(config.seeds, num_nodes, size)
  if config.photographs:
    yield photograph_set(config)
  for name in config.real:
    yield real_set(config, name, data_dir)


def photograph_set(config: Config) -> comparison.ProblemSet:
  """Returns one problem a photograph and a half of the seeds."""
  num_nodes, size = config.photograph_views, config.photograph_points
  known = photo_views.load_photographs(config.photograph_side, config.photographs)
  edges = data.complete_graph(num_nodes)
  views = []
  for seed in photograph_seeds(config):
    for index, (name, photograph) in enumerate(known.items()):
      rng = np.random.default_rng((seed, index))
      try:
        views.append(photo_views.make_views(rng, photograph, edges, num_nodes, size))
      except UserError as error:
        raise UserError(f"--config.photograph_points={size}: {name}: {error}") from None
  return comparison.stack(
    f"photographs, N = {num_nodes}, n = {size}",
    [one.problem for one in views],
    [one.truth for one in views],
    {"images": views[0].images[None], "points": views[0].points[None]},
  )


def photograph_seeds(config: Config) -> tuple[int, ...]:
  """Half of the seeds: there is a problem for each photograph and seed."""
  return config.seeds[: max(1, len(config.seeds) // 2)]


def real_set(config: Config, name: str, data_dir) -> comparison.ProblemSet:
  """Returns one of the paper's sets as one problem of all its images."""
  if data_dir is None:
    raise UserError(f"{name} is read from --data_dir=DIR")
  from jaxvision.papers.permutation_sync import dataset  # TFDS is slow to import

  images, points = dataset.load_sequence(name, data_dir)
  grey, points = photo_views.same_size(images, points, config.real_side)
  num_nodes, size = points.shape[:2]
  edges = data.complete_graph(num_nodes)
  rng = np.random.default_rng(config.seed)
  shuffles = data.random_permutations(rng, num_nodes, size)
  points = shuffles @ points
  problem = jax.jit(photo_views.landmark_problem)(grey, points, edges)
  pictures = {"images": grey[None], "points": points[None]}
  return comparison.stack(name, [problem], [shuffles], pictures)


def train(config: Config, run) -> None:
  """Synchronizes every set by all methods; what is in the workdir is not done again."""
  folder = run.workdir / CHECKPOINTS  # what --overwrite removes
  folder.mkdir(exist_ok=True)
  for index, problems in enumerate(problem_sets(config, run.data_dir)):
    path = folder / f"set{index}.npz"
    if path.exists():
      continue
    found = comparison.compare(
      problems, config.solver, config.sampler, config.budget, config.seed
    )
    found |= {"edges": problems.problems.edges[0], "truth": problems.truth}
    # The first problem's pictures, for the figures.
    pictures = problems.pictures or {}
    found |= {key: np.asarray(value[0]) for key, value in pictures.items()}
    found["name"] = np.array(problems.name)
    if run.is_main:
      stream = io.BytesIO()
      np.savez_compressed(stream, **found)
      files.write_bytes(path, stream.getvalue())
    run.log(f"{problems.name}: recall {np.mean(found['recall/ours']):.3f}")


def evaluate(config: Config, run) -> None:
  """Draws what was found, and makes the paper's comparisons again."""
  found = load_found(run)
  rows = []
  for one in found:
    row = {"set": str(one["name"])}
    for method in comparison.METHODS:
      if f"recall/{method}" in one:
        row[method] = one[f"recall/{method}"]
    rows.append(row)
  run.table(
    "recall",
    [{key: _mean(value) for key, value in row.items()} for row in rows],
    "Share of true matches, mean over the problems of a set.",
  )
  run.table(
    "cycle consistency",
    [
      {"set": str(one["name"])}
      | {
        method: _mean(one[f"consistency/{method}"])
        for method in comparison.METHODS
        if f"consistency/{method}" in one
      }
      for one in found
    ],
    "Share of points that come back to themselves around triangles.",
  )
  run.table(
    "solver",
    [
      {
        "set": str(one["name"]),
        "iterations": _mean(one["iterations"]),
        "converged": _mean(one["converged"]),
        "infeasibility": float(np.max(one["infeasibility"])),
        "certainty ranks": comparison.ranking(*certainty_of(one)),
      }
      for one in found
    ],
    "Ours: iterations, the share that ended by itself, the largest error of a sum, and "
    "how often a right match is more certain than a wrong one.",
  )
  run.figure(
    "recall",
    figures.recall_figure(rows[-8:], comparison.METHODS),
    "Recall by method and set; bars are means, lines standard deviations of problems.",
  )
  run.figure(
    "uncertainty",
    figures.certainty_figure(
      {str(one["name"]): certainty_of(one) for one in found[-8:]}
    ),
    "Certainty against errors: how often a match of some certainty is right, and how "
    "many of the most certain matches are wrong.",
  )
  for one in found:
    if "images" in one:
      run.figure(
        "matches",
        figures.match_figure(one["images"], one["points"], panels_of(one)),
        "Matches coloured by certainty; dashed ones are wrong.",
      )
      break

  swapped = [row for row in rows if "swaps" in row["set"]]
  recalls = {
    method: [np.mean(row[method]) for row in swapped]
    for method in comparison.METHODS
    if all(method in row for row in swapped)
  }
  if swapped:
    seeds = config.seeds if config.swaps else (config.seed,)
    claims.claim_recall(run, recalls, seeds)
  for row in rows:
    for method, paper in claims.TABLE_1.get(row["set"], {}).items():
      if method in row:
        name = f"{row['set']}: recall of {method}"
        run.result(name, _mean(row[method]), paper=paper)
    if row["set"].startswith("photographs"):
      photographed = {method: row[method] for method in comparison.METHODS}
      claims.claim_photographs(run, photographed, photograph_seeds(config))
  evaluate_solver(config, run)
  evaluate_sampler(config, run)


def evaluate_solver(config: Config, run) -> None:
  """Measures C2 and C4, both from random starts."""
  num_nodes, size, rate = config.claim_problem
  starts = comparison.random_points(config.seed, len(config.seeds), num_nodes, size)
  problems = comparison.swap_set(config.seeds, num_nodes, size, rate).problems
  quasi, plain, growing = (
    np.asarray(
      comparison.minimize(starts, problems, config.solver, memory, grows).energies
    )
    for memory, grows in ((config.solver.memory, True), (0, False), (0, True))
  )
  claims.claim_monotone(run, float(np.max(np.diff(quasi, axis=1))), config.seeds)
  for how, slow in (
    ("from length 1, as L-BFGS", plain),
    ("from twice the last", growing),
  ):
    pairs = [
      [comparison.iterations_to(energies, other[-1]) for energies in (one, other)]
      for one, other in zip(quasi, slow, strict=True)
    ]
    claims.claim_convergence(run, how, *zip(*pairs, strict=True), config.seeds)
  run.figure(
    "convergence",
    figures.convergence_figure(
      {
        "L-BFGS": quasi,
        "gradient descent, from length 1": plain,
        "gradient descent, from twice the last": growing,
      }
    ),
    "U along L-BFGS and along Riemannian gradient descent, from the same starts.",
  )
  consistent = comparison.swap_set(config.seeds, num_nodes, size, 0.0)
  solution = comparison.minimize(
    starts, consistent.problems, config.solver, config.solver.memory, True
  )
  maps = comparison.rounded_maps(solution.points, consistent.problems.edges)
  recalls = np.asarray(metrics.recall(maps, consistent.truth))
  rounded = np.sum(np.square(maps - consistent.problems.matches), axis=(1, 2, 3))
  claims.claim_recovery(run, recalls, rounded, config.seeds)
  run.result("U of the soft maps on consistent input", float(np.max(solution.energy)))


def evaluate_sampler(config: Config, run) -> None:
  """Measures C3 and C5, both with chains from the MAP estimates."""
  num_nodes, size, rate = config.candidate_problem
  some = comparison.swap_set(config.seeds, num_nodes, size, rate)
  solution, maps = comparison.solve(some.problems, num_nodes, config.solver)
  keys = jax.random.split(jax.random.key(config.seed + 1), len(config.seeds))
  sampling = dataclasses.replace(config.sampler, samples=config.candidate_samples)
  samples = comparison.draw(
    keys, solution.points, some.problems, sampling.beta, sampling
  )
  scores = np.random.default_rng(config.seed).random(maps.shape, np.float32)
  recalls = comparison.candidate_recall(scores, samples.certainty, maps, some.truth)
  claims.claim_candidates(run, recalls, config.seeds)
  run.table(
    "candidates",
    [{name: _mean(value) for name, value in recalls.items()}],
    "Share of points whose true match is among the candidates.",
  )
  sampling = dataclasses.replace(
    config.sampler, samples=config.chain_samples, burn_in=config.chain_burn_in
  )
  energies = [
    comparison.draw(keys, solution.points, some.problems, beta, sampling).energies
    for beta in BETAS
  ]
  claims.claim_temperature(run, BETAS, np.mean(energies, axis=-1), config.seeds)


def load_found(run) -> list[dict[str, np.ndarray]]:
  """Returns what `train` has kept of each set."""
  paths = sorted(
    (run.workdir / CHECKPOINTS).glob("set*.npz"), key=lambda path: int(path.stem[3:])
  )
  if not paths:
    raise UserError(f"{run.workdir} holds no solutions: run --mode=train first")
  found = []
  for path in paths:
    encoded = io.BytesIO(files.read_bytes(path))
    with files.decoding(path, "file of solutions"), np.load(encoded) as content:
      found.append(dict(content))
  return found


def certainty_of(one: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  """Returns the certainty of each match of ours, and whether it is right."""
  maps = one["maps"]
  return np.sum(one["certainty"] * maps, axis=-1), np.sum(one["truth"] * maps, axis=-1)


def panels_of(one: dict[str, np.ndarray], count: int = 4) -> list[dict]:
  """Returns pairs of the first problem for `figures.match_figure`, the worst last."""
  certainty, is_right = certainty_of(one)
  wrong = np.sum(is_right[0] < 0.5, axis=-1)
  order = np.argsort(wrong, kind="stable")
  chosen = order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]
  given = np.argmax(one["truth"][0], axis=-1)
  panels = []
  for edge in chosen:
    columns = np.argmax(one["maps"][0, edge], axis=-1)
    right = columns == given[edge]
    first, second = map(int, one["edges"][edge])
    panels.append(
      {
        "images": (first, second),
        "columns": columns,
        "certainty": certainty[0, edge],
        "right": right,
        "title": f"views {first} and {second}: {right.sum()} of {right.size} right",
      }
    )
  return panels


def predict(config: Config, run, inputs) -> None:
  """Writes absolute permutations, certainty and candidates of the user's files.

  Inputs are one file of matches or several images, see `prediction.read`. Written are
  synchronization.json, synchronization.npz and matches.png.
  """
  request = prediction.read(inputs, config.predict_points)
  found = synchronization.synchronize(
    request.problem,
    config.solver,
    config.sampler,
    k=config.candidates,
    seed=config.seed,
  )
  parts = int(found.components.max()) + 1
  if parts > 1:
    run.log(
      f"the graph has {parts} parts that no edge joins: maps between images of "
      "different parts mean nothing (see component)"
    )
  if not found.converged:
    run.log("not converged: more --config.solver.iterations may lower U further")
  certain = np.sum(found.certainty * found.maps, axis=-1)
  changed = np.mean(np.sum(found.maps * np.asarray(request.problem.matches), (1, 2)))
  size = found.maps.shape[-1]
  run.log(
    f"{len(request.names)} images, {len(found.maps)} edges, {size} points: mean "
    f"certainty {certain.mean():.2f}, {100 * (1 - changed / size):.0f} % of the "
    "matches changed"
  )
  if run.is_main:
    prediction.write(run.out, request, found, prediction_figure(request, found))


def prediction_figure(request: prediction.Request, found):
  """Returns matches on the images, or certainty maps where there are none."""
  edges = np.asarray(request.problem.edges)
  certain = np.sum(found.certainty * found.maps, axis=-1)
  chosen = np.linspace(0, len(edges) - 1, min(4, len(edges))).astype(int)
  titles = [f"{request.names[i]} to {request.names[j]}" for i, j in edges[chosen]]
  if not request.images:
    return figures.certainty_map_figure(
      found.certainty[chosen], found.maps[chosen], titles
    )
  panels = [
    {
      "images": tuple(map(int, edges[edge])),
      "columns": np.argmax(found.maps[edge], axis=-1),
      "certainty": certain[edge],
      "title": title,
    }
    for edge, title in zip(chosen, titles, strict=True)
  ]
  return figures.match_figure(request.images, request.points, panels)


def _mean(value) -> float | str:
  return value if isinstance(value, str) else float(np.mean(value))


if __name__ == "__main__":
  launcher.main(
    "permutation_sync",
    Config,
    PRESETS,
    train=train,
    evaluate=evaluate,
    predict=predict,
    citation=CITATION,
  )
