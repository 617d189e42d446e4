"""The structured interior-point backend against general solvers, to the same certified gaps, in one run.

    python -m cvxrobust.bench.studies.ipm_comparison [--only NAME ...] [--peers NAME ...] [--threads 2]
                                                     [--time-limit 300] [--device cpu]

Every solve has a process of its own, so that memory is its own, too; the clock starts when everything is imported and
warm. Seconds are those of the whole call of ``solve``, assembly and certificates included. A peer that ends with a
larger certified gap than asked for, or by the limit, is counted with the time that it took, as a lower bound.

Instances: Breast Cancer Wisconsin (hinge, l2 radius 0.3, beta 0.01), whole and cut to 200 rows with all matrix
inequalities; digits (scikit-learn, even against odd); 5,000 images of MNIST, brought to the 8 x 8 pixels of digits
(only where named, because it needs the file in ``CVXROBUST_DATA``); standard polynomial problems on synthetic data,
labels of a quadratic teacher with a tenth of them flipped; ReLU programmes of 50 gates on 1,000 samples of a ReLU
teacher with 50 inputs (`cvxrobust.bench.data.teachers`), attacked ones on gates that carry neurons under the
attack. "moreau" is a peer where a backend of that name is installed.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cvxrobust.bench.data.images import digits, even_odd, load_mnist, scaled_small, small_images
from cvxrobust.bench.data.teachers import quadratic_teacher, relu_teacher
from cvxrobust.bench.studies.common import Apart, Row, print_rows, study_parser
from cvxrobust.bench.studies.reference_instance import breast_cancer
from cvxrobust.core.programs.gated.formulations import FORMULATIONS
from cvxrobust.core.programs.gated.program import Formulation

COLUMNS = [
    "instance",
    "backend",
    "asked for",
    "certified gap",
    "seconds",
    "times ours",
    "iterations",
    "MiB",
    "ended by",
]
OURS = "ipm"


@dataclass(frozen=True)
class Instance:
    """A problem, the gap to certify, and who else solves it.

    Args:
        make: The problem.
        tolerance: Relative gap.
        peers: Backends that it is compared on, besides ours.
    """

    make: Callable[[], Any]
    tolerance: float
    peers: tuple[str, ...] = ()


def _cancer(rows: int) -> Any:
    from cvxrobust import AdversarialSDP

    return AdversarialSDP(*breast_cancer(rows), radius=0.3, beta=0.01)


def _digits() -> Any:
    from cvxrobust import AdversarialSDP

    X, target = digits()
    return AdversarialSDP(X / 8.0 - 1.0, even_odd(target), radius=0.3, beta=0.01)


def _mnist() -> Any:
    from cvxrobust import AdversarialSDP

    images, target = load_mnist()
    X = scaled_small(small_images(images[:5000]))  # as those of digits were made
    return AdversarialSDP(X, even_odd(target[:5000]), radius=0.3, beta=0.01)


def _standard(n: int, d: int) -> Any:
    from cvxrobust import StandardSDP

    return StandardSDP(*quadratic_teacher(n, d), beta=0.01)


def _relu(formulation: Formulation, radius: float = 0.0) -> Any:
    from cvxrobust import AdversarialReLU, ConvexReLU

    X, y = relu_teacher(1000, 50)
    if radius == 0.0:
        return ConvexReLU(X, y, n_gates=50, beta=0.01, formulation=formulation)
    # Only gates whose cones can carry a neuron under the attack; otherwise the answer is that there are none.
    fitting = FORMULATIONS[formulation].constrains_gates
    return AdversarialReLU(
        X, y, radius=radius, norm="inf", n_gates=50, beta=0.01, formulation=formulation, resample=fitting
    )


NEEDS_DATA = {"mnist-5000"}
GENERAL = ("clarabel", "scs", "moreau")
INSTANCES = {
    "reference": Instance(lambda: _cancer(455), 1e-8),
    "digits": Instance(_digits, 1e-6),
    "mnist-5000": Instance(_mnist, 1e-6),
    "inequalities-200": Instance(lambda: _cancer(200), 1e-6, ("clarabel", "moreau")),
    "standard-500": Instance(lambda: _standard(500, 30), 1e-6, GENERAL),
    "standard-2000": Instance(lambda: _standard(2000, 60), 1e-6, GENERAL),
    "relu-cone": Instance(lambda: _relu("cone"), 1e-6, GENERAL),
    "relu-one-sided": Instance(lambda: _relu("one-sided"), 1e-6, GENERAL),
    "attacked-relu-cone": Instance(lambda: _relu("cone", 0.0005), 1e-6, GENERAL),
    "attacked-relu-one-sided": Instance(lambda: _relu("one-sided", 0.05), 1e-6, GENERAL),
}


def measure(name: str, backend: str, threads: int, time_limit: float, device: str) -> Row:
    """One solve, here and now; what there is to say about it."""
    from cvxrobust import AdversarialSDP, ConvexReLU, Settings, solve
    from cvxrobust.core.environment import peak_memory

    instance = INSTANCES[name]
    problem = instance.make()
    # The first use of a backend loads its libraries; nobody's time should hold that.
    X, y = quadratic_teacher(20, 3)
    small = (
        ConvexReLU(X, y, n_gates=3) if "relu" in name else AdversarialSDP(X, y, radius=0.1 * ("standard" not in name))
    )
    warm: Any = solve
    warm(small, backend=backend, settings=Settings(tolerance=1e-3, threads=threads, device=device))
    before = peak_memory()
    settings = Settings(tolerance=instance.tolerance, threads=threads, time_limit=time_limit, device=device)
    result = solve(problem, backend=backend, method="direct", settings=settings)
    return {
        "gap": result.certificate.relative_gap,
        "lower": result.certificate.lower,
        "upper": result.certificate.upper,
        "seconds": result.times.wall,
        "iterations": result.iterations,
        "memory": max(result.peak_memory, before) / 2**20,
        "termination": str(result.termination),
    }


def _apart(name: str, backend: str, threads: int, time_limit: float, device: str) -> Row:
    """`measure` in a process of its own, which may be killed for memory."""
    with Apart(measure) as process:
        try:
            return process.ask(3.0 * time_limit + 60.0, name, backend, threads, time_limit, device)
        except OSError as error:
            reason = str(error)
    return {"gap": math.inf, "seconds": math.inf, "iterations": 0, "memory": math.nan, "termination": reason}


def _row(name: str, backend: str, found: Row, ours: Row) -> list[str]:
    asked = INSTANCES[name].tolerance
    short = "" if found["gap"] <= asked else "> "
    return [
        name,
        backend,
        f"{asked:.0e}",
        f"{found['gap']:.1e}",
        f"{found['seconds']:.2f}",
        f"{short}{found['seconds'] / ours['seconds']:.1f}",
        str(found["iterations"]),
        f"{found['memory']:.0f}",
        found["termination"],
    ]


def _measured(asked: argparse.Namespace) -> Iterator[list[str]]:
    from cvxrobust.core.discovery.registry import backends

    for name in asked.only or [name for name in INSTANCES if name not in NEEDS_DATA]:
        instance, ours = INSTANCES[name], None
        wanted = instance.peers if asked.peers is None else tuple(p for p in instance.peers if p in asked.peers)
        for backend in (OURS, *(peer for peer in wanted if peer in backends())):
            device = asked.device if backend == OURS else "cpu"
            found = _apart(name, backend, asked.threads, asked.time_limit, device)
            ours = ours or found
            yield _row(name, backend, found, ours)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print, one line after the other."""
    from cvxrobust.bench.data.known import MNIST, find_file
    from cvxrobust.core.errors import InputError

    parser = study_parser(__doc__, threads=2, time_limit=300.0)
    parser.add_argument("--only", nargs="*", choices=sorted(INSTANCES), help="instances; all but MNIST by default")
    parser.add_argument("--peers", nargs="*", help="backends to compare with; by default those that make sense")
    parser.add_argument("--device", default="cpu", help="of ipm: cpu or cuda; peers run on the CPU")
    asked = parser.parse_args(arguments)
    try:
        if NEEDS_DATA.intersection(asked.only or ()):
            # Not loaded: the memory of this process would count as that of its children.
            find_file(MNIST, "mnist", None)
    except InputError as error:
        parser.error(str(error))
    print_rows(f"Seconds to a certified gap, {asked.threads} threads each", COLUMNS, _measured(asked), left=2)


if __name__ == "__main__":
    main()
