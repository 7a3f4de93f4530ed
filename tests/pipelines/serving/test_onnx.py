"""ONNX: one cheap architecture here, each of them in the long tests."""

import numpy as np
import pytest
import torch

from pipelines.serving import onnx
from weakseg.errors import ResourceError
from weakseg.inference import probabilities
from weakseg.models import ARCHITECTURES, build_model

COMBINATIONS = [
    ("unet_spss", None, {"filters": 4}),
    ("fcn8", "squeezenet1_0", {"dropout": 0.2}),
    ("fcn16", "squeezenet1_0", {}),
    ("fcn16", "squeezenet1_0", {"upsampling": "superpixel"}),
    ("unet", "mobilenet_v2", {}),
    ("fpn", "resnet18", {}),
    ("fpn_dilated", "resnet18", {}),
    ("deeplabv3plus", "mobilenet_v2", {}),
    ("deeplabv3plus", "tu-mobilenetv3_small_050", {}),
    ("fpn", "tu-convnext_atto", {}),
]


def model(architecture, encoder, **options):
    torch.manual_seed(0)
    return build_model(architecture, encoder=encoder, classes=options.pop("classes", 5), **options).eval()


def ask(exported, image_B3HW):
    import onnxruntime

    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: image_B3HW.astype(np.float32)})
    return found


def test_one_file_gives_the_calibrated_probabilities_of_any_size_and_batch():
    net = model("unet_spss", None, filters=4)
    exported = onnx.export(net, temperature=2.0)
    rng = np.random.default_rng(0)
    for batch, height, width in ((1, 21, 130), (5, 16, 16)):
        images = rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
        found = ask(exported, images.transpose(0, 3, 1, 2) / 255)
        assert found.shape == (batch, 5, height, width)
        for given, expected in zip(found, probabilities(net, images, temperature=2.0), strict=True):
            np.testing.assert_allclose(given, expected.numpy(), atol=onnx.TOLERANCE)


@pytest.mark.long
def test_every_architecture_is_exported():
    assert {combination[0] for combination in COMBINATIONS} == set(ARCHITECTURES)


@pytest.mark.long
@pytest.mark.parametrize(("architecture", "encoder", "options"), COMBINATIONS)
def test_each_architecture_passes_its_own_check(architecture, encoder, options):
    """Export raises where ONNX Runtime and torch differ; it is tried at two sizes besides the traced one."""
    found = ask(onnx.export(model(architecture, encoder, **options)), np.random.default_rng(0).random((2, 3, 40, 90)))
    assert found.shape == (2, 5, 40, 90)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.long
def test_one_channel_becomes_two_classes():
    found = ask(onnx.export(model("unet_spss", None, filters=4, classes=1)), np.zeros((1, 3, 20, 20)))
    assert found.shape == (1, 2, 20, 20)


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ResourceError, match=r"onnxscript cannot be imported; pip install 'weakseg\[pipelines,onnx\]'"):
        onnx.export(model("unet_spss", None, filters=4))


def test_what_cannot_be_exported_is_named(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(ResourceError, match=r"fcn8 on squeezenet1_0 cannot be exported .*no such operator.*false$"):
        onnx.export(model("fcn8", "squeezenet1_0"))


@pytest.mark.parametrize("parity", [(2e-4, 1.0), (0.0, 0.99), (float("inf"), 0.0)])
def test_other_results_are_refused(monkeypatch, parity):
    class Program:
        def save(self, out, **_):
            out.write(b"")

    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Program())
    monkeypatch.setattr(onnx, "parity", lambda *_: parity)
    with pytest.raises(ResourceError, match="unet_spss gives other results as ONNX"):
        onnx.export(model("unet_spss", None, filters=4))
