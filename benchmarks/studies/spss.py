"""How far proportions alone go: full masks, SPSS (proportions) and SPSS+ (proportions and keypoints) on Aerial Dubai.

The 1,647 patches of 224x224, split by tile. Every arm has the same network, schedule and images. The weight of the
keypoints (alpha, which the paper does not give) is chosen on validation of the first seed; test is read once per final
model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.studies import figure
from benchmarks.studies.findings import Records, by_seed, means, paired
from benchmarks.studies.measures import LABELS
from benchmarks.studies.orderings import Ordering, judge, told
from benchmarks.studies.runs import Run
from benchmarks.studies.study import Done, Study
from benchmarks.studies.words import between, spread, table

RECIPE = "dubai-spss"

EPOCHS = 4
BATCH = 8
MODEL = "model={architecture: fcn8, encoder: squeezenet1_0, weights: $WEAKSEG_SQUEEZENET}"
"""What two cores can do in minutes. A step of 8 patches takes `fcn8` on SqueezeNet 0.42 to 0.47 s on one core, so an
epoch of some 1,060 patches about half a minute on two, and the paper's 100 epochs most of an hour per run. A pretrained
encoder learns from few steps: in one trial of 130 steps with flips, outside the pipeline, proportions alone came to an
mIoU of 43 on 60 patches left out, none of a test tile. Batches of 8 in place of 16 give twice as many steps for the
same time. More epochs were not tried."""

COMMON = (
    "data.tile=[224,224]",
    "superpixels.segments=0",
    MODEL,
    # nothing is cropped, so that proportions hold; nothing else is done to the images either, as in the paper
    f"training={{epochs: {EPOCHS}, batch_size: {BATCH}, lr: 1e-3, encoder_lr: 1e-4, weight_decay: 2e-4, "
    "schedule: {name: poly, power: 0.9}, augmentation: null}",
    "cluster={workers: 2, actors: 2}",
)
"""Whole sections, so that nothing of the recipe is left but the data."""

ALPHAS = (0.5, 0.9, 0.99)
"""Weights of the proportions beside 1 - alpha of the keypoints: their loss is some ten times smaller."""

MASKS = ("supervision={points: false, masks: true}", "loss={mask: 1}")
PROPORTIONS = ("supervision={points: false, proportions: masks}", "loss={proportion: 1}")
KEYPOINTS = "supervision={points: false, proportions: masks, keypoints: masks, keypoint: {per_class: 3, radius: 2}}"

ARMS = ("masks", "spss", "spss-plus")
MEASURES = ("miou", "miou_5", "pixel_accuracy")

PAPER_NUMBERS = {
    "version 1 (plain U-Net)": {"masks": 52.3, "spss": 45.4},
    "version 2 (U-Net on VGG16)": {"masks": 71.3, "spss": 64.2, "masks and proportions": 71.6},
}
"""mIoU in %. What version 2 calls SPSS+ has full masks in place of keypoints; with keypoints there is only EM."""

DIFFERENCES = (
    "fcn8 on SqueezeNet in place of a U-Net; "
    f"{EPOCHS} epochs of batches of {BATCH} in place of 100 of 16 with early stopping; "
    "split by tile in place of a random split of patches, which leaks"
)

ORDERINGS = tuple(
    Ordering(better, worse, source, measure)
    for better, worse, source in (
        ("masks", "spss", "SPSS, versions 1 and 2"),
        ("spss-plus", "spss", "expected here"),
        ("masks", "spss-plus", "SPSS, version 1 (on EM)"),
    )
    for measure in ("miou", "miou_5")
)


def plan(seeds: Sequence[int], done: Done, choices: dict[str, Any]) -> None:
    """Masks and SPSS on the first seed, then alpha, then all three seed by seed."""
    done(masks_run(seeds[0]))
    done(proportions_run(seeds[0]))
    tried = {alpha: _last_miou(done(keypoints_trial(alpha, seeds[0]))) for alpha in ALPHAS}
    alpha = max(tried, key=lambda alpha: (tried[alpha], -alpha))
    choices["alpha"] = {"chosen": alpha, "validation_miou": {f"{key:g}": value for key, value in tried.items()}}
    for seed in seeds:
        done(masks_run(seed))
        done(proportions_run(seed))
        done(keypoints_run(alpha, seed))


def masks_run(seed: int) -> Run:
    """Full masks."""
    return Run(f"masks-s{seed}", f"masks-s{seed}", "train", RECIPE, seed, (*COMMON, *MASKS), "masks")


def proportions_run(seed: int) -> Run:
    """SPSS: exact proportions and nothing else."""
    return Run(f"spss-s{seed}", f"spss-s{seed}", "train", RECIPE, seed, (*COMMON, *PROPORTIONS), "spss")


def keypoints_trial(alpha: float, seed: int) -> Run:
    """SPSS+ with a weight, on validation only."""
    name = f"spss-plus-{alpha:g}-s{seed}"
    settings = (*_keypoints(alpha), "evaluate.test=false")
    return Run(f"{name}-trial", name, "train", RECIPE, seed, settings, "trial")


def keypoints_run(alpha: float, seed: int) -> Run:
    """SPSS+ with the chosen weight, tested; where it was tried before, only the test is missing."""
    name = f"spss-plus-{alpha:g}-s{seed}"
    return Run(f"spss-plus-s{seed}", name, "train", RECIPE, seed, _keypoints(alpha), "spss-plus")


def summary(runs: Records, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Figures over the seeds that are finished, in 0..1.

    Args:
        runs: Records by key.
        chosen: Alpha.

    Returns:
        `final` (per arm, split and measure), `share_of_masks` (of test, paired over seeds), `orderings` (the paper's),
        `paper` (its own figures, in %), `annotation_seconds` (of each arm, in all, mean).
    """
    shares = {}
    for arm in ARMS[1:]:
        for measure in ("miou", "miou_5"):
            share = paired(runs, arm, "masks", "test", measure, compared=lambda ours, theirs: ours / theirs)
            if share is not None:
                shares.setdefault(arm, {})[measure] = share
    return {
        "final": means(runs, ARMS, MEASURES),
        "share_of_masks": shares,
        "orderings": judge(runs, ORDERINGS),
        "paper": {"numbers": PAPER_NUMBERS, "differences": DIFFERENCES},
        "annotation_seconds": {
            arm: fmean(record["rounds"][-1]["seconds"] for record in found.values())
            for arm in ARMS
            if (found := by_seed(runs, arm))
        },
        **chosen,
    }


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Validation and test mIoU by arm, over 6 and over 5 classes."""
    panels = []
    for split in ("validation", "test"):
        series = {
            LABELS[measure]: [
                (float(at), found["final"][arm][split][measure])
                for at, arm in enumerate(ARMS)
                if measure in found["final"].get(arm, {}).get(split, {})
            ]
            for measure in ("miou", "miou_5")
        }
        panels.append(figure.Panel("learned from", f"{split} mIoU (%)", series, ticks=ARMS, joined=False))
    seeds = figure.seeds(panels[0].series)
    figure.save(panels, path, title=f"Aerial Dubai, patches of 224x224, {seeds}, bars = one standard deviation")


def text(found: Mapping[str, Any]) -> str:
    """The figures as a table, then shares of full masks and the paper's orderings."""
    columns = [(split, measure) for split in ("validation", "test") for measure in MEASURES]
    rows = [
        [arm, *(spread(splits.get(split, {}).get(measure)) for split, measure in columns)]
        for arm, splits in found["final"].items()
    ]
    lines = [table(["mean +- sd", *(f"{split}, {LABELS[measure]}" for split, measure in columns)], rows), ""]
    for arm, shares in found["share_of_masks"].items():
        shown = "; ".join(f"{LABELS[measure]} {between(share, unit=' %')}" for measure, share in shares.items())
        lines.append(f"{arm}, share of full masks on test: {shown}")
    if "alpha" in found:
        tried = ", ".join(f"{key}: {100 * value:.2f}" for key, value in found["alpha"]["validation_miou"].items())
        lines.append(f"alpha, validation of the first seed: {tried}; chosen {found['alpha']['chosen']:g}")
    lines += paper_lines(found["paper"])
    return "\n".join([*lines, "", *told(found["orderings"])])


def paper_lines(paper: Mapping[str, Any]) -> list[str]:
    """The paper's own figures, and what was different there."""
    lines = []
    for version, numbers in paper["numbers"].items():
        shown = ", ".join(f"{name} {value:g}" for name, value in numbers.items())
        lines.append(f"the paper, {version}: {shown}")
    return [*lines, f"differences from the paper: {paper['differences']}"]


def _keypoints(alpha: float) -> tuple[str, ...]:
    return (*COMMON, KEYPOINTS, f"loss={{proportion: {alpha:g}, keypoint: {1 - alpha:g}}}")


def _last_miou(record: Mapping[str, Any]) -> float:
    return float(record["rounds"][-1]["validation"]["miou"])


STUDY = Study("spss", RECIPE, "DUBAI", "study-spss", plan, summary, draw, text)
