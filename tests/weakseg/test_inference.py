import copy
import itertools
import weakref

import numpy as np
import pytest
import torch

from weakseg import seeding
from weakseg.errors import DivergedError
from weakseg.inference import committee, logits, most_probable, predict, probabilities
from weakseg.models import build_model, full_resolution


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("fcn8", encoder="squeezenet1_0", classes=4).eval()


def images(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


MIXED = [(32, 48), (37, 53), (32, 48), (32, 48), (21, 16), (37, 53), (32, 48), (32, 48)]


@pytest.mark.parametrize("batch_size", [None, 1, 3, 20])
def test_equals_the_model_image_by_image_in_input_order(model, batch_size):
    pool = images(MIXED)
    results = list(probabilities(model, pool, batch_size=batch_size))
    assert len(results) == len(pool)
    for image, probs_CHW in zip(pool, results, strict=True):
        rgb = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            expected = full_resolution(model(rgb), image.shape[:2]).softmax(1)[0]
        assert probs_CHW.shape == (4, *image.shape[:2])
        assert probs_CHW.dtype == torch.float32
        torch.testing.assert_close(probs_CHW, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(probs_CHW.sum(0), torch.ones(image.shape[:2]))


@pytest.mark.parametrize("batch_size", [None, 3])
def test_bitwise_independent_of_batch_mates(model, batch_size):
    pool = images([(32, 48)] * 7)
    alone = [next(iter(logits(model, [image], batch_size=batch_size))) for image in pool]
    order = [4, 0, 6, 2, 5, 1, 3]
    together = list(logits(model, [pool[i] for i in order], batch_size=batch_size))
    for index, result in zip(order, together, strict=True):
        assert torch.equal(result, alone[index])


def test_bitwise_independent_for_a_batch_normalised_encoder():
    torch.manual_seed(0)
    model = build_model("deeplabv3plus", encoder="mobilenet_v2", classes=3)  # left in training mode
    pool = images([(40, 48)] * 3)
    together = list(logits(model, pool))
    alone = [next(iter(logits(model, [image]))) for image in reversed(pool)]
    assert all(torch.equal(a, b) for a, b in zip(together, reversed(alone), strict=True))


def test_predict_is_the_largest_logit(model):
    pool = images(MIXED)
    for mask, logits_CHW in zip(predict(model, pool), logits(model, pool), strict=True):
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, logits_CHW.argmax(0).numpy())


def test_read_only_images_give_no_warning(model, recwarn):
    image = images([(32, 48)])[0]
    image.setflags(write=False)
    list(predict(model, [image]))
    assert not recwarn.list


def test_every_module_keeps_its_mode():
    model = build_model("fcn8", encoder="resnet18", classes=2).train()
    model.encoder.bn1.eval()
    before = model.encoder.bn1.running_mean.clone(), model.encoder.layer1[0].bn1.running_mean.clone()
    modes = [module.training for module in model.modules()]
    answers = probabilities(model, images([(32, 32)] * 3))
    next(answers)
    assert [module.training for module in model.modules()] == modes, "also between two images"
    list(answers)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(model.encoder.bn1.running_mean, before[0])
    assert torch.equal(model.encoder.layer1[0].bn1.running_mean, before[1])


def test_modes_come_back_after_an_error(model, monkeypatch):
    model.train()
    monkeypatch.setattr(model.decoder, "forward", lambda features: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(predict(model, images([(32, 32)])))
    assert model.training
    model.eval()


WIDTHS = {
    "equal": lambda index: 16,
    "one rare": lambda index: 24 if index == 0 else 16,
    "all different": lambda index: 16 + index,
}


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_memory_is_bounded_whatever_the_sizes(model, width):
    alive = most = 0

    class Image(np.ndarray):
        """Weak references to a plain array are not possible."""

    def gone():
        nonlocal alive
        alive -= 1

    def stream():
        nonlocal alive, most
        for index in range(60):
            image = np.zeros((16, width(index), 3), dtype=np.uint8).view(Image)
            alive += 1
            weakref.finalize(image, gone)
            yield image
            most = max(most, alive)

    widths = [mask.shape[1] for mask in predict(model, stream(), batch_size=3)]
    assert widths == [width(index) for index in range(60)]
    assert most <= 4 * 3 + 3


def test_it_streams(model):
    """The first answer comes after the first batch of an endless stream."""
    endless = itertools.cycle(images([(32, 32)] * 2))
    assert next(predict(model, endless)).shape == (32, 32)
    # An early image of a rare size holds the rest up no longer than some batches.
    rare = itertools.chain(images([(16, 32)]), endless)
    assert next(predict(model, rare, batch_size=3)).shape == (16, 32)


def test_nothing_in_nothing_out(model):
    assert list(predict(model, [])) == []


def test_refusals(model):
    image = images([(32, 32)])[0]
    with pytest.raises(ValueError, match=r"image 1 must be uint8 HW3, came float32"):
        list(predict(model, [image, image.astype(np.float32)]))
    with pytest.raises(ValueError, match=r"\(32, 32\)"):
        list(predict(model, [image[..., 0]]))
    with pytest.raises(ValueError, match="unknown precision 'fp8'; known: fp32, bf16, fp16"):
        list(predict(model, [image], precision="fp8"))
    with pytest.raises(ValueError, match="needs a CUDA device"):
        list(predict(model, [image], precision="bf16"))
    with pytest.raises(ValueError, match="batch_size"):
        list(predict(model, [image], batch_size=0))


def test_scores_that_are_no_numbers_are_no_classes(model):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        next(broken.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="no finite numbers"):
        list(predict(broken, images([(32, 32)])))


def test_more_classes_than_a_mask_can_hold():
    """As many as a network of one's own may have."""
    with pytest.raises(ValueError, match="at most 255 classes, the logits have 300"):
        most_probable(torch.zeros(300, 2, 2))


def with_dropout(architecture="fcn8", **arguments):
    torch.manual_seed(0)
    return build_model(architecture, **{"encoder": "squeezenet1_0", "classes": 4, "dropout": 0.2, **arguments})


def members(model, pool, seeds, passes=3, **options):
    """Every image's members at once."""
    return [torch.stack(list(one)) for one in committee(model, pool, passes=passes, seeds=seeds, **options)]


@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_committee_is_the_model_with_dropout_and_nothing_else_in_training_mode(batch_size):
    """fcn16 has batch normalisation, inserted dropout and one of its own in the head; superpixels go up per member."""
    model, pool = with_dropout("fcn16", upsampling="superpixel"), images([(37, 53)] * 2)
    reference = with_dropout("fcn16", upsampling="superpixel").eval()
    for layer in reference.modules():
        layer.training = isinstance(layer, torch.nn.Dropout)
    for image, seed, ours in zip(pool, (5, 6), members(model, pool, (5, 6), batch_size=batch_size), strict=True):
        rgb = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        step = batch_size or 1
        expected = []
        for first in range(0, 3, step):
            torch.manual_seed(seeding.integer(seed, "pass", round=first))
            with torch.no_grad():
                output = reference(rgb.expand(min(step, 3 - first), -1, -1, -1))
            expected.append(full_resolution(output, (37, 53)).softmax(1))
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, torch.cat(expected), rtol=1e-4, atol=1e-5)
        assert not torch.equal(ours[0], ours[1])


@pytest.mark.parametrize("batch_size", [None, 2])
def test_an_images_committee_depends_on_its_seed_alone(batch_size):
    model, pool = with_dropout(), images(MIXED)
    seeds = list(range(10, 10 + len(pool)))
    together = members(model, pool, seeds, batch_size=batch_size)
    torch.manual_seed(99)
    for index in reversed(range(len(pool))):
        alone = members(model, [pool[index]], [seeds[index]], batch_size=batch_size)[0]
        assert torch.equal(alone, together[index])
    assert not torch.equal(members(model, pool[:1], [77], batch_size=batch_size)[0], together[0])


def test_more_passes_begin_with_the_same_members():
    model, pool = with_dropout(), images([(32, 32)])
    assert torch.equal(members(model, pool, [1], passes=2)[0], members(model, pool, [1], passes=4)[0][:2])


def test_a_committee_leaves_generators_modes_and_statistics_alone():
    model = with_dropout(encoder="resnet18").train()
    model.encoder.bn1.eval()
    modes = [module.training for module in model.modules()]
    statistics = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    one, two = committee(model, images([(32, 32)] * 2), passes=2, seeds=[0, 1])
    next(one)
    assert [module.training for module in model.modules()] == modes, "also between two passes"
    assert torch.equal(torch.random.get_rng_state(), state), "also between two passes"
    list(one), list(two)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, statistics[name]) for name, value in model.state_dict().items())


