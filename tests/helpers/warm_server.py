"""Imports once what training needs, then runs each script that it is asked for in a forked process of its own.

A fresh interpreter spends longer on the imports of MMDetection3D than the tiny experiment takes. What a run keeps in
memory still ends with its process, and a kill is a kill.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import sys
import traceback

import ssal3d.register
import ssal3d.runner  # noqa: F401


def run(script: str, arguments: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> int:
    """Run a script in this process as the interpreter would, and return its exit status."""
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    try:
        runpy.run_path(script, run_name='__main__')
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def warm_up() -> None:
    """Import what every training imports late, which takes longer than the rest of its start."""
    for name in ('torch._dynamo', 'mmdet3d.visualization'):
        importlib.import_module(name)


def serve() -> None:
    """Answer one line of JSON per request with the exit status of its process, negative for a signal."""
    answers = os.fdopen(os.dup(1), 'w')
    gc.freeze()  # the forked runs share what is imported
    for line in sys.stdin:
        child = os.fork()
        if not child:
            status = run(**json.loads(line))
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


if __name__ == '__main__':
    warm_up()
    serve()
