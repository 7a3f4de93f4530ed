import json

import numpy as np
import pytest
import torch

from weakseg.errors import WeaksegError
from weakseg.models import ARCHITECTURES, build_model, full_resolution, head_logits, load

COMBINATIONS = [
    ("deeplabv3plus", "mobilenet_v2", 16, 4, {}),
    ("deeplabv3plus", "tu-mobilenetv3_small_050", 16, 4, {}),
    ("fpn", "resnet18", 32, 4, {"dropout": 0.2}),
    ("fpn", "tu-convnext_atto", 32, 4, {}),
    ("fpn_dilated", "resnet18", 8, 4, {}),
    ("unet", "mobilenet_v2", 32, 1, {}),
    ("unet_spss", None, 16, 1, {"filters": 4}),
    ("fcn8", "squeezenet1_0", 16, 8, {"dropout": 0.2}),
    ("fcn8", "resnet18", 16, 8, {}),
    ("fcn8", "tu-convnext_atto", 16, 8, {}),
    ("fcn16", "squeezenet1_0", 16, 16, {}),
    ("fcn16", "squeezenet1_0", 16, 16, {"upsampling": "superpixel"}),
    ("fcn16", "resnet18", 16, 16, {"upsampling": "superpixel"}),
    ("fcn16", "tu-convnext_atto", 16, 16, {"upsampling": "superpixel"}),
]
SIZES = [(37, 53), (16, 16), (144, 192)]


@pytest.fixture(scope="module", params=COMBINATIONS, ids=lambda c: "-".join(map(str, (*c[:2], *c[4].values()))))
def built(request):
    architecture, encoder, multiple, stride, options = request.param
    torch.manual_seed(0)
    return build_model(architecture, encoder=encoder, classes=5, **options).eval(), multiple, stride


def test_every_architecture_is_tested():
    assert {combination[0] for combination in COMBINATIONS} == set(ARCHITECTURES)


