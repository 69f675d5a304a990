"""``tools/data.py`` in this process, and data sets as values that can be compared."""
import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from mmpose_surgical.data_tool import VERBS
from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Annotations, Clip, Frame, Tool, Video


def data_tool(verb: str, *words: object) -> int:
    """Run a verb; errors are raised as they are."""
    module = import_module(f'mmpose_surgical.data_tool.{VERBS[verb]}')
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args([str(word) for word in words]))


def imported(name: str, src: Path, out: Path, *words: object) -> Annotations:
    """Import and read what was made."""
    assert data_tool('import', name, src, '--out', out, *words) == 0
    return load_annotations(out)


def content(annotations: Annotations, **without: bool) -> dict[tuple[str, int], Any]:
    """``{(video, frame): (size, annotated, tools)}``, without what is named: masks, idle tools, slots."""
    found = {}
    for frame in annotations.frames:
        tools = [_tool(tool, frame, without) for tool in frame.tools if tool.active or not without.get('idle')]
        found[frame.video.name, frame.frame_id] = (
            (frame.width, frame.height), frame.annotated, sorted(tools, key=repr))
    return found


def _tool(tool: Tool, frame: Frame, without: dict[str, bool]) -> tuple:
    mask = None if without.get('masks') else tool.mask(frame.height, frame.width)
    points = sorted((p.landmark if without.get('slots') else p.name, round(p.x, 3), round(p.y, 3), p.v)
                    for p in tool.points)
    return tool.tool, tool.action, tool.active, points, None if mask is None else mask.tobytes()


def data_set(cases: dict[str, tuple[str | None, list[str | None]]]) -> Annotations:
    """Annotations of ``{name: (source, [action of each clip, or None])}``, an annotated frame in each clip."""
    videos, clips, frames = {}, {}, []
    for number, (name, (source, actions)) in enumerate(cases.items(), 1):
        videos[number] = Video(number, name, source, 25.0, True, f'frames/{name}/{{frame_id}}.jpg')
        for k, action in enumerate(actions):
            clip = Clip(len(clips) + 1, number, 10 * k, 10 * k + 9, action)
            clips[clip.id] = clip
            frames.append(Frame(len(frames) + 1, None, 64, 48, videos[number], 10 * k + 5, True, clip,
                                [] if action is None else [Tool(len(frames) + 1, 'x', action, True, [])]))
    return Annotations(Path('data/annotations.json'), {}, videos, clips, frames, {}, '')
