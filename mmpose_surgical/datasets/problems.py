"""What can be wrong with a data set, in groups."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A group of problems.

    Args:
        title: What is wrong, in words that follow a number.
        fix: What to do, as an imperative sentence without a full stop.
        harmless: Training and evaluation work all the same, but the user should know.
    """
    title: str
    fix: str
    harmless: bool = False


KINDS = dict(
    file=Kind('file cannot be read', 'see the message'),
    record=Kind('bad record', 'correct it; see "The data format" in data/README.md'),
    split=Kind('mistake in splits.json', 'correct it, or write it again: tools/data.py split'),
    missing=Kind('picture or video is missing', 'restore the file, or correct "file_name", "frame_pattern" or '
                 '"video_file"'),
    damaged=Kind('picture cannot be decoded', 'restore the file, or take its record out'),
    size=Kind('picture of another size than its record says', 'correct "width" and "height", or scale the points with '
              'the picture'),
    window=Kind('window reaches for a frame that is missing', 'restore the frame, shorten the clip, or set "dense": '
                'false for the video'),
    outside=Kind('point outside its picture', 'set its v to 0 (out of view), or correct it'),
    mask=Kind('damaged mask', 'write its "segmentation" again, or leave it out'),
    tool=Kind('tool of two minds', 'give attributes.tool the name of the category, or another category'),
    action=Kind('unknown action', 'correct the word, or allow it: --actions NAME ...'),
    no_action=Kind('acting tool without an action', 'give attributes.action; else it counts in "overall" alone', True),
    blank=Kind('annotated picture is blank, perhaps for privacy', 'take its record out, or set "annotated": false'),
    blank_idle=Kind('picture without points is blank, perhaps for privacy', 'set "annotated": false, or it teaches and '
                    'tests that nothing acts in blank pictures', True),
    blank_neighbour=Kind('frame of a window is blank, perhaps for privacy', 'end the clip before it', True),
    duplicate=Kind('nearly the same picture in two splits or folds', 'put both videos into the same one, or give them '
                   'one name'),
    empty_video=Kind('video without a picture', 'take the video out, or annotate it', True),
    empty_clip=Kind('clip without a picture', 'take the clip out, or annotate it', True),
    no_split=Kind('video in no split', 'write splits.json again: tools/data.py split', True))
"""All groups, in the order in which they are shown."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data set.

    Args:
        kind: Key of :data:`KINDS`.
        file: The file that it is about.
        record: The record in that file, ``''`` for the file as a whole.
        what: What is wrong, in words.
    """
    kind: str
    file: str
    record: str
    what: str

    @property
    def harmless(self) -> bool:
        return KINDS[self.kind].harmless
