import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import stored_run
from mlflow.artifacts import download_artifacts

from pipelines import register
from pipelines.config import Config
from pipelines.ledger import Ledger
from pipelines.serving import parity
from pipelines.serving.registered import fetch
from pipelines.tracking import KEY, Tracker
from weakseg.codec import decode_image
from weakseg.errors import ResourceError
from weakseg.prediction import View


class Case:
    """A copy of the registered run's tracking store, in which a test may register on."""

    def __init__(self, plan: Config, ledger: Ledger, tracker: Tracker, run_id: str) -> None:
        self.plan, self.ledger, self.tracker, self.run_id = plan, ledger, tracker, run_id
        self.client = tracker.client
        self.rounds = stored_run.rounds(ledger)

    def register(self, round: int, **changes: Any) -> dict[str, Any]:
        rounds = [{**metrics, **changes} if metrics["round"] == round else metrics for metrics in self.rounds]
        return register.run(self.plan, self.ledger, self.tracker, round, rounds, run_id=self.run_id)

    def versions(self) -> list[Any]:
        return sorted(self.client.search_model_versions("name='scenes'"), key=lambda found: int(found.version))

    def models(self) -> list[Any]:
        return self.client.search_logged_models([self.tracker.experiment_id])

    def aliases(self) -> dict[str, int]:
        return {alias: int(number) for alias, number in self.client.get_registered_model("scenes").aliases.items()}


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory, migrated_database: Path) -> tuple[Path, dict[str, Any]]:
    return stored_run.registered(tmp_path_factory.getbasetemp() / "registered", migrated_database)


