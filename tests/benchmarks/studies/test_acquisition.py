import json
import re

import pytest

from benchmarks.studies import acquisition
from benchmarks.studies.acquisition import choose_epochs
from benchmarks.studies.runs import StudyError

LEVEL = {"random": 0.35, "margin": 0.39, "masks": 0.41}


class Killed(BaseException):
    """The study was killed."""


class CommandLine:
    """Carries runs out in no time; may be killed in one."""

    def __init__(self, kill_at: str | None = None) -> None:
        self.kill_at = kill_at
        self.keys: list[str] = []

    def __call__(self, run):
        if run.key == self.kill_at:
            raise Killed
        self.keys.append(run.key)
        group = run.key.split("-")[0]
        epochs = [int(text) for setting in run.settings for text in re.findall(r"training.epochs=(\d+)", setting)]
        longer = min(epochs[0], 27) / 1000 if epochs else 0.0  # full masks gain up to 27 epochs
        miou = LEVEL[group] + 0.002 * run.seed + longer
        return {
            "rounds": [metrics(round, miou - 0.02 * (2 - round)) for round in (range(3) if group != "masks" else [2])],
            "test": None if "evaluate.test=false" in run.settings else scores(miou - 0.01),
        }


def metrics(round, miou):
    return {
        "round": round,
        "labels_per_image": 10.0 * (round + 1),
        "seconds": 1.0,
        "epochs": 12,
        "train_loss": 0.5,
        "validation": scores(miou),
    }


def scores(miou):
    return {"miou": miou, "iou": [miou, None], "pixel_accuracy": 0.8, "mean_accuracy": 0.5, "boundary": {}, "images": 3}


@pytest.fixture(autouse=True)
def _quick(request, monkeypatch):
    """One test draws the curve and asks git for the commit: enough."""
    if "whole" not in request.node.name:
        monkeypatch.setattr(acquisition.figure, "save", lambda found, path: None)
        monkeypatch.setattr(acquisition, "commit", lambda: None)


def study(tmp_path, execute, seeds=(0, 1, 2, 3)):
    return acquisition.run(
        seeds=seeds, root=tmp_path, results=tmp_path / "acquisition.json", execute=execute, progress=lambda line: None
    )


def read(tmp_path):
    return json.loads((tmp_path / "acquisition.json").read_text())


def test_the_whole_study(tmp_path):
    execute = CommandLine()
    text = study(tmp_path, execute)
    found = read(tmp_path)
    assert set(found["runs"]) == {
        *(f"{strategy}-s{seed}" for strategy in ("random", "margin", "masks") for seed in range(4)),
        *(f"masks-e{epochs}-s0-trial" for epochs in (12, 18, 27, 40)),
    }
    summary = found["summary"]
    assert summary["full_mask_epochs"]["chosen"] == 27
    assert summary["minus_baseline"]["margin"]["test"]["mean"] == pytest.approx(0.04)
    share = summary["share_of_masks"]["margin"]["validation"]["mean"]
    expected = sum((0.39 + 0.002 * seed) / (0.437 + 0.002 * seed) for seed in range(4)) / 4
    assert share == pytest.approx(expected)
    assert [point["labels_per_image"] for point in summary["curves"]["margin"]] == [10.0, 20.0, 30.0]
    assert "margin minus random: validation +4.00" in text
    assert (tmp_path / "acquisition.png").stat().st_size > 1000


def test_test_is_read_only_for_final_models(tmp_path):
    study(tmp_path, CommandLine())
    for key, record in read(tmp_path)["runs"].items():
        assert (record["test"] is None) == key.endswith("-trial")


@pytest.mark.parametrize("key", ["random-s0", "margin-s1", "masks-e18-s0-trial", "masks-s2", "margin-s3"])
def test_a_killed_study_goes_on_where_it_was(tmp_path, key):
    whole = CommandLine()
    study(tmp_path / "whole", whole)
    first, second = CommandLine(kill_at=key), CommandLine()
    with pytest.raises(Killed):
        study(tmp_path / "killed", first)
    study(tmp_path / "killed", second)
    assert first.keys + second.keys == whole.keys
    assert read(tmp_path / "killed")["summary"] == read(tmp_path / "whole")["summary"]


def test_more_seeds_add_their_runs_only(tmp_path):
    study(tmp_path, CommandLine(), seeds=(0, 1, 2))
    execute = CommandLine()
    study(tmp_path, execute, seeds=(0, 1, 2, 3))
    assert execute.keys == ["random-s3", "margin-s3", "masks-s3"]


def test_a_record_of_another_command_is_refused(tmp_path):
    study(tmp_path, CommandLine(), seeds=(0,))
    content = read(tmp_path)
    content["runs"]["margin-s0"]["command"] += " --set training.epochs=99"
    (tmp_path / "acquisition.json").write_text(json.dumps(content))
    with pytest.raises(StudyError, match="margin-s0 from another command"):
        study(tmp_path, CommandLine(), seeds=(0,))


def test_records_name_no_path(tmp_path):
    study(tmp_path, CommandLine(), seeds=(0, 1))
    assert str(tmp_path) not in (tmp_path / "acquisition.json").read_text()


def test_strategies_share_round_0_of_their_seed():
    assert acquisition.strategy_run("margin", 3).shares == "random-s3"
    assert acquisition.strategy_run("random", 3).shares is None


def test_a_trial_and_the_final_run_are_stages_of_one_run():
    trial, final = acquisition.masks_trial(27, 0), acquisition.masks_run(27, 0)
    assert trial.name == final.name
    assert set(trial.settings) - set(final.settings) == {"evaluate.test=false"}


@pytest.mark.parametrize(
    ("curve", "chosen", "tried"),
    [
        ({12: 0.40, 18: 0.404}, 12, [12, 18]),
        ({12: 0.40, 18: 0.406, 27: 0.410}, 18, [12, 18, 27]),
        ({12: 0.40, 18: 0.41, 27: 0.42, 40: 0.43, 60: 0.41}, 40, [12, 18, 27, 40, 60]),
        ({12: 0.1, 18: 0.2, 27: 0.3, 40: 0.4}, 40, [12, 18, 27, 40]),
    ],
)
def test_the_schedule_is_lengthened_until_half_as_much_again_gains_too_little(curve, chosen, tried):
    found, scores = choose_epochs(curve.__getitem__, most=max(curve))
    assert (found, list(scores)) == (chosen, tried)


def test_seeds_are_needed_each_once(tmp_path):
    for seeds in ((), (1, 1)):
        with pytest.raises(StudyError, match="expected seeds"):
            study(tmp_path, CommandLine(), seeds=seeds)
