"""Follow a value through source code: which files does somebody open who wants to know where it goes?

The value is a parameter of a function. It stays itself through assignments, attributes, items and its own methods, and
so does what a function or a class with an ``__init__`` made of it; what NumPy makes of it, and a data class that holds
it, is something else. Each file with a function that is given the value is a stop. All branches are taken.
"""

import ast
from pathlib import Path


class Follower:
    """Where a value goes.

    Args:
        root: Folder of the package ``ssal3d``.
        receivers: Class names by the names of variables that hold an object of them, e.g. of a parameter.
        end: Method of such a variable at whose return the walk ends.

    Attributes:
        files: Files in which the value stopped, in the order of the first visit, relative to the package.
    """

    def __init__(self, root, receivers, end):
        self.root, self.end, self.files, self.reached = Path(root), end, [], False
        self._scopes, self._done = {}, set()
        self.receivers = {name: self.look_up(self.root / file, kind) for name, (file, kind) in receivers.items()}

    def follow(self, file, function, parameter):
        _, path, node = self.look_up(self.root / file, function)
        self.enter(path, node, {parameter}, None)
        return self.files

    def look_up(self, path, name):
        """Return kind ('def' or 'module'), file and node of what a module calls by a name; None for strangers."""
        entry = self._scope(path).get(name)
        while entry and entry[0] == 'import':
            _, module, attribute = entry
            if submodule := self._file(f'{module}.{attribute}'):
                return 'module', submodule, None
            target = self._file(module)
            entry = self._scope(target).get(attribute) if target else None
        return entry

    def enter(self, path, function, parameters, owner):
        """Stop at a function whose parameters hold the value."""
        file = path.relative_to(self.root).as_posix()
        if file not in self.files:
            self.files.append(file)
        key = path, function.lineno, frozenset(parameters)
        if key not in self._done:
            self._done.add(key)
            _Function(self, path, set(parameters), owner).read(function)

    def _file(self, module):
        base = self.root.parent.joinpath(*module.split('.'))
        return next((path for path in (base.with_suffix('.py'), base / '__init__.py') if path.exists()), None)

    def _scope(self, path):
        if path not in self._scopes:
            tree, names = ast.parse(path.read_text()), {}
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'ssal3d':
                    names |= {alias.asname or alias.name: ('import', node.module, alias.name) for alias in node.names}
            defined = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
            self._scopes[path] = names | {node.name: ('def', path, node) for node in defined}
        return self._scopes[path]


class _Function(ast.NodeVisitor):
    """The names that hold the value in one function, and the calls that pass it on."""

    def __init__(self, follower, path, holders, owner):
        self.follower, self.path, self.holders, self.owner = follower, path, holders, owner
        self.made = {}  # names of objects that were made of the value, with their classes
        self.results = {}  # calls whose result is the value, with the class that was called

    def read(self, function):
        for _ in range(2):  # loops carry names back
            for statement in function.body:
                if not self.follower.reached:
                    self.visit(statement)

    def is_value(self, node):
        if isinstance(node, ast.Name):
            return node.id in self.holders
        if isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred, ast.NamedExpr)):
            return self.is_value(node.value)
        if isinstance(node, ast.IfExp):
            return self.is_value(node.body) or self.is_value(node.orelse)
        if isinstance(node, (ast.Tuple, ast.List)):
            return any(map(self.is_value, node.elts))
        return isinstance(node, ast.Call) and node in self.results

    def bind(self, target, value):
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for name, part in zip(target.elts, value.elts, strict=True):
                self.bind(name, part)
        elif self.is_value(value):
            self.holders |= {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
            if isinstance(target, ast.Name) and self.results.get(value):
                self.made[target.id] = self.results[value]

    def visit_Assign(self, node):
        self.visit(node.value)
        for target in node.targets:
            self.bind(target, node.value)

    def visit_AnnAssign(self, node):
        if node.value is not None:
            self.visit(node.value)
            self.bind(node.target, node.value)

    def visit_For(self, node):
        self.visit(node.iter)
        self.bind(node.target, node.iter)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def visit_comprehension(self, node):
        self.visit(node.iter)
        self.bind(node.target, node.iter)
        for condition in node.ifs:
            self.visit(condition)

    def generic_visit(self, node):
        for generator in getattr(node, 'generators', ()):  # before the element that uses its names
            self.visit(generator)
        super().generic_visit(node)

    def visit_Call(self, node):
        self.generic_visit(node)
        if self.follower.reached:
            return
        target, owner, receiver = self._target(node.func)
        if target is None:
            if isinstance(node.func, ast.Attribute) and self.is_value(node.func.value):
                self.results[node] = None  # the value's own method
            return
        _, path, function = target
        made = None
        if isinstance(function, ast.ClassDef):
            made = owner = target
            function = _method(function, '__init__')
            if function is None:
                return  # a data class
        names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
        if owner and not _is_static(function):
            names = names[1:]
        given = {name for name, argument in zip(names, node.args, strict=False) if self.is_value(argument)}
        given |= {keyword.arg for keyword in node.keywords if keyword.arg and self.is_value(keyword.value)}
        if not given and not receiver:
            return
        self.follower.enter(path, function, given | ({'self'} if receiver or made else set()), owner)
        self.results[node] = made
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == self.follower.end:
            self.follower.reached = True

    def _target(self, called):
        """Return what is called, the class that it is a method of, and whether the object is made of the value."""
        look_up = self.follower.look_up
        if isinstance(called, ast.Name):
            found = look_up(self.path, called.id)
            return (found if found and found[0] == 'def' else None), None, False
        if not isinstance(called, ast.Attribute) or not isinstance(called.value, ast.Name):
            return None, None, False
        name = called.value.id
        found = look_up(self.path, name)
        if found and found[0] == 'module':
            return look_up(found[1], called.attr), None, False
        owner = self.owner if name == 'self' else self.made.get(name, self.follower.receivers.get(name, found))
        method = _method(owner[2], called.attr) if owner and isinstance(owner[2], ast.ClassDef) else None
        return (('def', owner[1], method), owner, name in self.holders) if method else (None, None, False)


def _method(kind, name):
    return next((node for node in kind.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def _is_static(function):
    return any(isinstance(node, ast.Name) and node.id == 'staticmethod' for node in function.decorator_list)
