"""Colours for a ground plan, so that colour alone does not give the class away.

Dark water looks like shadow, roofs like roads and bare land, ploughed fields like land, lush ones like
trees; light, haze and the camera differ from scene to scene.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from weakseg.datasets.scene_plan import BUILDING, FIELD, LAND, ROAD, TREE, WATER, Floats, Plan, noise
from weakseg.schema import VOID

Pixels: TypeAlias = npt.NDArray[np.intp]  # positions in the flattened image

_LAND = ((0.72, 0.66, 0.57), (0.62, 0.60, 0.57), (0.55, 0.46, 0.37), (0.64, 0.53, 0.42), (0.47, 0.46, 0.38))
_FIELD = ((0.27, 0.36, 0.19), (0.36, 0.42, 0.24), (0.45, 0.45, 0.27), (0.62, 0.56, 0.39), (0.52, 0.44, 0.35))
_WATER = ((0.06, 0.09, 0.10), (0.12, 0.18, 0.15), (0.13, 0.24, 0.31), (0.33, 0.33, 0.27), (0.08, 0.11, 0.08))
_ROAD = ((0.26, 0.26, 0.27), (0.38, 0.37, 0.37), (0.50, 0.49, 0.47), (0.60, 0.56, 0.50))
_ROOF = (
    (0.82, 0.81, 0.79),
    (0.66, 0.61, 0.54),
    (0.54, 0.53, 0.52),
    (0.57, 0.41, 0.34),
    (0.34, 0.33, 0.33),
    (0.46, 0.50, 0.55),
)
_TREE = ((0.17, 0.23, 0.14), (0.22, 0.29, 0.17), (0.27, 0.31, 0.19))


def paint(plan: Plan, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Photograph a plan.

    Args:
        plan: The ground.
        rng: Colours, textures, light, camera.

    Returns:
        The image, uint8 (H, W, 3), and its mask, uint8 (H, W): the plan's classes, with 255 under clouds.
    """
    height, width = plan.classes_HW.shape
    # One draw of fine grain serves all textures: nobody compares a roof's grain with a field's.
    texture = _Texture(
        rng.standard_normal((height, width), dtype=np.float32),
        noise(rng, height, width, 3.5, 2),
        noise(rng, height, width, 22, 4),
    )
    rgb_HW3 = np.empty((height, width, 3), np.float32)
    for number, painter in _PAINTERS.items():
        here_N = np.flatnonzero(plan.classes_HW == number)
        rgb_HW3.reshape(-1, 3)[here_N] = painter(plan, here_N, texture, rng)
    rgb_HW3 *= 1 - np.float32(rng.uniform(0.4, 0.65)) * plan.shade_HW[..., None]
    return _photograph(rgb_HW3, plan.classes_HW, texture.coarse, rng)


class _Texture(NamedTuple):
    """Random maps (H, W), standard deviation 1: for each pixel alone, for a few pixels, for wide patches."""

    grain: Floats
    fine: Floats
    coarse: Floats

    def at(self, here_N: Pixels) -> "_Texture":
        """The same at some pixels: (N,), (2, N), (4, N)."""
        return _Texture(*(np.take(_flat(values), here_N, axis=-1) for values in self))


def _land(plan: Plan, here_N: Pixels, texture: _Texture, rng: np.random.Generator) -> Floats:
    """Two soils in patches, each parcel a little lighter or darker."""
    grain, fine, coarse = texture.at(here_N)
    soils = _pick(_LAND, rng, 2, 0.03)
    blend = np.clip(0.5 + 0.9 * coarse[0] + 0.3 * fine[0], 0, 1)
    tint = (1 + 0.07 * rng.standard_normal(plan.parcels, dtype=np.float32))[_flat(plan.parcel_HW)[here_N]]
    rough = tint * (1 + 0.05 * fine[1] + 0.05 * coarse[1] + np.float32(rng.uniform(0.01, 0.05)) * grain)
    return _times(soils[0] + (soils[1] - soils[0]) * blend[:, None], rough)


