import json
from pathlib import Path

import pytest

from pipelines.config import Config, digest, identity, load


def of(*overrides: str) -> dict[str, object]:
    return identity(load("demo", overrides), "pool")


@pytest.mark.parametrize(
    "override",
    [
        "labelling.rounds=9",
        "stop.budget=100",
        "cluster.workers=[1, 2]",
        "cluster.actors=2",
        "tracking.experiment=other",
        "register.name=other",
        "storage.root=/elsewhere",
        "evaluate.test=false",
        "run=other",
        "labelling.browser.port=1",
        "labelling.browser.annotators=[a, b]",
        "labelling.holdout=0.3",  # nobody is held out where the oracle answers
    ],
)
def test_what_may_change_is_no_part_of_it(override: str):
    assert load("demo", [override]) != load("demo")
    assert of(override) == of()


def test_how_many_answers_are_waited_for_may_change():
    assert of("labelling.annotator=browser", "labelling.answered_share=0.5") == of("labelling.annotator=browser")


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "superpixels.segments=7",
        "supervision.masks=true",
        "model.encoder=resnet34",
        "loss.point=0.5",
        "training.batch_size=8",
        "training.augmentation=null",
        "training.schedule.power=0.8",
        "labelling.pixels_per_image=3",
        "labelling.acquisition=random",
        "labelling.seconds.pixel=3.0",
        "evaluate.boundary_radius=3",
    ],
)
def test_what_changes_the_result_is(override: str):
    assert of(override) != of()


@pytest.mark.parametrize("name", ["repeat", "control", "holdout"])
def test_what_people_are_asked_is_part_of_it(name: str):
    people = "labelling.annotator=browser"
    assert of(people, f"labelling.{name}=0.5") != of(people)


def test_the_pool_stands_for_the_data(tmp_path: Path):
    config = load("demo", ["data.layout=folder", f"data.path={tmp_path}", "data.images=null"])
    assert identity(config, "a") != identity(config, "b")
    assert str(tmp_path) not in json.dumps(identity(config, "a"))


def test_weights_count_by_content_and_never_by_path(tmp_path: Path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    third.write_bytes(b"other")
    assert of(f"model.weights={first}") == of(f"model.weights={second}")
    assert of(f"model.weights={first}") != of(f"model.weights={third}")
    assert str(tmp_path) not in json.dumps(of(f"model.weights={first}"))


def test_every_field_is_either_identity_or_known_to_be_operational():
    """A new section must be put on one side by hand."""
    known = {"superpixels", "supervision", "model", "loss", "training", "labelling", "evaluate"}
    operational = {"run", "storage", "stop", "tracking", "register", "cluster", "sweep"}
    assert set(Config.model_fields) == known | operational | {"seed", "data"}
    assert {name.split(".")[0] for name in of()} == known | {"pool", "seed"}


def test_digest_is_pinned_and_blind_to_order():
    assert digest({"b": [1, 2.5, None], "a": "ä"}) == digest({"a": "ä", "b": [1, 2.5, None]})
    assert digest({"a": 1}) == "015abd7f5cc5"
    assert digest({"a": 1}) != digest({"a": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))
