"""The MMEngine shell around :mod:`mmpose_surgical.evaluation.evaluator`."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpose.registry import METRICS

from mmpose_surgical.datasets.annotations import landmark_of, load_annotations
from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.evaluator import TOLERANCE, evaluate
from mmpose_surgical.evaluation.matching import Protocol
from mmpose_surgical.evaluation.predictions import Predictions, surest_of_equal, write_predictions
from mmpose_surgical.evaluation.summary import describe_data, with_meta
from mmpose_surgical.evaluation.table import CANVAS
from mmpose_surgical.evaluation.thresholds import THIS_DATA, choose_thresholds, read_thresholds, threshold_source


@METRICS.register_module()
class LandmarkMatchingMetric(BaseMetric):
    """Precision, recall, F1 and L2 of matched landmarks (paper section 3.2).

    It reads the ground truth from the annotation file, so a Runner and ``tools/evaluate.py`` give the same
    numbers for the same points. The frames that count are those that were run.

    Each sample brings ``img_id`` and ``pred_instances`` with ``keypoints`` (N, K, 2) in pixels of the
    original picture and ``keypoint_scores`` (N, K), the K slots named by
    ``dataset_meta['keypoint_id2name']``; a score of 0 or less says that the slot is empty, and two slots that
    name one landmark at the very same place are one point.

    Args:
        ann_file: annotation file, relative to ``data_root`` unless absolute.
        data_root: the data set folder.
        tolerance: greatest distance of a match, inclusive, in canvas pixels.
        canvas: (width, height) that pictures are stretched to; ``None`` keeps original pixels.
        score_thr: ``None`` (all points count), one number, one per landmark, a thresholds file, or
            ``'best'``: chosen on the evaluated data itself, which is sensible on validation only and recorded
            as such.
        visible_only: ground truth with v = 2 only.
        protocol: ``max_pairs`` or ``global``, see :mod:`mmpose_surgical.evaluation.matching`.
        out_predictions: where to write all points, before any threshold (JSON, or CSV by its name).
        split: name of the evaluated split, for the record.

    Attributes:
        last_metrics: the whole Metrics record of the last evaluation, on rank 0 only.
        last_thresholds: the thresholds record of the last evaluation with ``score_thr='best'``, likewise.
    """

    default_prefix = 'surgical'

    def __init__(self, ann_file: str = 'annotations.json', data_root: str = '', tolerance: float = TOLERANCE,
                 canvas: Sequence[float] | None = CANVAS,
                 score_thr: float | Mapping[str, float | None] | str | None = None,
                 visible_only: bool = False, protocol: Protocol = 'max_pairs',
                 out_predictions: str | None = None, split: str | None = None, collect_device: str = 'gpu',
                 prefix: str | None = None, collect_dir: str | None = None) -> None:
        # MMEngine's word 'gpu' means through the process group, on a CPU too; 'cpu' leaves files in the current folder.
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.ann_file = Path(data_root) / ann_file
        self.score_thr = score_thr
        self.rules = dict(tolerance=tolerance, canvas=None if canvas is None else tuple(canvas),
                          visible_only=visible_only, protocol=protocol)
        self.out_predictions = out_predictions
        self.split = split
        self.last_metrics: dict[str, Any] | None = None
        self.last_thresholds: dict[str, Any] | None = None
        self._annotations: Annotations | None = None

    @property
    def annotations(self) -> Annotations:
        """The ground truth, read on first use: only rank 0 needs it."""
        if self._annotations is None:
            self._annotations = load_annotations(self.ann_file)
        return self._annotations

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Append one ``{image_id, points}`` per sample; ``collect_results`` counts on exactly one."""
        names = self.dataset_meta['keypoint_id2name']
        for sample in data_samples:
            xy, score = (_numpy(sample['pred_instances'][k]) for k in ('keypoints', 'keypoint_scores'))
            image_id = int(sample['img_id'])
            # NaN is kept, so that a diverged model is an error and not one that abstains.
            filled = np.argwhere(~(score <= 0))
            points = [dict(image_id=image_id, landmark=landmark_of(names[int(k)]), x=float(xy[n, k, 0]),
                           y=float(xy[n, k, 1]), score=float(score[n, k])) for n, k in filled]
            self.results.append({'image_id': image_id, 'points': surest_of_equal(points)})

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Scalars for the log and the best-checkpoint rule, without those that are undefined.

        An undefined F1 (no point in the data, none predicted) is 0, so that ``save_best`` finds its key.
        """
        annotations = self.annotations
        ids = [result['image_id'] for result in results]
        strange = sorted(i for i, n in Counter(ids).items() if n > 1 or i not in annotations.by_id)
        if strange:
            raise UserError(f'evaluated images are repeated or not in the annotations: {strange[:10]}',
                            self.ann_file, 'give the metric the annotation file of its data loader')
        predictions = Predictions.from_records((point for result in results for point in result['points']),
                                               'output of the model')
        if self.out_predictions is not None:
            write_predictions(self.out_predictions, predictions)
        frames = [annotations.by_id[i] for i in ids]
        rules = dict(self.rules, landmarks=annotations.landmarks)
        source = dict(data=describe_data(annotations), split=self.split)
        thresholds, origin = self._thresholds(frames, predictions, rules, source)
        metrics = evaluate(frames, predictions, score_thr=thresholds, **rules)
        self.last_metrics = with_meta(metrics, threshold_from=origin, **source)
        return scalars(metrics)

    def _thresholds(self, frames: list[Frame], predictions: Predictions, rules: dict[str, Any],
                    source: dict[str, Any]) -> tuple[Any, Any]:
        """The thresholds to apply and where they come from."""
        if self.score_thr == 'best':
            self.last_thresholds = choose_thresholds(frames, predictions, source=source, **rules)
            return {k: v for k, v in self.last_thresholds.items() if k != 'meta'}, THIS_DATA
        if isinstance(self.score_thr, (str, Path)):
            thresholds, meta = read_thresholds(self.score_thr)
            return thresholds, threshold_source(self.score_thr, meta)
        return self.score_thr, None if self.score_thr is None else 'config'


def _numpy(values: Any) -> np.ndarray:
    """An array or a tensor of any device and precision as float64."""
    if hasattr(values, 'detach'):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The overall numbers by short names, without those that are undefined.

    ``tip_F1, tip_P, tip_R, tip_L2``, the same for ``anchor``, ``mean_F1``, ``active_tool_accuracy`` and
    ``false_points_per_idle_minute``.
    """
    out: dict[str, float | None] = {}
    overall = metrics['results']['overall']
    for landmark, cell in overall.items():
        out[f'{landmark}_F1'] = cell['f1'] or 0.0
        for short, name in (('P', 'precision'), ('R', 'recall'), ('L2', 'l2')):
            out[f'{landmark}_{short}'] = cell[name]
    out['mean_F1'] = float(np.mean([out[f'{landmark}_F1'] for landmark in overall]))
    out['active_tool_accuracy'] = metrics['active_tool_accuracy']['accuracy']
    out['false_points_per_idle_minute'] = metrics['false_points_per_idle_minute']['all']
    return {name: value for name, value in out.items() if value is not None}
