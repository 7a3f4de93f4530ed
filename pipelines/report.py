"""The report stage: a run as one HTML page that needs nothing beside itself."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from pipelines.config import Config, recorded
from pipelines.config.terms import more_than_paid
from pipelines.console import Console
from pipelines.console import duration as in_words
from pipelines.gallery import Exhibit, data_uri, exhibits, pictures
from pipelines.ledger import Ledger
from pipelines.masks import MaskReader
from pipelines.rounds import chosen_round, finished_rounds, refuse_sweep
from pipelines.storage import open_storage
from pipelines.tracking import Tracker
from weakseg.codec import encode_png
from weakseg.datasets import Classes
from weakseg.datasets.classes import hexadecimal
from weakseg.errors import WeaksegError
from weakseg.figures import learning_curve, panel, per_class, reliability_diagram
from weakseg.metrics import CalibrationCounts
from weakseg.supervision import masks_seconds

PAGE = "report.html"
VALIDATION_IMAGES, TRAINING_IMAGES = 4, 4
QUARANTINE_ROWS = 200
"""Listed on the page; the rest is counted, and stands in the pool's quarantine.parquet."""


def report(config: Config, console: Console) -> dict[str, Any]:
    """Write a run's report from what is there, without owning the run: the verb `report`.

    Args:
        config: Names the run and its storage.
        console: Where to say where it is.

    Returns:
        run, rounds (how many), report (the file).

    Raises:
        LedgerError: There is no such run, or it is a sweep.
        WeaksegError: The run has no finished round yet.
    """
    storage = open_storage(config.storage.root)
    ledger = Ledger.read(storage, config.run)
    refuse_sweep(ledger)
    rounds = finished_rounds(ledger)
    # Past the ledger's lease: the page is drawn from the artefacts at any time and is none of them.
    storage.write_bytes(ledger.key(PAGE), render(ledger, rounds, _exhibits(ledger, rounds)).encode())
    console.line(f"report: {ledger.address(PAGE)}")
    return {"run": ledger.run, "rounds": len(rounds), "report": ledger.address(PAGE)}


def run(config: Config, ledger: Ledger, *, tracker: Tracker | None = None, run_id: str | None = None) -> str:
    """Write the report, and its pictures to MLflow.

    Args:
        config: The run's configuration.
        ledger: The run, held by this driver.
        tracker: Where the pictures go too; None = nowhere.
        run_id: The MLflow run they belong to.

    Returns:
        The file.

    Raises:
        WeaksegError: The run has no finished round yet.
    """
    rounds = finished_rounds(ledger)
    shown = _exhibits(ledger, rounds)
    page = render(ledger, rounds, shown).encode()
    ledger.write_bytes(PAGE, page)
    if tracker is not None and run_id is not None:
        tracker.log_bytes(run_id, PAGE, page)
        for path, picture in _figures(ledger.pool.classes, rounds, shown).items():
            tracker.log_bytes(run_id, path, picture)
    return ledger.address(PAGE)


def render(ledger: Ledger, rounds: Sequence[Mapping[str, Any]], shown: Sequence[Exhibit]) -> str:
    """The page.

    Args:
        ledger: The run.
        rounds: The metrics of its rounds, at least one.
        shown: The images to show.
    """
    record, pool = ledger.record, ledger.pool
    classes = pool.classes
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(percent=_percent, duration=in_words, number=_number)
    chosen = rounds[chosen_round(ledger, rounds)]
    quarantine = pool.quarantine()
    return templates.get_template("report.html.j2").render(
        run=ledger.run,
        record=record,
        manifest=pool.manifest,
        config_digest=ledger.config_digest,
        rounds=rounds,
        chosen=chosen,
        test=ledger.read_json("test.json") if ledger.exists("test.json") else None,
        classes=list(zip(classes.names, map(hexadecimal, classes.colors), strict=True)),
        reliability=_reliability(chosen),
        curve={theme: data_uri(learning_curve(_curve(rounds), theme=theme)) for theme in ("light", "dark")},
        statistics=_statistics(ledger, rounds),
        people=_people(ledger, rounds),
        masks=sum(pool.manifest["masks"].values()),
        exhibits=[(exhibit, pictures(exhibit, classes)) for exhibit in shown],
        bill=rounds[-1]["bill"],
        more_than_paid=more_than_paid(recorded(record["config"])),
        label_errors=rounds[-1]["label_errors"],
        labels_seconds=rounds[-1]["seconds"],
        validation_seconds=rounds[-1]["validation_seconds"],
        masks_seconds=masks_seconds(
            pool.manifest["images"]["train"], seconds=record["config"]["labelling"]["seconds"]["mask"]
        ),
        quarantine=quarantine.slice(0, QUARANTINE_ROWS).to_pylist(),
        quarantined=quarantine.num_rows,
        config=yaml.safe_dump(record["config"], sort_keys=False, allow_unicode=True, default_flow_style=None),
    )


