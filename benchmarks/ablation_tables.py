"""The figures of ablation.json as Markdown."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ablation_units import BENCH, MOTION

from mmpose_surgical.evaluation.summary import p_text, percent, percent_range
from mmpose_surgical.landmarks import LANDMARKS
from mmpose_surgical.visualization.report.comparison import Comparison, Method
from mmpose_surgical.visualization.report.runs import Run
from mmpose_surgical.visualization.report.tables import all_tables
from mmpose_surgical.visualization.report.texts import markdown_table

_INTRODUCTION = """# The compared methods on the synthetic bench

`python benchmarks/ablation.py`. Rates in per cent at 15 px on 640x480, L2 in pixels over matched pairs; in brackets
95 % intervals (BCa over videos, Student's t over seeds). Counts are summed over the seeds; each threshold is chosen
on validation videos. `simulated` (near-ideal) and `grabcut` (poor) are stand-ins for SAM 3. Best of a column in bold.

All methods: pictures of 192x144, batches of 8, the same 31 training videos and augmentation, and as backbone a
MobileNetV2 with the same ImageNet weights, whose first two stages stay as they are. YOLOv8's augmentation is the
nearest that its own program has (it shifts and turns every picture, the others 30 and 60 % of them); it averages
weights and goes on with the statistics of batch normalisation, which the others keep. So rows named after RTMPose,
SimpleBaseline and YOLOv8 have their heads, targets and losses, not their usual backbones: weights of ResNet-50, CSPNeXt
and YOLOv8 are on no package index, from which alone the machine that trained could load. For the same reason there is
no second table with them. SimpleBaseline's deconvolutions have half their width, and its input has black bars, 192x160.
The coarse network sees three frames of each clip, the external baselines one. RTMPose and SimpleBaseline read the last
stage alone, as is their way: at this size it has 6x5 cells. The backbone learns at a fifth of the rate that is told,
that of RTMPose at a quarter, that of YOLOv8 at the rate itself.

Every method was to reach its plateau, which comes later in some: so epochs and frames differ, and which ones are not
shown to have reached it is told below. Rows `_quarter`, `_half` and `_double` have other lengths; rows `_rate_` and
`_sigma_` have other learning rates (with the warm-up, or the share of the backbone, that goes with them) and another
sharpness of the points, at the length of the baseline's shortest row, which they are to be compared with, on
validation. So the rates of SimpleBaseline and RTMPose were chosen (RTMPose's by little, and not as test videos would
have it), and the sharpness of SimpleBaseline's and YOLOv8's points; not YOLOv8's rate, nor those of the coarse network,
the refiners and direct mask supervision. The weights of the latter's regions were chosen in the same way: `_gate` has
others. The weight of the mask loss is the middle one of three rows that validation hardly tells apart. Behind a refiner
there are, besides, the coarse network and its three folds.
"""


def tables(record: dict[str, Any]) -> str:
    """The whole file."""
    parts = [_bench(data, found) for data, found in record['benches'].items()]
    return '\n'.join([_INTRODUCTION, *(line for part in parts for line in part)])


def _bench(data: str, found: dict[str, Any]) -> list[str]:
    lines = [f'## {data}: {found["test_frames"]} test frames of {found["test_videos"]} videos, ground truth '
             f'{found["data"]["sha256"][:12]}', '']
    if found['missing']:
        lines += ['Not trained yet: ' + '; '.join(
            f'{name}, seed{"s" * (len(seeds) > 1)} {", ".join(map(str, seeds))}'
            for name, seeds in found['missing'].items()) + '.', '']
    if not found['methods']:
        return lines
    lines += [*_verdicts(found), '### Trainings', '', *_trainings(found), '', '### Results', '',
              *_overview(found, data)]
    rows = Comparison(tuple(Method(name, (Run(Path(name), metrics, {}, Path(name)),))
                            for name, metrics in found['methods'].items() if not _is_variant(name)))
    if rows.methods:
        for table in all_tables(rows):
            if table.key in ('methods', 'strategies'):
                lines += ['', f'### {table.title}', '', *markdown_table(table)]
        lines += ['', '### F1 of tips by condition', '', *_conditions(found)]
    for backend, entries in found['paper'].items():
        if entries:
            lines += ['', f"### The paper's orderings, prior `{backend}`", '', *_orderings(entries)]
    for backend, parts in found['parts'].items():
        if parts:
            lines += ['', f'### What the paper says of actions and of L2, prior `{backend}`', '', *_parts(parts)]
    for title, key in (('Other differences', 'others'), ('Longer against shorter training', 'lengths')):
        if found[key]:
            lines += ['', f'### {title}', '', *_differences(found[key])]
    return [*lines, '']


def _is_variant(name: str) -> bool:
    """Whether a method is no row of the paper's tables: another length, window, rate, weight or prior."""
    return name.endswith(('_quarter', '_half', '_double', '_gate', '_dropout', '_broken')) or any(
        part in name for part in ('_rate_', '_sigma_', '_lambda_', 'coarse_t', 'in_sample'))


def _trainings(found: dict[str, Any]) -> list[str]:
    """One line for each method: what it took, and what thresholds and choices stand on."""
    rows = []
    for name, metrics in found['methods'].items():
        rows.append([name, ', '.join(map(str, metrics['seed'])), metrics['epochs'][0], f'{metrics["learning_rate"]:g}',
                     *(f'{metrics[key] / 1000:.0f}' for key in ('frames_seen', 'frames_seen_by_all_stages')),
                     *(', '.join(percent(f1[lm]) for f1 in metrics['validation_f1']) for lm in LANDMARKS),
                     ', '.join('-' if s is None else f'{s / 60:.0f}' for s in metrics['seconds']),
                     ', '.join(commit[:7] + commit[40:] for commit in metrics['meta']['git_commit'])])
    dirty = any('dirty' in row[-1] for row in rows)
    return [*_table(['method', 'seeds', 'epochs', 'rate', '1,000 frames read', 'by all stages',
                     'validation tip F1 of each seed', 'anchor F1', 'minutes', 'commits'], rows), '',
            'Frames read: epochs x training pictures x frames of a clip, of the last stage, and with the coarse '
            'network and its folds behind a refiner. Minutes: until the call was done, with all stages that were not '
            'there yet, beside whatever else ran. Validation F1 at the threshold of greatest F1 there.' + (
                ' `-dirty`: files of that checkout had changed, which may be results alone.' if dirty else '')]


def _overview(found: dict[str, Any], data: str) -> list[str]:
    """One line for each method, variants too."""
    rows = []
    for name, metrics in found['methods'].items():
        prior, idle = metrics['meta']['prior'], metrics['false_points_per_idle_minute']
        ious = ' / '.join(f'{np.mean([report[split]["mean_iou"] for report in metrics["priors"]]):.2f}'
                          for split in ('train', 'test')) if metrics['priors'][0] else '-'
        active = metrics['above_chance']
        in_sample = metrics['meta']['coarse_for_training'] == 'in-sample'
        each = metrics.get('per_seed') or [metrics['results']['overall']]
        rows.append([name, '-' if prior is None else prior['backend'] + (', in-sample' if in_sample else ''), ious,
                     *(_f1(metrics['results']['overall'][lm]) for lm in LANDMARKS),
                     ', '.join(' / '.join(percent(seed[lm]['f1']) for lm in LANDMARKS) for seed in each),
                     percent(active['accuracy']), percent(active['answered']),
                     f'{_with_interval(active["difference"], active["ci95"], "+")}, p {p_text(active["p"])}',
                     _count(idle['all'], idle.get('ci95', {}).get('all'))])
    lines = [*_table(['method', 'prior', 'its IoU, train / test', 'tip F1', 'anchor F1', 'of each seed',
                      'best tip on the acting tool', 'frames with a tip', 'above chance', 'false points / idle min'],
                     rows), '',
             'Best tip on the acting tool: of the frames with several tools in view, whatever the score; a frame '
             'without a tip counts as wrong; chance is one over the number of tools, '
             f'{percent(found["chance"])} % in the mean. IoU of the prior with the acting tool, '
             'failed priors counted as 0.']
    seeds = {len(metrics['seed']) for metrics in found['methods'].values()}
    if 1 in seeds:
        lines.append('Where there is one training seed, intervals and p know the spread over videos only.')
    if 2 in seeds:
        lines.append('Where there are two, the spread of the seeds is hardly known, and intervals may be too narrow.')
    differing = [metrics['meta']['groups_where_protocols_differ'] / groups for metrics in found['methods'].values()
                 if (groups := metrics['meta']['groups_on_both_sides'])] or [0]
    lines.append(f'The two matching protocols differ in {100 * min(differing):.2f} to {100 * max(differing):.2f} % of '
                 'the frames and landmarks that have points on both sides.')
    for name, metrics in found['methods'].items():
        if 'coarse_t' in name and data != BENCH:  # where half of the clips are ambiguous
            p, equal = (p_text(metrics['above_chance'][key]) for key in ('p', 'p_equivalence'))
            lines.append(f'{name} is {against_chance(metrics["above_chance"])} (p of another share than chance {p}, of '
                         f'one within 3 points {equal}).')
    if data == MOTION:
        lines.append('In many more videos: [single_frame_chance.md](single_frame_chance.md). Five frames were trained '
                     'with one seed alone: no spread of seeds comes near their distance to chance.')
    return ['\n'.join(lines)]


def against_chance(found: dict[str, Any]) -> str:
    """What the two tests of ``above_chance`` say."""
    return ('not at chance' if found['p'] < 0.05 else 'at chance, within 3 points' if found['p_equivalence'] < 0.05
            else 'not told apart from chance, nor shown to be within 3 points of it')


def _f1(cell: dict[str, Any]) -> str:
    return _with_interval(cell['f1'], cell.get('ci95', {}).get('f1'))


def _conditions(found: dict[str, Any]) -> list[str]:
    """F1 of tips of each method by each value of what is told of the pictures."""
    methods = {name: metrics for name, metrics in found['methods'].items() if not _is_variant(name)}
    groups = next(iter(methods.values()))['by']
    heads = [f'{name.removeprefix("conditions.").replace("_", " ")}: {value}' for name, values in groups.items()
             for value in values]
    rows = [[name, *(percent(cell['tip']['f1']) for values in metrics['by'].values() for cell in values.values())]
            for name, metrics in methods.items()]
    return _table(['method', *heads], rows)


def _orderings(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Whether the paper's pairs are ordered here as there."""
    rows = []
    for entry in entries:
        for lm in LANDMARKS:
            cell, holm = entry['f1']['overall'][lm], entry['holm'][lm]
            rows.append([f'{entry["a"]} > {entry["b"]}', lm, len(entry['seeds']),
                         *(percent(cell[side]) for side in 'ab'),
                         _with_interval(cell['difference'], cell['ci95'], '+'), p_text(cell['p']),
                         p_text(holm['p']), p_text(holm['equivalence']), f'{entry["in_the_paper"][lm]:+.1f}',
                         _verdict(cell, holm)])
    return [*_table(['better in the paper', 'landmark', 'seeds', 'a', 'b', 'a - b', 'p', 'p (Holm)',
                     'p of equivalence (Holm)', 'a - b in the paper', 'here'], rows), '',
            'Paired by video, and by seed where both stand on the same coarse network; p is the larger of permutation '
            'by video and bootstrap. Equivalence: two one-sided tests that the two differ by less than '
            f'{_margin(entries):g} points, a margin that was set before any training; it does not say which one is '
            "ahead. Each of the two kinds of verdict is at 5 % after Holm's correction over all rows. In the paper "
            'direct mask supervision and refinement without prior have the same anchor F1 (56.4).']


def _margin(entries: Sequence[dict[str, Any]]) -> float:
    """Points within which two methods count as equal."""
    return 100 * entries[0]['active_tool_accuracy']['equivalence']['margin']


def _verdicts(found: dict[str, Any]) -> list[str]:
    """What came of the paper's orderings, in a few lines, and which methods were not at their plateau."""
    lines: list[str] = []
    for backend, entries in found['paper'].items():
        told: dict[str, list[str]] = {verdict: [] for verdict in _VERDICTS}
        for entry in entries:
            verdicts = [_verdict(entry['f1']['overall'][lm], entry['holm'][lm]) for lm in LANDMARKS]
            for verdict in dict.fromkeys(verdicts):
                of = [lm for lm, own in zip(LANDMARKS, verdicts) if own == verdict]
                notes = ', '.join([*(of if len(of) == 1 else []), *_one_seed(entry)])
                told[verdict].append(f'{entry["a"]} > {entry["b"]}' + (f' ({notes})' if notes else ''))
        lines += [f"- Of the paper's orderings, prior `{backend}`, {_VERDICTS[verdict].format(_margin(entries))}: "
                  f'{", ".join(pairs)}.'
                  for verdict, pairs in told.items() if pairs]
    if lines:
        lines += [f'- {said}: {", ".join(methods)}.' for said, methods in zip(
            ('Twice as long, training still raised F1 (p < 0.05)',
             'Not shown to be at their plateau, with what the longer of two trainings brought',
             'No other length was trained of'),
            (*_moving(found['lengths']), _of_one_length(found))) if methods]
        lines.append('- All of this is said of these lengths; refiners stand on the coarse network of row `coarse`.')
    return [*lines, ''] if lines else []


def _of_one_length(found: dict[str, Any]) -> list[str]:
    compared = {entry[side] for entry in found['lengths'] for side in 'ab'}
    return [name for name in found['methods'] if not _is_variant(name) and name not in compared]


def _moving(lengths: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Methods to which the next longer training that there is, or else the next shorter one, is not equivalent.

    First those of which a longer one had the greater F1 (p < 0.05), then those of which it is not known.
    """
    longest = {}  # of each method, the comparison of its longest training, which comes last
    for entry in lengths:
        longest[entry['b'] if entry['a'].endswith('_double') else entry['a']] = entry
    rising, unsure = [], []
    for name, entry in longest.items():
        cells = [entry['f1']['overall'][lm] for lm in LANDMARKS]
        unequal = [cell for cell in cells if not cell['equivalence']['equivalent']]
        if unequal:
            gains = [_with_interval(cell['difference'], None, '+') for cell in cells]
            told = ', '.join([*gains, *_one_seed(entry)])
            sure = name == entry['b'] and any(cell['p'] < 0.05 and cell['difference'] > 0 for cell in unequal)
            (rising if sure else unsure).append(f'{name} ({entry["b"]} to {entry["a"]}: {told})')
    return rising, unsure


def _one_seed(entry: dict[str, Any]) -> list[str]:
    return ['one seed'] if len(entry['seeds']) == 1 else []


_VERDICTS = {'holds': 'hold', 'is reversed': 'are reversed', 'equivalent': 'are equivalent within {:g} points',
             'cannot be told': 'cannot be told'}


def _verdict(cell: dict[str, Any], holm: dict[str, float | None], sign: int = 1) -> str:
    if holm['p'] is not None and holm['p'] < 0.05:
        return 'holds' if sign * cell['difference'] > 0 else 'is reversed'
    return 'equivalent' if holm['equivalence'] is not None and holm['equivalence'] < 0.05 else 'cannot be told'


def _parts(parts: Sequence[dict[str, Any]]) -> list[str]:
    rows = []
    for part in parts:
        cell, l2 = part['cell'], part['measure'] == 'l2'
        tell = _pixels if l2 else _with_interval
        values = [tell(cell[side], None) for side in 'ab']
        difference = tell(cell['difference'], cell['ci95'], '+')
        rows.append([f'{part["a"]} {"<" if l2 else ">"} {part["b"]}', _MEASURES[part['measure']], part['action'],
                     part['landmark'], len(part['seeds']), *values, difference, p_text(cell['p']),
                     *(p_text(part['holm'][key]) for key in ('p', 'equivalence')),
                     _verdict(cell, part['holm'], -1 if l2 else 1)])
    return [*_table(['better in the paper', 'measure', 'action', 'landmark', 'seeds', 'a', 'b', 'a - b', 'p',
                     'p (Holm)', 'p of equivalence (Holm)', 'here'], rows), '',
            "As above; Holm's correction over these rows. L2 is over matched pairs, which are not the same points for "
            'two methods.']


_MEASURES = {'f1': 'F1', 'recall': 'recall', 'l2': 'L2, px'}


def _differences(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Paired differences, and whether they are smaller than the margin."""
    rows = []
    for entry in entries:
        parts = [*(entry['f1']['overall'][lm] for lm in LANDMARKS), entry['active_tool_accuracy']]
        cells = [text for part in parts for text in (
            _with_interval(part['difference'], part['ci95'], '+'), p_text(part['p']))]
        equal = (f'{ {True: "yes", False: "no", None: "-"}[part["equivalence"]["equivalent"]]} '
                 f'({p_text(part["equivalence"]["p"])})' for part in parts)
        rows.append([f'{entry["a"]} - {entry["b"]}', len(entry['seeds']), *cells, ', '.join(equal)])
    return [*_table(['a - b', 'seeds', 'tip F1', 'p', 'anchor F1', 'p', 'acting tool', 'p',
                     'equivalent: tip, anchor, acting tool'], rows), '',
            f'Not corrected for many comparisons. The last column tests equivalence within {_margin(entries):g} points '
            '(p). The acting tool is that of the best tip, whatever its score.']


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [f'| {" | ".join(map(str, cells))} |' for cells in (heads, ['---'] * len(heads), *rows)]


def _count(value: float | None, ends: Sequence[float] | None) -> str:
    told = '-' if value is None else f'{value:.0f}'
    return told if ends is None else f'{told} ({ends[0]:.0f} to {ends[1]:.0f})'


def _pixels(value: float | None, ends: Sequence[float] | None, sign: str = '') -> str:
    told = '-' if value is None else f'{value:{sign}.2f}'
    return told if ends is None else f'{told} ({ends[0]:{sign}.2f} to {ends[1]:{sign}.2f})'


def _with_interval(value: float | None, ends: Sequence[float] | None, sign: str = '') -> str:
    told = '-' if value is None else f'{100 * value:{sign}.1f}'
    return told if ends is None else f'{told} ({percent_range(ends, " to ", sign)})'
