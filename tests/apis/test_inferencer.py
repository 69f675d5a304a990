"""New videos by trained models: what tools/test.py finds in the same frames, and what it cannot know."""
import json
import shutil

import cv2
import numpy as np
import pytest
from inferencer_checks import all_points, check_against_test, count_frames, inferencer_of
from pipeline_runs import evaluate
from sam_models import write_tiny_sam2, write_tiny_sam3

from mmpose_surgical.errors import UserError

COARSE, REFINER = 'demo_coarse', 'demo_refine_prior_aux'


@pytest.fixture(scope='module')
def own_masks(refined, tmp_path_factory):
    """The refiner as if it had been trained with mask dropout: what its branch gives does not matter here."""
    folder = tmp_path_factory.mktemp('own') / 'runs'
    shutil.copytree(refined, folder)
    record = folder / REFINER / 'artifact.json'
    content = json.loads(record.read_text())
    content['content']['model']['head']['mask_dropout'] = 0.2
    record.write_text(json.dumps(content))
    return folder / REFINER


def test_coarse_points_are_those_of_the_test(refined, toy_data):
    folder = refined / COARSE
    for batch_size in (1, 4):
        check_against_test(inferencer_of(folder, batch_size=batch_size), folder / 'test_predictions.json', toy_data)


def test_refined_points_are_those_of_the_test(refined, toy_data, tmp_path):
    folder = refined / REFINER
    assert evaluate(folder / f'{REFINER}.py', folder / 'epoch_2.pth', tmp_path / 'out', 'prior.backend=grabcut') == 0
    inferencer = inferencer_of(folder, prior='grabcut', batch_size=2)
    counts = count_frames(inferencer)
    check_against_test(inferencer, tmp_path / 'out/test_predictions.json', toy_data)
    assert counts() == [10, 10]  # two clips of five frames


def test_refined_points_behind_a_sam_are_those_of_the_test(refined, toy_data, tmp_path):
    folder, weights = refined / REFINER, f'prior.checkpoint={write_tiny_sam2(tmp_path / "sam2")}'
    assert evaluate(folder / f'{REFINER}.py', folder / 'epoch_2.pth', tmp_path / 'out', 'prior.backend=sam2',
                    weights) == 0
    inferencer = inferencer_of(folder, prior='sam2', options=dict([weights.split('=')]))
    check_against_test(inferencer, tmp_path / 'out/test_predictions.json', toy_data)


def frames(count: int = 9) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    blurred = [cv2.GaussianBlur(rng.integers(0, 256, (48, 64, 3), np.uint8), (0, 0), 3) for _ in range(count)]
    return blurred


def test_results_are_dicts_and_samples_of_mmpose(refined):
    inferencer = inferencer_of(refined / COARSE, score_thr=0.0, heatmaps=True)
    results = list(inferencer(frames(3), fps=10))
    first = results[0]
    assert (first.frame, first.time, first.state) == (0, 0.0, 'point')
    assert results[2].to_dict()['time'] == pytest.approx(0.2) and first.to_dict()['points'] == first.points
    assert {point['landmark'] for point in first.points} <= {'tip', 'anchor'}
    scores = [point['score'] for point in first.points]
    assert scores == sorted(scores, reverse=True)
    assert first.data_sample.pred_instances.keypoints.shape == (1, 3, 2)
    assert first.data_sample.pred_fields.heatmaps.shape == (2, 12, 16)
    from mmpose.visualization import PoseLocalVisualizer
    visualizer = PoseLocalVisualizer()
    visualizer.set_dataset_meta(inferencer.dataset_meta)
    drawn = visualizer.add_datasample('x', first.picture, first.data_sample, draw_gt=False, kpt_thr=0)
    assert (drawn != first.picture).any()


def test_a_threshold_drops_points_and_nothing_else(refined):
    run = refined / COARSE
    everything = list(inferencer_of(run, score_thr=0.0)(frames(3), fps=10))
    level = float(np.median([point['score'] for result in everything for point in result.points]))
    some = list(inferencer_of(run, score_thr=dict(tip=level, anchor=None))(frames(3), fps=10))
    for a, b in zip(everything, some):
        assert b.points == [p for p in a.points if p['landmark'] == 'anchor' or p['score'] >= level]
    nothing = list(inferencer_of(run, score_thr=2.0)(frames(3), fps=10))
    assert [result.state for result in nothing] == ['none'] * 3 and all(all_points(r.data_sample) for r in nothing)


