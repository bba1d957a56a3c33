# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
from beit3_mm.evaluation.caption_metric import CaptionMetric
from beit3_mm.evaluation.codebook_usage import CodebookUsage
from beit3_mm.evaluation.nlvr2_accuracy import NLVR2Accuracy
from beit3_mm.evaluation.retrieval_recall import RetrievalRecall
from beit3_mm.evaluation.vqa_score import VQAScore

__all__ = [
    'CaptionMetric',
    'CodebookUsage',
    'NLVR2Accuracy',
    'RetrievalRecall',
    'VQAScore',
]
