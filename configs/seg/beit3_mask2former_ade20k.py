# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# BEiT-3 base (released form), ViT-Adapter + Mask2Former on ADE20K.
# Numbers: the authors published no base segmentor; all are ViT-Adapter's large
# recipe [found: czczup/ViT-Adapter], in the files below; drop path 0.2 is
# ours. It starts from the COCO-Stuff stage ("strategy 2").
# Expected: not run on ADE20K by us, and no figure is published.
# Command, with NNODES=2, NODE_RANK and MASTER_ADDR set on each machine:
# bash tools/dist_train.sh configs/seg/beit3_mask2former_ade20k.py 8
# Without the first stage: --cfg-options load_from=None
# model.backbone.vit.init_cfg.type=Pretrained
# model.backbone.vit.init_cfg.checkpoint=beit3_base_patch16_224.pth
_base_ = [
    '../_base_/archs.py',
    '../_base_/models/mask2former_adapter.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/adapter_80k.py',
    '../_base_/tta/semantic_tta.py',
    '../_base_/runtime.py',
]
arch = _base_.archs.base
load_from = 'work_dirs/beit3_mask2former_coco-stuff164k/iter_80000.pth'
model = dict(
    backbone=dict(vit=dict(**arch, with_cls_token=True, drop_path_rate=0.2)),
    decode_head=dict(in_channels=[arch.embed_dims] * 4),
)
# Queries and class embeddings have the rate of the embeddings [ViT-Adapter].
slow = dict(depth=0)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            'vision_embedding.positions': dict(decay_mult=0.0),
            'vision_embedding.cls_token': dict(decay_mult=0.0),
            'decode_head.query_embed': slow,
            'decode_head.level_embed': slow,
            'decode_head.cls_embed': slow,
            'decode_head.mask_embed': slow,
        }
    )
)
visualizer = dict(type='mmseg.SegLocalVisualizer')
default_hooks = dict(
    checkpoint=dict(interval=8000, by_epoch=False),
    class_count=dict(type='beit3_mm.ClassCountHook'),
    visualization=dict(type='mmseg.SegVisualizationHook'),
)
log_processor = dict(by_epoch=False)
