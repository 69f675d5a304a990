"""Instruments as solids: cones, ellipsoids and boxes in camera coordinates, and their landmarks."""
from dataclasses import dataclass

import numpy as np

STEEL, DARK_STEEL, BLACK, GREY, WHITE, BLUE, TISSUE = range(7)
CONE, ELLIPSOID, BOX = range(3)


@dataclass(frozen=True)
class Solid:
    """One convex solid, in millimetres in the camera frame (x right, y down, z into the scene).

    A cone stands on ``origin`` along the third row of ``axes`` with length ``size[2]``; its section is an ellipse
    with half-axes ``size[:2]`` at the base, shrinking to ``taper`` of them at the end. Ellipsoids and boxes are
    centred on ``origin`` with half-axes ``size``.
    """
    kind: int
    origin: np.ndarray
    axes: np.ndarray
    size: np.ndarray
    material: int
    taper: float = 1.0
    window: float = 0.0


@dataclass(frozen=True)
class Look:
    """Appearance and measures of one instrument in millimetres; drawn once per clip."""
    shaft_radius: float
    shaft_material: int
    head_material: int
    jaw_length: float
    jaw_width: float
    slim: float
    fenestrated: bool
    collar: float
    band: float
    wrist: float
    sleeve_material: int


@dataclass(frozen=True)
class Pose:
    """Pose of an instrument: ``anchor`` (3,), shaft direction (3,) towards the tip, head frame (3, 3) whose rows are
    opening direction, hinge pin and forward direction, and half the jaw opening in radians."""
    anchor: np.ndarray
    shaft: np.ndarray
    head: np.ndarray
    opening: float


def draw_look(rng: np.random.Generator, tool: str, robotic: bool) -> Look:
    """Draw the looks of an instrument of one type."""
    wide = tool == 'clip_applier'
    radius = rng.uniform(3.6, 4.8) if wide else rng.uniform(2.2, 2.9)
    if robotic:
        radius = rng.uniform(3.4, 4.2)
    shafts = {'grasper': [BLACK, BLACK, GREY, STEEL], 'hook': [BLACK, GREY, BLACK], 'clip_applier': [STEEL, STEEL, GREY]}
    length = {'grasper': (11.0, 17.0), 'hook': (5.0, 8.5), 'clip_applier': (13.0, 19.0)}[tool]
    return Look(radius, BLACK if robotic else int(rng.choice(shafts[tool])),
                int(rng.choice([STEEL, STEEL, DARK_STEEL])), rng.uniform(*length),
                rng.uniform(1.7, 2.4) * (0.85 if wide else 1.0), rng.uniform(0.35, 0.6),
                bool(rng.random() < 0.5) and tool == 'grasper', rng.uniform(5.0, 11.0),
                rng.uniform(14.0, 40.0) if rng.random() < 0.35 else 0.0, 9.0 if robotic else 0.0,
                int(rng.choice([WHITE, WHITE, BLUE])))


def landmarks(tool: str, look: Look, pose: Pose) -> dict[str, np.ndarray]:
    """Exact landmark positions (3,) in the camera frame: the points of the jaws, or of the hook, and the anchor."""
    x, _, z = pose.head
    if tool == 'hook':
        bend = pose.anchor + z * look.jaw_length
        return {'tip1': bend + x * hook_reach(look), 'anchor': pose.anchor}
    reach = look.jaw_length - 0.3
    points = {}
    for name, sign in (('tip1', 1.0), ('tip2', -1.0)):
        direction, normal = _jaw_axes(pose, sign)
        points[name] = pose.anchor + direction * reach + normal * (_half_thickness(look) * 0.5)
    return points | {'anchor': pose.anchor}


def hook_reach(look: Look) -> float:
    """Length of the bent end of a hook (mm)."""
    return 0.5 * look.jaw_length + 0.6


def build(tool: str, look: Look, pose: Pose, near: float = 14.0) -> list[Solid]:
    """Solids of an instrument; the shaft is cut where it comes nearer to the camera than ``near`` mm."""
    solids = {'grasper': _jaws, 'clip_applier': _jaws, 'hook': _hook}[tool](tool, look, pose)
    head_length = 9.0 if tool == 'hook' else 6.5
    back = pose.anchor - pose.head[2] * head_length
    if look.wrist:
        solids.append(_cone(back, pose.anchor, look.shaft_radius * 0.7, 0.85, look.head_material, pose.head[0], 0.8))
        joint, back = back, back - pose.shaft * look.wrist
        solids.append(_cone(back, joint, look.shaft_radius * 0.85, 0.85, DARK_STEEL, pose.head[0], 0.75))
        solids.append(_ball(joint, look.shaft_radius * 0.7, pose.head, look.head_material))
    elif tool != 'hook':
        solids.append(_cone(back, pose.anchor + pose.shaft * 0.8, look.shaft_radius * 0.97, 0.72, look.head_material,
                            pose.head[1], 0.85))
    return solids + _shaft(look, back, pose.shaft, near)


