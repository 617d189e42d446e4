"""The study from beginning to end: what was asked, seed by seed, stage by stage."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from cvxrobust.bench.cifar10 import diagnostics, stages
from cvxrobust.bench.cifar10.backbones.training import fastest
from cvxrobust.bench.cifar10.heads.methods import HeadMethod, methods_named
from cvxrobust.bench.cifar10.stages import CifarRun
from cvxrobust.bench.cifar10.store import CifarStore, holds_cifar
from cvxrobust.bench.cifar10.terms import FEWEST, STAGES, CifarTerms
from cvxrobust.bench.data.cifar import SYNTHETIC, LabelledImages, load_cifar, synthetic_images
from cvxrobust.bench.harness.run.machine import commit, machine, now, versions
from cvxrobust.bench.studies.common import require_reporting
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.kit.devices import resolve_device
from cvxrobust.core.kit.threads import blas_threads, torch_threads
from cvxrobust.core.settings import Settings

DTYPES = ("auto", "float32", "bfloat16")
SYNTHETIC_TEST = 100
"""Test images that are drawn."""


@dataclass(frozen=True)
class CifarRequest:
    """What somebody asked for.

    Args:
        out: Folder of the study.
        data: Folder of CIFAR-10, or "synthetic"; None takes the environment variable ``CVXROBUST_DATA``.
        terms: The terms.
        seeds: How many, from 0.
        device: "cpu", "cuda" or "auto".
        stages: Some of `STAGES`; none for all.
        methods: Heads; none for all.
        download: Fetch CIFAR-10 if it is not there.
    """

    out: Path
    data: str | None = None
    terms: CifarTerms = field(default_factory=CifarTerms)
    seeds: int = 1
    device: str = "auto"
    stages: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    download: bool = False

    def chosen_stages(self) -> tuple[str, ...]:
        """The stages, in their order.

        Raises:
            UnknownNameError: There is no such stage.
        """
        for name in self.stages:
            if name not in STAGES:
                raise UnknownNameError("stage", name, STAGES)
        return tuple(name for name in STAGES if name in (self.stages or STAGES))

    def chosen_methods(self) -> tuple[HeadMethod, ...]:
        """The heads."""
        return methods_named(self.methods)

    def images(self) -> tuple[LabelledImages, LabelledImages]:
        """Training and test images."""
        if self.data == SYNTHETIC:
            return synthetic_images(self.terms.subset or FEWEST, 0), synthetic_images(SYNTHETIC_TEST, 1)
        return load_cifar(self.data, self.download)

    def manifest(self) -> dict[str, Any]:
        """What is known about the study before it begins."""
        return {
            "created": now(),
            "commit": commit(),
            "data": SYNTHETIC if self.data == SYNTHETIC else "CIFAR-10",
            "terms": self.terms.to_json(),
            "seeds": self.seeds,
            "versions": versions(),
            "machine": machine(),
        }


def terms_of(out: Path, data: str | None, given: dict[str, Any], dtype: str, device: str) -> CifarTerms:
    """The terms: what is given, and of all else the usual; of synthetic images little.

    Args:
        out: Folder of the study.
        data: Folder of the images, or "synthetic".
        given: By name.
        dtype: Of convolutions in training; "auto" keeps that of a study that there is, and else tries.
        device: What is asked for.

    Raises:
        UnknownNameError: There is no such precision.
        InputError: A number is out of range, or the device is not there.
    """
    if dtype not in DTYPES:
        raise UnknownNameError("dtype", dtype, DTYPES)
    terms = CifarTerms.tiny(**given) if data == SYNTHETIC else CifarTerms(**given)
    if dtype == "auto":
        if holds_cifar(out):
            dtype = CifarStore(out).manifest()["terms"]["dtype"]
        else:
            with torch_threads(terms.threads):
                dtype = str(fastest(_device(device), terms.width)).removeprefix("torch.")
    return replace(terms, dtype=dtype)


def _device(asked: str) -> torch.device:
    return torch.device(resolve_device(Settings(device=asked), ("cpu", "cuda")))


def run_cifar(request: CifarRequest, told: Callable[[str], None]) -> CifarStore:
    """Do what is left; whatever kills it, the same call goes on, and at most one epoch or one head is done again.

    Args:
        request: What was asked for.
        told: Hears what happens.

    Raises:
        InputError: The request cannot be met.
        MissingExtraError: The report could not be drawn.
    """
    require_reporting()
    if request.seeds < 1:
        raise InputError(f"seeds are {request.seeds}; expected 1 or more.")
    asked, methods = request.chosen_stages(), request.chosen_methods()
    device = _device(request.device)
    train, test = request.images()
    store = CifarStore(request.out)
    store.begin(request.manifest())
    with torch_threads(request.terms.threads), blas_threads(request.terms.threads):
        for seed in range(request.seeds):
            run = CifarRun(store, request.terms, methods, seed, train, test, device, told)
            for stage in asked:
                _carry_out(run, stage)
    return store


def _carry_out(run: CifarRun, stage: str) -> None:
    if stage == STAGES[0]:
        stages.train_backbones(run)
        return
    if missing := [recipe.name for recipe in run.recipes() if run.kept("backbone", recipe.name) is None]:
        raise InputError(
            f"stage {stage} needs the backbones {', '.join(missing)} of seed {run.seed}; run stage {STAGES[0]} first."
        )
    later: dict[str, Callable[[CifarRun], None]] = {
        "evaluation": diagnostics.evaluate_classifiers,
        "collisions": diagnostics.seek_collisions,
        "oracle": diagnostics.seek_points,
        "alternating": diagnostics.alternate,
    }
    if stage in later:
        later[stage](run)
        return
    for name in stages.chosen_backbones(run):
        prepared = stages.prepare(run, name)
        if stage == "heads":
            stages.train_heads(run, prepared)
