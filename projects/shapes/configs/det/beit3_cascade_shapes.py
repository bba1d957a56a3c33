# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# The demo: a tiny BEiT-3 detector, from random weights, on generated scenes,
# in the paper's form: without the sub-LNs of the released one it learns much
# faster from so few samples.
# Numbers: sizes, schedule and rates are ours, chosen for 10 minutes of 2 CPU
# cores; everything else is the base COCO detector's.
# Expected: see projects/shapes/README.md, from a run of this file.
# Command: make demo
_base_ = '../../../../configs/det/beit3_cascade_coco.py'
classes = [
    f'{colour} {shape}'
    for shape in ('circle', 'square', 'triangle')
    for colour in ('red', 'green', 'blue', 'yellow')
]
num_classes = len(classes)
paper_form = dict(multiway_attention=False, sub_norm=False, num_vl_layers=3)
arch = dict(_base_.archs.tiny, img_size=192, **paper_form)
channels = 32
narrow = dict(in_channels=channels, conv_out_channels=channels)
box_heads = [
    dict(head, **narrow, fc_out_channels=128, num_classes=num_classes)
    for head in _base_.model.roi_head.bbox_head
]
stages = [
    dict(stage, sampler=dict(stage.sampler, num=24))
    for stage in _base_.model.train_cfg.rcnn
]
model = dict(
    backbone=dict(
        **arch,
        window_size=6,
        global_attn_indexes=(1, 3),
        drop_path_rate=0.0,
        init_cfg=None,
    ),
    neck=dict(in_channels=arch['embed_dims'], out_channels=channels),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[4]),  # 16 to 256 pixels
    ),
    roi_head=dict(
        # 2 samples instead of an adaptive number: faster on CPUs
        bbox_roi_extractor=dict(
            out_channels=channels, roi_layer=dict(sampling_ratio=2)
        ),
        bbox_head=box_heads,
        mask_roi_extractor=dict(
            out_channels=channels, roi_layer=dict(sampling_ratio=2)
        ),
        mask_head=dict(**narrow, num_classes=num_classes),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=256, max_per_img=128), rcnn=stages
    ),
    # a threshold, so that few masks are predicted
    test_cfg=dict(
        rpn=dict(nms_pre=256, max_per_img=128), rcnn=dict(score_thr=0.05)
    ),
)

image_size = (192, 192)  # scenes of 128 pixels, enlarged
steps = {
    'mmcv.RandomResize': dict(scale=image_size, ratio_range=(0.8, 1.25)),
    'mmdet.RandomCrop': dict(crop_size=image_size),
    'mmdet.Pad': dict(size=image_size),
}
train_pipeline = [
    dict(step, **steps.get(step.type, {})) for step in _base_.train_pipeline
]
test_pipeline = [dict(step) for step in _base_.test_pipeline]
# Larger than in training: of 192, 224, 256, 288 and 320 the best on held-out
# scenes, box AP 0.692, 0.723, 0.738, 0.731, 0.716.
test_pipeline[1]['scale'] = (256, 256)
tta_pipeline = [dict(step) for step in _base_.tta_pipeline]
tta_pipeline[1]['transforms'][0] = [
    dict(type='mmdet.Resize', scale=(side, side), keep_ratio=True)
    for side in (224, 256, 320)
]

palette = [  # every class in its own colour; mmdet draws tuples alone
    tuple(round(part * shade) for part in colour)
    for shade in (1.0, 0.75, 0.5)
    for colour in ([255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0])
]
data = dict(
    data_root='work_dirs/shapes/data/coco/',
    metainfo=dict(classes=classes, palette=palette),
)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        dataset=dict(
            data, pipeline=train_pipeline, filter_cfg=dict(min_size=0)
        )
    ),
)
val_dataloader = dict(batch_size=8, dataset=dict(data, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    ann_file=data['data_root'] + 'annotations/instances_val2017.json'
)
test_evaluator = val_evaluator

max_iters = 1500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    type='mmengine.OptimWrapper',
    # `fused` updates all small tensors at once.
    optimizer=dict(lr=2e-3, weight_decay=0.05, fused=True),
    paramwise_cfg=dict(layer_decay_rate=1.0),
    clip_grad=dict(max_norm=10.0),
)
auto_scale_lr = dict(base_batch_size=8)
visualizer = dict(line_width=1, alpha=0.5)  # the pictures are small
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100))
param_scheduler = [
    dict(_base_.param_scheduler[0], end=50),
    dict(
        type='mmengine.CosineAnnealingLR',
        by_epoch=False,
        begin=50,
        end=max_iters,
        eta_min=1e-5,
    ),
]
