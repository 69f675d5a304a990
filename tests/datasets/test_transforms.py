"""The prior must follow the picture through every geometry that training draws."""
import numpy as np
import pytest

HEATMAP = (64, 48)
INPUT = (256, 192)


@pytest.fixture
def stores(plugin, tmp_path):
    """Stores for picture 7 of 320x200 px: a bright blob as mask prior, one Gaussian as coarse map."""
    from mmpose.structures.bbox import get_warp_matrix

    from mmpose_surgical.priors.base import to_int8
    from mmpose_surgical.priors.store import RecordStore
    x, y = 130.0, 80.0
    logits = np.full((100, 160), -6.0)
    logits[36:44, 60:70] = 6.0  # picture px (120..140, 72..88): centre (129.5, 79.5)
    with RecordStore(tmp_path / 'priors', dict(backend='test'), mode='a') as store:
        none = dict(points_xy=np.zeros((0, 2), np.float32), labels=np.zeros(0, np.int64))
        facts = dict(iou=1.0, object_score=1.0)
        store.put('k', dict(none, logits=to_int8(logits)), dict(facts, valid=True))
        store.link(7, 'k')
        store.put('bad', dict(none, logits=to_int8(-logits)), dict(facts, valid=False))
        store.link(8, 'bad')
    center, scale = np.array([160., 100.]), np.array([320., 240.])  # 320x200 padded to 4:3
    px, py = get_warp_matrix(center, scale, 0., output_size=INPUT) @ [x, y, 1] / 4
    ys, xs = np.mgrid[:48, :64]
    gaussian = np.exp(-((xs - px)**2 + (ys - py)**2) / 8)
    with RecordStore(tmp_path / 'coarse', dict(coarse='test'), mode='a') as store:
        for image_id in (7, 8):
            store.put(f'c{image_id}', dict(heatmaps=np.stack([gaussian, 0 * gaussian]).astype(np.float16)),
                      dict(input_center=center.tolist(), input_scale=scale.tolist(), input_size=list(INPUT)))
            store.link(image_id, f'c{image_id}')
    return tmp_path, (x, y)


def run(stores, image_id=7, flip=0.0, draw=None, with_prior=True, jitter=0):
    """MMPose's geometry and then the prior, on a picture that shows the same blob."""
    from mmcv.transforms import Compose
    from mmengine.registry import init_default_scope
    folder, (x, y) = stores
    init_default_scope('mmpose')
    picture = np.zeros((200, 320, 3), np.uint8)
    picture[72:88, 120:140] = 255
    results = dict(img=picture, img_shape=(200, 320), img_id=image_id, flip_indices=[0, 1, 2],
                   bbox=np.array([[0, 0, 320, 200]], np.float32), keypoints=np.array([[[x, y]] * 3], np.float32),
                   keypoints_visible=np.ones((1, 3), np.float32))
    steps = [dict(type='GetBBoxCenterScale', padding=1.0), dict(type='RandomFlip', prob=flip)]
    steps += [dict(type='RandomBBoxTransform', **draw)] if draw else []
    steps += [dict(type='TopdownAffine', input_size=INPUT),
              dict(type='LoadMaskPrior', predictions=str(folder / 'coarse'),
                   priors=str(folder / 'priors') if with_prior else None, heatmap_size=HEATMAP, jitter=jitter)]
    return Compose(steps)(results)


def centre_of_mass(array):
    ys, xs = np.mgrid[:array.shape[0], :array.shape[1]]
    return np.array([(xs * array).sum(), (ys * array).sum()]) / array.sum()


DRAW = dict(shift_factor=0.1, shift_prob=1.0, scale_factor=(0.7, 1.3), rotate_factor=80.0, rotate_prob=1.0)


@pytest.mark.parametrize('flip', [0.0, 1.0])
@pytest.mark.parametrize('seed', range(4))
def test_prior_follows_the_picture(stores, flip, seed):
    np.random.seed(seed)
    results = run(stores, flip=flip, draw=DRAW)
    assert results['flip'] is bool(flip) and abs(results['bbox_rotation'][0]) > 0
    landmark = results['transformed_keypoints'][0, 0] / 4
    if not ((landmark > 4).all() and (landmark < np.array(HEATMAP) - 4).all()):
        pytest.fail('the draw moved the blob out of the picture; choose another seed')
    # Peak of the coarse map = the landmark; mask = the blob in the warped picture.
    assert centre_of_mass(results['coarse_heatmaps'][0]) == pytest.approx(landmark, abs=0.05)
    picture = results['img'][..., 0].astype(float) / 255
    blob = centre_of_mass(picture) / 4
    # The sigmoid of a stored logit is never quite 0, and beyond the picture it is.
    mask = np.where(results['prior_mask'][0] > 0.01, results['prior_mask'][0], 0)
    assert centre_of_mass(mask) == pytest.approx(blob, abs=0.3)
    assert mask.sum() == pytest.approx(picture.sum() / 16, rel=0.15)


