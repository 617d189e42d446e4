"""Where `draw_surface` was before pictures moved to `cvxrobust.core.pictures`."""

from cvxrobust.core.pictures.surface import draw_surface

__all__ = ["draw_surface"]
