import pytest
from study_runs import CommandLine, carry_out, read, scores, setting

from benchmarks.studies import mixed
from benchmarks.studies.mixed import BUDGETS, STUDY, purchase


def found(run, before):
    """More pixels are better, proportions help a little, consistency most at 0.5; a little apart by seed."""
    level = 0.30 + 0.002 * int(setting(run, "labelling.pixels_per_image", 0))
    level += 0.04 if float(setting(run, "loss.proportion", 0)) == 4 else 0.0
    level += 0.02 if float(setting(run, "loss.consistency", 0)) == 0.5 else 0.0
    return scores(level + 0.002 * run.seed + 0.0001 * (len(run.group) * run.seed % 3))


def test_the_whole_study(tmp_path):
    command_line = CommandLine(found)
    text = carry_out(STUDY, tmp_path, command_line)
    summary = read(STUDY, tmp_path)["summary"]
    assert {term: choice["chosen"] for term, choice in summary["weights"].items()} == {
        "proportion": 4.0,
        "consistency": 0.5,
    }
    assert [point["budget_pixels"] for point in summary["curves"]["all"]] == [10, 20, 40]
    assert [point["seconds_per_image"] for point in summary["curves"]["proportions"]] == pytest.approx([14.2, 20.0])
    # labels / labels_per_image = 100 images in the made-up records, 1,420 s in all
    assert summary["curves"]["points"][0]["billed_seconds_per_image"] == pytest.approx(14.2)
    verdicts = {(one["arm"], one["budget_pixels"], one["split"]): one["verdict"] for one in summary["minus_points"]}
    assert verdicts["points-consistency", 40, "test"] == "better than points"
    assert verdicts["proportions", 10, "validation"] == "worse than points"
    assert ("proportions", 20, "validation") not in verdicts  # it could not spend as much
    assert "points-consistency minus points at 56.8 s (test): +2.0" in text
    assert (tmp_path / "mixed.png").stat().st_size > 1000


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("arm", mixed.ARMS)
def test_all_arms_cost_the_same(arm, budget):
    bought = purchase(arm, budget)
    if arm == "points-crops" and budget < mixed.MIDDLE:
        assert bought is None
    elif arm == "proportions" and budget * mixed.PIXEL > mixed.PROPORTIONS:
        assert bought is None or (bought.seconds == mixed.PROPORTIONS and bought.share == 1)
    else:
        assert bought.seconds == pytest.approx(budget * mixed.PIXEL, abs=1e-9)
        assert bought.share <= 1
        assert bought.pixels >= 0


def test_no_arm_with_proportions_sees_crops_nor_do_the_points_it_is_compared_with():
    weights = {"proportion": 1.0, "consistency": 0.5}
    for arm in mixed.ARMS:
        run = mixed.arm_run(arm, mixed.MIDDLE, weights, 0)
        assert (mixed.WHOLE in run.settings) == (arm != "points-crops")


def test_test_is_read_at_the_largest_budget_of_an_arm(tmp_path, quick):
    carry_out(quick(STUDY), tmp_path, CommandLine(found))
    tested = {record["group"] for record in read(STUDY, tmp_path)["runs"].values() if record["test"] is not None}
    assert tested == {"proportions@20", *(f"{arm}@40" for arm in mixed.ARMS if arm != "proportions")}


def test_a_trial_of_the_chosen_weight_is_the_run_of_the_arm():
    weights = {"proportion": 4.0, "consistency": 0.5}
    trial = mixed.trial("points-proportions", weights, 0)
    assert trial.name == mixed.arm_run("points-proportions", mixed.MIDDLE, weights, 0).name
    assert trial.name != mixed.trial("points-proportions", {"proportion": 1.0}, 0).name
