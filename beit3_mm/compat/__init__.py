# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The only place that knows versions of the hosts.

Nothing is imported here but the standard library: each fix is applied at the
moment the module that it mends is imported, if it ever is.
"""

from pathlib import Path

from beit3_mm.compat import fixes
from beit3_mm.compat.hosts import require_hosts
from beit3_mm.compat.import_hook import after_import, provide_missing

__all__ = ['install', 'require_hosts']


def install() -> None:
    """Makes the installed hosts usable; calling it again changes nothing.

    Without hosts it does nothing. mmcv's compiled operators, where they
    exist, keep their place; a compiled `mmcv._ext` that does not load is an
    error of that installation and is reported as such.
    """
    provide_missing('mmcv._ext', Path(__file__).with_name('mmcv_ext.py'))
    after_import('mmengine.config.utils', fixes.add_config_packages)
    after_import('mmengine.model.weight_init', fixes.load_pretrained_encoders)
    after_import(
        'mmcv.ops.multi_scale_deform_attn', fixes.replace_deformable_attention
    )
    after_import('mmpretrain.utils.dependency', fixes.disable_multimodal)
