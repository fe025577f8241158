"""Evaluations side by side: what is read, what compares, seeds of one method."""
from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.report import BSD100, DEVICE, SET14, evaluation, method, protocol, student, write

from basicsr_kd.errors import ReportError
from basicsr_kd.report.evaluations import read_runs
from basicsr_kd.report.methods import group_methods, measured


def read(folder: Path, *contents: dict[str, Any], about: dict[str, Any] | None = None):
    files = [write(folder / f'{index}.json', content) for index, content in enumerate(contents)]
    tags = folder / 'about.yml'
    if about is not None:
        tags.write_text(yaml.safe_dump(about))
    return read_runs(files, tags if about is not None else None)


def test_seeds_become_one_method_in_an_order_that_no_figure_decides(tmp_path):
    methods = group_methods(read(tmp_path, evaluation()).methods)

    assert [(found.label, len(found.runs)) for found in methods] == [
        ('bicubic', 1), ('ESRGAN', 1), ('Teacher_0.3', 1), ('L1_16', 3), ('Twin_16', 3), ('Student_16 from 0', 1),
        ('Student_16', 3), ('Student_16 from 0.5', 1), ('Student_16 from 0.8', 1), ('Student_32', 1), ('Student_48', 1)]
    seeds = next(found for found in methods if found.label == 'Student_16')
    assert seeds.values('Set14', 'psnr') == pytest.approx([25.60, 25.62, 25.64])
    assert seeds.averages(['Set14', 'BSD100'], 'psnr') == pytest.approx([25.45, 25.47, 25.49])
    assert measured(methods) == ['psnr', 'ssim', 'lpips', 'fid', 'kid']


def test_several_files_make_one_report_and_bicubic_is_there_once(tmp_path):
    runs = read(tmp_path, evaluation([method('a', 25.0, 16), method('bicubic', 24.0)]),
                evaluation([method('bicubic', 24.0), method('b', 26.0, 32)], warnings=['of b'], left_out={}))

    assert [found.name for found in runs.methods] == ['a', 'bicubic', 'b']
    assert 'of b' in runs.notes and len(set(runs.notes)) == len(runs.notes)


def test_what_was_left_out_is_said_with_its_file(tmp_path):
    runs = read(tmp_path, evaluation(left_out={'fid': 'no weights', 'kid': 'no weights', 'niqe': 'small'},
                                     skipped={'HR/x.png': 'is cut short'}))

    assert [note.replace(str(tmp_path), '') for note in runs.notes[:3]] == [
        'Without FID and KID (/0.json): no weights', 'Without NIQE (/0.json): small',
        'Without an image (/0.json): HR/x.png is cut short']


def test_plain_evaluations_need_no_tags(tmp_path):
    methods = group_methods(read(tmp_path, evaluation([method('s', 25.0, 16), method('bicubic', 24.0)])).methods)

    assert [(found.label, found.about.role, found.about.features) for found in methods] == [
        ('bicubic', 'bicubic', None), ('s', None, 16)]


def test_tags_of_the_file_count_before_those_in_the_evaluation(tmp_path):
    content = evaluation([method('s', 25.0, 16, role='teacher', iterations=7), method('bicubic', 24.0)])
    found = read(tmp_path, content, about={'s': {'role': 'student', 'pruned': 0.3}}).methods[0].about

    assert (found.role, found.pruned, found.iterations, found.features) == ('student', 0.3, 7, 16)


@pytest.mark.parametrize('content, said', [
    (b'{"format": ', 'is no JSON'),
    (b'\x89PNG\r\n', 'is no JSON'),
    (b'[' * 100_000, 'is no JSON'),
    (b'[1, 2]', 'is no evaluation'),
    (b'{"psnr": 1}', 'is no evaluation'),
    (b'{"format": "basicsr-kd evaluation 2"}', "'basicsr-kd evaluation 2', and this version of basicsr_kd reads"),
    (b'{"format": "basicsr-kd evaluation 1", "protocol": {}}', 'with a fault: '),
    (None, 'cannot be read: No such file'),
])
def test_a_file_that_is_no_evaluation_is_named(tmp_path, content, said):
    path = tmp_path / 'run.json'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReportError) as error:
        read_runs([path])
    assert str(error.value).startswith(str(path)) and said in str(error.value)


