"""The ground plan of a generated scene: which class every pixel has, and what its painter needs to know.

Lengths are in units of the shorter side / 144, so that a scene of another size is the same place, finer.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]

LAND, FIELD, WATER, ROAD, BUILDING, TREE = range(6)

# Shares of parcels, before water, roads and trees take their part: bare land is half, as in Aerial Dubai.
_PARCELS = {"land": 2.5, "field": 1.2, "wood": 0.4, "town": 2.1}
_TABLE = 32  # lots repeat after as many in either direction, wider than any scene


@dataclass(frozen=True)
class Plan:
    """Where everything is; all maps are (H, W).

    Args:
        classes_HW: Class index, uint8.
        parcel_HW: Number of the parcel.
        parcels: How many there are.
        along_HW: Coordinate along the rows of fields and streets.
        depth_HW: How far into the water, below 0 on land.
        roof_HW: Number of the house, for its colour.
        roofs: How many there can be.
        pitch_HW: Position across the roof, -1 to 1.
        lane_HW: Distance from the middle of the main road.
        crown_HW: Height of tree crowns, 0 to 1.
        shade_HW: Cast shadow, 0 to 1.
    """

    classes_HW: npt.NDArray[np.uint8]
    parcel_HW: npt.NDArray[np.intp]
    parcels: int
    along_HW: Floats
    depth_HW: Floats
    roof_HW: npt.NDArray[np.intp]
    roofs: int
    pitch_HW: Floats
    lane_HW: Floats
    crown_HW: Floats
    shade_HW: Floats


def draw_plan(height: int, width: int, rng: np.random.Generator) -> Plan:
    """Lay out one scene.

    Args:
        height: In pixels.
        width: In pixels.
        rng: All that differs between scenes.

    Returns:
        The plan.
    """
    unit = min(height, width) / 144
    high, wide = height / unit, width / unit
    y_H1 = ((np.arange(height, dtype=np.float32) + 0.5) / unit)[:, None]
    x_1W = ((np.arange(width, dtype=np.float32) + 0.5) / unit)[None, :]
    bend = noise(rng, height, width, 55, 4)
    rough = noise(rng, height, width, 9, 4)
    angle = float(rng.uniform(0, np.pi))
    a_HW, b_HW = _turned(y_H1, x_1W, angle, bend[0] * 2.5 + rough[0] * 0.25, bend[1] * 2.5 + rough[1] * 0.25)

    parcel_HW, edge_HW, kinds = _parcels(a_HW + rough[2] * 0.8, b_HW + rough[3] * 0.8, high, wide, angle, rng)
    kind_HW = kinds[parcel_HW]
    depth_HW = _water(y_H1, x_1W, high, wide, bend[2] * 9 + bend[3] * 5 + rough[0] * 1.3 + rough[1] * 0.6, rng)
    wet = depth_HW > 0
    lane_HW, road = _main_roads(a_HW, b_HW, y_H1, x_1W, high, wide, bend[3], rng)
    main_road = road.copy()

    town = (kind_HW == 3) & (depth_HW < -3)
    house, street, roof_HW, pitch_HW, tall_HW = _town(a_HW, b_HW, rng)
    road |= street & town
    if rng.random() < 0.6:  # farm tracks follow the parcels' borders
        road |= (edge_HW < rng.uniform(0.7, 1.2)) & ~wet
    house &= town & (edge_HW > 2.5) & (lane_HW > 6) & ~road

    grove = noise(rng, height, width, 14)[0] + rough[2] * 0.5
    wood = (kind_HW == 2) & (grove > -0.75)
    hedges, banks = rng.uniform(0, 0.75, 2)
    chance_HW = np.array([0.012, 0.01, 0.5, rng.uniform(0.02, 0.3)], np.float32)[kind_HW]
    chance_HW = np.where((grove > 0.9) & (kind_HW == 0), np.float32(rng.uniform(0, 0.5)), chance_HW)
    chance_HW = np.where((edge_HW < 4) & (kind_HW != 0), np.maximum(chance_HW, hedges), chance_HW)
    chance_HW = np.where((depth_HW > -9) & (grove > 0), np.maximum(chance_HW, banks), chance_HW)
    crown_HW = _crowns(y_H1, x_1W, chance_HW, rough, rng)
    crown_HW = np.where(wood, np.maximum(crown_HW, 0.45 + 0.2 * rough[1].clip(-1, 1)), crown_HW)
    crown_HW[wet | main_road] = 0
    crown_HW[house] *= crown_HW[house] > 0.8
    tree = crown_HW > 0

    classes_HW = np.where(kind_HW == 1, FIELD, LAND).astype(np.uint8)
    classes_HW[wet] = WATER
    classes_HW[road & ~wet] = ROAD
    if depth_HW.max() < 14:  # rivers have bridges; lakes and the sea have none
        classes_HW[main_road] = ROAD
    classes_HW[house] = BUILDING
    classes_HW[tree] = TREE
    shade_HW = _shadows(np.where(house & ~tree, tall_HW, np.where(tree, 1.0 + 1.6 * crown_HW, 0)), unit, rng)
    return Plan(
        classes_HW=classes_HW,
        parcel_HW=parcel_HW,
        parcels=len(kinds),
        along_HW=b_HW,
        depth_HW=depth_HW,
        roof_HW=roof_HW,
        roofs=_TABLE**2,
        pitch_HW=pitch_HW,
        lane_HW=lane_HW,
        crown_HW=crown_HW.astype(np.float32),
        shade_HW=shade_HW,
    )


def noise(rng: np.random.Generator, height: int, width: int, length: float, count: int = 1) -> Floats:
    """Smooth random maps with standard deviation 1.

    Cubic B-splines over random numbers on a grid; plain multiplications in a fixed order, so that the
    result does not depend on the number of threads.

    Args:
        rng: Random numbers.
        height: In pixels.
        width: In pixels.
        length: Size of the features, in units.
        count: How many maps.

    Returns:
        Maps (count, height, width), float32.
    """
    step = length * min(height, width) / 144
    rows_H, weights_4H, tall = _spline(height, step)
    columns_W, weights_4W, wide = _spline(width, step)
    grid = rng.standard_normal((count, tall, wide), dtype=np.float32)
    down = sum(grid[:, rows_H + k] * weights_4H[k][:, None] for k in range(4))
    across = sum(np.take(np.asarray(down), columns_W + k, axis=2) * weights_4W[k] for k in range(4))
    return np.asarray(across, np.float32) / np.float32(0.479)  # the splines' own standard deviation, squared per axis


@lru_cache(maxsize=256)
def _spline(size: int, step: float) -> tuple[npt.NDArray[np.intp], Floats, int]:
    position = np.arange(size) / step
    first = np.floor(position).astype(np.intp)
    t = position - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    return first, weights.astype(np.float32), int(first[-1]) + 4


def _turned(y_H1: Floats, x_1W: Floats, angle: float, dy: Any, dx: Any) -> tuple[Floats, Floats]:
    """Coordinates along and across a direction, after a displacement."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    y, x = y_H1 + dy, x_1W + dx
    return c * x + s * y, c * y - s * x


