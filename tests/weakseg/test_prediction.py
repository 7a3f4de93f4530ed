import numpy as np
import pytest
import torch
import torch.nn.functional as F

from weakseg import tiled
from weakseg.datasets import resize_image
from weakseg.inference import logits, predict, probabilities
from weakseg.models import build_model
from weakseg.prediction import View, segment, viewed_logits

MIXED = [(48, 64), (80, 100), (37, 53), (48, 64), (130, 40), (1, 1)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("fcn8", encoder="squeezenet1_0", classes=4).eval()


def images(sizes=MIXED):
    rng = np.random.default_rng(0)
    # Smooth, so that neighbouring pixels agree about their class.
    return [
        resize_image(rng.integers(0, 256, (max(1, h // 8), max(1, w // 8), 3), dtype=np.uint8), (h, w))
        for h, w in sizes
    ]


def test_without_size_and_window_it_is_the_plain_prediction(model):
    pool = images()
    found = list(segment(model, pool, view=View(temperature=2.0), probabilities=True))
    for given, mask, probs in zip(
        found, predict(model, pool), probabilities(model, pool, temperature=2.0), strict=True
    ):
        np.testing.assert_array_equal(given.mask, mask)
        np.testing.assert_array_equal(given.probabilities, probs.numpy().astype(np.float16))
    assert [found.probabilities for found in segment(model, pool[:1], view=View())] == [None]


def test_order_is_kept_when_some_are_seen_in_windows(model):
    pool, view = images(), View(window=(48, 64), overlap=16)
    found = list(segment(model, iter(pool), view=view, probabilities=True, batch_size=3))
    assert [prediction.mask.shape for prediction in found] == MIXED
    for image, given in zip(pool, found, strict=True):
        if tiled.is_larger(image.shape[:2], view.window):
            parts = tiled.bands(model, image, window=(48, 64), overlap=16, batch_size=3)
            expected = torch.cat([band for _, band in parts], dim=1)
        else:
            (expected,) = logits(model, [image], batch_size=3)
        np.testing.assert_array_equal(given.mask, expected.argmax(0).numpy())
        np.testing.assert_allclose(given.probabilities, expected.softmax(0).numpy(), atol=1e-3)


def test_an_image_of_the_training_size_is_untouched_by_either(model):
    (image,) = images([(48, 64)])
    (plain,) = predict(model, [image])
    for view in (View(size=(48, 64)), View(window=(48, 64)), View(window=(48, 64), overlap=0)):
        assert view.is_plain((48, 64))
        np.testing.assert_array_equal(next(segment(model, [image], view=view)).mask, plain)
    assert not View(size=(48, 64)).is_plain((48, 65))
    assert not View(window=(48, 64)).is_plain((49, 64))
    assert View(window=(48, 64)).is_plain((10, 10))


def test_resized_and_interpolated_back(model):
    (image,) = images([(90, 70)])
    (found,) = segment(model, [image], view=View(size=(48, 64), temperature=1.5), probabilities=True)
    (small,) = probabilities(model, [resize_image(image, (48, 64))], temperature=1.5)
    expected = F.interpolate(small[None], (90, 70), mode="bilinear")[0]
    np.testing.assert_array_equal(found.probabilities, expected.numpy().astype(np.float16))


@pytest.mark.parametrize("view", [View(), View(size=(48, 64)), View(window=(48, 64))], ids=["as is", "size", "window"])
@pytest.mark.parametrize("classes", [1, 3])
def test_viewed_logits_tell_the_same_mask(view, classes):
    torch.manual_seed(0)
    net = build_model("fcn8", encoder="squeezenet1_0", classes=classes).eval()
    with torch.no_grad():  # an untrained model of one channel says the same everywhere
        for parameter in net.decoder.parameters():
            parameter.mul_(20)
    pool = images()
    for given, found in zip(viewed_logits(net, pool, view=view), segment(net, pool, view=view), strict=True):
        assert given.shape == (classes, *found.mask.shape)
        mask = (given[0] > 0).numpy() if classes == 1 else given.argmax(0).numpy()
        assert (mask == found.mask).mean() > 0.999


def test_a_view_is_read_from_a_models_description():
    assert View.of({"size": [4, 5], "window": None, "temperature": 2}) == View(size=(4, 5), temperature=2.0)
    assert View.of({"size": None, "window": [4, 5], "temperature": 1.0}) == View(window=(4, 5))
    assert View.of({"size": None, "temperature": 1.0}) == View(), "registered before there were windows"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"size": (4, 4), "window": (4, 4)}, "not both"),
        ({"window": (0, 4)}, "at least 1x1"),
        ({"overlap": 3}, "no"),
        ({"window": (8, 4), "overlap": 4}, "below 4"),
        ({"temperature": 0.0}, "above 0"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        View(**arguments)