def test_an_evaluation_of_nothing_is_refused(tmp_path):
    with pytest.raises(ReportError, match='it has no methods'):
        read(tmp_path, evaluation([]))


def test_a_figure_that_is_none_is_named_by_its_place(tmp_path):
    content = evaluation()
    content['methods'][0]['scores']['Set14']['mean']['psnr'] = 'very good'
    with pytest.raises(ReportError, match=r'with a fault: .*\$\.methods\[0\]\.scores'):
        read(tmp_path, content)


@pytest.mark.parametrize('changes, said', [
    ({'scale': 2}, 'scale is 4 in .*0.json and 2 in .*1.json'),
    ({'border': 0}, 'border is 4 in .* and 0 in '),
    ({'channel': 'y'}, 'channel is rgb in .* and y in '),
    ({'lpips_net': 'vgg'}, 'lpips_net is alex in .* and vgg in '),
])
def test_protocols_that_differ_are_refused_with_the_difference(tmp_path, changes, said):
    other = evaluation([method('b', 25.0, 16)], protocol=protocol(**changes))
    with pytest.raises(ReportError, match=f'do not compare: {said}'):
        read(tmp_path, evaluation(), other)


def test_an_evaluation_without_lpips_goes_with_any(tmp_path):
    without = evaluation([method('b', 25.0, 16)], protocol=protocol(lpips_net=None))
    runs = read(tmp_path, without, evaluation())
    assert runs.protocol.lpips_net == 'alex'
    images = evaluation([method('b', 25.0, 16)], protocol=protocol(scale=None))
    assert read(tmp_path, images, without).protocol.scale == 4
    with pytest.raises(ReportError, match='lpips_net is alex .* and vgg'):  # whatever stands first
        read(tmp_path, without, evaluation(), evaluation([method('c', 2.0)], protocol=protocol(lpips_net='vgg')))


@pytest.mark.parametrize('sets, said', [
    ({'Set14': SET14}, 'has the sets Set14, BSD100, and .* Set14. Make a report of each'),
    ({'Set14': SET14[:-2], 'BSD100': BSD100}, 'Set14 has 14 images in .* and 12 in .*: img_013, img_014'),
    ({'Set14': SET14, 'BSD100': [f'x{name}' for name in BSD100]}, 'only in one of them: 101, 102, 103 and 197 more'),
])
def test_sets_that_differ_are_refused_with_the_difference(tmp_path, sets, said):
    other = evaluation([method('b', 25.0, 16, sets)],
                       sets=[{'name': name, 'images': images, 'hr': 'x', 'lr': None} for name, images in sets.items()])
    with pytest.raises(ReportError, match=said):
        read(tmp_path, evaluation(), other)


def test_a_mean_over_other_images_than_the_set_has_is_refused(tmp_path):
    content = evaluation()
    del content['methods'][0]['scores']['Set14']['images']['ssim']['img_003']
    with pytest.raises(ReportError, match='ssim of Student_48_seed0 is not over the images of Set14; .* img_003'):
        read(tmp_path, content)


def test_one_name_for_two_methods_is_refused(tmp_path):
    with pytest.raises(ReportError, match='bicubic has other figures or tags in .*1.json than in .*0.json'):
        read(tmp_path, evaluation(), evaluation([method('bicubic', 20.0)]))


def part(*metrics: str, **changes: Any) -> dict[str, Any]:
    """An evaluation of one network that measured only these."""
    row = method('net', 25.0, 16)
    for found in row['scores'].values():
        for kind in ('images', 'mean'):
            found[kind] = {metric: found[kind][metric] for metric in metrics if metric in found[kind]}
        for name in {'fid', 'kid'} - set(metrics):
            del found[name]
    return evaluation([row], **changes)


