# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import torch
from torch import nn

from beit3_mm.models.pretraining.frozen import WithFrozen


class Student(WithFrozen):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)


def test_a_frozen_model_goes_along_but_is_no_part():
    student, other = Student(), Student()
    teacher = nn.Sequential(nn.Linear(2, 3), nn.Dropout())
    student._freeze(teacher)
    assert not teacher.training
    assert not any(x.requires_grad for x in teacher.parameters())
    assert [*student.state_dict()] == ['layer.weight', 'layer.bias']
    assert teacher not in [*student.modules()]
    student.train()
    assert not teacher.training
    assert student.double() is student
    assert teacher[0].weight.dtype == torch.float64
    assert student.to('meta').layer.weight.is_meta
    assert teacher[0].weight.is_meta
    assert other._frozen == ()
