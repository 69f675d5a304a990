"""What an inferencer finds in a stream against what tools/test.py found in the same frames."""
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.evaluation.predictions import read_predictions
from mmpose_surgical.landmarks import SLOTS, landmark_of


def inferencer_of(*args: Any, **kwargs: Any) -> Any:
    from mmpose_surgical.apis.inferencer import SurgicalLandmarkInferencer
    return SurgicalLandmarkInferencer(*args, **kwargs)


def count_frames(inferencer: Any) -> Callable[[], list[int]]:
    """Lets an inferencer count the pictures that enter each backbone; gives the numbers when called."""
    counts = []
    for network in inferencer.networks:
        backbone = getattr(network.model.backbone, 'backbone', network.model.backbone)
        seen: list[int] = []
        backbone.register_forward_pre_hook(lambda module, inputs, seen=seen: seen.append(len(inputs[0])))
        counts.append(seen)
    return lambda: [sum(seen) for seen in counts]


def clip_of(frame: Any, root: Path) -> list[Path]:
    """All frames of the clip of an annotated frame."""
    return [frame.file(root, number).path for number in range(frame.clip.start_frame, frame.clip.end_frame + 1)]


def all_points(sample: Any) -> list[tuple]:
    """Points of a sample whatever their score, by landmark."""
    found = sample.pred_instances
    rows = zip(SLOTS, found.keypoints[0].tolist(), found.keypoint_scores[0].tolist())
    return sorted((landmark_of(slot), *xy, score) for slot, xy, score in rows if score > 0)


def check_against_test(inferencer: Any, predictions: Path, data: Path) -> None:
    """Every annotated test frame, predicted within its clip as a stream, has the points of a predictions file."""
    annotations = load_annotations(data)
    expected = read_predictions(predictions)
    for frame in frames_of_split(annotations, 'test'):
        results = list(inferencer(clip_of(frame, annotations.root), fps=frame.video.fps))
        assert [result.frame for result in results] == list(range(5))
        found = all_points(results[frame.frame_id - frame.clip.start_frame].data_sample)
        mine = expected.select(expected.image_id == frame.image_id)
        rows = sorted(zip(mine.landmark.tolist(), mine.x.tolist(), mine.y.tolist(), mine.score.tolist()))
        assert [row[0] for row in found] == [row[0] for row in rows] and rows
        np.testing.assert_allclose([row[1:] for row in found], [row[1:] for row in rows], atol=2e-3)
