"""Cheap supervision: pixels, segments, proportions, keypoints, rough areas; who gives them and what they cost."""

from weakseg.supervision.coarse import coarsen, mislabelled_share
from weakseg.supervision.cost import SECONDS, annotation_seconds, bill, masks_seconds
from weakseg.supervision.estimate import Estimate, estimate_accuracy
from weakseg.supervision.keypoints import keypoints_from_points, sample_keypoints
from weakseg.supervision.label_errors import label_errors
from weakseg.supervision.labels import current
from weakseg.supervision.noise import add_gaussian_noise, cluster_proportions
from weakseg.supervision.oracle import answer, answer_id
from weakseg.supervision.points import PointIndex
from weakseg.supervision.polygon_file import read_polygons
from weakseg.supervision.polygons import Polygon, decode_polygons, encode_polygons, rasterise
from weakseg.supervision.proportion_file import read_proportions
from weakseg.supervision.proportions import ProportionIndex, class_proportions, proportions_table
from weakseg.supervision.regions import RegionIndex, paint
from weakseg.supervision.spread import spread_labels

__all__ = [
    "SECONDS",
    "Estimate",
    "PointIndex",
    "Polygon",
    "ProportionIndex",
    "RegionIndex",
    "add_gaussian_noise",
    "annotation_seconds",
    "answer",
    "answer_id",
    "bill",
    "class_proportions",
    "cluster_proportions",
    "coarsen",
    "current",
    "decode_polygons",
    "encode_polygons",
    "estimate_accuracy",
    "keypoints_from_points",
    "label_errors",
    "masks_seconds",
    "mislabelled_share",
    "paint",
    "proportions_table",
    "rasterise",
    "read_polygons",
    "read_proportions",
    "sample_keypoints",
    "spread_labels",
]