def _parcels(
    a_HW: Floats, b_HW: Floats, high: float, wide: float, angle: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], Floats, npt.NDArray[np.intp]]:
    """Number of the nearest parcel, distance to its border, and kind of each parcel."""
    count = int(rng.integers(6, 14))
    seeds_a, seeds_b = _turned(
        rng.uniform(-0.1 * high, 1.1 * high, count).astype(np.float32),
        rng.uniform(-0.1 * wide, 1.1 * wide, count).astype(np.float32),
        angle, 0, 0,
    )  # fmt: skip
    stretch = np.exp(rng.uniform(-0.35, 0.35, count)).astype(np.float32)
    nearest = np.full(a_HW.shape, np.inf, np.float32)
    second = nearest.copy()
    parcel_HW = np.zeros(a_HW.shape, np.intp)
    for number in range(count):  # the 4-norm: parcels with straight, mostly right-angled borders
        far_a, far_b = (a_HW - seeds_a[number]) ** 2, (b_HW - seeds_b[number]) ** 2
        distance = (far_a * stretch[number]) ** 2 + (far_b / stretch[number]) ** 2
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        nearest = np.where(closer, distance, nearest)
        parcel_HW[closer] = number
    shares = rng.dirichlet(list(_PARCELS.values()))
    kinds = rng.choice(4, count, p=shares)
    gap_HW = np.sqrt(np.sqrt(second)) - np.sqrt(np.sqrt(nearest))
    slope_y, slope_x = np.gradient(gap_HW)
    # By its slope the gap between two distances becomes a distance to the border (in units, at most a little too long).
    return parcel_HW, gap_HW / np.maximum(np.hypot(slope_y, slope_x) / (high / len(a_HW)), 0.2), kinds


