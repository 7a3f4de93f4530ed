import pytest
import segmentation_models_pytorch as smp
import torch

from weakseg.models import build_model, full_resolution

CLASSES = {"deeplabv3plus": smp.DeepLabV3Plus, "fpn": smp.FPN, "unet": smp.Unet}


@pytest.mark.parametrize("architecture", CLASSES)
def test_logits_are_the_librarys(architecture):
    """The library's own model with our weights gives our head logits, before its last upsampling."""
    torch.manual_seed(0)
    model = build_model(architecture, encoder="mobilenet_v2", classes=3, mean=(0, 0, 0), std=(1, 1, 1)).eval()
    rates = {"decoder_atrous_rates": (6, 12, 18)} if architecture == "deeplabv3plus" else {}
    reference = CLASSES[architecture]("mobilenet_v2", encoder_weights=None, classes=3, **rates).eval()
    reference.encoder.load_state_dict(model.encoder.state_dict())
    reference.decoder.load_state_dict(model.decoder[0].state_dict())
    reference.segmentation_head.load_state_dict(model.decoder[1].state_dict())
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        features = reference.decoder(reference.encoder(image))
        torch.testing.assert_close(model(image).logits_BChw, reference.segmentation_head[0](features))
        if architecture == "unet":
            torch.testing.assert_close(full_resolution(model(image), (64, 96)), reference(image))
