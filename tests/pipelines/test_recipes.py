import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest

from pipelines.config import Config, load, recipes
from pipelines.config.document import RECIPES
from pipelines.config.terms import loss_weights
from weakseg.models import build_model

PROMISED = """
camvid-coarse camvid-committee camvid-cpu camvid-fpn50 camvid-mixed camvid-pixelpick camvid-regions cityscapes-coarse
cityscapes-pixelpick demo demo-sweep dubai-points dubai-spss em-spss-plus folder pannuke-coarse scenes-mixed suim-coarse
voc-pixelpick
"""


@pytest.fixture(autouse=True)
def exports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Sets what a recipe's head exports, and nothing else that any recipe reads."""
    for name in recipes():
        for variable in re.findall(r"\$(\w+)", (RECIPES / f"{name}.yaml").read_text()):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WEAKSEG_IMAGES", str(tmp_path))  # folder's, to be replaced
    (tmp_path / "file").touch()

    def export(name: str) -> None:
        for variable in re.findall(r"^  export (\w+)=", head(name), re.MULTILINE):
            monkeypatch.setenv(variable, str(tmp_path / "file"))

    return export


def head(name: str) -> str:
    """The comment at a recipe's top."""
    lines = takewhile(lambda line: line.startswith("#"), (RECIPES / f"{name}.yaml").read_text().splitlines())
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


def commands(name: str) -> list[list[str]]:
    """The commands in a recipe's head, split as a shell does."""
    text = head(name).replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if line.startswith("  weakseg ")]


PLAIN = {"demo": [], "folder": [["weakseg", "active", "--config", "my-images.yaml"]]}
"""`weakseg demo` runs the one, and the other is a file to copy."""

VARIANTS = [(name, command) for name in recipes() for command in commands(name)[1:]]


def test_the_recipes_are_those_that_the_project_promises():
    assert recipes() == PROMISED.split()


@pytest.mark.parametrize("size", ["[256, 256]", "[480, 320]", "[720, 960]", "null"])
def test_only_the_marked_lines_of_the_folder_recipe_are_to_be_changed(size: str):
    config = load("folder", [f"data.size={size}"])
    assert config.training.augmentation is not None
    assert config.training.augmentation.crop is None


def test_the_folder_recipe_asks_people_where_its_lines_for_them_are_let_in(tmp_path: Path):
    path = tmp_path / "my-images.yaml"
    path.write_text(re.sub(r"(?m)^  # (annotator|browser): ", r"  \1: ", (RECIPES / "folder.yaml").read_text()))
    labelling = load(str(path), verb="active").labelling
    assert (labelling.annotator, labelling.browser.annotators) == ("browser", ["anna", "ben"])


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_loads_is_named_after_itself_and_says_how_to_run_it(name: str, exports):
    exports(name)
    config = load(name)
    assert config.run == name
    assert loss_weights(config)
    verb = "sweep" if config.sweep else "active" if config.supervision.points else "train"
    load(name, verb=verb)
    assert commands(name)[:1] == PLAIN.get(name, [["weakseg", verb, "--config", name]])


@pytest.mark.parametrize(("name", "command"), VARIANTS, ids=[" ".join(command[4:]) for _, command in VARIANTS])
def test_every_other_command_in_a_head_loads_and_changes_something(name: str, command: list[str], exports):
    exports(name)
    weakseg, verb, option, source, *rest = command
    assert (weakseg, verb in ("active", "train"), option, source) == ("weakseg", True, "--config", name)
    assert set(rest[::2]) == {"--set"}
    config = load(name, rest[1::2], verb=verb)
    assert config.model_copy(update={"run": name}) != load(name)


def test_no_two_commands_share_a_run():
    """A run's settings may not change: another setting needs another name."""
    runs = [next(word[4:] for word in command if word.startswith("run=")) for _, command in VARIANTS]
    assert len({*runs, *recipes()}) == len(runs) + len(recipes())


def networks() -> dict[str, dict[str, object]]:
    """Every network of a recipe or of a command in a head, without its weights."""
    configs = [load(name, verb="config") for name in recipes()]
    configs += [load(name, command[5::2], verb="config") for name, command in VARIANTS]
    models = [config.model.model_dump(exclude={"weights", "mean", "std"}) for config in configs]
    return {" ".join(str(value) for value in model.values()): model for model in models}


@pytest.mark.parametrize("model", networks().values(), ids=networks().keys())
def test_the_networks_can_be_built(model: dict[str, object]):
    build_model(**{**model, "classes": model["classes"] or 4})


def test_the_demo_needs_nothing():
    config = load("demo")
    assert config.data.layout == "scenes"
    assert config.model.weights is None
    assert config.labelling.rounds == 3


def of(name: str, *overrides: str) -> Config:
    return load(name, overrides, verb="config")  # without data


def test_pixelpick_is_followed_on_camvid():
    config = of("camvid-pixelpick")
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