@pytest.mark.parametrize("size", SIZES)
def test_sizes(built, size):
    model, multiple, stride = built
    with torch.no_grad():
        output = model(torch.rand(2, 3, *size))
    assert output.padded_size == tuple(-(-pixels // multiple) * multiple for pixels in size)
    assert output.logits_BChw.shape == (2, 5, *(pixels // stride for pixels in output.padded_size))
    cells = (8, 4) if model.spec["upsampling"] == "superpixel" else ()
    expected = [(2, 9, *(pixels // stride for pixels in output.padded_size)) for stride in cells]
    assert [A_B9HW.shape for A_B9HW in output.assignments or ()] == expected
    assert full_resolution(output, size).shape == (2, 5, *size)


def test_the_size_that_the_library_refuses():
    model = build_model("deeplabv3plus", encoder="mobilenet_v2", classes=11).eval()
    with torch.no_grad():
        output = model(torch.rand(1, 3, 360, 480))
    assert output.padded_size == (368, 480)
    assert full_resolution(output, (360, 480)).shape == (1, 11, 360, 480)


def test_an_image_does_not_depend_on_its_batch(built):
    model, _, _ = built
    images = torch.rand(3, 3, 37, 53)
    with torch.no_grad():
        together = head_logits(model(images))
        alone = torch.cat([head_logits(model(image[None])) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_the_callers_memory_layout_does_not_matter(built):
    model, _, _ = built
    image = torch.rand(1, 3, 48, 32)
    with torch.no_grad():
        expected = head_logits(model(image))
        assert torch.equal(head_logits(model(image.contiguous(memory_format=torch.channels_last))), expected)


def test_every_gradient_arrives(built):
    model, _, _ = built
    model.train()
    model.zero_grad()
    head_logits(model(torch.rand(2, 3, 64, 64))).square().mean().backward()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing, "DDP would wait for these"
    assert any(p.grad.abs().max() > 0 for p in model.encoder.parameters() if p.grad is not None)
    unused = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert all(name.startswith("encoder.") for name in unused)
    model.eval()


def test_own_normalisation_and_zero_padding_after_it():
    torch.manual_seed(0)
    model = build_model("fcn8", encoder="squeezenet1_0", classes=2, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0)).eval()
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.rand(1, 3, 17, 16)
    model(image)
    expected = torch.zeros(1, 3, 32, 16)
    for channel, (mean, std) in enumerate([(0.1, 0.5), (0.2, 0.25), (0.3, 2.0)]):
        expected[:, channel, :17] = (image[:, channel] - mean) / std
    torch.testing.assert_close(seen[0], expected)


@pytest.mark.parametrize(
    ("encoder", "mean", "std"),
    [
        ("squeezenet1_0", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("resnet18", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("tu-mobilenetv3_small_050", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ("tu-mobilenetv4_conv_small_035", [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
        ("tu-mobilevitv2_050", [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
    ],
)
def test_normalisation_is_the_encoders_own(encoder, mean, std):
    model = build_model("fcn8", encoder=encoder, classes=2)
    torch.testing.assert_close(model.mean.flatten(), torch.tensor(mean))
    torch.testing.assert_close(model.std.flatten(), torch.tensor(std))


def test_spec_and_weights_rebuild_the_model(built, tmp_path):
    model, _, _ = built
    spec = json.loads(json.dumps(model.spec))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    again = load(spec, model.state_dict()).eval()
    assert torch.equal(torch.random.get_rng_state(), before), "loading must not disturb the caller's draws"
    assert again.spec == model.spec
    image = torch.rand(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(head_logits(again(image)), head_logits(model(image)))


SPEC = {
    "architecture": "fcn8",
    "encoder": "squeezenet1_0",
    "classes": 3,
    "weights": None,
    "dropout": 0.0,
    "mean": [0.4, 0.4, 0.4],
    "std": [0.3, 0.3, 0.3],
}


def test_spec_keeps_mean_and_std():
    model = build_model("fcn8", encoder="squeezenet1_0", classes=3, mean=(0.4, 0.4, 0.4), std=(0.3, 0.3, 0.3))
    assert model.spec == {**SPEC, "upsampling": "bilinear", "filters": None, "atrous_rates": None}


def test_a_spec_from_before_a_field_was_there_loads():
    model = build_model("fcn8", encoder="squeezenet1_0", classes=3, mean=(0.4, 0.4, 0.4), std=(0.3, 0.3, 0.3))
    again = load(SPEC, model.state_dict())
    assert again.spec == model.spec


def test_numpys_numbers_are_plain_in_the_spec(tmp_path):
    """Such as mask.max() + 1."""
    options = {"classes": np.int64(2), "dropout": np.float32(0.5), "filters": np.array([4, 4, 4, 4])}
    model = build_model("unet_spss", encoder=None, **options)
    assert json.loads(json.dumps(model.spec)) == model.spec
    torch.save(model.spec, tmp_path / "spec.pt")
    assert torch.load(tmp_path / "spec.pt", weights_only=True) == model.spec
    assert build_model("unet_spss", encoder=None, classes=2, filters=np.int64(4)).spec["filters"] == [4, 8, 16, 32]


def test_deeplab_has_the_rates_of_stride_16():
    """At stride 16 those of stride 8 would mostly look beyond an image of training."""
    model = build_model("deeplabv3plus", encoder="mobilenet_v2", classes=3).eval()
    rates = {module.dilation[0] for module in model.decoder.modules() if isinstance(module, torch.nn.Conv2d)}
    assert model.spec["atrous_rates"] == [6, 12, 18]
    assert rates == {1, 6, 12, 18}


def test_a_deeplab_from_before_its_spec_told_the_rates_predicts_as_it_did():
    torch.manual_seed(0)
    model = build_model("deeplabv3plus", encoder="mobilenet_v2", classes=3, atrous_rates=(12, 24, 36)).eval()
    spec = {name: value for name, value in model.spec.items() if name != "atrous_rates"}
    again = load(spec, model.state_dict()).eval()
    image = torch.rand(1, 3, 160, 160)  # 10x10 cells: a rate of 12 sees none of the others
    with torch.no_grad():
        assert torch.equal(head_logits(again(image)), head_logits(model(image)))
        other = load({**spec, "atrous_rates": [6, 12, 18]}, model.state_dict()).eval()
        assert not torch.equal(head_logits(other(image)), head_logits(model(image)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"architecture": "fcn8", "encoder": "squeezenet1_0"},
        {"architecture": "fcn16", "encoder": "squeezenet1_0", "upsampling": "superpixel"},
        {"architecture": "unet_spss", "encoder": "none", "filters": [3, 4, 5, 6]},
    ],
    ids=lambda arguments: arguments["architecture"],
)
def test_one_class_is_one_channel(arguments):
    model = build_model(**arguments, classes=1).eval()
    with torch.no_grad():
        output = model(torch.rand(1, 3, 37, 53))
    assert full_resolution(output, (37, 53)).shape == (1, 1, 37, 53)
    assert load(model.spec, model.state_dict()).spec == model.spec


def test_the_encoder_has_parameters_of_its_own(built):
    """A learning rate for the encoder applies to some, but not to all."""
    model, _, _ = built
    encoder = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert 0 < encoder < sum(parameter.numel() for parameter in model.parameters())


def test_no_encoder_may_be_called_none():
    model = build_model("unet_spss", encoder="none", classes=2)
    assert model.spec["encoder"] is None
    assert model.spec["filters"] == [16, 32, 64, 128]


def test_load_is_strict():
    model = build_model("fcn8", encoder="squeezenet1_0", classes=3)
    state = model.state_dict()
    state.pop("decoder.classifier.bias")
    with pytest.raises(WeaksegError, match=r"1 missing: decoder\.classifier\.bias"):
        load(model.spec, state)
    with pytest.raises(
        WeaksegError, match=r"2 of wrong shape: decoder\.classifier\.weight \(3, 128, 1, 1\) instead of"
    ):
        load({**model.spec, "classes": 4}, model.state_dict())
    with pytest.raises(WeaksegError, match="committee"):
        load({**model.spec, "committee": 3}, model.state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"architecture": "segnet"},
            "unknown architecture 'segnet'; known: deeplabv3plus, fpn, fpn_dilated, unet, unet_spss, fcn8, fcn16",
        ),
        ({"encoder": "resnet19"}, r"unknown encoder 'resnet19'; closest known:.*resnet18"),
        ({"encoder": "tu-mobilenetv3_smal_050"}, r"closest known: tu-mobilenetv3_small_050"),
        ({"encoder": "vgg11", "architecture": "deeplabv3plus"}, "deeplabv3plus cannot be built on encoder vgg11"),
        ({"encoder": "squeezenet1_0", "architecture": "unet"}, "works with fcn8 and fcn16 only"),
        ({"encoder": "squeezenet1_0", "architecture": "fpn_dilated"}, "works with fcn8 and fcn16 only"),
        ({"encoder": "tu-vit_tiny_patch16_224"}, "fcn8 cannot be built on encoder tu-vit_tiny_patch16_224"),
        ({"encoder": None}, "fcn8 needs an encoder, such as resnet34, came none"),
        ({"encoder": "none", "architecture": "fpn"}, "fpn needs an encoder"),
        ({"architecture": "unet_spss"}, "encoder of its own: encoder must be null, came 'squeezenet1_0'"),
        ({"architecture": "unet_spss", "encoder": None, "weights": "imagenet"}, "unet_spss has no ImageNet weights"),
        ({"architecture": "unet_spss", "encoder": None, "filters": [8, 16]}, r"4 of them, came \[8, 16\]"),
        ({"architecture": "unet_spss", "encoder": None, "filters": 0}, "one number above 0 or 4 of them, came 0"),
        ({"filters": 16}, "filters must be null: fcn8 has those of its encoder, came 16"),
        ({"mean": (123.7, 116.3, 103.5)}, r"mean must be 3 numbers from 0 to 1, .* came \[123.7, 116.3, 103.5\]"),
        ({"std": (0.2, float("nan"), 0.2)}, "std must be 3 numbers above 0"),
        ({"atrous_rates": (6, 12, 18)}, "atrous_rates must be null: fcn8 has no atrous convolutions"),
        (
            {"architecture": "deeplabv3plus", "encoder": "mobilenet_v2", "atrous_rates": (6, 12)},
            "atrous_rates must be 3 whole numbers above 0",
        ),
        ({"upsampling": "nearest"}, "unknown upsampling 'nearest'; known: bilinear, superpixel"),
        (
            {"upsampling": "superpixel"},
            "fcn8 on squeezenet1_0 has logits at stride 8 and features at strides 4, 8, 16; take fcn16",
        ),
        (
            {"upsampling": "superpixel", "architecture": "fpn", "encoder": "resnet18"},
            "fpn on resnet18 has logits at stride 4 and features at strides 1, 2, 4, 8, 16, 32; take fcn16",
        ),
        (
            {"upsampling": "superpixel", "architecture": "unet_spss", "encoder": None, "filters": 2},
            "unet_spss has logits at stride 1 and features at strides 1, 2, 4, 8, 16; take fcn16",
        ),
        ({"classes": 0}, "classes must be between 1 and 255.*came 0"),
        ({"classes": 256}, "came 256"),
        ({"dropout": 1.0}, "dropout must be a probability from 0 to below 1, came 1.0"),
        ({"dropout": -0.1}, "came -0.1"),
        ({"mean": (0.5,)}, "mean must be 3 numbers"),
        ({"std": (0.5, 0.0, 0.5)}, "std must be 3 numbers"),
        ({"weights": "imagenet", "encoder": "resnext101_32x16d"}, "has no ImageNet weights"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(**{"architecture": "fcn8", "encoder": "squeezenet1_0", "classes": 5, **arguments})


def test_forward_refuses_what_is_no_float_image():
    model = build_model("fcn8", encoder="squeezenet1_0", classes=2)
    with pytest.raises(ValueError, match="float B3HW"):
        model(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
    with pytest.raises(ValueError, match="float B3HW"):
        model(torch.zeros(3, 16, 16))
