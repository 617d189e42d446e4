"""What rows say together."""

from cvxrobust.core.extras import require

require("polars", "bench", "tables of benchmarks")