def _exhibits(ledger: Ledger, rounds: Sequence[Mapping[str, Any]]) -> list[Exhibit]:
    if not rounds:
        raise WeaksegError(f"run {ledger.run} has no evaluated round to report yet; `weakseg status` says where it is")
    chosen, masks = chosen_round(ledger, rounds), MaskReader(ledger.pool).find
    return [
        *exhibits(ledger, chosen, "val", VALIDATION_IMAGES, masks=masks),
        *exhibits(ledger, chosen, "train", TRAINING_IMAGES, masks=masks),
    ]


def _figures(classes: Classes, rounds: Sequence[Mapping[str, Any]], shown: Sequence[Exhibit]) -> dict[str, bytes]:
    """What MLflow shows beside the run, by path."""
    figures = {}
    scored = [metrics["validation"]["iou"] for metrics in rounds if metrics["validation"]]
    if scored:
        figures["figures/learning_curve.png"] = learning_curve(_curve(rounds))
        figures["figures/per_class_iou.png"] = per_class(scored, classes)
    numbers = Counter[str]()
    for exhibit in shown:
        queried = (exhibit.points_N2, exhibit.labels_N) if len(exhibit.labels_N) else None
        picture = panel(exhibit.image_HW3, exhibit.truth_HW, exhibit.prediction_HW, queried, classes)
        figures[f"overlays/{exhibit.split}_{numbers[exhibit.split]:02d}.png"] = encode_png(picture)
        numbers[exhibit.split] += 1
    return figures


def _reliability(chosen: Mapping[str, Any]) -> dict[str, str] | None:
    """The reliability diagram of a round, before and after the temperature; None without a validated pixel."""
    if not chosen["validation"]:
        return None
    found = chosen["validation"]["calibration"]
    rows = [{name: _tuple(value) for name, value in found[key].items()} for key in ("before", "after")]
    if not sum(rows[0]["pixels"]):
        return None
    counts = [CalibrationCounts(**row) for row in rows]
    return {
        theme: data_uri(reliability_diagram(*counts, temperature=found["temperature"], theme=theme))
        for theme in ("light", "dark")
    }


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _curve(rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "labels_per_image": metrics["labels_per_image"],
            "seconds": metrics["seconds"],
            "miou": metrics["validation"] and metrics["validation"]["miou"],
            "boundary_f1": metrics["validation"] and metrics["validation"]["boundary"]["f1"],
        }
        for metrics in rounds
    ]


def _statistics(ledger: Ledger, rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The query statistics of the rounds; empty where nothing is asked."""
    keys = [f"{ledger.round(metrics['round'])}/statistics.json" for metrics in rounds]
    return [ledger.read_json(key) for key in keys] if all(map(ledger.exists, keys)) else []


def _people(ledger: Ledger, rounds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How the annotators did; empty where nobody was asked."""
    key = f"{ledger.round(rounds[-1]['round'])}/people.json"
    return ledger.read_json(key) if ledger.exists(key) else []


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"  # noqa: RUF001 - typography


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"  # noqa: RUF001 - typography
