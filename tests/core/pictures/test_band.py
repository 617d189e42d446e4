"""Pictures of networks: bands that hold the truth between radii, too, and files that say what they show."""

import numpy as np
import pytest

from cvxrobust import InputError, PolynomialNetwork, Threat, evaluate_robustness
from cvxrobust.bench.pictures import band as before
from cvxrobust.bench.pictures import surface as surface_before
from cvxrobust.core.pictures import surface
from cvxrobust.core.pictures.band import band, draw_band, draw_bands


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2))
    return X, np.where(X[:, 0] > 0.1 * rng.standard_normal(40), 1.0, -1.0)


@pytest.fixture(scope="module")
def network():
    return PolynomialNetwork(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, -1.0]))


@pytest.mark.parametrize("norm", [2, "inf"])
def test_the_truth_lies_in_the_band_between_the_radii_of_a_report(network, rows, norm):
    coarse = evaluate_robustness(network, *rows, Threat(norm), [0.0, 0.2, 0.5, 1.0])
    radii, low, high = band(coarse)
    assert radii.tolist() == [0.0, 0.2, 0.2, 0.5, 0.5, 1.0]
    fine = evaluate_robustness(network, *rows, Threat(2), np.linspace(0.01, 0.99, 29))
    for radius, truth in zip(fine.radii, fine.certified, strict=True):
        # In the direction of its neurons, which is that of one input, every norm says the same.
        place = 2 * (np.searchsorted(coarse.radii, radius) - 1)
        assert low[place] <= truth <= high[place]


def test_a_band_is_drawn_the_same_for_the_same_numbers(network, rows, tmp_path):
    report = evaluate_robustness(network, *rows, Threat(2), [0.0, 0.3, 0.6])
    for name in ("one.png", "two.png"):
        draw_band(report, tmp_path / name, "a title of $2", {"threat": 0.3})
    draw_bands({"ours": report, "_theirs": report}, tmp_path / "both.png")
    one, two, both = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png", "both.png"))
    assert one == two != both
    assert one.startswith(b"\x89PNG")


def test_one_radius_is_no_band(network, rows, tmp_path):
    report = evaluate_robustness(network, *rows, Threat(2), [0.3])
    with pytest.raises(InputError, match="drawn over two radii at least"):
        draw_band(report, tmp_path / "band.png")
    assert not (tmp_path / "band.png").exists()


def test_names_that_were_public_before_pictures_moved_are_the_same():
    assert (before.draw_band, before.draw_bands) == (draw_band, draw_bands)
    assert surface_before.draw_surface is surface.draw_surface
