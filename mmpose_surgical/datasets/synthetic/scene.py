"""Scenes without pictures: which tools are in a clip, where they are, and how they and the camera move.

The acting tool and the others follow the same programme of motion. Only the speed of its phase differs: it runs
in the acting tool and stands still, at a uniformly drawn value, in the others. So every single frame has the
same distribution for both, and only motion tells which one acts.
"""
from dataclasses import dataclass

import numpy as np

from mmpose_surgical.datasets.synthetic import instruments
from mmpose_surgical.datasets.synthetic.instruments import Look, Pose
from mmpose_surgical.datasets.synthetic.spec import (ACTION_OF, ACTIONS, SOURCES, TOOL_OF, SyntheticSpec, VideoPlan,
                                                     action_shares)

ROBOTIC = ('SurgVU', 'CRCDC')


@dataclass(frozen=True)
class Camera:
    """Pinhole camera; ``travel`` (2, 3) and ``rate`` (2, 3) in mm and Hz, ``turn`` in radians describe its motion."""
    width: int
    height: int
    focal: float
    travel: np.ndarray
    rate: np.ndarray
    phase: np.ndarray
    turn: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of camera-frame points (..., 3); pixel centres are whole numbers."""
        points = np.asarray(points, float)
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        return points[..., :2] / points[..., 2:] * self.focal + centre

    def ray(self, pixel: np.ndarray) -> np.ndarray:
        """Direction (..., 3) with z = 1 through pixels (..., 2)."""
        pixel = np.asarray(pixel, float)
        centre = np.array([(self.width - 1) / 2, (self.height - 1) / 2])
        return np.concatenate([(pixel - centre) / self.focal, np.ones((*pixel.shape[:-1], 1))], -1)

    def motion(self, t: float) -> tuple[np.ndarray, float]:
        """Shift (3,) in mm and roll in radians of the camera against the clip's first view at time ``t`` (s)."""
        wave = np.sin(2 * np.pi * self.rate * t + self.phase) - np.sin(self.phase)
        roll = self.turn * float(np.sin(2 * np.pi * 0.25 * t + self.phase[0, 0]) - np.sin(self.phase[0, 0]))
        return (self.travel * wave).sum(0), roll


@dataclass(frozen=True)
class Lobe:
    """One piece of tissue: an ellipsoid with rows of ``axes`` and half-axes ``radii`` (mm)."""
    material: str
    centre: np.ndarray
    axes: np.ndarray
    radii: np.ndarray


@dataclass(frozen=True)
class Field:
    """Round field of view; ``radius`` in pixels, infinite where the picture is full."""
    centre: tuple[float, float]
    radius: float


@dataclass(frozen=True)
class ToolScript:
    """One instrument of a clip and its programme of motion."""
    tool: str
    active: bool
    look: Look
    anchor: np.ndarray
    trocar: np.ndarray
    roll: float
    bend: np.ndarray
    jaws: tuple[float, float]
    stroke: np.ndarray
    rate: float
    phase: float
    tremor: np.ndarray
    holds: float | None

    @property
    def action(self) -> str | None:
        return ACTION_OF[self.tool] if self.active else None

    def state(self, t: float) -> tuple[np.ndarray, float]:
        """Anchor displacement (3,) in mm and phase of the action in radians at time ``t`` (s)."""
        wobble = self.tremor[:3] * np.sin(2 * np.pi * self.tremor[3:6] * t + self.tremor[6:9])
        phase = self.phase + (2 * np.pi * self.rate * t if self.active else 0.12 * np.sin(2 * np.pi * 0.4 * t))
        if self.tool == 'hook':
            way = np.sin(phase)
        else:
            way = np.sin(phase - 0.9)
        return self.stroke * way + wobble, phase

    def pose(self, t: float, camera: Camera) -> Pose:
        """Pose in the camera frame at time ``t`` (s)."""
        offset, phase = self.state(t)
        shift, roll = camera.motion(t)
        anchor = self.anchor + offset
        c, s = np.cos(-roll), np.sin(-roll)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        shaft = (anchor - self.trocar) / np.linalg.norm(anchor - self.trocar)
        base = instruments.frame_along(shaft)
        swing = 0.25 * np.sin(phase) if self.tool == 'hook' else 0.0
        cr, sr = np.cos(self.roll + swing), np.sin(self.roll + swing)
        x, y = cr * base[0] + sr * base[1], cr * base[1] - sr * base[0]
        z = shaft + self.bend[0] * x + self.bend[1] * y
        z /= np.linalg.norm(z)
        x = x - (x @ z) * z
        x /= np.linalg.norm(x)
        head = np.stack([x, np.cross(z, x), z])
        low, high = self.jaws
        opening = low + (high - low) * 0.5 * (1 + np.cos(phase))
        return Pose(turn @ (anchor - shift), turn @ shaft, head @ turn.T, float(opening))