def _field(plan: Plan, here_N: Pixels, texture: _Texture, rng: np.random.Generator) -> Floats:
    """A crop and its rows for each parcel."""
    grain, fine, coarse = texture.at(here_N)
    parcel = _flat(plan.parcel_HW)[here_N]
    crops = _pick(_FIELD, rng, plan.parcels, 0.03)
    waves = (2 * np.pi / rng.uniform(2.6, 5, plan.parcels)).astype(np.float32)[parcel]
    strength = rng.uniform(0.02, 0.1, plan.parcels).astype(np.float32)[parcel]
    rows = strength * np.sin(waves * _flat(plan.along_HW)[here_N])
    return _times(crops[parcel], 1 + rows + 0.04 * coarse[2] + 0.02 * grain + 0.03 * fine[0])


def _water(plan: Plan, here_N: Pixels, texture: _Texture, rng: np.random.Generator) -> Floats:
    """Smooth, lighter in the shallows by an uneven margin."""
    grain, _, coarse = texture.at(here_N)
    deep, bottom = _pick(_WATER, rng, 1, 0.015)[0], _pick(_LAND, rng, 1, 0.02)[0]
    reach, most = np.float32(rng.uniform(1.5, 9)), np.float32(rng.uniform(0.1, 0.45))
    shallow = most * np.exp(-np.maximum(_flat(plan.depth_HW)[here_N] + 2 * coarse[3], 0) / reach)
    ripple = 1 + 0.10 * coarse[1] + np.float32(rng.uniform(0, 0.06)) * grain
    return _times(deep + (bottom - deep) * shallow[:, None], ripple)


def _road(plan: Plan, here_N: Pixels, texture: _Texture, rng: np.random.Generator) -> Floats:
    """Even; main roads have vehicles, and some a line."""
    grain, fine, _ = texture.at(here_N)
    lane = _flat(plan.lane_HW)[here_N]
    surface, line = _pick(_ROAD, rng, 1, 0.02), np.float32(max(0, rng.uniform(-0.4, 0.4)))
    worn = 1 + 0.03 * fine[0] + np.float32(rng.uniform(0.01, 0.035)) * grain + line * np.exp(-((lane / 0.5) ** 2))
    vehicles = (fine[1] > 2.1) & (np.abs(lane - 1.2) < 0.9)
    return _times(surface, np.where(vehicles, np.float32(rng.choice([0.5, 1.7])), worn))


def _roofs(plan: Plan, here_N: Pixels, texture: _Texture, rng: np.random.Generator) -> Floats:
    """A colour for each house; pitched roofs have a light and a dark side."""
    grain, fine, _ = texture.at(here_N)
    house = _flat(plan.roof_HW)[here_N]
    town = rng.choice(len(_ROOF), 3)  # a town has a few kinds of roof, not all
    colours = _pick(tuple(_ROOF[number] for number in town), rng, plan.roofs, 0.04)
    pitched = (rng.random(plan.roofs, dtype=np.float32) < 0.6) * np.float32(rng.uniform(0.06, 0.18))
    side = pitched[house] * np.sign(_flat(plan.pitch_HW)[here_N])
    return _times(colours[house], 1 + side + 0.03 * fine[0] + 0.025 * grain)


def _trees(plan: Plan, here_N: Pixels, texture: _Texture, rng: np.random.Generator) -> Floats:
    """Crowns lit from one side, mottled."""
    grain, _, coarse = texture.at(here_N)
    leaf, sun = _pick(_TREE, rng, 1, 0.02), float(rng.uniform(0, 2 * np.pi))
    slope_y, slope_x = np.gradient(plan.crown_HW)
    lit_HW = np.clip(slope_y * np.float32(np.sin(sun)) + slope_x * np.float32(np.cos(sun)), -0.5, 0.5)
    crown = _flat(0.4 * plan.crown_HW + 0.8 * lit_HW)[here_N]
    return _times(leaf, 0.75 + crown + 0.10 * coarse[2] + 0.12 * grain)


