"""What is drawn says what is known: lines, bands, balls, regions, and legends that lie within the axes."""

from dataclasses import replace
from functools import cache

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from cvxrobust import (
    Certificate,
    InputError,
    MissingExtraError,
    PolynomialNetwork,
    ReLUNetwork,
    Result,
    Settings,
    Standardizer,
    StandardSDP,
    Threat,
    evaluate_robustness,
    plot_decision_regions,
    solve,
    solve_path,
)
from cvxrobust.core import extras
from cvxrobust.core.contracts.result import Phase, Quality, Round, Termination, Times, TracePoint
from cvxrobust.core.pictures import canvas
from cvxrobust.core.pictures.balls import shadow
from cvxrobust.core.pictures.surface import plot_surface
from cvxrobust.problems.model_selection.grids import Candidates
from cvxrobust.problems.model_selection.surface import ScoreSurface

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 2))
Y = np.where(X[:, 0] > 0.3 * RNG.standard_normal(30), 1.0, -1.0)
NETWORK = PolynomialNetwork(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, -1.0]))  # the sign of the first input
TRACE = (TracePoint(0.1, 1.0, 0.0), TracePoint(0.2, 0.8, 0.4), TracePoint(0.5, 0.6, 0.5999))


@pytest.fixture(autouse=True)
def without_windows():
    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    yield
    pyplot.close("all")
    matplotlib.use(before)


def rendered(axes, path):
    """The legend's words; everything has been drawn to a file, the legend inside the axes."""
    axes.figure.savefig(path / "drawn.png", dpi=40)
    assert (path / "drawn.png").read_bytes().startswith(b"\x89PNG")
    legend = axes.get_legend()
    frame, box = axes.get_window_extent(), legend.get_window_extent()
    assert frame.x0 <= box.x0
    assert box.x1 <= frame.x1
    assert frame.y0 <= box.y0
    assert box.y1 <= frame.y1
    return [text.get_text() for text in legend.get_texts()]


def result(**changes):
    found = Result(
        NETWORK, Certificate(0.6, 0.5999), Termination.CONVERGED, Quality.INACCURATE, "torch", "direct",
        times=Times(wall=2.0), trace=TRACE,
    )  # fmt: skip
    return replace(found, **changes)


# -- gaps --------------------------------------------------------------------------------------------------------------


def test_the_gap_holds_until_it_improves_and_to_the_end(tmp_path):
    axes = result().plot()
    line = axes.lines[0]
    assert line.get_drawstyle() == "steps-post"
    np.testing.assert_allclose(line.get_xdata(), [0.1, 0.2, 0.5, 2.0])
    np.testing.assert_allclose(line.get_ydata(), [1.0, 0.5, 1e-4 / 0.6, 1e-4 / 0.6])
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds", "certified relative gap")
    assert rendered(axes, tmp_path) == ["torch/direct: inaccurate, gap 1.7e-04"]


def test_no_gap_and_no_bound_can_be_drawn_too(tmp_path):
    nothing = (TracePoint(0.0, np.inf, 0.0), TracePoint(1.0, 0.5, 0.5))
    axes = result(certificate=Certificate(0.5, 0.5), trace=nothing).plot()
    assert np.isnan(axes.lines[0].get_ydata()[0])
    assert axes.lines[0].get_ydata()[1] == 1e-16
    rendered(axes, tmp_path)
    scored = result(trace=()).plot()
    assert scored.lines[0].get_xdata().tolist() == [2.0]
    rendered(scored, tmp_path)


def test_it_is_said_when_another_way_went_on_and_when_gates_were_refined(tmp_path):
    phases = tuple(
        Phase(name, "direct", Termination.CONVERGED, Certificate(1.0, 0.0), Times(wall=wall))
        for name, wall in (("torch", 0.25), ("$ipm", 1.75))
    )
    axes = result(phases=phases).plot()
    assert axes.lines[2].get_xdata() == [0.25, 0.25]
    assert rendered(axes, tmp_path)[1] == r"\$ipm/direct"
    rounds = tuple(Round(kind, when, Certificate(1.0, 0.0), 3) for kind, when in (("given", 0.4), ("grown", 2.0)))
    axes = result(history=rounds, phases=phases).plot()
    assert [line.get_xdata()[0] for line in axes.lines[2:]] == [0.4]
    assert rendered(axes, tmp_path)[1] == "grown gates"


