"""Our robust losses in the places of jonbarron/robust_loss_pytorch's functions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.nn import robust_losses
from jaxvision.ops import (
  bounded,
  cosine,
  hermite,
  robust,
  robust_partition,
  syuv,
  wavelets,
)


def gradients(function, names, inputs, weight=1.0):
  """Returns grad_<name> of sum(weight * function) for each of the inputs."""

  def total(chosen):
    return jnp.sum(weight * function(**{**inputs, **chosen}))

  found = jax.jit(jax.grad(total))({name: inputs[name] for name in names})
  return {f"grad_{name}": value for name, value in found.items()}


def elementwise(function, output, parameters, inputs):
  """A function of x and two broadcast parameters, with all its gradients."""
  del parameters
  inputs = {name: jnp.asarray(value) for name, value in inputs.items()}
  weight = inputs.pop("weight", 1.0)
  parameter, scale = (inputs[name] for name in inputs if name != "x")
  rows = parameter.shape[0]
  inputs["x"] = jnp.broadcast_to(inputs["x"], (rows, inputs["x"].shape[1]))
  if scale.shape != parameter.shape:
    raise ValueError("one parameter and one scale a row")
  return {
    output: jax.jit(lambda inputs: function(**inputs))(inputs),
    **gradients(function, list(inputs), inputs, weight),
  }


def loss(x, alpha, scale):
  return robust.loss(x, alpha, scale)


def loss_infinite(parameters, inputs):
  result = elementwise(loss, "loss", parameters, inputs)
  # The case wants the gradient of each element, which a sum over columns would hide.
  x = jnp.broadcast_to(inputs["x"], result["loss"].shape)
  alpha = jnp.broadcast_to(inputs["alpha"], x.shape)
  result |= gradients(loss, ["alpha"], {**inputs, "x": x, "alpha": alpha})
  return result


def partition(parameters, inputs):
  del parameters
  alpha = jnp.asarray(inputs["alpha"])
  curve = robust_partition.warp(alpha)
  return {
    "curve": curve,
    "inverse": robust_partition.unwarp(curve),
    "log_partition": robust.log_partition(alpha),
    "grad_log_partition": jax.vmap(jax.grad(robust.log_partition))(alpha),
  }


def partition_exact(parameters, inputs):
  del parameters
  with jax.enable_x64(True):
    alpha = jnp.asarray(inputs["numer"] / inputs["denom"])
    return {"Z": np.exp(jax.jit(robust.log_partition)(alpha))}


def latents(parameters, inputs):
  del parameters
  alpha = bounded.affine_sigmoid(inputs["latent"], 0.001, 1.999)
  scale = bounded.affine_softplus(inputs["latent"], 1e-5, 0.7)
  return {
    "alpha": alpha,
    "scale": scale,
    "alpha_inverse": bounded.inverse_affine_sigmoid(alpha, 0.001, 1.999),
    "scale_inverse": bounded.inverse_affine_softplus(scale, 1e-5, 0.7),
  }


def spline(parameters, inputs):
  del parameters
  inputs = {name: jnp.asarray(value) for name, value in inputs.items()}
  found = gradients(hermite.interpolate, ["x"], inputs)
  return {"y": hermite.interpolate(**inputs), **found}


def color_dct(parameters, inputs):
  del parameters
  color = syuv.rgb_to_syuv(inputs["rgb"])
  coefficients = cosine.dct(inputs["rgb"][..., :1])
  return {
    "syuv": color,
    "rgb_back": syuv.syuv_to_rgb(color),
    "dct": coefficients[..., 0],
    "dct_back": cosine.idct(coefficients)[..., 0],
  }


def wavelet(name, levels, parameters, inputs):
  del parameters
  pyramid = wavelets.decompose(jnp.asarray(inputs["image"])[..., None], levels, name)
  flat = wavelets.flatten(wavelets.rescale(pyramid, 0.5))
  found = {
    f"band{level}{index}": band[..., 0]
    for level, bands in enumerate(pyramid.bands)
    for index, band in enumerate(bands)
  }
  return {
    **found,
    "residual": pyramid.residual[..., 0],
    "flat": flat[..., 0],
    "collapsed": wavelets.reconstruct(pyramid, name)[..., 0],
  }


def adaptive_matrix(parameters, inputs):
  del parameters
  module = robust_losses.AdaptiveLoss((5,))
  latents = {name: inputs[name][0] for name in ("latent_alpha", "latent_scale")}
  result = adaptive(module, inputs["x"], latents, jnp.mean)
  variables = {"params": latents}
  return {
    **result,
    "alpha": module.apply(variables, method="alpha")[None],
    "scale": module.apply(variables, method="scale")[None],
  }


def adaptive_image(loss, basis, parameters, inputs):
  """`basis` holds the keywords of ImageLoss."""
  del parameters
  x = inputs["x"]
  names = {
    "latent_alpha": "latent_alpha",
    "latent_scale": "latent_scale",
    "log_df": "log_degrees",
  }
  latents = {
    names[name]: value.reshape(x.shape[1:])
    for name, value in inputs.items()
    if name != "x"
  }
  module = robust_losses.ImageLoss(loss, **basis)
  result = adaptive(module, x, {"loss": latents}, jnp.sum)
  back = {ours: theirs for theirs, ours in names.items()}
  gradients = {
    f"grad_{back[name]}": value.reshape(1, -1)
    for name, value in result.pop("grad_loss").items()
  }
  matrix = robust_losses.to_coefficients(x, **basis).reshape(len(x), -1)
  return {**result, **gradients, "matrix": matrix}


def adaptive(module, x, latents, reduce):
  """Returns the loss of a module and the gradients of its mean or sum."""

  @jax.jit
  def evaluate(latents, x):
    def reduced(latents, x):
      losses = module.apply({"params": latents}, x)
      return reduce(losses), losses

    return jax.grad(reduced, argnums=(0, 1), has_aux=True)(latents, x)

  (by_latents, by_x), losses = evaluate(latents, x)
  found = {
    f"grad_{name}": value[None] if value.ndim == 1 else value
    for name, value in by_latents.items()
    if not isinstance(value, dict)
  }
  nested = {f"grad_{n}": v for n, v in by_latents.items() if isinstance(v, dict)}
  return {"loss": losses, "grad_x": by_x, **found, **nested}


WAVELETS_2 = {"color": "yuv", "representation": "cdf97", "levels": 2}
WAVELETS_3 = {**WAVELETS_2, "levels": 3}
SHAPE = (16, 16, 3)

ADAPTERS = {
  "loss": functools.partial(elementwise, loss, "loss"),
  "loss_infinite": loss_infinite,
  "loss_outliers": functools.partial(elementwise, loss, "loss"),
  "loss_approximate": functools.partial(elementwise, robust.approximate_loss, "loss"),
  "partition": jax.jit(partition),
  "partition_exact": partition_exact,
  "nll": functools.partial(elementwise, robust.nll, "nll"),
  "students_t": functools.partial(
    elementwise,
    lambda x, df, scale: robust.students_t_nll(x, df, scale),
    "nll",
  ),
  "latents": jax.jit(latents),
  "spline": jax.jit(spline),
  "color_dct": jax.jit(color_dct),
  "wavelet_cdf9": jax.jit(functools.partial(wavelet, "cdf97", 3)),
  "wavelet_legall5": jax.jit(functools.partial(wavelet, "legall53", 2)),
  "adaptive_matrix": adaptive_matrix,
  "adaptive_image_0": functools.partial(
    adaptive_image, robust_losses.AdaptiveLoss(SHAPE, scale_init=0.1), WAVELETS_2
  ),
  "adaptive_image_1": functools.partial(
    adaptive_image,
    robust_losses.AdaptiveLoss(SHAPE, scale_init=0.1),
    {"color": "yuv", "representation": "dct"},
  ),
  "adaptive_image_2": functools.partial(
    adaptive_image,
    robust_losses.AdaptiveLoss(SHAPE, alpha_low=2.0, alpha_high=2.0, scale_init=0.1),
    {"color": "rgb", "representation": "pixels"},
  ),
  "adaptive_image_3": functools.partial(
    adaptive_image, robust_losses.StudentsTLoss(SHAPE, scale_init=0.1), WAVELETS_3
  ),
}


def relative_elementwise(ours, theirs):
  return float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-3))), 1e-3


MEASURES = {"partition": {"inverse": relative_elementwise}}
