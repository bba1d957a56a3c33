# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
# Cascade Mask R-CNN with ViTDet's pyramid and heads. Sources: detectron2
# projects/ViTDet (configs/common/models/mask_rcnn_vitdet.py and
# COCO/cascade_mask_rcnn_vitdet_b_100ep.py), called [ViTDet] below.
# Final configs add backbone=dict(**arch, ...) and neck.in_channels.
# Departure: mmdet trains a mask head in each stage and averages their scores
# (the Cascade Mask R-CNN paper, arXiv 1906.09756); [ViTDet] trains one.
# RoIAlign carries no scope: mmdet looks it up in mmcv.ops by plain name.
norm_cfg = dict(type='beit3_mm.LayerNorm2d', eps=1e-6)  # [ViTDet] 'LN'
num_classes = 80

box_head = dict(  # [ViTDet] 4conv1fc with LN
    type='beit3_mm.SoftNMSBBoxHead',
    num_shared_convs=4,
    num_shared_fcs=1,
    in_channels=256,
    conv_out_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=num_classes,
    norm_cfg=norm_cfg,
    reg_class_agnostic=True,
    loss_cls=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False),
    # detectron2's default smooth_l1_beta=0 is L1
    loss_bbox=dict(type='mmdet.L1Loss', loss_weight=1.0),
)
rcnn_train = dict(
    sampler=dict(
        type='mmdet.RandomSampler',
        num=512,
        pos_fraction=0.25,
        neg_pos_ub=-1,
        add_gt_as_proposals=True,
    ),
    mask_size=28,
    pos_weight=-1,
    debug=False,
)

model = dict(
    type='mmdet.CascadeRCNN',
    _scope_='mmdet',
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor',
        # BEiT-3's own mean and std (unilm/beit3, datasets.py)
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        bgr_to_rgb=True,
        pad_mask=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type='beit3_mm.BEiT3ViT'),
    neck=dict(type='beit3_mm.SimpleFeaturePyramid', out_channels=256),
    rpn_head=dict(
        type='beit3_mm.RPNHead',
        num_convs=2,  # [ViTDet] conv_dims=[-1, -1]
        in_channels=256,
        feat_channels=256,
        anchor_generator=dict(
            type='mmdet.AnchorGenerator',
            scales=[8],
            ratios=[0.5, 1.0, 2.0],
            strides=[4, 8, 16, 32, 64],
        ),
        bbox_coder=dict(
            type='mmdet.DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[1.0, 1.0, 1.0, 1.0],
        ),
        loss_cls=dict(
            type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0
        ),
        loss_bbox=dict(type='mmdet.L1Loss', loss_weight=1.0),
    ),
    roi_head=dict(
        type='mmdet.CascadeRoIHead',
        num_stages=3,
        # [ViTDet] sums the stages' losses unweighted, each on 1/3 of the
        # gradient; mmdet's and the Cascade R-CNN paper's weights are kept
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_roi_extractor=dict(
            type='mmdet.SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        # [ViTDet] weights (10, 5), (20, 10), (30, 15) are 1 / stds
        bbox_head=[
            dict(
                box_head,
                bbox_coder=dict(
                    type='mmdet.DeltaXYWHBBoxCoder',
                    target_means=[0.0, 0.0, 0.0, 0.0],
                    target_stds=[1 / xy, 1 / xy, 1 / wh, 1 / wh],
                ),
            )
            for xy, wh in ((10, 5), (20, 10), (30, 15))
        ],
        mask_roi_extractor=dict(
            type='mmdet.SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=14, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        mask_head=dict(
            type='mmdet.FCNMaskHead',
            num_convs=4,
            in_channels=256,
            conv_out_channels=256,
            num_classes=num_classes,
            norm_cfg=norm_cfg,
            loss_mask=dict(
                type='mmdet.CrossEntropyLoss', use_mask=True, loss_weight=1.0
            ),
        ),
    ),
    train_cfg=dict(
        rpn=dict(
            assigner=dict(
                type='mmdet.MaxIoUAssigner',
                pos_iou_thr=0.7,
                neg_iou_thr=0.3,
                min_pos_iou=0.3,
                match_low_quality=True,
                ignore_iof_thr=-1,
            ),
            sampler=dict(
                type='mmdet.RandomSampler',
                num=256,
                pos_fraction=0.5,
                neg_pos_ub=-1,
                add_gt_as_proposals=False,
            ),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        rpn_proposal=dict(  # [ViTDet] pre_nms_topk, post_nms_topk
            nms_pre=2000,
            max_per_img=1000,
            nms=dict(type='nms', iou_threshold=0.7),
            min_bbox_size=0,
        ),
        rcnn=[
            dict(
                rcnn_train,
                assigner=dict(
                    type='mmdet.MaxIoUAssigner',
                    pos_iou_thr=iou,
                    neg_iou_thr=iou,
                    min_pos_iou=iou,
                    match_low_quality=False,
                    ignore_iof_thr=-1,
                ),
            )
            for iou in (0.5, 0.6, 0.7)
        ],
    ),
    test_cfg=dict(
        rpn=dict(
            nms_pre=1000,
            max_per_img=1000,
            nms=dict(type='nms', iou_threshold=0.7),
            min_bbox_size=0,
        ),
        # BEiT-3 says soft-NMS and no more [text]; method and thresholds are
        # EVA-01's (baaivision/EVA, det, cascade_mask_rcnn_vitdet_eva_1536.py),
        # min_score is ONE-PEACE's.
        rcnn=dict(
            score_thr=0.0,
            nms=dict(
                type='soft_nms',
                method='linear',
                iou_threshold=0.6,
                min_score=1e-3,
            ),
            max_per_img=100,
            mask_thr_binary=0.5,
        ),
    ),
)
