"""Transients, Fermat points and discontinuities that are known exactly.

Confocal and with constant K ρ; lengths in cm. The wall is z = 0, and isotropic unless
a function offers its cosine.
"""

import chex
import jax
import jax.numpy as jnp


def plane_transient(
  paths: chex.Array, depth: float, *, isotropic_wall: bool = True
) -> chex.Array:
  """Returns the transient of an infinite plane parallel to the wall.

  Args:
    paths: [m] path lengths τ.
    depth: h of the plane.
    isotropic_wall: whether the wall's cosine is left out.

  Returns:
    [m] π K h² / (τ/2)⁵ from τ = 2 h on, or π K h⁴ / (τ/2)⁷ with the wall's cosine.
  """
  radius = jnp.maximum(paths / 2, depth)
  cosines = (depth / radius) ** (2 if isotropic_wall else 4)
  return jnp.where(paths >= 2 * depth, jnp.pi * cosines / radius**3, 0.0)


def sphere_transient(paths: chex.Array, distance, radius: float) -> chex.Array:
  """Returns the transient of a sphere seen from outside.

  Args:
    paths: [m] path lengths τ.
    distance: s from the wall point to the centre, more than the radius.
    radius: R.
  """
  r = paths / 2
  tangent = jnp.sqrt(distance**2 - radius**2)
  seen = (r >= distance - radius) & (r <= tangent)
  r = jnp.where(seen, r, tangent)
  cosine = (distance**2 - radius**2 - r**2) / (2 * radius * r)
  return jnp.where(seen, jnp.pi * radius / distance * cosine**2 / r**3, 0.0)


def bowl_transient(
  paths: chex.Array, distance, radius: float, rim: float | None = None
) -> chex.Array:
  """Returns the transient of the far side of a sphere, seen from within.

  Args:
    paths: [m] path lengths τ.
    distance: s from the wall point to the centre, positive.
    radius: R.
    rim: distance at which the bowl begins; where it first faces the wall point
      when None.
  """
  r = paths / 2
  begins = jnp.sqrt(jnp.maximum(distance**2 - radius**2, 0.0))
  begins = jnp.maximum(begins, jnp.abs(distance - radius))
  begins = begins if rim is None else jnp.maximum(begins, rim)
  end = distance + radius
  seen = (r >= begins) & (r <= end)
  r = jnp.where(seen, r, end)
  cosine = (r**2 + radius**2 - distance**2) / (2 * radius * r)
  return jnp.where(seen, jnp.pi * radius / distance * cosine**2 / r**3, 0.0)


def plane_point(wall: chex.Array, depth: float) -> chex.Array:
  """Returns the [..., 3] Fermat points of a plane at z = depth."""
  return wall.at[..., 2].set(depth)


def sphere_point(
  wall: chex.Array, center: chex.Array, radius: float, *, far: bool = False
) -> chex.Array:
  """Returns the [..., 3] nearest or farthest points of a sphere to wall points."""
  outward = wall - center
  outward /= jnp.linalg.norm(outward, axis=-1, keepdims=True)
  return center + (-radius if far else radius) * outward


def paraboloid_point(
  wall: chex.Array, depth: float, curvatures: chex.Array, steps: int = 20
) -> chex.Array:
  """Returns the [3] specular point of z = depth + (k_x x² + k_y y²) / 2 for one v.

  Newton's method on the stationarity of the distance, from the foot point on.
  """

  def squared(xy):
    z = depth + 0.5 * jnp.sum(curvatures * xy**2)
    return 0.5 * jnp.sum((jnp.append(xy, z) - wall) ** 2)

  def newton(xy, _):
    step = jnp.linalg.solve(jax.hessian(squared)(xy), jax.grad(squared)(xy))
    return xy - step, None

  xy, _ = jax.lax.scan(newton, wall[:2], None, length=steps)
  return jnp.append(xy, depth + 0.5 * jnp.sum(curvatures * xy**2))


def stationary_type(curvatures: chex.Array, distance: chex.Array) -> chex.Array:
  """Returns the type of a specular point: +1 minimum, 0 saddle, -1 maximum.

  Args:
    curvatures: [..., 2] principal curvatures k in 1/cm, positive where the surface
      bends away from v.
    distance: [...] ρ from v to the point, cm.

  Source: T4. Proposition 4 as printed has minimum and maximum exchanged.
  """
  signs = jnp.sign(curvatures + 1 / jnp.asarray(distance)[..., None])
  total = jnp.sum(signs, axis=-1)
  return jnp.where(total > 1, 1, jnp.where(total < -1, -1, 0))


def step_height(
  throughput: chex.Array, curvatures: chex.Array, distance: chex.Array
) -> chex.Array:
  """Returns the height π f / √det H of the step at a minimum or a maximum.

  Around the point τ = τ_0 + uᵀ H u with H = (k + 1/ρ), in each principal direction
  u on the surface; per cm of path length.

  Args:
    throughput: [...] f at the point.
    curvatures: [..., 2] as in `stationary_type`.
    distance: [...] ρ, cm.

  Source: T3.
  """
  factors = curvatures + 1 / jnp.asarray(distance)[..., None]
  return jnp.pi * throughput / jnp.sqrt(jnp.prod(factors, axis=-1))
