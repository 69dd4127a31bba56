"""Runs a command once for each folder and environment that it reads: `python -m tests.cli.forks serve < runs.json`.

Each run is a fork of this process, which has loaded the modules already: that takes a second, and most failures less.
Writes a list of exit status, standard output and standard error.
"""

import json
import os
import sys
from tempfile import TemporaryFile

import adapters.postgres  # noqa: F401  # loaded before the forks
import entrypoints.cli.serve  # noqa: F401
from entrypoints.cli import main

if __name__ == "__main__":
    runs = []
    for folder, environment in json.load(sys.stdin):
        outputs = TemporaryFile("w+"), TemporaryFile("w+")  # noqa: SIM115  # open until all have ended
        if (pid := os.fork()) == 0:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            for descriptor, output in enumerate(outputs, 1):
                os.dup2(output.fileno(), descriptor)
            try:
                main(sys.argv[1:])
            except SystemExit as ended:
                sys.stdout.flush()
                os._exit(int(ended.code or 0))  # in a fork, to take the interpreter down costs half a second
        runs.append((pid, outputs))
    results = []
    for pid, outputs in runs:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for output in outputs:
            output.seek(0)
        results.append((status, *(output.read() for output in outputs)))
    json.dump(results, sys.stdout)
