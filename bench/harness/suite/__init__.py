"""What a benchmark is to run."""

from cvxrobust.core.extras import require

require("pydantic", "bench", "suites of benchmarks")
