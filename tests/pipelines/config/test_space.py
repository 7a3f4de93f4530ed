import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.config import amend, load
from pipelines.config.space import grid, seeds, space, words
from weakseg.errors import ConfigError

TWO = "sweep.fields={loss.consistency: [0.0, 0.1], labelling.pixels_per_image: [5, 10]}"


def lines(*settings: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load("demo", settings, verb="sweep")
    assert all("\n" not in line for line in caught.value.faults)
    return list(caught.value.faults)


def test_a_grid_is_every_combination_in_the_order_written():
    config = load("demo", [TWO, "sweep.seeds=[3, 4]"], verb="sweep")
    assert [tuple(point.values()) for point in grid(config.sweep)] == [(0.0, 5), (0.0, 10), (0.1, 5), (0.1, 10)]
    assert seeds(config) == [3, 4]
    assert words(next(grid(config.sweep))) == "loss.consistency=0.0, labelling.pixels_per_image=5"


def test_without_seeds_it_is_the_configurations_own():
    assert seeds(load("demo", [TWO, "seed=7"], verb="sweep")) == [7]


def test_fields_may_be_nested_as_set_writes_them():
    config = load("demo", ["sweep.fields.loss.consistency=[0.0, 0.1]", "sweep.fields.training.lr={uniform: [1e-4, 1]}",
                           "sweep.search=random", "sweep.trials=3"], verb="sweep")  # fmt: skip
    assert space(config.sweep) == {"loss.consistency": {"choice": [0.0, 0.1]}, "training.lr": {"uniform": [1e-4, 1]}}


def test_other_verbs_leave_the_section_alone():
    broken = "sweep.fields={loss.consistenty: [1]}"
    for verb in ("active", "train", "status", "config"):
        assert load("demo", [broken], verb=verb).sweep is not None
    assert load("demo").sweep is None


FAULTY = {
    "sweep: expected a section with fields to try": [],
    "sweep.fields: expected dotted fields with their values": ["sweep.fields={}"],
    "sweep.search: expected a search (grid, random, optuna), got \"gird\" (did you mean grid?)": [
        TWO, "sweep.search=gird",
    ],
    "sweep.fields.loss.consistenty: unknown field (did you mean loss.consistency?)": [
        "sweep.fields={loss.consistenty: [0, 1]}",
    ],
    "sweep.fields.cluster.workers: cannot be swept: it changes nothing that is learned": [
        "sweep.fields={cluster.workers: [1, 2]}",
    ],
    "sweep.fields.data.size: cannot be swept: trials are compared on the same images": [
        "sweep.fields={data.size: [[96, 96]]}",
    ],
    "sweep.fields.seed: cannot be swept: list sweep.seeds": ["sweep.fields={seed: [0, 1]}"],
    "sweep.fields.loss: a whole section cannot be swept; name one of its fields, such as loss.point": [
        "sweep.fields={loss: [1]}",
    ],
    "sweep.fields.loss.point: expected at least one value, got []": ["sweep.fields={loss.point: []}"],
    "sweep.fields.loss.point: expected each value once, got [1, 1]": ["sweep.fields={loss.point: [1, 1]}"],
    "sweep.fields.loss.point: expected a list of values, {uniform: [lo, hi]}": ["sweep.fields={loss.point: 1}"],
    "sweep.fields.loss.point: expected {loguniform: [lo, hi]}, two numbers above 0": [
        "sweep.fields={loss.point: {loguniform: [0, 1]}}",
    ],
    "sweep.fields.loss.point: expected {randint: [lo, hi]}, two whole numbers": [
        "sweep.fields={loss.point: {randint: [1.5, 2]}}",
    ],
    "sweep.fields.loss.point: expected {uniform: [lo, hi]}, two numbers with lo < hi": [
        "sweep.fields={loss.point: {uniform: [2, 1]}}",
    ],
    "sweep.fields.loss.point: given twice": ["sweep.fields={loss.point: [1], loss: {point: [2]}}"],
    "sweep.fields.training.schedule: one of its own fields is swept too": [
        "sweep.fields={training.schedule: [{name: constant}], training.schedule.power: [1, 2]}",
    ],
    "sweep.fields.loss.point: a grid needs a list of values, got": ["sweep.fields={loss.point: {uniform: [0, 1]}}"],
    "sweep.trials: a grid runs all its points": [TWO, "sweep.trials=3"],
    "sweep.trials: expected how many points to try with sweep.search optuna": [TWO, "sweep.search=optuna"],
    "sweep.seeds: expected each seed once, got [1, 1]": [TWO, "sweep.seeds=[1, 1]"],
    "sweep.seeds: expected null or a list of whole numbers from 0": [TWO, "sweep.seeds=[]"],
    "sweep.asha: a grid is run as a whole": ["sweep.fields={training.lr: [1e-3, 1e-2]}", "sweep.asha={}"],
    "sweep.asha: only among trials of equal budget, but labelling.pixels_per_image changes it": [
        TWO, "sweep.asha={}", "sweep.search=random", "sweep.trials=3",
    ],
    "sweep.asha: trainings are compared by their validation loss as they go, which loss.point changes": [
        "sweep.fields={loss.point: [1, 2]}", "sweep.asha={}", "sweep.search=random", "sweep.trials=3",
        "sweep.verb=train", "training.early_stopping={}",
    ],
    "sweep.asha: trainings are compared by their validation loss as they go, which only training.early_stopping": [
        "sweep.fields={training.lr: [1, 2]}", "sweep.asha={}", "sweep.search=random", "sweep.trials=3",
        "sweep.verb=train",
    ],
    "labelling.annotator: expected oracle for a sweep, got browser": [TWO, "labelling.annotator=browser"],
    "sweep.fields.labelling.annotator: cannot be swept: trials ask the oracle": [
        "sweep.fields={labelling.annotator: [oracle, browser]}",
    ],
    "run: expected at most 80 letters": [TWO, f"run={'x' * 81}"],
}  # fmt: skip


@pytest.mark.parametrize("line", FAULTY)
def test_a_fault_is_one_clear_line(line: str):
    (fault,) = lines(*FAULTY[line])
    assert fault.startswith(line)


def test_every_point_of_a_grid_is_checked_and_all_faults_are_told_at_once():
    found = lines(
        "sweep.fields={loss.consistency: [0.0, 0.1, -1], superpixels.segments: [0, 50], training.lr: [1e-3, 0]}"
    )
    assert "sweep.fields.loss.consistency: expected a number from 0, got -1" in found
    assert "sweep.fields.training.lr: expected a number above 0, got 0" in found
    assert any(line.startswith("sweep.fields.loss.consistency: needs superpixels") for line in found)
    assert len(found) == 3


def test_a_rule_that_blames_an_unswept_field_names_the_point():
    (line,) = lines("sweep.fields={model.dropout: [0.0, 0.2]}", "labelling.committee={passes: 3}", "model.dropout=0.1")
    assert line.startswith("sweep.fields: with model.dropout=0.0: labelling.committee: needs a model with dropout")


def test_bounds_of_distributions_are_checked():
    found = lines("sweep.fields={model.dropout: {uniform: [0.1, 2]}}", "sweep.search=optuna", "sweep.trials=5")
    assert len(found) == 1
    assert found[0].startswith("sweep.fields.model.dropout: expected")


def test_a_distribution_that_draws_no_whole_number_is_refused_for_fields_that_take_no_other():
    for distribution in ("{uniform: [5, 20]}", "{loguniform: [5, 20]}"):
        for search in ("random", "optuna"):
            fields = f"sweep.fields={{labelling.pixels_per_image: {distribution}}}"
            (line,) = lines(fields, f"sweep.search={search}", "sweep.trials=5")
            assert line.startswith("sweep.fields.labelling.pixels_per_image: takes whole numbers only, got {")
            assert line.endswith("use {randint: [lo, hi]} or a list of values")
    fine = ["sweep.fields={labelling.pixels_per_image: {randint: [5, 20]}, training.lr: {uniform: [1, 2]}}"]
    assert load("demo", [*fine, "sweep.search=random", "sweep.trials=5"], verb="sweep").sweep is not None


def test_a_grid_has_its_limit():
    (line,) = lines("sweep.fields={labelling.rounds: " + str(list(range(1, 200))) + ", training.epochs: "
                    + str(list(range(1, 200))) + "}")  # fmt: skip
    assert line.startswith("sweep.fields: 39601 points and 1 seeds are more than 10000 trials")


def test_rounds_without_points_count_for_trials_that_are_active():
    settings = ["sweep.fields={training.lr: [1e-3]}", "supervision={points: false, masks: true}"]
    assert "labelling.rounds: expected 1 without supervision.points" in lines(*settings)[0]
    assert load("demo", [*settings, "sweep.verb=train"], verb="sweep").sweep.verb == "train"


def test_amend_checks_the_whole_and_leaves_the_original():
    config = load("demo")
    other = amend(config, {"training.schedule.power": 0.5, "seed": 3, "training.early_stopping.patience": 2})
    assert (other.training.schedule.power, other.seed, other.training.early_stopping.patience) == (0.5, 3, 2)
    assert (config.training.schedule.power, config.seed) == (0.9, 0)
    with pytest.raises(ConfigError, match=r"training.lr: expected a number above 0, got 0"):
        amend(config, {"training.lr": 0})


def test_the_command_line_tells_faults_with_exit_2():
    result = CliRunner().invoke(app, ["sweep", "--config", "demo"])
    assert result.exit_code == 2
    assert result.stderr.startswith("sweep: expected a section with fields to try")
