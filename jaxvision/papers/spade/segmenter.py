"""The segmenter that judges synthesised pictures, trained here on real ones.

It stands for the paper's pretrained networks (DeepLab-v2, UperNet101, DRN-D-105), whose
scores its own are not comparable with. The features at its coarsest level are what
Fréchet distances are measured in where no published Inception network is at hand.
"""

import functools
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from jaxvision.nn.unet import UNet
from jaxvision.papers.spade import metrics
from jaxvision.train import Stage, State, gradient_step

FEATURES = "segmenter features"  # how tables call the network of Fréchet distances
_LABELS = "labels"


def stage(
  network: UNet,
  optimizer: optax.GradientTransformation,
  batch: Mapping[str, jax.ShapeDtypeStruct],
) -> Stage:
  """Returns the training of a segmenter on {"images", "labels"}.

  Args:
    network: its out_features are the classes.
    optimizer: of its parameters.
    batch: shapes of the global batch; what it has besides is not looked at.
  """

  def init(key):
    images = jnp.zeros((1, *batch["images"].shape[1:]))
    return State.create(key, network.init(key, images)["params"], optimizer)

  def loss(params, model_state, batch, key):
    del key
    logits = network.apply({"params": params}, batch["images"])
    is_right = jnp.argmax(logits, axis=-1) == batch[_LABELS]
    found = cross_entropy(logits, batch[_LABELS])
    return found, ({"accuracy": jnp.mean(is_right)}, model_state)

  return Stage(
    name="segmenter",
    init=init,
    step=gradient_step(loss, optimizer),
    batch={name: batch[name] for name in ("images", _LABELS)},
    forward=lambda state, batch: network.apply(
      {"params": state.params}, batch["images"]
    ),
  )


def cross_entropy(logits: chex.Array, labels: chex.Array) -> chex.Array:
  """Returns the mean cross-entropy of pixels whose label is a class; 0 without any.

  Args:
    logits: [B, H, W, K].
    labels: [B, H, W] int; what is not in 0 .. K - 1 does not count.
  """
  chex.assert_shape(logits, (*labels.shape, None))
  is_known = (labels >= 0) & (labels < logits.shape[-1])
  losses = optax.softmax_cross_entropy_with_integer_labels(
    logits, jnp.where(is_known, labels, 0)
  )
  return jnp.sum(losses * is_known) / jnp.maximum(jnp.sum(is_known), 1)


class Judge:
  """A trained segmenter, compiled once for batches of one size.

  Args:
    network: the segmenter.
    params: its parameters.
  """

  def __init__(self, network: UNet, params: Any):
    self.num_classes = network.out_features
    coarsest = f"conv{len(network.features)}_2"

    @jax.jit
    def look(params, images, labels):
      logits, state = network.apply(
        {"params": params},
        images,
        capture_intermediates=lambda module, _: module.name == coarsest,
        mutable="intermediates",
      )
      (found,) = state["intermediates"][coarsest]["__call__"]
      predictions = jnp.argmax(logits, axis=-1)
      counts = metrics.confusion(labels, predictions, network.out_features)
      pooled = jnp.mean(network.activation(found), axis=(1, 2))
      return predictions, counts, pooled

    self._look = functools.partial(look, params)

  def __call__(
    self, images: chex.Array, labels: chex.Array
  ) -> tuple[chex.Array, chex.Array, chex.Array]:
    """Returns predictions [B, H, W], confusion [K, K] and features [B, D].

    Args:
      images: [B, H, W, 3] in [0, 1].
      labels: [B, H, W] int, what they should show.
    """
    return self._look(images, labels)
