"""SPSS under worse proportions: the paper's two sensitivity tables, Gaussian noise and k-means clusters.

The runs without degradation are those of the study `spss` (the same folder, so they are found finished there). Nothing
is chosen here; test is read once per model.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.studies import figure
from benchmarks.studies.findings import Records, means, paired
from benchmarks.studies.measures import LABELS
from benchmarks.studies.orderings import Ordering, judge, told
from benchmarks.studies.runs import Run
from benchmarks.studies.spss import COMMON, DIFFERENCES, MEASURES, RECIPE, paper_lines, proportions_run
from benchmarks.studies.study import Done, Study
from benchmarks.studies.words import between, spread, table

EXACT = "spss"
"""The group of the runs on exact proportions."""

SIGMAS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
CLIPPED = (0.05, 0.1, 0.2, 0.5)
"""Noise after which proportions are clipped and divided by their sum, where the paper takes a softmax, which flattens
them however small the noise."""
CLUSTERS = (100, 50, 30, 20, 10, 5)

PAPER = {
    "noise": {
        "version 1": dict(zip((0, *SIGMAS), (45, 42, 41, 38, 32, 29, 28, 26), strict=True)),
        "version 2": dict(zip((0, *SIGMAS), (64.2, 62.4, 60.1, 57.8, 52.2, 48.3, 43.4, 38.3), strict=True)),
    },
    "clusters": {
        "version 1": dict(zip(CLUSTERS, (44, 42, 41, 37, 36, 27), strict=True)),
        "version 2": dict(zip(CLUSTERS, (61.7, 59.4, 56.5, 51.2, 47.4, 38.3), strict=True)),
    },
}
"""mIoU in %, by sigma or by the number of clusters."""

Levels = Mapping[str, Mapping[str, float]]
"""By curve, its groups of runs and where they stand on x."""

NOISE: Levels = {
    "softmax": {EXACT: 0.0, **{f"softmax-{sigma:g}": sigma for sigma in SIGMAS}},
    "clip": {EXACT: 0.0, **{f"clip-{sigma:g}": sigma for sigma in CLIPPED}},
}
CLUSTERED: Levels = {"clusters": {f"clusters-{count}": float(count) for count in CLUSTERS}}


def degraded_run(group: str, seed: int) -> Run:
    """The run of a group such as `softmax-0.1` or `clusters-20`."""
    if group == EXACT:
        return proportions_run(seed)
    kind, _, level = group.rpartition("-")
    noise = f"clusters: {level}" if kind == "clusters" else f"sigma: {level}, normalise: {kind}"
    supervision = f"supervision={{points: false, proportions: masks, noise: {{{noise}}}}}"
    settings = (*COMMON, supervision, "loss={proportion: 1}")
    name = f"spss-{group}-s{seed}"
    return Run(name, name, "train", RECIPE, seed, settings, group)


def plan(levels: Levels, seeds: Sequence[int], done: Done, choices: dict[str, Any]) -> None:
    """The paper's curve on all seeds first; the whole curve of a seed before the next seed."""
    for at in levels.values():
        for seed in seeds:
            for group in dict.fromkeys([EXACT, *at]):
                done(degraded_run(group, seed))


def summary(levels: Levels, paper: Levels, runs: Records, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Figures over the seeds that are finished, in 0..1.

    Args:
        levels: The study's curves.
        paper: The paper's, in %.
        runs: Records by key.
        chosen: Nothing.

    Returns:
        `final` (per group, split and measure), `minus_exact` (test mIoU, paired over seeds), `orderings` (less
        degradation is better: the ends of every curve, and its neighbours), `paper`.
    """
    groups = _groups(levels)
    differences = {group: paired(runs, group, EXACT, "test") for group in groups if group != EXACT}
    return {
        "final": means(runs, groups, MEASURES),
        "minus_exact": {group: mean for group, mean in differences.items() if mean is not None},
        "orderings": judge(runs, orderings(levels)),
        "paper": {"numbers": paper, "differences": DIFFERENCES},
        **chosen,
    }


def orderings(levels: Levels) -> list[Ordering]:
    """The paper's: less degradation is better.

    It says nothing of clip against softmax; clip is expected above, as it changes a proportion less.
    """
    found = []
    for curve, at in levels.items():
        source = {"clusters": "SPSS, Table 4", "softmax": "SPSS, Table 3"}.get(curve, "expected here")
        names = [EXACT, *(name for name in at if name != EXACT)]
        pairs = [*pairwise(names), (EXACT, names[-1])]
        found += [Ordering(better, worse, source) for better, worse in pairs]
    if "clip" in levels:
        found += [Ordering(f"clip-{sigma:g}", f"softmax-{sigma:g}", "expected here") for sigma in CLIPPED]
    return found


def draw(levels: Levels, paper: Levels, xlabel: str, found: Mapping[str, Any], path: Path) -> None:
    """Test mIoU over 6 and over 5 classes against the degradation, the first beside the paper's."""
    final, panels = found["final"], []
    for measure in ("miou", "miou_5"):
        series = {
            curve: [
                (x, final[group]["test"][measure])
                for group, x in sorted(at.items(), key=lambda item: item[1])
                if measure in final.get(group, {}).get("test", {})
            ]
            for curve, at in levels.items()
        }
        exact = final.get(EXACT, {}).get("test", {}).get(measure)
        quoted = {f"the paper, {name}": [(x, value / 100) for x, value in at.items()] for name, at in paper.items()}
        panels.append(
            figure.Panel(
                xlabel,
                f"test {LABELS[measure]} (%)",
                series,
                levels={"exact proportions": exact} if exact and "clusters" in levels else {},
                quoted=quoted if measure == "miou" else {},
                log="clusters" in levels,
            )
        )
    seeds = figure.seeds(panels[0].series)
    figure.save(panels, path, title=f"SPSS on Aerial Dubai, {seeds}, band = one standard deviation")


def text(found: Mapping[str, Any]) -> str:
    """The figures as a table, differences from exact proportions, and which of the paper's orderings appear."""
    columns = [(split, measure) for split in ("test", "validation") for measure in ("miou", "miou_5")]
    rows = [
        [
            "spss (exact)" if group == EXACT else group,
            *(spread(splits.get(split, {}).get(measure)) for split, measure in columns),
            between(found["minus_exact"].get(group), sign="+"),
        ]
        for group, splits in found["final"].items()
    ]
    heading = ["mean +- sd", *(f"{split}, {LABELS[measure]}" for split, measure in columns), "test mIoU minus exact"]
    lines = [table(heading, rows), "", *paper_lines(found["paper"])]
    return "\n".join([*lines, "", *told(found["orderings"])])


def _groups(levels: Levels) -> list[str]:
    """All groups, exact proportions first, none twice."""
    return list(dict.fromkeys([EXACT, *(group for at in levels.values() for group in at)]))


def _study(name: str, levels: Levels, paper: Levels, xlabel: str) -> Study:
    return Study(
        name=name,
        recipe=RECIPE,
        data="DUBAI",
        folder="study-spss",
        plan=partial(plan, levels),
        summary=partial(summary, levels, paper),
        draw=partial(draw, levels, paper, xlabel),
        text=text,
    )


NOISE_STUDY = _study("spss-noise", NOISE, PAPER["noise"], "sigma of the noise")
CLUSTERS_STUDY = _study("spss-clusters", CLUSTERED, PAPER["clusters"], "clusters")