def test_axes_that_are_given_are_drawn_into_and_no_figure_is_made():
    _, (first, second, third) = pyplot.subplots(1, 3)
    assert result().plot(first) is first
    assert NETWORK.plot_robustness(X, Y, [0.0, 0.5], ax=second) is second
    assert plot_decision_regions(NETWORK, X, Y, ax=third) is third
    assert len(pyplot.get_fignums()) == 1


# -- paths and surfaces ------------------------------------------------------------------------------------------------


@cache
def path():
    return solve_path(StandardSDP(X, Y), betas=[0.1, 0.01, 0.03], backend="clarabel", settings=Settings(tolerance=1e-2))


def test_a_path_is_a_line_over_betas_and_what_was_missed_is_circled(tmp_path):
    axes = path().plot()
    order = np.argsort(path().betas)
    np.testing.assert_allclose(axes.lines[0].get_xdata(), path().betas[order])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), path().upper[order, 0])
    assert axes.get_xscale() == "log"
    assert rendered(axes, tmp_path) == ["0"]
    strict = replace(path(), tolerance=float(np.sort(path().gap.ravel())[1]))  # one of three is above
    axes = strict.plot()
    assert len(axes.lines[1].get_xdata()) == 1
    assert rendered(axes, tmp_path)[1].startswith("gap above")


def test_a_path_of_one_beta_goes_along_radii_and_an_empty_one_is_refused(tmp_path):
    grid = replace(path().grid, betas=np.array([0.1]), radii=np.array([0.0, 0.2]))
    point = path()[0, 0]
    two = {(0, 0): point, (0, 1): replace(point, radius=0.2, index=(0, 1), certificate=Certificate(2.0, 1.0))}
    axes = replace(path(), grid=grid, points=two).plot()
    assert axes.get_xlabel() == "radius of attacks in training"
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [point.certificate.upper, 2.0])
    rendered(axes, tmp_path)
    with pytest.raises(InputError, match="the path has no points, it ended by its converged"):
        replace(path(), points={}).plot()


def test_a_surface_shows_means_and_frames_what_was_chosen(tmp_path):
    scores = np.linspace(0.5, 0.9, 24).reshape(2, 3, 2, 2)
    tried = Candidates((0.1, 0.01), (0.0, 0.1, 0.2), (5, 10))
    surface = ScoreSurface(tried, scores, np.full(scores.shape, 1e-3), 1e-4, np.ones((2, 2)))
    axes = plot_surface(surface, chosen=(0, 1, 1))
    words = [text.get_text() for text in axes.texts]
    assert len(words) == 6
    assert words[0] == f"{100.0 * surface.means[0, 0, 1]:.1f} ± {100.0 * surface.standard_errors[0, 0, 1]:.1f} *"
    assert axes.patches[0].get_xy() == (0.5, -0.5)
    assert axes.get_title() == "10 gates"
    assert not plot_surface(surface, chosen=(0, 1, 1), gates=5).patches
    axes.figure.savefig(tmp_path / "surface.png", dpi=40)
    with pytest.raises(InputError, match="gates is 7; expected a number that was tried: 5, 10"):
        plot_surface(surface, gates=7)


# -- bands -------------------------------------------------------------------------------------------------------------


def test_a_network_shows_its_own_band(tmp_path):
    axes = NETWORK.plot_robustness(X, Y, [0.0, 0.25, 0.5])
    report = evaluate_robustness(NETWORK, X, Y, Threat(2), [0.0, 0.25, 0.5])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 100.0 * report.certified)
    assert rendered(axes, tmp_path) == ["certified", "attacked"]
    np.testing.assert_allclose(report.plot().lines[0].get_ydata(), axes.lines[0].get_ydata())


def test_without_radii_a_band_goes_to_where_nothing_is_certified():
    axes = NETWORK.plot_robustness(X, Y)
    certified = axes.lines[0].get_ydata()
    assert len(certified) == 11
    assert certified[0] > 0.0
    assert certified[-1] == 0.0


def test_attacks_are_those_that_a_network_was_trained_for():
    shaped = solve(StandardSDP(X, Y), "clarabel", settings=Settings(tolerance=0.1)).network
    shaped = shaped.replace(ellipsoid=Threat(2, scale=[1.0, 0.0]).on(X).ball.ellipsoid)
    own = shaped.plot_robustness(X, Y, [0.0, 0.3]).lines[0].get_ydata()
    balls = shaped.plot_robustness(X, Y, [0.0, 0.3], Threat(2)).lines[0].get_ydata()
    assert own[1] >= balls[1]
    expected = evaluate_robustness(shaped, X, Y, Threat(2, scale=[1.0, 0.0]), [0.0, 0.3]).certified
    np.testing.assert_allclose(own, 100.0 * expected)