@dataclass(frozen=True)
class VideoStyle:
    """What all clips of a surgical case share. Colours are RGB factors."""
    seed: int
    focal: float
    field: Field
    gain: float
    tint: np.ndarray
    vignette: float
    softness: float
    quality: int
    light: np.ndarray
    wetness: float
    robotic: bool


@dataclass(frozen=True)
class ClipScene:
    """Everything that is drawn in one clip, at ``n_frames`` times ``frame / fps``."""
    action: str | None
    fps: float
    n_frames: int
    annotated: tuple[int, ...]
    camera: Camera
    field: Field
    lobes: tuple[Lobe, ...]
    wall: np.ndarray
    tools: tuple[ToolScript, ...]
    conditions: dict[str, float]
    seed: int

    def inside(self, pixel: np.ndarray) -> bool:
        """Whether a pixel lies in the picture and in the round field of view."""
        x, y = pixel
        if not (0 <= x <= self.camera.width - 1 and 0 <= y <= self.camera.height - 1):
            return False
        return float(np.hypot(x - self.field.centre[0], y - self.field.centre[1])) <= self.field.radius


def sample_style(rng: np.random.Generator, plan: VideoPlan, spec: SyntheticSpec) -> VideoStyle:
    """Appearance of one surgical case."""
    width, height = spec.size
    scale = width / 640
    robotic = plan.source in ROBOTIC
    rounded = rng.random() < (0.15 if robotic else 0.55)
    radius = rng.uniform(0.47, 0.60) * height / 0.75 if rounded else np.inf
    centre = ((width - 1) / 2 + rng.normal(0, 8) * scale, (height - 1) / 2 + rng.normal(0, 6) * scale)
    tint = np.exp(rng.normal(0, [0.05, 0.04, 0.08]))
    return VideoStyle(int(rng.integers(2**31)), rng.uniform(500, 620) * scale, Field(centre, float(radius)),
                      rng.uniform(0.85, 1.3), tint, rng.uniform(0.35, 0.8), rng.uniform(0.45, 0.95) * scale,
                      int(rng.integers(72, 93)), np.array([rng.normal(0, 5), rng.uniform(-9, 3), rng.uniform(-6, 4)]),
                      rng.uniform(0.6, 1.3), robotic)


def sample_clip(rng: np.random.Generator, plan: VideoPlan, style: VideoStyle, spec: SyntheticSpec,
                action: str | None) -> ClipScene:
    """Draw one clip in which ``action`` is done by one tool, or none (``None``) acts."""
    n_frames = int(rng.integers(7, 10))
    camera = Camera(*spec.size, style.focal, rng.normal(0, [[1.3, 1.3, 1.0], [0.35, 0.35, 0.3]]),
                    np.array([[0.3], [0.9]]) * rng.uniform(0.6, 1.4, (2, 3)), rng.uniform(0, 2 * np.pi, (2, 3)),
                    rng.normal(0, 0.02))
    lobes, wall = _sample_tissue(rng)
    field = Field(style.field.centre, style.field.radius)
    obvious = action is not None and rng.random() >= spec.ambiguity
    types = _sample_types(rng, plan, spec, action, obvious)
    active = int(rng.integers(len(types))) if action is not None else None
    if active is not None:
        types.insert(active, types.pop(0))
    tools = _place_tools(rng, types, active, camera, field, lobes, wall, style, obvious)
    return ClipScene(action, plan.fps, n_frames, _annotated_frames(rng, n_frames), camera, field, lobes, wall,
                     tuple(tools), _conditions(rng), int(rng.integers(2**31)))


