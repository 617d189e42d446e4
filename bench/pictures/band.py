"""Where `draw_band` was before pictures moved to `cvxrobust.core.pictures`."""

from cvxrobust.core.pictures.band import band, draw_band, draw_bands

__all__ = ["band", "draw_band", "draw_bands"]
