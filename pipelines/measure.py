"""What a round cost and what it brought: measured once, written down, and as numbers for MLflow."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import estimate, evaluate, select, supervise
from pipelines.annotation.stage import checks
from pipelines.annotation.tables import given
from pipelines.config import Config
from pipelines.console import Console
from pipelines.ledger import Ledger
from pipelines.mlflow_limits import metric_names
from pipelines.plain import plain
from pipelines.wrong_labels import label_errors
from weakseg.selection import query_statistics
from weakseg.supervision import annotation_seconds, masks_seconds


def measure(
    config: Config, ledger: Ledger, round: int, history: Sequence[Mapping[str, Any]], *, console: Console
) -> dict[str, Any]:
    """Write `statistics.json` and `metrics.json` of a trained round, or find them written.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        round: Which round.
        history: The metrics of its epochs.
        console: Where progress goes.

    Returns:
        The round's metrics.
    """
    folder = ledger.round(round)
    if ledger.exists(f"{folder}/metrics.json"):
        return ledger.read_json(f"{folder}/metrics.json")
    index = ledger.pool.index("train")
    bill, each = supervise.seconds(config, ledger), config.labelling.seconds.model_dump()
    labels = 0
    if config.supervision.points:
        answers = given(ledger.labels(round))
        labels, bill["points"] = answers.num_rows, annotation_seconds(answers, seconds=each)
        scored = None
        if select.needs_scores(config, round):
            scored = ledger.read_table(f"{ledger.round(round - 1)}/scored.parquet")
        ledger.write_json(
            f"{folder}/statistics.json",
            plain(
                query_statistics(
                    ledger.read_table(f"{folder}/queries.parquet"),
                    given(ledger.read_table(f"{folder}/labels.parquet")),
                    classes=len(ledger.pool.classes),
                    entropy_N=None if scored is None else scored["entropy"].to_numpy(),
                )
            ),
        )
    beside = checks(ledger, round)
    if beside.num_rows:
        bill["checks"] = annotation_seconds(beside, seconds=each)
    validation = evaluate.masks(ledger, "val")
    metrics = {
        "round": round,
        "labels": labels,
        "labels_per_image": labels / len(index),
        "seconds": sum(bill.values()),
        "bill": bill,
        "validation_seconds": masks_seconds(validation, seconds=config.labelling.seconds.mask),
        "validation": evaluate.run(config, ledger, round, "val", console=console) if validation else None,
        "estimate": estimate.run(config, ledger, round, console=console),
        "label_errors": label_errors(config, ledger, round),
        "train_loss": history[-1]["loss"],
        "epochs": len(history),
    }
    ledger.write_json(f"{folder}/metrics.json", metrics)
    return metrics


def values(metrics: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    """A round's metrics as MLflow has them.

    Args:
        metrics: The round's.
        names: The classes.
    """
    found = {
        "labels": metrics["labels"],
        "labels_per_image": metrics["labels_per_image"],
        "seconds": metrics["seconds"],
    }
    if metrics["validation"]:
        scores = metrics["validation"]
        found |= {"val_miou": scores["miou"], "val_boundary_f1": scores["boundary"]["f1"]}
        found |= {"val_ece": scores["calibration"]["ece"], "val_temperature": scores["calibration"]["temperature"]}
        found |= {"val_pixel_accuracy": scores["pixel_accuracy"], "val_mean_accuracy": scores["mean_accuracy"]}
        keys = metric_names([f"val_iou_{name}" for name in names])
        found |= {key: iou for key, iou in zip(keys, scores["iou"], strict=True) if iou is not None}
    if metrics.get("estimate"):
        found |= {f"estimated_{name}": metrics["estimate"][name] for name in ("accuracy", "low", "high")}
    return found