@pytest.fixture
def case(registered: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    root = registered[0]
    shutil.copy(root / "mlflow.db", tmp_path / "copy.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/copy.db")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with ExitStack() as stack:
        plan, ledger = stack.enter_context(stored_run.opened(root))
        yield Case(plan, ledger, *stored_run.tracked(plan, ledger))
    assert list(elsewhere.iterdir()) == [], "something was written into the current folder"


def scores(miou: float) -> dict[str, Any]:
    return {"validation": {"miou": miou, "boundary": {"f1": 0.5}, "calibration": {"temperature": 1.5}}}


def test_the_first_version_is_champion_with_its_tags(registered: tuple[Path, dict[str, Any]], case: Case) -> None:
    assert registered[1] == {"name": "scenes", "version": 1, "alias": "champion", "round": 1}
    (version,) = case.versions()
    metrics = case.rounds[1]
    assert version.tags[KEY] == f"{case.ledger.id}/{case.ledger.config_digest}/1"
    assert version.run_id == case.run_id
    assert {
        "run": "stored",
        "round": "1",
        "miou": str(metrics["validation"]["miou"]),
        "boundary_f1": str(metrics["validation"]["boundary"]["f1"]),
        "labels": str(metrics["labels"]),
        "seconds": str(metrics["seconds"]),
        "pool_digest": case.ledger.pool.digest,
        "config_digest": case.ledger.config_digest,
    }.items() <= version.tags.items()
    assert version.tags["git_sha"]
    assert case.aliases() == {"champion": 1}


def test_the_stored_model_has_signature_example_and_no_ray(registered: tuple[Path, dict[str, Any]], case: Case) -> None:
    import mlflow.models

    folder = stored_run.stored_model(registered[0])
    info = mlflow.models.Model.load(str(folder))
    assert [column.name for column in info.signature.inputs] == ["image"]
    assert [column.name for column in info.signature.outputs] == ["mask", "probabilities"]
    assert [parameter.name for parameter in info.signature.params] == ["probabilities"]
    example = info.load_input_example(str(folder))
    assert decode_image(example["image"][0]).shape == (*stored_run.SIZE, 3)
    assert "ray" not in (folder / "requirements.txt").read_text()
    assert sorted(path.name for path in (folder / "artifacts").iterdir()) == [
        "classes.yaml",
        "model.json",
        "model.safetensors",
    ]
    assert not list(folder.rglob("*.pkl"))
    assert [output.model_id for output in case.client.get_run(case.run_id).outputs.model_outputs] == [info.model_id]


class Crash(Exception):
    """Stands for the end of the driver."""


def wants_onnx(case: Case, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ask for ONNX, in place of which there are words here; gives what is exported from now on."""
    exported: list[str] = []

    def export(model: Any, *, temperature: float) -> bytes:
        exported.append(f"{model.spec['architecture']} at {temperature}")
        return exported[-1].encode()

    monkeypatch.setattr(register.onnx, "export", export)
    case.plan = case.plan.model_copy(update={"register": case.plan.register.model_copy(update={"onnx": True})})
    return exported


def onnx_of(case: Case, version: int, folder: Path) -> bytes:
    with case.tracker.as_default():
        return Path(
            download_artifacts(f"models:/scenes/{version}/onnx/model.onnx", dst_path=str(folder / "got"))
        ).read_bytes()


def test_onnx_lies_beside_the_weights(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = wants_onnx(case, monkeypatch)
    assert case.register(0)["version"] == 2
    assert onnx_of(case, 2, tmp_path) == b"fcn8 at 2.0"
    assert case.register(0)["version"] == 2
    assert len(exported) == 1


def test_onnx_comes_to_a_version_that_was_registered_without(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = case.register(0)
    exported = wants_onnx(case, monkeypatch)
    assert case.register(0) == before
    assert case.register(0) == before
    assert len(case.versions()) == len(case.models()) == 2
    assert exported == ["fcn8 at 2.0"]
    assert onnx_of(case, 2, tmp_path) == b"fcn8 at 2.0"
    assert fetch("models:/scenes/2", case.tracker.uri).view == View(size=stored_run.SIZE, temperature=2.0)


def crashed(case: Case, monkeypatch: pytest.MonkeyPatch, step: str, **options: Any) -> None:
    """The driver ends right after a step of registering round 0."""
    original = getattr(case.client, step)

    def crash(*arguments: Any, **options: Any) -> None:
        original(*arguments, **options)
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(case.client, step, crash)
        with pytest.raises(Crash):
            case.register(0, **options)


@pytest.mark.parametrize("step", ["log_model_artifacts", "set_logged_model_tags"])
def test_onnx_that_was_cut_short_is_made_again(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    case.register(0)
    exported = wants_onnx(case, monkeypatch)
    crashed(case, monkeypatch, step)
    assert case.register(0)["version"] == 2
    assert len(case.models()) == 2
    assert len(exported) == (1 if step == "set_logged_model_tags" else 2)
    assert onnx_of(case, 2, tmp_path) == b"fcn8 at 2.0"


def test_onnx_comes_to_a_model_that_was_stored_without_and_not_registered(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed(case, monkeypatch, "finalize_logged_model")
    wants_onnx(case, monkeypatch)
    assert case.register(0)["version"] == 2
    assert len(case.models()) == 2
    assert onnx_of(case, 2, tmp_path) == b"fcn8 at 2.0"


def test_without_its_packages_onnx_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(register.onnx, "find_spec", lambda _: None)
    register.check(stored_run.config(tmp_path))
    with pytest.raises(ResourceError, match=r"pip install 'weakseg\[pipelines,onnx\]'"):
        register.check(stored_run.config(tmp_path, "register.onnx=true"))


@pytest.mark.parametrize("tile", [None, [32, 32]])
def test_a_model_of_images_at_their_own_scale_sees_larger_ones_in_windows(case: Case, tile: list[int] | None) -> None:
    assert view(case, 1) == View(size=stored_run.SIZE, temperature=2.0)
    case.ledger.pool.manifest["settings"] |= {"tile": tile, "size": None if tile is None else [200, 300]}
    case.register(0)
    # The largest image of the pool: for one of tiles a tile.
    assert view(case, 2) == View(window=stored_run.SIZE, temperature=2.0)


def view(case: Case, version: int) -> View:
    return fetch(f"models:/scenes/{version}", case.tracker.uri).view


def test_again_changes_nothing(registered: tuple[Path, dict[str, Any]], case: Case) -> None:
    before = case.versions()[0].last_updated_timestamp
    assert case.register(1) == registered[1]
    assert [version.last_updated_timestamp for version in case.versions()] == [before]
    assert len(case.models()) == 1


def test_a_worse_round_challenges(case: Case) -> None:
    assert case.register(0) == {"name": "scenes", "version": 2, "alias": "challenger", "round": 0}
    assert case.aliases() == {"champion": 1, "challenger": 2}


def test_a_better_round_takes_over_and_the_old_version_stays_what_it_was(case: Case) -> None:
    assert case.register(0, **scores(0.9))["alias"] == "champion"
    assert case.aliases() == {"champion": 2}
    assert case.versions()[1].tags["previous_champion"] == "1"
    # What ends the old version's registration is not undone by the command run again.
    assert case.register(1)["alias"] == "champion"
    assert case.aliases() == {"champion": 2}


@pytest.mark.parametrize("tag", [("pool_digest", "another"), ("miou", None)])
def test_what_cannot_be_compared_does_not_win(case: Case, tag: tuple[str, str | None]) -> None:
    name, value = tag
    if value is None:
        case.client.delete_model_version_tag("scenes", "1", name)
    else:
        case.client.set_model_version_tag("scenes", "1", name, value)
    assert case.register(0, **scores(0.9))["alias"] == "challenger"
    assert case.aliases()["champion"] == 1


def test_an_equal_round_does_not_win(case: Case) -> None:
    assert case.register(0, **scores(case.rounds[1]["validation"]["miou"]))["alias"] == "challenger"


def test_without_validation_a_version_has_no_score(case: Case) -> None:
    assert case.register(0, validation=None)["alias"] == "challenger"
    assert {"miou", "boundary_f1"} & case.versions()[1].tags.keys() == set()


@pytest.mark.parametrize(("accuracy", "alias"), [(0.4, "challenger"), (0.5, "challenger"), (0.6, "champion")])
def test_without_masks_the_better_estimate_wins(case: Case, accuracy: float, alias: str) -> None:
    for name in ("miou", "boundary_f1"):
        case.client.delete_model_version_tag("scenes", "1", name)
    case.client.set_model_version_tag("scenes", "1", "accuracy", "0.5")
    estimate = {"accuracy": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1, "points": 9, "images": 3}
    assert case.register(0, validation=None, estimate=estimate)["alias"] == alias


@pytest.mark.parametrize(
    "step",
    [
        "create_logged_model",
        "log_model_artifacts",
        "log_outputs",
        "finalize_logged_model",
        "create_model_version",
        "set_registered_model_alias",
        "set_model_version_tag",
    ],
)
def test_a_crash_after_any_step_is_finished_by_the_same_command(
    case: Case, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    crashed(case, monkeypatch, step, **scores(0.9))
    assert case.register(0, **scores(0.9)) == {"name": "scenes", "version": 2, "alias": "champion", "round": 0}
    assert len(case.versions()) == 2
    assert case.aliases() == {"champion": 2}
    assert [model.status for model in case.models()] == ["READY", "READY"]
    assert case.versions()[1].tags[register.DECIDED] == "champion"
    assert case.versions()[1].tags["previous_champion"] == "1"


def test_a_model_that_predicts_otherwise_gets_no_version(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        parity, "masks", lambda spec, weights, images, threads: [0 * decode_image(i)[..., 0] + 7 for i in images]
    )
    with pytest.raises(RuntimeError, match="does not predict as the pipeline does"):
        case.register(0)
    assert len(case.versions()) == 1
    assert case.aliases() == {"champion": 1}


def test_names_are_those_of_the_configuration(case: Case, registered: tuple[Path, dict[str, Any]]) -> None:
    case.plan = stored_run.config(registered[0], "register.name=it's mine")
    assert case.register(0) == {"name": "it's mine", "version": 1, "alias": "champion", "round": 0}
    assert case.aliases() == {"champion": 1}