def test_shapes_and_ranges(stores):
    results = run(stores)
    assert results['coarse_heatmaps'].shape == (2, 48, 64) and results['prior_mask'].shape == (1, 48, 64)
    assert results['coarse_heatmaps'].dtype == results['prior_mask'].dtype == np.float32
    assert results['prior_mask'].min() >= 0 and results['prior_mask'].max() <= 1 and results['prior_valid'] == 1


def test_failed_prior_reads_as_zero(stores):
    results = run(stores, image_id=8)
    assert results['prior_mask'].max() == 0 and results['prior_valid'] == 0


def test_miss_names_the_picture_and_the_fix(stores):
    from mmpose_surgical.errors import UserError
    with pytest.raises(UserError, match='99.*repeat the command'):
        run(stores, image_id=99)


def test_colour_jitter_is_that_of_mmpose_with_one_draw_for_a_clip(plugin):
    from mmpose.datasets.transforms import PhotometricDistortion

    from mmpose_surgical.datasets.transforms import ClipPhotometricDistortion
    frames = [np.random.default_rng(k).integers(0, 256, (20, 30, 3), dtype=np.uint8) for k in range(2)]
    before = [frame.copy() for frame in frames]
    changed = 0
    for seed in range(40):
        np.random.seed(seed)
        clip = ClipPhotometricDistortion().transform(dict(img=frames))['img']
        for frame, distorted in zip(frames, clip):
            np.random.seed(seed)
            assert (distorted == PhotometricDistortion().transform(dict(img=frame))['img']).all()
        changed += (clip[0] != frames[0]).any()
    assert changed > 30 and all((a == b).all() for a, b in zip(frames, before))
    np.random.seed(0)
    single = ClipPhotometricDistortion().transform(dict(img=frames[0]))['img']
    np.random.seed(0)
    assert (single == ClipPhotometricDistortion().transform(dict(img=frames))['img'][0]).all()


def test_packing_is_that_of_mmpose(plugin):
    from mmpose.datasets.transforms.formatting import image_to_tensor

    from mmpose_surgical.datasets.transforms import _planar
    frame = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for view in (frame, frame[..., ::-1], frame[:, ::2]):
        assert (_planar(view) == image_to_tensor(view).numpy()).all()


def test_jittered_priors_are_drawn_among_and_a_lacking_one_is_an_error(stores):
    from mmpose_surgical.errors import UserError
    from mmpose_surgical.priors.store import RecordStore
    point = dict(points_xy=np.ones((1, 2), np.float32), labels=np.ones(1, np.int64))
    with RecordStore(stores[0] / 'priors', dict(backend='test'), mode='a') as store:
        for variant, level in ((0, -64), (1, 64)):
            store.put(f'v{variant}', dict(point, logits=np.full((100, 160), level, np.int8)),
                      dict(iou=1.0, object_score=1.0, valid=True))
            store.link(f'7/{variant}' if variant else 7, f'v{variant}')
    np.random.seed(0)
    seen = {round(float(run(stores, jitter=1)['prior_mask'].max()), 2) for _ in range(12)}
    assert seen == {0.02, 0.98}
    with pytest.raises(UserError, match='image 7/2 is missing'):
        for _ in range(12):
            run(stores, jitter=2)
    assert not run(stores, image_id=8, jitter=2)['prior_valid']  # no prompts, hence no jittered ones


def test_without_a_prior_store_the_mask_is_zero_and_not_valid(stores):
    with_prior, without = run(stores), run(stores, with_prior=False)
    np.testing.assert_array_equal(without['coarse_heatmaps'], with_prior['coarse_heatmaps'])
    assert without['prior_mask'].shape == with_prior['prior_mask'].shape
    assert not without['prior_mask'].any() and without['prior_valid'] == 0


def tool_mask(stores, tools, flip=0.0, draw=None, masks=None):
    from mmcv.transforms import Compose
    from mmengine.registry import init_default_scope
    init_default_scope('mmpose')
    results = dict(img=np.zeros((200, 320, 3), np.uint8), img_shape=(200, 320), img_id=7, flip_indices=[0, 1, 2],
                   bbox=np.array([[0, 0, 320, 200]], np.float32), acting_tools=tools,
                   keypoints=np.array([[stores[1]] * 3], np.float32), keypoints_visible=np.ones((1, 3), np.float32))
    steps = [dict(type='GetBBoxCenterScale', padding=1.0), dict(type='RandomFlip', prob=flip)]
    steps += [dict(type='RandomBBoxTransform', **draw)] if draw else []
    return Compose([*steps, dict(type='TopdownAffine', input_size=INPUT),
                    dict(type='LoadToolMask', heatmap_size=HEATMAP, masks=masks and str(masks))])(results)


