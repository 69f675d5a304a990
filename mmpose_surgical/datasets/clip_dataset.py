"""The data set of annotated clips."""
import logging
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.boxes import Box, boxes_of, whole_picture
from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.datasets.windows import WindowMode, window_files
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.landmarks import LANDMARKS, SLOTS

_COLOURS = dict(tip1=[255, 214, 0], tip2=[255, 138, 0], anchor=[0, 214, 255])


@DATASETS.register_module()
class SurgicalClipDataset(BaseDataset):
    """One sample is one annotated frame with its window of neighbours.

    A sample carries ``window_files`` (T places, oldest first), ``target_index``, a box (x1, y1, x2, y2) and the
    landmarks of all acting tools: ``keypoints`` (N, 3, 2) in pixels of the original picture and ``keypoints_visible``
    (N, 3), in the slots tip1, tip2, anchor, with ``tool_actions``, the N actions, for targets alone. A frame in which
    nothing acts is a true negative: N = 1 with empty slots. For training it also carries ``acting_tools``, from which
    direct mask supervision takes its masks.

    Args:
        data_root: Folder with ``annotations.json`` and optionally ``splits.json``.
        split: ``train``, ``val``, ``test``, ``foldK`` (held out), ``not-foldK`` (the other folds) or ``all``.
        num_frames: T, the length of the window; 1 for single-frame models.
        spacing: Seconds between frames of the window.
        window: ``centred`` (target at T // 2) or ``causal`` (target last).
        box: What part of the picture the network sees: ``picture``, ``oracle`` or a file of detections, see
            :mod:`mmpose_surgical.datasets.boxes`.
        pipeline: Transforms.
        test_mode: As in MMEngine.
        lazy_init: As in MMEngine.

    Raises:
        UserError: The data set is missing or damaged, the split is empty, or pictures are missing.
    """

    METAINFO: dict = dict(
        dataset_name='surgical_landmarks',
        paper_info=dict(title='Dense Structural Priors for Sparse Functional Landmark Localization in Surgical Videos'),
        keypoint_info={i: dict(name=name, id=i, color=_COLOURS[name], type='', swap='')
                       for i, name in enumerate(SLOTS)},
        skeleton_info={0: dict(link=('tip1', 'anchor'), id=0, color=[255, 214, 0]),
                       1: dict(link=('tip2', 'anchor'), id=1, color=[255, 138, 0])},
        joint_weights=[1.0] * len(SLOTS),
        sigmas=[0.05] * len(SLOTS))

    def __init__(self,
                 data_root: str,
                 split: str = 'train',
                 num_frames: int = 1,
                 spacing: float = 0.12,
                 window: WindowMode = 'centred',
                 box: str = 'picture',
                 pipeline: list | tuple = (),
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        self.split = split
        self.num_frames = num_frames
        self.spacing = spacing
        self.window = window
        self.box = box
        # A sample that fails to load is an error to show, never one to replace by another sample.
        super().__init__(data_root=data_root, pipeline=list(pipeline), test_mode=test_mode, lazy_init=lazy_init,
                         max_refetch=0)

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        return parse_pose_metainfo(super()._load_metainfo(metainfo))

    def load_data_list(self) -> list[dict]:
        """Samples of the split, in file order."""
        annotations = load_annotations(self.data_root)
        frames = frames_of_split(annotations, self.split)
        if not frames:
            raise UserError(f'split "{self.split}" has no annotated frame', annotations.path,
                            'check splits.json and the "annotated" fields')
        annotated = np.array([name in annotations.landmarks for name in LANDMARKS], dtype=np.float32)
        boxes = boxes_of(self.box, frames, annotations)
        if without := len(frames) - len(boxes):
            print_log(f'{without} of {len(frames)} pictures of split "{self.split}" have no box in {self.box}: the '
                      'whole picture is used', logger='current', level=logging.WARNING)
        samples = [self._sample(index, frame, annotations.root, annotated, boxes.get(frame.image_id))
                   for index, frame in enumerate(frames)]
        paths = {file.path for sample in samples for file in sample['window_files']}
        missing = sorted(str(path) for path in paths if not path.is_file())
        if missing:
            raise UserError(f'{len(missing)} of {len(paths)} pictures are missing: {list_problems(missing, 3)}',
                            annotations.path, 'restore the files, or correct "file_name" and "frame_pattern"')
        return samples

    def _sample(self, index: int, frame: Frame, root: Path, annotated: np.ndarray, box: Box | None) -> dict[str, Any]:
        box = box or whole_picture(frame)
        files, position = window_files(frame, root, self.num_frames, self.spacing, self.window)
        keypoints, visible = tools_to_slots(frame)
        supervision = {} if self.test_mode else dict(acting_tools=frame.active_tools)
        return dict(
            supervision, id=index, img_id=frame.image_id,
            img_path=str(files[position]), window_files=files,
            target_index=position, video=frame.video.name, frame_id=frame.frame_id,
            keypoints=keypoints, keypoints_visible=visible, landmark_annotated=annotated,
            tool_actions=[action for action, _ in _slot_rows(frame)] or [None],
            picture_size=(frame.width, frame.height),
            bbox=np.array([box.corners], dtype=np.float32), bbox_score=np.array([box.score], dtype=np.float32))

    def get_data_info(self, idx: int) -> dict:
        """A sample with the meta information that MMPose's transforms need."""
        info = super().get_data_info(idx)
        for key in ('dataset_name', 'upper_body_ids', 'lower_body_ids', 'flip_pairs', 'dataset_keypoint_weights',
                    'flip_indices', 'skeleton_links'):
            info[key] = self.metainfo[key]
        return info


def tools_to_slots(frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks of the acting tools: keypoints (N, 3, 2) in original pixels and visibility (N, 3), N >= 1.

    Hidden points (v = 1) count like visible ones. A tool with more tips than slots takes a further row.
    """
    rows = _slot_rows(frame)
    keypoints = np.zeros((max(len(rows), 1), len(SLOTS), 2), dtype=np.float32)
    visible = np.zeros(keypoints.shape[:2], dtype=np.float32)
    for row, (_, points) in enumerate(rows):
        for slot, xy in points.items():
            keypoints[row, SLOTS.index(slot)] = xy
            visible[row, SLOTS.index(slot)] = 1
    return keypoints, visible


def _slot_rows(frame: Frame) -> list[tuple[str | None, dict[str, tuple[float, float]]]]:
    """Action and points by slot of every row of :func:`tools_to_slots`; none where nothing acts."""
    rows: list[tuple[str | None, dict[str, tuple[float, float]]]] = []
    for tool in frame.active_tools:
        own: list[dict[str, tuple[float, float]]] = [{}]
        for point in tool.points:
            free = [slot for slot in SLOTS if slot.startswith(point.landmark)]
            slot = next((s for s in free if s not in own[-1]), None)
            if slot is None:
                own.append({})
                slot = free[0]
            own[-1][slot] = (point.x, point.y)
        rows += [(tool.action, points) for points in own]
    return rows
