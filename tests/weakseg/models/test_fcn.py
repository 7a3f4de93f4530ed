import pytest
import torch

from weakseg.losses import partial_cross_entropy
from weakseg.models import build_model, full_resolution


def test_squeezenet_learns_at_the_usual_rates():
    """No normalisation in the encoder, Adam 1e-3 / 1e-4: the loss of two flat halves falls, without a NaN."""
    torch.manual_seed(0)
    model = build_model("fcn8", encoder="squeezenet1_0", classes=2)
    groups = [{"params": model.decoder.parameters()}, {"params": model.encoder.parameters(), "lr": 1e-4}]
    optimizer = torch.optim.Adam(groups, lr=1e-3)
    labels = torch.zeros(4, 48, 64, dtype=torch.uint8)
    labels[:, :, 32:] = 1
    losses = []
    for _ in range(15):
        images = torch.rand(4, 3, 48, 64) * 0.3 + labels[:, None] * 0.5
        loss = partial_cross_entropy(full_resolution(model(images), (48, 64)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_stages_below_stride_16_ask_for_no_gradient():
    model = build_model("fcn8", encoder="resnet18", classes=2)
    frozen = {name.split(".")[1] for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"layer4"}


@pytest.mark.parametrize("encoder", ["squeezenet1_0", "resnet18"])
def test_gradients_lie_as_their_parameters_do(encoder):
    """Otherwise DDP copies them and warns: channels innermost can do that to 1x1 convolutions."""
    model = build_model("fcn8", encoder=encoder, classes=2)
    model(torch.rand(2, 3, 32, 32)).logits_BChw.square().mean().backward()
    assert all(p.grad.stride() == p.stride() for p in model.parameters() if p.requires_grad)


def test_both_scales_reach_the_logits():
    torch.manual_seed(0)
    decoder = build_model("fcn8", encoder="squeezenet1_0", classes=2).eval().decoder
    stride8, stride16 = torch.rand(1, 512, 4, 6), torch.rand(1, 512, 2, 3)
    logits = decoder([stride8, stride16])
    assert logits.shape == (1, 2, 4, 6)
    assert not torch.allclose(decoder([stride8 * 2, stride16]), logits)
    assert not torch.allclose(decoder([stride8, stride16 * 2]), logits)