def test_a_member_is_computed_when_it_is_asked_for():
    model, calls = with_dropout(), []
    model.decoder.register_forward_hook(lambda *_: calls.append(1))
    answers = committee(model, itertools.cycle(images([(32, 32)])), passes=10**9, seeds=itertools.count())
    one = next(answers)
    assert len(calls) == 0
    next(one), next(one)
    assert len(calls) == 2
    next(next(answers))
    assert len(calls) == 3


def test_members_are_not_kept():
    model, held = with_dropout(), []
    for probs_CHW in next(committee(model, images([(32, 32)]), passes=6, seeds=[0])):
        held.append(weakref.ref(probs_CHW))
        assert sum(reference() is not None for reference in held[:-1]) <= 1


def test_the_mean_member_is_near_the_model_and_members_differ_more_with_more_dropout():
    pool, spreads = images([(48, 48)]), []
    for dropout in (0.02, 0.3):
        ours = members(with_dropout(dropout=dropout), pool, [3], passes=8)[0]
        torch.testing.assert_close(ours.sum(1), torch.ones(8, 48, 48))
        spreads.append(ours.std(0).mean())
    assert spreads[1] > 2 * spreads[0] > 0


def test_one_channel_is_a_sigmoid():
    model, pool = with_dropout(classes=1), images([(32, 48), (37, 53)])
    with torch.no_grad():
        model.decoder.classifier.bias -= next(logits(model, pool)).median()
    ours = zip(pool, logits(model, pool), probabilities(model, pool), predict(model, pool), strict=True)
    found = set()
    for image, logits_1HW, probs_1HW, mask in ours:
        assert logits_1HW.shape == probs_1HW.shape == (1, *image.shape[:2])
        pair_2HW = torch.cat([torch.zeros_like(logits_1HW), logits_1HW])
        torch.testing.assert_close(probs_1HW[0], pair_2HW.softmax(0)[1])
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, pair_2HW.argmax(0).numpy())
        found |= set(np.unique(mask))
    assert found == {0, 1}
    one = members(model, pool, [0, 1])[0]
    assert one.shape == (3, 1, 32, 48)
    assert ((one > 0) & (one < 1)).all()


