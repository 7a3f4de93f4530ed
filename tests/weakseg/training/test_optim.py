import pytest
import torch
from torch import nn

from weakseg.training import build_optimizer, build_scheduler, parameter_groups


def _model():
    model = nn.Sequential()
    model.encoder = nn.Linear(2, 3)
    model.head = nn.Linear(3, 4)
    model.head.bias.requires_grad_(False)
    return model


def _rates(**options):
    optimizer = build_optimizer(_model(), name="sgd", lr=2.0, encoder_lr=0.5)
    scheduler = build_scheduler(optimizer, **options)
    rates = []
    for _ in range(options["epochs"] * options["steps_per_epoch"]):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


def test_the_encoder_has_its_own_rate_and_frozen_parameters_none():
    model = _model()
    head, encoder = parameter_groups(model, lr=0.1, encoder_lr=0.01)
    assert head["lr"] == 0.1
    assert [id(p) for p in head["params"]] == [id(model.head.weight)]
    assert encoder["lr"] == 0.01
    assert {id(p) for p in encoder["params"]} == {id(p) for p in model.encoder.parameters()}


def test_without_an_encoder_rate_there_is_one_group():
    (group,) = parameter_groups(_model(), lr=0.1)
    assert len(group["params"]) == 3


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_steps_follow_the_formula(name):
    torch.manual_seed(0)
    model = nn.Linear(3, 1, bias=False)
    weight = model.weight.detach().double().clone()
    gradient = torch.tensor([[0.3, -0.2, 0.0]]).double()
    optimizer = build_optimizer(model, name=name, lr=0.1, weight_decay=0.01, eps=1e-7, momentum=0.8)
    first, second, velocity = torch.zeros(3).double(), torch.zeros(3).double(), torch.zeros(3).double()
    for step in range(1, 4):
        model.weight.grad = gradient.float()
        optimizer.step()
        slope = gradient + 0.01 * weight
        if name == "adam":
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            weight = weight - 0.1 * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-7)
        else:
            velocity = slope if step == 1 else 0.8 * velocity + slope
            weight = weight - 0.1 * velocity
        torch.testing.assert_close(model.weight.detach().double(), weight, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_a_first_step_that_the_loss_scaling_skips_leaves_nothing_behind(name):
    """At its usual scale fp16 overflows in the first steps. Fused SGD took over uninitialised memory then."""
    model = _model()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = build_optimizer(model, name=name, lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    for gradient in (float("inf"), 0.0):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, gradient)
        scaler.scale(torch.ones(()))  # the scaler wants to have seen a loss
        scaler.step(optimizer)
        scaler.update()
    for parameter, was in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, was)


def test_multistep_falls_at_its_epochs():
    rates = _rates(name="multistep", epochs=5, steps_per_epoch=3, milestones=[2, 4], gamma=0.1)
    expected = [1, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    for (head, encoder), factor in zip(rates, expected, strict=True):
        assert head == pytest.approx(2.0 * factor)
        assert encoder == pytest.approx(0.5 * factor)


def test_poly_falls_at_every_step():
    rates = _rates(name="poly", epochs=4, steps_per_epoch=5, power=0.9)
    for step, (head, encoder) in enumerate(rates):
        assert head == pytest.approx(2.0 * (1 - step / 20) ** 0.9)
        assert encoder == pytest.approx(0.5 * (1 - step / 20) ** 0.9)


def test_constant_stays():
    assert _rates(name="constant", epochs=2, steps_per_epoch=2) == [[2.0, 0.5]] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "adamw"}, "unknown optimizer 'adamw', expected one of: adam, sgd"),
        ({"lr": 0.0}, "^lr: expected a learning rate above 0"),
        ({"encoder_lr": float("nan")}, "^encoder_lr: expected a learning rate above 0"),
    ],
)
def test_impossible_optimizers(options, message):
    with pytest.raises(ValueError, match=message):
        build_optimizer(_model(), **{"name": "adam", "lr": 0.1, **options})


def test_an_encoder_rate_needs_an_encoder():
    with pytest.raises(ValueError, match="attribute 'encoder', Linear has none"):
        build_optimizer(nn.Linear(1, 1), name="sgd", lr=0.1, encoder_lr=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cosine"}, "unknown schedule 'cosine', expected one of: constant, multistep, poly"),
        ({"name": "multistep", "milestones": [4, 2]}, "milestones: expected rising epochs"),
        ({"name": "poly", "epochs": 0}, "at least 1 epoch"),
    ],
)
def test_impossible_schedules(options, message):
    optimizer = build_optimizer(_model(), name="sgd", lr=0.1)
    with pytest.raises(ValueError, match=message):
        build_scheduler(optimizer, **{"epochs": 2, "steps_per_epoch": 2, **options})
