import pytest
import safetensors.torch
import torch
from torchvision.models import squeezenet1_0

from weakseg.errors import WeaksegError
from weakseg.models import build_model


def squeezenet(**arguments):
    return build_model("fcn8", encoder="squeezenet1_0", classes=3, **arguments)


def save(state, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_a_half_precision_file_with_a_classifier_comes_in_as_float32(tmp_path, name):
    state = {key: value.half() for key, value in squeezenet1_0(weights=None).state_dict().items()}
    assert any(key.startswith("classifier.") for key in state)
    model = squeezenet(weights=save(state, tmp_path / name))
    for key, value in model.encoder.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, state[key].float())
    assert model.spec["weights"] is None


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.encoder_q."])
def test_prefixes_and_wrappers(tmp_path, prefix):
    state = {f"{prefix}{key}": value for key, value in squeezenet().encoder.state_dict().items()}
    if prefix:
        state["decoder.classifier.weight"] = torch.zeros(2)
    path = save({"state_dict": state, "epoch": 3}, tmp_path / "weights.pt")
    model = squeezenet(weights=str(path))
    assert torch.equal(model.encoder.features[0].weight, state[f"{prefix}features.0.weight"])


@pytest.mark.parametrize(("architecture", "encoder"), [("fcn8", "resnet18"), ("unet", "tu-resnet18")])
def test_other_encoders(tmp_path, architecture, encoder):
    donor = build_model("fpn", encoder=encoder, classes=2).encoder.state_dict()
    state = {key.removeprefix("model."): value for key, value in donor.items() if "num_batches" not in key}
    state["fc.weight"] = torch.zeros(1000, 512)
    model = build_model(architecture, encoder=encoder, classes=2, weights=save(state, tmp_path / "weights.safetensors"))
    for key, value in model.encoder.state_dict().items():
        assert torch.equal(value, donor[key])


def test_what_does_not_fit_is_named(tmp_path):
    state = dict(squeezenet().encoder.state_dict())
    for index in (3, 4, 5):
        state.pop(f"features.{index}.squeeze.weight")
    state["features.0.weight"] = torch.zeros(96, 3, 3, 3)
    state["stem.weight"] = torch.zeros(1)
    with pytest.raises(WeaksegError) as caught:
        squeezenet(weights=save(state, tmp_path / "weights.safetensors"))
    message = str(caught.value)
    assert "3 missing: features.3.squeeze.weight, features.4.squeeze.weight, features.5.squeeze.weight" in message
    assert "1 unexpected: stem.weight" in message
    assert "1 of wrong shape: features.0.weight (96, 3, 3, 3) instead of (96, 3, 7, 7)" in message
    assert "Expected the 50 names of SqueezeNetEncoder, such as features.0.weight" in message
    assert "classifier head" in message
    assert str(tmp_path) in message


def test_long_lists_are_cut(tmp_path):
    path = save({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(WeaksegError, match=r"50 missing: (features\S+, ){4}\.\.\.; 1 unexpected: a\."):
        squeezenet(weights=path)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_unreadable_files(tmp_path, name):
    with pytest.raises(WeaksegError, match=f"{name} does not exist"):
        squeezenet(weights=tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(WeaksegError, match=f"{name} cannot be read: .*; expected a state dict") as raised:
        squeezenet(weights=tmp_path / name)
    assert "\n" not in str(raised.value)
    assert "weights_only=False" not in str(raised.value)


def test_a_pickle_with_code_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"features.0.weight": Code()}, tmp_path / "weights.pt")
    with pytest.raises(WeaksegError, match="cannot be read"):
        squeezenet(weights=tmp_path / "weights.pt")
    assert not (tmp_path / "ran").exists()


def test_a_file_without_a_state_dict(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "weights.pt")
    with pytest.raises(WeaksegError, match="must hold a state dict"):
        squeezenet(weights=tmp_path / "weights.pt")


def test_the_real_file_loads(test_data):
    path = test_data / "weights/squeezenet1_0-imagenet-fp16.safetensors"
    model = squeezenet(weights=path)
    file = safetensors.torch.load_file(path)
    assert all(torch.equal(value, file[key].float()) for key, value in model.encoder.state_dict().items())


@pytest.mark.parametrize(("architecture", "encoder"), [("fpn_dilated", "resnet18"), ("fcn8", "tu-resnet18")])
def test_a_moco_v2_checkpoint(tmp_path, architecture, encoder):
    """As its training writes it: both encoders under DDP's prefix with a head of two layers, queue, optimiser."""
    names = {
        name.removeprefix("model."): name
        for name in build_model(architecture, encoder=encoder, classes=2).encoder.state_dict()
    }
    torch.manual_seed(1)
    donor = build_model(architecture, encoder=encoder, classes=2).encoder.state_dict()
    state = {}
    for branch, factor in (("encoder_q", 1), ("encoder_k", 2)):
        state |= {f"module.{branch}.{name}": donor[full] * factor for name, full in names.items()}
        for layer in (0, 2):
            state[f"module.{branch}.fc.{layer}.weight"] = torch.rand(128, 512)
            state[f"module.{branch}.fc.{layer}.bias"] = torch.rand(128)
    state["module.queue"], state["module.queue_ptr"] = torch.rand(128, 64), torch.zeros(1, dtype=torch.long)
    optimizer = {"state": {0: {"momentum_buffer": torch.rand(3)}}, "param_groups": [{"lr": 0.03, "params": [0]}]}
    path = save(
        {"epoch": 200, "arch": "resnet50", "state_dict": state, "optimizer": optimizer}, tmp_path / "moco.pth.tar"
    )
    model = build_model(architecture, encoder=encoder, classes=2, weights=path)
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, donor[name]), name


def test_a_moco_checkpoint_of_another_depth_is_refused(tmp_path):
    state = build_model("fpn", encoder="resnet18", classes=2).encoder.state_dict()
    path = save(
        {"state_dict": {f"module.encoder_q.{name}": value for name, value in state.items()}}, tmp_path / "m.pth"
    )
    with pytest.raises(WeaksegError, match=r"missing: layer1\.2\.conv1\.weight"):
        build_model("fpn", encoder="resnet34", classes=2, weights=path)


def test_an_encoder_of_unet_spss_comes_from_a_file(tmp_path):
    donor = build_model("unet_spss", encoder=None, classes=2, filters=3).encoder.state_dict()
    path = save(donor, tmp_path / "encoder.safetensors")
    model = build_model("unet_spss", encoder=None, classes=4, filters=3, weights=path)
    assert all(torch.equal(value, donor[name]) for name, value in model.encoder.state_dict().items())
