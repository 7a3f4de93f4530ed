from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from weakseg.datasets.examples import Example, InMemory
from weakseg.errors import DataError
from weakseg.training import Batch, collate, has_label, loader, plain_batch
from weakseg.transforms import IMAGENET_MEAN, Augmentation, augment


def _example(name, height=6, width=8, points=3, mask=True, segments=True, void=False):
    rng = np.random.default_rng(sum(map(ord, name)))
    mask_HW = rng.integers(0, 4, (height, width), dtype=np.uint8)
    return Example(
        name,
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        rng.integers(0, min(height, width, 6), (points, 2)).astype(np.float32),
        np.full(points, 255, np.int64) if void else rng.integers(0, 4, points),
        (np.full_like(mask_HW, 255) if void else mask_HW) if mask else None,
        rng.integers(0, 9, (height, width), dtype=np.int32) if segments else None,
    )


def _with(**fields):
    """An example that has nothing but what is given."""
    return replace(_example("a", points=0, mask=False, segments=False), **fields)


class _Blocks(InMemory):
    def __init__(self, examples, sizes):
        super().__init__(examples)
        self._sizes = sizes

    @property
    def block_sizes(self):
        return self._sizes


def _same(one, two):
    for name in Batch.__dataclass_fields__:
        a, b = getattr(one, name), getattr(two, name)
        assert (a is None) == (b is None)
        assert a is None or torch.equal(a, b)


def _plain(example):
    return augment(example, None, rng=torch.Generator())


def test_samples_of_several_sizes_are_padded_on_the_right_and_below():
    samples = [_plain(_example("a", 4, 8)), _plain(_example("b", 6, 5, points=0, mask=False, segments=False))]
    batch = collate(samples, [1.0, 0.0], fill=(0.1, 0.2, 0.3))
    assert batch.size == (6, 8)
    assert torch.equal(batch.image_B3HW[0, :, :4], samples[0].image_3HW)
    assert torch.equal(batch.image_B3HW[1, :, :, :5], samples[1].image_3HW)
    assert (batch.image_B3HW[1, :, :, 5:] == torch.tensor([0.1, 0.2, 0.3])[:, None, None]).all()
    assert (batch.image_B3HW[0, :, 4:] == torch.tensor([0.1, 0.2, 0.3])[:, None, None]).all()
    assert torch.equal(batch.mask_BHW[0, :4], samples[0].mask_HW)
    assert (batch.mask_BHW[0, 4:] == 255).all()
    assert (batch.mask_BHW[1] == 255).all()
    assert (batch.segments_BHW[0, 4:] == -1).all()
    assert (batch.segments_BHW[1] == -1).all()
    assert batch.weight_B.tolist() == [1.0, 0.0]


def test_points_know_their_image():
    samples = [_plain(_example("a", points=2)), _plain(_example("b", points=0)), _plain(_example("c", points=1))]
    batch = collate(samples, [1.0] * 3)
    assert batch.points_N3[:, 0].tolist() == [0, 0, 2]
    assert torch.equal(batch.points_N3[2, 1:], samples[2].points_N2[0])
    assert torch.equal(batch.labels_N, torch.cat([sample.labels_N for sample in samples]))


def test_without_masks_and_segments_there_are_none():
    batch = collate([_plain(_example("a", mask=False, segments=False))] * 2, [1.0, 1.0])
    assert batch.mask_BHW is None
    assert batch.segments_BHW is None
    _same(batch.to(torch.device("cpu")), batch)


def _all(examples, **options):
    options = {"augmentation": Augmentation(), "batch_size": 4, "seed": 3, "epoch": 1, **options}
    return list(loader(examples, **options))


EXAMPLES = InMemory([_example(f"image {index}") for index in range(10)])


