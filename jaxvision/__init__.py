"""JAX/Flax re-implementations of computer-vision systems, as pure functions.

Import the piece you need: `jaxvision.ops.jpeg`, `jaxvision.papers.<paper>`, ... This
module itself imports nothing heavy.
"""

__version__ = "0.1.0"
