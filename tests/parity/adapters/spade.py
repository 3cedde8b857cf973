"""Parity adapters of spade: the authors' names and layout (NCHW)."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.nn.vgg_features import vgg_features
from jaxvision.ops import label_maps
from jaxvision.papers.spade import losses, published, semantics, training
from jaxvision.papers.spade.discriminator import Judgement
from tests.parity.arrays import to_numpy

# What the authors' call of the case says and its tensors do not, unless they show more.
LABELS = 5


def channels_last(x):
  return jnp.moveaxis(jnp.asarray(x), 1, -1)


def channels_first(x):
  return jnp.moveaxis(x, -1, 1)


def spade_layer(parameters, inputs):
  layer, variables = published.spade(parameters)
  x, seg = channels_last(inputs["x"]), channels_last(inputs["seg"])
  return {"out": channels_first(jax.jit(layer.apply)(variables, x, seg))}


def residual_block(parameters, inputs):
  block, variables = published.residual_block(parameters)
  x, seg = channels_last(inputs["x"]), channels_last(inputs["seg"])
  return {"out": channels_first(jax.jit(block.apply)(variables, x, seg))}


def generator_for(parameters, labels):
  """Returns the generator whose images are as large as the labels [..., H, W]."""
  height, width = labels.shape[-2:]
  return published.generator(parameters, crop_size=width, aspect_ratio=width / height)


def generator(parameters, inputs):
  labels = jnp.asarray(inputs["label"]).reshape(-1, *inputs["label"].shape[-2:])
  network, variables = generator_for(parameters, labels)
  channels = parameters["up_0.norm_0.mlp_shared.0.weight"].shape[1]
  maps = label_maps.one_hot(labels, channels)
  latent = inputs.get("z")
  return {"image": channels_first(jax.jit(network.apply)(variables, maps, latent))}


def discriminator(parameters, inputs):
  network, variables = published.discriminator(parameters)
  x = channels_last(inputs["x"])
  judgements = jax.jit(network.apply)(variables, x[..., :-3], x[..., -3:])
  return {
    f"d{scale}_f{layer}": channels_first(features)
    for scale, judgement in enumerate(judgements)
    for layer, features in enumerate(judgement.features)
  }


def encoder(parameters, inputs):
  network, variables = published.encoder(parameters)
  image = channels_last(inputs["image"])
  mean, log_variance = jax.jit(network.apply)(variables, image)
  return {"mu": mean, "logvar": log_variance}


def pix2pixhd(parameters, inputs):
  network, variables = published.pix2pixhd(parameters)
  seg = channels_last(inputs["seg"])
  return {"image": channels_first(jax.jit(network.apply)(variables, seg))}


def gan_losses(parameters, inputs):
  del parameters
  judgements = [Judgement((channels_last(x),)) for _, x in sorted(inputs.items())]
  outputs = {}
  for mode in losses.MODES:
    outputs[f"{mode}_d_real"] = losses.discriminator_loss(judgements, True, mode)
    outputs[f"{mode}_d_fake"] = losses.discriminator_loss(judgements, False, mode)
    outputs[f"{mode}_g"] = losses.generator_loss(judgements, mode)
  return {name: value[None] for name, value in outputs.items()}


def kld(parameters, inputs):
  del parameters
  return {"kld": losses.style_divergence(inputs["mu"], inputs["logvar"])}


def preprocess_input(parameters, inputs):
  del parameters
  labels = inputs["label"][:, 0].astype(np.int32)
  instances = jnp.asarray(inputs["instance"][:, 0])
  is_unknown = labels == label_maps.UNKNOWN
  # Without 255 the largest label stands for the unknown already.
  shown = int(labels[~is_unknown].max(initial=0)) + bool(is_unknown.any())
  num_classes = max(LABELS, shown)
  maps = semantics.encode(
    jnp.asarray(labels), instances, num_classes, unknown_class=True
  )
  return {"semantics": channels_first(maps)}


def vgg_loss(parameters, inputs):
  vgg = published.vgg19(parameters)
  fake, real = channels_last(inputs["fake"]), channels_last(inputs["real"])
  loss, gradient = jax.jit(jax.value_and_grad(losses.perceptual_loss, argnums=1))(
    vgg, fake, real
  )
  layers = tuple(losses.PERCEPTUAL_LAYERS)
  features = jax.jit(lambda x: vgg_features(vgg, x, layers))(fake)
  return {
    "loss": loss,
    "grad_fake": channels_first(gradient),
    **{
      layer.replace("conv", "relu"): channels_first(x)
      for layer, x in zip(layers, features, strict=True)
    },
  }


def full_losses(parameters, inputs):
  def of(prefix):
    names = [name for name in parameters if name.startswith(prefix)]
    return {name.removeprefix(prefix): parameters[name] for name in names}

  labels = inputs["label"][:, 0].astype(np.int32)
  generator_, generator_variables = generator_for(of("netG."), labels)
  discriminator_, discriminator_variables = published.discriminator(of("netD."))
  channels = parameters["netG.fc.weight"].shape[1]
  networks = training.Networks(
    generator_, discriminator_, num_classes=channels - 1, unknown_class=False
  )
  variables = {
    "generator": generator_variables,
    "discriminator": discriminator_variables,
  }
  params = {name: tree.pop("params") for name, tree in variables.items()}
  params["generator"] = {"generator": params["generator"]}
  batch = {
    "labels": jnp.asarray(labels),
    "instances": jnp.asarray(inputs["instance"][:, 0]),
    "images": semantics.from_signed(channels_last(inputs["image"])),
  }
  arguments = (networks, training.Objective())
  key = jax.random.key(0)

  @jax.jit
  def run(params):
    fake = training.generate(
      networks, params["generator"], variables, training.encode(networks, batch), key
    )
    gradient, (parts, _) = jax.grad(
      lambda params: training.generator_objective(
        *arguments, params, variables, batch, key, train=False
      ),
      has_aux=True,
    )(params)
    _, (judged, _) = training.discriminator_objective(
      *arguments, params, variables, batch, key, train=False
    )
    return fake.images, gradient["generator"]["generator"], parts, judged

  fake, gradient, parts, judged = run(params)
  return {
    "G_GAN": parts["adversarial"][None],
    "G_GAN_Feat": parts["features"][None],
    "D_Fake": judged["fake"][None],
    "D_real": judged["real"][None],
    "fake": channels_first(fake),
    "grad_conv_img_weight": jnp.transpose(gradient["image"]["kernel"], (3, 2, 0, 1)),
    "grad_fc_bias": gradient["fc"]["bias"],
  }


ADAPTERS = {
  name: to_numpy(adapter)
  for name, adapter in {
    "spade_layer": spade_layer,
    "spade_resblock": residual_block,
    "spade_resblock_identity": residual_block,
    "generator": generator,
    "discriminator": discriminator,
    "encoder": encoder,
    "pix2pixhd": pix2pixhd,
    "gan_losses": gan_losses,
    "kld": kld,
    "preprocess_input": preprocess_input,
    "vgg_loss": vgg_loss,
    "full_losses": full_losses,
  }.items()
}