def _water(y_H1: Floats, x_1W: Floats, high: float, wide: float, wave_HW: Floats, rng: np.random.Generator) -> Floats:
    """Depth of a lake, a river, a coast or nothing."""
    kind, angle = rng.random(), float(rng.uniform(0, 2 * np.pi))
    along, across = _turned(y_H1 - high / 2, x_1W - wide / 2, angle, 0, 0)
    if kind < 0.25:
        ratio, radius = rng.uniform(0.5, 1), rng.uniform(22, 52)
        distance = np.hypot(along - rng.uniform(-60, 60), (across - rng.uniform(-45, 45)) / ratio)
        return np.asarray(radius - distance + 1.7 * wave_HW, np.float32)
    if kind < 0.45:
        course = across - rng.uniform(-45, 45) + 1.5 * wave_HW + 8 * np.sin(along / rng.uniform(18, 30))
        return np.asarray(rng.uniform(3, 11) - np.abs(course), np.float32)
    if kind < 0.65:
        return np.asarray(across - rng.uniform(-20, 45) + wave_HW, np.float32)
    return np.full(wave_HW.shape, -99, np.float32)


def _main_roads(
    a_HW: Floats,
    b_HW: Floats,
    y_H1: Floats,
    x_1W: Floats,
    high: float,
    wide: float,
    bend_HW: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Mask]:
    """Distance to the nearest main road's middle, and the roads themselves."""
    lane_HW = np.full(a_HW.shape, 99, np.float32)
    road = np.zeros(a_HW.shape, np.bool_)
    for number in range(int(rng.choice(3, p=[0.2, 0.5, 0.3]))):
        turn = float(rng.uniform(0, np.pi)) if rng.random() < 0.4 else None
        if turn is None:
            middle = float((b_HW if number == 0 else a_HW)[rng.integers(len(y_H1)), rng.integers(x_1W.shape[1])])
            course = (b_HW if number == 0 else a_HW) - middle
        else:
            _, course = _turned(y_H1 - rng.uniform(0.2, 0.8) * high, x_1W - rng.uniform(0.2, 0.8) * wide, turn, 0, 0)
        distance = np.abs(course + 5 * bend_HW)
        road |= distance < rng.uniform(1.6, 4.2)
        lane_HW = np.minimum(lane_HW, distance)
    return lane_HW, road


