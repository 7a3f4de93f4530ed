"""All engine benchmarks: run, shown as one table, kept with what they were measured on."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.engine import annotation, losses, memory, plan, predict, prepare, round, score, sweep, train
from benchmarks.machine import commit, machine, now, versions

RESULTS = Path(__file__).parents[1] / "results" / "engine.json"

BENCHMARKS: dict[str, Callable[..., dict[str, Any]]] = {
    "prepare": prepare.run,
    "train": train.run,
    "score": score.run,
    "predict": predict.run,
    "losses": losses.run,
    "memory": memory.run,
    "plan": plan.run,
    "round": round.run,
    "sweep": sweep.run,
    "annotation": annotation.run,
}


def measure(
    names: Sequence[str], *, pairs: int, sizes: tuple[int, int] | None, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Run benchmarks one after the other.

    Args:
        names: Which.
        pairs: How often each side of a comparison runs.
        sizes: Small and large in place of each one's own.
        progress: Called with one line now and then.

    Returns:
        Figures by name, each with the time, machine, versions and commit.
    """
    about = {"machine": machine(), "versions": versions(), "commit": commit()}
    results: dict[str, Any] = {}
    for name in names:
        started = time.monotonic()
        load = os.getloadavg()[0]
        options = {} if sizes is None else {"sizes": sizes}
        found = BENCHMARKS[name](pairs=pairs, progress=lambda line, name=name: progress(f"{name}: {line}"), **options)
        took = time.monotonic() - started
        results[name] = {**found, "measured": {"at": now(), "seconds": took, "load_before": load, **about}}
        progress(f"{name}: done in {took:.0f} s")
    return results


