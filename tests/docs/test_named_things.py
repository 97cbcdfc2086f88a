"""What README and docs name exists: files, modules, names to import, commands and their options."""

import ast
import json
import re

import pytest

from tests.helpers.paths import ROOT

PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted(ROOT.glob('docs/**/*.md')))
}
FILE = re.compile(r'(?<![\w/.<-])(?:configs|docs|ssal3d|tests|tools)/[\w./-]*\w')
MODULE = re.compile(r'\bssal3d(?:\.[A-Za-z_]\w*)+')
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```', re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r'\btools/(\w+)\.py((?:\\\n|[^\n|])*)')


def python_blocks():
    for page, text in PAGES.items():
        for number, (language, code) in enumerate(BLOCK.findall(text)):
            if language == 'python':
                yield pytest.param(code, id=f'{page}-{number}')
    for path in sorted(ROOT.glob('docs/**/*.ipynb')):
        cells = json.loads(path.read_text())['cells']
        code = '\n'.join(''.join(cell['source']) for cell in cells if cell['cell_type'] == 'code')
        yield pytest.param(code, id=str(path.relative_to(ROOT)))


def names_of(path):
    """Names at the top level of a module, and those that a package exports."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            yield from (alias.asname or alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.names[0].name == '*':
            place = ROOT.joinpath(*str(node.module).split('.'))
            yield from names_of(place / '__init__.py' if place.is_dir() else place.with_suffix('.py'))
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        for target in getattr(node, 'targets', [getattr(node, 'target', None)]):
            if isinstance(target, ast.Name):
                yield target.id


def exists(dotted):
    """Whether a dotted name is a module, or a name in one; what follows a name is not looked at."""
    place, parts = ROOT, dotted.split('.')
    for number, part in enumerate(parts):
        module = place / f'{part}.py'
        if (place / part / '__init__.py').exists():
            place = place / part
        elif module.exists():
            return number == len(parts) - 1 or parts[number + 1] in names_of(module)
        else:
            return part in names_of(place / '__init__.py')
    return True


@pytest.mark.parametrize('page', PAGES)
def test_files_and_modules_that_a_page_names_exist(page):
    files = {name for name in FILE.findall(PAGES[page]) if not (ROOT / name).exists()}
    assert {name for name in files if not list(ROOT.glob(f'{name}*'))} == set()
    assert {name for name in MODULE.findall(PAGES[page]) if not exists(name)} == set()


@pytest.mark.parametrize('code', python_blocks())
def test_python_of_the_pages_compiles_and_imports_what_is_there(code):
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    ours = [f'{node.module}.{alias.name}' for node in imports for alias in node.names if node.module[:6] == 'ssal3d']
    assert [name for name in ours if not exists(name)] == []


@pytest.mark.parametrize('page', PAGES)
def test_commands_of_the_pages_know_their_options(page):
    sources = [*ROOT.glob('tools/**/*.py'), *ROOT.glob('ssal3d/*.py'), *ROOT.glob('ssal3d/cli/**/*.py')]
    known = set(re.findall(r"'(--[a-z][\w-]*)'", '\n'.join(path.read_text() for path in sources)))
    options = {
        option for _, line in COMMAND.findall(PAGES[page]) for option in re.findall(r'(?<!\S)--[a-z][\w-]*', line)
    }
    assert options - known == set()


def test_names_that_are_not_there_are_noticed():
    assert exists('ssal3d.active.select')
    assert exists('ssal3d.bank.BoxBank')
    assert exists('ssal3d.data.label_state.LabelState.empty')
    assert not exists('ssal3d.active.selekt')
    assert not exists('ssal3d.cpsp.box_bank')
    assert not exists('ssal3d.data.label_state.LabelStat')