def box(x, y, width, height):
    from mmpose_surgical.datasets.records import Tool
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    return Tool(1, 'hook', 'dissect', True, [], [[float(v) for v in corners]])


@pytest.mark.parametrize('flip', [0.0, 1.0])
@pytest.mark.parametrize('seed', range(3))
def test_tool_mask_follows_the_picture(stores, flip, seed):
    """The mask of a tool and the prior of the same place lie on each other."""
    np.random.seed(seed)
    results = tool_mask(stores, [box(110, 62, 40, 36)], flip, DRAW)
    keypoint = results['transformed_keypoints'][0, 0] / 4
    assert results['tool_mask'].dtype == bool and results['tool_mask'].shape == HEATMAP[::-1]
    np.testing.assert_allclose(centre_of_mass(results['tool_mask']), keypoint, atol=0.6)


def test_tool_masks_are_joined_and_nothing_acting_is_empty(stores):
    one, other = box(20, 20, 60, 40), box(200, 100, 60, 40)
    parts = [tool_mask(stores, [tool])['tool_mask'] for tool in (one, other)]
    np.testing.assert_array_equal(tool_mask(stores, [one, other])['tool_mask'], parts[0] | parts[1])
    assert not tool_mask(stores, [])['tool_mask'].any() and parts[0].sum() == pytest.approx(60 * 40 / 25, rel=0.15)


def test_a_tool_without_mask_takes_the_store_or_is_an_error(stores):
    from dataclasses import replace

    from mmpose_surgical.errors import UserError
    bare = replace(box(0, 0, 1, 1), segmentation=None)
    with pytest.raises(UserError, match='an acting tool has no mask .image 7'):
        tool_mask(stores, [bare])
    found = tool_mask(stores, [bare, box(0, 0, 50, 50)], masks=stores[0] / 'priors')['tool_mask']
    np.testing.assert_array_equal(found, run(stores)['prior_mask'][0] > 0.5)
def canonical(points, visible, size=(100, 60)):
    from mmpose_surgical.datasets.transforms import CanonicalTool
    points = np.array(points, np.float32)
    return CanonicalTool().transform(dict(
        keypoints=points * 2, transformed_keypoints=points, keypoints_visible=np.array(visible, np.float32),
        input_size=size))


def test_the_most_central_tool_stays_with_its_tips_from_left_to_right(plugin):
    far = [[90, 5], [80, 5], [95, 9]]
    near = [[60, 30], [40, 32], [50, 50]]
    results = canonical([far, near], [[1, 1, 1], [1, 1, 0]])
    assert results['transformed_keypoints'].tolist() == [[[40, 32], [60, 30], [50, 50]]]
    assert results['keypoints'].tolist() == [[[80, 64], [120, 60], [100, 100]]]
    assert results['keypoints_visible'].tolist() == [[1, 1, 0]]


def test_points_outside_of_the_input_are_absent(plugin):
    # The left tip was moved out: the other one is then the only tip and takes the first slot.
    results = canonical([[[-1, 30], [60, 30], [50, 60]]], [[1, 1, 1]])
    assert results['transformed_keypoints'][0, 0].tolist() == [60, 30]
    assert results['keypoints_visible'].tolist() == [[1, 0, 0]]
    # A tool that is wholly outside goes behind one that is seen, and an idle frame stays empty.
    assert canonical([[[-1, 30]] * 3, [[90, 50]] * 3], np.ones((2, 3)))['keypoints_visible'].tolist() == [[1, 1, 1]]
    assert canonical(np.zeros((1, 3, 2)), np.zeros((1, 3)))['keypoints_visible'].tolist() == [[0, 0, 0]]


@pytest.mark.parametrize('flip', [0.0, 1.0])
def test_a_flip_leaves_the_left_tip_first(plugin, flip):
    from mmcv.transforms import Compose
    results = dict(img=np.zeros((48, 64, 3), np.uint8), img_shape=(48, 64), flip_indices=[0, 1, 2],
                   bbox=np.array([[0, 0, 64, 48]], np.float32), keypoints_visible=np.ones((1, 3), np.float32),
                   keypoints=np.array([[[10, 20], [30, 20], [20, 40]]], np.float32))
    points = Compose([
        dict(type='GetBBoxCenterScale', padding=1.0), dict(type='RandomFlip', prob=flip),
        dict(type='TopdownAffine', input_size=(64, 48)), dict(type='CanonicalTool')])(results)['transformed_keypoints']
    # Mirrored about the middle of 64 columns, 31.5, as is the box, whose centre at 32 goes to 31: 10 -> 54, 30 -> 34.
    assert points[0, :2, 0].round().tolist() == ([34, 54] if flip else [10, 30])