def save(results: Mapping[str, Any], path: Path = RESULTS) -> None:
    """Keep figures; those of benchmarks that were not run stay as they were."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**kept, **results}, indent=1) + "\n")
    partial.replace(path)


def text(results: Mapping[str, Any]) -> str:
    """The figures as a table of at most 120 columns."""
    table = Table(title="weakseg beside plain code: ratios above 1 = weakseg is cheaper [95 %]", title_justify="left")
    for heading, whole in (("benchmark", True), ("against", False), ("aim", True), ("figure", True), ("wall", True)):
        table.add_column(heading, no_wrap=whole)
    table.add_column("apart from that")
    for name, found in results.items():
        for row in ROWS[name](found):
            table.add_row(*row)
    out = StringIO()
    Console(file=out, width=120, highlight=False).print(table, markup=False)
    return out.getvalue().rstrip()


Row = tuple[str, str, str, str, str, str]


def _compared(name: str, against: str, ours: str, baseline: str) -> Callable[[Mapping[str, Any]], list[Row]]:
    def rows(found: Mapping[str, Any]) -> list[Row]:
        cpu, cost, plain = found["cpu"], found[ours], found[baseline]
        apart = " and ".join(
            f"{cost['cpu'][key]:.1f} s CPU {words} (plain {plain['cpu'][key]:.1f})"
            for key, words in (("per_run", "per run"), ("start", "to start"))
        )
        return [(name, against, f">= {found['aim']:.2f}", _interval(cpu), _interval(found["wall"]), apart)]

    return rows


def _train(found: Mapping[str, Any]) -> list[Row]:
    losses = found["losses"]
    points = losses["points"]
    step = f"{1000 * points['seconds']:.1f} ms, {points['peak_mib']:.0f} MiB"
    apart = f"{losses['memory']:.0f} x less memory, same loss; {step}"
    compared = _compared("train", "plain PyTorch loop", "weakseg_train", "plain_loop")
    loss = ("train, loss", "partial_cross_entropy on upsampled logits", "", f"{losses['time']:.1f}", "", apart)
    return [*compared(found), loss]


def _score(found: Mapping[str, Any]) -> list[Row]:
    cpu, wall = (_interval(found["published"][what]) for what in ("cpu", "wall"))
    compared = _compared("score", "bare forward pass", "weakseg_score", "forward")
    return [*compared(found), ("score", "published scheme, on CPU", "", cpu, wall, "")]


def _losses(found: Mapping[str, Any]) -> list[Row]:
    rows = []
    for name, term in found["terms"].items():
        peak, (architecture, *_) = term["peak_mib"], term["step"].split()
        apart = f"{peak['with']:.0f} MiB, without it {peak['without']:.0f}"
        aim = f"<= {100 * term['aim']:.0f} %"
        against = f"{architecture} step without it"
        rows.append((f"losses, {name}", against, aim, _share(term["cpu"]), _share(term["wall"]), apart))
    return rows


def _memory(found: Mapping[str, Any]) -> list[Row]:
    small, large = (str(size) for size in found["sizes"])
    rows = []
    for stage in ("prepare", "score"):
        peak = found[stage]["peak_mib"]
        apart = f"{peak[small]:.0f} MiB, at {large} images {peak[large]:.0f}"
        ratio = f"{found[stage]['ratio']:.2f} of PSS"
        rows.append((f"memory, {stage}", f"itself at {small} images", f"<= {found['limit']:.2f}", ratio, "", apart))
    return rows


def _plan(found: Mapping[str, Any]) -> list[Row]:
    aim, large = found["aim"], str(found["sizes"][1])
    aims = f"<= {aim['seconds']:.0f} s, {aim['mib']:.0f} MiB"
    figure = f"{found[large]['seconds']:.0f} s, {found[large]['mib']:.0f} MiB"
    apart = f"{found[large]['chunks']} chunks of {found[large]['sources']} images"
    return [("plan", "simulated bucket", aims, figure, "", apart)]


def _round(found: Mapping[str, Any]) -> list[Row]:
    count = len(found["rounds"])
    apart = f"wall, mean over {count} rounds"
    rows = [("round", "its training and forward passes", "", _seconds(found["rest"], found["wall"]), "", apart)]
    steps = {step: None for stages in found["rounds"] for step in stages}
    for step in steps:
        stages = [stages[step] for stages in found["rounds"] if step in stages]
        rest, wall = (sum(stage[what] for stage in stages) / len(stages) for what in ("rest", "wall"))
        rows.append((f"round, {step}", "", "", _seconds(rest, wall), "", ""))
    return rows


def _sweep(found: Mapping[str, Any]) -> list[Row]:
    wall, cpu = (found["overhead"][what] for what in ("wall", "cpu"))
    apart = (
        f"a trial {wall['per_unit']:+.1f} s ({cpu['per_unit']:+.1f} s CPU), "
        f"a sweep {wall['per_run']:+.1f} s ({cpu['per_run']:+.1f} s CPU)"
    )
    return [("sweep", "the same runs alone", "", _interval(found["cpu"]), _interval(found["wall"]), apart)]


def _annotation(found: Mapping[str, Any]) -> list[Row]:
    press, people = found["press"], found["people"]
    first, last = people["memory_mib"]
    crowd = f"{people['people']} people, {people['answers'] / people['seconds']:.0f} answers/s"
    return [
        ("annotation, key", "next point on the screen", f"<= {found['aim']:.0f} ms", _milliseconds(press), "", ""),
        (
            "annotation, people",
            crowd,
            "no loss",
            f"{people['errors']} errors, {people['lost']} lost",
            "",
            f"reply {_milliseconds(people['reply'])}; server {first:.0f} to {last:.0f} MiB",
        ),
    ]


def _milliseconds(found: Mapping[str, float]) -> str:
    return f"p50 {found['p50']:.0f}, p95 {found['p95']:.0f} ms"


def _seconds(rest: float, wall: float) -> str:
    return f"{rest:.1f} s of {wall:.1f} s"


def _interval(ratio: Mapping[str, float]) -> str:
    return f"{ratio['ratio']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _share(found: Mapping[str, float]) -> str:
    share, low, high = (100 * found[key] for key in ("share", "low", "high"))
    return f"{share:.1f} % [{low:.1f}, {high:.1f}]"


ROWS: dict[str, Callable[[Mapping[str, Any]], list[Row]]] = {
    "prepare": _compared("prepare", "multiprocessing.Pool", "weakseg_prepare", "multiprocessing_pool"),
    "train": _train,
    "score": _score,
    "predict": _compared("predict", "bare model", "weakseg_predict", "bare_model"),
    "losses": _losses,
    "memory": _memory,
    "plan": _plan,
    "round": _round,
    "sweep": _sweep,
    "annotation": _annotation,
}
