"""PgBouncer in front of a test's server, configured by the file in the guide."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.embedded_postgres.server import server_identity
from tests.patience import SERVER_DEADLINE_SECONDS
from tests.torture.postgres import ROLE, OwnPostgres
from tests.wires import connects, free_port

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") or ""
needs_pgbouncer = pytest.mark.skipif(not PGBOUNCER, reason="PgBouncer is not installed")
GUIDE = (Path(__file__).parents[1] / "docs/guides/pgbouncer.md").read_text()
ITS_SERVER = "host=db.example.com port=5432 dbname=hextasks"


@contextmanager
def pgbouncer(postgres: OwnPostgres, database: str, **changed: object) -> Iterator[str]:
    """Run PgBouncer as the guide says, but for some lines; yields the guide's DATABASE_URL, with the port of here."""
    port = free_port()
    file, environment = re.findall(r"^```ini\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    assert ITS_SERVER in file
    file = file.replace(ITS_SERVER, f"host=127.0.0.1 port={postgres.port} dbname={database}")
    for line, value in {"listen_port": port, "auth_file": "userlist.txt", **changed}.items():
        file, count = re.subn(rf"^{line} = .*", f"{line} = {value}", file, flags=re.MULTILINE)
        assert count == 1, line
    url = re.findall(r"^DATABASE_URL=(.*)", environment, re.MULTILINE)[0]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pgbouncer.ini").write_text(file)
        Path(folder, "userlist.txt").write_text(f'"{ROLE}" "secret"\n')
        if identity := server_identity():  # like PostgreSQL, it refuses to run as root
            shutil.chown(folder, identity["user"])
        command = [PGBOUNCER, "-q", "pgbouncer.ini"]
        with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, **identity) as process:
            try:
                deadline = time.monotonic() + SERVER_DEADLINE_SECONDS
                while not connects(port):
                    assert process.poll() is None, process.communicate()[1]
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                yield url.replace(":6432", f":{port}")
            finally:
                process.kill()
