"""COCO JSON, and Datumaro JSON, which CVAT writes too: polygons, run-length masks, boxes and points."""

from collections.abc import Iterator

from pipelines.annotation.formats.shapes import Entry, Shape, box, extent, outlines, runs


def read_coco(content: Entry) -> Iterator[Shape]:
    """The annotations of a COCO file. An annotation with keypoints is one point per visible keypoint of its category.

    Args:
        content: The whole file.
    """
    images = {entry.get("id").whole(): entry for entry in content.get("images").items()}
    labels = {entry.get("id").whole(): entry.get("name").text() for entry in content.get("categories").items()}
    for entry in content.get("annotations").items():
        image, label = entry.get("image_id"), entry.get("category_id")
        if image.whole() not in images:
            image.fail(f"there is no image {image.value}")
        if label.whole() not in labels:
            label.fail(f"there is no category {label.value}")
        found = images[image.value]
        size = extent(found.get("height"), found.get("width"))
        about = (found.get("file_name").text(), labels[label.value])
        points, area = entry.get("keypoints"), entry.get("segmentation")
        if points.value:
            values = [item.number() for item in points.items()]
            if len(values) % 3:
                points.fail(f"expected x, y, visibility, ..., got {len(values)} numbers")
            for number in range(0, len(values), 3):
                x, y, visible = values[number : number + 3]
                if visible > 0:
                    yield Shape(f"{points.where}[{number}]", *about, point=(x, y), size=size)
        elif isinstance(area.value, dict):
            counts = area.get("counts")
            lengths = packed(counts) if isinstance(counts.value, str) else [item.whole() for item in counts.items()]
            shape = _sides(area.get("size"))
            if size is not None and shape != size:
                area.get("size").fail(f"expected the image's [{size[0]}, {size[1]}], got [{shape[0]}, {shape[1]}]")
            yield Shape(area.where, *about, areas=outlines(runs(lengths, shape, counts, by_column=True)), size=shape)
        elif area.value:
            yield Shape(area.where, *about, areas=tuple((ring.ring(),) for ring in area.items()), size=size)
        else:
            entry.fail("expected a segmentation or keypoints, got neither")


def packed(counts: Entry) -> list[int]:
    """COCO's compressed run lengths: base 32 in characters from '0', each a difference to the run before the last.

    Args:
        counts: The text.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in counts.text():
        code = ord(character) - 48
        if not 0 <= code < 64:
            counts.fail(f"expected COCO's compressed run lengths, got the character {character!r}")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return lengths


def read_datumaro(content: Entry) -> Iterator[Shape]:
    """The items of a Datumaro file.

    Args:
        content: The whole file.
    """
    labels = [entry.get("name").text() for entry in content.get("categories").get("label").get("labels").items()]
    for item in content.get("items").items():
        picture = item.get("image")
        known = picture.get("size").items() if picture.value and picture.get("size").value else []
        size = extent(known[0], known[1]) if len(known) == 2 else None
        name = item.get("id").text()
        for entry in item.get("annotations").items():
            number = entry.get("label_id")
            if not 0 <= number.whole() < len(labels):
                number.fail(f"there is no label {number.value}")
            about, kind = (name, labels[number.whole()]), entry.get("type").text()
            if kind == "points":
                for point in entry.get("points").pairs():
                    yield Shape(entry.where, *about, point=point, size=size)
            elif kind == "polygon":
                yield Shape(entry.where, *about, areas=((entry.get("points").ring(),),), size=size)
            elif kind == "bbox":
                sides = [side.number() for side in entry.get("bbox").items()]
                if len(sides) != 4:
                    entry.get("bbox").fail(f"expected left, top, width, height, got {len(sides)} numbers")
                left, top, width, height = sides
                yield Shape(entry.where, *about, areas=(box(left, top, left + width, top + height),), size=size)
            elif kind == "mask":
                rle = entry.get("rle")
                counts, shape = rle.get("counts"), _sides(rle.get("size"))
                lengths = packed(counts) if isinstance(counts.value, str) else [run.whole() for run in counts.items()]
                mask_HW = runs(lengths, shape, counts, by_column=True)
                yield Shape(entry.where, *about, areas=outlines(mask_HW), size=shape)
            else:
                entry.get("type").fail(f"expected points, polygon, bbox or mask, got {kind!r}")


def _sides(size: Entry) -> tuple[int, int]:
    """Height and width of a mask."""
    sides = [side.whole() for side in size.items()]
    if len(sides) != 2 or min(sides) < 1:
        size.fail(f"expected [height, width] from 1, got {sides}")
    return sides[0], sides[1]
