"""Writes a synthetic data set: reproducible by seed, resumable video by video, complete only when it is."""
import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmpose_surgical.datasets.synthetic.degrade import degrade, smoke_field
from mmpose_surgical.datasets.synthetic.render import Rendered, render_frame
from mmpose_surgical.datasets.synthetic.scene import (
    ACTIONS,
    RESTING,
    SIZE,
    ClipScene,
    VideoLook,
    sample_clip,
    sample_look,
)
from mmpose_surgical.datasets.synthetic.tissue import make_tissue
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import claim, is_temporary, read_json, write_atomically, write_json
from mmpose_surgical.landmarks import SLOTS, TOOL_OF_ACTION

VERSION = '3'
"""Raised whenever the same spec begins to give other pictures or annotations."""

CLOSED_JAWS = 22.0
"""Jaw ends nearer than this in pixels are one tip."""

# Paper, Table 1: cases per source, and clips per source and action.
CASES = dict(YouTube=7, Cholec80=25, HeiChole=7, SurgVU=13, CRCDC=8)
CLIPS = dict(YouTube=(124, 611, 36), Cholec80=(752, 3605, 157), HeiChole=(220, 939, 57), SurgVU=(322, 245, 35),
             CRCDC=(136, 628, 0))  # grasp, dissect, clip
# Sources differ in frame rate; every stored frame is one step of a window of 0.12 s spacing.
_FPS = dict(YouTube=25 / 3, Cholec80=25 / 3, HeiChole=25 / 3, SurgVU=10.0, CRCDC=10.0)


