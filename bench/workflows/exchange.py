"""A training problem as a file for outside solvers, and their answers back with our certificate.

Beside the programme lies what scoring needs: the data, the split, the standardisation, the problem's parameters and a
fingerprint of the programme, in an ``.npz`` file without pickles.
"""

import hashlib
import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.dataset import Dataset, stratified_split
from cvxrobust.bench.workflows.output_files import check_network_file, check_writable
from cvxrobust.bench.workflows.requests import TrainingRequest, describe, problem_class
from cvxrobust.bench.workflows.targets import AS_THEY_ARE, TargetUnits
from cvxrobust.bench.workflows.threats import in_range
from cvxrobust.bench.workflows.training import Prepared, Training, finish, prepare
from cvxrobust.bench.workflows.weights import row_weights, stated
from cvxrobust.core.conic.cones import PSD, Exponential
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.errors import InputError, UnsupportedProgramError
from cvxrobust.core.files import together, write_whole
from cvxrobust.core.formats import ProgramFormat, format_of, read_solution, write_program
from cvxrobust.core.formats.fingerprint import fingerprint, is_same
from cvxrobust.core.networks.fields import numbers, stored_standardizer
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.scoring import score
from cvxrobust.core.weights import checked_sample_weight
from cvxrobust.problems.data.parameters import checked_radius

SIDECAR_FORMAT = 1
MANY_ROWS = 200_000
"""Programmes with more rows are worth a warning before the work begins."""

BYTES_PER_NONZERO = 35
"""What a line takes, on average."""


@dataclass(frozen=True)
class Export:
    """What was written.

    Args:
        prepared: The problem and its data.
        program: The programme.
        written_as: Its format.
        path: Its file.
        sidecar: The file with what scoring needs.
        size: Bytes of `path`.
        seconds: What assembling and writing took.
    """

    prepared: Prepared
    program: ConicProgram
    written_as: ProgramFormat
    path: Path
    sidecar: Path
    size: int
    seconds: float

    @property
    def cones(self) -> dict[str, int]:
        """How many cones of each kind there are; of matrices by their order, of the others with their rows."""
        counts: Counter[str] = Counter()
        for cone in self.program.cones:
            kind = type(cone).__name__
            counts[kind if isinstance(cone, Exponential) else f"{kind}({getattr(cone, 'order', cone.dim)})"] += 1
        return dict(counts)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        request = self.prepared.request
        return {
            "file": str(self.path),
            "sidecar": str(self.sidecar),
            "format": self.written_as.name,
            "bytes": self.size,
            "seconds": self.seconds,
            "rows": self.program.b.size,
            "columns": self.program.q.size,
            "nonzeros": int(self.program.A.nnz),
            "offset": self.program.offset,
            "cones": self.cones,
            "largest_matrix": max((cone.order for cone in self.program.cones if isinstance(cone, PSD)), default=0),
            "data": describe(self.prepared.dataset),
            "split": {
                "test_fraction": request.test_fraction,
                "seed": request.seed,
                "train_rows": self.prepared.train.n_rows,
                "test_rows": self.prepared.test.n_rows,
            },
            "problem": request.problem,
            "parameters": request.asked,
        }


def sidecar_of(path: Path) -> Path:
    """Where the things that scoring needs lie: beside the programme, under its name with ``.npz`` after it."""
    return path.with_name(path.name + ".npz")


