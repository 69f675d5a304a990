"""The doctor finds what is missing, says what to do, and exits with 1 only for what is required."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmpose_surgical.doctor import environment
from mmpose_surgical.doctor.finding import Finding, failed, print_findings, to_json
from mmpose_surgical.doctor.sam import check_sam


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretends that distributions are not installed."""
    real = environment.installed_version

    def hide(*names: str) -> None:
        monkeypatch.setattr(environment, 'installed_version', lambda name: None if name in names else real(name))

    return hide


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize(('oks', 'expected'), [
    ([], False), ([True, None], False), ([None], False), ([True, False, None], True),
])
def test_only_false_fails(oks: list[bool | None], expected: bool) -> None:
    assert failed([Finding('x', ok, '') for ok in oks]) is expected


def test_json_says_what_the_table_says() -> None:
    findings = [Finding('torch', False, 'not installed', 'make setup', '>=2.6')]
    assert json.loads(to_json(findings)) == {'ok': False, 'findings': [
        {'name': 'torch', 'ok': False, 'detail': 'not installed', 'fix': 'make setup', 'needed': '>=2.6'}]}


def test_remedies_are_printed_whole_and_once(capsys: pytest.CaptureFixture) -> None:
    command = 'make -C /a/rather/long/path setup PYTHON=/another/long/path/that/fills/the/whole/line/python'
    print_findings([Finding('torch', False, '', command), Finding('mmpose', False, '[b]', command),
                    Finding('sam3', None, '', 'pip install sam3'), Finding('fine', True, '', '')], 'Environment')
    out = capsys.readouterr().out
    assert f'To mend:\n  torch, mmpose: {command}\n' in out
    assert 'To add, if wanted:\n  sam3: pip install sam3\n' in out
    assert '[b]' in out  # no markup is read into what was found


def test_a_missing_requirement_is_wrong_and_keeps_the_doctor_from_loading_it(without: Callable) -> None:
    without('mmpose', 'transformers')
    findings = by_name(environment.check_environment())
    assert findings['mmpose'].ok is False
    assert findings['mmpose'].detail == 'not installed'
    assert 'setup' in findings['mmpose'].fix
    assert findings['transformers'].ok is None
    assert '[sam3]' in findings['transformers'].fix
    assert 'mmpose_surgical' not in findings


def test_what_is_installed_here_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ('SAM3_CHECKPOINT', 'SAM2_CHECKPOINT', 'SURGICAL_DATA'):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(environment, '_plugin', lambda: Finding('mmpose_surgical', True, ''))
    assert [finding for finding in environment.check_environment() if finding.ok is False] == []


def test_a_torchvision_of_another_torch_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.ops

    def foreign(*args: object) -> None:
        raise RuntimeError('operator torchvision::nms does not exist\nmore')

    monkeypatch.setattr(torchvision.ops, 'nms', foreign)
    finding = environment._package('torchvision')
    assert finding.ok is False
    assert finding.detail.endswith('does not work: operator torchvision::nms does not exist')


def test_sam_weights_unset_empty_missing_and_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('transformers', reason='SAM needs the extra sam3 (transformers)')
    from sam_models import write_tiny_sam2
    weights = write_tiny_sam2(tmp_path / 'sam2')
    monkeypatch.delenv('SAM2_CHECKPOINT', raising=False)
    seen = [check_sam('sam2')]
    for value in ('', str(tmp_path / 'gone'), str(weights)):
        monkeypatch.setenv('SAM2_CHECKPOINT', value)
        seen.append(check_sam('sam2'))
    assert [finding.ok for finding in seen] == [None, None, False, True]
    assert 'sam2.1-hiera-large' in seen[0].fix and 'weights not found' in seen[2].detail
    assert f'{weights} (huggingface)' in seen[3].detail and 'one picture: encoder' in seen[3].detail
    assert 'GiB on' in seen[3].detail


def test_whatever_goes_wrong_with_weights_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmpose_surgical.doctor import sam

    def broken(backend: str) -> str:
        raise RuntimeError('some kernel failed\nmore')

    (tmp_path / 'config.json').write_text('{"model_type": "sam2"}')
    (tmp_path / 'model.safetensors').write_bytes(b'')
    monkeypatch.setenv('SAM2_CHECKPOINT', str(tmp_path))
    monkeypatch.setattr(sam, 'dry_run', broken)
    finding = sam.try_out('sam2')
    assert finding.ok is False and finding.detail == 'does not run: RuntimeError: some kernel failed'
    monkeypatch.undo()
    monkeypatch.setenv('SAM2_CHECKPOINT', str(tmp_path))
    finding = check_sam('sam2')
    assert finding.ok is False and 'the weights cannot be read' in finding.detail
    finding = check_sam('sam2', complete=False)
    assert finding.ok is None and finding.detail.endswith('not tried before the rest is mended')


def test_data_set_unset_missing_and_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, 'ROOT', tmp_path)
    monkeypatch.delenv('SURGICAL_DATA', raising=False)
    assert environment._data().ok is None
    monkeypatch.setenv('SURGICAL_DATA', str(tmp_path))
    assert environment._data().ok is False
    (tmp_path / 'annotations.json').write_text('{}')
    assert environment._data().ok is True


def test_help_needs_neither_torch_nor_a_second(root: Path) -> None:
    code = ('import runpy, sys; sys.argv = ["doctor.py", "--help"]\n'
            f'try: runpy.run_path({str(root / "tools/doctor.py")!r}, run_name="__main__")\n'
            'except SystemExit: print("torch" in sys.modules, "rich" in sys.modules)')
    begin = time.perf_counter()
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - begin < 1
    assert '--audit' in result.stdout
    assert result.stdout.endswith('False False\n')


def test_a_bare_interpreter_gets_an_answer(root: Path) -> None:
    """-S hides site-packages: the doctor runs without rich, finds all missing, and says what to do."""
    result = subprocess.run([sys.executable, '-S', str(root / 'tools/doctor.py')], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == ''
    assert 'torch' in result.stdout
    assert 'make -C' in result.stdout
