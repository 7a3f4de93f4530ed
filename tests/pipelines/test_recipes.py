from pathlib import Path

import pytest

from pipelines.config import load, recipes
from pipelines.config.document import RECIPES


def test_the_recipes_are_those_that_the_project_promises():
    assert recipes() == ["camvid-cpu", "camvid-pixelpick", "demo", "dubai-points", "folder"]


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_loads_is_named_after_itself_and_has_comments(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "weights").touch()
    for variable in ("CAMVID", "DUBAI", "WEAKSEG_IMAGES"):
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setenv("WEAKSEG_SQUEEZENET", str(tmp_path / "weights"))
    config = load(name)
    assert config.run == name
    assert config.supervision.points
    assert (RECIPES / f"{name}.yaml").read_text().startswith("# ")


def test_the_demo_needs_nothing():
    config = load("demo")
    assert config.data.layout == "scenes"
    assert config.model.weights is None
    assert config.labelling.rounds == 3


def test_the_paper_is_followed():
    config = load("camvid-pixelpick", ["data.path=x"])
    training, labelling = config.training, config.labelling
    assert config.data.size == (360, 480)
    assert (config.model.architecture, config.model.encoder) == ("deeplabv3plus", "mobilenet_v2")
    assert (training.optimizer, training.lr, training.encoder_lr) == ("adam", 5e-4, 5e-5)
    assert (training.weight_decay, training.eps, training.batch_size, training.epochs) == (2e-4, 1e-7, 4, 50)
    assert (training.schedule.name, training.schedule.milestones, training.schedule.gamma) == (
        "multistep",
        (20, 40),
        0.1,
    )
    assert (labelling.rounds, labelling.pixels_per_image, labelling.top_fraction) == (10, 10, 0.05)
    assert labelling.acquisition == "margin"
    assert config.model.mean == (0.4119, 0.4251, 0.4327)