def test_files_with_different_metrics_of_one_method_are_put_together(tmp_path):
    bare = part('psnr', 'fid')
    bare['methods'][0] |= {'complexity': None, 'speed': {}}
    del bare['methods'][0]['scores']['BSD100']
    whole = evaluation([method('net', 25.0, 16)])
    for order in ([bare, part('ssim', 'lpips'), part('psnr', 'kid', 'fid')], [part('psnr', 'kid', 'fid'), bare,
                                                                           part('ssim', 'lpips')]):
        found = read(tmp_path, *order).methods
        assert found == read(tmp_path, whole).methods and len(found) == 1


def test_the_protocol_is_told_for_the_metrics_of_all_files(tmp_path):
    texts = ['x4; PSNR on RGB; 8-bit images; 4 border pixels left out.', 'x4; NIQE on Y; 8-bit images; 4 border pixels '
             'left out.']
    runs = read(tmp_path, *(part(metric, protocol=protocol(text=text))
                            for metric, text in zip(('psnr', 'ssim'), texts, strict=True)))
    assert runs.protocol.text == 'x4; PSNR on RGB; 8-bit images; 4 border pixels left out; NIQE on Y.'


def moved(metric: str, factor: float, step: float = 0.0) -> dict[str, Any]:
    content = evaluation([method('net', 25.0, 16)])
    found = content['methods'][0]['scores']['BSD100']
    if metric in ('fid', 'kid'):
        found[metric]['value'] = found[metric]['value'] * factor + step
    else:
        found['mean'][metric] = found['mean'][metric] * factor + step
    return content


@pytest.mark.parametrize('metric', ['psnr', 'ssim', 'lpips', 'fid', 'kid'])
def test_figures_that_rounding_tells_apart_are_the_same(tmp_path, metric):
    whole = evaluation([method('net', 25.0, 16)])
    assert read(tmp_path, whole, moved(metric, 1 + 5e-5)).methods == read(tmp_path, whole).methods
    with pytest.raises(ReportError, match=rf'net has other figures .* \({metric} on BSD100\)'):
        read(tmp_path, whole, moved(metric, 1.01))


def test_one_image_with_another_figure_is_another_method(tmp_path):
    whole, other = evaluation([method('net', 25.0, 16)]), evaluation([method('net', 25.0, 16)])
    for content, value in ((whole, 'inf'), (other, None)):
        content['methods'][0]['scores']['Set14']['images']['psnr']['img_003'] = value
    assert len(read(tmp_path, whole, whole).methods) == len(read(tmp_path, other, other).methods) == 1
    for pair in ((whole, other), (whole, evaluation([method('net', 25.0, 16)]))):
        with pytest.raises(ReportError, match='psnr on Set14'):
            read(tmp_path, *pair)


def test_tags_that_differ_make_another_method(tmp_path):
    with pytest.raises(ReportError, match=r'other figures or tags .* \(the tags\)'):
        read(tmp_path, evaluation([method('net', 25.0, 16, role='student')]), evaluation([method('net', 25.0, 16)]))


def test_seconds_of_another_machine_are_left_out_and_quality_is_not(tmp_path):
    other = evaluation([method('b', 25.0, 16)], device={**DEVICE, 'name': 'NVIDIA H200'})
    runs = read(tmp_path, evaluation(), other)
    found = runs.methods[-1]

    assert found.name == 'b' and not found.speed and found.scores['Set14'].mean['psnr'] == 25.0
    assert runs.timing.device.name == DEVICE['name'] and runs.methods[0].speed
    assert any('seconds of b' in note and 'NVIDIA H200' in note and DEVICE['name'] in note for note in runs.notes)


