"""What is in a clip and how it moves: tools, camera, appearance. Nothing is drawn here.

Units: the camera looks along +z from the origin, x to the right, y down; lengths are centimetres. The tissue lies at
about ``TISSUE_DEPTH``. All draws come from one generator per video, so that a video is the same whichever process
makes it.
"""
from dataclasses import dataclass

import numpy as np

from mmpose_surgical.landmarks import TOOL_OF_ACTION

SIZE = (640, 480)
_CENTRE = np.array(SIZE) / 2
FOCAL = 560.0
TISSUE_DEPTH = 10.0
ACTIONS = ('grasp', 'dissect', 'clip')
RESTING = 'suction'
"""The kind that never acts: where tools do not look alike, it is all but the acting one."""


@dataclass(frozen=True)
class Part:
    """A capsule from ``a`` to ``b`` (3,) with radii at both ends; ``material`` names its colours."""
    a: np.ndarray
    b: np.ndarray
    radius_a: float
    radius_b: float
    material: str


@dataclass(frozen=True)
class ToolPose:
    """One tool in one frame: its parts and its landmarks (name -> point (3,))."""
    parts: list[Part]
    landmarks: dict[str, np.ndarray]


@dataclass
class ToolTrack:
    """One tool over a clip.

    Args:
        kind: ``grasper``, ``hook``, ``clip_applier`` or ``suction``.
        trocar: Where the shaft enters, (3,).
        target: Where the middle of its working end rests, (3,).
        roll: Rotation of the working end about the shaft in radians.
        phase: Position in the working cycle at rest, radians. A resting tool stays at it, an acting one starts there:
            a single frame does not tell them apart.
        rate: Working cycles per second.
        strength: Scale of the working motion.
        acting: Whether it works in this clip.
        drift: Slow displacement in cm per second, (3,), of acting and resting tools alike.
        tremor: Phases (2,) of the hand's tremor.
        looks: Appearance of the tool, index into the video's looks.
    """
    kind: str
    trocar: np.ndarray
    target: np.ndarray
    roll: float
    phase: float
    rate: float
    strength: float
    acting: bool
    drift: np.ndarray
    tremor: np.ndarray
    looks: int

    def pose(self, seconds: float) -> ToolPose:
        """Parts and landmarks at a time in the clip."""
        phase = self.phase + (2 * np.pi * self.rate * seconds if self.acting else 0.0)
        wave = np.sin(phase)
        axis = _unit(self.target - self.trocar)
        side, up = _frame(axis, self.roll)
        shake = 0.015 * np.sin(2 * np.pi * np.array([2.3, 3.1]) * seconds + self.tremor)
        centre = self.target + self.drift * seconds + shake[0] * side + shake[1] * up
        if self.kind == 'grasper':
            # Closes on tissue and pulls a little towards the trocar.
            return _jaws(self.trocar, centre - 0.15 * self.strength * wave * axis, axis, up,
                         opening=0.38 + 0.33 * self.strength * wave, length=1.6, radius=0.15, curve=0.12)
        if self.kind == 'clip_applier':
            return _jaws(self.trocar, centre - 0.12 * self.strength * wave * axis, axis, up,
                         opening=0.27 + 0.23 * self.strength * wave, length=1.7, radius=0.13, curve=-0.13)
        if self.kind == RESTING:
            return _tube(self.trocar, centre, axis)
        stroke = self.strength * (0.42 * wave * side - 0.28 * np.cos(phase) * axis)
        return _hook(self.trocar, centre + stroke, axis, up)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def _frame(axis: np.ndarray, roll: float) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors that complete an axis; at roll 0 the second one lies across the view."""
    across = _unit(np.cross(axis, [0.0, 0.0, 1.0]))
    other = np.cross(axis, across)
    return np.cos(roll) * other - np.sin(roll) * across, np.cos(roll) * across + np.sin(roll) * other


def _jaws(trocar: np.ndarray, centre: np.ndarray, axis: np.ndarray, up: np.ndarray, opening: float, length: float,
          radius: float, curve: float) -> ToolPose:
    """A shaft with a collar and two jaws that turn about a hinge; ``opening`` is half the angle between them."""
    hinge = centre - 0.5 * length * axis
    neck = hinge - 0.45 * axis
    shaft_radius = 0.30
    parts = [Part(trocar, neck - 0.5 * axis, shaft_radius, shaft_radius, 'shaft'),
             Part(neck - 0.55 * axis, neck, shaft_radius * 1.02, shaft_radius * 1.02, 'collar'),
             Part(neck, hinge, shaft_radius * 0.9, 0.21, 'metal')]
    landmarks = dict(anchor=hinge)
    for name, sign in (('tip1', 1.0), ('tip2', -1.0)):
        direction = np.cos(opening) * axis + sign * np.sin(opening) * up
        outward = sign * np.cos(opening) * up - np.sin(opening) * axis
        middle = hinge + 0.55 * length * direction + curve * outward
        end = hinge + length * direction
        parts += [Part(hinge, middle, radius * 1.35, radius * 1.1, 'metal'),
                  Part(middle, end, radius * 1.1, radius * 0.6, 'metal')]
        landmarks[name] = end
    return ToolPose(parts, landmarks)


def _hook(trocar: np.ndarray, centre: np.ndarray, axis: np.ndarray, up: np.ndarray) -> ToolPose:
    """A sleeve with a thin L-shaped electrode; the anchor is where the bare rod leaves the sleeve."""
    sleeve = centre - 0.55 * axis
    elbow = centre + 0.35 * axis
    tip = elbow + 0.50 * up + 0.08 * axis
    return ToolPose([Part(trocar, sleeve - 0.6 * axis, 0.27, 0.27, 'shaft'),
                     Part(sleeve - 0.65 * axis, sleeve, 0.25, 0.19, 'tip_sleeve'),
                     Part(sleeve, elbow, 0.09, 0.09, 'metal'), Part(elbow, tip, 0.09, 0.08, 'metal')],
                    dict(tip1=tip, anchor=sleeve))


def _tube(trocar: np.ndarray, centre: np.ndarray, axis: np.ndarray) -> ToolPose:
    """A shaft and a blunt tube; the anchor is where the tube leaves the shaft."""
    neck, end = centre - 0.7 * axis, centre + 0.7 * axis
    return ToolPose([Part(trocar, neck, 0.28, 0.28, 'shaft'), Part(neck, end, 0.20, 0.20, 'tip_sleeve')],
                    dict(tip1=end, anchor=neck))


@dataclass(frozen=True)
class VideoLook:
    """Appearance of a case: what stays the same over all its clips."""
    palette: np.ndarray
    exposure: float
    vignette: float
    round_radius: float | None
    round_centre: tuple[float, float]
    tint: np.ndarray
    shafts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    jpeg_quality: int
    noise: float
    defocus: float


@dataclass
class ClipScene:
    """One clip: tools, camera path, degradations.

    Args:
        action: What the acting tool does, ``None`` where nothing acts.
        frames: Length.
        fps: Frames per second.
        tools: All instances.
        camera: (4, 2): amplitude, frequency and phase of the sway in x and y, and a steady velocity in px per second.
        texture_seed: Of the tissue.
        conditions: Severity 0 to 1 of smoke, blood and blur.
        alike: Whether several tools look alike, so that only motion tells which one acts.
        fold: Place (x, y) and radius in pixels of a lobe of tissue that can hide a tip.
        annotated: Numbers of the annotated frames.
    """
    action: str | None
    frames: int
    fps: float
    tools: list[ToolTrack]
    camera: np.ndarray
    texture_seed: int
    conditions: dict[str, float]
    alike: bool
    fold: tuple[float, float, float] | None
    annotated: list[int]

    def camera_shift(self, seconds: float) -> np.ndarray:
        """Shift of the whole picture in pixels, (2,)."""
        amplitude, frequency, phase, velocity = self.camera
        return amplitude * np.sin(2 * np.pi * frequency * seconds + phase) + velocity * seconds


def project(points: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) with z > 0 under a camera shift (2,)."""
    points = np.atleast_2d(points)
    return points[:, :2] / points[:, 2:] * FOCAL + _CENTRE + shift


