"""ablation.json and ablation.md: what the kept units of ablation.py amount to."""
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
from ablation_units import (
    BENCH,
    CONTROLS,
    LOOKS,
    METHODS,
    MOTION,
    ROOT,
    SEEDS,
    SHARES,
    Method,
    coarse_config_of,
    config_of,
    units_of,
)
from machine import describe_machine

from mmpose_surgical.datasets.annotations import load_annotations
from mmpose_surgical.datasets.records import Annotations, Frame
from mmpose_surgical.datasets.splits import frames_of_split, load_splits
from mmpose_surgical.errors import UserError
from mmpose_surgical.evaluation.bootstrap import cluster_bootstrap
from mmpose_surgical.evaluation.breakdowns import shares
from mmpose_surgical.evaluation.comparison import compare, plain
from mmpose_surgical.evaluation.evaluator import Matched, Rules, match_runs
from mmpose_surgical.evaluation.full import evaluate_in_full
from mmpose_surgical.evaluation.predictions import Predictions
from mmpose_surgical.evaluation.summary import describe_data, with_meta
from mmpose_surgical.files import write_json, write_text
from mmpose_surgical.landmarks import LANDMARKS

RESULTS = ROOT / 'benchmarks/results'
MARGIN = 0.03
"""Two methods count as equivalent within this difference."""
PRIOR, AUX = 'refine_prior_{}', 'refine_prior_aux_{}'
BACKENDS = ('simulated', 'grabcut')
NO_PRIOR = [('refine', 'coarse'), ('direct_mask', 'coarse')]
PAPER_F1 = {'coarse': (52.9, 51.5), 'refine': (68.5, 56.4), 'direct_mask': (68.7, 56.4), PRIOR: (71.6, 57.9),
            AUX: (72.4, 58.0), 'simplebaseline': (37.1, 52.2), 'rtmpose': (65.4, 57.1), 'yolov8_pose': (67.7, 48.8)}
"""Of tips and anchors overall, as printed in the paper's Tables 2 and 3."""
# (a, b): differences are a - b. What the paper says of these pairs: overall, a has the greater F1.
PAPER = [(PRIOR, 'refine'), (AUX, PRIOR), (PRIOR, 'direct_mask'), (AUX, 'direct_mask'), (AUX, 'coarse'),
         (AUX, 'simplebaseline'), (AUX, 'rtmpose'), (AUX, 'yolov8_pose')]
# What its sentences (4.1 to 4.3), and the cells of its tables that go against the full method, say of parts:
# (a, b, action, landmark, measure); a is the better one, which has the smaller L2.
PARTS = [('direct_mask', 'refine', 'overall', 'tip', 'f1'),
         ('yolov8_pose', 'rtmpose', 'overall', 'tip', 'f1'), ('rtmpose', 'simplebaseline', 'overall', 'tip', 'f1'),
         ('rtmpose', 'simplebaseline', 'overall', 'anchor', 'f1'),
         ('simplebaseline', 'yolov8_pose', 'overall', 'anchor', 'f1'),
         *((AUX, name, action, 'tip', 'f1') for action in ('clip', 'grasp')
           for name in ('simplebaseline', 'rtmpose', 'yolov8_pose')), ('yolov8_pose', AUX, 'dissect', 'tip', 'f1'),
         ('direct_mask', AUX, 'grasp', 'tip', 'f1'), ('yolov8_pose', AUX, 'grasp', 'anchor', 'f1'),
         ('rtmpose', AUX, 'dissect', 'anchor', 'f1'),
         (PRIOR, 'coarse', 'clip', 'anchor', 'f1'), (PRIOR, 'refine', 'clip', 'anchor', 'f1'),
         (PRIOR, 'direct_mask', 'clip', 'anchor', 'f1'),
         (AUX, 'coarse', 'dissect', 'tip', 'f1'), (AUX, 'coarse', 'dissect', 'anchor', 'f1'),
         ('direct_mask', PRIOR, 'overall', 'anchor', 'recall'), ('direct_mask', AUX, 'overall', 'anchor', 'recall'),
         (AUX, PRIOR, 'overall', 'anchor', 'l2'), ('direct_mask', AUX, 'overall', 'tip', 'l2'),
         ('direct_mask', 'coarse', 'overall', 'tip', 'l2'), ('coarse', 'direct_mask', 'overall', 'anchor', 'l2'),
         ('rtmpose', AUX, 'overall', 'tip', 'l2'), ('rtmpose', AUX, 'overall', 'anchor', 'l2')]
OTHERS = [
    *((template.format('simulated'), template.format('grabcut')) for template in (PRIOR, AUX)),
    (AUX.format('simulated'), 'in_sample_simulated'), (AUX.format('simulated'), 'refine_prior_aux_broken'),
    (AUX.format('simulated'), 'refine_prior_aux_dropout'),
    # At more equal training: the full method's stages read more frames than one network does.
    (AUX.format('simulated'), 'coarse_double'), ('direct_mask', 'coarse_double'),
    ('coarse', 'simplebaseline'), ('coarse', 'coarse_t1'), ('coarse_t1', 'simplebaseline'),
    ('coarse_t5', 'coarse_t1'), ('direct_mask_gate', 'direct_mask_quarter')]
