"""The register stage: the best round's model becomes a version in MLflow's registry, once.

Every step looks for what is there first (the version, the logged model, its ONNX file, the alias), by the key that
names run, identity and round, so that the same command after a crash at any moment finishes the same version. The
version is made last, after the stored model has shown that it gives the pipeline's own masks.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModelOutput, LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.tracking import MlflowClient

from pipelines.config import Config
from pipelines.ledger import Ledger
from pipelines.rounds import round_model
from pipelines.serving import onnx, parity, save
from pipelines.tracking import KEY, Tracker
from pipelines.versions import git_sha

CHAMPION, CHALLENGER = "champion", "challenger"
DECIDED = "registered_as"
"""The version tag that ends a registration: which alias it was given then, whatever became of the alias since."""
ONNX = "weakseg.onnx"
"""The stored model's tag that says that it holds the whole ONNX file."""


def check(config: Config) -> None:
    """Refuse at the start of a run what would stop its end.

    Raises:
        ResourceError: ONNX is asked for and a package for it is missing.
    """
    if config.register.onnx:
        onnx.require()


def run(
    config: Config,
    ledger: Ledger,
    tracker: Tracker,
    round: int,
    rounds: Sequence[Mapping[str, Any]],
    *,
    run_id: str,
) -> dict[str, Any]:
    """Register a round's model, or find it registered.

    Args:
        config: The run's configuration.
        ledger: The run.
        tracker: Where its MLflow runs are; the registry is the same store.
        round: Whose model.
        rounds: The metrics of all rounds.
        run_id: The MLflow run that the model belongs to.

    Returns:
        name, version, alias (as it was given at registration) and round.

    Raises:
        RuntimeError: The stored model does not give the pipeline's masks; there is no version then.
    """
    client, name = tracker.client, config.register.name or config.data.layout
    key = f"{ledger.id}/{ledger.config_digest}/{round}"
    version = _find_version(client, name, run_id, key)
    metrics = next(metrics for metrics in rounds if metrics["round"] == round)
    if version is None:
        _make_name(client, name)
        images = parity.sample(ledger.pool)
        example = next(iter(images.values()))
        model_id = _logged_model(config, ledger, tracker, metrics, key, run_id, example=example)
        if config.register.onnx:
            _add_onnx(client, ledger, metrics, model_id)
        source = f"models:/{model_id}"
        tags = _tags(ledger, metrics) | {KEY: key}
        with tracker.as_default():
            parity.check(config, ledger, round, source, images)
            version = client.create_model_version(name, source, run_id, tags=tags, model_id=model_id)
    elif config.register.onnx:
        _add_onnx(client, ledger, metrics, str(version.source).removeprefix("models:/"))
    alias = version.tags.get(DECIDED) or _give_alias(client, version)
    return {"name": name, "version": int(version.version), "alias": alias, "round": round}


def _find_version(client: MlflowClient, name: str, run_id: str, key: str) -> ModelVersion | None:
    """The version of this key; one whose making failed counts for nothing."""
    for found in client.search_model_versions(f"run_id = '{run_id}'"):
        if found.name == name and found.tags.get(KEY) == key and found.status != "FAILED_REGISTRATION":
            return found
    return None


def _make_name(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _logged_model(
    config: Config,
    ledger: Ledger,
    tracker: Tracker,
    metrics: Mapping[str, Any],
    key: str,
    run_id: str,
    *,
    example: bytes,
) -> str:
    """The id of the stored model of this key; one whose upload was cut short is deleted and made again."""
    client, round = tracker.client, metrics["round"]
    for found in client.search_logged_models([tracker.experiment_id], f"source_run_id = '{run_id}'"):
        if found.tags.get(KEY) == key:
            if found.status == LoggedModelStatus.READY:
                return str(found.model_id)
            client.delete_logged_model(found.model_id)
    stored = client.create_logged_model(
        tracker.experiment_id, name=f"round-{round}", source_run_id=run_id, tags={KEY: key}
    )
    files, settings = ledger.round(round), ledger.pool.manifest["settings"]
    size = None if settings["tile"] else settings["size"]
    spec, weights = ledger.read_json(f"{files}/model.json"), ledger.read_bytes(f"{files}/model.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        save(
            Path(folder, "model"),
            weights=weights,
            spec=spec,
            classes=ledger.pool.classes,
            # Windows are cut from images at their own scale, which is what the model knows.
            size=size,
            window=None if size else ledger.pool.size,
            temperature=_temperature(metrics),
            threads=parity.threads(config),
            example=example,
            model=Model(artifact_path=stored.artifact_location, run_id=run_id, model_id=stored.model_id),
        )
        client.log_model_artifacts(stored.model_id, str(Path(folder, "model")))
    client.log_outputs(run_id, [LoggedModelOutput(stored.model_id, step=round)])
    client.finalize_logged_model(stored.model_id, LoggedModelStatus.READY)
    return str(stored.model_id)


def _add_onnx(client: MlflowClient, ledger: Ledger, metrics: Mapping[str, Any], model_id: str) -> None:
    """Put the model as ONNX beside a stored model as `onnx/model.onnx`, unless it is there whole."""
    if ONNX in client.get_logged_model(model_id).tags:
        return
    exported = onnx.export(round_model(ledger, metrics["round"]), temperature=_temperature(metrics))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.onnx").write_bytes(exported)
        client.log_model_artifacts(model_id, folder, "onnx")
    client.set_logged_model_tags(model_id, {ONNX: "true"})


def _temperature(metrics: Mapping[str, Any]) -> float:
    return float(metrics["validation"]["calibration"]["temperature"]) if metrics["validation"] else 1.0


def _tags(ledger: Ledger, metrics: Mapping[str, Any]) -> dict[str, str]:
    scores = metrics["validation"]
    tags = {
        "run": ledger.run,
        "round": str(metrics["round"]),
        "labels": str(metrics["labels"]),
        "seconds": repr(float(metrics["seconds"])),
        "pool_digest": ledger.pool.digest,
        "config_digest": ledger.config_digest,
        "git_sha": git_sha() or "unknown",
    }
    measured = {"miou": scores["miou"], "boundary_f1": scores["boundary"]["f1"]} if scores else {}
    if metrics.get("estimate"):
        measured |= {name: metrics["estimate"][name] for name in ("accuracy", "low", "high")}
    return tags | {name: repr(float(value)) for name, value in measured.items() if value is not None}


def _give_alias(client: MlflowClient, version: ModelVersion) -> str:
    """Move `champion` here if this version is better, else `challenger`; then write down which."""
    champion = _champion(client, version.name)
    wins = champion is None or champion.version == version.version or _beats(version.tags, champion.tags)
    if wins and champion is not None and champion.version != version.version:
        client.set_model_version_tag(version.name, version.version, "previous_champion", champion.version)
    alias = CHAMPION if wins else CHALLENGER
    client.set_registered_model_alias(version.name, alias, version.version)
    client.set_model_version_tag(version.name, version.version, DECIDED, alias)
    return alias


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    number = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if number is None else client.get_model_version(name, number)


def _beats(new: Mapping[str, str], old: Mapping[str, str]) -> bool:
    """Whether a version is better on the same pool; what cannot be compared does not win.

    By validation mIoU, or without masks by the estimated accuracy.
    """
    if new["pool_digest"] != old.get("pool_digest"):
        return False
    for name in ("miou", "accuracy"):
        if name in new or name in old:
            return name in new and name in old and float(new[name]) > float(old[name])
    return False
