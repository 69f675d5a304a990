"""Fingerprints: what counts as another content, and how a difference is worded."""
import hashlib
import subprocess
import sys

import pytest

from mmpose_surgical.errors import UserError
from mmpose_surgical.files import file_digest, write_atomically
from mmpose_surgical.pipeline.artifacts import RECORD, Artifact, Status, content_of, differences, digest_of

LOADER = dict(batch_size=16, num_workers=4, persistent_workers=True, pin_memory=False,
              dataset=dict(data_root='data/a', split='train', pipeline=[
                  dict(type='LoadMaskPrior', predictions='p', priors='q', heatmap_size=(48, 36))]))


def changed(**dataset) -> dict:
    return LOADER | dict(dataset=LOADER['dataset'] | dataset)


@pytest.mark.parametrize('other', [
    LOADER | dict(num_workers=0), LOADER | dict(persistent_workers=False, prefetch_factor=2),
    changed(data_root='/elsewhere'),
    changed(pipeline=[dict(type='LoadMaskPrior', predictions='x', priors='y', heatmap_size=(48, 36))]),
    changed(pipeline=[dict(heatmap_size=[48, 36], type='LoadMaskPrior')])])
def test_workers_and_paths_are_no_content(other):
    assert digest_of(content_of(other)) == digest_of(content_of(LOADER))


@pytest.mark.parametrize('other', [
    LOADER | dict(batch_size=8), changed(split='not-fold0'),
    changed(pipeline=[dict(type='LoadMaskPrior', heatmap_size=(48, 37))]), changed(pipeline=[])])
def test_what_changes_the_outcome_is_content(other):
    assert digest_of(content_of(other)) != digest_of(content_of(LOADER))


def test_differences_name_the_entry():
    old = dict(model=dict(head=dict(sigma=2, loss=None)), steps=[dict(lr=0.1), dict(lr=0.2)], seed=0)
    new = dict(model=dict(head=dict(sigma=3)), steps=[dict(lr=0.1), dict(lr=0.5)], seed=0, extra='x')
    assert differences(old, new) == ['extra: null -> "x"', 'model.head.sigma: 2 -> 3', 'steps[1].lr: 0.2 -> 0.5']
    assert differences([1], [1, 2], 'list') == ['list: [1] -> [1, 2]']
    assert differences(old, old) == []


def test_life_of_an_artifact(tmp_path):
    artifact = Artifact(tmp_path / 'run', dict(stage='train', lr=1))
    assert artifact.status is Status.MISSING
    artifact.begin()
    assert artifact.status is Status.PARTIAL
    artifact.begin()
    artifact.finish(checkpoint='epoch_1.pth')
    assert artifact.status is Status.DONE and artifact.record['facts'] == dict(checkpoint='epoch_1.pth')
    other = Artifact(tmp_path / 'run', dict(stage='train', lr=2))
    assert other.status is Status.STALE and other.changes() == ['lr: 1 -> 2']
    beside = other.beside()
    assert beside.folder.parent == tmp_path and beside.folder.name.startswith('run-')
    assert beside.status is Status.MISSING


def test_damaged_record_is_an_error_that_names_the_way_out(tmp_path):
    artifact = Artifact(tmp_path / 'run', dict(lr=1))
    artifact.begin()
    (tmp_path / 'run/artifact.json').write_text('{"fingerprint": ')
    with pytest.raises(UserError, match='not valid JSON.*choose another --work-dir'):
        _ = artifact.status


@pytest.mark.parametrize('text', ['{}', '[]', '{"done": true}'])
def test_record_without_its_parts_is_an_error(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(UserError, match='record of the work directory is damaged'):
        _ = Artifact(tmp_path, {'a': 1}).status


def test_leftover_of_a_killed_write_does_not_claim_a_folder(tmp_path):
    names = []

    def write(path):
        names.append(path.name)
        path.touch()

    write_atomically(tmp_path / 'elsewhere' / RECORD, write)
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / names[0]).touch()
    artifact = Artifact(tmp_path / 'run', {'a': 1})
    artifact.begin()
    assert artifact.status is Status.PARTIAL


def test_a_folder_that_lost_an_output_is_not_done(tmp_path):
    artifact, output = Artifact(tmp_path, {'a': 1}), tmp_path / 'shard.bin'
    artifact.begin()
    output.write_bytes(b'whole')
    artifact.finish([output])
    assert artifact.status is Status.DONE
    output.write_bytes(b'whole and more')  # others may append
    assert artifact.status is Status.DONE
    output.write_bytes(b'cut')
    assert artifact.status is Status.PARTIAL
    output.unlink()
    assert artifact.status is Status.PARTIAL
    artifact.begin()
    assert artifact.record['done'] is False


def test_two_processes_never_make_one_folder(tmp_path):
    holder = 'import sys; from pathlib import Path; from mmpose_surgical.pipeline.artifacts import Artifact\n' \
             f'a = Artifact(Path({str(tmp_path)!r}), dict(a=1)); a.begin(); print("held", flush=True); sys.stdin.read()'
    process = subprocess.Popen([sys.executable, '-c', holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b'held\n'
        with pytest.raises(UserError, match='another process is making this folder'):
            Artifact(tmp_path, {'a': 1}).begin()
    finally:
        process.kill()  # the kernel drops the lock, whatever kills its holder
        process.communicate()
    Artifact(tmp_path, {'a': 1}).begin()


def test_a_digest_follows_the_file(tmp_path):
    path = tmp_path / 'weights.pth'
    assert file_digest(path) is None
    for content in (b'one', b'two'):
        write_atomically(path, lambda p, c=content: p.write_bytes(c))
        assert file_digest(path) == file_digest(path) == hashlib.sha256(content).hexdigest()
