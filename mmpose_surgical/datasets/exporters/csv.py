"""A table of points for spreadsheets, R and pandas."""
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmpose_surgical.datasets.account import Account
from mmpose_surgical.datasets.exporters.pictures import ending_of, put_picture
from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import Splits
from mmpose_surgical.files import FolderNames, write_text

COLUMNS = ('image_id', 'video', 'source', 'frame_id', 'file_name', 'width', 'height', 'annotated', 'tool_id', 'tool',
           'action', 'active', 'keypoint', 'x', 'y', 'v')
"""A picture without tools, and a tool without points, has a line in which the rest is empty."""


def write_csv(annotations: Annotations, splits: Splits, out: Path, account: Account) -> None:
    """Write ``points.csv`` and the listed pictures. Masks, clips and neighbours have no place in it.

    Raises:
        UserError: A picture cannot be read.
    """
    text, folder = io.StringIO(), FolderNames()
    writer = csv.DictWriter(text, COLUMNS, lineterminator='\n')
    writer.writeheader()
    for frame in annotations.frames:
        name = f'frames/{folder(frame.video.name)}/{frame.frame_id:06d}{ending_of(frame.file(annotations.root))}'
        put_picture(frame, annotations.root, out / name)
        account.taken['pictures'] += 1
        for row in _rows(frame, name):
            writer.writerow(row)
            account.taken['lines'] += 1
        for tool in frame.tools:
            if tool.segmentation:
                account.skip('mask', 'the table has no place for it', f'annotation {tool.id}')
    for clip in annotations.clips.values():
        account.skip('clip', 'the table has no place for it', f'clip {clip.id}')
    if any(video.dense for video in annotations.videos.values()):
        account.remark('neighbouring frames stay behind: in this form pictures stand alone')
    write_text(out / 'points.csv', text.getvalue())


def _rows(frame: Frame, name: str) -> Iterator[dict[str, Any]]:
    picture = dict(image_id=frame.image_id, video=frame.video.name, source=frame.video.source, frame_id=frame.frame_id,
                   file_name=name, width=frame.width, height=frame.height, annotated=int(frame.annotated))
    if not frame.tools:
        yield picture
    for tool in frame.tools:
        own = picture | dict(tool_id=tool.id, tool=tool.tool, action=tool.action, active=int(tool.active))
        if not tool.points:
            yield own
        for point in tool.points:
            yield own | dict(keypoint=point.name, x=repr(point.x), y=repr(point.y), v=point.v)
