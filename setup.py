# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Installs `beit3_mm`; `pip install beit3_mm[hosts]` brings the hosts too."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# The maintained forks of OpenMMLab's packages. They keep the import names of
# the originals, so they are an extra: a plain install never overwrites an
# OpenMMLab installation that somebody already has.
HOSTS = [
    'onedl-mmengine>=0.10.12',
    'onedl-mmcv>=2.3.6',
    'onedl-mmdetection>=3.5.1',
    'onedl-mmsegmentation>=1.4.2',
    'onedl-mmpretrain>=1.3.6',
]


def read_version() -> str:
    """Returns `__version__` without importing the package."""
    text = (ROOT / 'beit3_mm' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '([^']+)'", text).group(1)


setup(
    name='beit3_mm',
    version=read_version(),
    description='BEiT-3 for every task, as an OpenMMLab plugin',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['beit3_mm', 'beit3_mm.*']),
    # `.mim/configs` and `.mim/tools` are links to the folders beside this
    # file; a wheel holds copies. mmengine looks there for
    # `_base_ = 'beit3_mm::...'`.
    package_data={
        'beit3_mm': [
            '.mim/model-index.yml',
            '.mim/configs/**/*.py',
            '.mim/configs/**/*.md',
            '.mim/tools/**/*.py',
            '.mim/tools/**/*.sh',
        ]
    },
    include_package_data=False,
    python_requires='>=3.10',
    install_requires=[
        'numpy',
        'pillow',
        'pycocotools',
        'safetensors',
        'sentencepiece',
        'tensorboard',
        'torch>=2.4',
        'torchvision',
    ],
    extras_require={
        'hosts': HOSTS,
        # METEOR and SPICE of captions; both need Java as well.
        'caption': ['pycocoevalcap'],
        'test': ['pytest', 'pytest-xdist', 'ruff', 'setuptools', 'wheel'],
    },
    zip_safe=False,
)
