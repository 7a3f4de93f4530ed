"""Rules between the fields of section `labelling` and others."""

from collections.abc import Iterator

from pipelines.config.faults import Rule
from pipelines.config.hosts import loopback
from pipelines.config.root import Config


def asking(config: Config) -> Iterator[Rule]:
    """Rules about what is asked, and how."""
    labelling, committee = config.labelling, config.labelling.committee
    if committee is not None and config.model.dropout == 0:
        yield (
            ("labelling.committee", "model.dropout"),
            "needs a model with dropout, but model.dropout is 0: all its members would be one; set it, such as 0.2",
        )
    if committee is not None and labelling.acquisition == "random":
        yield ("labelling.committee", "labelling.acquisition"), "only counts where a prediction is scored; remove it"
    if labelling.acquisition == "mutual_information" and committee is None:
        yield (
            ("labelling.acquisition", "labelling.committee"),
            "mutual_information needs a committee; set labelling.committee, such as {passes: 20}",
        )
    if labelling.acquisition == "mutual_information" and committee is not None and committee.vote == "hard":
        yield (
            ("labelling.committee.vote", "labelling.acquisition"),
            "expected soft for mutual_information, which compares the members with their mean; remove it",
        )
    if labelling.one_per_segment and labelling.acquisition == "region":
        yield (
            ("labelling.one_per_segment", "labelling.acquisition"),
            "only counts where pixels are asked, not regions; remove it",
        )
    for name in ("committee", "error_rate"):
        if getattr(labelling, name) and not config.supervision.points:
            yield (f"labelling.{name}", "supervision.points"), "only counts with supervision.points; remove it"


def people(config: Config) -> Iterator[Rule]:
    """Rules about who answers."""
    labelling = config.labelling
    browser, people = labelling.browser, labelling.annotator == "browser"
    if people and not loopback(browser.host) and not browser.annotators:
        yield (
            ("labelling.browser.annotators", "labelling.browser.host"),
            f"expected names where labelling.browser.host is {browser.host}, which others can reach: each gets a link "
            "of their own; set it, such as [anna, ben]",
        )
    for name in ("repeat", "control"):
        if getattr(labelling, name) and not people:
            yield (f"labelling.{name}", "labelling.annotator"), "only counts where people answer; remove it"
    if labelling.answered_share < 1 and not people:
        yield ("labelling.answered_share", "labelling.annotator"), "only counts where people answer; remove it"
    if people and labelling.error_rate:
        yield ("labelling.error_rate", "labelling.annotator"), "only counts for the oracle; remove it"
    for kind in ("proportions", "coarse"):
        if getattr(config.supervision, kind) == "people" and not people:
            yield (
                (f"supervision.{kind}", "labelling.annotator"),
                "people answer only where labelling.annotator is browser; set it",
            )
    if config.supervision.coarse == "people" and config.data.tile is not None:
        yield (
            ("supervision.coarse", "data.tile"),
            "people draw on whole images only: set data.tile to null, or take polygons from a file",
        )