def test_pixelpick_is_followed_on_cityscapes_and_voc():
    camvid, cityscapes, voc = of("camvid-pixelpick"), of("cityscapes-pixelpick"), of("voc-pixelpick")
    for config in (cityscapes, voc):
        assert (config.training.schedule.name, config.training.schedule.power) == ("poly", 0.9)
        assert config.training.epochs == 50
        assert (config.labelling.rounds, config.labelling.top_fraction) == (10, 0.05)
        assert config.model.encoder == "mobilenet_v2"
        same = {"scale", "crop"}
        assert config.training.augmentation.model_dump(exclude=same) == camvid.training.augmentation.model_dump(
            exclude=same
        )
    assert cityscapes.data.size == cityscapes.training.augmentation.crop == (256, 512)
    assert cityscapes.training.augmentation.scale == (0.5, 2.0)
    adam = {"optimizer", "lr", "encoder_lr", "weight_decay", "eps", "batch_size"}
    assert cityscapes.training.model_dump(include=adam) == camvid.training.model_dump(include=adam)
    assert cityscapes.labelling.pixels_per_image == 10
    assert (voc.training.optimizer, voc.training.lr, voc.training.encoder_lr) == ("sgd", 1e-2, 1e-3)
    assert (voc.training.momentum, voc.training.weight_decay, voc.training.batch_size) == (0.9, 5e-4, 10)
    assert (voc.training.augmentation.crop, voc.labelling.pixels_per_image) == ((320, 320), 5)
    # the long side of 500 is 400 in the paper, before its scale of 0.5 to 2
    assert voc.training.augmentation.scale == pytest.approx((0.5 * 400 / 500, 2 * 400 / 500))
    assert voc.model.mean is None


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("camvid-fpn50", {"model.architecture": "fpn_dilated", "model.encoder": "resnet50"}),
        ("camvid-committee", {"model.dropout": 0.2, "labelling.committee": {"passes": 20, "vote": "soft"}}),
        ("camvid-regions", {"superpixels.segments": 170, "labelling.acquisition": "region"}),
    ],
)
def test_an_ablation_changes_only_its_own_settings(name: str, changed: dict[str, object]):
    own, base = of(name).model_dump(), of("camvid-pixelpick").model_dump()
    differing = {
        f"{section}.{field}": own[section][field]
        for section in base
        if isinstance(base[section], dict)
        for field in base[section]
        if own[section][field] != base[section][field]
    }
    assert differing == changed


@pytest.mark.parametrize("name", ["dubai-spss", "em-spss-plus"])
def test_spss_is_followed(name: str):
    config = of(name)
    training = config.training
    assert (training.optimizer, training.lr, training.batch_size, training.epochs) == ("adam", 1e-3, 16, 100)
    assert (training.weight_decay, training.schedule.name) == (0, "constant")
    assert training.early_stopping is not None
    assert training.early_stopping.patience == 10
    assert training.augmentation is None
    assert (config.model.architecture, config.model.encoder, config.model.weights) == ("unet_spss", None, None)
    assert (config.supervision.points, config.supervision.proportions) == (False, "masks")


def test_spss_learns_from_proportions_alone_and_spss_plus_from_keypoints_too():
    spss, plus = of("dubai-spss"), of("em-spss-plus")
    assert (spss.data.layout, spss.data.tile, spss.model.classes) == ("aerial_dubai", (224, 224), None)
    assert loss_weights(spss) == {"proportion": 1.0}
    assert (plus.data.layout, plus.data.tile, plus.model.classes) == ("epfl_em", (256, 256), 1)
    weights = loss_weights(plus)
    assert weights.keys() == {"proportion", "keypoint"}
    assert sum(weights.values()) == 1  # alpha and 1 - alpha


@pytest.mark.parametrize(
    ("name", "size", "epochs", "weight", "coarse"),
    [
        ("suim-coarse", (512, 512), 75, 0.05, "masks"),
        ("cityscapes-coarse", (512, 1024), 50, 0.075, "layout"),
        ("pannuke-coarse", None, 75, 0.05, "masks"),
    ],
)
def test_the_coarse_paper_is_followed(name: str, size: tuple[int, int] | None, epochs: int, weight: float, coarse: str):
    config = of(name)
    training, model = config.training, config.model
    assert (config.data.size, training.epochs, config.supervision.coarse) == (size, epochs, coarse)
    assert (training.optimizer, training.lr) == ("adam", 5e-4)
    assert training.augmentation is not None
    assert training.augmentation.crop == (None if size is None else (512, 512))
    assert (training.augmentation.flip, training.augmentation.scale) == (0.5, (1, 1))
    assert training.early_stopping is not None
    assert training.early_stopping.patience == epochs  # never early
    assert (model.architecture, model.encoder, model.upsampling) == ("fcn16", "resnet34", "superpixel")
    assert loss_weights(config) == {"mask": 1.0, "assignment": weight}
    if name != "pannuke-coarse":
        assert (config.supervision.coarsening.erosion, config.supervision.coarsening.tolerance) == (12, 0.005)


@pytest.mark.parametrize("name", [name for name in recipes() if name.endswith("-coarse")])
def test_a_coarse_recipe_names_its_two_baselines(name: str):
    overrides = [command[5::2] for command in commands(name)]
    found = [load(name, given, verb="config") for given in overrides]
    assert [(config.model.upsampling, config.loss.assignment > 0) for config in found[:3]] == [
        ("superpixel", True),
        ("bilinear", False),
        ("superpixel", False),
    ]


def test_mixed_recipes_say_proportions_of_whole_images_only():
    """A person could give them, so they must hold without a mask to count them in again."""
    (weights_mixed, weights_camvid) = (loss_weights(of(name)) for name in ("scenes-mixed", "camvid-mixed"))
    assert weights_camvid.keys() == {"point", "proportion", "consistency"}
    assert weights_mixed.keys() == {"point", "mask", "proportion", "consistency"}
    for name in ("scenes-mixed", "camvid-mixed"):
        assert of(name, "supervision.proportions=a.csv").supervision.proportions_file == "a.csv"
