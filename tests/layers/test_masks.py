# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import torch

from beit3_mm.layers.masks import image_to_text_mask, joint_attention_mask


def test_no_mask_when_nothing_is_masked():
    assert joint_attention_mask(None, 4) is None


def test_padding_hides_keys_and_nothing_in_front():
    padding = torch.tensor([[False, True], [False, False]])
    mask = joint_attention_mask(padding, 2)
    assert mask.shape == (2, 1, 1, 4)
    assert mask[:, 0, 0].tolist() == [
        [True, True, True, False],
        [True, True, True, True],
    ]


def test_padding_and_the_users_mask_are_joined():
    padding = torch.tensor([[False, True]])
    user = torch.eye(3, dtype=torch.bool)
    mask = joint_attention_mask(padding, 1, user)
    expected = user.clone()
    expected[:, 2] = False
    assert torch.equal(mask[0, 0], expected)
    per_sample = joint_attention_mask(None, 1, user.expand(2, 3, 3))
    assert per_sample.shape == (2, 1, 3, 3)


def test_image_to_text_mask_as_the_paper_describes_it():
    assert image_to_text_mask(2, 2).int().tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
    ]
