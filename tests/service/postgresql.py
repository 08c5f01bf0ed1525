"""A PostgreSQL of the tests' own: a fresh cluster in a temporary folder, reached by a socket in it alone."""

import getpass
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INSTALLED = Path("/usr/lib/postgresql")
"""Where Debian's package puts the server."""


def programs() -> Path | None:
    """The folder of the newest server's programs; None where the package is not installed."""
    found = sorted(INSTALLED.glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def cluster(programs: Path) -> Iterator[str]:
    """Yields the address of a running server, with `{name}` for the database's; ends the server and its folder."""
    # Directly under /tmp: a socket's path is short, and pytest's own folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="docent-", dir="/tmp"))
    user = _user()
    if user != getpass.getuser():
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        who = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        # Output to a file: the server keeps what it inherits open.
        with (folder.parent / f"{folder.name}.log").open("a") as log:
            subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=True, timeout=60, **who)

    try:
        run("initdb", "--username=docent", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        run("pg_ctl", "start", "-w", "-o", f"-c listen_addresses='' -k {folder} -c fsync=off")
        try:
            yield f"postgresql://docent@/{{name}}?host={folder}"
        finally:
            run("pg_ctl", "stop", "-m", "immediate")
    finally:
        shutil.rmtree(folder)
        (folder.parent / f"{folder.name}.log").unlink()


def _user() -> str:
    """PostgreSQL refuses to run as root."""
    if os.getuid():
        return getpass.getuser()
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