# BGR in 0..1: liver, fat, gallbladder, peritoneum, deep tissue, omentum.
_PALETTE = np.array([[0.14, 0.15, 0.40], [0.30, 0.55, 0.82], [0.48, 0.56, 0.68], [0.36, 0.38, 0.70], [0.17, 0.17, 0.50],
                     [0.40, 0.50, 0.72]])


def sample_look(rng: np.random.Generator) -> VideoLook:
    """Draw the appearance of a video."""
    kinds = len(_PALETTE)
    palette = np.clip(_PALETTE * rng.uniform(0.75, 1.15, (kinds, 1)) + rng.normal(0, 0.025, (kinds, 3)), 0.03, 0.97)
    dark = np.full(3, rng.uniform(0.05, 0.12))
    grey = np.array([0.5, 0.5, 0.48]) * rng.uniform(0.8, 1.15)
    white = np.array([0.75, 0.78, 0.78]) * rng.uniform(0.85, 1.1)
    blue = np.array([0.45, 0.3, 0.15]) * rng.uniform(0.8, 1.3)
    bodies = [(dark, grey, white), (dark, white, dark), (grey, grey, white), (dark, dark, white), (dark, blue, white)]
    order = rng.permutation(len(bodies))
    is_round = rng.random() < 0.5
    return VideoLook(
        palette=palette, exposure=rng.uniform(0.85, 1.2), vignette=rng.uniform(0.5, 1.3),
        round_radius=rng.uniform(0.44, 0.58) * SIZE[0] if is_round else None,
        round_centre=(SIZE[0] / 2 + rng.uniform(-15, 15), SIZE[1] / 2 + rng.uniform(-12, 12)),
        tint=np.array([rng.uniform(0.85, 1.1), rng.uniform(0.92, 1.06), rng.uniform(0.97, 1.1)]),
        shafts=[bodies[i] for i in order[:3]], jpeg_quality=int(rng.integers(72, 93)), noise=rng.uniform(0.004, 0.016),
        defocus=rng.uniform(0.3, 1.0))