def export_program(request: TrainingRequest, path: Path, warn: Callable[[str], object]) -> Export:
    """Write the conic programme of a training problem, in its direct form, and its sidecar.

    One-versus-all problems are written as one programme: independent blocks, whose objectives add up.

    Args:
        request: The problem and its data; how to solve it does not matter.
        path: The file; the end of its name decides the format.
        warn: Hears of sizes that take patience.

    Raises:
        InputError: The request makes no problem, or a file cannot be written.
        UnknownNameError: The name's end is no known format.
        UnsupportedProgramError: The format lacks a cone of the programme's.
    """
    found, sidecar = format_of(path), sidecar_of(path)
    for file in (path, sidecar):
        check_writable(file, "export", Path(request.data))
    prepared = prepare(request)
    problem = prepared.problem
    if problem.conic_rows == 0:
        raise UnsupportedProgramError(f"problem {request.problem!r} has no conic programme to export.")
    if problem.conic_rows > MANY_ROWS:
        warn(
            f"the programme will have {problem.conic_rows:,} rows; assembling and writing it takes patience, and so "
            "does solving it: few solvers take programmes of that size."
        )
    began = time.perf_counter()
    program = problem.to_conic()
    size = max(1, BYTES_PER_NONZERO * program.A.nnz // 1_000_000)
    warn(
        f"writing {program.b.size:,} rows, {program.q.size:,} columns and {program.A.nnz:,} nonzeros, "
        f"about {size:,} MB before any compression"
    )
    # The digest tells whether they belong together, should something come between their names.
    with together() as content:
        write_program(program, path)
        write_whole(sidecar, _sidecar(prepared, program, found, _digest(content(path))))
    seconds = time.perf_counter() - began
    return Export(prepared, program, found, path, sidecar, path.stat().st_size, seconds)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sidecar(prepared: Prepared, program: ConicProgram, written_as: ProgramFormat, digest: str) -> bytes:
    request, dataset = prepared.request, prepared.dataset
    # The split of the rows' numbers is the split of the rows.
    numbered = replace(dataset, X=np.arange(dataset.n_rows, dtype=np.float64)[:, None])
    train, test = stratified_split(numbered, request.test_fraction, request.seed)
    arrays: dict[str, NDArray[Any]] = {
        "X": dataset.X,
        "y": dataset.y,
        "train_rows": train.X[:, 0].astype(np.int64),
        "test_rows": test.X[:, 0].astype(np.int64),
    }
    if dataset.weights is not None:
        arrays["weights"] = dataset.weights
    if dataset.radii is not None:
        arrays["radii"] = dataset.radii
    names: tuple[str, ...] = ()
    if prepared.standardizer is not None:
        arrays |= {"mean": prepared.standardizer.mean, "scale": prepared.standardizer.scale}
        names = prepared.standardizer.names
    header = {
        "kind": "export",
        "format": SIDECAR_FORMAT,
        "written_as": written_as.name,
        "fingerprint": fingerprint(program),
        "sha256": digest,
        "problem": request.problem,
        "parameters": dict(request.parameters),
        "radius_column": request.radius_column,
        "label": request.label,
        "test_fraction": request.test_fraction,
        "seed": request.seed,
        "dataset": {
            "name": dataset.name,
            "feature_names": dataset.feature_names,
            "classes": dataset.classes,
            "notes": dataset.notes,
            "named": dataset.named,
        },
        "names": names,
    }
    arrays["header"] = np.array(json.dumps(header))
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()


def import_solution(program_path: Path, solution_path: Path, save: Path | None, tolerance: float) -> Training:
    """Score an outside solver's answer to an exported programme.

    Args:
        program_path: The exported file; only its sidecar is read.
        solution_path: The solver's answer; see `cvxrobust.core.formats.read`.
        save: Where the network goes; None to keep it in memory.
        tolerance: Relative certified gap up to which the result counts as certified.

    Raises:
        InputError: The sidecar is missing, damaged or of another version's making, or the solution is unusable.
    """
    format_of(program_path)
    settings = Settings(tolerance=tolerance)
    if save is not None:
        check_network_file(save, sidecar_of(program_path), program_path, solution_path)
    prepared, header = _load_sidecar(sidecar_of(program_path), TrainingRequest("", settings, save=save))
    if os.path.isfile(program_path) and _digest(program_path) != header.get("sha256", _digest(program_path)):
        raise InputError(
            f"{program_path} is not the file that {sidecar_of(program_path)} belongs to: it was changed, or another "
            "export was interrupted; export it again and solve that."
        )
    program = prepared.problem.to_conic()
    if not _is_marked(program, header.get("fingerprint")):
        raise InputError(
            f"the problem kept in {sidecar_of(program_path)} makes another programme here than the one that was "
            "exported; export it again with this version and solve that."
        )
    solution = read_solution(solution_path, program, header["written_as"])
    return finish(prepared, score(prepared.problem, solution, tolerance=tolerance, source=solution_path.name))


def _is_marked(program: ConicProgram, mark: Any) -> bool:
    try:
        return is_same(fingerprint(program), mark)
    except (KeyError, TypeError, ValueError):  # no mark at all
        return False


def _load_sidecar(path: Path, request: TrainingRequest) -> tuple[Prepared, Mapping[str, Any]]:
    if not os.path.exists(path):
        raise InputError(
            f"there is no {path}, which `cvxrobust export` writes and which holds what scoring needs; keep the two "
            "files together, or export again."
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        header = json.loads(str(arrays["header"]))
        if header["kind"] != "export" or header["format"] > SIDECAR_FORMAT:
            raise InputError(
                f"{path} is of kind {header['kind']!r} in format {header['format']}, but this version reads 'export' "
                f"up to format {SIDECAR_FORMAT}; upgrade cvxrobust to read newer files."
            )
        return _prepared(header, arrays, request), header
    except Exception as error:  # a damaged archive raises many kinds, and what is in it may be anything
        if isinstance(error, InputError) and str(path) in str(error):
            raise
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"{path} is not what `cvxrobust export` writes ({kind}{str(error).rstrip('.')}).") from error


def _prepared(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], request: TrainingRequest) -> Prepared:
    about, X, y = header["dataset"], numbers(arrays, "X", 2), np.asarray(arrays["y"])
    names, classes, notes = (tuple(about[name]) for name in ("feature_names", "classes", "notes"))
    plain = (
        isinstance(about["name"], str),
        all(isinstance(word, str) for word in names + notes),
        all(isinstance(label, str | int | float) for label in classes),
        len(names) == X.shape[1],
        y.shape == X.shape[:1],
        len(classes) != 2 or set(y.tolist()) <= {-1.0, 1.0},
        0.0 <= float(header["test_fraction"]) < 1.0,
        isinstance(header["seed"], int),
        isinstance(header["written_as"], str),
        isinstance(header["problem"], str),
        isinstance(header.get("radius_column"), str) == ("radii" in arrays),
    )
    if not all(plain):
        raise ValueError("the data in it and what it says of them do not fit")
    weights = checked_sample_weight(arrays["weights"], y.size) if "weights" in arrays else None
    radii = checked_radius(arrays["radii"], y.size) if "radii" in arrays else None
    dataset = Dataset(X, y, names, about["name"], classes, notes, bool(about.get("named", True)), weights, radii)
    standardizer = stored_standardizer(header, arrays, X.shape[1])
    parts = [dataset.take(arrays[name]) for name in ("train_rows", "test_rows")]
    request = replace(
        request,
        data=dataset.name,
        problem=header["problem"],
        # JSON has no tuples, and problems ask for them.
        parameters={k: tuple(v) if isinstance(v, list) else v for k, v in header["parameters"].items()},
        test_fraction=header["test_fraction"],
        seed=header["seed"],
        standardize=standardizer is not None,
        radius_column=header.get("radius_column"),
        label=header.get("label"),
    )
    family, (train, test) = problem_class(request.problem, request.asked), (in_range(p, *request.range) for p in parts)
    weights = row_weights(request.parameters, train)
    units = TargetUnits.fit(train, weights) if request.standardize else AS_THEY_ARE
    problem = stated(family, request.parameters, units.inward(train), standardizer, weights)
    return Prepared(request, dataset, train, test, standardizer, problem, units)
