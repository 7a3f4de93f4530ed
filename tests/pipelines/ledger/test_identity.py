import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ledger.identity import differences, new_record, reopened
from weakseg.errors import LedgerError

IDENTITY = {"pool": "0123456789ab", "seed": 0, "model.encoder": "mobilenet_v2", "training.lr": 5e-4}
CONFIG = {"labelling": {"rounds": 3, "acquisition": "margin"}, "cluster": {"workers": 1}, "data": {"size": (96, 128)}}
VERSIONS = {"torch": "2.13.0"}


@pytest.fixture
def record():
    made = new_record("demo", identity=IDENTITY, config=CONFIG, versions=VERSIONS)
    assert json.loads(json.dumps(made)) == made
    return made


def again(record, *, identity=IDENTITY, config=CONFIG, versions=VERSIONS):
    return reopened(record, identity=identity, config=config, versions=versions)


def test_the_same_settings_leave_the_record_alone(record):
    assert again(record) == record


def test_two_runs_of_one_name_are_two(record):
    assert new_record("demo", identity=IDENTITY, config=CONFIG, versions=VERSIONS)["id"] != record["id"]


def test_a_refusal_names_every_field_with_both_values_and_what_to_do(record):
    changed = {**IDENTITY, "model.encoder": "resnet18", "training.lr": 1e-3, "loss.mask": 2.0}
    del changed["seed"]
    with pytest.raises(LedgerError) as raised:
        again(record, identity=changed)
    assert str(raised.value).splitlines() == [
        "run demo was started with other settings:",
        "  seed: was 0, now absent",
        '  model.encoder: was "mobilenet_v2", now "resnet18"',
        "  training.lr: was 0.0005, now 0.001",
        "  loss.mask: was absent, now 2.0",
        "Choose another name with --set run=NAME, or restore the fields",
    ]


def test_one_changed_pool_is_named_too(record):
    with pytest.raises(LedgerError, match=r'pool: was "0123456789ab", now "ffff".*\n.*restore the field$'):
        again(record, identity={**IDENTITY, "pool": "ffff"})


def test_operational_settings_may_change_and_are_written_down(record):
    config = {**CONFIG, "cluster": {"workers": 2}}
    amended = again(record, config=config, versions={"torch": "2.14.0"})
    assert [(a["field"], a["old"], a["new"]) for a in amended["amendments"]] == [
        ("cluster.workers", 1, 2),
        ("versions.torch", "2.13.0", "2.14.0"),
    ]
    assert amended["config"]["cluster"]["workers"] == 2
    assert amended["id"] == record["id"]
    assert again(amended, config=config, versions={"torch": "2.14.0"}) == amended


def test_rounds_may_grow_and_never_shrink(record):
    grown = again(record, config={**CONFIG, "labelling": {**CONFIG["labelling"], "rounds": 5}})
    assert grown["amendments"][0]["field"] == "labelling.rounds"
    with pytest.raises(LedgerError, match=r"labelling\.rounds may only grow: was 5, now 4.*to 5 or more"):
        again(grown, config={**CONFIG, "labelling": {**CONFIG["labelling"], "rounds": 4}})


LEAVES = st.none() | st.integers(0, 2) | st.sampled_from("xy")
SECTIONS = st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3)
SETTINGS = st.dictionaries(st.sampled_from("abc"), LEAVES | SECTIONS, max_size=3)


@given(SETTINGS, SETTINGS)
def test_differences_are_those_of_the_other_direction_swapped(old, new):
    assert sorted((f, repr(b), repr(a)) for f, a, b in differences(old, new)) == sorted(
        (f, repr(a), repr(b)) for f, a, b in differences(new, old)
    )
    assert differences(old, old) == []
