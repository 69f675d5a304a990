"""Does anything that a run reports stand on data that it was trained or chosen on?

Reads what training left (records, stores, thresholds, metrics, dumped configs) and the data set, not the code that
wrote it: what can be recomputed is recomputed. No torch in here.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmpose_surgical.datasets.records import Frame
from mmpose_surgical.datasets.splits import SPLIT_NAMES, frames_of_split, shared_files
from mmpose_surgical.doctor.finding import Finding
from mmpose_surgical.doctor.run_folder import DataSet, RunFolder, open_data
from mmpose_surgical.errors import UserError, list_problems
from mmpose_surgical.evaluation.predictions import read_predictions
from mmpose_surgical.evaluation.thresholds import choose_thresholds
from mmpose_surgical.files import file_digest, read_json
from mmpose_surgical.pipeline.artifacts import digest_of
from mmpose_surgical.priors.maker import prompt_note
from mmpose_surgical.priors.prompts import PromptRule
from mmpose_surgical.priors.store import RecordStore

_AGAIN = 'make it anew: tools/train.py with --rebuild'
_EVALUATE = 'evaluate again with tools/train.py'
_NO_DATA = 'not checked: the data set is not where the config says'


def audit(work_dir: str | Path) -> list[Finding]:
    """Check a work directory of ``tools/train.py`` and the coarse network behind it.

    Returns:
        One finding per question; ``ok=False`` names the leak or the break, ``ok=None`` is what could not be checked.

    Raises:
        UserError: The folder holds no run.
    """
    run = RunFolder(Path(work_dir))
    if not run.record['done']:
        return [Finding('run', False, f'{run.folder} is not finished', 'finish it with tools/train.py')]
    data, finding = open_data(run)
    findings = [finding, _check('splits', 'no video and no picture is in two splits', 'correct splits.json and train '
                                'anew', lambda: shared_files(data.annotations, data.splits), data is not None)]
    findings += _audit_run(run, data, '')
    if 'coarse' in run.facts:
        coarse = RunFolder(run.folder / run.facts['coarse'])
        findings += _audit_run(coarse, data, 'coarse: ')
        findings += _audit_prior(run, data)
    return findings


def _check(name: str, fine: str, fix: str, problems_of: Callable[[], list[str]], possible: bool = True) -> Finding:
    """A finding from a list of problems; a file that is missing or damaged is one of them."""
    if not possible:
        return Finding(name, None, _NO_DATA)
    try:
        problems = problems_of()
    except UserError as error:
        return Finding(name, False, error.what + (f' ({error.where})' if error.where else ''), error.fix or fix)
    except KeyError as error:
        return Finding(name, False, f'a record lacks {error}', fix)
    return Finding(name, not problems, list_problems(problems, 5) or fine, fix if problems else '')


def _differ(what: str, values: dict[str, Any]) -> list[str]:
    """A problem where values that must be equal are not, naming where each is from."""
    if len({repr(value) for value in values.values()}) < 2:
        return []
    return [f'{what} differs: ' + ', '.join(f'{str(value)[:16]} in {place}' for place, value in values.items())]


# -- one training: data, thresholds, weights, commit -------------------------------------------------------
def _audit_run(run: RunFolder, data: DataSet | None, prefix: str) -> list[Finding]:
    def check(name: str, fine: str, fix: str, problems_of: Callable[[RunFolder], list[str]]) -> Finding:
        return _check(prefix + name, fine, fix, lambda: problems_of(run))

    commits = {run.record.get('git_commit'), run.metrics['meta'].get('git_commit')}
    return [
        check('trained on', 'the train split of the data that the metrics name', _AGAIN, _training_problems),
        check('thresholds', 'chosen on val, applied to test', _EVALUATE, _threshold_problems),
        _check(prefix + 'thresholds, chosen again', 'val predictions give the same', _EVALUATE,
               lambda: _rechosen_problems(run, data), data is not None),
        check('weights', f'{run.facts["checkpoint"]} is the file that was evaluated', 'restore the checkpoint, or '
              'evaluate it with tools/test.py', _weight_problems),
        _commit(prefix, commits - {None}),
    ]


def _commit(prefix: str, commits: set[str]) -> Finding:
    """Which code made the run: one commit without local changes passes; of anything else nobody can say what it was."""
    name, told = prefix + 'git commit', ', '.join(sorted(commits))
    if not commits:
        return Finding(name, None, 'not recorded (the package was not run from a checkout)')
    if len(commits) > 1:
        return Finding(name, None, f'training and metrics are of different commits: {told}', _EVALUATE)
    if told.endswith('-dirty'):
        return Finding(name, None, f'{told}: made from uncommitted code', 'commit, then ' + _AGAIN)
    return Finding(name, True, told)


def _training_problems(run: RunFolder) -> list[str]:
    content, meta = run.record['content'], run.metrics['meta']
    problems = _record_problems(run.folder, run.record)
    problems += _differ('the training split', {
        'the record': run.train_split, 'the dumped config': run.config['train_dataloader']['dataset']['split'],
        'a run that may be reported': 'train'})
    best = content['best']
    if best and best['val_dataloader']['dataset']['split'] != 'val':
        problems.append(f'the checkpoint was chosen on "{best["val_dataloader"]["dataset"]["split"]}", not on val')
    problems += _differ('the SHA-256 of the annotations', {
        'the training': content['data'], 'metrics.json': meta['data']['sha256'],
        'thresholds.json': run.thresholds.get('meta', {}).get('data', {}).get('sha256')})
    return problems


def _record_problems(folder: Path, record: dict[str, Any]) -> list[str]:
    """A record whose content was changed by hand, or that is not complete."""
    problems = [] if record['done'] else [f'{folder} is not finished']
    if digest_of(record['content']) != record['fingerprint']:
        problems.append(f'the record of {folder} was altered: its fingerprint is not that of its content')
    return problems


def _threshold_problems(run: RunFolder) -> list[str]:
    meta, values = run.metrics['meta'], {k: v for k, v in run.thresholds.items() if k != 'meta'}
    source = meta.get('threshold_from')
    chosen_on = run.thresholds.get('meta', {}).get('split')
    problems = []
    if chosen_on != 'val':
        problems.append(f'thresholds.json was chosen on "{chosen_on}", not on val')
    if not isinstance(source, dict) or source.get('split') != 'val':
        told = source.get('split') if isinstance(source, dict) else source
        problems.append(f'metrics.json applies thresholds from "{told}", not from val')
    if meta['split'] != 'test':
        problems.append(f'metrics.json reports "{meta["split"]}", not test')
    return problems + _differ('the threshold', {'thresholds.json': values, 'metrics.json': meta['threshold']})


def _rechosen_problems(run: RunFolder, data: DataSet) -> list[str]:
    """Choose the thresholds again from the stored predictions of the validation split."""
    meta = run.thresholds['meta']
    frames = frames_of_split(data.annotations, 'val')
    points = read_predictions(run.folder / 'val_predictions.json', known_images={f.image_id for f in frames})
    canvas = meta['canvas'] and tuple(meta['canvas'])
    again = choose_thresholds(frames, points, tolerance=meta['tolerance'], canvas=canvas, protocol=meta['protocol'],
                              visible_only=meta['visible_only'], landmarks=data.annotations.landmarks)
    return [f'{name}: {run.thresholds.get(name)} is recorded, {value} is the best on val'
            for name, value in again.items() if name != 'meta' and value != run.thresholds.get(name)]


def _weight_problems(run: RunFolder) -> list[str]:
    recorded = run.metrics['meta']['checkpoint']
    return _differ('the name of the checkpoint', {'the record': run.facts['checkpoint'],
                                                  'metrics.json': recorded['name']}) + _differ(
        'the SHA-256 of the weights', {run.facts['checkpoint']: file_digest(run.folder / run.facts['checkpoint']),
                                       'metrics.json': recorded['sha256']})


# -- what the refiner was given ----------------------------------------------------------------------------
def _audit_prior(run: RunFolder, data: DataSet | None) -> list[Finding]:
    """The coarse predictions and mask priors behind a refiner."""
    predictions = run.folder / run.facts['predictions']
    made = read_json(predictions / 'artifact.json')
    findings = [
        _check('chain', 'run, predictions and coarse networks are those recorded', _AGAIN,
               lambda: _chain_problems(run, predictions, made)),
        _check('coarse predictions', 'each made by a network that was not trained on its video', _AGAIN,
               lambda: _in_sample_problems(predictions, made, data), data is not None),
        _check('prompt thresholds', 'chosen on train, from out-of-fold predictions', _AGAIN,
               lambda: _prompt_threshold_problems(predictions, made)),
    ]
    if 'priors' not in run.facts:
        return findings
    priors = run.folder / run.facts['priors']
    prior_made = read_json(priors / 'artifact.json')
    rule = PromptRule.of(prior_made['content'])
    if rule.oracle:
        findings.append(Finding('oracle prompts', False, 'ground-truth points prompted the priors, those of the test '
                                'split too: an upper bound and no result', 'report it as oracle prompts, or train '
                                'with prior.points=coarse'))
    return findings + [
        _check('priors', 'made from these coarse predictions, and those that the run read', _AGAIN,
               lambda: _prior_chain_problems(run, made, priors, prior_made)),
        _check('mask priors', f'each prompted by the {"ground truth" if rule.oracle else "coarse prediction"} of its '
               'picture', _AGAIN, lambda: _prompt_problems(predictions, priors, data, rule), data is not None),
        _backend(run, priors, prior_made),
    ]


def _prior_chain_problems(run: RunFolder, made: dict, priors: Path, prior_made: dict) -> list[str]:
    return _record_problems(priors, prior_made) + _differ('the fingerprint of the coarse predictions', {
        'the predictions': made['fingerprint'], 'the priors': prior_made['content']['predictions'],
    }) + _differ('the fingerprint of the priors', {
        'the run': run.record['content']['upstream']['priors'], str(priors): prior_made['fingerprint'],
        'their store': RecordStore(priors).fingerprint.get('made_from')}) + _differ('the rule of the prompts', {
            name: PromptRule.of(told or {}).content for name, told in (
                ('the priors', prior_made['content']), ('the record', run.facts['prior_config']),
                ('metrics.json', run.metrics['meta']['prior']))})


def _chain_problems(run: RunFolder, predictions: Path, made: dict) -> list[str]:
    content = run.record['content']
    problems = _record_problems(predictions, made)
    chain = {model['sha256']: model['checkpoint'] for model in made['facts']['models'].values()}
    networks = {run.folder.name: content}
    problems += _differ('the fingerprint of the coarse predictions', {
        'the run': content['upstream']['predictions'], str(predictions): made['fingerprint'],
        'their store': RecordStore(predictions).fingerprint.get('coarse')})
    for split, model in made['facts']['models'].items():
        folder = RunFolder(predictions / model['folder'])
        networks[model['folder']] = folder.record['content']
        problems += _record_problems(folder.folder, folder.record)
        problems += _differ(f'the training behind the predictions of {split}', {
            'the predictions': made['content']['models'][split], model['folder']: folder.record['fingerprint']})
        problems += _differ(f'the SHA-256 of the weights behind the predictions of {split}', {
            'the predictions': model['sha256'], model['checkpoint']: file_digest(folder.folder / model['checkpoint'])})
        for key in ('data', 'splits'):
            problems += _differ(f'the SHA-256 of the {key} behind the predictions of {split}', {
                'the run': content[key], model['folder']: folder.record['content'][key]})
    # A fold that starts from a network of this chain has seen, through it, the videos that it must not know.
    problems += [f'{name} starts from {chain[digest]} of this chain ({use})' for name, made_from in networks.items()
                 for use, digest in made_from['start_weights'].items() if digest in chain]
    return problems


def _in_sample_problems(predictions: Path, made: dict, data: DataSet) -> list[str]:
    """Pictures whose coarse prediction was made by a network that had seen their video."""
    seen = {}
    for model in made['facts']['models'].values():
        folder = RunFolder((predictions / model['folder']).resolve())
        seen[folder.folder.name] = (folder.train_split, set(data.splits.videos(folder.train_split)))
    store = RecordStore(predictions)
    leaks: Counter = Counter()
    problems = []
    for frame in _frames(data):
        name = store.get(frame.image_id)[1]['model']
        if name not in seen:
            problems.append(f'image {frame.image_id} was predicted by "{name}", which is no recorded network')
        elif frame.video.name in seen[name][1]:
            leaks[frame.video.name, name, seen[name][0]] += 1
    return [f'{number} pictures of video "{video}" were predicted by {name}, which was trained on it ({split})'
            for (video, name, split), number in leaks.items()] + problems


def _frames(data: DataSet) -> list[Frame]:
    return [frame for split in SPLIT_NAMES for frame in frames_of_split(data.annotations, split)]


def _prompt_threshold_problems(predictions: Path, made: dict) -> list[str]:
    chosen_on = made['facts'].get('chosen_on')
    problems = [] if chosen_on == 'train, out-of-fold' else [f'they were chosen on "{chosen_on}"']
    return problems + _differ('the threshold', {
        'the record': made['facts'].get('prompt_thresholds'),
        'prompt_thresholds.json': read_json(predictions / 'prompt_thresholds.json')})


def _prompt_problems(predictions: Path, priors: Path, data: DataSet, rule: PromptRule) -> list[str]:
    """Pictures whose prior was prompted by other points than the rule gives, usually from the coarse prediction."""
    thresholds = read_json(predictions / 'prompt_thresholds.json')
    coarse, store = RecordStore(predictions), RecordStore(priors)
    wrong = [frame.image_id for frame in _frames(data)
             if store.note(frame.image_id) != prompt_note(*rule.of_frame(frame, coarse, thresholds))]
    return [f'{len(wrong)} priors were prompted by something else, e.g. of images {wrong[:5]}'] if wrong else []


def _backend(run: RunFolder, priors: Path, made: dict) -> Finding:
    """Which segmenter made the priors: the same everywhere, and no stand-in for synthetic data on other pictures."""
    meta = run.metrics['meta']
    told, fingerprint = meta['prior'], made['content']['backend']
    name = run.facts['prior_config']['backend']

    def problems() -> list[str]:
        found = _differ('the backend', {'the record': name, 'the dumped config': run.config['prior']['backend'],
                                        'the priors': fingerprint.rpartition('-')[0]})
        found += _differ('the fingerprint of the backend', {
            'the priors': fingerprint, 'their store': RecordStore(priors).fingerprint.get('backend'),
            **({'metrics.json': told['fingerprint']} if told else {})})
        if name == 'simulated' and not meta['data']['synthetic']:
            found.append('"simulated" priors on pictures that are not synthetic')
        return found

    if told:
        fine = f'{fingerprint}{" (a stand-in)" if told["stand_in"] else ""}'
    else:
        fine = f'{fingerprint}, which the model does not use'
    return _check('prior backend', fine, _AGAIN, problems)
