# %% [markdown]
# # Choosing a backend by measured gap and time
#
# Which solver is best for *your* problem on *your* machine? A status says little: "solved" means something else to
# every solver. Here every answer is judged in the same way, by the gap between two bounds that this package computes
# itself, so solvers can be compared by how soon they had *proved* how much.

# %%
import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer

from cvxrobust import AdversarialSDP, PolynomialNetwork, Result, Settings, Standardizer, backends, solve

X, target = load_breast_cancer(return_X_y=True)


def problem(rows: int, columns: int) -> AdversarialSDP:
    inputs = Standardizer.fit(X[:rows, :columns]).transform(X[:rows, :columns])
    return AdversarialSDP(inputs, 2.0 * target[:rows] - 1.0, radius=0.3, beta=0.01)


print("installed:", [name for name, backend in backends().items() if backend.unavailable() is None])

# %% [markdown]
# ## What "auto" does
#
# Backends say, from sizes alone, what a problem would cost them. `backend="auto"` takes the cheapest first and goes
# on to the next if the gap that was asked for is not proved. The result says what was picked, and why.

# %%
small = problem(60, 10)
automatic = solve(small)
automatic

# %% [markdown]
# ## Five ways, one problem
#
# A *way* is a backend and a method. `"direct"` hands over the whole convex programme; `"cutting-set"` solves small
# ones, each with the attacks that mattered in the last. All have one thread, the same tolerance, and a limit of ten
# seconds. Something tiny is solved first, so that nobody's seconds are those of importing PyTorch.

# %%
WAYS = [("ipm", "direct"), ("torch", "direct"), ("clarabel", "direct"), ("clarabel", "cutting-set"), ("scs", "direct")]


def tried(of: AdversarialSDP, ways: list[tuple[str, str]]) -> dict[str, Result[PolynomialNetwork]]:
    settings = Settings(tolerance=1e-6, time_limit=10.0, threads=1)
    return {f"{backend}/{method}": solve(of, backend, method, settings) for backend, method in ways}


tried(problem(20, 2), WAYS)
results = tried(small, WAYS)
for way, result in results.items():
    print(f"{way:21} {result.quality:10} gap {result.certificate.relative_gap:.0e} {result.times.wall:6.2f} s")

# %% [markdown]
# The table has seconds to the end of each solve. What one wants to know is rather: how long to the gap that is good
# enough? `result.trace` has every proved bound with its time.


# %%
def seconds_to(result: Result[PolynomialNetwork], gap: float) -> str:
    reached = [point.elapsed for point in result.trace if point.upper - point.lower <= gap * point.upper]
    return f"{reached[0]:8.2f}" if reached else "       -"


print(f"{'seconds to a gap of':21}", *(f"{gap:8.0e}" for gap in (1e-1, 1e-2, 1e-4, 1e-6)))
for way, result in results.items():
    print(f"{way:21}", *(seconds_to(result, gap) for gap in (1e-1, 1e-2, 1e-4, 1e-6)))

# %% alt="Certified relative gap against seconds, on logarithmic axes, one line for each of five ways"
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
for way, result in results.items():
    gaps = [max(point.upper - point.lower, 1e-12) / point.upper for point in result.trace]
    axes.step([point.elapsed for point in result.trace], gaps, where="post", marker=".", label=way)
axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel="certified relative gap")
axes.legend()
plt.show()

# %% [markdown]
# ## The same race on five times the rows and three times the columns
#
# The direct programme has one matrix inequality for every row; general solvers drop out first. So the choice that was
# right for sixty rows need not be right for three hundred.

# %%
large = problem(300, 30)
larger = tried(large, [("ipm", "direct"), ("torch", "direct"), ("clarabel", "cutting-set")])
print(f"{'seconds to a gap of':21}", *(f"{gap:8.0e}" for gap in (1e-1, 1e-2, 1e-4, 1e-6)))
for way, result in larger.items():
    print(f"{way:21}", *(seconds_to(result, gap) for gap in (1e-1, 1e-2, 1e-4, 1e-6)))

# %% [markdown]
# ## None of them can be wrong unnoticed
#
# Every way has a bracket of the same optimum, computed from its own network and its own dual variables. If two
# brackets did not overlap, one would be false. A solver that stopped early has a wide bracket, and no wrong one.

# %%
for way, result in results.items():
    bounds = result.certificate
    print(f"{way:21} [{bounds.lower:.9f}, {bounds.upper:.9f}]")

# %% [markdown]
# ## What this page does not say
#
# - Each way ran once, beside whatever else the machine did. For figures that hold, with repetitions, one process per
#   run and a report, there is the benchmark harness: `cvxrobust bench run smoke --out rows`, then `cvxrobust bench
#   report rows --out report`.
# - Sixty rows are few, and one table is one table: the studies have more of both.
# - Of each way the defaults were used. Native options go into `Settings(options={...})`.
#
# Nothing is asserted about time, which belongs to the machine; that all brackets overlap holds everywhere.

# %%
for found in (results, larger):
    highest = max(result.certificate.lower for result in found.values())
    assert all(result.certificate.upper >= highest for result in found.values())
assert automatic.quality == "certified"
