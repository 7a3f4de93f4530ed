from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weakseg.transforms import Augmentation, augment

STILL = {"jitter_probability": 0.0, "grey": 0.0, "blur": 0.0}


def _example(height=20, width=28, points=6, seed=0, mask=True, segments=True):
    rng = np.random.default_rng(seed)
    return SimpleNamespace(
        image_id="a",
        image_HW3=rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        points_N2=np.stack([rng.integers(0, height, points), rng.integers(0, width, points)], 1).astype(np.float32),
        labels_N=rng.integers(0, 5, points).astype(np.int64),
        mask_HW=rng.integers(0, 5, (height, width), dtype=np.uint8) if mask else None,
        segments_HW=rng.integers(0, 40, (height, width), dtype=np.int32) if segments else None,
        keypoints_HW=None,
        proportions_C=None,
        counted_HW=None,
    )


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_without_augmentation_only_the_type_changes():
    example = _example()
    sample = augment(example, None, rng=_rng())
    np.testing.assert_allclose(sample.image_3HW.numpy(), example.image_HW3.transpose(2, 0, 1) / 255, atol=1e-6)
    assert sample.image_3HW.dtype == torch.float32
    np.testing.assert_array_equal(sample.points_N2.numpy(), example.points_N2)
    np.testing.assert_array_equal(sample.mask_HW.numpy(), example.mask_HW)
    np.testing.assert_array_equal(sample.segments_HW.numpy(), example.segments_HW)
    assert sample.content == (0, 0, 20, 28)


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_equal_generators_give_equal_samples_and_leave_the_global_one_alone(seed):
    before = torch.get_rng_state()
    one, two = (augment(_example(), Augmentation(), rng=_rng(seed)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    for name in ("image_3HW", "points_N2", "labels_N", "mask_HW", "segments_HW"):
        assert torch.equal(getattr(one, name), getattr(two, name))


def test_other_generators_give_other_samples():
    images = [augment(_example(), Augmentation(), rng=_rng(seed)).image_3HW for seed in range(5)]
    assert all(not torch.equal(images[0], other) for other in images[1:])


def test_how_many_numbers_are_drawn_depends_on_nothing():
    left = []
    for augmentation in (Augmentation(), Augmentation(**STILL, flip=0.0)):
        rng = _rng(3)
        augment(_example(), augmentation, rng=rng)
        left.append(torch.rand(1, generator=rng).item())
    assert left[0] == left[1]


@given(st.integers(0, 10_000), st.integers(4, 40), st.integers(4, 40))
@settings(max_examples=60, deadline=None)
def test_everything_has_the_size_of_the_crop_and_padding_is_marked(seed, height, width):
    fill = (0.2, 0.4, 0.6)
    sample = augment(_example(), Augmentation(crop=(height, width)), rng=_rng(seed), fill=fill)
    assert sample.image_3HW.shape == (3, height, width)
    assert 0 <= sample.image_3HW.min() <= sample.image_3HW.max() <= 1 + 1e-6
    top, left, bottom, right = sample.content
    padding = np.ones((height, width), bool)
    padding[top:bottom, left:right] = False
    np.testing.assert_array_equal(sample.mask_HW.numpy() == 255, padding)
    np.testing.assert_array_equal(sample.segments_HW.numpy() == -1, padding)
    assert (sample.image_3HW[:, torch.from_numpy(padding)] == torch.tensor(fill)[:, None]).all()
    y, x = sample.points_N2.unbind(1)
    assert ((y >= top - 0.5) & (y <= bottom - 0.5) & (x >= left - 0.5) & (x <= right - 0.5)).all()


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_a_point_and_the_mask_agree_when_enlarged(seed):
    example = _example(points=40, seed=seed)
    example.labels_N = example.mask_HW[tuple(example.points_N2.astype(int).T)].astype(np.int64)
    sample = augment(example, Augmentation(scale=(1.0, 2.0), **STILL), rng=_rng(seed))
    rows, columns = sample.points_N2.unbind(1)
    # a centre moved to exactly between two pixels belongs to both
    clear = ((rows % 1 - 0.5).abs() > 1e-3) & ((columns % 1 - 0.5).abs() > 1e-3)
    at = sample.points_N2[clear].round().long()
    assert torch.equal(sample.mask_HW[at[:, 0], at[:, 1]].long(), sample.labels_N[clear])


def test_no_point_is_lost_when_all_of_the_image_stays_in_view():
    example = _example(points=50)
    sample = augment(example, Augmentation(scale=(0.5, 0.5)), rng=_rng())
    assert sample.labels_N.tolist() == example.labels_N.tolist()
    assert len(sample.points_N2) == 50


def test_void_points_are_left_out():
    example = _example(points=4)
    example.labels_N[:] = [0, 255, 2, 255]
    for augmentation in (None, Augmentation(scale=(1.0, 1.0))):
        assert augment(example, augmentation, rng=_rng()).labels_N.tolist() == [0, 2]


def test_without_points_mask_and_segments():
    sample = augment(_example(points=0, mask=False, segments=False), Augmentation(), rng=_rng())
    assert sample.points_N2.shape == (0, 2)
    assert sample.mask_HW is None
    assert sample.segments_HW is None


def test_grey_images_have_equal_channels():
    image = augment(_example(), Augmentation(grey=1.0, crop=(8, 8)), rng=_rng()).image_3HW
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])


