"""How fast a clip becomes binaural, and how fast the transforms are."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.papers.mono2binaural import audio, inference
from jaxvision.papers.mono2binaural.audio import AudioFormat
from jaxvision.papers.mono2binaural.networks import Sizes
from jaxvision.train import jit_once

SECONDS = 10


def rows(seconds: Callable[[Callable], float]) -> list[dict]:
  """Returns rows of a clip of 10 s in one call, and of its spectra there and back.

  Args:
    seconds: call -> its median time in seconds.
  """
  form = AudioFormat()
  key = jax.random.key(0)
  clip = 0.1 * jax.random.normal(key, (SECONDS * form.rate, 2))

  @jax.jit
  def there_and_back(clip):
    planes = audio.spectrum(clip.T, form)
    return audio.resynthesize(planes, form, length=len(clip))

  table = [
    _row("STFT and its inverse, 10 s of both ears", seconds, there_and_back, clip)
  ]
  # One picture; a film adds a pass of ResNet-18 for each frame.
  small = Sizes(features=16, visual_blocks=(1, 1, 1), visual_widths=(8, 16, 32))
  for name, sizes in (("small networks", small), ("the paper's networks", Sizes())):
    network = sizes.make()
    frames = jnp.full((1, 224, 448, 3), 0.5)
    spectra = jnp.zeros((1, form.bins, form.frames, 2))
    variables = jit_once(network.init)(key, spectra, frames)
    run = jax.jit(
      functools.partial(inference.binauralize, network, form=form, batch=16)
    )
    name = f"10 s binaural in one call, 189 windows, {name}"
    table.append(_row(name, seconds, run, variables, clip, frames))
  return table


def _row(name, seconds, function, *arguments):
  duration = seconds(lambda: function(*arguments))
  return {
    "name": f"mono2binaural/{name}",
    "milliseconds": 1e3 * duration,
    "times_real_time": SECONDS / duration,
  }