def test_a_broken_frame_keeps_its_place_and_its_neighbours_are_predicted(refined):
    inferencer = inferencer_of(refined / COARSE, score_thr=0.0)
    pictures = frames()
    held = list(inferencer([pictures[0], *pictures[:3], pictures[2], *pictures[4:6]], fps=10))
    broken = list(inferencer([None, *pictures[:3], None, *pictures[4:6]], fps=10))
    assert [result.state for result in broken] == ['broken'] + 3 * ['point'] + ['broken'] + 2 * ['point']
    for a, b in zip(held, broken):
        if b.state == 'broken':
            assert b.data_sample is None and b.problem and b.points == []
        else:  # as if the frame before were shown again
            assert a.points == b.points
    lost = list(inferencer([None] * 5, fps=10))
    assert [result.state for result in lost] == ['broken'] * 5


@pytest.mark.parametrize('start', [1, 4, 7, 8])
def test_a_call_that_begins_later_gives_the_same(refined, tmp_path, start):
    for number, picture in enumerate(frames()):
        cv2.imwrite(str(tmp_path / f'{number}.png'), picture)
    for number in (2, 3, 6):
        (tmp_path / f'{number}.png').write_bytes(b'broken')
    inferencer = inferencer_of(refined / REFINER, prior='grabcut', prior_every=3, score_thr=0.0)
    for source in (frames(), tmp_path):
        whole = [result.to_dict() for result in inferencer(source, fps=10)]
        assert len(whole) == 9
        assert [result.to_dict() for result in inferencer(source, fps=10, start=start)] == whole[start:]


def counted(inferencer):
    """Lets an inferencer note the frames that it segments, whatever the score of their points."""
    segment, numbers = inferencer.segmenter, []
    segment.thresholds = dict(tip=0., anchor=0.)
    backend = segment.backend
    plain = backend.embed
    backend.embed = lambda frame: numbers.append(frame.image_id) or plain(frame)
    return numbers


def test_masks_are_made_once_a_block_and_only_where_something_prompts(refined):
    inferencer = inferencer_of(refined / REFINER, prior='grabcut', prior_every=3, score_thr=0.0)
    numbers = counted(inferencer)
    results = list(inferencer(frames(7), fps=10))
    assert numbers == [0, 3, 6]
    logits = [result.prior.logits for result in results]
    assert logits[0] is logits[1] is logits[2] and logits[3] is logits[5] and logits[3] is not logits[2]
    inferencer.segmenter.thresholds = dict(tip=9., anchor=9.)
    assert not any(result.prior.valid for result in inferencer(frames(4), fps=10)) and len(numbers) == 3


def test_two_streams_at_once_do_not_share_masks(refined):
    inferencer = inferencer_of(refined / REFINER, prior='grabcut', prior_every=3, score_thr=0.0)
    counted(inferencer)
    first, second = frames(), [picture[::-1].copy() for picture in frames()]
    alone = [[result.to_dict() for result in inferencer(source, fps=10)] for source in (first, second)]
    together = list(zip(inferencer(first, fps=10), inferencer(second, fps=10)))
    assert [[pair[side].to_dict() for pair in together] for side in (0, 1)] == alone


def test_results_come_as_late_as_announced_and_no_later(refined):
    inferencer = inferencer_of(refined / COARSE)
    assert inferencer.look_ahead(25) == 3 and inferencer.look_ahead(10) == 1  # T = 3, 0.12 s
    taken = []

    def source():
        for number, picture in enumerate(frames()):
            taken.append(number)
            yield picture

    results = inferencer(source(), fps=25)
    assert next(results).frame == 0 and taken == [0, 1, 2, 3]
    assert next(results).frame == 1 and taken == [0, 1, 2, 3, 4]


