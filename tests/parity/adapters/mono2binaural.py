"""Parity adapters of mono2binaural: the authors' names and layout (NCHW)."""

import jax
import jax.numpy as jnp

from jaxvision.papers.mono2binaural import audio, metrics, published, training
from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.papers.mono2binaural.networks import signed_mask
from tests.parity.arrays import to_numpy

FORM = AudioFormat()


def channels_last(x):
  return jnp.moveaxis(jnp.asarray(x), 1, -1)


def channels_first(x):
  return jnp.moveaxis(x, -1, 1)


def audio_ops(parameters, inputs):
  del parameters
  normal, _ = audio.normalize(jnp.asarray(inputs["audio"]).T)
  mix, _ = audio.sum_and_difference(normal)
  planes = jnp.moveaxis(jnp.asarray(inputs["diff_spec"]), 0, -1)
  return {
    "normalized": normal.T,
    "mix_spec": jnp.moveaxis(audio.spectrum(mix, FORM), -1, 0),
    "istft": audio.resynthesize(planes, FORM, n_fft="published"),
  }


def visual_net(parameters, inputs):
  network, variables = published.visual_net(parameters)
  features = jax.jit(network.apply)(variables, channels_last(inputs["frame"]))
  return {"feature": channels_first(features[-1])}


def audio_net(parameters, inputs):
  network, variables = published.audio_net(parameters)
  spectra, visual = inputs["spectrogram"], inputs["visual_feature"]
  logits = jax.jit(network.apply)(
    variables, channels_last(spectra), channels_last(visual)
  )
  logits = channels_first(logits)
  return {"mask": signed_mask(logits), "mask_logits": logits}


def audio_visual_model(parameters, inputs):
  parts = [
    {
      key.removeprefix(prefix): array
      for key, array in parameters.items()
      if key.startswith(prefix)
    }
    for prefix in ("net_visual.", "net_audio.")
  ]
  network, variables = published.audio_visual_net(*parts)
  mix, difference = (
    channels_last(inputs[name]) for name in ("audio_mix_spec", "audio_diff_spec")
  )
  frames = channels_last(inputs["frame"])
  mask = signed_mask(jax.jit(network.apply)(variables, mix, frames))
  bins = mask.shape[1]
  predicted = audio.complex_product(mask, mix[:, :bins])
  return {
    "mask": channels_first(mask),
    "binaural_spectrogram": channels_first(predicted),
    "loss": training.mean_squared_error(predicted, difference[:, :bins]),
  }


def distances(parameters, inputs):
  del parameters
  pair = [jnp.asarray(inputs[name]).T for name in ("pred", "gt")]
  outputs = {}
  for ending, normalize in (("", True), ("_raw", False)):
    outputs[f"stft_distance{ending}"] = metrics.stft_distance(
      *pair, FORM, normalize=normalize
    )
    outputs[f"envelope_distance{ending}"] = metrics.envelope_distance(
      *pair, normalize=normalize
    )
  return outputs


ADAPTERS = {
  name: to_numpy(adapter)
  for name, adapter in {
    "audio_ops": audio_ops,
    "visual_net": visual_net,
    "audio_net": audio_net,
    "audio_visual_model": audio_visual_model,
    "metrics": distances,
  }.items()
}
