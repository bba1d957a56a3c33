# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What mmdet lacks at test time; nothing else in `models` imports mmdet."""

from beit3_mm.models.detection.instance_tta import InstanceTTAModel
from beit3_mm.models.detection.rpn_head import RPNHead
from beit3_mm.models.detection.soft_nms_bbox_head import SoftNMSBBoxHead

__all__ = ['InstanceTTAModel', 'RPNHead', 'SoftNMSBBoxHead']
