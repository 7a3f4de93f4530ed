import os
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

from weakseg import codec
from weakseg.datasets import open_layout, records, render
from weakseg.datasets.scenes import CLASSES
from weakseg.errors import DataError


def world(count, *, seed=0, size=(144, 192)):
    pairs = [render(*size, seed=seed, image_id=f"scene-{number:06d}") for number in range(count)]
    return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])


@pytest.fixture(scope="module")
def scenes():
    return world(150)


def test_the_same_scene_every_time_whatever_was_drawn_before():
    first = render(48, 64, seed=7, image_id="scene-000005")
    render(144, 192, seed=1, image_id="other")
    again = render(48, 64, seed=7, image_id="scene-000005")
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_same_scene_in_another_process_with_other_threads():
    script = (
        "import sys; from weakseg.datasets import render;"
        "sys.stdout.buffer.write(b''.join(a.tobytes() for a in render(60, 80, seed=3, image_id='x')))"
    )
    threads = "3" if os.environ.get("OMP_NUM_THREADS") != "3" else "1"
    there = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": threads}
    )
    image, mask = render(60, 80, seed=3, image_id="x")
    assert there.stdout == image.tobytes() + mask.tobytes()


def test_seed_and_number_make_the_scene():
    images = {render(40, 40, seed=seed, image_id=name)[0].tobytes() for seed in (0, 1) for name in ("a", "b")}
    assert len(images) == 4


@pytest.mark.parametrize("size", [(32, 32), (33, 100), (100, 33), (360, 480)])
def test_any_size(size):
    image, mask = render(*size, seed=0, image_id="scene")
    assert image.shape == (*size, 3)
    assert mask.shape == size
    assert image.dtype == mask.dtype == np.uint8


def test_a_larger_scene_is_the_same_place():
    """Classes agree for most pixels when a scene of twice the size is halved."""
    small = render(144, 192, seed=0, image_id="scene-000004")[1]
    large = render(288, 384, seed=0, image_id="scene-000004")[1][::2, ::2]
    assert (small == large).mean() > 0.85


def test_classes_are_unbalanced_as_in_aerial_dubai(scenes):
    _, masks = scenes
    counts = np.bincount(masks.ravel(), minlength=256) / masks.size
    shares = dict(zip(CLASSES.names, counts, strict=False))
    assert counts[6:255].sum() == 0
    assert 0.35 < shares["land"] < 0.55
    assert max(shares, key=shares.get) == "land"
    for name in ("field", "water", "tree"):
        assert 0.07 < shares[name] < 0.22
    for name in ("road", "building"):
        assert 0.05 < shares[name] < 0.14
    assert 0 < counts[255] < 0.01
    per_image = [len(np.unique(mask[mask != 255])) for mask in masks]
    assert np.mean(per_image) > 3.5
    assert min(per_image) < 6  # not every scene has everything


def test_colour_alone_does_not_give_the_class_away(scenes):
    """The best guess from a pixel's colour, learned from 100 scenes, stays poor on the 50 others."""
    images, masks = scenes
    keys = (images // 16).astype(np.int64) @ np.array([256, 16, 1])
    known = masks != 255
    table = np.zeros((4096, 6))
    np.add.at(table, (keys[:100][known[:100]], masks[:100][known[:100]]), 1)
    guess = table.argmax(1)[keys[100:][known[100:]]]
    confusion = np.bincount(masks[100:][known[100:]] * 6 + guess, minlength=36).reshape(6, 6)
    hit = np.diag(confusion)
    iou = hit / (confusion.sum(0) + confusion.sum(1) - hit)
    assert 0.25 < iou.mean() < 0.5  # colour says something, as it does in the real ones
    assert iou[[3, 4]].max() < 0.35  # roads and roofs look like land and like each other


def test_surfaces_have_texture_and_noise(scenes):
    images, masks = scenes
    steps = np.abs(np.diff(images.astype(int).mean(-1), axis=2))
    inside = (masks[:, :, 1:] == masks[:, :, :-1]) & (masks[:, :, 1:] != 255)
    for number in range(6):
        assert steps[inside & (masks[:, :, 1:] == number)].mean() > 1.0


def test_rendering_is_fast():
    started = time.process_time()
    world(20)
    assert (time.process_time() - started) / 20 < 0.1  # about 0.010 s on an idle core; wide, for busy machines


class TestLayout:
    def test_default_splits_and_ids(self):
        sources = list(open_layout("scenes", None, images=20).sources())
        assert Counter(source.split for source in sources) == {"train": 14, "val": 3, "test": 3}
        assert sources[0].image_id == "scene-000000"
        assert sources[0].split == "train"
        assert sources[-1].split == "test"

    def test_more_scenes_keep_the_first(self):
        few, many = open_layout("scenes", None, images=4), open_layout("scenes", None, images=40)
        first = next(few.sources())
        assert few.read(first) == many.read(next(many.sources()))

    def test_image_and_mask_match_what_is_rendered(self):
        layout = open_layout("scenes", None, images=4, size=(40, 50), seed=5)
        (record,) = records(layout, next(layout.sources()), size=(40, 50))
        image, mask = render(40, 50, seed=5, image_id="scene-000000")
        np.testing.assert_array_equal(codec.decode_image(record.image), image)
        np.testing.assert_array_equal(record.mask, mask)

    @pytest.mark.parametrize(
        ("settings", "fault"),
        [
            ({"images": 2}, "2 images leave none to train on beside 1 val and 1 test"),
            ({"size": (31, 200)}, "at least 32 pixels, got 31x200"),
            ({"splits": {"val": 2}}, r"fractions in \[0, 1\)"),
        ],
    )
    def test_bad_settings(self, settings, fault):
        with pytest.raises(DataError, match=fault):
            open_layout("scenes", None, **settings)

    def test_a_path_would_be_ignored_and_is_refused(self):
        with pytest.raises(DataError, match="reads no folder, got data.path here: remove it"):
            open_layout("scenes", "here")
