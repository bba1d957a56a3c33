# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# The demo's detector on a small folder of photographs with COCO's 80 classes,
# trained until it fits them: evidence that the program works on real images,
# not a measure of quality. It starts from the demo's checkpoint; the heads of
# 12 classes are left fresh.
# Numbers: sizes, schedule and rates are ours, for an hour of 2 CPU cores.
# Expected: see projects/shapes/README.md, from a run of this file.
# Command, with annotations/instances.json and images/ in DIR, on 2 cores:
# OMP_NUM_THREADS=1 bash tools/dist_train.sh \
#   projects/shapes/configs/det/beit3_cascade_photos.py 2 --cfg-options \
#   env_cfg.dist_cfg.backend=gloo train_dataloader.batch_size=2 \
#   train_dataloader.dataset.dataset.data_root=DIR \
#   val_dataloader.dataset.data_root=DIR \
#   val_evaluator.ann_file=DIR/annotations/instances.json
# and for tools/test.py test_dataloader and test_evaluator in the same way.
_base_ = './beit3_cascade_shapes.py'
load_from = 'work_dirs/shapes/det/iter_1500.pth'
image_size = (320, 320)
heads = [
    dict(head, num_classes=80) for head in _base_.model.roi_head.bbox_head
]
stages = [
    dict(stage, sampler=dict(stage.sampler, num=64))
    for stage in _base_.model.train_cfg.rcnn
]
model = dict(
    roi_head=dict(bbox_head=heads, mask_head=dict(num_classes=80)),
    train_cfg=dict(rcnn=stages),
)
# No jitter and no flip: every image is to be learnt as it is.
steps = {
    'mmdet.RandomFlip': dict(prob=0.0),
    'mmcv.RandomResize': dict(scale=image_size, ratio_range=(1.0, 1.0)),
    'mmdet.RandomCrop': dict(crop_size=image_size),
    'mmdet.Pad': dict(size=image_size),
}
train_pipeline = [
    dict(step, **steps.get(step.type, {})) for step in _base_.train_pipeline
]
test_pipeline = [dict(step) for step in _base_.test_pipeline]
test_pipeline[1]['scale'] = image_size
tta_pipeline = [dict(step) for step in _base_.tta_pipeline]
tta_pipeline[1]['transforms'][0] = [
    dict(type='mmdet.Resize', scale=(side, side), keep_ratio=True)
    for side in (288, 320, 352)
]
data = dict(
    _delete_=True,
    type='beit3_mm.CocoDataset',
    data_root='data/photos/',
    ann_file='annotations/instances.json',
    data_prefix=dict(img='images/'),
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(dataset=dict(data, pipeline=train_pipeline)),
)
val_dataloader = dict(
    batch_size=4, dataset=dict(data, pipeline=test_pipeline, test_mode=True)
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data['data_root'] + data['ann_file'])
test_evaluator = val_evaluator
max_iters = 3600
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters),
]
auto_scale_lr = dict(base_batch_size=4)
visualizer = dict(line_width=3, alpha=0.8)
