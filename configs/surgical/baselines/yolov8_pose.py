# YOLOv8-pose, trained and run by ultralytics (AGPL-3.0) in a process of its own: pip install "mmpose_surgical[yolo]",
# or name the Python of an environment that has it with YOLO_PYTHON.
#
# One class, `tool`; only acting tools are objects, and a frame in which nothing acts has none, so that the detector
# learns to abstain, by object and by the visibility of each point. Pictures are exported at the input size of the other
# methods. Size, batch, epochs, optimiser, schedule and seed are those of the other configs, augmentation the nearest
# that ultralytics has, without mosaic: it scales, shifts and turns every picture, where the others are scaled always,
# shifted in 30 % and turned in 60 % (the defaults of RandomBBoxTransform). The tip on the left of the tool comes first.
_base_ = ['../../_base_/schedules/adamw_cosine.py', '../../_base_/datasets/surgical.py']

clip = dict(num_frames=1)

model = dict(
    type='UltralyticsPose',
    # From scratch unless YOLO_WEIGHTS names a .pt file; yolov8n-pose and yolov8s-pose are smaller.
    backbone=dict(type='yolov8m-pose', init_cfg=dict(type='Pretrained', checkpoint='{{$YOLO_WEIGHTS:none}}')),
    box_margin=0.08,  # around an acting tool's points, of the longer side of the picture
    # Of the keypoint loss, chosen on validation videos of configs/bench (benchmarks/results/ablation.md). For points
    # other than COCO's, ultralytics takes one over their number: with 0.33 an error of the whole tolerance of 15 px
    # would cost a hundredth of the greatest loss.
    oks_sigma=0.05,
    # ultralytics scales the picture, RandomBBoxTransform the box: 1 / 1.2 to 1 / 0.85.
    train=dict(
        degrees=30.0, translate=0.08, scale=(0.83, 1.18), fliplr=0.5, hsv_h=0.05, hsv_s=0.5, hsv_v=0.3, mosaic=0.0,
        mixup=0.0, copy_paste=0.0, close_mosaic=0, augmentations=[]),
    # Low: the threshold is chosen on validation, by the rule of all methods.
    predict=dict(conf=0.01, iou=0.5, max_det=10))