def test_the_own_mask_branch_takes_the_segmenters_place(own_masks):
    inferencer = inferencer_of(own_masks, prior='aux', score_thr=0.0)
    inferencer.run.prompt_thresholds.update(tip=0., anchor=0.)
    head = inferencer.networks[1].model.head
    # A branch that sees a tool in the left fifth, whatever it is given.
    fifth = np.zeros((12, 16), np.float32)
    fifth[:, :3] = 0.9
    inferencer.networks[1].masks = lambda features, samples: np.stack([fifth] * len(samples))
    entered = []
    forward = head.forward
    head.forward = lambda feats, coarse, mask, validity: entered.append((mask, validity)) or forward(
        feats, coarse, mask, validity)
    result = next(inferencer(frames(3), fps=10))
    (mask, validity), = entered
    assert validity.tolist() == [1.] and result.prior.valid and len(result.prior.points_xy)
    np.testing.assert_allclose(mask[0, 0, :, :3], 1 / (1 + np.exp(-16 * 0.4)), rtol=1e-5)  # sharper than 0.9
    np.testing.assert_allclose(mask[0, 0, :, 3:], 1 / (1 + np.exp(16 * 0.5)), rtol=1e-4)
    columns = np.flatnonzero(result.prior.mask().any(0))
    assert columns.min() == 0 and abs(columns.max() / result.prior.logits.shape[1] - 3 / 16) < 0.04
    # Nothing prompts: nothing is fed, as in training.
    inferencer.run.prompt_thresholds.update(tip=9., anchor=9.)
    assert not next(inferencer(frames(3), fps=10)).prior.valid
    assert entered[-1][1].tolist() == [0.] and float(entered[-1][0].abs().max()) == 0


def test_no_prior_is_the_refiner_without_a_mask(refined):
    inferencer = inferencer_of(refined / REFINER, prior='none', score_thr=0.0)
    entered = []
    head = inferencer.networks[1].model.head
    forward = head.forward
    head.forward = lambda feats, coarse, mask, validity: entered.append((mask, validity)) or forward(
        feats, coarse, mask, validity)
    results = list(inferencer(frames(2), fps=10))
    assert all(result.prior is None and result.points for result in results)
    assert all(float(mask.abs().max()) == 0 and validity.tolist() == [0.] for mask, validity in entered)


def test_a_stand_in_for_synthetic_pictures_is_replaced_by_what_is_named_alone(refined):
    with pytest.raises(UserError, match=r'simulated.*sam3 \(needs weights\).*grabcut.*none'):
        inferencer_of(refined / REFINER)
    with pytest.raises(UserError, match='simulated'):
        inferencer_of(refined / REFINER, prior='simulated')
    with pytest.raises(UserError, match='no SAM 3 weights'):
        inferencer_of(refined / REFINER, prior='sam3')
    with pytest.raises(UserError, match='no prior backend "best"'):
        inferencer_of(refined / REFINER, prior='best')


def test_weights_and_device_of_another_backend_are_none_of_the_named_ones(refined, tmp_path, monkeypatch):
    """As a model that was trained behind SAM 3, on another machine."""
    from mmpose_surgical.apis.runtime_prior import resolve_runtime_prior
    from mmpose_surgical.apis.trained_run import load_run
    run = load_run(refined / REFINER)
    trained = dict(backend='sam3', checkpoint='/elsewhere/sam3', dtype='bfloat16', device='cuda:7', prompts='tip',
                   points='coarse')
    run.facts['prior_config'] = trained
    run.cfg.prior = dict(trained)
    monkeypatch.setattr('mmpose_surgical.pipeline.testing.facts_of', lambda folder: run.facts)
    own = dict(prompts='tip', points='coarse')
    assert resolve_runtime_prior(run, 'grabcut', {}, 'cpu') == own | dict(backend='grabcut')
    sam2 = write_tiny_sam2(tmp_path / 'sam2')
    monkeypatch.setenv('SAM2_CHECKPOINT', str(sam2))
    assert resolve_runtime_prior(run, 'sam2', {}, 'cpu') == own | dict(
        backend='sam2', checkpoint=str(sam2), device='cpu')
    sam3 = write_tiny_sam3(tmp_path / 'sam3')
    monkeypatch.setenv('SAM3_CHECKPOINT', str(sam3))
    for asked in (None, 'sam3'):
        assert resolve_runtime_prior(run, asked, {}, 'cpu') == own | dict(
            backend='sam3', checkpoint=str(sam3), dtype='bfloat16', device='cpu')
    assert resolve_runtime_prior(run, 'sam3', {'prior.device': 'cuda:1'}, 'cpu')['device'] == 'cuda:1'
    assert resolve_runtime_prior(run, 'none', {'prior.prompts': 'anchor'}) == own | dict(
        backend='none', prompts='anchor')
    for asked, options, message in (('none', {'prior.checkpoint': 'x'}, 'of a segmenter, and none is none'),
                                    ('sam2', {'prior.backend': 'grabcut'}, 'two priors are named')):
        with pytest.raises(UserError, match=message):
            resolve_runtime_prior(run, asked, options)


