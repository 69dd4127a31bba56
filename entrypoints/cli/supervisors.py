"""Parents of server processes: of several, and of one that restarts when the code changes."""

import multiprocessing.process
import os
import signal
import socket
from pathlib import Path

import uvicorn
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.statreload import StatReload

from entrypoints.http.server.drain import hangup_signals

_ROOT = Path(__file__).parents[2]
CODE = [str(_ROOT / layer) for layer in ("domain", "application", "adapters", "entrypoints")]
"""The folders in which a change of the code restarts the server process."""


def supervise(config: uvicorn.Config, listeners: list[socket.socket]) -> int:
    """Run server processes until a signal ends this one, and return the exit status."""
    if config.should_reload:
        _Reloader(config, uvicorn.Server(config).run, listeners).run()
        return 0
    supervisor = _Supervisor(config, listeners)
    supervisor.run()
    return int(any((process.exitcode or 0) > 0 for process in supervisor.processes))


class _Supervisor(Multiprocess):
    """The parent of several server processes."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        """Handle signals, except those that stay ignored."""
        handled = hangup_signals()
        super().__init__(config, sockets)
        if not handled:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def handle_hup(self) -> None:
        """Stop, as a single process does, rather than restart the server processes."""
        self.handle_term()


class _Reloader(StatReload):
    """The parent of one server process."""

    def startup(self) -> None:
        """Stop when the terminal closes, too."""
        super().startup()
        for number in hangup_signals():
            signal.signal(number, self.signal_handler)


def end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """Terminate when the process that started this one is killed, because this one would keep the port."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
