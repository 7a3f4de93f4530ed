import itertools
import weakref

import numpy as np
import pytest
import torch

from weakseg.inference import logits, predict, probabilities
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
