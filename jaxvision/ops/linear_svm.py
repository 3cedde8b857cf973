"""The linear support vector machine with squared hinge loss."""

import chex
import jax
import jax.numpy as jnp

_ARMIJO = 1e-4


def fit(
  x: chex.Array,
  labels: chex.Array,
  *,
  penalty: float = 1.0,
  max_iterations: int = 50,
  tolerance: float = 1e-6,
) -> tuple[chex.Array, chex.Array]:
  """Returns the hyperplane that separates two classes with the least loss.

  It minimises ½ (|w|² + b²) + C Σ max(0, 1 - y (w·x + b))², which is what
  scikit-learn's LinearSVC minimises with its default arguments. The loss is convex
  and piecewise quadratic: Newton's method with a line search ends in a few steps.

  Args:
    x: [N, D] float.
    labels: [N] bool or 0 and 1.
    penalty: C.
    max_iterations: Newton steps at most.
    tolerance: it ends where the gradient is this small, relative to that at 0.

  Returns:
    w [D] and b []: the second class is where w·x + b > 0.

  Source: Keerthi and DeCoste, JMLR 6, 2005.
  """
  chex.assert_rank([x, labels], [2, 1])
  chex.assert_type(x, float)
  chex.assert_equal(len(x), len(labels))
  signs = jnp.where(jnp.asarray(labels, bool), 1.0, -1.0).astype(x.dtype)
  extended = jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1)
  identity = jnp.eye(extended.shape[1], dtype=x.dtype)

  def loss(plane):
    slack = jax.nn.relu(1 - signs * (extended @ plane))
    return 0.5 * plane @ plane + penalty * jnp.sum(jnp.square(slack))

  gradient = jax.grad(loss)
  start = jnp.zeros_like(identity[0])
  small = tolerance * jnp.linalg.norm(gradient(start))

  def unfinished(carry):
    number, plane, moved = carry
    far = jnp.linalg.norm(gradient(plane)) > small
    return (number < max_iterations) & moved & far

  def step(carry):
    number, plane, _ = carry
    active = signs * (extended @ plane) < 1
    hessian = identity + 2 * penalty * (extended * active[:, None]).T @ extended
    slope = gradient(plane)
    factor = jax.scipy.linalg.cho_factor(hessian)
    direction = -jax.scipy.linalg.cho_solve(factor, slope)
    before, descent = loss(plane), slope @ direction

    def too_long(length):
      bound = before + _ARMIJO * length * descent
      return (loss(plane + length * direction) > bound) & (length > 1e-6)

    length = jax.lax.while_loop(too_long, lambda t: t / 2, jnp.ones((), x.dtype))
    moved = length > 1e-6
    return number + 1, jnp.where(moved, plane + length * direction, plane), moved

  first = (jnp.zeros((), jnp.int32), start, jnp.asarray(True))
  _, plane, _ = jax.lax.while_loop(unfinished, step, first)
  return plane[:-1], plane[-1]


def decide(x: chex.Array, weight: chex.Array, bias: chex.Array) -> chex.Array:
  """Returns [N] bool: whether x [N, D] lies on the second class's side."""
  chex.assert_rank([x, weight], [2, 1])
  return x @ weight + bias > 0