def _sample_types(rng: np.random.Generator, plan: VideoPlan, spec: SyntheticSpec, action: str | None,
                  obvious: bool) -> list[str]:
    """Tool types of a clip, the acting one first.

    The others are of the same type, or drawn from the shares of the actions in this source: then the types in view
    do not tell which tool acts.
    """
    shares = action_shares(spec)[SOURCES.index(plan.source)]
    first = TOOL_OF[action if action is not None else rng.choice(ACTIONS, p=shares / shares.sum())]
    n_tools = int(rng.choice([1, 2, 3], p=[0.12, 0.58, 0.30]))
    if obvious:
        return [first] + list(rng.choice([t for t in ACTION_OF if t != first], n_tools - 1))
    if rng.random() < spec.same_type:
        return [first] * n_tools
    return [first] + [TOOL_OF[a] for a in rng.choice(ACTIONS, n_tools - 1, p=shares / shares.sum())]


def _sample_tissue(rng: np.random.Generator) -> tuple[tuple[Lobe, ...], np.ndarray]:
    """Lobes of a clip: liver above, fat and bowel below, the gallbladder across, all turned and shifted together."""
    layout = (('liver', (-12, -42, 112), (72, 40, 42)), ('liver', (48, -8, 116), (44, 36, 30)),
              ('fat', (6, 52, 104), (70, 26, 34)), ('gallbladder', (2, 0, 98), (12, 34, 13)),
              ('bowel', (-50, 36, 106), (34, 28, 26)), ('bed', (18, 18, 104), (26, 15, 16)),
              ('fat', (-22, 16, 106), (18, 13, 14)))
    angle = rng.uniform(-0.7, 0.7)
    c, s = np.cos(angle), np.sin(angle)
    flip = rng.choice([-1.0, 1.0])
    shift = rng.normal(0, [9, 7, 5])
    lobes = []
    for material, centre, radii in layout:
        if material != 'liver' and rng.random() < 0.15:
            continue
        x, y, z = np.array(centre) + rng.normal(0, [7, 5, 4])
        x *= flip
        tilt = angle + rng.normal(0, 0.6 if material in ('gallbladder', 'bed') else 0.2)
        ct, st = np.cos(tilt), np.sin(tilt)
        axes = np.array([[ct, st, 0.0], [-st, ct, 0.0], [0.0, 0.0, 1.0]])
        lobes.append(Lobe(material, np.array([c * x - s * y, s * x + c * y, z]) + shift, axes,
                          np.array(radii) * rng.uniform(0.85, 1.2, 3)))
    wall = np.array([rng.uniform(125, 170), *rng.normal(0, 0.25, 2)])
    return tuple(lobes), wall


def tissue_depth(lobes: tuple[Lobe, ...], wall: np.ndarray, ray: np.ndarray) -> float:
    """Depth (mm) of the smooth tissue along one ray with z = 1; the rendered surface has bumps on it."""
    depth = wall[0] / max(1.0 - wall[1] * ray[0] - wall[2] * ray[1], 0.3)
    for lobe in lobes:
        scaled = lobe.axes / lobe.radii[:, None]
        d, o = scaled @ ray, -(scaled @ lobe.centre)
        a, b, k = d @ d, d @ o, o @ o - 1.0
        root = b * b - a * k
        if root > 0:
            depth = min(depth, (-b - np.sqrt(root)) / a)
    return float(depth)