def test_temperature_divides_the_logits(model):
    pool = images([(32, 48)])
    logits_CHW = next(logits(model, pool))
    assert torch.equal(next(probabilities(model, pool, temperature=2.5)), (logits_CHW / 2.5).softmax(0))
    binary = with_dropout(classes=1)
    expected = (next(logits(binary, pool)) / 0.5).sigmoid()
    assert torch.equal(next(probabilities(binary, pool, temperature=0.5)), expected)
    plain, cold = (members(with_dropout(), pool, [4], temperature=t)[0] for t in (1.0, 0.5))
    torch.testing.assert_close(cold, plain.square() / plain.square().sum(1, keepdim=True), rtol=1e-4, atol=1e-6)


def test_superpixels_go_up_image_by_image():
    """Also from a batch, of which every image needs its own assignments."""
    torch.manual_seed(0)
    model = build_model("fcn16", encoder="squeezenet1_0", classes=3, upsampling="superpixel").eval()
    pool = images(MIXED)
    for image, probs_CHW in zip(pool, probabilities(model, pool, batch_size=3), strict=True):
        rgb = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            expected = full_resolution(model(rgb), image.shape[:2]).softmax(1)[0]
        torch.testing.assert_close(probs_CHW, expected, rtol=1e-4, atol=1e-5)


def test_committee_refusals(model):
    pool = images([(32, 32)])
    with pytest.raises(ValueError, match="needs dropout, this model has none: build and train it with dropout above 0"):
        committee(model, pool, passes=2, seeds=[0])
    with pytest.raises(ValueError, match="needs dropout"):
        committee(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.Dropout(0.0)), pool, passes=2, seeds=[0])
    dropped = with_dropout()
    with pytest.raises(ValueError, match="at least 1 pass, came 0"):
        committee(dropped, pool, passes=0, seeds=[0])
    with pytest.raises(ValueError, match="temperature must be a number above 0, came 0"):
        committee(dropped, pool, passes=1, seeds=[0], temperature=0)
    with pytest.raises(ValueError, match="came nan"):
        next(probabilities(model, pool, temperature=float("nan")))
    with pytest.raises(ValueError, match="image 0 must be uint8 HW3, came float32"):
        list(committee(dropped, [pool[0].astype(np.float32)], passes=1, seeds=[0]))
    with pytest.raises(ValueError, match="shorter"):
        list(committee(dropped, pool, passes=1, seeds=[]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_gpu_agrees_with_the_cpu(precision):
    torch.manual_seed(0)
    model = build_model("fcn8", encoder="squeezenet1_0", classes=4).eval()
    pool = images(MIXED * 3)
    expected = list(probabilities(model, pool, device="cpu"))
    results = list(probabilities(model, pool, device="cuda", precision=precision))
    for ours, theirs in zip(results, expected, strict=True):
        assert ours.is_cuda
        torch.testing.assert_close(ours.cpu(), theirs, rtol=0.05, atol=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_committee_on_a_gpu_depends_on_its_seed_alone():
    model, pool = with_dropout().to("cuda"), images([(32, 48), (37, 53)])
    before = torch.cuda.get_rng_state(), torch.random.get_rng_state()
    together = members(model, pool, [1, 2], passes=10)
    assert torch.equal(torch.cuda.get_rng_state(), before[0])
    assert torch.equal(torch.random.get_rng_state(), before[1])
    torch.testing.assert_close(members(model, pool[1:], [2], passes=10)[0], together[1], rtol=1e-4, atol=1e-5)
    assert not torch.equal(together[1][0], together[1][1])
