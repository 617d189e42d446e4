"""Settings are checked when they are made, copied, and sent to workers."""

import pickle

import pytest

from cvxrobust import InputError, Settings, UnknownNameError
from cvxrobust.core.settings import check_options


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerance": 0.0}, "tolerance is 0.0; expected a relative gap"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"max_iterations": 0}, "max_iterations is 0; expected a whole number of 1 or more"),
        ({"time_limit": -1.0}, "time_limit is -1.0; expected seconds above 0"),
        ({"time_limit": float("inf")}, "time_limit is inf"),
        ({"threads": 0}, "threads is 0; expected a whole number of 1 or more"),
        ({"dtype": "float16"}, "unknown dtype 'float16'; known: float32, float64"),
        ({"device": "gpu"}, "unknown device 'gpu'; known: auto, cpu, cuda, mps"),
        ({"options": {1: 2}}, "options are .1.; expected values by name"),
    ],
)
def test_values_out_of_range_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        Settings(**change)


def test_a_numbered_cuda_device_is_a_device():
    assert Settings(device="cuda:1").device == "cuda:1"


def test_options_are_a_copy_and_settings_can_be_sent_to_workers():
    options = {"max_iter": 3}
    settings = Settings(options=options)
    options["max_iter"] = 4
    assert settings.options["max_iter"] == 3
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_an_unknown_option_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown scs option 'eps_ab'.*Did you mean 'eps_abs'"):
        check_options(Settings(options={"eps_ab": 1}), {"eps_abs", "alpha"}, "scs")
