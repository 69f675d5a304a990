"""SAM 3 and SAM 2.1 through transformers, as tiny random models in local folders."""
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mmpose_surgical.errors import UserError
from mmpose_surgical.priors.base import MaskPrior, PriorFrame, build_backend
from mmpose_surgical.priors.maker import PriorJob, make_priors
from mmpose_surgical.priors.sam import to_input
from mmpose_surgical.priors.store import RecordStore

transformers = pytest.importorskip('transformers', reason='SAM needs the extra sam3 (transformers)')
TWO = np.ones(2, np.int64)
POINTS = np.array([[20., 12.], [60., 40.]], np.float32)


@pytest.fixture(scope='module')
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from sam_models import write_tiny_sam2, write_tiny_sam3
    root = tmp_path_factory.mktemp('weights')
    return dict(sam3=write_tiny_sam3(root / 'sam3'), sam2=write_tiny_sam2(root / 'sam2'))


@pytest.fixture(params=['sam3', 'sam2'])
def backend(request: pytest.FixtureRequest, plugin, folders: dict[str, Path]):
    return build_backend(dict(backend=request.param, checkpoint=str(folders[request.param])))


def frame(size: tuple[int, int] = (80, 48), seed: int = 0) -> PriorFrame:
    return PriorFrame(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def test_logits_cover_the_picture_and_matter(backend) -> None:
    embedding = backend.embed(frame())
    logits, iou, _ = backend.segment(embedding, POINTS, TWO)
    assert logits.shape == backend.grid_shape((80, 48)) == (115, 192)
    assert np.isfinite(logits).all() and logits.std() > 0.1 and 0 <= iou <= 1
    others = [backend.segment(embedding, POINTS + 9, TWO)[0], backend.segment(embedding, POINTS, np.array([1, 0]))[0],
              backend.segment(backend.embed(frame(seed=1)), POINTS, TWO)[0]]
    assert all(np.abs(other - logits).max() > 1e-3 for other in others)


def test_the_no_memory_embedding_reaches_the_masks_once(plugin, folders, tmp_path: Path) -> None:
    """transformers 5.23 adds SAM 3's to a level that is then dropped; whatever it does, it must count exactly once."""
    from safetensors.torch import load_file, save_file
    for name in ('sam3', 'sam2'):
        levels = []
        for scale in (0., 1., 2.):
            folder = tmp_path / f'{name}-{scale}'
            shutil.copytree(folders[name], folder)
            state = load_file(folder / 'model.safetensors')
            key, = (key for key in state if key.endswith('no_memory_embedding'))
            state[key] = scale * torch.ones_like(state[key])
            save_file(state, folder / 'model.safetensors', dict(format='pt'))
            built = build_backend(dict(backend=name, checkpoint=str(folder)))
            encoded = built.embed(frame())
            levels.append((encoded.levels, built.segment(encoded, POINTS, TWO)[0]))
        (zero, mask0), (one, mask1), (two, _) = levels
        torch.testing.assert_close(one[-1], zero[-1] + 1)
        torch.testing.assert_close(two[-1], zero[-1] + 2)
        torch.testing.assert_close(one[0], zero[0])
        assert np.abs(mask1 - mask0).max() > 1e-3


def test_points_follow_each_axis_of_the_picture(backend, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def decode(levels, points, labels):
        seen.update(points=points, labels=labels)
        return torch.zeros(len(points), 16, 16), torch.ones(len(points)), torch.zeros(len(points))

    side = backend.model.side
    embedding = backend.embed(frame((80, 40)))
    monkeypatch.setattr(backend.model, 'decode', decode)
    # On the border, beyond it, and in the middle.
    backend.segment(embedding, np.array([[0., 0.], [200., -5.], [40., 20.]], np.float32), np.array([1, 1, 0]))
    expected = [[0, 0], [79 / 80 * side, 0], [side / 2, side / 2]]
    np.testing.assert_allclose(seen['points'][0].numpy(), expected, rtol=1e-6)
    assert seen['labels'].tolist() == [[1, 1, 0]]


@pytest.mark.parametrize('size', [(48, 80), (64, 64), (161, 37)])
def test_mask_lies_where_the_decoder_puts_it(backend, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    """A decoder that answers a square around its first point: the mask on the grid must lie around that point."""
    def decode(levels, points, labels):
        cells = torch.arange(32) + 0.5
        at = points[:, 0] / backend.model.side * 32
        near = (cells - at[:, :1]).abs() < 4, (cells - at[:, 1:]).abs() < 4
        masks = (near[1][:, :, None] & near[0][:, None, :]).float() * 2 - 1
        return masks, torch.ones(len(points)), torch.zeros(len(points))

    embedding = backend.embed(frame(size))
    monkeypatch.setattr(backend.model, 'decode', decode)
    point = np.array([[0.3 * size[0], 0.6 * size[1]]], np.float32)
    logits, _, _ = backend.segment(embedding, point, np.ones(1, np.int64))
    rows, columns = np.nonzero(logits > 0)
    height, width = logits.shape
    centre = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / [width, height]
    np.testing.assert_allclose(centre, [0.3, 0.6], atol=0.03)


def test_one_embedding_serves_many_prompts(backend, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = dict(encode=0, decode=0)

    def counted(name: str):
        original = getattr(backend.model, name)

        def call(*args):
            calls[name] += 1
            return original(*args)
        return call

    for name in calls:
        monkeypatch.setattr(backend.model, name, counted(name))
    embedding = backend.embed(frame())
    sets = [POINTS + k for k in range(5)] + [POINTS[:1], POINTS[1:]]
    together = backend.segment_batch([embedding] * 7, sets, [np.ones(len(s), np.int64) for s in sets])
    assert calls == dict(encode=1, decode=2)  # five pairs at once, two single points at once
    for points, (logits, iou, score) in zip(sets, together, strict=True):
        alone = backend.segment(embedding, points, np.ones(len(points), np.int64))
        np.testing.assert_allclose(logits, alone[0], atol=1e-4)
        assert (iou, score) == pytest.approx(alone[1:], abs=1e-4)


def test_pictures_of_several_sizes_in_one_batch(backend) -> None:
    frames = [frame((80, 48)), frame((33, 90), 1)]
    batched = backend.predict_batch(backend.embed_batch(frames), [POINTS, POINTS / 3], [TWO, TWO])
    for prior, one, points in zip(batched, frames, (POINTS, POINTS / 3), strict=True):
        alone = backend.prior(one, points, TWO)
        assert prior.logits.shape == alone.logits.shape == backend.grid_shape(one.size)
        assert np.abs(prior.logits.astype(int) - alone.logits).max() <= 1


def test_stored_equals_live_and_a_second_pass_calls_no_model(backend, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    from mmpose_surgical.apis.mask_prior import LiveMaskPrior
    frames = [PriorFrame(frame(seed=i).rgb, i) for i in range(3)]
    jobs = [PriorJob(f.image_id, lambda f=f: f, POINTS, TWO, jittered=[POINTS + 1, POINTS + 2]) for f in frames]
    with RecordStore(tmp_path, dict(backend=backend.fingerprint), 'a') as store:
        make_priors(jobs, backend, store, backend.batch_size)
    prior = dict(backend=backend.name, checkpoint=str(backend.weights.path), jitter=2, jitter_px=3.)  # as in a config
    live = LiveMaskPrior(prior, dict(tip=0.5, anchor=0.5))
    assert live.backend.fingerprint == backend.fingerprint
    keypoints = np.array([POINTS[0], [0, 0], POINTS[1]])
    for one in frames:
        stored = MaskPrior.from_record(*RecordStore(tmp_path).get(one.image_id))
        now = live(one.rgb[..., ::-1], keypoints, np.array([0.9, 0.1, 0.8]))
        np.testing.assert_array_equal(now.logits, stored.logits)
        assert (now.iou, now.object_score, now.valid) == (stored.iou, stored.object_score, stored.valid)

    again = build_backend(dict(backend=backend.name, checkpoint=str(backend.weights.path)))
    monkeypatch.setattr(type(again), 'load', lambda *args: pytest.fail('the model was loaded'))
    with RecordStore(tmp_path, dict(backend=again.fingerprint), 'a') as store:
        assert make_priors(jobs, again, store).done == 3


def test_logits_that_are_not_finite_name_the_backend(backend, monkeypatch) -> None:
    monkeypatch.setattr(backend, 'segment_batch', lambda *args: [(np.full((4, 4), np.nan), 0.5, 0.)])
    with pytest.raises(UserError, match=f'{backend.name} gave mask logits that are not finite'):
        backend.predict(None, POINTS, TWO)


def test_autocast_is_scoped_and_bfloat16_is_close(backend) -> None:
    half = build_backend(dict(backend=backend.name, checkpoint=str(backend.weights.path), dtype='bfloat16'))
    assert half.fingerprint != backend.fingerprint
    low, full = (b.segment(b.embed(frame()), POINTS, TWO)[0] for b in (half, backend))
    assert not torch.is_autocast_enabled('cpu')
    assert np.abs(low - full).max() > 0 and np.corrcoef(low.ravel(), full.ravel())[0, 1] > 0.98


@pytest.mark.parametrize('spoil, message', [
    (lambda s: {k: v for k, v in s.items() if 'mask_decoder.iou_token' not in k},
     '1 missing keys, e.g. mask_decoder.iou_token.weight'),
    (lambda s: s | {'something.else': torch.zeros(1)}, '1 unexpected keys, e.g. something.else'),
    (lambda s: s | {k: torch.zeros(1, 5) for k in s if 'mask_decoder.iou_token' in k}, 'iou_token|mismatch'),
])
def test_weights_must_fit(plugin, folders, tmp_path: Path, spoil, message: str) -> None:
    from safetensors.torch import load_file, save_file
    shutil.copytree(folders['sam3'], tmp_path / 'm')
    save_file(spoil(load_file(tmp_path / 'm/model.safetensors')), tmp_path / 'm/model.safetensors', dict(format='pt'))
    spoiled = build_backend(dict(backend='sam3', checkpoint=str(tmp_path / 'm')))
    with pytest.raises(UserError, match=message):
        spoiled.embed(frame())


def test_truncated_weights_are_one_line(plugin, folders, tmp_path: Path) -> None:
    shutil.copytree(folders['sam2'], tmp_path / 'm')
    file = tmp_path / 'm/model.safetensors'
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UserError, match='the weights cannot be read.*download'):
        build_backend(dict(backend='sam2', checkpoint=str(tmp_path / 'm'))).embed(frame())


def test_a_whole_release_folder_gives_its_tracker(plugin, tmp_path: Path) -> None:
    """``facebook/sam3`` holds detector, text encoder and video tracker: the tracker's own parts must be found in it."""
    from safetensors.torch import load_file, save_file
    from sam_models import write_tiny_sam3
    folder = write_tiny_sam3(tmp_path / 'm')
    alone = build_backend(dict(backend='sam3', checkpoint=str(folder)))
    expected = alone.segment(alone.embed(frame()), POINTS, TWO)[0]
    state = {}
    for name, value in load_file(folder / 'model.safetensors').items():
        if '.vision_encoder.neck.' in name:
            state[name.replace('tracker_model.vision_encoder.neck.', 'tracker_neck.')] = value
            # The detector has a neck of its own.
            state[name.replace('tracker_model.', 'detector_model.')] = torch.zeros_like(value)
        else:
            state[name.replace('tracker_model.vision_encoder.', 'detector_model.vision_encoder.')] = value
    state |= {'detector_model.text_encoder.x': torch.zeros(1), 'tracker_model.memory_encoder.x': torch.zeros(1)}
    save_file(state, folder / 'model.safetensors', dict(format='pt'))
    config = json.loads((folder / 'config.json').read_text())
    (folder / 'config.json').write_text(json.dumps(dict(
        model_type='sam3_video', architectures=['Sam3VideoModel'], tracker_config=dict(
            config, model_type='sam3_tracker_video'), detector_config=dict(model_type='sam3'))))
    whole = build_backend(dict(backend='sam3', checkpoint=str(folder)))
    # The same weights at other addresses of a mapped file may be summed in another order.
    np.testing.assert_allclose(whole.segment(whole.embed(frame()), POINTS, TWO)[0], expected, atol=1e-5)


@pytest.mark.parametrize('option, message', [(dict(dtype='float16'), 'prior.dtype'),
                                             (dict(batch_size=0), 'prior.batch_size'),
                                             (dict(batch_size=2.5), 'prior.batch_size is 2.5. Fix: give a whole'),
                                             (dict(batch_size=True), 'prior.batch_size is True'),
                                             (dict(long_side='x'), 'prior.long_side'),
                                             (dict(max_share='a'), 'prior.max_share .*a number'),
                                             (dict(device=0), 'prior.device is 0. Fix: give a text'),
                                             (dict(device='gpu'), 'prior.device=gpu cannot be used.*or cpu')])
def test_options_are_checked(plugin, folders, option: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_backend(dict(backend='sam2', checkpoint=str(folders['sam2']), **option))


def test_without_transformers_the_error_says_what_to_install(plugin, folders, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(UserError, match=r'needs the package transformers.*pip install "mmpose_surgical\[sam3\]"'):
        build_backend(dict(backend='sam3', checkpoint=str(folders['sam3']))).embed(frame())


def test_live_refuses_other_kinds_of_pictures(plugin, folders) -> None:
    from mmpose_surgical.apis.mask_prior import LiveMaskPrior
    with pytest.raises(UserError, match='no prompt threshold for anchor'):
        LiveMaskPrior(dict(backend='sam2', checkpoint=str(folders['sam2'])), dict(tip=0.5))
    live = LiveMaskPrior(dict(backend='sam2', checkpoint=str(folders['sam2'])), dict(tip=0.5, anchor=0.5))
    for picture in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.uint16)):
        with pytest.raises(UserError, match='not uint8'):
            live(picture, np.zeros((3, 2)), np.ones(3))


def test_the_input_of_each_model(plugin, folders) -> None:
    """Hard numbers: RGB in this order, 0..255 to the range of each release, stretched to a square."""
    rgb = np.zeros((10, 30, 3), np.uint8)
    rgb[:, :] = 255, 0, 51
    expected = dict(sam3=[1., -1., -0.6], sam2=[(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    for name, values in expected.items():
        model = build_backend(dict(backend=name, checkpoint=str(folders[name]))).model
        pixels = to_input(rgb, model)
        assert pixels.shape == (1, 3, model.side, model.side) and pixels.dtype == torch.float32
        np.testing.assert_allclose(pixels.amax((0, 2, 3)), values, rtol=1e-6)
        np.testing.assert_allclose(pixels.amin((0, 2, 3)), values, rtol=1e-6)


def test_stretching_keeps_places_and_averages(plugin, folders) -> None:
    model = build_backend(dict(backend='sam3', checkpoint=str(folders['sam3']))).model
    left = np.zeros((20, 4 * model.side, 3), np.uint8)
    left[:, :model.side] = 255  # the left quarter
    assert (to_input(left, model)[0, 0] > 0).float().mean(0).tolist() == [1.] * 14 + [0.] * 42
    stripes = np.zeros((20, 4 * model.side, 3), np.uint8)
    stripes[:, ::2] = 200
    grey = to_input(stripes, model)[..., 1:-1] * 127.5 + 127.5
    assert ((grey - 100).abs() < 2).all()  # without smoothing it would be 0 or 200


def test_the_video_release_gives_the_picture_model(plugin, folders, tmp_path: Path) -> None:
    """``facebook/sam2.1-hiera-*`` hold the video model; its memory is not needed for pictures."""
    from sam_models import randomise
    pictures = transformers.Sam2Model.from_pretrained(folders['sam2'])
    config = pictures.config.to_dict() | dict(model_type='sam2_video', architectures=['Sam2VideoModel'], image_size=64)
    video = randomise(transformers.Sam2VideoModel(transformers.Sam2VideoConfig.from_dict(config)), seed=1)
    lacking, foreign = video.load_state_dict(pictures.state_dict(), strict=False)
    assert not foreign and lacking and not any('mask_decoder' in name or 'vision_encoder' in name for name in lacking)
    video.save_pretrained(tmp_path)
    assert json.loads((tmp_path / 'config.json').read_text())['model_type'] == 'sam2_video'
    expected, found = (b.segment(b.embed(frame()), POINTS, TWO)[0] for b in (
        build_backend(dict(backend='sam2', checkpoint=str(path))) for path in (folders['sam2'], tmp_path)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_device_that_is_not_there_and_memory_that_does_not_suffice(backend, monkeypatch) -> None:
    absent = build_backend(dict(backend=backend.name, checkpoint=str(backend.weights.path), device='cuda:77'))
    with pytest.raises(UserError, match='prior.device=cuda:77 cannot be used'):
        absent.embed(frame())

    def full(*args: object) -> None:
        raise torch.OutOfMemoryError('CUDA out of memory')

    embedding = backend.embed(frame())
    monkeypatch.setattr(backend.model, 'encode', full)
    monkeypatch.setattr(backend.model, 'decode', full)
    with pytest.raises(UserError, match=r'too little memory to encode 1 picture\(s\).*prior.device=cpu'):
        backend.embed(frame())
    with pytest.raises(UserError, match=r'too little memory to decode 1 set\(s\)'):
        backend.segment(embedding, POINTS, TWO)
    monkeypatch.setattr(type(backend), 'load', full)
    with pytest.raises(UserError, match='too little memory to load'):
        build_backend(dict(backend=backend.name, checkpoint=str(backend.weights.path))).embed(frame())