@dataclass(frozen=True)
class SyntheticSpec:
    """What to generate.

    Args:
        seed: Of everything.
        videos: Number of cases, over sources as in Table 1.
        clips_per_video: Clips of each.
        val_share: Share of the videos for validation; far more than the paper's 79 clips, so that a threshold can be
            chosen on it.
        test_share: Share of the videos for testing.
        folds: Folds of the training videos.
        ambiguity: Probability that all tools of a clip look alike, so that only motion tells which one acts; else
            looks alone tell.
        idle_share: Share of clips in which no tool acts.
        balance: 0 draws actions as in Table 1, 1 equally often, in between mixes.
        clip_frames: Least and most frames of a clip.
        annotated_per_clip: Annotated frames of a clip.
        degradation: Scale of the severities of smoke, blood and blur; 0 leaves them out.
    """
    seed: int = 0
    videos: int = 60
    clips_per_video: int = 13
    val_share: float = 0.2
    test_share: float = 0.25
    folds: int = 5
    ambiguity: float = 1.0
    idle_share: float = 0.12
    balance: float = 0.0
    clip_frames: tuple[int, int] = (7, 9)
    annotated_per_clip: int = 3
    degradation: float = 1.0

    def fingerprint(self) -> str:
        """Hash of generator version and spec."""
        text = json.dumps([VERSION, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_seed(self, seed: int) -> 'SyntheticSpec':
        return dataclasses.replace(self, seed=seed)


_BENCH = SyntheticSpec(videos=90, clips_per_video=12, val_share=0.15, test_share=0.5, folds=3, ambiguity=0.5,
                       balance=0.6, clip_frames=(5, 6), annotated_per_clip=2)
SPECS = dict(
    demo=SyntheticSpec(videos=30, clips_per_video=22, val_share=0.2, test_share=0.2, folds=2, balance=0.6,
                       clip_frames=(4, 5), annotated_per_clip=2),
    default=SyntheticSpec(),
    bench=_BENCH,
    bench_motion=dataclasses.replace(_BENCH, ambiguity=1.0),
    bench_looks=dataclasses.replace(_BENCH, ambiguity=0.0))
"""``demo`` trains on two cores in minutes; ``default`` has a tenth of the clips of Table 1; ``bench`` has many test
videos, and in half of its clips a single picture tells which tool acts: in none of ``bench_motion``, in all of
``bench_looks``."""


class Completeness(Enum):
    """State of a folder with respect to a spec."""
    COMPLETE = 'complete'
    MISSING = 'missing'
    PARTIAL = 'partial'
    OTHER = 'other'


def check(out: Path, spec: SyntheticSpec) -> tuple[Completeness, str]:
    """Whether a folder holds the data set of a spec, and a sentence about it."""
    out = Path(out)
    marker = out / 'generator.json'
    if not out.exists() or all(is_temporary(path) for path in out.iterdir()):
        return Completeness.MISSING, 'it is not there yet'
    if not marker.exists():
        return Completeness.OTHER, 'the folder is not empty and was not made by this generator'
    made = read_json(marker, f'remove {out}')
    if made.get('fingerprint') != spec.fingerprint():
        return Completeness.OTHER, (f'the synthetic data set is of another spec or version ({made.get("version")}, '
                                    f'this is {VERSION})')
    if not (out / 'annotations.json').exists():
        return Completeness.PARTIAL, 'it was cut off and goes on'
    return Completeness.COMPLETE, 'it is complete'


def generate(out: Path, spec: SyntheticSpec, workers: int | None = None,
             progress: Callable[[int, int], None] | None = None) -> Path:
    """Write the data set of a spec; videos that an earlier call finished are kept.

    Args:
        out: Folder of the data set.
        spec: What to generate.
        workers: Processes; ``None`` is one per core. The result does not depend on it.
        progress: Called with (videos done, videos in all).

    Returns:
        The folder.

    Raises:
        UserError: The folder holds something else, or another process is filling it.
    """
    out = Path(out)
    state, message = check(out, spec)
    if state is Completeness.OTHER:
        raise UserError(message, out, 'remove the folder, or choose another')
    if state is Completeness.COMPLETE:
        return out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'the folder cannot be written: {error.strerror}', out, 'choose another place') from None
    lock = claim(out.with_name(f'.{out.name}.lock'))
    if lock is None:
        raise UserError('another process is making this data set', out, 'wait until it ends')
    with lock:
        _fill(out, spec, workers, progress)
    return out


def _fill(out: Path, spec: SyntheticSpec, workers: int | None, progress: Callable[[int, int], None] | None) -> None:
    """Render what is missing in a folder that is missing, or of this very spec."""
    write_json(out / 'generator.json', dict(version=VERSION, fingerprint=spec.fingerprint(),
                                            spec=dataclasses.asdict(spec)))
    names = video_names(spec)
    waiting = [index for index, name in enumerate(names) if not _part(out, name).exists()]
    done = len(names) - len(waiting)
    if progress:
        progress(done, len(names))
    if waiting:
        # Spawned, not forked: the caller may have started threads.
        context = multiprocessing.get_context('spawn')
        with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context) as pool:
            for future in as_completed([pool.submit(generate_video, out, spec, index) for index in waiting]):
                future.result()
                done += 1
                if progress:
                    progress(done, len(names))
    _merge(out, spec, names)


def _part(out: Path, name: str) -> Path:
    return out / 'parts' / f'{name}.json'


def video_names(spec: SyntheticSpec) -> list[str]:
    """Names of all videos, ``<source>_<number>``, the cases spread over sources as in Table 1."""
    share = np.array(list(CASES.values())) / sum(CASES.values()) * spec.videos
    counts = np.floor(share).astype(int)
    for source in np.argsort(counts - share, kind='stable')[:spec.videos - counts.sum()]:
        counts[source] += 1
    return [f'{source.lower()}_{number:02d}' for source, count in zip(CASES, counts) for number in range(1, count + 1)]


def source_of(name: str) -> str:
    """Source of a video by its name."""
    return next(source for source in CASES if source.lower() == name.rsplit('_', 1)[0])


