"""Fermat paths: shapes around the corner from discontinuities of transients.

S. Xin, S. Nousias, K. N. Kutulakos, A. C. Sankaranarayanan, S. G. Narasimhan and
I. Gkioulekas, A Theory of Fermat Paths for Non-Line-of-Sight Shape Reconstruction, CVPR
2019.

Light that reaches a hidden surface by way of a wall returns with a transient that is
discontinuous at the lengths of Fermat paths, whatever the surface reflects. How such a
length changes along the wall is the direction to the surface: position and normal.
"""

from jaxvision.papers.fermat_paths.detection import Detector, detect
from jaxvision.papers.fermat_paths.flow import derivatives, intersect, path_normals
from jaxvision.papers.fermat_paths.pipeline import Settings, reconstruct
from jaxvision.papers.fermat_paths.poisson_surface import fit_surface
from jaxvision.papers.fermat_paths.refinement import refine
from jaxvision.papers.fermat_paths.rendering import Reflectance, render

__all__ = [
  "Detector",
  "Reflectance",
  "Settings",
  "derivatives",
  "detect",
  "fit_surface",
  "intersect",
  "path_normals",
  "reconstruct",
  "refine",
  "render",
]
