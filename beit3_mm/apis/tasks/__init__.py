# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""The tasks, by the class of the model, or of its head."""

from torch import nn

from beit3_mm.apis.tasks.base import Batch, Query, Task
from beit3_mm.apis.tasks.captioning import Captioning
from beit3_mm.apis.tasks.classification import (
    Classification,
    NameClassification,
)
from beit3_mm.apis.tasks.dense import Detection, Segmentation
from beit3_mm.apis.tasks.fusion import Judging, QuestionAnswering
from beit3_mm.apis.tasks.retrieval import Retrieval

__all__ = ['Batch', 'Query', 'Task', 'build_task']

# Classes go by name, so that no host is imported that a model does not need.
TASKS = {
    'BaseDetector': Detection,  # mmdet
    'BaseSegmentor': Segmentation,  # mmseg
    'ImageClassifier': Classification,  # mmpretrain
    'ClassNameClassifier': NameClassification,
    'DualEncoder': Retrieval,
    'ImageToText': Captioning,
}
FUSION_TASKS = {'VQAHead': QuestionAnswering, 'NLVR2Head': Judging}


def build_task(model: nn.Module) -> Task:
    """Returns the task of a model.

    Args:
        model: As `init_model` returns it.

    Raises:
        ValueError: If it has none, or the config lacks what the task needs.
        FileNotFoundError: If a file that the config names is missing.
    """
    kinds = [(type(model), TASKS)]
    if hasattr(model, 'head'):
        kinds.append((type(model.head), FUSION_TASKS))
    for kind, tasks in kinds:
        for base in kind.__mro__:
            if base.__name__ in tasks:
                return tasks[base.__name__](model)
    names = ' with '.join(kind.__name__ for kind, _ in kinds)
    raise ValueError(
        f'{names} has no task that answers anything of single images and '
        f'texts; these have: {sorted(TASKS)} and models with one of '
        f'{sorted(FUSION_TASKS)}'
    )
