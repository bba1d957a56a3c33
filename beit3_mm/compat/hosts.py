# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Says which host is missing and how to get it."""

from importlib.util import find_spec

# Module -> distribution of the original OpenMMLab package.
ORIGINALS = {
    'mmengine': 'mmengine',
    'mmcv': 'mmcv',
    'mmdet': 'mmdet',
    'mmseg': 'mmsegmentation',
    'mmpretrain': 'mmpretrain',
}


def require_hosts(*names: str) -> None:
    """Checks that the hosts are installed, without importing them.

    Args:
        names: module names of hosts, such as 'mmengine' or 'mmseg'.

    Raises:
        ImportError: if one is missing; the message names the missing ones
            and both ways to install them.
        ValueError: if a name is not a host's.
    """
    unknown = [name for name in names if name not in ORIGINALS]
    if unknown:
        raise ValueError(
            f'{unknown} are no hosts of beit3_mm; '
            f'these are: {sorted(ORIGINALS)}'
        )
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        originals = ' '.join(ORIGINALS[name] for name in missing)
        raise ImportError(
            f'Hosts not installed: {", ".join(missing)}. Either install the '
            "maintained forks of all hosts: pip install 'beit3_mm[hosts]', "
            f"or OpenMMLab's original: pip install {originals}",
            name=missing[0],
        )
