"""Paths: every point is certified for itself, whoever proved it."""

import json
import signal
from dataclasses import dataclass, replace

import numpy as np
import pytest

from cvxrobust import (
    AdversarialReLU,
    AdversarialSDP,
    Batches,
    ConvexReLU,
    InputError,
    Settings,
    StandardSDP,
    StreamedSDP,
    Termination,
    solve,
    solve_path,
)

LOOSE = Settings(tolerance=1e-2)


def rows(n=30, d=3, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    scores = X[:, :2] @ rng.standard_normal((2, classes)) + 0.3 * rng.standard_normal((n, classes))
    return X, scores.argmax(axis=1) if classes > 2 else np.sign(scores[:, 0])


X, Y = rows()
SCALE = np.array([0.0, 1.0, 2.0])
WEIGHTS = np.arange(30) % 3
FAMILIES = {
    "adversarial": lambda: AdversarialSDP(X, Y, radius=0.2),
    "scaled": lambda: AdversarialSDP(X, Y, radius=0.2, scale=SCALE, loss="logistic"),
    "covariance": lambda: AdversarialSDP(X, Y, radius=0.2, covariance=np.diag(SCALE), loss="squared_hinge"),
    "weighted": lambda: AdversarialSDP(X, Y, radius=0.2, sample_weight=WEIGHTS, class_weight="balanced"),
    "targets": lambda: AdversarialSDP(X, X[:, 0] * X[:, 1], radius=0.1, loss="huber"),
    "absolute": lambda: AdversarialSDP(X, X[:, 0] * X[:, 1], radius=0.1, loss="absolute"),
    "wide": lambda: AdversarialSDP(*rows(8, 30), radius=0.2),
    "classes": lambda: AdversarialSDP(*rows(classes=3), radius=0.2),
    "streamed": lambda: StreamedSDP(Batches(lambda: [(X, Y)]), radius=0.2),
    "relu": lambda: AdversarialReLU(X, Y, radius=0.1, n_gates=4),
    "relu-cone": lambda: AdversarialReLU(X, Y, radius=0.02, n_gates=4, norm=2, formulation="cone", resample=True),
    "relu-mixed": lambda: AdversarialReLU(X, Y, radius=0.1, n_gates=4, bound="mixed"),
    "relu-classes": lambda: AdversarialReLU(*rows(classes=3), radius=0.1, n_gates=3),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_point_is_certified_for_itself(family):
    problem = FAMILIES[family]()
    path = solve_path(problem, betas=[0.3, 0.03], radii=[0.0, 0.1], settings=LOOSE)
    assert path.complete
    assert path.termination is Termination.CONVERGED
    for point in path:
        own = path.problem_at(*point.index)
        assert own.beta == point.beta
        assert np.allclose(own.radius, point.radius)
        assert own.objective(point.network) == pytest.approx(point.certificate.upper, rel=1e-9)
    # Somebody who knows nothing of paths agrees.
    alone = solve(path.problem_at(1, 1), settings=LOOSE).certificate
    assert path[1, 1].certificate.lower <= alone.upper * (1.0 + 1e-9)
    assert alone.lower <= path[1, 1].certificate.upper * (1.0 + 1e-9)


@pytest.mark.parametrize("problem", [StandardSDP(X, Y), ConvexReLU(X, Y, n_gates=4)], ids=["sdp", "relu"])
def test_families_without_attacks_have_paths_of_betas(problem):
    path = solve_path(problem, betas=np.geomspace(1.0, 0.01, 5), settings=LOOSE)
    assert path.complete
    assert path.upper.shape == (5, 1)
    assert (np.diff(path.lower[:, 0]) <= 0.0).all()
    with pytest.raises(InputError, match=r"is trained without attacks, and radius is 0\.2"):
        solve_path(problem, radii=[0.0, 0.2])
    assert solve_path(problem, betas=[0.1], radii=[0.0], settings=LOOSE).complete


def test_points_are_those_that_single_problems_have():
    problem = AdversarialReLU(X, Y, radius=0.1, n_gates=4, seed=3)
    other = problem.at(beta=0.2, radius=0.3)
    plain = AdversarialReLU(X, Y, radius=0.3, beta=0.2, n_gates=4, seed=3)
    assert (other.gate_set.patterns == plain.gate_set.patterns).all()
    network = solve(plain, settings=LOOSE).network
    assert other.objective(network) == plain.objective(network)
    assert problem.at().objective(network) == problem.objective(network)


def test_what_is_solved_of_wide_data_knows_its_span_everywhere():
    wide = AdversarialSDP(*rows(8, 30), radius=0.2)
    assert wide.at(beta=0.5).span is wide.span
    assert wide.at(radius=0.0).span is wide.span
    masked = AdversarialSDP(*rows(8, 30), radius=0.2, scale=np.eye(30)[0])
    assert masked.span.rank == 9
    assert masked.at(radius=0.1).span is masked.span
    assert masked.at(radius=0.0).span.rank == 8
    assert masked.at(radius=0.0).at(radius=0.2).span.rank == 9


def test_radii_of_samples_that_have_their_own_are_factors():
    own = np.linspace(0.0, 0.3, 30)
    path = solve_path(AdversarialSDP(X, Y, radius=own), radii=[0.0, 2.0], settings=LOOSE)
    assert path.problem_at(0, 1).radius == pytest.approx(2.0 * own)
    assert path.betas == pytest.approx([0.01])


def test_neighbours_prove_what_they_can():
    # Beyond the beta at which the optimum has no neurons the first certificate is everybody's.
    path = solve_path(AdversarialSDP(X, Y, radius=0.1), betas=np.geomspace(100.0, 10.0, 9), settings=LOOSE)
    assert path.count("neighbours") >= 7
    assert path.complete


def test_a_path_does_not_begin_with_what_is_no_path():
    problem = AdversarialSDP(X, Y, radius=0.2)
    cases = {
        "neither betas nor radii": {},
        "betas hold -1; expected finite numbers above 0": {"betas": [1.0, -1.0]},
        "betas hold 0; expected": {"betas": [0.0]},
        "betas hold 2 more than once": {"betas": [2.0, 1.0, 2.0]},
        "radii hold -0.1; expected finite numbers of 0 or more": {"radii": [-0.1]},
        "radii hold nan": {"radii": [np.nan]},
        "betas has shape": {"betas": []},
        "time_limit is 0": {"betas": [1.0], "time_limit": 0},
        "unknown backend": {"betas": [1.0], "backend": "clarabell"},
    }
    for said, arguments in cases.items():
        with pytest.raises((InputError, ValueError), match=f"(?i){said}"):
            solve_path(problem, **arguments)
    with pytest.raises(InputError, match="regate=2 improves the gates of one solve"):
        solve_path(AdversarialReLU(X, Y, radius=0.1, n_gates=4, regate=2), betas=[1.0])
    with pytest.raises(InputError, match=r"problem is \[1\]; expected a problem"):
        solve_path([1], betas=[1.0])


def test_results_can_be_read_by_place_and_by_score(tmp_path):
    path = solve_path(AdversarialSDP(X, Y, radius=0.2), betas=[0.03, 0.3], radii=[0.1, 0.0], settings=LOOSE)
    assert path[0, 1].beta == 0.03
    assert path[-1, 0] is path[1, 0]
    assert path.best(lambda point: 1.0).index == (1, 0)
    assert path.best(lambda point: -point.certificate.upper).index == (0, 1)
    with pytest.raises(ValueError, match="no point of this path has a score"):
        path.best(lambda point: float("nan"))
    known = json.loads(path.to_json())
    assert len(known["points"]) == 4
    assert len(path.table().splitlines()) == 5
    assert str(path).startswith("4 of 4 points certified to 1e-02")
    assert path.networks[0][1] is path[0, 1].network
    assert path.terminated[0][0] is Termination.CONVERGED
    with pytest.raises(IndexError):
        path[2, 0]


class Enough(Exception):
    """What a callback raises."""


def test_a_path_that_was_broken_off_goes_on_where_it_was(tmp_path):
    problem, seen = AdversarialSDP(X, Y, radius=0.2), []
    arguments = {"betas": [1.0, 0.3, 0.1], "radii": [0.0, 0.2], "settings": LOOSE, "folder": tmp_path / "path"}

    def twice(point):
        seen.append(point)
        if len(seen) == 2:
            raise Enough

    with pytest.raises(Enough):
        solve_path(problem, callback=twice, **arguments)
    after = []
    path = solve_path(problem, callback=after.append, **arguments)
    assert len(after) == 4
    assert path.complete
    assert path[seen[0].index].certificate.upper == seen[0].certificate.upper
    # Another grid finds what it has in common with this one.
    more = []
    solve_path(problem, callback=more.append, **{**arguments, "betas": [0.3, 0.2]})
    assert [point.beta for point in more] == [0.2, 0.2]
    for other in (AdversarialSDP(X, -Y, radius=0.2), AdversarialSDP(X, Y, radius=0.2, loss="logistic")):
        with pytest.raises(InputError, match="are of another path: it differs in"):
            solve_path(other, **arguments)


def test_files_that_are_not_what_was_written_are_refused(tmp_path):
    problem, folder = AdversarialSDP(X, Y, radius=0.2), tmp_path / "path"
    solve_path(problem, betas=[1.0, 0.1], settings=LOOSE, folder=folder)
    stems = sorted(folder.glob("*.npz"))
    stems[1].write_bytes(stems[0].read_bytes())
    with pytest.raises(InputError, match="is worth"):
        solve_path(problem, betas=[1.0, 0.1], settings=LOOSE, folder=folder)
    (folder / stems[1].name.replace("npz", "json")).write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        solve_path(problem, betas=[1.0, 0.1], settings=LOOSE, folder=folder)
    with pytest.raises(InputError, match="is not empty and holds no path"):
        solve_path(problem, betas=[1.0], folder=tmp_path)


def test_what_time_or_ctrl_c_leaves_is_returned(monkeypatch):
    problem = AdversarialSDP(X, Y, radius=0.2)
    late = solve_path(problem, betas=[1.0, 0.3, 0.1], time_limit=1e-9)
    assert late.termination is Termination.TIME_LIMIT
    assert len(late) == 0
    assert not late.complete
    assert np.isnan(late.upper).all()

    def interrupt(point):
        signal.raise_signal(signal.SIGINT)

    path = solve_path(problem, betas=[1.0, 0.3, 0.1], settings=LOOSE, callback=interrupt)
    assert path.termination is Termination.INTERRUPTED
    assert path.solved.tolist() == [[True], [False], [False]]
    with pytest.raises(KeyError, match="was not reached"):
        path[1, 0]


def test_cold_is_what_solve_does():
    problem = AdversarialSDP(X, Y, radius=0.2)
    path = solve_path(problem, betas=[0.3, 0.03], settings=LOOSE, warm=False)
    assert path.count("cold") == 2
    for point in path:
        alone = solve(path.problem_at(*point.index), settings=LOOSE)
        assert point.certificate.upper == alone.certificate.upper


DELEGATED = (
    "cones", "conic_rows", "to_conic", "to_structured", "to_cvxpy", "recover", "trivial_network", "objective",
    "multipliers", "network_multipliers", "multiplier_candidates", "lower_bound", "combine", "separate",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Stranger:
    """A problem of somebody else's: the contract, a field beta, and nothing more."""

    inner: AdversarialSDP
    beta: float = 0.1

    @property
    def parts(self):
        return (self,)


for member in DELEGATED:
    setattr(Stranger, member, property(lambda self, name=member: getattr(self.inner.at(beta=self.beta), name)))


def test_problems_of_strangers_need_a_field_only():
    stranger = Stranger(AdversarialSDP(X, Y, radius=0.2))
    path = solve_path(stranger, betas=[0.3, 0.03], settings=LOOSE)
    assert path.complete
    assert path.count("neighbours") == 0
    with pytest.raises(InputError, match="has no field 'radius' that could change"):
        solve_path(stranger, radii=[0.1])
    assert replace(stranger, beta=0.5).beta == 0.5


def test_what_fell_short_is_gone_on_with_and_never_lost(monkeypatch):
    # A backend that hardly gets anywhere: others go on, over all samples, and bounds stay those of the network.
    problem = AdversarialSDP(X, Y, radius=0.2)
    asked = Settings(tolerance=1e-6, max_iterations=1)
    path = solve_path(problem, betas=[0.3, 0.1, 0.03], backend="ipm", settings=asked)
    assert not path.complete
    for point in path:
        own = path.problem_at(*point.index)
        assert own.objective(point.network) == pytest.approx(point.certificate.upper, rel=1e-9)
        assert point.certificate.lower <= solve(own, settings=LOOSE).certificate.upper


def test_what_the_end_of_a_path_cuts_short_is_solved_again(tmp_path):
    problem, folder = AdversarialSDP(X, Y, radius=0.2), tmp_path / "path"
    asked = Settings(tolerance=1e-9)
    late = solve_path(problem, betas=[0.1], settings=asked, time_limit=1e-3, folder=folder)
    assert not list(folder.glob("*.npz"))
    assert len(late) <= 1
    assert solve_path(problem, betas=[0.1], settings=asked, folder=folder, backend="ipm").solved.all()


def test_a_point_keeps_its_time_limit_whoever_goes_on():
    problem = AdversarialSDP(X, Y, radius=0.2)
    asked = Settings(tolerance=1e-12, time_limit=0.01)
    path = solve_path(problem, betas=[0.3, 0.1], settings=asked)
    assert path.solved.all()
    assert all(point.quality != "certified" for point in path)
    assert str(path).startswith("0 of 2 points certified")
