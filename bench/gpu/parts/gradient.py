"""One robust gradient against its matrix products alone, and against the device's own rate for products."""

import time
from collections.abc import Iterator
from typing import Any

from cvxrobust.bench.gpu.context import Context, TableRow

TITLE = "The robust gradient against its matrix products"
NOTE = (
    "Smoothed robust gradient of 64 neurons, hinge, l2 radius 0.3 (`cvxrobust.bench.studies.gradient_scaling`), the "
    "shortest of five; `products` are its two products with X alone. `of the device's rate`: floating-point operations "
    "of these products, while the gradient is computed, against one product of square matrices in the same precision."
)
BUDGET = 45.0
NEURONS = 64


def rows(context: Context) -> Iterator[TableRow]:
    """Both precisions."""
    from cvxrobust import Settings
    from cvxrobust.bench.studies.gradient_scaling import measure

    n, d = context.size(50_000, 2_000), context.size(512, 96)
    for dtype in ("float64", "float32"):
        settings = Settings(device=context.device, dtype=dtype, threads=context.threads)
        cost = measure(n, d, settings)
        peak = _rate(context, dtype)
        yield {
            "n": n,
            "d": d,
            "dtype": dtype,
            "gradient, ms": 1e3 * cost.gradient,
            "first, ms": 1e3 * cost.first,
            "products, ms": 1e3 * cost.products,
            "ratio": cost.ratio,
            "TFLOP/s": 1e-3 * cost.rate,
            "device's TFLOP/s": 1e-12 * peak,
            "of the device's rate": 1e9 * cost.rate / peak,
        }


def _rate(context: Context, dtype: str) -> float:
    """Floating-point operations per second of a product of square matrices."""
    import torch

    order = context.size(8192, 512)
    left: Any = torch.randn((order, order), device=context.device, dtype=getattr(torch, dtype))
    right, best = torch.randn_like(left), float("inf")
    for _ in range(5):
        context.synchronize()
        began = time.perf_counter()
        torch.mm(left, right)
        context.synchronize()
        best = min(best, time.perf_counter() - began)
    return float(2.0 * order**3 / best)
