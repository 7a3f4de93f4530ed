"""Which second of annotation buys the most: points, proportions, both, and superpixel consistency, at equal cost.

CamVid at 144x192, one training per arm and budget. A labelled pixel costs 1.42 s and the proportions of an image 20 s
(`labelling.seconds`); points are drawn uniformly, so that an arm is what it learns from and not how it asks.

Equal cost. Budgets are 10, 20 and 40 pixels per image. Proportions on 99.4 % of the images cost 14 pixels per image
to the second, on 49.7 % of them 7: arms with both have that many pixels less. Nobody buys the proportions of an image
twice, so proportions alone end at 20 s per image; at smaller budgets a share of the images has them. Consistency costs
nothing: superpixels are computed.

Whole images. Proportions hold for whole images. They could be counted anew from the mask in every crop, but that would
be far more annotation than the 20 s they are charged with. So no arm sees crops: images are only shrunk (0.75 to 1),
flipped and recoloured. What points alone lose by that shows in `points-crops`, which has the recipe's own augmentation
(0.5 to 2, cropped), at 20 and 40 pixels.

Weights of the proportion and of the consistency term are chosen on validation, at 20 pixels on the first seed.
Figures by budget are validation mIoU; test is read once per model of the largest budget.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.studies import figure
from benchmarks.studies.findings import Records, by_seed, last, paired
from benchmarks.studies.interval import interval
from benchmarks.studies.orderings import verdict
from benchmarks.studies.runs import Run
from benchmarks.studies.study import Done, Study
from benchmarks.studies.words import between, spread, table

RECIPE = "camvid-cpu"

PIXEL, PROPORTIONS = 1.42, 20.0
"""Seconds of a labelled pixel (PixelPick) and of the proportions of an image (SPSS): the defaults of
`labelling.seconds`, given to every run all the same."""

BUDGETS = (20, 40, 10)
"""In pixels per image, the most telling first."""
LARGEST, MIDDLE = max(BUDGETS), 20
SHARES = {14: 0.994, 7: 0.497}
"""Pixels per image that the proportions of such a share of the images cost."""

SEGMENTS = 300
"""Superpixels per image, some 90 pixels each."""

WHOLE = "training.augmentation.scale=[0.75,1.0]"
"""Never larger than the window, so nothing is ever cut off."""

WEIGHTS = {"proportion": (1.0, 4.0, 16.0), "consistency": (0.1, 0.5, 2.5)}
"""Beside 1 for points."""

ARMS = ("points", "points-proportions", "points-consistency", "all", "proportions", "points-crops")
BASELINE = "points"
TERMS: dict[str, tuple[str, ...]] = {
    "points": (),
    "points-proportions": ("proportion",),
    "points-consistency": ("consistency",),
    "all": ("proportion", "consistency"),
    "proportions": (),
    "points-crops": (),
}
"""By arm, the terms whose weight is chosen. Proportions alone need none: a lone term's scale hardly matters to Adam."""


@dataclass(frozen=True)
class Purchase:
    """What a budget buys.

    Attributes:
        pixels: Labelled pixels per image.
        share: Of the images that have proportions.
    """

    pixels: int
    share: float

    @property
    def seconds(self) -> float:
        """What it costs per image."""
        return self.pixels * PIXEL + self.share * PROPORTIONS


def purchase(arm: str, budget: int) -> Purchase | None:
    """What an arm buys for as many seconds as `budget` pixels per image; None where it is not run.

    Args:
        arm: Name of an arm.
        budget: In pixels per image.
    """
    if arm == "points-crops" and budget < MIDDLE:
        return None
    if arm == "proportions":
        if budget * PIXEL <= PROPORTIONS:
            return Purchase(0, round(budget * PIXEL / PROPORTIONS, 6))
        return Purchase(0, 1.0) if budget == MIDDLE else None  # all there are
    if arm in ("points-proportions", "all"):
        spent = 14 if budget > 14 else 7
        return Purchase(budget - spent, SHARES[spent])
    return Purchase(budget, 0.0)