def test_a_mask_branch_that_copies_is_refused(refined):
    with pytest.raises(UserError, match=r'without mask dropout.*mask_dropout=0\.2'):
        inferencer_of(refined / REFINER, prior='aux')
    # What it was trained with counts, not what is said of it.
    with pytest.raises(UserError, match='without mask dropout'):
        inferencer_of(refined / REFINER, prior='aux', options={'model.head.mask_dropout': 0.2})
    with pytest.raises(UserError, match='takes no mask prior'):
        inferencer_of(refined / REFINER, prior='aux', options={'model.head.use_prior': False})


def test_what_a_model_does_not_take_is_refused(refined, tmp_path):
    run = refined / COARSE
    for kwargs, message in ((dict(prior='grabcut'), 'takes no mask prior'), (dict(batch_size=0), 'batch_size is 0'),
                            (dict(options={'box': 'oracle'}), 'trained on boxes'),
                            (dict(score_thr=dict(tip=0.1)), 'no score threshold for anchor'),
                            (dict(options={'model.test_cfg.flip_test': True}), 'flipped copies')):
        with pytest.raises(UserError, match=message):
            inferencer_of(run, **kwargs)
    with pytest.raises(UserError, match='how many frames a second'):
        next(inferencer_of(run)(frames(2)))
    for folder, kwargs, message in (
            (REFINER, dict(prior='grabcut', prior_every=0), 'prior_every is 0'),
            (REFINER, dict(prior='none', prior_every=2), 'nothing is segmented'),
            (COARSE, dict(prior_every=2), 'nothing is segmented'),
            (REFINER, dict(prior='none', options={'clip.window': 'causal'}), 'clip.window is of the coarse network'),
            (COARSE, dict(options={'clip.num_frames': 5}), 'weights are not of this config'),
            (COARSE, dict(device='gpu'), 'device=gpu cannot be used'),
            (COARSE, dict(score_thr=float('nan')), 'a score threshold of nan')):
        with pytest.raises(UserError, match=message):
            inferencer_of(refined / folder, **kwargs)
    live = inferencer_of(refined / REFINER, options={'prior.backend': 'grabcut'}).segmenter
    with pytest.raises(UserError, match='takes no mask prior, and grabcut'):
        inferencer_of(run, prior=live)
    assert inferencer_of(refined / REFINER, prior=live).prior == dict(backend='grabcut')


def test_a_folder_that_is_no_finished_run_is_told(refined, tmp_path):
    config = refined / COARSE / f'{COARSE}.py'
    with pytest.raises(UserError, match='a config is no trained model'):
        inferencer_of(config)
    with pytest.raises(UserError, match='0 configs where one is expected'):
        inferencer_of(tmp_path)
    with pytest.raises(UserError, match='checkpoint not found'):
        inferencer_of(config, tmp_path / 'no.pth')
    alone = tmp_path / 'alone'
    alone.mkdir()
    shutil.copy(refined / COARSE / 'epoch_2.pth', alone)
    with pytest.raises(UserError, match='from which score on'):
        inferencer_of(config, alone / 'epoch_2.pth')
    assert inferencer_of(config, alone / 'epoch_2.pth', score_thr=0.5).thresholds == dict(tip=0.5, anchor=0.5)
    moved = shutil.copytree(refined / REFINER, tmp_path / 'runs' / REFINER)
    with pytest.raises(UserError, match='coarse network of this model is not there'):
        inferencer_of(moved, prior='none')
