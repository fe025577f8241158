"""Makes of the structs of options files what documents them: a table of every key, and a JSON schema for editors.

  python scripts/options_reference.py           writes docs/options_reference.md and options/basicsr_kd.schema.json
  python scripts/options_reference.py --check   ends with status 1 where they are out of date

The comment beside or above a key in the source is its description.
"""
import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import msgspec

from basicsr_kd.options import basicsr_sections, clips, distill, prune, realesrgan, train, val, video
from basicsr_kd.options.datasets import SETS
from basicsr_kd.utils.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
TEXT, SCHEMA = ROOT / 'docs/options_reference.md', ROOT / 'options/basicsr_kd.schema.json'
_MODULES: dict[ModuleType, str] = {
    basicsr_sections: "BasicSR's, where a description does not begin with `ours`", train: 'ours', val: 'ours',
    distill: 'ours', prune: 'ours', realesrgan: "Real-ESRGAN's", video: 'ours', clips: "ours, with BasicSR's names"}
_TITLES = {
    'TopOptions': 'The file itself', 'PathOptions': 'path', 'WandbOptions': 'logger.wandb', 'LoggerOptions': 'logger',
    'DistOptions': 'dist_params', 'TrainSection': "train: BasicSR's keys", 'BackendOptions': 'io_backend',
    'AnySet': 'datasets: every set of images', '_StoredSet': 'datasets: stored images',
    'PairedSection': 'datasets, type: PairedImageDataset', 'PhotoSection': 'datasets, type: SingleImageDataset',
    'CompileOptions': 'train.compile', 'TrainOptions': 'train: our keys', 'AnyValOptions': 'val',
    'ValOptions': 'val: images', '_OurMetric': 'val.metrics: with a backbone', '_WithTruth': 'val.metrics: with truth',
    '_BasicSROptions': "val.metrics: BasicSR's",
    '_HigherOptions': 'val.metrics: higher is better', '_LowerOptions': 'val.metrics: lower is better',
    'TeacherOptions': 'teacher', 'StudentOptions': 'student', 'ScheduleOptions': 'train.distill_schedule',
    'DistillOptions': 'train.distill_opt: every loss', 'LayersOptions': 'train.distill_opt: losses on features',
    'AdaptedOptions': 'train.distill_opt: losses with adapters',
    'OutputsOfOthers': 'train.distill_opt: losses of others, on outputs',
    'LayersOfOthers': 'train.distill_opt: losses of others, on features',
    'AdaptedOfOthers': 'train.distill_opt: losses of others, with adapters',
    'CalibrationOptions': 'prune.calibration, teacher.prune.calibration, student.calibration',
    'PruneOptions': 'prune, teacher.prune', 'TargetOptions': "The file itself: Real-ESRGAN's targets",
    'SynthesisOptions': "The file itself: Real-ESRGAN's low resolution",
    'PhotoOptions': 'datasets.train, type: RealESRGANDataset', 'DegradationOptions': 'degradation',
    'VideoValOptions': 'val: clips', '_ClipMetric': 'val.metrics of clips',
    'DiskOptions': 'io_backend of clips in test',
    'ClipOptions': 'datasets: every set of clips', 'ClipTrainOptions': 'datasets.train, type: TecoGANTrainDataset',
    'ClipTestOptions': 'datasets, type: TecoGANTestDataset'}
"""Where a struct stands in a file; those with a tag: below."""
_TAGGED = {basicsr_sections: 'train.scheduler', distill: 'train.distill_opt', val: 'val.metrics',
           video: 'val.metrics of clips'}
_WORDS = {
    'dict[str, Any]': 'section', 'None': '~', 'str': 'text', 'Text': 'text', 'bool': 'true | false',
    'Count': 'whole number ≥ 1', '_Count': 'whole number ≥ 1', 'Frequency': 'whole number ≥ 0',
    '_Share': 'number ≥ 0, ≤ 1', 'NotNegative': 'number ≥ 0', '_NotNegative': 'number ≥ 0', '_Positive': 'number > 0',
    '_Quality': 'number ≥ 1, ≤ 100', 'int': 'whole number', 'float': 'number'}
_HEAD = """# Every key of an options file

Made by `python scripts/options_reference.py` from the structs in `basicsr_kd/options/`: change those. What the sections
are for is in [The sections in the options file](options.md). A key without a default has to be given.
"""


def comments(source: str) -> dict[int, str]:
    """The comment that belongs to a line: at its end, or all that stands alone right above it."""
    lines = source.splitlines()
    found: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        if match := re.search(r'  # (.*)$', line):
            found[number] = match[1]
        else:
            above = []
            for before in reversed(lines[:number - 1]):
                if not before.strip().startswith('# '):
                    break
                above.append(before.strip()[2:])
            found[number] = ' '.join(reversed(above))
    return found


def fields(kind: type) -> list[tuple[str, str, str, str]]:
    """Key, type, default and description of a struct's own keys."""
    source = inspect.getsource(kind)
    said = comments(source)
    (tree,) = ast.parse(inspect.cleandoc(source) if source.startswith(' ') else source).body
    assert isinstance(tree, ast.ClassDef)
    return [(node.target.id, _readable(ast.unparse(node.annotation)), _default(node.value), said[node.lineno])
            for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]


def _readable(kind: str) -> str:
    """A type in the words of an options file."""
    kind = re.sub(r'Annotated\[([^,\]]+), (?:msgspec\.)?Meta\(([^)]*)\)\]', _bounded, kind)
    kind = re.sub(r'Literal\[([^]]*)\]', lambda found: found[1].replace(', ', ' | ').replace("'", ''), kind)
    for word, said in _WORDS.items():
        kind = re.sub(rf'(?<![\w]){re.escape(word)}(?![\w])', said, kind)
    return kind.replace(' | ~', '')


