# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Mask2Former on BEiT-3 with ViT-Adapter. Sources: czczup/ViT-Adapter,
# segmentation/configs (mask2former_beitv2_adapter_large_896_80k_ade20k_ss.py),
# called [ViT-Adapter]; mmseg's mask2former_r50_8xb2-160k_ade20k-512x512.py for
# what both share. Final configs add vit=dict(**arch) and in_channels.
# The encoder's and decoder's parts carry no scope: mmdet builds them by class.
num_classes = 150
window = (896, 896)  # of training and of sliding windows
# [ViT-Adapter] large: 1024 channels, 32 heads, feed-forward 4096
feat_channels = 1024
num_heads = 32
inner = dict(
    feedforward_channels=4096,
    act_cfg=dict(type='ReLU', inplace=True),
    ffn_drop=0.0,
)
attention = dict(
    embed_dims=feat_channels, num_heads=num_heads, batch_first=True
)
positions = dict(num_feats=feat_channels // 2, normalize=True)

model = dict(
    type='mmseg.EncoderDecoder',
    _scope_='mmseg',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        # BEiT-3's own mean and std (unilm/beit3, datasets.py)
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=window,
        # views smaller than a window are padded to one [ViT-Adapter]
        test_cfg=dict(size=window),
    ),
    backbone=dict(
        type='beit3_mm.BEiT3Adapter',
        conv_channels=64,
        num_points=4,
        deform_num_heads=16,
        ffn_ratio=0.25,
        value_ratio=0.5,
    ),
    decode_head=dict(
        type='beit3_mm.Mask2FormerHead',
        strides=[4, 8, 16, 32],
        feat_channels=feat_channels,
        out_channels=feat_channels,
        num_classes=num_classes,
        num_queries=200,
        num_transformer_feat_level=3,
        enforce_decoder_input_project=False,
        pixel_decoder=dict(
            type='mmdet.MSDeformAttnPixelDecoder',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=32),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=dict(
                        **attention, num_levels=3, num_points=4, dropout=0.0
                    ),
                    ffn_cfg=dict(embed_dims=feat_channels, num_fcs=2, **inner),
                ),
            ),
            positional_encoding=positions,
        ),
        positional_encoding=positions,
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=9,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(embed_dims=feat_channels, num_fcs=2, **inner),
            ),
        ),
        loss_cls=dict(
            type='mmdet.CrossEntropyLoss',
            use_sigmoid=False,
            loss_weight=2.0,
            class_weight=[1.0] * num_classes + [0.1],
        ),
        loss_mask=dict(
            type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=5.0
        ),
        loss_dice=dict(
            type='mmdet.DiceLoss',
            use_sigmoid=True,
            activate=True,
            naive_dice=True,
            eps=1.0,
            loss_weight=5.0,
        ),
        train_cfg=dict(
            num_points=12544,
            oversample_ratio=3.0,
            importance_sample_ratio=0.75,
            assigner=dict(
                type='mmdet.HungarianAssigner',
                match_costs=[
                    dict(type='mmdet.ClassificationCost', weight=2.0),
                    dict(
                        type='mmdet.CrossEntropyLossCost',
                        weight=5.0,
                        use_sigmoid=True,
                    ),
                    dict(
                        type='mmdet.DiceCost',
                        weight=5.0,
                        pred_act=True,
                        eps=1.0,
                    ),
                ],
            ),
            sampler=dict(type='mmdet.MaskPseudoSampler'),
        ),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=window, stride=(512, 512)),
)
# Batch norms count over all processes [ViT-Adapter]
sync_bn = 'torch'
