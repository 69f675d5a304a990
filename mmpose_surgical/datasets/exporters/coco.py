"""COCO keypoints with pictures, which every reader of COCO takes."""
import shutil
from dataclasses import replace
from pathlib import Path

from mmpose_surgical.datasets.account import Account
from mmpose_surgical.datasets.exporters.pictures import ending_of, put_picture
from mmpose_surgical.datasets.records import Annotations
from mmpose_surgical.datasets.splits import Splits
from mmpose_surgical.datasets.splitting import write_splits
from mmpose_surgical.datasets.windows import pattern_files
from mmpose_surgical.datasets.writing import write_annotations
from mmpose_surgical.errors import UserError
from mmpose_surgical.files import FolderNames, write_atomically


def write_coco(annotations: Annotations, splits: Splits, out: Path, account: Account) -> None:
    """Write ``annotations.json``, ``splits.json``, listed pictures, and what windows reach for: neighbours and videos.

    Raises:
        UserError: A picture cannot be read.
    """
    root, frames, copied, folder = annotations.root, [], set(), FolderNames()
    for frame in annotations.frames:
        file = frame.file(root)
        name = str(file.path.relative_to(root)) if file.number is None else (
            f'frames/{folder(frame.video.name)}/{frame.frame_id:06d}{ending_of(file)}')
        put_picture(frame, root, out / name)
        copied.add(name)
        frames.append(replace(frame, file_name=name))
        account.taken['pictures'] += 1
        account.taken['tools'] += len(frame.tools)
    shown = {frame.video.id for frame in frames}
    neighbours = {str(path.relative_to(root)) for video in annotations.videos.values()
                  if video.id in shown and video.frame_pattern
                  for path in pattern_files(root, video.frame_pattern).values()}
    clips = {frame.clip.id: frame.clip for frame in frames if frame.clip}
    videos = {holder.video_file for holder in (*annotations.videos.values(), *clips.values()) if holder.video_file}
    for what, names in (('neighbouring pictures', neighbours - copied), ('video files', videos)):
        for name in sorted(names):
            if not (root / name).is_file():
                raise UserError('a video or picture is missing', root / name, 'restore it: tools/data.py validate')
            write_atomically(out / name, lambda temporary, source=root / name: shutil.copyfile(source, temporary))
            account.taken[what] += 1
    if splits.train or splits.val:
        write_splits(out, splits)
    write_annotations(out / 'annotations.json', replace(annotations, frames=frames))
