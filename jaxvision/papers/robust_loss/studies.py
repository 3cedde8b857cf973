"""The paper's applications that need no network: measured, claimed and drawn."""

import dataclasses
import functools

import jax

from jaxvision.papers.robust_loss import claims, data, density, evaluation, figures


@dataclasses.dataclass(frozen=True)
class Solvers:
  """How much is sampled, fitted, registered and clustered.

  Attributes:
    seeds: of samples, of densities and their patches, and of k-means.
    line_seeds: of lines among outliers.
    registration_seeds: of registrations.
    cloud: pairs of points of each registration.
    samples: draws of each density.
    density_size: side of the patches in pixels.
    density_patches, density_judged: patches that are fitted, and that judge.
    density_steps, density_batch, density_levels: see `density.Fit`.
    digits: number of clustered digits.
    cluster_alphas: shapes of the loss that clusters them.
  """

  seeds: tuple[int, ...] = (0, 1, 2)
  line_seeds: tuple[int, ...] = tuple(range(1, 11))
  registration_seeds: tuple[int, ...] = tuple(range(20))
  cloud: int = 400
  samples: int = 20_000
  density_size: int = 32
  density_patches: int = 5000
  density_judged: int = 1000
  density_steps: int = 600
  density_batch: int = 64
  density_levels: int = 4
  digits: int = 1797
  cluster_alphas: tuple[float, ...] = evaluation.CLUSTER_ALPHAS

  @property
  def density_rule(self) -> density.Fit:
    """How the densities of patches are fitted."""
    return density.Fit(
      steps=self.density_steps, batch=self.density_batch, levels=self.density_levels
    )


FULL = Solvers()
SMALL = Solvers(  # seconds
  seeds=(0,),
  line_seeds=(1, 2),
  registration_seeds=(0, 1),
  cloud=50,
  samples=2000,
  density_size=8,
  density_patches=64,
  density_judged=16,
  density_steps=5,
  density_batch=8,
  density_levels=2,
  digits=120,
  cluster_alphas=(1.0, -2.0),
)


def measure_solvers(solvers: Solvers, run) -> None:
  """Records sampling, regression, densities, registration, clustering: C1 to C5."""
  run.figure("losses", figures.losses(), "The loss, and how much it trusts a residual.")

  rows = evaluation.sampling_distances(solvers.seeds, solvers.samples)
  claims.claim_sampling(run, rows, solvers.seeds)

  errors = evaluation.regression_errors(solvers.line_seeds)
  claims.claim_regression(run, errors, solvers.line_seeds)
  key = jax.random.key(solvers.line_seeds[0])
  run.figure("lines", figures.line_fits(key), "A line, a tenth of its points thrown.")

  _measure_densities(solvers, run)

  rows = evaluation.registration_rows(solvers.registration_seeds, solvers.cloud)
  claims.claim_registrations(run, rows, solvers.registration_seeds)
  key = jax.random.key(solvers.registration_seeds[0])
  run.figure(
    "registration",
    figures.registrations(key, solvers.cloud),
    "A cloud of which four in five pairs are wrong, seen along z.",
  )

  points, labels = (array[: solvers.digits] for array in data.digits())
  rows, found = evaluation.cluster_rows(points, labels, solvers.cluster_alphas)
  kmeans = evaluation.kmeans_scores(points, labels, solvers.seeds)
  claims.claim_clusters(run, rows, kmeans, solvers.seeds)
  shown = {
    f"α = {alpha:g}": (found[alpha].representatives, found[alpha].labels)
    for alpha in (1.0, -2.0)
  }
  run.figure(
    "clusters",
    figures.embedding(points, labels, shown),
    "Digits and their representatives on two axes; colours are true classes.",
  )


def _measure_densities(solvers: Solvers, run) -> None:
  rule = solvers.density_rule
  measure = functools.partial(
    evaluation.density_rows,
    config=rule,
    size=solvers.density_size,
    train=solvers.density_patches,
    held_out=solvers.density_judged,
  )
  rows, adaptive = measure(solvers.seeds, splits=("all", "all"))
  harder, _ = measure(solvers.seeds[:1], splits=("train", "validation"))
  claims.claim_densities(run, rows, harder)
  maps = {name: density.shape_and_scale(d, rule) for name, d in adaptive.items()}
  run.figure(
    "alphas",
    figures.shape_maps(maps),
    "What the loss learns of photographs: shape α and scale c of every coefficient.",
  )
