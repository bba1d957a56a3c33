# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Headers say what the paper (giant) or the authors (base, large) reached.

Tables 4 to 6, 9 and 10 of arXiv 2208.10442; unilm/beit3, README.md; the large
model without fine-tuning: microsoft/unilm#1382.
"""

from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[1] / 'configs'
RESULTS = {
    'vqa/beit3_fusion_vqav2.py': ('77.65', '78.46'),
    'vqa/beit3-large_fusion_vqav2.py': ('81.85', '82.53'),
    'vqa/beit3-large_fusion_vqav2-vg_768.py': ('82.97', '83.03'),
    'vqa/beit3-giant_fusion_vqav2.py': ('84.19', '84.03'),
    'nlvr2/beit3_fusion_nlvr2.py': ('83.6', '84.4'),
    'nlvr2/beit3_fusion_nlvr2_indomain.py': ('84.6', '85.3'),
    'nlvr2/beit3-large_fusion_nlvr2.py': ('88.5', '89.4'),
    'nlvr2/beit3-large_fusion_nlvr2_indomain.py': ('89.2', '90.0'),
    'nlvr2/beit3-giant_fusion_nlvr2.py': ('91.51', '92.58'),
    'caption/beit3_caption_coco.py': ('133.6', '135.0'),
    'caption/beit3-large_caption_coco.py': ('143.2',),
    'caption/beit3_caption_nocaps.py': ('104.4', '105.6'),
    'caption/beit3-large_caption_nocaps.py': ('120.2',),
    'caption/beit3-giant_caption_coco.py': ('44.1', '32.4', '147.6', '25.4'),
    'retrieval/beit3_dual_coco.py': ('61.4', '79.1'),
    'retrieval/beit3-large_dual_coco.py': ('63.4', '82.1'),
    'retrieval/beit3-giant_dual_coco.py': ('84.8/96.5/98.3', '67.2/87.7/92.8'),
    'retrieval/beit3-giant_dual_coco_direct.py': (
        *('82.7/96.0/98.2', '65.1/86.6/92.3'),
    ),
    'retrieval/beit3_dual_flickr30k.py': ('86.2', '96.3'),
    'retrieval/beit3-large_dual_flickr30k.py': ('88.1', '97.2'),
    'retrieval/beit3-giant_dual_flickr30k.py': (
        *('98.0/100.0/100.0', '90.3/98.7/99.5'),
    ),
    'retrieval/beit3-giant_dual_flickr30k_direct.py': (
        *('97.5/99.9/100.0', '89.1/98.6/99.3'),
    ),
    'retrieval/beit3-giant_dual_pairs.py': (
        *('94.9/99.9/100.0', '81.5/95.6/97.8'),
    ),
    'retrieval/beit3-giant_dual_flickr30k_zeroshot.py': (
        *('94.9/99.9/100.0', '81.5/95.6/97.8'),
    ),
    'retrieval/beit3-large_dual_flickr30k_zeroshot.py': (
        *('90.7/98.9/99.6', '78.0/94.1/96.8'),
    ),
    'classification/beit3_linear_imagenet1k.py': ('85.4', '97.6'),
    'classification/beit3-large_linear_imagenet1k.py': ('87.6', '98.3'),
    'classification/beit3-giant_names_imagenet1k.py': ('89.6',),
}


@pytest.mark.parametrize('name', RESULTS)
def test_headers_state_the_published_results(name):
    lines = (CONFIGS / name).read_text().splitlines()
    header = ' '.join(line[2:] for line in lines if line.startswith('#'))
    expected = header.partition('Expected: ')[2].partition('Batch: ')[0]
    for figure in RESULTS[name]:
        assert figure in expected, figure