LENGTHS = [*((f'{name}_{share}', name) if SHARES[share] > 1 else (name, f'{name}_{share}')
             for name, shares in CONTROLS.items() for share in shares),
           ('refine_prior_aux_double', AUX.format('simulated'))]
"""(longer, shorter) training of one method."""
BY = ('look_alike', 'tools', 'conditions.smoke', 'conditions.blood', 'conditions.blur')


def write_results() -> None:
    """Make ablation.json and ablation.md of what is kept."""
    from ablation_tables import tables
    record = dict(command='python benchmarks/ablation.py --collect', machine=describe_machine(),
                  benches={data: collect(data) for data in (BENCH, MOTION, LOOKS)})
    write_json(RESULTS / 'ablation.json', record)
    write_text(RESULTS / 'ablation.md', tables(record))


def collect(data: str) -> dict[str, Any]:
    """Metrics of all methods that have units on one bench, and their paired comparisons."""
    annotations = load_annotations(ROOT / 'data' / data)
    frames = frames_of_split(annotations, 'test')
    found: dict[str, Any] = dict(
        data=describe_data(annotations), test_frames=len(frames), chance=float(np.mean([
            1 / count for count in map(tools_in_view, frames) if count > 1])),
        test_videos=len({frame.video.name for frame in frames}), methods={}, paper={}, parts={})
    by_name = {method.name: method for method in METHODS if method.data == data}
    units = {method.name: kept for method in by_name.values() if (kept := units_of(method))}
    kept_seeds = {name: [record['seed'] for record, _ in kept] for name, kept in units.items()}
    found['missing'] = {name: left for name, method in by_name.items() if (left := [
        seed for seed in sorted({*SEEDS, *sum(kept_seeds.values(), [])})
        if method.has(seed) and seed not in kept_seeds.get(name, ())])}
    for name, kept in units.items():
        method = by_name[name]
        found['methods'][name] = evaluate(annotations, frames, *zip(*kept)) | trained_by(method, annotations) | dict(
            # Not those that are kept: what a row was called when it was trained, and the config then, may differ.
            command=['python ' + ' '.join(method.command(seed)) for seed in kept_seeds[name]])
    chain = {method.name for method in METHODS if method.chain}

    @cache
    def difference(a: str, b: str) -> dict[str, Any] | None:
        """Also asked for in several tables."""
        return _difference(frames, annotations, units[a], units[b], {a, b} <= chain) if {a, b} <= set(units) else None

    def differences(pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
        return [dict(a=a, b=b, **entry) for a, b in pairs if (entry := difference(a, b))]
    for backend in BACKENDS:
        # What stands on no prior is told once.
        pairs = (NO_PRIOR if backend == BACKENDS[0] else []) + PAPER
        told = differences((a.format(backend), b.format(backend)) for a, b in pairs)
        corrected = iter(_holm([entry['f1']['overall'][landmark] for entry in told for landmark in LANDMARKS]))
        printed = {name.format(backend): f1 for name, f1 in PAPER_F1.items()}
        found['paper'][backend] = [dict(
            entry, holm={lm: next(corrected) for lm in LANDMARKS},
            in_the_paper={lm: round(x - y, 1) for lm, x, y in zip(LANDMARKS, printed[entry['a']], printed[entry['b']])})
            for entry in told]
        named = [(a.format(backend), b.format(backend), *part) for a, b, *part in PARTS
                 if backend == BACKENDS[0] or '{}' in a + b]
        parts = [dict(a=a, b=b, action=action, landmark=landmark, measure=measure, seeds=entry['seeds'],
                      cell=entry[measure][action][landmark])
                 for a, b, action, landmark, measure in named if (entry := difference(a, b))]
        found['parts'][backend] = [dict(part, holm=its) for part, its in zip(
            parts, _holm([part['cell'] for part in parts]))]
    found |= dict(others=differences(OTHERS), lengths=differences(LENGTHS))
    return found


def _matched(frames: Sequence[Frame], annotations: Annotations, units: Sequence[tuple[dict, Predictions]],
             all_points: bool = False) -> Matched:
    return match_runs(frames, [points for _, points in units],
                      [None if all_points else record['thresholds'] for record, _ in units],
                      Rules(landmarks=annotations.landmarks))


def _difference(frames: Sequence[Frame], annotations: Annotations, a: Sequence[tuple[dict, Predictions]],
                b: Sequence[tuple[dict, Predictions]], paired_seeds: bool) -> dict[str, Any] | None:
    """Comparison of two methods over the seeds that both have; seeds are paired behind one coarse network.

    Which tool a method points at is asked of its best tip, whatever the score; F1 counts points above the threshold.
    """
    seeds = sorted({record['seed'] for record, _ in a} & {record['seed'] for record, _ in b})
    if not seeds:
        return None
    both = [[unit for unit in units if unit[0]['seed'] in seeds] for units in (a, b)]
    counted, every_point = (compare(*(_matched(frames, annotations, units, all_points) for units in both),
                                    margin=MARGIN, paired_seeds=paired_seeds) for all_points in (False, True))
    return dict(seeds=seeds, **{measure: counted[measure] for measure in ('recall', 'f1', 'l2')},
                active_tool_accuracy=every_point['active_tool_accuracy'])


def _holm(cells: Sequence[dict[str, Any]]) -> list[dict[str, float | None]]:
    """``p`` of a difference and of equivalence, each after Holm's correction over all these comparisons."""
    return [dict(p=p, equivalence=equal) for p, equal in zip(
        _corrected([cell['p'] for cell in cells]),
        _corrected([cell.get('equivalence', {}).get('p') for cell in cells]))]


def _corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction; a p value that is not known stays so and counts for nothing."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        corrected[place] = highest = max(highest, min(1.0, (len(known) - rank) * p))
    return corrected


def evaluate(annotations: Annotations, frames: Sequence[Frame], records: Sequence[dict[str, Any]],
             points: Sequence[Predictions]) -> dict[str, Any]:
    """The metrics of a method over its seeds with all that they stand on, without what is long.

    Raises:
        UserError: The units were evaluated on another ground truth.
    """
    metas = [record['meta'] for record in records]
    if {meta['data']['sha256'] for meta in metas} != {annotations.sha256}:
        raise UserError('kept units were evaluated on another ground truth', annotations.path,
                        'remove the folder, so that the data is made again, or those units')
    units = list(zip(records, points))
    metrics = evaluate_in_full(frames, points, [record['thresholds'] for record in records],
                               Rules(landmarks=annotations.landmarks), by=BY)
    same = {name: metas[0][name] for name in ('data', 'split', 'config', 'prior', 'coarse_for_training',
                                              'target_masks', 'box')}
    each = {name: [meta[name] for meta in metas] if len(metas) > 1 else metas[0][name]
            for name in ('threshold_from', 'checkpoint')}
    told = with_meta(metrics, **same, **each, git_commit=sorted({meta['git_commit'] for meta in metas}))
    left = {name: told[name] for name in ('meta', 'results', 'macro', 'per_seed', 'by', 'active_tool_accuracy',
                                          'false_points_per_idle_minute', 'average_precision', 'tolerance_curve',
                                          'jitter') if name in told}
    machines = {(record['machine']['gpu'] or record['machine']['processor'], record['machine']['torch'])
                for record in records}
    return dict(left, above_chance=above_chance(_matched(frames, annotations, units, all_points=True)),
                **{key: [record[key] for record in records] for key in (
                    'seed', 'epochs', 'seconds', 'thresholds', 'validation_f1', 'priors')},
                machines=sorted(map(list, machines)))


def trained_by(method: Method, annotations: Annotations) -> dict[str, Any]:
    """Learning rate, and frames that a training reads: epochs x annotated pictures x frames of a clip.

    Of the last stage, and of all: behind a refiner there is the coarse network, and once more for each fold.
    """
    def frames_seen(cfg: Any, split: str = 'train') -> int:
        pictures = sum(frame.annotated for frame in frames_of_split(annotations, split))
        return cfg.train_cfg.max_epochs * pictures * cfg.clip.num_frames
    cfg, coarse = config_of(method), coarse_config_of(method)
    own = total = frames_seen(cfg)
    if coarse:
        folds = len(load_splits(annotations.root, annotations).folds) if cfg.coarse.out_of_fold else 0
        total += sum(frames_seen(coarse, split) for split in ('train', *(f'not-fold{k}' for k in range(folds))))
    return dict(learning_rate=cfg.optim_wrapper.optimizer.lr, frames_seen=own, frames_seen_by_all_stages=total)


def tools_in_view(frame: Frame) -> int:
    """Number of tools among which ``active_tool_accuracy`` asks for the acting one; 0 for a frame that asks nothing."""
    if len(frame.active_tools) != 1 or not frame.active_tools[0].points:
        return 0
    count = sum(bool(tool.points) for tool in frame.tools)
    return count if count > 1 else 0


def above_chance(matched: Matched) -> dict[str, Any]:
    """Share of frames with several tools whose best tip, whatever its score, is on the acting one, less chance.

    Chance is 1 / (number of tools) in every frame. The interval, p (two-sided, of "equal to chance") and p of "at least
    the margin away from chance" are of the bootstrap over videos and seeds.
    """
    table = matched.table
    asked, answered, correct = matched.active_tool
    chance = np.array([1 / max(tools_in_view(frame), 1) for frame in table.frames])
    counts = np.zeros((table.seeds, len(table.videos), 2))
    np.add.at(counts, (table.frame_seed, table.frame_video), np.stack([(correct - chance) * asked, asked], axis=1))
    found = cluster_bootstrap([counts], shares)
    return dict(accuracy=float(correct[asked].mean()), answered=float(answered[asked].mean()),
                frames=int(asked.sum()), difference=float(found.estimate[0]), ci95=plain(found.interval()[0]),
                p=plain(found.p_value()[0]), p_equivalence=plain(found.p_equivalence(MARGIN)[0]))
