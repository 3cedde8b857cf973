"""Parity adapters of ganet: the authors' names and layout (NCHW, NCDHW)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import aggregation, cost_volume, local_aggregation
from jaxvision.papers.ganet import losses, published
from jaxvision.papers.ganet.cost_aggregation import SGABlock
from jaxvision.papers.ganet.features import Features
from jaxvision.papers.ganet.guidance import Guidance
from jaxvision.papers.ganet.heads import SCALE, Head

# Forward passes that run once: compiling without optimisation takes half the time.
QUICK = {"xla_backend_optimization_level": 0}


def last(array):
  """Channels from axis 1 to the end."""
  return jnp.moveaxis(jnp.asarray(array), 1, -1)


def first(array):
  return jnp.moveaxis(array, -1, 1)


def sga(parameters, inputs):
  del parameters
  cost = last(inputs["x"])
  guides = [jnp.asarray(inputs[f"g{number}"]) for number in range(4)]
  weights = aggregation.normalize_weights(jnp.stack(guides, 1), axis=3)
  weights = jnp.transpose(weights, (0, 4, 5, 1, 3, 2))  # [N, H, W, 4, 5, C]
  cotangent = last(inputs["cotangent"])
  outputs = {}
  for whose in ("true", "authors"):
    aggregate = functools.partial(
      aggregation.semi_global_aggregation, authors_gradient=whose == "authors"
    )
    y, gradient = jax.vjp(aggregate, cost, weights)
    by_cost, by_weights = gradient(cotangent)
    outputs[f"{whose}_grad_x"] = first(by_cost)
    for number in range(4):
      own = jnp.transpose(by_weights[:, :, :, number], (0, 4, 3, 1, 2))
      outputs[f"{whose}_grad_g{number}"] = own
  outputs["y"] = first(y)
  for name in ("down", "left"):
    number = aggregation.DIRECTIONS.index(name)
    one = aggregation.semi_global_aggregation(
      cost, weights[:, :, :, number : number + 1], directions=(name,)
    )
    outputs[name] = first(one)
  return outputs


def lga2(parameters, inputs):
  del parameters
  volume = jnp.asarray(inputs["x"])
  filters = last(aggregation.normalize_weights(jnp.asarray(inputs["f"]), axis=1))
  size = round((filters.shape[-1] // 3) ** 0.5)

  def filtered(volume, filters):
    filters = filters.reshape(*filters.shape[:3], 3, size, size)
    return local_aggregation.local_guided_aggregation(volume, filters, repeats=2)

  y, gradient = jax.vjp(filtered, volume, filters)
  by_volume, by_filters = gradient(jnp.asarray(inputs["cotangent"]))
  return {"y": y, "grad_x": by_volume, "grad_f": first(by_filters)}


def volume(parameters, inputs, *, candidates):
  del parameters
  views = last(inputs["left"]), last(inputs["right"])
  return {"volume": first(cost_volume.concatenation_volume(*views, candidates))}


def disp_regression(parameters, inputs):
  del parameters
  return {"disp": cost_volume.expected_disparity(jnp.asarray(inputs["p"]))}


def apply(module, parameters, *inputs, **options):
  """Returns what a module gives with the authors' weights."""
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs, **options))
  variables = published.convert_module(parameters, shapes)
  run = jax.jit(functools.partial(module.apply, **options), compiler_options=QUICK)
  return run(variables, *inputs)


def sga_block(parameters, inputs):
  y = apply(SGABlock(), parameters, last(inputs["x"]), last(inputs["g"]), train=False)
  return {"y": first(y)}


def feature(parameters, inputs):
  return {"y": first(apply(Features(), parameters, last(inputs["img"]), train=False))}


def guidance(parameters, inputs):
  weights = apply(Guidance(), parameters, last(inputs["g"]), train=False)
  return {name: first(array) for name, array in weights.items()}


def head(parameters, inputs):
  x = last(inputs["x"])
  max_disp = SCALE * (x.shape[1] - 1)
  filters = [(last(inputs["lg1"]), last(inputs["lg2"]))] if "lg1" in inputs else []
  return {"disp": apply(Head(max_disp), parameters, x, *filters)}


def network(parameters, inputs, *, max_disp):
  model, variables = published.convert(parameters, max_disp)
  run = jax.jit(model.apply, compiler_options=QUICK)
  (disparity,) = run(variables, last(inputs["left"]), last(inputs["right"]))
  return {"disp": disparity}


def disparity_losses(parameters, inputs):
  del parameters
  predicted, target = jnp.asarray(inputs["pred"]), jnp.asarray(inputs["target"])
  outputs = {}
  for name, loss in (
    ("smooth_l1", losses.smooth_l1),
    ("myloss2", losses.authors_threshold_loss),
  ):
    value, gradient = jax.value_and_grad(
      lambda predicted, loss=loss: jnp.mean(loss(predicted - target))
    )(predicted)
    outputs |= {name: np.asarray(value), f"{name}_grad": gradient}
  return outputs


ADAPTERS = {
  "sga": sga,
  "lga2": lga2,
  "cost_volume": functools.partial(volume, candidates=5),
  "disp_regression": disp_regression,
  "sga_block": sga_block,
  "feature": feature,
  "guidance": guidance,
  "disp_head": head,
  "disp_agg_head": head,
  "gadeep": functools.partial(network, max_disp=12),
  "ganet11": functools.partial(network, max_disp=12),
  "losses": disparity_losses,
}
