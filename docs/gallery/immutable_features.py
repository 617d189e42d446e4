# %% [markdown]
# # Features that nobody can change
#
# An attack on a table is rarely a ball. A patient may report another weight, blood pressure varies from visit to
# visit; age and sex are on record, and blood tests come from the laboratory. Here the threat is said in the data's
# own units and by name, and it turns out to decide almost everything.
#
# The table is scikit-learn's *diabetes*: 442 patients, ten columns. The label is whether the disease got worse within
# a year by more than the median.

# %%
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from cvxrobust import PolynomialClassifier
from cvxrobust.core.pictures.band import plot_bands

bunch = load_diabetes(scaled=False)
table = pl.DataFrame(bunch.data, schema=list(bunch.feature_names))
label = np.where(bunch.target > np.median(bunch.target), "worse", "milder")
with pl.Config(tbl_cols=10, tbl_width_chars=110, tbl_hide_dataframe_shape=True):
    print(table.head(3))

# %% [markdown]
# ## The threat, in words of the table
#
# `scale` says how far an attack of radius 1 may move each column if it moves no other; `immutable` names the columns
# that it cannot touch; with `attack_units="data"` all of it is in the table's own units. Body mass index by up to 4
# kg/m², mean blood pressure by up to 14 mmHg (about one standard deviation each), nothing else.

# %%
recorded = [name for name in table.columns if name not in ("bmi", "bp")]
threat: dict[str, Any] = {"scale": {"bmi": 4.0, "bp": 14.0}, "immutable": recorded, "attack_units": "data"}


def split(seed: int) -> tuple[pl.DataFrame, pl.DataFrame, NDArray[Any], NDArray[Any]]:
    rows, held = train_test_split(np.arange(len(label)), test_size=0.4, stratify=label, random_state=seed)
    return table[rows], table[held], label[rows], label[held]


train, test, train_label, test_label = split(0)

# %% [markdown]
# ## Three ways to train
#
# - `plain` knows of no attack;
# - `ball` was trained against attacks that move *every* column, age and sex too, by half a standard deviation in all:
#   what one does without knowing the table;
# - `threat` was trained against the attacks that are possible.

# %%
models = {
    "plain": PolynomialClassifier(radius=0.0, **threat).fit(train, train_label),
    "ball": PolynomialClassifier(radius=0.5).fit(train, train_label),
    "threat": PolynomialClassifier(radius=1.0, **threat).fit(train, train_label),
}
for name, model in models.items():
    print(f"{name:7}", model.result_)
print("an attack reaches", dict(zip(table.columns, models["threat"].attack_reach_.round(2).tolist(), strict=True)))

# %% [markdown]
# ## All three under the attacks that are possible
#
# A network can be asked about other attacks than those that it was trained for: `threat_` of a fitted model is handed
# to `evaluate_robustness` of the others. The bracket is exact for these networks: certified and attacked accuracy
# agree.

# %%
possible = models["threat"].threat_
radii = np.linspace(0.0, 1.5, 16)
print("radius ", radii[::5])
reports = {name: model.evaluate_robustness(test, test_label, radii, possible) for name, model in models.items()}
for name, report in reports.items():
    print(f"{name:7}", report.certified[::5].round(3), "proved;", report.attacked[::5].round(3), "left by attacks")

# %% alt="Accuracy under the attacks that are possible, against their radius, of the three networks"
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
plot_bands(reports, axes).set_xlabel("radius: 1 is 4 kg/m² of body mass index, or 14 mmHg of blood pressure")
plt.show()

# %% [markdown]
# The network that knows the threat is right about the same patients whatever the attack, because it hardly uses the
# two columns that can be changed; the others lose some eighteen points at radius 1.
#
# What an attack does to a row can be looked at. Columns that are immutable come back to the last bit.

# %%
network = models["plain"].network_.replace(ellipsoid=models["threat"].network_.ellipsoid)
worst = network.worst_case(test, test_label, 1.0).points
moved = dict(zip(table.columns, np.abs(worst - test.to_numpy()).max(axis=0).round(2).tolist(), strict=True))
print("largest change of any row, by column:", moved)
turned = (network.predict(worst) != test_label) & (network.predict(test) == test_label)
print(f"the plain network: {turned.sum()} of {len(test)} patients turned wrong by weight and blood pressure")

# %% [markdown]
# ## What was given up before any row was held out
#
# Certificates compare *threats*, too. Any network loses at least as much to attacks that reach further; so the best
# objective against a ball is no smaller than that against the part of it that spares some columns. Both are
# bracketed, and the brackets do not touch: to defend columns that nobody attacks has a price, and it is proved.

# %%
ball = PolynomialClassifier(radius=0.5).fit(train, train_label).result_.certificate
part = PolynomialClassifier(radius=0.5, immutable=recorded).fit(train, train_label).result_.certificate
print(f"every column, radius 0.5:         the best objective lies in [{ball.lower:.5f}, {ball.upper:.5f}]")
print(f"bmi and bp alone, the same radius: the best objective lies in [{part.lower:.5f}, {part.upper:.5f}]")

# %% [markdown]
# ## Is one split luck?
#
# 177 patients make a standard error of three points. Two more splits:

# %%
kept: dict[str, list[list[float]]] = {name: [] for name in models}
for seed in (1, 2):
    train, test, train_label, test_label = split(seed)
    for model in models.values():
        model.fit(train, train_label)
    for name, model in models.items():
        report = model.evaluate_robustness(test, test_label, [0.0, 1.0], models["threat"].threat_)
        kept[name].append(report.certified.round(3).tolist())
for name, figures in kept.items():
    print(f"{name:7} without an attack and at radius 1: {figures}")

# %% [markdown]
# ## What did not hold
#
# - On these two splits robustness is not free, as it seemed on the first: the network that knows the threat gives up
#   four to six points without an attack, and has nine to eleven more at radius 1.
# - With only age and sex immutable, and the eight other columns under attack by half a standard deviation, knowing so
#   changed nothing that could be measured: over eight splits certified accuracy differed by 0.0 points, with a
#   standard error of 0.3. What is immutable matters where it carries what the others say, too.
# - The best of these networks are right about three patients of four. A certificate says that no other network of the
#   kind has a smaller training objective, not that the table says more than it does.

# %%
changed = [name for name, most in moved.items() if most > 0.0]
assert changed == ["bmi", "bp"]
assert ball.lower > part.upper
assert all(model.result_.certificate.relative_gap < 1e-4 for model in models.values())
assert all(at_one > clean - 0.02 for clean, at_one in kept["threat"])
for name in ("plain", "ball"):
    assert all(ours[1] > theirs[1] + 0.05 for ours, theirs in zip(kept["threat"], kept[name], strict=True))
