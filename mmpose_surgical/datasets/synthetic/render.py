"""Draws a frame: tools are ray-cast into a depth buffer over the tissue, with light, shadow and exact masks."""
import math
from dataclasses import dataclass

import cv2
import numpy as np

from mmpose_surgical.datasets.synthetic.scene import FOCAL, SIZE, ClipScene, Part, VideoLook, project
from mmpose_surgical.datasets.synthetic.tissue import MARGIN

_MATERIALS = ('shaft', 'collar', 'tip_sleeve')


@dataclass
class Rendered:
    """One frame.

    Args:
        image: BGR float32 (H, W, 3), linear in 0..1, before degradation.
        owner: int8 (H, W), index of the tool that is visible at a pixel, -1 for tissue.
        depth: float32 (H, W) in cm, of what is visible.
        landmarks: Per tool: name -> (x, y, v) in pixels; v = 2 visible, 1 hidden, 0 outside the picture.
    """
    image: np.ndarray
    owner: np.ndarray
    depth: np.ndarray
    landmarks: list[dict[str, tuple[float, float, int]]]


def render_frame(scene: ClipScene, look: VideoLook, tissue: tuple[np.ndarray, np.ndarray], number: int) -> Rendered:
    """Draw frame ``number`` of a clip over its tissue (see :func:`make_tissue`)."""
    seconds = number / scene.fps
    shift = scene.camera_shift(seconds)
    breath = 1 + 0.004 * np.sin(2 * np.pi * 0.25 * seconds)
    matrix = np.float32([[breath, 0, shift[0] - MARGIN * breath], [0, breath, shift[1] - MARGIN * breath]])
    image = cv2.warpAffine(tissue[0], matrix, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    depth = cv2.warpAffine(tissue[1], matrix, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    ground = depth.copy()
    owner = np.full(SIZE[::-1], -1, np.int8)
    paint = np.zeros((3, *SIZE[::-1]), np.float32)
    poses = [tool.pose(seconds) for tool in scene.tools]
    for index, (tool, pose) in enumerate(zip(scene.tools, poses)):
        for part in pose.parts:
            _cast(part, index, look.shafts[tool.looks], shift, depth, owner, paint)
    covered = owner >= 0
    _shade_ground(image, covered, depth, ground)
    cv2.copyTo(cv2.merge(paint), covered.view(np.uint8), image)
    landmarks = [{name: _see(point, index, shift, owner, depth, look) for name, point in pose.landmarks.items()}
                 for index, pose in enumerate(poses)]
    return Rendered(image, owner, depth, landmarks)


def _cast(part: Part, index: int, colours: tuple, shift: np.ndarray, depth: np.ndarray, owner: np.ndarray,
          paint: np.ndarray) -> None:
    """Cast rays at one capsule: the point of closest approach of ray and axis gives hit, depth and normal.

    For capsules that are thin against their distance this equals the exact intersection to a fraction of a pixel, at
    a tenth of the cost; rays are cast only inside the projected strip. Vectors are (3, N), by components: on rows of
    three, NumPy spends more on starting than on work.
    """
    a, b = part.a, part.b
    if a[2] < 1.0:  # cut off what lies beside or behind the lens
        a = a + (b - a) * (1.0 - a[2]) / (b[2] - a[2])
    ends = project(np.stack([a, b]), shift)
    pixels = _strip(ends, part.radius_a * FOCAL / a[2] + 2, part.radius_b * FOCAL / b[2] + 2)
    ys = pixels // SIZE[0]
    xs = pixels - ys * SIZE[0]
    rays = np.ones((3, len(pixels)), np.float32)
    rays[0] = (xs - SIZE[0] / 2 - shift[0]) / FOCAL
    rays[1] = (ys - SIZE[1] / 2 - shift[1]) / FOCAL
    axis = (b - a).astype(np.float32)
    length2 = float(axis @ axis)
    rr = rays[0]**2 + rays[1]**2 + 1
    ra, rd = (rays[0] * v[0] + rays[1] * v[1] + v[2] for v in (axis, a.astype(np.float32)))
    # Closest points: minimise |s * ray - (a + t * axis)|.
    t = np.clip((ra * rd - rr * float(axis @ a)) / np.maximum(rr * length2 - ra * ra, 1e-9), 0, 1)
    foot = a.astype(np.float32)[:, None] + t * axis[:, None]
    s = _dot(rays, foot) / rr
    normal = s * rays - foot
    gap2 = _dot(normal, normal)
    radius = part.radius_a + t * np.float32(part.radius_b - part.radius_a)
    inside = radius**2 - gap2
    norm, away = np.sqrt(rr), np.sqrt(np.maximum(inside, 0))
    z = s - away / norm
    hit = np.flatnonzero((inside > 0) & (z < depth.take(pixels)))
    norm, away, z, t, radius = (v.take(hit) for v in (norm, away, z, t, radius))
    pixels = pixels[hit]
    depth.put(pixels, z)
    owner.put(pixels, index)
    view = rays.take(hit, axis=1) / -norm
    normal = (normal.take(hit, axis=1) + away * view) / radius
    for plane, colour in zip(paint, _shade_tool(part, colours, normal, view, z, t)):
        plane.put(pixels, colour)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Dot products (N,) of vectors (3, N)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _strip(ends: np.ndarray, width_a: float, width_b: float) -> np.ndarray:
    """Flat indices of the pixels of the picture inside the projected capsule."""
    direction = ends[1] - ends[0]
    norm = np.linalg.norm(direction)
    along = direction / norm if norm > 1e-6 else np.array([1.0, 0.0])
    across = np.array([-along[1], along[0]])
    corners = np.array([ends[0] + width_a * (across - along), ends[1] + width_b * (across + along),
                        ends[1] + width_b * (along - across), ends[0] - width_a * (across + along)])
    top, bottom = max(math.floor(corners[:, 1].min()), 0), min(math.ceil(corners[:, 1].max()) + 1, SIZE[1])
    if top >= bottom:
        return np.zeros(0, int)
    stencil = np.zeros((bottom - top, SIZE[0]), np.uint8)
    cv2.fillConvexPoly(stencil, np.round((corners - (0, top)) * 16).astype(np.int32), 1, shift=4)
    return np.flatnonzero(stencil.view(bool)) + top * SIZE[0]


def _shade_tool(part: Part, colours: tuple, normal: np.ndarray, view: np.ndarray, z: np.ndarray,
                t: np.ndarray) -> np.ndarray:
    """BGR (3, N) of surface points: head light beside the lens, metal that mirrors a dark, red cavity."""
    light = view + np.array([[-0.18], [-0.24], [0.0]], np.float32)
    light /= np.sqrt(_dot(light, light))
    facing = np.clip(_dot(normal, light), 0, 1)
    half = light + view
    half /= np.sqrt(_dot(half, half))
    gloss = np.clip(_dot(normal, half), 0, 1)
    falloff = (9.0 / np.maximum(z, 2.5))**2
    if part.material == 'metal':
        base = np.array([[0.50], [0.53], [0.55]], np.float32)
        mirror = 0.35 + 0.40 * np.sin(5.0 * normal[0] + 3.0 * normal[1] + 9.0 * t)**2
        cavity = np.array([[0.10], [0.12], [0.30]], np.float32) * (1 - facing)
        colour = base * (0.25 + 0.75 * facing * mirror * 1.6) + cavity + 0.9 * gloss**40
    else:
        base = np.asarray(colours[_MATERIALS.index(part.material)], np.float32)[:, None]
        colour = base * (0.18 + 0.95 * facing) + 0.35 * gloss**28
    return np.minimum(colour * np.minimum(falloff, 1.8), 1.4)


def _shade_ground(image: np.ndarray, covered: np.ndarray, depth: np.ndarray, ground: np.ndarray) -> None:
    """Darken tissue beside tools: the nearer a tool is to it, the tighter and darker its shadow."""
    quarter = (SIZE[0] // 4, SIZE[1] // 4)
    small = cv2.resize(covered.astype(np.float32), quarter, interpolation=cv2.INTER_AREA)
    near = np.zeros_like(depth)
    pixels = np.flatnonzero(covered)
    near.put(pixels, 1 / (1 + np.clip(ground.take(pixels) - depth.take(pixels), 0, 4)))
    near = cv2.resize(near, quarter, interpolation=cv2.INTER_AREA)
    soft = 0.5 * cv2.GaussianBlur(small, (0, 0), 5) + 0.8 * cv2.GaussianBlur(near, (0, 0), 2)
    soft = cv2.warpAffine(soft, np.float32([[1, 0, 2.2], [0, 1, 3.0]]), quarter)
    shade = 1 - 0.8 * cv2.resize(np.clip(soft, 0, 0.75), SIZE, interpolation=cv2.INTER_LINEAR)
    x, y, width, height = cv2.boundingRect((shade < 1).view(np.uint8))
    if not width:  # no tool in view
        return
    window = image[y:y + height, x:x + width]
    cv2.multiply(window, cv2.cvtColor(shade[y:y + height, x:x + width], cv2.COLOR_GRAY2BGR), dst=window)


def _see(point: np.ndarray, index: int, shift: np.ndarray, owner: np.ndarray, depth: np.ndarray,
         look: VideoLook) -> tuple[float, float, int]:
    """Projection and visibility of a landmark: hidden where no pixel of its tool is visible within 3 px."""
    x, y = (float(v) for v in project(point, shift)[0])
    width, height = SIZE
    outside = not (0 <= x <= width - 1 and 0 <= y <= height - 1)
    if look.round_radius is not None:
        outside |= bool(np.hypot(x - look.round_centre[0], y - look.round_centre[1]) > look.round_radius)
    if outside:
        return x, y, 0
    row, column = round(y), round(x)
    rows, columns = slice(max(row - 3, 0), row + 4), slice(max(column - 3, 0), column + 4)
    mine = (owner[rows, columns] == index) & (np.abs(depth[rows, columns] - point[2]) < 0.5)
    return x, y, 2 if mine.any() else 1
