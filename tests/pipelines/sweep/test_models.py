from pathlib import Path

import pytest
import tiny

from pipelines import train
from pipelines.sweep.models import check, looked_at_once
from weakseg.errors import ResourceError, WeaksegError


def models(root: Path, *architectures: str):
    return [(f"model.architecture={name}", tiny.config(root, model__architecture=name)) for name in architectures]


def test_a_point_that_could_not_be_trained_is_named(tmp_path: Path):
    told = r"^sweep.fields: with model.architecture=deeplabv3plus: model: deeplabv3plus cannot be built on"
    with pytest.raises(WeaksegError, match=told):
        check(models(tmp_path, "fcn8", "deeplabv3plus"), 5, all_of_them=True)
    check(models(tmp_path, "fcn8", "deeplabv3plus"), 5, all_of_them=False)
    with pytest.raises(WeaksegError, match=r"^model: deeplabv3plus cannot"):  # is no point's alone
        check(models(tmp_path, "deeplabv3plus", "deeplabv3plus"), 5, all_of_them=False)


def test_models_are_looked_at_once_and_weights_that_cannot_be_read_are_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def checked(config, classes: int) -> None:
        asked.append(config.model.architecture)
        if config.model.architecture == "fcn16":
            raise WeaksegError("model.weights: no answer") from ResourceError("no answer")

    monkeypatch.setattr(train, "check", checked)
    fault = looked_at_once(5)
    (_, fine), (_, away) = models(tmp_path, "fcn8", "fcn16")
    assert (fault(fine), fault(fine), asked) == (None, None, ["fcn8"])
    for _ in range(2):
        with pytest.raises(WeaksegError, match=r"model.weights: no answer"):
            fault(away)
    assert asked == ["fcn8", "fcn16", "fcn16"]