def _town(
    a_HW: Floats, b_HW: Floats, rng: np.random.Generator
) -> tuple[Mask, Mask, npt.NDArray[np.intp], Floats, Floats]:
    """Houses, streets, number of each house, position across its roof, its height: lots on a grid."""
    works = rng.random() < 0.25
    lot_a, lot_b = rng.uniform(24, 34, 2) if works else rng.uniform(9, 15, 2)
    lots_a, lots_b = (2, 2) if works else (int(rng.integers(4, 8)), 2)
    cell_a, cell_b = a_HW / np.float32(lot_a), b_HW / np.float32(lot_b)
    whole_a, whole_b = np.floor(cell_a), np.floor(cell_b)
    number = (whole_a.astype(np.intp) % _TABLE) * _TABLE + whole_b.astype(np.intp) % _TABLE
    draw = rng.random((8, _TABLE * _TABLE), dtype=np.float32)

    half_a, half_b = (0.32 + 0.13 * draw[:2]) * np.array([[lot_a], [lot_b]], np.float32)
    local_a = (cell_a - whole_a - 0.5) * np.float32(lot_a) + ((draw[2] - 0.5) * 2)[number]
    local_b = (cell_b - whole_b - 0.5) * np.float32(lot_b) + ((draw[3] - 0.5) * 1.5)[number]
    across_a, across_b = local_a / half_a[number], local_b / half_b[number]
    house = (np.abs(across_a) < 1) & (np.abs(across_b) < 1) & (draw[4] < rng.uniform(0.65, 0.95))[number]
    corner_a, corner_b = np.sign(draw[5] - 0.5)[number], np.sign(draw[6] - 0.5)[number]
    notched = (draw[7] < 0.45)[number]  # a third of the houses are L-shaped
    house &= ~(notched & (across_a * corner_a > 0.15) & (across_b * corner_b > 0.1))

    street_width = np.float32(rng.uniform(1.0, 1.6) * (1.4 if works else 1))
    block_a, block_b = np.float32(lot_a * lots_a), np.float32(lot_b * lots_b)
    street = (np.abs(b_HW - np.round(b_HW / block_b) * block_b) < street_width) | (
        np.abs(a_HW - np.round(a_HW / block_a) * block_a) < street_width
    )
    tall = (1.5 + 3 * draw[5] * draw[6])[number]
    return house, street, number, across_b, tall


def _crowns(y_H1: Floats, x_1W: Floats, chance_HW: Floats, rough: Floats, rng: np.random.Generator) -> Floats:
    """Heights of single trees: two grids of crowns, each crown somewhere in its cell."""
    crown_HW = np.zeros(chance_HW.shape, np.float32)
    for spacing in (6.5, 5.0):
        cell_y, cell_x = y_H1 / np.float32(spacing), x_1W / np.float32(spacing) + np.float32(rng.random())
        whole_y, whole_x = np.floor(cell_y).astype(np.intp), np.floor(cell_x).astype(np.intp)
        draw = rng.random((4, int(whole_y.max()) + 1, int(whole_x.max()) + 1), dtype=np.float32)
        radius = (0.24 + 0.24 * draw[0]) * np.float32(spacing)
        room = spacing - 2 * radius
        dy = (cell_y - whole_y) * np.float32(spacing) - (radius + room * draw[1])[whole_y, whole_x]
        dx = (cell_x - whole_x) * np.float32(spacing) - (radius + room * draw[2])[whole_y, whole_x]
        radius_HW = radius[whole_y, whole_x] * (1 + 0.12 * rough[0])
        height = 1 - (dy**2 + dx**2) / radius_HW**2
        # The chance is read at the pixel, so that rows of trees end where their hedge ends.
        crown_HW = np.maximum(crown_HW, np.where(draw[3][whole_y, whole_x] < chance_HW, height, 0))
    return crown_HW


def _shadows(tall_HW: npt.NDArray[Any], unit: float, rng: np.random.Generator) -> Floats:
    """Shadows of things `tall_HW` units high, cast in one direction."""
    sun = float(rng.uniform(0, 2 * np.pi))
    shade = np.zeros(tall_HW.shape, np.bool_)
    for step in range(1, 5):
        dy, dx = round(step * unit * np.sin(sun)), round(step * unit * np.cos(sun))
        shade |= np.roll(tall_HW >= step, (dy, dx), (0, 1))
    return (shade & (tall_HW < 1)).astype(np.float32)
