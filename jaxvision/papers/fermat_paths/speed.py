"""What experiments.benchmark times of this paper."""

import functools

import jax
import jax.numpy as jnp

from jaxvision.papers.fermat_paths import closed_forms, pipeline, rendering, surfaces

GRID, BINS, SAMPLES, WALLS = 64, 4096, 2**18, 16


def wall_grid(size: int, pitch: float) -> jax.Array:
  """Returns [size, size, 3] wall points around the origin; y grows with the rows."""
  steps = (jnp.arange(size) - (size - 1) / 2) * pitch
  x, y = jnp.meshgrid(steps, steps)
  return jnp.stack([x, y, jnp.zeros_like(x)], axis=-1)


def rows(seconds) -> list[dict]:
  """Returns times of the pipeline and the renderer.

  Args:
    seconds: of a call, the median time it takes.
  """
  wall = wall_grid(GRID, 100 / GRID)
  bins = (jnp.arange(BINS) + 0.5) * 0.12
  distance = jnp.linalg.norm(wall - jnp.array([0.0, 0.0, 105.0]), axis=-1)
  sphere = jax.jit(
    jax.vmap(jax.vmap(lambda s: closed_forms.sphere_transient(bins, s, 38.0)))
  )
  clean = sphere(distance)
  noise = jax.random.normal(jax.random.key(0), clean.shape)
  noisy = clean + 0.02 * jnp.max(clean, axis=-1, keepdims=True) * jnp.abs(noise)
  patch = surfaces.cap((0.0, 0.0, 105.0), 38.0, 0.9)
  samples = jax.jit(lambda: surfaces.sample_patch(patch, SAMPLES))()
  render = jax.jit(rendering.render)
  render_noisily = functools.partial(render, samples, wall.reshape(-1, 3)[:WALLS], bins)
  run = jax.jit(pipeline.reconstruct, static_argnums=3)

  found = []
  for name, transients in (("noise-free", clean), ("noisy", noisy)):
    time = seconds(lambda: run(transients, bins, wall, pipeline.CONCAVE).points)  # noqa: B023
    found.append(
      {
        "name": f"transients to oriented points, {GRID}x{GRID} x {BINS} bins, {name}",
        "milliseconds": 1e3 * time,
      }
    )
  time = seconds(render_noisily)
  found.append(
    {
      "name": f"renderer, {SAMPLES} samples x {WALLS} wall points",
      "milliseconds": 1e3 * time,
      "samples per second": SAMPLES * WALLS / time,
    }
  )
  return found