def plan(seeds: Sequence[int], done: Done, choices: dict[str, Any]) -> None:
    """The weights first; then budget by budget all arms on all seeds."""
    found = {}
    for term, arm in (("proportion", "points-proportions"), ("consistency", "points-consistency")):
        tried = {}
        for weight in WEIGHTS[term]:
            record = done(trial(arm, {term: weight}, seeds[0]))
            tried[weight] = float(record["rounds"][-1]["validation"]["miou"])
        best = max(tried, key=lambda weight: (tried[weight], -weight))
        found[term] = {"chosen": best, "validation_miou": {f"{key:g}": value for key, value in tried.items()}}
    weights = {term: choice["chosen"] for term, choice in found.items()}
    choices["weights"] = found
    for budget in BUDGETS:
        for seed in seeds:
            for arm in ARMS[:-1]:
                if purchase(arm, budget):
                    done(arm_run(arm, budget, weights, seed))
    for budget in BUDGETS:
        for seed in seeds:
            if purchase("points-crops", budget):
                done(arm_run("points-crops", budget, weights, seed))


def trial(arm: str, weights: Mapping[str, float], seed: int) -> Run:
    """An arm with weights to try, at the middle budget, on validation only."""
    run = arm_run(arm, MIDDLE, weights, seed)
    return Run(f"{run.name}-trial", run.name, run.verb, run.recipe, seed, run.settings, "trial")


def arm_run(arm: str, budget: int, weights: Mapping[str, float], seed: int) -> Run:
    """The run of an arm for a budget.

    Args:
        arm: Name of an arm.
        budget: In pixels per image; one that the arm can use.
        weights: Of the terms, by name.
        seed: Of everything.
    """
    bought = purchase(arm, budget)
    assert bought is not None
    used = {term: weights[term] for term in TERMS[arm]}
    name = "-".join([arm, str(budget), *(f"{term[:4]}{weight:g}" for term, weight in used.items()), f"s{seed}"])
    settings = [
        f"superpixels.segments={SEGMENTS}",
        f"labelling.seconds.pixel={PIXEL:g}",
        f"labelling.seconds.proportions={PROPORTIONS:g}",
        "supervision.points=false" if bought.pixels == 0 else f"labelling.pixels_per_image={bought.pixels}",
    ]
    if bought.share > 0:
        settings += ["supervision.proportions=masks", f"supervision.share.proportions={bought.share:g}"]
    settings += [f"loss.{term}={weight:g}" for term, weight in used.items()]
    if arm != "points-crops":
        settings.append(WHOLE)
    if not _tested(arm, budget):
        settings.append("evaluate.test=false")
    group = f"{arm}@{budget}"
    return Run(f"{arm}-{budget}-s{seed}", name, "train", RECIPE, seed, tuple(settings), group)


def _tested(arm: str, budget: int) -> bool:
    """Whether this is the largest budget that an arm can use."""
    return budget == max(known for known in BUDGETS if purchase(arm, known))


