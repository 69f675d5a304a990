import json
import pickle
from pathlib import Path

import pytest

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.weights import find_weights


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ('SAM3_CHECKPOINT', 'SAM2_CHECKPOINT'):
        monkeypatch.delenv(variable, raising=False)


def folder_of(path: Path, model_type: str) -> Path:
    path.mkdir(exist_ok=True)
    (path / 'config.json').write_text(json.dumps(dict(model_type=model_type)))
    (path / 'model.safetensors').write_bytes(b'weights')
    return path


@pytest.mark.parametrize('backend, words', [
    ('sam3', ('no SAM 3 weights', 'licence at https://huggingface.co/facebook/sam3', 'sam3.pt', 'model.safetensors',
              'SAM3_CHECKPOINT=PATH', 'prior.checkpoint=PATH', 'prior.backend=sam2', 'prior.backend=grabcut')),
    ('sam2', ('no SAM 2.1 weights', 'sam2.1-hiera-large', 'Apache-2.0', 'SAM2_CHECKPOINT=PATH', 'prior.backend=sam3'))])
def test_nothing_named_says_what_to_do(backend: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('SAM3_CHECKPOINT' if backend == 'sam3' else 'SAM2_CHECKPOINT', '')  # empty is unset
    with pytest.raises(UserError) as error:
        find_weights(backend, '')
    assert all(word in str(error.value) for word in words)


def test_the_config_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = tmp_path / 'sam3.pt'
    meta.write_bytes(b'x')
    monkeypatch.setenv('SAM3_CHECKPOINT', str(folder_of(tmp_path / 'hf', 'sam3_video')))
    assert find_weights('sam3', None).kind == 'huggingface'
    found = find_weights('sam3', str(meta))
    assert (found.kind, found.path) == ('meta', meta)


def test_a_folder_with_the_file_of_meta(tmp_path: Path) -> None:
    (tmp_path / 'sam3.pt').write_bytes(b'weights')
    found = find_weights('sam3', str(tmp_path))
    assert (found.kind, found.path) == ('meta', tmp_path / 'sam3.pt')


@pytest.mark.parametrize('make, backend, message', [
    (lambda p: p / 'gone', 'sam3', 'SAM 3 weights not found.*correct prior.checkpoint; or accept the licence'),
    (lambda p: p, 'sam3', 'lacks config.json or a .safetensors file'),
    (lambda p: folder_of(p / 'm', 'sam2'), 'sam3', "of type 'sam2', not SAM 3.*prior.backend=sam2"),
    (lambda p: folder_of(p / 'm', 'sam3_tracker'), 'sam2', "of type 'sam3_tracker', not SAM 2.1.*prior.backend=sam3"),
    (lambda p: folder_of(p / 'm', 'bert'), 'sam3', "of type 'bert'"),
    (lambda p: folder_of(p / 'm', 'sam3_video') / 'model.safetensors', 'sam3', 'name the folder'),
    (lambda p: [folder_of(p / 'm', 'sam2'), (p / 'm/config.json').write_text('[1]')][0], 'sam2', 'not a JSON object'),
])
def test_what_cannot_be_used_is_told(tmp_path: Path, make, backend: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_weights(backend, str(make(tmp_path)))


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    (tmp_path / 'config.json').write_text('{"model_type": "sam3_video"}')
    (tmp_path / 'pytorch_model.bin').write_bytes(pickle.dumps(dict(a=1)))
    with pytest.raises(UserError, match='pickled weights are not read'):
        find_weights('sam3', str(tmp_path))


def test_digest_follows_config_and_weights(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / 'm', 'sam2')
    digests = {find_weights('sam2', str(folder)).digest()}
    for name, content in (('model.safetensors', b'other'), ('config.json', b'{"model_type": "sam2_video"}')):
        (folder / name).unlink()
        (folder / name).write_bytes(content)
        digests.add(find_weights('sam2', str(folder)).digest())
    assert len(digests) == 3
