"""The records: Arrow schemas of every table that weakseg reads or writes.

Images stay encoded bytes; there are no tensor columns, so that any Parquet reader can open the files.
"""

import pyarrow as pa

VOID = 255
"""The one ignore code of every target map; as a label: the annotator cannot tell, nothing reads it."""

IMAGES = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("image", pa.binary()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("source", pa.string()),
        ("origin_y", pa.int32()),
        ("origin_x", pa.int32()),
        ("source_height", pa.int32()),
        ("source_width", pa.int32()),
        ("sha256", pa.string()),
    ]
)

MASKS = pa.schema([("image_id", pa.string()), ("mask", pa.binary())])

SUPERPIXELS = pa.schema([("image_id", pa.string()), ("segments", pa.binary()), ("count", pa.int32())])

QUARANTINE = pa.schema(
    [("image_id", pa.string()), ("source", pa.string()), ("stage", pa.string()), ("error", pa.string())]
)

QUERIES = pa.schema(
    [
        ("image_id", pa.string()),
        ("round", pa.int32()),
        ("kind", pa.string()),
        ("purpose", pa.string()),
        ("y", pa.int32()),
        ("x", pa.int32()),
        ("segment", pa.int32()),
        ("score", pa.float32()),
        ("rank", pa.int32()),
        ("strategy", pa.string()),
    ]
)

LABELS = pa.schema(
    [
        ("answer_id", pa.string()),
        ("image_id", pa.string()),
        ("round", pa.int32()),
        ("kind", pa.string()),
        ("y", pa.int32()),
        ("x", pa.int32()),
        ("segment", pa.int32()),
        ("class_id", pa.int16()),
        ("annotator", pa.string()),
        ("seconds", pa.float32()),
        ("labelled_at", pa.timestamp("us", tz="UTC")),
        ("supersedes", pa.string()),
    ]
)

PROPORTIONS = pa.schema(
    [
        ("answer_id", pa.string()),
        ("image_id", pa.string()),
        ("round", pa.int32()),
        ("proportions", pa.list_(pa.float32())),
        ("annotator", pa.string()),
        ("seconds", pa.float32()),
        ("labelled_at", pa.timestamp("us", tz="UTC")),
        ("supersedes", pa.string()),
    ]
)
"""The share of every class in an image, in the order of the classes; null = the annotator cannot tell."""

SUM_TOLERANCE = 0.02
"""How far the sum of an image's proportions may be from 1: people round."""

COARSE = pa.schema(
    [
        ("answer_id", pa.string()),
        ("image_id", pa.string()),
        ("round", pa.int32()),
        ("polygons", pa.string()),
        ("annotator", pa.string()),
        ("seconds", pa.float32()),
        ("labelled_at", pa.timestamp("us", tz="UTC")),
        ("supersedes", pa.string()),
    ]
)
"""The polygons that a person drew on an image, as the text that `weakseg.supervision.encode_polygons` writes."""