_PAINTERS = {LAND: _land, FIELD: _field, WATER: _water, ROAD: _road, BUILDING: _roofs, TREE: _trees}


def _photograph(
    rgb_HW3: Floats, classes_HW: npt.NDArray[np.uint8], coarse: Floats, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Uneven light, clouds and their shadows, haze, a soft lens, noise."""
    height, width = classes_HW.shape
    slope_y, slope_x = rng.uniform(-0.3, 0.3, 2).astype(np.float32)
    y_H1, x_1W = (
        np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None],
        np.linspace(-0.5, 0.5, width, dtype=np.float32),
    )
    light_HW = np.float32(rng.uniform(0.75, 1.2)) * (1 + slope_y * y_H1 + slope_x * x_1W)
    mask_HW = classes_HW
    if rng.random() < 0.3:
        light_HW = light_HW * (1 - 0.45 / (1 + np.exp(-8 * (coarse[3] + coarse[0] - 1.3))))
    balance = (1 + 0.025 * rng.standard_normal(3)).astype(np.float32)
    rgb_HW3 = rgb_HW3 * light_HW[..., None] * balance
    haze = np.float32(rng.uniform(0, 0.16))
    rgb_HW3 = rgb_HW3 * (1 - haze) + haze * np.array([0.62, 0.66, 0.72], np.float32)
    if rng.random() < 0.1:  # nobody can tell what lies under a cloud: void
        puff_HW = coarse[2] + 0.4 * coarse[1]
        cloud_HW = np.clip((puff_HW - np.float32(np.quantile(puff_HW, 0.93))) * 2.5, 0, 1)
        rgb_HW3 = rgb_HW3 + (np.float32(0.93) - rgb_HW3) * cloud_HW[..., None]
        mask_HW = np.where(cloud_HW > 0.4, np.uint8(VOID), classes_HW)
    rgb_HW3 = _soften(rgb_HW3, np.float32(rng.uniform(0.08, 0.24)))
    rgb_HW3 += np.float32(rng.uniform(0.006, 0.022)) * rng.standard_normal(rgb_HW3.shape, dtype=np.float32)
    return np.clip(np.rint(rgb_HW3 * 255), 0, 255).astype(np.uint8), mask_HW


def _soften(rgb_HW3: Floats, side: np.float32) -> Floats:
    """A 3x3 blur; `side` is the weight of each neighbour."""
    for axis in (0, 1):
        padded = np.concatenate([rgb_HW3.take([0], axis), rgb_HW3, rgb_HW3.take([-1], axis)], axis)
        before, after = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
        rgb_HW3 = rgb_HW3 * (1 - 2 * side) + side * (before + after)
    return rgb_HW3


def _pick(palette: tuple[tuple[float, ...], ...], rng: np.random.Generator, count: int, spread: float) -> Floats:
    """Colours (count, 3) somewhere between two of a palette each."""
    table = np.array(palette, np.float32)
    first, second = rng.integers(len(table), size=(2, count))
    share = rng.random((count, 1), dtype=np.float32) * 0.5
    mixed: Any = table[first] * (1 - share) + table[second] * share
    brighter = rng.standard_normal((count, 1), dtype=np.float32)
    hue = rng.standard_normal((count, 3), dtype=np.float32)  # a fifth: neighbours differ more in brightness than in hue
    return np.asarray(mixed + spread * (brighter + 0.2 * hue), np.float32)


def _flat(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The last two axes as one."""
    return values.reshape(*values.shape[:-2], -1)


def _times(colour_N3: Floats, factor_N: Floats) -> Floats:
    return np.asarray(colour_N3 * factor_N[:, None], np.float32)