def _actions(rng: np.random.Generator, spec: SyntheticSpec, source: str) -> list[str | None]:
    """Action of each clip of a video, ``None`` for idle ones."""
    table = np.array(CLIPS[source], dtype=float)
    share = (1 - spec.balance) * table / table.sum() + spec.balance * (table > 0) / (table > 0).sum()
    drawn: list[str | None] = [str(a) for a in rng.choice(ACTIONS, spec.clips_per_video, p=share)]
    return [None if idle else action for action, idle in zip(drawn, rng.random(spec.clips_per_video) < spec.idle_share)]


def generate_video(out: Path, spec: SyntheticSpec, index: int) -> None:
    """Render one video and write its part; draws depend on seed and index alone."""
    cv2.setNumThreads(1)
    name = video_names(spec)[index]
    rng = np.random.default_rng([spec.seed, index])
    look = sample_look(rng)
    folder = out / 'frames' / name
    folder.mkdir(parents=True, exist_ok=True)
    part: dict[str, list[dict]] = dict(clips=[], images=[])
    first = 0
    for action in _actions(rng, spec, source_of(name)):
        scene = sample_clip(rng, look, action, _FPS[source_of(name)], spec.ambiguity, spec.clip_frames,
                            spec.annotated_per_clip, spec.degradation)
        part['clips'].append(dict(start_frame=first, end_frame=first + scene.frames - 1, action=action))
        part['images'] += _render_clip(rng, scene, look, folder, first, len(part['clips']) - 1)
        first += scene.frames
    write_json(_part(out, name), part)


def _render_clip(rng: np.random.Generator, scene: ClipScene, look: VideoLook, folder: Path, first: int,
                 clip: int) -> list[dict]:
    """Write the frames of a clip; returns the records of its annotated ones."""
    tissue = make_tissue(scene.texture_seed, look, scene.conditions['blood'], scene.fold)
    smoke = smoke_field(rng, scene.conditions['smoke'])
    records = []
    for number in range(scene.frames):
        rendered = render_frame(scene, look, tissue, number)
        picture = degrade(rendered.image, scene, look, smoke, number, rng)
        write_atomically(folder / f'{first + number:06d}.jpg', lambda path, p=picture: _write_jpeg(path, p, look))
        if number in scene.annotated:
            records.append(dict(clip=clip, frame_id=first + number, conditions=scene.conditions,
                                attributes=dict(look_alike=scene.alike, tools=len(scene.tools)),
                                tools=_annotate(scene, look, rendered)))
    return records


def _write_jpeg(path: Path, picture: np.ndarray, look: VideoLook) -> None:
    if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, look.jpeg_quality]):
        raise OSError(f'{path.name} could not be encoded')


def _annotate(scene: ClipScene, look: VideoLook, rendered: Rendered) -> list[dict]:
    """One record per instance, acting or not."""
    from pycocotools import mask as coco_mask
    records = []
    for index, (tool, landmarks) in enumerate(zip(scene.tools, rendered.landmarks)):
        mask = rendered.owner == index
        if look.round_radius is not None:
            ys, xs = np.nonzero(mask)
            inside = np.hypot(xs - look.round_centre[0], ys - look.round_centre[1]) <= look.round_radius
            mask[ys[~inside], xs[~inside]] = False
        keypoints: list[float] = []
        landmarks = _join_closed_jaws(landmarks)
        for slot in SLOTS:
            x, y, v = landmarks.get(slot, (0.0, 0.0, 0))
            keypoints += [round(x, 3), round(y, 3), v] if v else [0, 0, 0]
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        records.append(dict(
            tool=tool.kind, keypoints=keypoints, num_keypoints=sum(v > 0 for v in keypoints[2::3]),
            segmentation=dict(size=list(SIZE[::-1]), counts=rle['counts'].decode()), area=int(mask.sum()),
            bbox=[float(v) for v in coco_mask.toBbox(rle)], iscrowd=0,
            attributes=dict(tool=tool.kind, action=scene.action if tool.acting else None, active=tool.acting)))
    return records


