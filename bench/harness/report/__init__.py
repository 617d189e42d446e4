"""Reports: as a page, as Markdown, as pictures."""

from cvxrobust.core.extras import require

for module in ("polars", "jinja2", "plotly"):
    require(module, "bench", "reports of benchmarks")
