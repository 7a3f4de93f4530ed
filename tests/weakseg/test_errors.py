"""Errors travel between processes and say all they have to say."""

import pickle

import pytest

from weakseg import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.WeaksegError("no such thing"),
        errors.ConfigError(["seed: expected a number, got x", "data.path: no such folder"]),
        errors.DataError("image a.png: mask of another size"),
        errors.ImageError("cut short"),
        errors.LedgerError("owned by another driver"),
        errors.ResourceError("cluster.workers: 4 do not fit"),
    ],
)
def test_pickling_keeps_kind_and_text(error: errors.WeaksegError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_config_error_holds_every_fault() -> None:
    error = errors.ConfigError(["a: wrong", "b: wrong"])
    assert error.faults == ("a: wrong", "b: wrong")
    assert str(error) == "a: wrong\nb: wrong"


def test_an_image_error_is_caught_before_a_data_error() -> None:
    assert issubclass(errors.ImageError, errors.DataError)