def test_bands_are_about_classes_and_threats():
    with pytest.raises(InputError, match="about classes"):
        NETWORK.replace(regression=True).plot_robustness(X, Y)
    with pytest.raises(InputError, match=r"threat is 0\.3; expected a Threat"):
        NETWORK.plot_robustness(X, Y, [0.0, 0.1], threat=0.3)


# -- decision regions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [np.ones(4), np.array([2.0, 1.0, 0.5, 3.0])], ids=["alike", "units"])
@pytest.mark.parametrize(
    "threat",
    [
        Threat(2),
        Threat("inf"),
        Threat(1),
        Threat(2, scale=[1.0, 2.0, 0.5, 0.0]),
        Threat("inf", scale=[1.0, 2.0, 0.0, 1.0]),
        Threat(2, covariance=np.diag([1.0, 2.0, 3.0, 4.0]) + 0.7),
        Threat(2, directions=[[1.0], [2.0], [-1.0], [0.0]]),
    ],
    ids=["l2", "linf", "l1", "ellipse", "box", "covariance", "direction"],
)
def test_the_shadow_of_a_ball_holds_all_attacks_and_every_corner_is_one(threat, units):
    attacks = threat.on(np.zeros((4000, 4))).of_radius(1.0)
    corners = shadow(attacks, (0, 2), units)
    sample = attacks.sample(np.random.default_rng(1))[:, [0, 2]] * units[[0, 2]]
    angles = np.linspace(0.0, 2.0 * np.pi, 40)
    for direction in np.stack([np.cos(angles), np.sin(angles)], axis=1):
        reach = (corners @ direction).max()
        assert (sample @ direction).max() <= reach + 2e-3 * np.abs(corners).max()
        seen = np.zeros(4)
        seen[[0, 2]] = direction * units[[0, 2]]
        assert reach <= float(attacks.ball.dual_norm(seen)) + 1e-12


def test_balls_have_the_corners_that_they_are_known_for():
    def corners(threat):
        return shadow(threat.on(np.zeros((1, 2))), (0, 1), np.ones(2))

    assert {tuple(corner) for corner in corners(Threat("inf")).tolist()} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    assert {tuple(corner) for corner in corners(Threat(1)).tolist()} == {(1, 0), (0, -1), (-1, 0), (0, 1)}
    np.testing.assert_allclose(np.linalg.norm(corners(Threat(2)), axis=1), 1.0)
    assert np.abs(corners(Threat(2, scale=[1.0, 0.0]))[:, 1]).max() == 0.0  # a segment
    assert not corners(Threat(2, scale=[0.0, 0.0])).any()


def collections(axes):
    return {found.get_label(): found for found in axes.collections}


def test_regions_rows_and_balls_say_what_the_network_says(tmp_path):
    axes = plot_decision_regions(NETWORK, X, Y, radius=0.3)
    words = rendered(axes, tmp_path)
    assert words[:2] == ["certified at 0.3", "not certified"]
    assert {"-1", "1"} <= set(words)
    drawn = collections(axes)
    surely = NETWORK.certified_radius(X) > 0.3
    assert len(drawn["certified at 0.3"].get_paths()) == surely.sum()
    assert len(drawn["not certified"].get_paths()) == (~surely).sum()
    first = drawn["certified at 0.3"].get_paths()[0].vertices - X[surely][0]
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 0.3)
    right = NETWORK.predict(X) == Y
    assert len(drawn["1"].get_offsets()) == (right & (Y > 0.0)).sum()
    mesh = next(found for found in axes.collections if type(found).__name__ == "QuadMesh")
    grid = mesh.get_array().reshape(200, 200)
    left, right = axes.get_xlim()
    middle = round(200 * left / (left - right))
    assert (grid[:, : middle - 2] == 0).all()
    assert (grid[:, middle + 2 :] == 1).all()
    assert np.ptp(axes.get_ylim()) == pytest.approx(right - left)
    assert axes.get_aspect() == 1.0


