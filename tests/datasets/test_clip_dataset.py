import numpy as np
import pytest

from mmpose_surgical.errors import UserError

CODEC = dict(type='LandmarkHeatmap', input_size=(64, 48), heatmap_size=(16, 12), sigma=1.0)
TRAIN = [dict(type='LoadClip'), dict(type='GetBBoxCenterScale', padding=1.0), dict(type='RandomFlip', prob=1.0),
         dict(type='RandomBBoxTransform', rotate_factor=20.0), dict(type='TopdownAffine', input_size=(64, 48)),
         dict(type='ClipPhotometricDistortion'), dict(type='GenerateTarget', encoder=CODEC),
         dict(type='PackClipInputs')]


def build(root, **kwargs):
    from mmpose.registry import DATASETS
    return DATASETS.build(dict(type='SurgicalClipDataset', data_root=str(root), **kwargs))


def test_sample_is_a_clip_with_targets(plugin, toy_data):
    dataset = build(toy_data, split='train', num_frames=3, spacing=0.1, pipeline=TRAIN)
    assert len(dataset) == 4
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 3, 48, 64) and sample['inputs'].dtype.is_floating_point is False
    packed = sample['data_samples']
    assert packed.gt_fields.heatmaps.shape == (2, 12, 16)
    assert packed.gt_instance_labels.keypoint_weights.shape == (1, 2)
    assert packed.metainfo['img_id'] == 1 and packed.metainfo['video'] == 'a'


def test_idle_frame_gives_a_zero_target_of_full_weight(plugin, toy_data):
    packed = build(toy_data, split='train', num_frames=1, pipeline=TRAIN)[1]['data_samples']
    assert float(packed.gt_fields.heatmaps.abs().max()) == 0
    assert packed.gt_instance_labels.keypoint_weights.tolist() == [[1, 1]]


def test_actions_of_the_tools_reach_the_target_and_nothing_else(plugin, toy_data):
    codec = dict(CODEC, channels='action_landmark', actions=['clip', 'grasp'])
    pipeline = [dict(step, encoder=codec) if step['type'] == 'GenerateTarget' else step for step in TRAIN]
    pipeline = [step for step in pipeline if step['type'] not in ('RandomFlip', 'RandomBBoxTransform')]
    dataset = build(toy_data, split='train', pipeline=pipeline)
    assert [dataset.get_data_info(i)['tool_actions'] for i in (0, 1)] == [['grasp'], [None]]
    packed = dataset[0]['data_samples']
    assert (packed.gt_fields.heatmaps.flatten(1).max(1).values > 0.8).tolist() == [False, True, False, True]
    assert packed.gt_instance_labels.keypoint_weights.shape == (1, 4)
    assert 'grasp' not in str(packed.metainfo)


def test_window_is_time_ordered_with_the_target_in_the_middle(plugin, toy_data):
    info = build(toy_data, split='val', num_frames=5, spacing=0.1).get_data_info(0)
    assert [file.path.stem[-2:] for file in info['window_files']] == ['10', '11', '12', '13', '14']
    assert str(info['window_files'][info['target_index']]) == info['img_path']


def test_every_frame_gets_the_same_geometry_and_colour(plugin, toy_data):
    dataset = build(toy_data, split='train', num_frames=3, spacing=0.0, pipeline=TRAIN)
    info = dataset.get_data_info(0)
    info['window_files'] = [info['window_files'][info['target_index']]] * 3
    inputs = dataset.pipeline(info)['inputs'].numpy()
    assert (inputs[0] == inputs[1]).all() and (inputs[0] == inputs[2]).all()


def test_missing_pictures_are_all_counted(plugin, toy_data, tmp_path):
    import shutil
    root = tmp_path / 'copy'
    shutil.copytree(toy_data, root)
    for path in sorted((root / 'frames/a').glob('*'))[1:4]:
        path.unlink()
    with pytest.raises(UserError, match=r'3 of 20 pictures are missing.*frames/a/000011.png'):
        build(root, split='train', num_frames=5, spacing=0.1)


def test_unreadable_picture_names_the_file(plugin, toy_data, tmp_path):
    import shutil
    root = tmp_path / 'copy'
    shutil.copytree(toy_data, root)
    path = root / 'frames/a/000012.png'
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match='cannot be decoded.*000012.png'):
        build(root, split='train', pipeline=TRAIN)[0]


def test_picture_of_another_size_is_refused(plugin, toy_data, tmp_path):
    import shutil

    import cv2
    root = tmp_path / 'copy'
    shutil.copytree(toy_data, root)
    cv2.imwrite(str(root / 'frames/a/000012.png'), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(UserError, match='picture is 30x20, the annotation says 64x48'):
        build(root, split='train', pipeline=TRAIN)[0]


def test_empty_split_is_an_error(plugin, toy_data, tmp_path):
    import shutil
    shutil.copy(toy_data / 'annotations.json', tmp_path)
    with pytest.raises(UserError, match='split "train" has no annotated frame'):
        build(tmp_path, split='train')


def test_tools_fill_slots(plugin):
    from mmpose_surgical.datasets.clip_dataset import _slot_rows, tools_to_slots
    from mmpose_surgical.datasets.records import Frame, Point, Tool, Video
    tips = [Point('tip', f'tip{i}', i, i, 1) for i in (1, 2, 3)]
    tools = [Tool(1, 'grasper', 'grasp', True, [*tips, Point('anchor', 'anchor', 9, 9, 2)]),
             Tool(2, 'hook', None, False, tips[:1]), Tool(3, 'hook', 'dissect', True, tips[:1])]
    frame = Frame(1, 'x', 8, 8, Video(1, 'v'), 0, True, tools=tools)
    keypoints, visible = tools_to_slots(frame)
    assert visible.tolist() == [[1, 1, 0], [1, 0, 1], [1, 0, 0]]
    assert [action for action, _ in _slot_rows(frame)] == ['grasp', 'grasp', 'dissect']  # of each row
    assert keypoints[0, :2, 0].tolist() == [1, 2] and keypoints[1, 2].tolist() == [9, 9]


def test_real_frames_load_as_clips(plugin, shared_real):
    pipeline = [dict(type='LoadClip'), dict(type='GetBBoxCenterScale', padding=1.0),
                dict(type='TopdownAffine', input_size=(64, 48)), dict(type='PackClipInputs')]
    dataset = build(shared_real, split='test', num_frames=5, pipeline=pipeline)
    first = dataset.get_data_info(0)
    assert [file.path.stem for file in first['window_files']] == ['000561', '000561', '000561', '000564', '000567']
    assert dataset[0]['inputs'].shape == (5, 3, 48, 64)