def _place_tools(rng: np.random.Generator, types: list[str], active: int | None, camera: Camera, field: Field,
                 lobes: tuple[Lobe, ...], wall: np.ndarray, style: VideoStyle, obvious: bool) -> list[ToolScript]:
    """Poses of all tools, drawn without regard to which one acts (unless ``obvious``)."""
    radius = min(field.radius, 0.5 * camera.height / 0.75)
    targets: list[np.ndarray] = []
    for _ in types:
        for _ in range(30):
            spot = rng.normal(0, 0.36, 2) * radius
            apart = min((np.hypot(*(spot - other)) for other in targets), default=np.inf)
            if np.hypot(*spot) < 0.75 * radius and apart > 0.17 * camera.height:
                break
        targets.append(spot)
    if obvious and active is not None:
        nearest = min(range(len(targets)), key=lambda k: np.hypot(*targets[k]))
        targets[active], targets[nearest] = targets[nearest], targets[active]
    entries = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.uniform(0.7, 2 * np.pi / 3, len(types)))
    rng.shuffle(entries)
    tools = []
    for k, (tool, target, entry) in enumerate(zip(types, targets, entries)):
        look = instruments.draw_look(rng, tool, style.robotic)
        pixel = np.array(field.centre) + target if np.isfinite(field.radius) else \
            np.array([camera.width / 2, camera.height / 2]) + target * [1.25, 1.0]
        holds = float(rng.random()) if tool == 'grasper' and rng.random() < 0.25 else None
        if obvious:
            holds = 0.7 if k == active and tool == 'grasper' else None
        tools.append(_script(rng, tool, k == active, look, camera, pixel, float(entry), lobes, wall, style, holds))
    return tools


def _script(rng: np.random.Generator, tool: str, active: bool, look: Look, camera: Camera, pixel: np.ndarray,
            entry: float, lobes: tuple[Lobe, ...], wall: np.ndarray, style: VideoStyle,
            holds: float | None) -> ToolScript:
    ray = camera.ray(pixel)
    gap = float(np.clip(rng.normal(2.0, 3.0), -4.0, 12.0))
    depth = np.clip(tissue_depth(lobes, wall, ray) - gap, 52.0, 105.0)
    tip = ray * depth
    out = np.array([np.cos(entry), np.sin(entry)])
    trocar = tip + np.array([*(out * rng.uniform(90, 130)), -rng.uniform(15, 75)])
    shaft = (tip - trocar) / np.linalg.norm(tip - trocar)
    anchor = tip - shaft * look.jaw_length * 0.9
    jaws, stroke, rate = {
        'grasper': ((rng.uniform(0.03, 0.08), rng.uniform(0.33, 0.58)), rng.uniform(1.2, 3.2), rng.uniform(0.75, 1.2)),
        'clip_applier': ((rng.uniform(0.02, 0.05), rng.uniform(0.22, 0.36)), rng.uniform(0.5, 1.3),
                         rng.uniform(0.6, 1.0)),
        'hook': ((0.0, 0.0), rng.uniform(2.2, 4.2), rng.uniform(0.9, 1.5)),
    }[tool]
    across = instruments.frame_along(shaft)
    if tool == 'hook':
        turn = rng.uniform(0, 2 * np.pi)
        way = across[0] * np.cos(turn) + across[1] * np.sin(turn) + shaft * rng.normal(0, 0.4)
        way[2] *= 0.4
    else:
        way = -shaft + rng.normal(0, 0.35, 3)
    bend = rng.normal(0, 0.45, 2) if style.robotic else np.zeros(2)
    tremor = np.concatenate([rng.uniform(0.1, 0.4, 3), rng.uniform(0.3, 1.5, 3), rng.uniform(0, 2 * np.pi, 3)])
    return ToolScript(tool, active, look, anchor, trocar, rng.uniform(0, 2 * np.pi), bend, jaws,
                      way / np.linalg.norm(way) * stroke, rate, rng.uniform(0, 2 * np.pi), tremor, holds)


def _annotated_frames(rng: np.random.Generator, n_frames: int) -> tuple[int, ...]:
    """Two or three frames of a clip, now and then at an end, where the window is clamped."""
    return tuple(sorted(int(k) for k in rng.choice(n_frames, int(rng.integers(2, 4)), replace=False)))


def _conditions(rng: np.random.Generator) -> dict[str, float]:
    """Severities in 0..1; most clips are clear."""
    def severity(share: float) -> float:
        return round(float(rng.beta(1.5, 2.5)), 3) if rng.random() < share else 0.0
    return {'smoke': severity(0.3), 'blood': severity(0.35), 'blur': severity(0.25)}
