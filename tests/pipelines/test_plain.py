import numpy as np

from pipelines.plain import plain


def test_what_json_cannot_hold_becomes_what_it_can() -> None:
    value = {"a": np.array([1.0, np.nan]), "b": np.int64(3), "c": (np.float32(0.5), None, "x"), 4: [True, float("inf")]}
    assert plain(value) == {"a": [1.0, None], "b": 3, "c": [0.5, None, "x"], "4": [True, None]}
    assert plain(np.float32("-inf")) is None
