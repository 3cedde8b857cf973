"""Parity adapters of content_authentication: the authors' names and layout (NHWC)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import bayer, demosaic, hsv, jpeg, rounding
from jaxvision.ops.clip import clip
from jaxvision.ops.filters import gaussian_kernel
from jaxvision.ops.resize import resize
from jaxvision.papers.content_authentication import (
  channel,
  losses,
  manipulations,
  pipelines,
  published,
)
from tests.parity.arrays import to_numpy

_ONE_TERM = functools.partial(rounding.harmonic, terms=1)


def qtables(parameters, inputs):
  del parameters, inputs
  luma, chroma = jpeg.quantization_tables(jnp.arange(1.0, 101.0))
  return {f"q{q}_0": luma[q - 1] for q in range(1, 101)} | {
    f"q{q}_1": chroma[q - 1] for q in range(1, 101)
  }


def kernels(parameters, inputs):
  del parameters, inputs
  model = pipelines.INet()
  variables = model.init(jax.random.key(0), jnp.zeros((1, 4, 4, 4)))["params"]
  return {
    "gkern": manipulations.binned_gaussian_kernel(5, 4),
    "bilin": demosaic.bilinear_kernel(5),
    "gamma0": variables["gamma_encode"]["kernel"][0, 0],
    "gamma1": variables["gamma_encode"]["bias"],
    "gamma2": variables["gamma_decode"]["kernel"][0, 0],
    "gamma3": variables["gamma_decode"]["bias"],
    **{f"up_{p}": bayer.scatter_kernel(p) for p in bayer.PATTERNS},
  }


def tf2_kernels(parameters, inputs):
  del parameters, inputs
  return {
    "gkern": gaussian_kernel(5, 0.83),
    "bilin3": demosaic.bilinear_kernel(3),
    **{f"up_{p.lower()}": bayer.scatter_kernel(p) for p in bayer.PATTERNS},
  }


def quantization(parameters, inputs):
  del parameters
  modes = {
    "None": rounding.hard,
    "sin": rounding.sin,
    "soft": rounding.soft,
    "harmonic": rounding.harmonic,
  }
  return _values_and_derivatives(modes, inputs["x"])


def tf2_quantization(parameters, inputs):
  del parameters
  modes = {
    "round": rounding.hard,
    "sin": rounding.sin,
    "soft": rounding.soft,
    "harmonic": rounding.harmonic,
    "identity": rounding.identity,
    "soft_codebook": functools.partial(rounding.soft_codebook, bits=4),
    "harmonic_as_called_by_jpeg": _ONE_TERM,
  }
  entropy, histogram = rounding.entropy(jnp.asarray(inputs["x"]), jnp.arange(-7.0, 9.0))
  return {
    "entropy": entropy,
    "histogram": histogram,
    **_values_and_derivatives(modes, inputs["x"]),
  }


def djpeg(parameters, inputs, *, quality, modes):
  del parameters
  outputs = {}
  for name, mode in modes.items():
    compress = functools.partial(
      jpeg.jpeg,
      quality=inputs.get("quality", quality),
      rounding=mode,
      arithmetic="korus",
    )
    y, grad = _vjp(compress, inputs)
    outputs |= {f"y_{name}": y, f"grad_{name}": grad}
  return outputs


def cvpr_manipulations(parameters, inputs):
  del parameters
  x = jnp.asarray(inputs["x"])
  blur = functools.partial(manipulations.blur, kernel=manipulations.CVPR_GAUSSIAN)
  gaussian, gaussian_grad = _vjp(blur, inputs)
  resample, resample_grad = _vjp(manipulations.resample, inputs)
  strong = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])
  half = x.shape[1] // 2, x.shape[2] // 2
  return {
    "sharpen": manipulations.sharpen(x, manipulations.CVPR_SHARPENING),
    "sharpen_rgb": manipulations.sharpen_rgb(x, strong),
    "gaussian": gaussian,
    "gaussian_grad": gaussian_grad,
    "down": resize(x, half, coordinates="asymmetric"),
    "resample": resample,
    "resample_grad": resample_grad,
    "pool": channel.halve(x),
  }


def tf2_manipulations(parameters, inputs):
  del parameters
  x = jnp.asarray(inputs["x"])
  resample = functools.partial(manipulations.resample, coordinates="half_pixel")
  differentiated = {
    "resample": resample,
    "resample80": functools.partial(resample, percent=80),
    "gaussian": functools.partial(manipulations.blur, kernel=gaussian_kernel(5, 0.83)),
    "median": manipulations.median,
    "gamma": manipulations.gamma,
  }
  outputs = {}
  for name, function in differentiated.items():
    outputs[name], outputs[f"{name}_grad"] = _vjp(function, inputs)
  sharpening = manipulations.sharpening_kernel
  return outputs | {
    "sharpen": manipulations.sharpen(x, sharpening(1.0), padding_mode="symmetric"),
    "sharpen_15_rgb": manipulations.sharpen_rgb(
      x, sharpening(1.5), padding_mode="symmetric"
    ),
    "residual": manipulations.residual(x),
    "soft_quantization": manipulations.quantize(x),
    "rgb_to_hsv": hsv.rgb_to_hsv(x),
    "hsv_to_rgb": hsv.hsv_to_rgb(1.6 * x - 0.3),
  }


def pipeline(parameters, inputs, *, convert):
  model, variables = convert(parameters)
  developed = jax.jit(model.apply)(variables, inputs["x"])
  return {"y": clip(developed), "yy": developed}


def fan(parameters, inputs, *, loss):
  model, variables = published.fan(parameters)
  logits, state = jax.jit(functools.partial(model.apply, mutable="intermediates"))(
    variables, inputs["x"]
  )
  labels = jnp.arange(len(logits)) % model.num_classes
  return {
    "prob": jax.nn.softmax(logits),
    "features": state["intermediates"]["features"][0],
    "loss": jnp.mean(loss(logits, labels)),
  }


def _values_and_derivatives(modes, x):
  x = jnp.asarray(x)
  outputs = {}
  for name, mode in modes.items():
    outputs[f"y_{name}"], pull = jax.vjp(mode, x)
    (outputs[f"grad_{name}"],) = pull(jnp.ones_like(x))
  return outputs


def _vjp(function, inputs):
  y, pull = jax.vjp(jax.jit(function), jnp.asarray(inputs["x"]))
  (grad,) = pull(jnp.asarray(inputs["cotangent"]))
  return y, grad


_MODES = {"None": "round", "sin": "sin", "soft": "soft", "harmonic": "harmonic"}
_TF2_MODES = {"soft": "soft", "sin": "sin", "harmonic": _ONE_TERM}

_ADAPTERS = {
  "qtables": qtables,
  "kernels": kernels,
  "quantization": jax.jit(quantization),
  "manipulations": jax.jit(cvpr_manipulations),
  "fan": functools.partial(fan, loss=losses.double_softmax_cross_entropy),
  "unet": functools.partial(pipeline, convert=published.unet),
  "inet": functools.partial(pipeline, convert=published.inet),
  "inet_init": functools.partial(pipeline, convert=published.inet),
  "dnet": functools.partial(pipeline, convert=published.dnet),
  "tf2_quantization": jax.jit(tf2_quantization),
  "tf2_manipulations": jax.jit(tf2_manipulations),
  "tf2_unet": functools.partial(pipeline, convert=published.unet),
  "tf2_inet": functools.partial(pipeline, convert=published.inet),
  "tf2_dnet": functools.partial(pipeline, convert=published.dnet),
  "tf2_fan": functools.partial(fan, loss=losses.clipped_cross_entropy),
  "tf2_kernels": tf2_kernels,
}
for _quality in range(1, 101):
  _ADAPTERS[f"djpg_q{_quality}"] = functools.partial(
    djpeg, quality=_quality, modes=_MODES
  )
  _ADAPTERS[f"tf2_djpeg_q{_quality}"] = functools.partial(
    djpeg, quality=_quality, modes=_TF2_MODES
  )
ADAPTERS = {name: to_numpy(adapter) for name, adapter in _ADAPTERS.items()}