def _bounded(found: re.Match[str]) -> str:
    signs = {'ge': '≥', 'gt': '>', 'le': '≤', 'lt': '<'}
    bounds = [f'{signs[key.strip()]} {value}' for key, _, value in
              (part.partition('=') for part in found[2].split(',')) if key.strip() in signs]
    return f'{found[1]} {", ".join(bounds)}'.strip()


def _default(node: ast.expr | None) -> str:
    if node is None:
        return ''
    if isinstance(node, ast.Call):  # msgspec.field(default_factory=…)
        factory = node.keywords[0].value
        return ast.unparse(factory.body) if isinstance(factory, ast.Lambda) else 'its defaults'
    text = ast.unparse(node)
    return {'None': '~', 'True': 'true', 'False': 'false'}.get(text, text.strip("'"))


def structs(module: ModuleType) -> list[Any]:
    """Those that a module defines, in its order."""
    found = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
             and kind.__module__ == module.__name__]
    return sorted(found, key=lambda kind: inspect.getsourcelines(kind)[1])


def reference() -> str:
    """The table of all keys."""
    parts = [_HEAD]
    for module, whose in _MODULES.items():
        for kind in structs(module):
            rows = [[cell.replace('|', '\\|') for cell in (f'`{name}`', f'`{type_}`', f'`{default}`' if default else '',
                                                           text)] for name, type_, default, text in fields(kind)]
            if rows:
                bases = [f'"{_title(base)}"' for base in kind.__mro__[1:] if base.__name__ in _TITLES and fields(base)]
                more = f' Besides the keys of {" and ".join(bases)}.' if bases else ''
                parts.append(f'## {_title(kind)}\n\n{inspect.cleandoc(kind.__doc__ or "")} Keys: {whose}.{more}\n\n' +
                             markdown_table(['key', 'type', 'default', 'what it says'], rows) + '\n')
    return '\n'.join(parts)


def _title(kind: Any) -> str:
    if kind.__name__ in _TITLES:
        return _TITLES[kind.__name__]
    module = next(module for module in _TAGGED if module.__name__ == kind.__module__)
    return f'{_TAGGED[module]}, type: {kind.__struct_config__.tag}'


def schema() -> dict[str, Any]:
    """What editors check files by. Sections with `type:` allow further keys, which registered classes decide on."""
    kinds = {'path': basicsr_sections.PathOptions, 'train': basicsr_sections.TrainSection,
             'logger': basicsr_sections.LoggerOptions, 'dist_params': basicsr_sections.DistOptions,
             'teacher': distill.TeacherOptions, 'student': distill.StudentOptions, 'prune': prune.PruneOptions}
    sections = [basicsr_sections.TopOptions, *kinds.values(), val.ValOptions, video.VideoValOptions,
                realesrgan.TargetOptions, realesrgan.SynthesisOptions, video.DegradationOptions, *set(SETS.values()),
                *get_args(distill.AnyDistillOptions)]
    _, parts = msgspec.json.schema_components(sections, ref_template='#/$defs/{name}')
    described = {kind.__name__: {name: text for base in kind.__mro__ if issubclass(base, msgspec.Struct) and
                                 base.__module__.startswith('basicsr_kd') for name, _, _, text in fields(base)}
                 for kind in sections}
    for name, texts in described.items():
        for key, text in texts.items():
            if text and key in parts.get(name, {}).get('properties', {}):
                parts[name]['properties'][key]['description'] = text
    top = parts['TopOptions']
    for key, kind in kinds.items():
        one = {'$ref': f'#/$defs/{kind.__name__}'}
        several = [{'type': 'array', 'items': one}] if key == 'prune' else []
        top['properties'][key] = {'anyOf': [one, {'type': 'null'}, *several]}
    top['properties']['val'] = {'anyOf': [{'$ref': '#/$defs/ValOptions'}, {'$ref': '#/$defs/VideoValOptions'}]}
    for extra in (realesrgan.TargetOptions, realesrgan.SynthesisOptions):
        top['properties'].update(parts[extra.__name__]['properties'])
    top['properties']['degradation'] = {'$ref': '#/$defs/DegradationOptions'}
    top['properties']['datasets'] = {'type': 'object', 'additionalProperties': {'anyOf': [
        *({'$ref': f'#/$defs/{kind.__name__}'} for kind in dict.fromkeys(SETS.values())),
        {'type': 'object', 'not': {'properties': {'type': {'enum': list(SETS)}}}}]}}
    for key in ('ldl_opt', 'warp_opt', 'pingpong_opt'):
        parts['TrainSection']['properties'][key] = {'type': ['object', 'number', 'null']}
    top['patternProperties'] = {'^network_': {'type': ['object', 'null']}}
    for name in {kind.__name__ for kind in SETS.values()}:  # parse_options fills these in
        parts[name]['required'] = [key for key in parts[name].get('required', []) if key not in ('phase', 'scale')]
    return {'$schema': 'https://json-schema.org/draft/2020-12/schema', 'title': 'Options of basicsr_kd',
            '$ref': '#/$defs/TopOptions', '$defs': dict(sorted(parts.items()))}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--check', action='store_true', help='write nothing')
    args = parser.parse_args(argv)
    texts = {TEXT: reference(), SCHEMA: json.dumps(schema(), indent=1, ensure_ascii=False) + '\n'}
    old = [path for path, text in texts.items() if not path.exists() or path.read_text('utf-8') != text]
    if args.check and old:
        sys.exit(f'{" and ".join(str(path.relative_to(ROOT)) for path in old)}: out of date. Run python '
                 'scripts/options_reference.py')
    for path in old:
        path.write_text(texts[path], 'utf-8')
        print(f'written: {path}')


if __name__ == '__main__':
    main()
