from collections import Counter

import numpy as np
import pytest
from layouts import indices, write_aerial_dubai
from PIL import Image

from weakseg.datasets import open_layout, records
from weakseg.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return write_aerial_dubai(tmp_path)


def test_tiles_2_4_and_5_are_test_and_the_others_give_whole_images_to_val(folder):
    sources = list(open_layout("aerial_dubai", str(folder)).sources())
    splits = {}
    for source in sources:
        splits.setdefault(source.image_id.split("/")[0], Counter())[source.split] += 1
    assert list(splits) == [f"Tile {number}" for number in range(1, 9)]
    for tile, counts in splits.items():
        assert counts == ({"test": 3} if tile in ("Tile 2", "Tile 4", "Tile 5") else {"train": 2, "val": 1})


def test_tiles_are_in_the_order_of_their_numbers(tmp_path):
    write_aerial_dubai(tmp_path, tiles=11, parts=1)
    sources = list(open_layout("aerial_dubai", str(tmp_path)).sources())
    assert [source.image_id for source in sources[8:]] == [f"Tile {n}/image_part_001" for n in (9, 10, 11)]


def test_the_seed_and_the_share_choose_the_validation_images(folder):
    def val(**settings):
        sources = open_layout("aerial_dubai", str(folder), **settings).sources()
        return {source.image_id for source in sources if source.split == "val"}

    assert len({frozenset(val(seed=seed)) for seed in range(5)}) > 1
    assert len(val(splits={"val": 0.6})) == 10
    assert not val(splits={"val": 0.0})
    with pytest.raises(DataError, match="tiles 2, 4 and 5: give val only"):
        val(splits={"test": 0.2})


@pytest.mark.parametrize("tile", [1, 2])
def test_masks_by_colour_with_and_without_a_palette(folder, tile):
    layout = open_layout("aerial_dubai", str(folder))
    source = next(source for source in layout.sources() if source.image_id == f"Tile {tile}/image_part_002")
    mode = Image.open(folder / source.mask).mode
    assert mode == ("P" if tile == 2 else "RGB")
    stored = indices(f"{tile} 2", 40 + 3 * tile, 50 + 2 * tile, list(range(7)))
    np.testing.assert_array_equal(records(layout, source)[0].mask, np.where(stored == 6, 255, stored))


def test_windows_of_one_image_share_its_group_and_split(folder):
    layout = open_layout("aerial_dubai", str(folder))
    source = next(layout.sources())
    found = records(layout, source, tile=(20, 20))
    assert [record.image_id for record in found] == [f"Tile 1/image_part_001@{y},{x}" for y in (0, 20) for x in (0, 20)]
    assert {record.group for record in found} == {"Tile 1/image_part_001"}


def test_an_unknown_colour_is_named_with_its_file(folder):
    layout = open_layout("aerial_dubai", str(folder))
    source = next(layout.sources())
    Image.new("RGB", (52, 43), (1, 2, 3)).save(folder / source.mask)
    with pytest.raises(DataError, match=r"Tile 1/masks/image_part_001.png: colour #010203 at y=0, x=0"):
        records(layout, source)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "Tile one").mkdir()
    with pytest.raises(DataError, match='not Aerial Dubai: no folder "Tile 1"'):
        open_layout("aerial_dubai", str(tmp_path))
    (tmp_path / "Tile 1" / "images").mkdir(parents=True)
    with pytest.raises(DataError, match="Tile 1/masks/ is missing"):
        open_layout("aerial_dubai", str(tmp_path))


def test_an_image_without_mask_is_refused(folder):
    (folder / "Tile 3/masks/image_part_002.png").unlink()
    with pytest.raises(DataError, match=r"Tile 3/images/image_part_002.jpg has no mask: expected Tile 3/masks"):
        open_layout("aerial_dubai", str(folder))