def sample_clip(rng: np.random.Generator, look: VideoLook, action: str | None, fps: float, ambiguity: float,
                length: tuple[int, int] = (7, 9), annotated: int = 3, degradation: float = 1.0) -> ClipScene:
    """Draw a clip of ``length`` frames (least, most). ``action=None`` is an idle clip, in which no tool acts.

    With probability ``ambiguity`` the tools share type and looks and are drawn from one distribution, so that only
    motion tells which one acts; else whatever does not act is of a kind that never does, so that looks alone tell.
    ``degradation`` scales the severities of smoke, blood and blur.
    """
    frames = int(rng.integers(length[0], length[1] + 1))
    kind = TOOL_OF_ACTION[action or ACTIONS[int(rng.choice(3, p=[0.45, 0.4, 0.15]))]]
    count = int(rng.choice([1, 2, 3], p=[0.2, 0.55, 0.25]))
    same = rng.random() < ambiguity
    places = _sample_places(rng, look, count)
    # Which tool acts is drawn after the places: the first place lies more centrally than those that keep away from it.
    chief = int(rng.integers(len(places)))
    common_look = int(rng.integers(3))
    tools = [_sample_tool(rng, kind if same or (i == chief and action) else RESTING, place, angle,
                          common_look if same else int(rng.integers(3))) for i, (place, angle) in enumerate(places)]
    tools[chief].acting = action is not None
    camera = np.array([rng.uniform(0, 4, 2), rng.uniform(0.2, 0.8, 2), rng.uniform(0, 2 * np.pi, 2),
                       rng.normal(0, 5, 2)])
    severity = np.minimum(degradation * rng.random(3)**2 * (rng.random(3) < [0.25, 0.35, 0.3]), 1)
    # Any frame can be annotated, the first and last too, where a window is clamped.
    chosen = sorted(int(n) for n in rng.choice(frames, annotated, replace=False))
    fold = None
    if rng.random() < 0.35:
        fold = (rng.uniform(0.2, 0.8) * SIZE[0], rng.uniform(0.3, 0.8) * SIZE[1], rng.uniform(35, 70))
    return ClipScene(action, frames, fps, tools, camera, int(rng.integers(2**31)),
                     dict(zip(('smoke', 'blood', 'blur'), (round(float(s), 3) for s in severity))),
                     same and count > 1, fold, chosen)


def _sample_tool(rng: np.random.Generator, kind: str, place: np.ndarray, angle: float, looks: int) -> ToolTrack:
    """A resting tool whose working end lies at ``place`` in pixels and whose shaft comes from ``angle``."""
    depth = TISSUE_DEPTH - rng.uniform(0.9, 2.0)
    target = np.append((place - _CENTRE) / FOCAL, 1.0) * depth
    towards = np.array([np.cos(angle), np.sin(angle), 0.0])
    trocar = target + 12.0 * towards - np.array([0, 0, rng.uniform(3.0, 5.0)])
    return ToolTrack(
        kind=kind, trocar=trocar, target=target, roll=rng.uniform(-0.7, 0.7), phase=rng.uniform(0, 2 * np.pi),
        rate=rng.uniform(1.3, 2.1), strength=rng.uniform(0.75, 1.15), acting=False,
        drift=rng.normal(0, 0.10, 3) * [1, 1, 0.5], tremor=rng.uniform(0, 2 * np.pi, 2), looks=looks)


def _sample_places(rng: np.random.Generator, look: VideoLook, count: int) -> list[tuple[np.ndarray, float]]:
    """Resting places of the working ends in pixels, well apart, and directions (radians) from which shafts come."""
    places: list[tuple[np.ndarray, float]] = []
    centre = np.array(look.round_centre)
    for distance in np.linspace(150, 60, 200):
        if len(places) == count:
            break
        place = rng.uniform([0.2 * SIZE[0], 0.2 * SIZE[1]], [0.8 * SIZE[0], 0.8 * SIZE[1]])
        if look.round_radius and np.linalg.norm(place - centre) > 0.72 * look.round_radius:
            continue
        # Trocars sit left, right and below more often than above.
        side = rng.choice([0.0, np.pi, 0.5 * np.pi, -0.5 * np.pi], p=[0.36, 0.36, 0.18, 0.10])
        if all(np.linalg.norm(place - other) > distance for other, _ in places):
            places.append((place, float(side + rng.normal(0, 0.35))))
    return places