def test_the_largest_certified_balls_touch_the_border(tmp_path):
    axes = plot_decision_regions(NETWORK, X, Y)
    assert "largest certified" in rendered(axes, tmp_path)
    corners = np.array([path.vertices for path in collections(axes)["largest certified"].get_paths()])
    nearest = np.abs(corners[:, :, 0]).min(axis=1)
    np.testing.assert_allclose(nearest, 0.0, atol=2e-3 * np.abs(X).max())
    assert (np.sign(corners[:, :, 0]) * np.sign(X[:, :1]) >= -1e-9).all()


def test_radii_of_a_standardised_network_are_drawn_in_the_units_of_the_data(tmp_path):
    raw = X * [10.0, 1.0] + [5.0, 0.0]
    standardizer = Standardizer.fit(raw, ["a$b", "other"])
    axes = plot_decision_regions(NETWORK.replace(standardizer=standardizer), raw, Y, radius=0.2)
    assert axes.get_xlabel() == r"a\$b"
    rendered(axes, tmp_path)
    found = collections(axes)
    every = [path.vertices for name in ("certified at 0.2", "not certified") for path in found[name].get_paths()]
    np.testing.assert_allclose(np.ptp(every[0], axis=0), 0.4 * standardizer.scale, rtol=2e-3)
    assert axes.get_aspect() == "auto"


@pytest.mark.parametrize(
    ("model", "threat"),
    [
        (DecisionTreeClassifier(max_depth=2, random_state=0), Threat(1)),
        (KNeighborsClassifier(3), None),
        (ReLUNetwork(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, -1.0])), Threat("inf", bounds=(-9.0, 9.0))),
    ],
    ids=["tree", "neighbours", "relu"],
)
def test_other_classifiers_are_drawn_with_what_is_known_of_them(model, threat, tmp_path):
    labels = np.where(Y > 0.0, "yes", "no") if hasattr(model, "fit") else Y
    if hasattr(model, "fit"):
        model.fit(X, labels)
    axes = plot_decision_regions(model, X, labels, threat=threat)
    found = collections(axes)
    rendered(axes, tmp_path)
    if isinstance(model, KNeighborsClassifier):
        assert len(found["not certified"].get_paths()) == 30  # nothing is known of them
    else:
        assert len(found["largest certified"].get_paths()) >= 25


def test_a_range_cuts_balls_off():
    inside = np.clip(X, -1.0, 1.0)
    axes = plot_decision_regions(NETWORK, inside, Y, radius=0.5, threat=Threat("inf", bounds=(-1.0, 1.0)))
    corners = [path.vertices for name in ("certified at 0.5", "not certified")
               for path in collections(axes)[name].get_paths()]  # fmt: skip
    assert np.abs(np.concatenate(corners)).max() == 1.0


def test_of_more_inputs_a_section_is_drawn_and_axes_are_named():
    wide = np.column_stack([X, RNG.standard_normal(30) + 7.0])
    network = PolynomialNetwork(np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), np.array([1.0, -1.0]))
    axes = plot_decision_regions(network, wide, Y, radius=np.linspace(0.1, 0.3, 30), features=(2, -3))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("input 2", "input 0")
    assert axes.get_title() == "other inputs at their medians"
    assert "certified at 0.1 to 0.3" in collections(axes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": (0, 0)}, "twice the same; expected two different inputs"),
        ({"features": (0, 5)}, r"features are \(0, 5\); expected two of the numbers 0 to 1"),
        ({"features": ("a", "b")}, "expected two of the numbers 0 to 1"),
        ({"radius": -0.1}, "radius is -0.1; expected a number of 0 or more, or one per row"),
        ({"radius": [0.1, 0.2]}, r"shape \(30,\)"),
        ({"X": X[:, :1]}, "expected"),
        ({"model": "a name"}, "model is 'a name'; expected a network"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_no_figure_is_left(changes, words):
    with pytest.raises(InputError, match=words):
        plot_decision_regions(**{"model": NETWORK, "X": X, "y": Y, **changes})
    assert pyplot.get_fignums() == []


def test_where_matplotlib_is_missing_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    for draw in (
        lambda: result().plot(),
        lambda: path().plot(),
        lambda: plot_decision_regions(NETWORK, X, Y),
        lambda: NETWORK.plot_robustness(X, Y),
        lambda: canvas.new_figure((1.0, 1.0)),
    ):
        with pytest.raises(MissingExtraError, match=r'pictures need matplotlib, .*: pip install "cvxrobust\[plot\]"'):
            draw()