def test_the_batches_are_the_same_with_loader_processes():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    alone = _all(EXAMPLES)
    with_two = _all(EXAMPLES, workers=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(alone) == len(with_two) == 3
    for one, two in zip(alone, with_two, strict=True):
        _same(one, two)


def test_images_are_prepared_on_one_thread():
    class Watched(InMemory):
        def __getitem__(self, index):
            seen.append(torch.get_num_threads())
            return super().__getitem__(index)

    seen, threads = [], torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        _all(Watched([EXAMPLES[0], EXAMPLES[1]]))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {1}


def test_equal_images_of_other_names_are_changed_in_other_ways():
    twins = InMemory([EXAMPLES[0], replace(EXAMPLES[0], image_id="twin")])
    (batch,) = _all(twins, batch_size=2)
    assert not torch.equal(*batch.image_B3HW)


def test_two_ranks_share_the_batches_of_one():
    alone = _all(EXAMPLES)
    ranks = [_all(EXAMPLES, rank=rank, world=2) for rank in range(2)]
    for one, first, second in zip(alone, *ranks, strict=True):
        assert torch.equal(one.image_B3HW, torch.cat([first.image_B3HW, second.image_B3HW]))
        assert torch.equal(one.weight_B, torch.cat([first.weight_B, second.weight_B]))
        shifted = second.points_N3 + torch.tensor([2.0, 0, 0])
        assert torch.equal(one.points_N3, torch.cat([first.points_N3, shifted]))


def test_an_image_is_changed_the_same_way_wherever_it_stands_and_otherwise_in_the_next_epoch():
    pair = InMemory([EXAMPLES[0], EXAMPLES[1]])
    (first,) = _all(pair, batch_size=2)
    (swapped,) = _all(InMemory([EXAMPLES[1], EXAMPLES[0]]), batch_size=2)
    as_set = [{image.numpy().tobytes() for image in batch.image_B3HW} for batch in (first, swapped)]
    assert as_set[0] == as_set[1]
    (later,) = _all(pair, batch_size=2, epoch=2)
    assert not as_set[0] & {image.numpy().tobytes() for image in later.image_B3HW}


def test_padding_has_the_colour_asked_for():
    examples = InMemory([_example(name) for name in "ab"])
    shrink = Augmentation(scale=(0.5, 0.5), crop=(20, 20))
    for fill in (IMAGENET_MEAN, (0.25, 0.5, 0.75)):
        (batch,) = _all(examples, augmentation=shrink, batch_size=2, fill=fill)
        colours = batch.image_B3HW.permute(0, 2, 3, 1).reshape(-1, 3)
        assert (colours == torch.tensor(fill)).all(dim=1).float().mean() > 0.9


def test_what_only_some_images_have_is_told_apart_in_the_batch():
    keypoints = np.full((6, 8), 255, np.uint8)
    keypoints[2, 3] = 1
    rich = _plain(_with(keypoints_HW=keypoints, proportions_C=np.float32([0.2, 0.8])))
    batch = collate([rich, _plain(_example("b", 4, 8))], [1.0, 1.0])
    assert batch.keypoints_BHW[0, 2, 3] == 1
    assert (batch.keypoints_BHW != 255).sum() == 1
    assert batch.proportions_BC[0].tolist() == pytest.approx([0.2, 0.8])
    assert batch.proportions_BC[1].isnan().all()
    assert batch.content_B4.tolist() == [[0, 0, 6, 8], [0, 0, 4, 8]]
    poor = collate([_plain(_example("b"))], [1.0])
    assert poor.keypoints_BHW is None
    assert poor.proportions_BC is None


def test_a_plain_batch_is_what_the_loader_gives_without_augmentation():
    expected = next(iter(loader(EXAMPLES, augmentation=None, batch_size=10, seed=0, epoch=0)))
    names = {example.image_id: index for index, example in enumerate(EXAMPLES[i] for i in range(len(EXAMPLES)))}
    assert len(names) == 10
    found = plain_batch(EXAMPLES, range(10))
    assert found.image_B3HW.shape == expected.image_B3HW.shape
    assert found.image_B3HW.sum().item() == pytest.approx(expected.image_B3HW.sum().item(), rel=1e-5)
    assert torch.equal(found.image_B3HW[3], _plain(EXAMPLES[3]).image_3HW)


def test_block_sizes_must_add_up():
    with pytest.raises(ValueError, match="sum to the number of examples, 10, got 7"):
        _all(_Blocks(EXAMPLES, [3, 4]))


def test_an_error_in_a_loader_process_is_not_swallowed():
    class Broken(InMemory):
        def __getitem__(self, index):
            raise RuntimeError("part-3 cannot be read")

    with pytest.raises(RuntimeError, match="part-3 cannot be read"):
        _all(Broken(_example(name) for name in "ab"), workers=1)


@pytest.mark.parametrize(
    ("example", "terms", "found"),
    [
        (_example("a"), ["point"], True),
        (_example("a"), ["mask"], True),
        (_example("a", points=0), ["point"], False),
        (_example("a", points=0), ["point", "mask"], True),
        (_example("a", mask=False), ["mask"], False),
        (_example("a", void=True), ["point", "mask"], False),
        (_example("a", void=True), [], False),
        (_example("a", void=True), ["point", "consistency"], False),
        (_example("a"), ["consistency", "assignment"], False),
        (_with(keypoints_HW=np.pad(np.uint8([[3]]), ((0, 5), (0, 7)), constant_values=255)), ["keypoint"], True),
        (_with(keypoints_HW=np.full((6, 8), 255, np.uint8)), ["keypoint"], False),
        (_with(proportions_C=np.float32([0.5, 0.5])), ["proportion"], True),
        (_with(proportions_C=np.float32([np.nan, np.nan])), ["proportion"], False),
        (_with(), ["proportion", "keypoint"], False),
    ],
)
def test_what_a_term_can_read(example, terms, found):
    assert has_label(InMemory([_example("z", void=True, points=0), example]), terms) is found


@pytest.mark.parametrize(
    ("changes", "classes", "message"),
    [
        ({"mask_HW": np.full((6, 8), 7, np.uint8)}, 3, "b: mask_HW holds class 7, but the model has classes 0 to 2"),
        (
            {"points_N2": np.zeros((2, 2), np.float32), "labels_N": np.full(2, -100)},
            3,
            "b: labels_N holds class -100, but",
        ),
        ({"keypoints_HW": np.full((6, 8), 2, np.uint8)}, 1, "b: keypoints_HW holds class 2, .* classes 0 to 1 "),
        ({"proportions_C": np.float32([0.5, 0.5])}, 3, r"b: expected proportions of 3 class\(es\), came 2"),
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_a_label_that_is_no_class_is_refused_with_its_image(changes, classes, message, plain):
    examples = InMemory([_example("a", points=0, mask=False), _with(image_id="b", **changes)])
    read = partial(plain_batch, indices=range(2)) if plain else partial(_all, augmentation=None, batch_size=2)
    with pytest.raises(DataError, match=message):
        read(examples, classes=classes)
    read(examples)