def summary(runs: Records, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Figures over the seeds that are finished; mIoU in 0..1.

    Args:
        runs: Records by key.
        chosen: The weights.

    Returns:
        `curves` (per arm and budget: what was bought, seconds per image as meant and as billed, validation mIoU),
        `test` (per arm, of its largest budget), `minus_points` (per arm and budget on validation, and on test: paired
        over seeds, with a verdict).
    """
    images = _images(runs)
    curves: dict[str, list[dict[str, Any]]] = {}
    for arm, budget, group in _groups():
        values = last(runs, group, "validation")
        bought = purchase(arm, budget)
        if values and bought is not None:
            billed = [record["rounds"][-1]["seconds"] for record in by_seed(runs, group).values()]
            curves.setdefault(arm, []).append(
                {
                    "budget_pixels": budget,
                    "pixels": bought.pixels,
                    "share_with_proportions": bought.share,
                    "seconds_per_image": bought.seconds,
                    "billed_seconds_per_image": max(billed) / images if images else None,
                    "miou": interval(list(values.values())),
                }
            )
    tests = {}
    for arm, _, group in _groups():
        values = last(runs, group, "test")
        if values:
            tests[arm] = interval(list(values.values()))
    return {
        "seconds": {"pixel": PIXEL, "proportions": PROPORTIONS},
        "rule": "equal annotation seconds, no arm sees crops but points-crops; by budget: validation mIoU; "
        "test: read once per model of the largest budget that an arm can use",
        "curves": curves,
        "test": tests,
        "minus_points": _differences(runs),
        **chosen,
    }


def _differences(runs: Records) -> list[dict[str, Any]]:
    """Each arm against points for the same seconds."""
    found = []
    for arm, budget, group in _groups():
        if arm == BASELINE:
            continue
        equal = not (arm == "proportions" and budget == MIDDLE)
        for split in ("validation", "test"):
            difference = paired(runs, group, f"{BASELINE}@{budget}", split)
            if difference is not None and equal:
                entry = {"arm": arm, "budget_pixels": budget, "split": split, "difference": difference}
                found.append({**entry, "verdict": _side(verdict(difference))})
    return found


def _side(words: str) -> str:
    """A verdict on "better than points"."""
    return {"holds": "better than points", "reversed": "worse than points"}.get(words, words)


def _groups() -> Iterator[tuple[str, int, str]]:
    """Every arm, budget that it can use, and the group of its runs, budgets rising."""
    for arm in ARMS:
        for budget in sorted(BUDGETS):
            if purchase(arm, budget):
                yield arm, budget, f"{arm}@{budget}"


def _images(runs: Records) -> float | None:
    """How many training images there were: labels of a run by its labels per image."""
    for record in runs.values():
        row = record["rounds"][-1]
        if row.get("labels") and row["labels_per_image"]:
            return float(row["labels"] / row["labels_per_image"])
    return None


def draw(found: Mapping[str, Any], path: Path) -> None:
    """The equal-cost curve: validation mIoU against seconds of annotation per image."""
    series = {
        arm: [(round(point["seconds_per_image"], 1), point["miou"]) for point in points]
        for arm, points in found["curves"].items()
    }
    panel = figure.Panel("seconds of annotation per image", "validation mIoU (%)", series)
    title = f"CamVid at 144x192, {figure.seeds(series)}, band = one standard deviation"
    figure.save([panel], path, title=title)


def text(found: Mapping[str, Any]) -> str:
    """The figures as a table, then every arm against points."""
    rows = [
        [
            arm if not number else "",
            f"{point['seconds_per_image']:.1f}",
            "-" if point["billed_seconds_per_image"] is None else f"{point['billed_seconds_per_image']:.1f}",
            str(point["pixels"]),
            f"{100 * point['share_with_proportions']:.1f} %",
            spread(point["miou"]),
            spread(found["test"].get(arm)) if number == len(points) - 1 else "",
        ]
        for arm, points in found["curves"].items()
        for number, point in enumerate(points)
    ]
    heading = ["arm", "s/image", "billed", "px/image", "proportions", "val mIoU", "test mIoU"]
    lines = [table(heading, rows), f"({found['rule']})", ""]
    for term, choice in found.get("weights", {}).items():
        tried = ", ".join(f"{key}: {100 * value:.2f}" for key, value in choice["validation_miou"].items())
        lines.append(f"weight of {term}, validation of the first seed: {tried}; chosen {choice['chosen']:g}")
    for entry in found["minus_points"]:
        seconds = entry["budget_pixels"] * PIXEL
        lines.append(
            f"{entry['arm']} minus points at {seconds:.1f} s ({entry['split']}): "
            f"{between(entry['difference'], sign='+')}: {entry['verdict']}"
        )
    return "\n".join([*lines, "(intervals are 95 % each, paired over seeds; not corrected for their number)"])


STUDY = Study("mixed", RECIPE, "CAMVID", "study-mixed", plan, summary, draw, text)