def test_work_and_seconds_of_another_lr_size_are_left_out(tmp_path):
    other = evaluation([method('b', 25.0, 16)])
    other['methods'][0]['complexity']['lr_size'] = other['methods'][0]['speed']['fp32']['lr_size'] = [128, 96]
    runs = read(tmp_path, evaluation(), other)
    found = runs.methods[-1]

    assert found.complexity.macs is None and found.complexity.activations is None and not found.speed
    assert found.complexity.params == runs.methods[1].complexity.params
    assert any('MACs and activations of b' in note and '96x128' in note for note in runs.notes)


@pytest.mark.parametrize('about, said', [
    ({'Student_16_sed0': {'role': 'student'}}, "tags for 'Student_16_sed0', .* did you mean 'Student_16_seed"),
    ({'bicubic': {'rol': 'bicubic'}}, "bicubic.rol: unknown key; did you mean 'role'"),
    ({'bicubic': {'role': 'pupil'}}, "bicubic.role: found 'pupil'. Possible: bicubic, teacher"),
    ({'bicubic': {'pruned': 30}}, 'bicubic.pruned: found 30'),
    ({'bicubic': 'student'}, 'does not give methods tags'),
    (['bicubic'], 'does not give methods tags'),
])
def test_tags_that_are_none_are_refused(tmp_path, about, said):
    with pytest.raises(ReportError, match=f'--about: .*{said}'):
        read(tmp_path, evaluation(), about=about)


def test_a_file_of_tags_that_is_none_is_named(tmp_path):
    path = write(tmp_path / 'a.json', evaluation())
    with pytest.raises(ReportError, match='--about: .*no.yml cannot be read'):
        read_runs([path], tmp_path / 'no.yml')
    (tmp_path / 'bad.yml').write_text('a: {')
    with pytest.raises(ReportError, match='--about: .*bad.yml is no YAML'):
        read_runs([path], tmp_path / 'bad.yml')


@pytest.mark.parametrize('tag, other, said', [
    ('features', 32, 'features is 16 of Student_16_seed0 and 32 of Student_16_seed1'),
    ('iterations', 5, 'iterations is 100000 of'),
    ('seed', 0, 'the seed 0 more than once'),
])
def test_a_group_is_seeds_of_one_method(tmp_path, tag, other, said):
    seeds = [student(16, 0.3, seed, 25.0) for seed in range(2)]
    seeds[1]['about'][tag] = other
    with pytest.raises(ReportError, match=f'the group Student_16 .*{said}'):
        group_methods(read(tmp_path, evaluation(seeds)).methods)


def test_an_average_takes_all_sets(tmp_path):
    seeds = [student(16, 0.3, seed, 25.0) for seed in range(2)]
    del seeds[1]['scores']['BSD100']
    found, = group_methods(read(tmp_path, evaluation(seeds)).methods)

    assert found.values('Set14', 'psnr') == [25.0, 25.02]
    assert found.averages(['Set14', 'BSD100'], 'psnr') == [24.85]
    assert found.averages(['Set14'], 'psnr') == [25.0, 25.02]


def test_equal_images_have_infinite_psnr_and_undefined_figures_are_none(tmp_path):
    content = copy.deepcopy(evaluation([method('same', 25.0, 16)]))
    content['methods'][0]['scores']['Set14']['mean'] |= {'psnr': 'inf', 'niqe': None}
    found, = group_methods(read(tmp_path, content).methods)

    assert found.values('Set14', 'psnr') == [math.inf] and found.values('Set14', 'niqe') == []
    assert found.averages(['Set14', 'BSD100'], 'psnr') == [math.inf]


def test_seconds_of_seeds_are_their_mean(tmp_path):
    seeds = [student(16, 0.3, seed, 25.0) for seed in range(2)]
    seeds[0]['speed']['fp32'].update(seconds=[1.0, 2.0, 3.0], peak_bytes=5)
    seeds[1]['speed']['fp32'].update(seconds=[2.0, 3.0, 6.0], peak_bytes=7)
    found, = group_methods(read(tmp_path, evaluation(seeds)).methods)

    assert found.speed('fp32').seconds == (1.5, 2.5, 4.5) and found.speed('fp32').peak_bytes == 7
    assert found.speed('bf16') is None
