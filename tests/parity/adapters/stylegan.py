"""Parity adapters of stylegan: the authors' names and layout (NCHW)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxvision.ops import convolution, interpolation, normalization, resampling
from jaxvision.papers.stylegan import growing, losses, published, separability
from jaxvision.papers.stylegan.mapping import SLOPE
from tests.parity import rule

# What the authors' call of a case says and its tensors do not.
PSI, CUTOFF = 0.7, 3
GAMMA = 10.0
# Of D_r1_r2. The case does not say them; its four penalties fix these two exactly.
BOTH_GAMMAS = (7.0, 3.0)
GRADIENT_WEIGHTS = (
  "FromRGB_lod0/weight",
  "16x16/Conv0/weight",
  "8x8/Conv1_down/weight",
  "4x4/Conv/bias",
  "4x4/Dense0/weight",
)


def last(x):
  """NCHW to NHWC."""
  return jnp.moveaxis(jnp.asarray(x), 1, -1)


def first(x):
  """NHWC to NCHW."""
  return jnp.moveaxis(x, -1, 1)


def ops(parameters, inputs):
  del parameters
  kernel = jnp.asarray(inputs["kernel"])
  functions = {
    "blur2d": resampling.blur,
    "upscale2d": resampling.upsample_nearest,
    "downscale2d": resampling.downsample_box,
    "pixel_norm": normalization.pixel_norm,
    "instance_norm": normalization.instance_norm,
    "leaky_relu": lambda x: nn.leaky_relu(x, SLOPE),
    "conv_up_unfused": lambda x: resampling.upsample_conv(x, kernel),
    "conv_up_fused": lambda x: resampling.upsample_conv(x, kernel[::-1, ::-1]),
    "conv_down_unfused": lambda x: resampling.downsample_box(
      convolution.conv(x, kernel)
    ),
    "conv_down_fused": lambda x: resampling.downsample_conv(x, kernel),
  }

  @jax.jit
  def run(x):
    outputs = {}
    for name, function in functions.items():
      y, pull_back = jax.vjp(lambda x, f=function: first(f(last(x))), x)
      cotangent = rule.array(f"ops/ct_{name}", y.shape, -1, 1)
      outputs |= {name: y, f"grad_{name}": pull_back(cotangent)[0]}
    return outputs

  return run(inputs["x"])


def minibatch_stddev(parameters, inputs):
  del parameters

  def append(x):
    x = last(x)
    spread = normalization.minibatch_stddev(x, group_size=4)
    return first(jnp.concatenate([x, spread], axis=-1))

  y, pull_back = jax.vjp(append, inputs["x"])
  cotangent = rule.array("minibatch_stddev/ct", y.shape, -1, 1)
  return {"out": y, "grad_x": pull_back(cotangent)[0]}


def mapping(parameters, inputs):
  network = published.convert_mapping(parameters)
  return {"w": network.module.apply(network.variables, inputs["z"])}


def at_lods(network, inputs, named_lods, **options):
  """Returns the images [N, C, R, R] of a network at levels of detail, by name."""

  @jax.jit
  def run(variables, inputs):
    outputs = {}
    for name, lod in named_lods.items():
      level, fade = growing.split_lod(lod)
      images = network.module.apply(
        variables, inputs, level=level, fade=fade, **options
      )
      outputs[name] = first(resampling.upsample_nearest(images, 2**level))
    return outputs

  return run(network.variables, inputs)


def synthesis(parameters, inputs):
  network = published.convert_synthesis(parameters)
  lods = {f"image_lod{lod}": lod for lod in (0, 0.3, 1, 1.6, 3)}
  return at_lods(network, inputs["dlatents"], lods)


def generator(parameters, inputs):
  network = published.convert_generator(parameters)
  z = inputs["z"]
  truncated = at_lods(network, z, {"psi07_cut3": 0}, psi=PSI, cutoff=CUTOFF)
  return truncated | at_lods(network, z, {"validation": 0})


def traditional(parameters, inputs):
  network = published.convert_synthesis(parameters)
  return at_lods(network, inputs["dlatents"], {"image": 0})


def progan_generator(parameters, inputs):
  network = published.convert_synthesis(parameters, blur=False, fused=True)
  w = normalization.pixel_norm(jnp.asarray(inputs["z"]))[:, None]
  return at_lods(network, w, {f"image_lod{lod}": lod for lod in (0, 1.4)})


def scores_at(network, images, lods):
  @jax.jit
  def run(variables, images):
    outputs = {}
    for lod in lods:
      level, fade = growing.split_lod(lod)
      shrunk = resampling.downsample_box(last(images), 2**level)
      scores = network.module.apply(variables, shrunk, fade=fade)
      outputs[f"scores_lod{lod}"] = scores[:, None]
    return outputs

  return run(network.variables, images)


def discriminator(parameters, inputs):
  network = published.convert_discriminator(parameters)
  return scores_at(network, inputs["images"], (0, 0.4, 1, 2.3))


def progan_discriminator(parameters, inputs):
  network = published.convert_discriminator(parameters, blur=False)
  return scores_at(network, inputs["images"], (0, 1.4))


def adversarial_losses(parameters, inputs):
  """Entry i, j is loss i + penalty j: the authors add [N] to [N, 1]."""
  network = published.convert_discriminator(parameters)
  reals, fakes = last(inputs["reals"]), last(inputs["fakes"])
  mix = jnp.asarray(inputs["mix"]).reshape(-1)

  def all_losses(variables):
    def score(images):
      return network.module.apply(variables, images)

    real, fake = score(reals), score(fakes)
    found = {
      f"D_{ours}": losses.discriminator_loss(ours, real, fake)[:, None]
      for ours in ("wgan", "hinge", "logistic")
    }
    distance = losses.distance_penalty(score, reals, fakes, mix)
    r1 = losses.simple_penalty(score, reals, gamma=1.0)
    r2 = losses.simple_penalty(score, fakes, gamma=1.0)
    found["D_wgan_gp"] = found["D_wgan"] + distance
    found["D_hinge_gp"] = found["D_hinge"] + distance
    found["D_r1"] = found["D_logistic"] + GAMMA * r1
    found["D_r1_r2"] = found["D_logistic"] + BOTH_GAMMAS[0] * r1 + BOTH_GAMMAS[1] * r2
    for kind in ("wgan", "nonsaturating", "saturating"):
      found[f"G_{kind}"] = losses.generator_loss(kind, fake)[:, None]
    return found

  @jax.jit
  def run(variables):
    outputs = all_losses(variables)
    for name in ("D_r1", "D_wgan_gp"):
      gradient = jax.grad(lambda v: jnp.mean(all_losses(v)[name]))  # noqa: B023
      theirs = authors_names(gradient(variables)["params"])
      outputs |= {f"grad_{name}:{key}": theirs[key] for key in GRADIENT_WEIGHTS}
    return outputs

  return run(network.variables)


def authors_names(params):
  """Returns a discriminator's parameters by the authors' names, in their layout."""
  stages = sum(name.startswith("from_rgb") for name in params)
  theirs = {}
  for name, layer in params.items():
    if name.startswith("from_rgb"):
      scope = f"FromRGB_lod{stages - 1 - int(name.removeprefix('from_rgb'))}"
    elif name.startswith("dense"):
      scope = f"4x4/Dense{name[-1]}"
    else:
      stage, number = map(int, name.removeprefix("conv").split("_"))
      side = 4 * 2**stage
      scope = f"{side}x{side}/" + ("Conv1_down" if number else "Conv0")
      scope = "4x4/Conv" if stage == 0 else scope
    kernel = layer["kernel"]
    if name == "dense0":
      kernel = kernel.reshape(4, 4, -1, kernel.shape[-1]).transpose(2, 0, 1, 3)
      kernel = kernel.reshape(-1, kernel.shape[-1])
    theirs |= {f"{scope}/weight": kernel, f"{scope}/bias": layer["bias"]}
  return theirs


def process_reals(parameters, inputs):
  del parameters
  outputs = {}
  for lod in (0, 0.6, 1.5):
    level, fade = growing.split_lod(lod)
    x = growing.prepare_reals(last(inputs["x"]), fade=fade)
    outputs[f"lod{lod}"] = first(resampling.upsample_nearest(x, 2**level))
  return outputs


def schedule(parameters, inputs):
  del parameters
  phases = [growing.Schedule().at(images) for images in inputs["nimg"]]
  return {
    "lod": np.array([phase.lod for phase in phases]),
    "resolution": np.array([phase.resolution for phase in phases]),
    "minibatch": np.array([phase.batch for phase in phases]),
    "G_lrate": np.array([phase.rate for phase in phases]),
    "tick_kimg": np.array([phase.tick for phase in phases]),
  }


def slerp(parameters, inputs):
  del parameters
  return {"out": interpolation.slerp(*(jnp.asarray(inputs[k]) for k in "abt"))}


def conditional_entropy(parameters, inputs):
  del parameters
  return {"h": np.array([separability.conditional_entropy(p) for p in inputs["p"]])}


def to_uint8(parameters, inputs):
  del parameters
  return {"out": growing.to_uint8(jnp.asarray(inputs["x"]))}


ADAPTERS = {
  "ops": ops,
  "minibatch_stddev": minibatch_stddev,
  "mapping": mapping,
  "synthesis": synthesis,
  "generator": generator,
  "traditional": traditional,
  "discriminator": discriminator,
  "losses": adversarial_losses,
  "process_reals": process_reals,
  "schedule": schedule,
  "slerp": slerp,
  "conditional_entropy": conditional_entropy,
  "to_uint8": to_uint8,
  "progan_generator": progan_generator,
  "progan_discriminator": progan_discriminator,
}
