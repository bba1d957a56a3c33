# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""What the processes of a run decide together."""

import torch
from mmengine.dist import all_reduce, get_world_size


def any_process(flag: bool) -> bool:
    """Returns whether `flag` is set in any process; all of them must ask.

    It costs the exchange of one number. No device has to wait for
    it longer than it does anyway: mmengine reads every loss in each iteration.
    """
    if get_world_size() == 1:
        return flag
    number = torch.tensor(int(flag))
    all_reduce(number, 'max')
    return bool(number)
