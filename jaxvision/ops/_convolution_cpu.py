"""The three maps of a `Form` as XLA runs them fast on CPU."""

from jaxvision.ops._convolution_lax import correlate, gather, spread

__all__ = ["correlate", "gather", "spread"]
