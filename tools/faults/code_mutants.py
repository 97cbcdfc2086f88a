"""Programs with one small mistake: a mutant of a module differs from it in one operator, comparison, constant or call.

What only decides a message (f-strings, the arguments of ``raise``), annotations, docstrings and decorators stay.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

COMPARISONS: dict[type, type] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
}
TURNED: dict[type, type] = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
OPERATORS: dict[type, type] = {
    **{
        ast.Add: ast.Sub,
        ast.Sub: ast.Add,
        ast.Mult: ast.Div,
        ast.Div: ast.Mult,
        ast.FloorDiv: ast.Mult,
        ast.Mod: ast.Mult,
    },
    **{ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Mult},
}
NAMES = {  # functions and methods, and what is easily taken for them
    **{'min': 'max', 'minimum': 'maximum', 'argmin': 'argmax', 'any': 'all', 'floor': 'ceil', 'cos': 'sin'},
    **{'logical_and': 'logical_or', 'cumsum': 'cumprod', 'zeros': 'ones', 'zeros_like': 'ones_like', 'sum': 'max'},
    **{'mean': 'sum', 'union1d': 'intersect1d', 'median': 'mean', 'append': 'extend', 'intersection': 'union'},
}
NAMES |= {other: name for name, other in NAMES.items() if other not in NAMES}
BESIDES = {'left': 'right', 'right': 'left', 'stable': 'quicksort'}  # texts that choose how something is done


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake.

    Attributes:
        path: Its file.
        line: Where the mistake is.
        before: The expression as it was.
        after: The expression as it is now.
        tree: The module's syntax with the mistake.
    """

    path: Path
    line: int
    before: str
    after: str
    tree: ast.Module

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: {self.before} -> {self.after}'


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield all mutants of a module in the order of its text."""
    tree = ast.parse(path.read_text())
    places = list(_places(tree))
    for number, node in enumerate(places):
        for variant in range(len(_variants(node))):
            changed = copy.deepcopy(tree)
            place = list(_places(changed))[number]
            before = ast.unparse(place)
            _variants(place)[variant]()
            ast.fix_missing_locations(changed)
            yield Mutant(path, place.lineno, before, ast.unparse(place), changed)


def _places(tree: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Yield what a mistake could be in, from the top down."""
    for name, value in ast.iter_fields(tree):
        if name in ('annotation', 'returns', 'decorator_list', 'type_comment'):
            continue
        for child in value if isinstance(value, list) else [value]:
            if (
                not isinstance(child, ast.AST)
                or isinstance(child, ast.JoinedStr | ast.Raise | ast.Assert)
                or _is_text(child)
            ):
                continue
            if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == 'TYPE_CHECKING':
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child
            yield from _places(child)


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _variants(node: ast.expr | ast.stmt) -> list:
    """Return functions of which each makes one mistake in a node, in place."""
    make = _MAKERS.get(type(node))
    return make(node) if make else []


def _of_compare(node: ast.Compare) -> list:
    kinds = [
        (place, table[type(operator)])
        for place, operator in enumerate(node.ops)
        for table in (COMPARISONS, TURNED)
        if type(operator) in table
    ]
    return [partial(_set, node.ops, place, kind()) for place, kind in kinds]


def _set(values: list, place: int, value: ast.AST) -> None:
    values[place] = value


def _of_operator(node: ast.BinOp | ast.AugAssign) -> list:
    other = OPERATORS.get(type(node.op))
    texts = isinstance(node, ast.BinOp) and any(
        isinstance(side, ast.JoinedStr) or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        for side in (node.left, node.right)
    )
    return [lambda: setattr(node, 'op', other())] if other and not texts else []


def _of_boolean(node: ast.BoolOp) -> list:
    other = ast.Or if isinstance(node.op, ast.And) else ast.And
    return [lambda: setattr(node, 'op', other())]


def _of_unary(node: ast.UnaryOp) -> list:
    if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        return []  # the number below is changed
    return (
        [lambda: setattr(node, 'op', ast.UAdd())]
        if not isinstance(node.op, ast.UAdd | ast.Not)
        else [lambda: setattr(node, 'operand', ast.UnaryOp(ast.Not(), node.operand))]
    )


def _of_constant(node: ast.Constant) -> list:
    value = node.value
    if isinstance(value, bool):
        return [lambda: setattr(node, 'value', not value)]
    if isinstance(value, int | float):
        return [lambda: setattr(node, 'value', value + 1)] if abs(value) < 1e6 else []
    return [lambda: setattr(node, 'value', BESIDES[value])] if value in BESIDES else []


def _of_name(node: ast.Call) -> list:
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr in NAMES:
        return [lambda: setattr(function, 'attr', NAMES[function.attr])]
    if isinstance(function, ast.Name) and function.id in NAMES:
        return [lambda: setattr(function, 'id', NAMES[function.id])]
    return []


def _of_condition(node: ast.If | ast.IfExp | ast.While) -> list:
    return [lambda: setattr(node, 'test', ast.UnaryOp(ast.Not(), node.test))] if not isinstance(node, ast.While) else []


_MAKERS = {
    ast.Compare: _of_compare,
    ast.BinOp: _of_operator,
    ast.AugAssign: _of_operator,
    ast.BoolOp: _of_boolean,
    ast.UnaryOp: _of_unary,
    ast.Constant: _of_constant,
    ast.Call: _of_name,
    ast.If: _of_condition,
    ast.IfExp: _of_condition,
}
