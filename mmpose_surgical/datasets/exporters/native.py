"""The per-clip layout of groups in this field, see :mod:`mmpose_surgical.datasets.importers.native`."""
import json
import re
import shutil
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import av

from mmpose_surgical.datasets.account import Account
from mmpose_surgical.datasets.records import Annotations, Clip, Frame
from mmpose_surgical.datasets.splits import Splits
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import FolderNames, write_atomically, write_text

CRF = 10
"""Quality of the encoded clips: hardly to be told from the pictures."""


def write_native(annotations: Annotations, splits: Splits, out: Path, account: Account) -> None:
    """Write a folder for each case, with its clips as H.264 and their points.

    The layout has no place for tools that do not act, for masks and tool types, nor for pictures outside clips.

    Raises:
        UserError: A picture of a clip cannot be read.
    """
    folder, stems = FolderNames(), set()
    by_clip: dict[int, list[Frame]] = defaultdict(list)
    for frame in annotations.frames:
        if frame.clip is None or not frame.video.dense:
            account.skip('picture', 'it is in no clip, or its neighbours are not adjacent in time', _where(frame))
        elif not any(tool.points for tool in frame.active_tools):
            account.skip('picture', 'it has no point of an acting tool', _where(frame))
        else:
            by_clip[frame.clip.id].append(frame)
    for clip_id, frames in by_clip.items():
        clip, case = annotations.clips[clip_id], out / folder(frames[0].video.name)
        actions = {tool.action for frame in frames for tool in frame.active_tools} | {clip.action}
        if len(actions) > 1 or clip.action is None:
            account.skip('clip', 'it has several actions, or none', f'clip {clip_id}')
            continue
        action = re.sub(r'[^\w-]+', '-', clip.action)  # it becomes the name of a file
        stem = f'{action}_{clip.start_frame}_{clip.end_frame}'
        if (case, stem) in stems:
            account.skip('clip', 'another one has its action and frames', f'clip {clip_id}')
            continue
        stems.add((case, stem))
        _write_clip(clip, frames[0], annotations.root, case / f'clips/{stem}.mp4')
        write_text(case / f'annotation/{stem}.json', json.dumps(_record(frames, account), indent=1, allow_nan=False))
        account.taken['clips'] += 1


def _where(frame: Frame) -> str:
    return f'image {frame.image_id} ({frame.video.name}, frame {frame.frame_id})'


def _record(frames: list[Frame], account: Account) -> dict:
    points = []
    for frame in sorted(frames, key=lambda frame: frame.frame_id):
        for tool in frame.tools:
            if not tool.active:
                account.skip('tool', 'it does not act', f'annotation {tool.id}')
                continue
            points += [dict(frameIndex=frame.frame_id, type=f'tool_{point.landmark}', x=point.x, y=point.y,
                            vis=point.v == 2) for point in tool.points]
            account.taken['points'] += len(tool.points)
            if tool.segmentation:
                account.skip('mask', 'the layout has no place for it', f'annotation {tool.id}')
    return dict(imageDimensions=dict(width=frames[0].width, height=frames[0].height), points=points)


def _write_clip(clip: Clip, frame: Frame, root: Path, target: Path) -> None:
    if clip.video_file is not None:
        write_atomically(target, lambda temporary: shutil.copyfile(root / clip.video_file, temporary))
        return
    if frame.video.fps is None:
        raise UserError(f'video "{frame.video.name}" is dense but has no "fps"', root / 'annotations.json',
                        'add "fps" to the video')
    size = frame.width, frame.height
    pictures = (frame.file(root, number).read(size) for number in range(clip.start_frame, clip.end_frame + 1))

    def encode(path: Path) -> None:
        with av.open(str(path), 'w') as container:
            stream = container.add_stream('libx264', rate=Fraction(frame.video.fps).limit_denominator(1001))
            stream.width, stream.height = size
            # Chroma at half the size needs even sides.
            stream.pix_fmt = 'yuv444p' if size[0] % 2 or size[1] % 2 else 'yuv420p'
            stream.options = {'crf': str(CRF)}
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='bgr24')))
            container.mux(stream.encode())
    write_atomically(target, encode)
