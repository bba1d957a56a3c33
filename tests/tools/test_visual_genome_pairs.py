# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
import json

import pytest

from beit3_mm.datasets import PairListDataset

TOOL = 'dataset_converters/visual_genome_pairs'


@pytest.fixture
def folder(tmp_path):
    """Three images, of which COCO has two, with two regions each."""
    url = 'https://cs.stanford.edu/people/rak248/VG_100K{}/{}.jpg'
    images = [
        dict(image_id=1, url=url.format('', 1), coco_id=None),
        dict(image_id=2, url=url.format('_2', 2), coco_id=20),
        dict(image_id=3, url=url.format('', 3), coco_id=30),
    ]
    regions = [
        dict(id=i, regions=[dict(phrase=f' a\tred\ncar {i}'), dict(phrase='')])
        for i in (1, 2, 3)
    ]
    coco = [dict(cocoid=20, split='train'), dict(cocoid=30, split='test')]
    for name, content in (
        ('image_data', images),
        ('region_descriptions', regions),
        ('dataset_coco', dict(images=coco)),
    ):
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    return tmp_path


def test_each_region_is_a_pair(folder, run_tool, capsys):
    out = folder / 'lists/pairs.tsv'
    coco = folder / 'dataset_coco.json'
    run_tool(TOOL, folder, '--out', out, '--leave-out', coco)
    said = capsys.readouterr().out
    assert f'list of pairs: {out} (2 pairs; left out: 2 of held-out' in said
    assert '2 without a caption' in said
    dataset = PairListDataset('lists/*.tsv', str(folder))
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [(x['img_path'], x['text']) for x in infos] == [
        (f'{folder}/VG_100K/1.jpg', 'a red car 1'),
        (f'{folder}/VG_100K_2/2.jpg', 'a red car 2'),
    ]


def test_nothing_is_left_out_unasked(folder, run_tool, capsys):
    run_tool(TOOL, folder, '--out', folder / 'all.tsv')
    assert '3 pairs; left out: 0 of' in capsys.readouterr().out


def test_wrong_input_ends_with_one_message(folder, run_tool):
    for out, message in (('a.txt', r'a\.txt must be'), ('b.tsv', 'no image')):
        if out == 'b.tsv':
            path = folder / 'image_data.json'
            path.write_text(json.dumps(json.loads(path.read_text())[1:]))
        with pytest.raises(SystemExit, match=f'^error: .*{message}'):
            run_tool(TOOL, folder, '--out', folder / out)
    (folder / 'c.tsv').write_text('')
    with pytest.raises(SystemExit, match=r'c\.tsv exists'):
        run_tool(TOOL, folder, '--out', folder / 'c.tsv')


@pytest.mark.parametrize(
    'images', [[], [dict(id=20, file_name='20.jpg')], ['20.jpg']]
)
def test_a_file_without_held_out_images_is_refused(folder, run_tool, images):
    other = folder / 'instances_val2014.json'
    other.write_text(json.dumps(dict(images=images)))
    out = folder / 'pairs.tsv'
    with pytest.raises(
        SystemExit, match=r'--leave-out .*val2014\.json has no'
    ):
        run_tool(TOOL, folder, '--out', out, '--leave-out', other)
    assert not out.exists()


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('image_data', {}, r'image_data\.json: expected a list of objects'),
        ('region_descriptions', {}, r'region_.*\.json: expected a list of'),
        ('region_descriptions', [], r'region_.*\.json: there is no caption'),
    ],
)
def test_files_without_pairs(folder, run_tool, name, content, message):
    (folder / f'{name}.json').write_text(json.dumps(content))
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        run_tool(TOOL, folder, '--out', folder / 'out.tsv')
    assert not (folder / 'out.tsv').exists()