def _shaft(look: Look, end: np.ndarray, direction: np.ndarray, near: float) -> list[Solid]:
    length = 260.0
    if direction[2] > 1e-3:
        length = min(length, max((end[2] - near) / direction[2], 1.0))
    solids = []
    collar = min(look.collar, 0.9 * length) if look.shaft_material != STEEL else 1.5
    start = end - direction * collar
    solids.append(_cone(start, end, look.shaft_radius * 1.02, 0.97, look.head_material))
    solids.append(_cone(end - direction * length, start, look.shaft_radius, 1.0, look.shaft_material))
    if look.band and length > look.band + 6.0:
        first = end - direction * (look.band + 5.0)
        solids.append(_cone(first, first + direction * 5.0, look.shaft_radius * 1.02, 1.0, WHITE))
    return solids


def _half_thickness(look: Look) -> float:
    return look.jaw_width * look.slim


def _jaw_axes(pose: Pose, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """Direction of a jaw and its outward normal."""
    x, _, z = pose.head
    c, s = np.cos(pose.opening), np.sin(pose.opening) * sign
    return c * z + s * x, (c * x - np.sin(pose.opening) * sign * z) * sign


def _jaws(tool: str, look: Look, pose: Pose) -> list[Solid]:
    solids = [Solid(CONE, pose.anchor - pose.head[1] * look.jaw_width, np.roll(pose.head, -2, 0),
                    np.array([1.3, 1.3, 2 * look.jaw_width]), look.head_material)]
    half = _half_thickness(look)
    for sign in (1.0, -1.0):
        direction, normal = _jaw_axes(pose, sign)
        side = np.cross(direction, normal)
        axes = np.stack([normal, side, direction])
        base = pose.anchor + normal * (0.55 * half)
        if tool == 'clip_applier':
            middle = base + direction * (0.5 * look.jaw_length)
            solids.append(Solid(BOX, middle, axes, np.array([0.6 * half, 0.6 * look.jaw_width, 0.5 * look.jaw_length]),
                                look.head_material))
        elif look.fenestrated:
            middle = base + direction * (0.47 * look.jaw_length)
            solids.append(Solid(BOX, middle, axes, np.array([0.5 * half, 0.85 * look.jaw_width,
                                                             0.47 * look.jaw_length]), look.head_material, window=0.52))
        else:
            solids.append(Solid(CONE, base, axes, np.array([half, look.jaw_width, look.jaw_length * 0.95]),
                                look.head_material, taper=0.6))
        end = base + direction * (look.jaw_length * 0.94)
        width = 0.6 if tool == 'clip_applier' else 0.85 if look.fenestrated else 0.6
        thick = 0.6 if tool == 'clip_applier' else 0.5 if look.fenestrated else 0.6
        solids.append(Solid(ELLIPSOID, end, axes, np.array([thick * half, width * look.jaw_width,
                                                            0.06 * look.jaw_length]), look.head_material))
    return solids


def _hook(tool: str, look: Look, pose: Pose) -> list[Solid]:
    x, _, z = pose.head
    thick = 0.32 + 0.35 * look.slim
    bend = pose.anchor + z * look.jaw_length
    tip = bend + x * hook_reach(look)
    root = pose.anchor - z * 9.0
    return [_cone(pose.anchor - z * 0.5, bend, thick, 1.0, look.head_material),
            _cone(bend, tip, thick, 0.75, look.head_material),
            _ball(bend, thick, pose.head, look.head_material), _ball(tip, thick * 0.75, pose.head, look.head_material),
            _cone(root, pose.anchor, look.shaft_radius * (0.7 if look.wrist else 0.95), 0.42, look.sleeve_material)]


def held_tissue(look: Look, pose: Pose, seed: float) -> Solid:
    """A fold of tissue between the jaws; it belongs to no instrument."""
    centre = pose.anchor + pose.head[2] * look.jaw_length * (0.95 + 0.1 * seed)
    size = np.array([0.6 + look.jaw_length * np.sin(pose.opening), 2.6 + seed, 4.0 + 3.0 * seed])
    return Solid(ELLIPSOID, centre, pose.head, size, TISSUE)


def frame_along(direction: np.ndarray, hint: np.ndarray | None = None) -> np.ndarray:
    """Orthonormal rows (a, b, direction)."""
    if hint is None:
        hint = np.array([1.0, 0.0, 0.0]) if abs(direction[0]) < 0.8 else np.array([0.0, 1.0, 0.0])
    b = np.cross(direction, hint)
    b /= np.linalg.norm(b)
    return np.stack([np.cross(b, direction), b, direction])


def _cone(start: np.ndarray, end: np.ndarray, radius: float, taper: float, material: int,
          hint: np.ndarray | None = None, flat: float = 1.0) -> Solid:
    axis = end - start
    length = float(np.linalg.norm(axis))
    return Solid(CONE, start, frame_along(axis / length, hint), np.array([radius, radius * flat, length]), material, taper)


def _ball(centre: np.ndarray, radius: float, axes: np.ndarray, material: int) -> Solid:
    return Solid(ELLIPSOID, centre, axes, np.full(3, radius), material)
