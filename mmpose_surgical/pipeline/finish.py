"""The end of a full run: thresholds from validation, metrics and overlays of the test split."""
import copy
import gc
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.boxes import PICTURE, box_label
from mmpose_surgical.datasets.splits import frames_of_split
from mmpose_surgical.evaluation.evaluator import Rules
from mmpose_surgical.evaluation.full import evaluate_in_full
from mmpose_surgical.evaluation.predictions import read_predictions
from mmpose_surgical.evaluation.summary import describe_data, git_commit, metrics_table, with_meta, write_metrics
from mmpose_surgical.evaluation.thresholds import (
    choose_thresholds,
    read_thresholds,
    threshold_source,
    write_thresholds,
)
from mmpose_surgical.files import file_digest, read_json
from mmpose_surgical.pipeline.config import coarse_for_training, uses_prior
from mmpose_surgical.pipeline.distributed import wait_for_all
from mmpose_surgical.pipeline.prompting import describe_prior
from mmpose_surgical.pipeline.stages import METRICS, build_runner, final_checkpoint
from mmpose_surgical.pipeline.yolo import by_ultralytics, predict_yolo
from mmpose_surgical.priors.prompts import prior_name
from mmpose_surgical.visualization.overlays import draw_overlays

THRESHOLDS = 'thresholds.json'


def predict_split(cfg: Config, checkpoint: Path, split: str, folder: Path) -> Path:
    """Run the test loop on a split; returns the predictions file (all points, no threshold)."""
    if by_ultralytics(cfg):
        return predict_yolo(cfg, checkpoint, split, folder)
    cfg = copy.deepcopy(cfg)
    cfg.load_from, cfg.resume = str(checkpoint), False
    out = folder / f'{split}_predictions.json'
    cfg.test_dataloader.dataset.split = split
    cfg.test_evaluator.update(split=split, out_predictions=str(out), score_thr=None)
    # The loop alone is wanted: no training data, no validation.
    for part in ('train', 'val'):
        for key in (f'{part}_dataloader', f'{part}_cfg', f'{part}_evaluator'):
            cfg[key] = None
    cfg.optim_wrapper, cfg.param_scheduler = None, None
    runner = build_runner(cfg)
    runner.test()
    del runner
    gc.collect()
    wait_for_all()
    return out


def finish_run(cfg: Config) -> dict[str, Any]:
    """Choose thresholds on validation, evaluate the test split with them, draw overlays.

    Writes ``thresholds.json``, ``val_predictions.json``, ``test_predictions.json``, ``metrics.json`` and ``overlays/``
    into the work directory.

    Returns:
        Facts for the record of the run.
    """
    folder = Path(cfg.work_dir)
    checkpoint = final_checkpoint(folder)
    val = predict_split(cfg, checkpoint, 'val', folder)
    test = predict_split(cfg, checkpoint, 'test', folder)
    from mmengine.dist import is_main_process
    if not is_main_process():
        return {}
    rules = matching_rules(cfg)
    annotations = load_annotations(cfg.data_root)
    source = dict(data=describe_data(annotations), split='val')
    thresholds = choose_thresholds(frames_of_split(annotations, 'val'), read_predictions(val), source=source, **rules)
    write_thresholds(folder / THRESHOLDS, thresholds)
    write_results(cfg, checkpoint, 'test', test, folder / THRESHOLDS, folder)
    return dict(thresholds=thresholds)


def matching_rules(cfg: Config) -> dict[str, Any]:
    """The rules of matching that a config sets."""
    evaluator = cfg.test_evaluator
    canvas = evaluator.get('canvas', (640, 480))
    return dict(tolerance=evaluator.get('tolerance', 15), canvas=None if canvas is None else tuple(canvas),
                visible_only=evaluator.get('visible_only', False), protocol=evaluator.get('protocol', 'max_pairs'))


def write_results(cfg: Config, checkpoint: Path, split: str, predictions: Path, thresholds: Path | None,
                  folder: Path, overlays: int = 24) -> dict[str, Any]:
    """Evaluate predictions of a split and write ``metrics.json`` and overlays into ``folder``.

    Args:
        cfg: The run's config.
        checkpoint: The weights that made the predictions, for the record.
        split: Name of the split.
        predictions: Predictions file.
        thresholds: Thresholds file; ``None``: all points count.
        folder: Where to write.
        overlays: Number of pictures to draw.

    Returns:
        The metrics.
    """
    annotations = load_annotations(cfg.data_root)
    prior = describe_prior(cfg) if uses_prior(cfg) else None
    frames = frames_of_split(annotations, split)
    points = read_predictions(predictions)
    values, origin = None, None
    if cfg.get('score_thr') is not None:
        values, origin = cfg.score_thr, 'command line'
    elif thresholds is not None:
        values, meta = read_thresholds(thresholds)
        origin = threshold_source(thresholds, meta)
    metrics = with_meta(
        evaluate_in_full(frames, [points], [values], Rules(landmarks=annotations.landmarks, **matching_rules(cfg))),
        threshold_from=origin,
        data=describe_data(annotations), split=split, config=Path(cfg.config_file).name, git_commit=git_commit(),
        checkpoint=dict(name=checkpoint.name, sha256=file_digest(checkpoint)),
        prior=prior, coarse_for_training=coarse_for_training(cfg), target_masks=cfg.get('target_masks'),
        box=box_label(cfg.get('box', PICTURE)))
    write_metrics(folder / METRICS, metrics)
    draw_overlays(frames, points, values, annotations.root, Path(cfg.get('show_dir') or folder / 'overlays'),
                  prior_store_of(cfg) if prior else None,
                  prior_name(prior) if prior else None, limit=overlays)
    return metrics


def prior_store_of(cfg: Config) -> Path | None:
    """Folder of the mask priors that a refiner reads, ``None`` for a model without."""
    for transform in cfg.test_dataloader.dataset.pipeline:
        if transform['type'] == 'LoadMaskPrior':
            return transform['priors'] and Path(transform['priors'])
    return None


def show_results(cfg: Config, console: Console) -> None:
    """Print the metrics table of a finished run and where its files are."""
    folder = Path(cfg.work_dir)
    console.print(metrics_table(read_json(folder / METRICS)))
    overlays = cfg.get('show_dir') or folder / 'overlays'
    console.print(f'results: {folder / METRICS}   overlays: {overlays}', highlight=False, soft_wrap=True)
