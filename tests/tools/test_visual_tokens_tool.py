# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
"""Visual tokens of a data set: found, read, and resumed after a kill."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import visual_tokenizers
from mmengine.registry import TRANSFORMS

from beit3_mm.datasets import visual_tokens

CONFIG = """
model = dict(
    type='beit3_mm.VQKDTraining',
    tokenizer={tokenizer},
    teacher=dict(type='beit3_mm.HandcraftedTeacher'),
)
train_dataloader = dict(
    dataset=dict(
        type='beit3_mm.SeededDataset',
        dataset=dict(
            type='mmpretrain.CustomDataset',
            data_root='{data}',
            with_label=False,
            pipeline=[
                dict(type='beit3_mm.LoadImageFromFile', skip_damaged=True),
                dict(type='mmcv.Resize', scale=(32, 32)),
            ],
        ),
    )
)
"""
ROOT = Path(__file__).parents[2]
NUMBER, DAMAGED = 7, 2
TOOL = 'dataset_converters/visual_tokens'


@pytest.fixture
def files(tmp_path, golden):
    """Returns the config, the checkpoint and the folder of images."""
    data = tmp_path / 'data'
    data.mkdir()
    rng = np.random.default_rng(0)
    for i in range(NUMBER):
        image = rng.integers(0, 256, (24 + i, 40, 3), np.uint8)
        cv2.imwrite(str(data / f'{i}.png'), image)
    path = data / f'{DAMAGED}.png'
    path.write_bytes(path.read_bytes()[:60])
    config = tmp_path / 'config.py'
    config.write_text(
        CONFIG.format(tokenizer=visual_tokenizers.config(), data=data)
    )
    checkpoint = tmp_path / 'vqkd.pth'
    visual_tokenizers.save(checkpoint, golden('vqkd')[1])
    return config, checkpoint, data


@pytest.fixture
def find(run_tool, files, tmp_path, capsys):
    """Runs the tool; returns what it says."""

    def run(*options, out='tokens', checkpoint=files[1]):
        run_tool(
            TOOL,
            *(files[0], checkpoint, '--out', tmp_path / out),
            *('--num-workers=0', '--batch-size=2', *options),
        )
        return capsys.readouterr().out

    return run


def expected(checkpoint, path, size=32):
    """Returns the ids of an image, squeezed by Pillow."""
    from PIL import Image

    image = Image.open(path).resize((size, size), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    model = visual_tokenizers.build(
        init_cfg=visual_tokenizers.pretrained(checkpoint)
    )
    model.init_weights()
    return model.encode_ids(image.float() / 255)[0].numpy()


def test_ids_are_the_tokenizers(find, files, tmp_path):
    said = find()
    *_, last, damaged = said.splitlines()
    assert last.startswith(f'visual tokens: {tmp_path}/tokens (7 images of 4')
    assert 'of 24 codes used' in last
    assert damaged.startswith('1 images have none')
    assert 'images: 7 of 7 (100%)' in said
    assert f'{DAMAGED}.png' in (tmp_path / 'tokens/damaged.txt').read_text()
    load = TRANSFORMS.build(
        dict(type='beit3_mm.LoadVisualTokens', folder=str(tmp_path / 'tokens'))
    )
    for i in range(NUMBER):
        name = f'/moved/{i}.png'
        results = load(dict(sample_idx=i, img_path=name))
        if i == DAMAGED:
            assert results is None
            continue
        ids = results['visual_ids']
        assert ids.dtype == np.int64
        wanted = expected(files[1], files[2] / f'{i}.png')
        np.testing.assert_array_equal(ids, wanted)
    with pytest.raises(ValueError, match=r'row 0 .* is not of 1\.png'):
        load(dict(sample_idx=0, img_path='1.png'))
    with pytest.raises(ValueError, match='row 9 of the 7 visual tokens'):
        load(dict(sample_idx=9, img_path='1.png'))


def test_neighbours_of_one_image_cost_once(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'dataset_converters')
    from visual_tokens import Images, batches, find_ids

    paths = ['a/0.png', 'a/0.png', 'b/0.png', 'a/1.png', 'a/1.png']
    loaded, encoded = [], []

    class Rows:
        def __len__(self):
            return len(paths)

        def get_data_info(self, index):
            return dict(img_path=paths[index])

    def load(info):
        loaded.append(info['img_path'])
        if info['img_path'] == 'a/1.png':
            raise ValueError('damaged')
        return dict(img=np.full((8, 8, 3), len(loaded), np.uint8))

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Module()
            self.encoder.proj = torch.nn.Linear(1, 1)

        def encode_ids(self, image):
            encoded.append(len(image))
            return (255 * image[:, 0, :1, 0]).round().long()

    args = SimpleNamespace(batch_size=5, num_workers=0)
    (batch,) = batches(Images(Rows(), load, 8), 0, args)
    ids = find_ids(Model(), batch, 1)
    assert ids[:, 0].tolist() == [1, 1, 2, 65535, 65535]
    assert loaded == ['a/0.png', 'b/0.png', 'a/1.png'] and encoded == [2]


def test_what_only_looks_like_one_image_is_read_by_itself(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'dataset_converters')
    from visual_tokens import Images

    rows = [
        # Names in shards are known by their first 100 bytes.
        dict(img_path='a.tar/0', img_bytes=b'1'),
        dict(img_path='a.tar/0', img_bytes=b'2'),
        dict(img_path='a.png', rejected='its caption is empty'),
        dict(img_path='a.png'),
        dict(img_path='a.png', rejected='its caption is empty'),
    ]

    def load(info):
        value = int(info.get('img_bytes', 3))
        return dict(img=np.full((8, 8, 3), value, np.uint8))

    data = SimpleNamespace(get_data_info=rows.__getitem__)
    found = [Images(data, load, 8)[i][1] for i in range(len(rows))]
    images = Images(data, load, 8)
    for i, alone in enumerate(found):
        after = images[i][1]
        assert type(after) is type(alone)
        assert after == alone if i in (2, 4) else torch.equal(after, alone)
    assert [int(found[i][0, 0, 0]) for i in (0, 1, 3)] == [1, 2, 3]
    assert found[2] == 'a.png: its caption is empty'


def test_another_size(find, files, tmp_path):
    find('--size=48')
    tokens = visual_tokens.VisualTokens(tmp_path / 'tokens')
    wanted = expected(files[1], files[2] / '5.png', 48)
    np.testing.assert_array_equal(tokens.find(5, '5.png'), wanted)
    assert tokens.about['height'] == tokens.about['width'] == 6


def test_it_goes_on_where_it_was_killed(find, tmp_path, monkeypatch):
    find(out='whole')
    whole = visual_tokens.VisualTokens(tmp_path / 'whole')

    def killed(self):
        keep(self)
        if self.done >= 4:
            raise KeyboardInterrupt

    keep = visual_tokens.VisualTokensWriter.keep
    with monkeypatch.context() as patch:
        patch.setattr(visual_tokens.VisualTokensWriter, 'keep', killed)
        patch.setattr('time.monotonic', iter(range(0, 10**6, 60)).__next__)
        with pytest.raises(KeyboardInterrupt):
            find()
    with pytest.raises(ValueError, match=r'has 4 of 7 samples: go on with'):
        visual_tokens.VisualTokens(tmp_path / 'tokens')
    # What was written behind the last message is found again.
    ids = np.load(tmp_path / 'tokens/ids.npy', mmap_mode='r+')
    ids[4:] = 1
    assert '1 images have none' in find()
    tokens = visual_tokens.VisualTokens(tmp_path / 'tokens')
    np.testing.assert_array_equal(tokens.ids, whole.ids)
    np.testing.assert_array_equal(tokens.names, whole.names)
    lines = (tmp_path / 'tokens/damaged.txt').read_text().splitlines()
    assert len(lines) == 1
    before = (tmp_path / 'tokens/about.json').read_text()
    find()  # nothing is left to do
    assert (tmp_path / 'tokens/about.json').read_text() == before


def test_a_folder_of_something_else_is_kept(find, files, tmp_path):
    find()
    with pytest.raises(SystemExit, match='holds visual tokens of'):
        find('--size=48')
    weights = torch.load(files[1])
    weights['model']['quantize.embedding.weight'] += 0.1
    torch.save(weights, tmp_path / 'other.pth')
    with pytest.raises(SystemExit, match='holds visual tokens of'):
        find(checkpoint=tmp_path / 'other.pth')
    for path in sorted(files[2].iterdir()):
        path.rename(path.with_name(f'x{path.name}'))
    with pytest.raises(SystemExit, match='holds tokens of other data'):
        find()


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        (['--size=30'], '--size 30 must divide into patches of 8'),
        (['--size=-8'], '--size -8 must divide into patches of 8'),
        (
            ['--dataset=train_dataloader.dataset.dataset.pipeline'],
            'is a list of 2: name one, such as train_dataloader.*pipeline.0',
        ),
        (['--dataset=val_dataloader'], "there is no 'val_dataloader'"),
        (['--dataset=model'], 'without a pipeline: name a data set inside'),
        (['--data=no.py'], 'no config file no.py'),
        (['--cfg-options', 'model.tokenizer.type=x'], 'must hold one model'),
    ],
)
def test_wrong_arguments(find, options, error):
    with pytest.raises(SystemExit, match=error):
        find(*options)


def test_a_data_set_of_texts_is_refused(find, tmp_path):
    (tmp_path / 'a.txt').write_text('the red circle')
    config = tmp_path / 'texts.py'
    config.write_text(
        "texts = dict(type='beit3_mm.TextCorpusDataset', files='a.txt', "
        f'data_root={str(tmp_path)!r}, pipeline=[dict('
        "type='beit3_mm.PackText', model_file='a.spm', max_tokens=9)])"
    )
    with pytest.raises(SystemExit, match='TextCorpusDataset without images'):
        find(f'--data={config}', '--dataset=texts')


def test_a_folder_without_tokens(tmp_path):
    with pytest.raises(FileNotFoundError, match='holds no visual tokens'):
        visual_tokens.VisualTokens(tmp_path)