def test_blur_smooths():
    still = augment(_example(60, 60), Augmentation(scale=(1, 1), **STILL), rng=_rng(1)).image_3HW
    options = {**STILL, "blur": 1.0, "blur_sigma": (1.0, 1.0)}
    blurred = augment(_example(60, 60), Augmentation(scale=(1, 1), **options), rng=_rng(1)).image_3HW
    assert blurred.diff(dim=2).abs().mean() < 0.9 * still.diff(dim=2).abs().mean()


def test_a_tiny_image_is_padded_and_survives_a_wide_blur():
    example = _example(2, 1, points=1)
    sample = augment(example, Augmentation(crop=(64, 64), blur=1.0), rng=_rng(4))
    assert sample.image_3HW.shape == (3, 64, 64)
    assert torch.isfinite(sample.image_3HW).all()


def test_read_only_arrays_are_taken_without_a_warning(recwarn):
    example = _example()
    for name in ("image_HW3", "points_N2", "labels_N", "mask_HW", "segments_HW"):
        getattr(example, name).flags.writeable = False
    augment(example, Augmentation(), rng=_rng())
    augment(example, None, rng=_rng())
    assert not recwarn.list


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"scale": (2.0, 0.5)}, "scale"),
        ({"scale": (0.0, 0.5)}, "scale"),
        ({"blur_sigma": (0.0, 1.0)}, "blur_sigma"),
        ({"flip": 1.5}, "flip"),
        ({"jitter": (0.8, 0.8, 0.8, 0.6)}, "jitter"),
        ({"jitter": (-0.1, 0.8, 0.8, 0.2)}, "jitter"),
        ({"blur_kernel": 2.0}, "blur_kernel"),
        ({"crop": (0, 5)}, "crop"),
    ],
)
def test_impossible_settings_are_refused_by_name(options, named):
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        Augmentation(**options)


def test_keypoints_go_with_the_mask():
    example = _example()
    example.keypoints_HW = example.mask_HW
    sample = augment(example, Augmentation(), rng=_rng(3))
    assert torch.equal(sample.keypoints_HW, sample.mask_HW)


def test_proportions_of_a_crop_are_counted_anew_or_refused():
    example = _example()
    example.proportions_C = np.float32([0.5, 0.1, 0.1, 0.2, 0.1])
    kept = augment(example, Augmentation(scale=(0.5, 1.0)), rng=_rng(1))
    np.testing.assert_array_equal(kept.proportions_C.numpy(), example.proportions_C)
    with pytest.raises(ValueError, match="hold for the whole image.* scale at most 1"):
        augment(example, Augmentation(scale=(2.0, 2.0)), rng=_rng(1))
    example.proportions_C = np.full(5, np.nan, np.float32)  # nobody knows them
    assert augment(example, Augmentation(scale=(2.0, 2.0)), rng=_rng(1)).proportions_C.isnan().all()
    example.proportions_C = np.float32([0.5, 0.1, 0.1, 0.2, 0.1])
    example.counted_HW = example.mask_HW
    counted = augment(example, Augmentation(scale=(2.0, 2.0)), rng=_rng(1))
    expected = np.bincount(counted.mask_HW.numpy().ravel(), minlength=5) / counted.mask_HW.numel()
    np.testing.assert_allclose(counted.proportions_C.numpy(), expected, rtol=1e-6)
    whole = augment(example, None, rng=_rng(1))
    np.testing.assert_array_equal(whole.proportions_C.numpy(), example.proportions_C)


def test_padding_is_not_counted():
    example = _example()
    example.proportions_C = (np.bincount(example.mask_HW.ravel(), minlength=5) / example.mask_HW.size).astype(
        np.float32
    )
    example.counted_HW = example.mask_HW
    sample = augment(example, Augmentation(scale=(1.0, 1.0), crop=(40, 60)), rng=_rng(2))
    np.testing.assert_allclose(sample.proportions_C.numpy(), example.proportions_C, rtol=1e-6)