def _join_closed_jaws(landmarks: dict[str, tuple[float, float, int]]) -> dict[str, tuple[float, float, int]]:
    """One tip where both jaws meet within ``CLOSED_JAWS`` pixels, as annotators mark it."""
    if 'tip2' not in landmarks:
        return landmarks
    (x1, y1, v1), (x2, y2, v2) = landmarks['tip1'], landmarks['tip2']
    if np.hypot(x1 - x2, y1 - y2) >= CLOSED_JAWS or 0 in (v1, v2):
        return landmarks
    return dict(tip1=((x1 + x2) / 2, (y1 + y2) / 2, max(v1, v2)), anchor=landmarks['anchor'])


def _merge(out: Path, spec: SyntheticSpec, names: list[str]) -> None:
    """Put the parts together; ``annotations.json`` appears last and whole."""
    kinds = [*TOOL_OF_ACTION.values(), *([RESTING] if spec.ambiguity < 1 else [])]
    categories = {kind: number for number, kind in enumerate(kinds, 1)}
    data: dict[str, Any] = dict(
        info=dict(description='Synthetic surgical scenes; not real, and no substitute for real data', synthetic=True,
                  version=VERSION, generator=dict(dataclasses.asdict(spec), fingerprint=spec.fingerprint())),
        videos=[], clips=[], images=[], annotations=[],
        categories=[dict(id=number, name=kind, supercategory='surgical_tool', keypoints=list(SLOTS),
                         skeleton=[[1, 3], [2, 3]]) for kind, number in categories.items()])
    for video_id, name in enumerate(names, 1):
        part = read_json(_part(out, name), f'remove {_part(out, name)}, so that the video is made again')
        data['videos'].append(dict(id=video_id, name=name, source=source_of(name), fps=round(_FPS[source_of(name)], 4),
                                   dense=True, frame_pattern=f'frames/{name}/{{frame_id:06d}}.jpg'))
        offset = len(data['clips']) + 1
        data['clips'] += [dict(clip, id=offset + i, video_id=video_id) for i, clip in enumerate(part['clips'])]
        for image in part['images']:
            image_id = len(data['images']) + 1
            data['images'].append(dict(
                id=image_id, file_name=f'frames/{name}/{image["frame_id"]:06d}.jpg', width=SIZE[0], height=SIZE[1],
                video_id=video_id, frame_id=image['frame_id'], clip_id=offset + image['clip'], annotated=True,
                conditions=image['conditions'], attributes=image['attributes']))
            data['annotations'] += [
                dict({k: v for k, v in tool.items() if k != 'tool'}, id=len(data['annotations']) + 1 + i,
                     image_id=image_id, category_id=categories[tool['tool']]) for i, tool in enumerate(image['tools'])]
    write_json(out / 'splits.json', make_splits(spec, names))
    write_atomically(out / 'annotations.json', lambda path: path.write_text(json.dumps(data, allow_nan=False)))
    shutil.rmtree(out / 'parts')


def make_splits(spec: SyntheticSpec, names: list[str]) -> dict[str, Any]:
    """Splits by video, each with its share of every source as far as whole videos allow."""
    rng = np.random.default_rng([spec.seed, 2**20])
    # Sorting by a position within the source spreads every source evenly over the list, which is then cut.
    place = {}
    for source in CASES:
        own = [name for name in names if source_of(name) == source]
        for rank, name in enumerate(rng.permutation(own)):
            place[str(name)] = (rank + 0.5) / len(own)
    order = sorted(names, key=place.__getitem__)
    n_val, n_test = round(spec.val_share * len(names)), round(spec.test_share * len(names))
    val, test, train = order[:n_val], order[n_val:n_val + n_test], order[n_val + n_test:]
    return dict(train=train, val=val, test=test, folds=[train[k::spec.folds] for k in range(spec.folds)])
