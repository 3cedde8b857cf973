"""Cameras: from sensor values to pictures, and from pictures to sensor values (M7).

The classical pipeline that defines the target of the neural ones, and a simulated
camera that turns any photograph into a RAW image with its target.
"""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.ops import bayer
from jaxvision.ops.clip import clip
from jaxvision.ops.demosaic import menon
from jaxvision.ops.filters import filter2d, gaussian_kernel

GAMMA = 2.2


@dataclasses.dataclass(frozen=True)
class Camera:
  """What a pipeline must know of a sensor.

  Attributes:
    pattern: its colour filters, one of bayer.PATTERNS.
    color_matrix: [3][3] from white-balanced camera RGB to linear sRGB; rows sum to 1.
  """

  pattern: str
  color_matrix: tuple[tuple[float, ...], ...]


# Source: config/cameras.json of the authors' repository; the D90's matrix with the
# digits of their INet's initialisation.
CAMERAS = {
  "D90": Camera(
    "GBRG",
    (
      (1.82691061, -0.65497452, -0.17193617),
      (-0.00683982, 1.33216381, -0.32532394),
      (0.06269717, -0.40055895, 1.33786178),
    ),
  ),
  "D7000": Camera(
    "RGGB",
    (
      (1.7147, -0.6185, -0.0962),
      (-0.1598, 1.6744, -0.5146),
      (0.0094, -0.4679, 1.4586),
    ),
  ),
  "EOS-40D": Camera(
    "RGGB",
    (
      (1.7819, -0.865, 0.0831),
      (-0.0457, 1.375, -0.3292),
      (0.053, -0.4201, 1.3671),
    ),
  ),
  "EOS-5D": Camera(
    "RGGB",
    (
      (1.8083, -0.9274, 0.1191),
      (-0.0172, 1.3148, -0.2976),
      (0.058, -0.35, 1.292),
    ),
  ),
}
D90 = CAMERAS["D90"]


def prepare_raw(
  sensor: chex.Array,
  pattern: str,
  *,
  black: float,
  saturation: float,
  multipliers: tuple[float, float, float],
) -> chex.Array:
  """Returns the network's input from a sensor's numbers.

  Args:
    sensor: [B, H, W] sensor values in the camera's own unit, H and W even.
    pattern: colour filters, one of bayer.PATTERNS.
    black: value of darkness.
    saturation: largest value.
    multipliers: white balance of red, green and blue; only ratios matter.

  Returns:
    [B, H/2, W/2, 4] white-balanced planes R, G, G, B in [0, 1].
  """
  chex.assert_rank(sensor, 3)
  chex.assert_type(sensor, float)
  planes = bayer.pack(clip((sensor - black) / (saturation - black)), pattern)
  red, green, blue = multipliers
  return clip(planes * jnp.array([red / green, 1, 1, blue / green], planes.dtype))


def develop(
  planes: chex.Array, camera: Camera, *, stretch: float | None = 0.5
) -> chex.Array:
  """Returns the picture of the classical pipeline, the target of the neural ones.

  Demosaicing (Menon), colour conversion, percentile stretch, gamma.

  Args:
    planes: [B, h, w, 4] white-balanced packed mosaic in [0, 1].
    camera: whose sensor it was.
    stretch: the percentage of values that become 0, and of those that become 1, of
      each image; None leaves the brightness alone.

  Returns:
    [B, 2h, 2w, 3] sRGB in [0, 1].
  """
  rgb = convert_color(menon(planes, camera.pattern), camera.color_matrix)
  if stretch is not None:
    axes = (1, 2, 3)
    rgb = rgb - jnp.percentile(rgb, stretch, axis=axes, keepdims=True)
    rgb = rgb / jnp.percentile(rgb, 100 - stretch, axis=axes, keepdims=True)
  return encode_gamma(clip(rgb))


def convert_color(rgb: chex.Array, matrix: chex.ArrayNumpy) -> chex.Array:
  """Returns [..., 3] colours multiplied by a [3][3] matrix and clipped to [0, 1]."""
  chex.assert_axis_dimension(rgb, -1, 3)
  matrix = jnp.asarray(matrix, rgb.dtype)
  return clip(jnp.einsum("ij,...j->...i", matrix, rgb, precision="highest"))


def encode_gamma(linear: chex.Array) -> chex.Array:
  """Returns x^(1/2.2) of values in [0, 1], with a finite gradient at 0."""
  positive = jnp.where(linear > 0, linear, 1.0)
  return jnp.where(linear > 0, positive ** (1 / GAMMA), 0.0)


def simulate(
  photographs: chex.Array,
  camera: Camera,
  key: chex.PRNGKey,
  *,
  low_pass: float = 0.0,
  gain: float = 0.9,
  shot_noise: float = 1e-4,
  read_noise: float = 1e-5,
  bits: int = 12,
) -> tuple[chex.Array, chex.Array]:
  """Returns what a camera would have recorded of a photograph, and its picture.

  Args:
    photographs: [B, H, W, 3] in [0, 1], H and W even.
    camera: the sensor.
    key: random key of the noise.
    low_pass: standard deviation in pixels of the blur by lens and optical filter. A
      photograph that was made smaller has finer detail than a sensor ever sees.
    gain: exposure; below 1 it keeps the noise of highlights unclipped.
    shot_noise: variance per unit of light.
    read_noise: variance in the dark.
    bits: precision of the sensor's numbers.

  Returns:
    planes: [B, H/2, W/2, 4] packed mosaic in [0, 1], noisy and quantised.
    target: [B, H, W, 3] sRGB in [0, 1] that the classical pipeline makes of the
      clean light at every pixel.
  """
  chex.assert_rank(photographs, 4)
  chex.assert_type(photographs, float)
  inverse = np.linalg.inv(np.array(camera.color_matrix))
  light = gain * convert_color(photographs**GAMMA, inverse)
  if low_pass:
    light = filter2d(light, gaussian_kernel(7, low_pass))
  target = encode_gamma(convert_color(light, camera.color_matrix))

  planes = bayer.sample(light, camera.pattern)
  deviation = jnp.sqrt(shot_noise * planes + read_noise)
  planes = planes + deviation * jax.random.normal(key, planes.shape, planes.dtype)
  levels = 2**bits - 1
  return jnp.round(clip(planes) * levels) / levels, target
