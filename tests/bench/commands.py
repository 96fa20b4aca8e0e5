"""The measurements of management commands beside Django's: migrate, dumpdata and loaddata of 100,000 questions, the start of shell."""

import filecmp
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

from admin import DJANGO, KEY, PYTHON, create_database
from bench import PROGRAMS, ROUNDS, Postgres, report

QUESTIONS = 100_000


class Deployment:
    """A database of its own, with the commands of both programs on it."""

    def __init__(self, folder, name, postgres=None):
        common = {"PATH": os.environ["PATH"], "SECRET_KEY": KEY}
        if postgres is None:
            file = pathlib.Path(folder) / f"{name}.sqlite3"
            self.ours = common | {"DATABASE_URL": f"sqlite://{file}"}
            self.theirs = common | {"DJANGO_SQLITE": str(file)}
        else:
            url = create_database(postgres, name)
            self.ours = common | {"DATABASE_URL": url}
            self.theirs = common | {
                "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "postgres", "PGDATABASE": name,
            }

    def polls(self, *args):
        return run([PROGRAMS / "polls", *args], self.ours, None)

    def django(self, *args):
        return run([PYTHON, "-B", "manage.py", *args], self.theirs, DJANGO)


def run(command, environment, folder):
    """Seconds and the largest resident set in MiB of a command."""
    started, largest = time.perf_counter(), 0
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL)
    # `ru_maxrss` of a child is at least that of its parent, so the program's own mark is read until its end.
    status = pathlib.Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        mark = re.search(r"^VmHWM:\s+(\d+)", status.read_text(), re.M)
        largest = int(mark[1]) / 1024 if mark else largest
        time.sleep(0.005)
    seconds = time.perf_counter() - started
    assert process.returncode == 0, command
    return seconds, largest


def compare(label, ours, theirs):
    """Reports two lists of results of `run`, by their medians."""
    seconds = [statistics.median(result[0] for result in results) for results in (ours, theirs)]
    memory = [max(result[1] for result in results) for results in (ours, theirs)]
    report(label, {
        "polls, s": seconds[0], "Django, s": seconds[1], "times as fast": seconds[1] / seconds[0],
        "polls, MiB": memory[0], "Django, MiB": memory[1],
    })


def measure(kind, folder, postgres=None):
    number = 0

    def new(prepare=None):
        nonlocal number
        number += 1
        deployment = Deployment(folder, f"commands{number}", postgres)
        if prepare:
            prepare(deployment)
        return deployment

    def migrated_by_django(deployment):
        deployment.django("migrate", "-v", "0")

    empty = [(new().polls("migrate", "-v", "0"), new().django("migrate", "-v", "0")) for _ in range(ROUNDS)]
    compare(f"{kind}, migrate, empty database", *zip(*empty))
    adopted = [
        (new(migrated_by_django).polls("migrate", "-v", "0"), new(migrated_by_django).django("migrate", "-v", "0"))
        for _ in range(ROUNDS)
    ]
    compare(f"{kind}, migrate, database of Django", *zip(*adopted))

    full = new()
    full.polls("migrate", "-v", "0")
    full.polls("seed", "--random", str(QUESTIONS), "-v", "0")
    shells = [(full.polls("shell", "-c", "print(1)"), full.django("shell", "-v", "0", "-c", "print(1)")) for _ in range(ROUNDS)]
    compare(f"{kind}, shell -c", *zip(*shells))
    fixture = str(pathlib.Path(folder) / "polls.json")
    theirs = str(pathlib.Path(folder) / "django.json")
    dumps = [
        (full.polls("dumpdata", "polls_app", "-o", fixture, "-v", "0"), full.django("dumpdata", "polls_app", "-o", theirs, "-v", "0"))
        for _ in range(ROUNDS)
    ]
    assert filecmp.cmp(fixture, theirs, shallow=False)
    compare(f"{kind}, dumpdata of {QUESTIONS:,} questions and {4 * QUESTIONS:,} choices", *zip(*dumps))

    def ready(deployment):
        deployment.polls("migrate", "-v", "0")

    # Django takes minutes, so once.
    loads = [new(ready).polls("loaddata", fixture, "-v", "0") for _ in range(ROUNDS)]
    compare(f"{kind}, loaddata of them", loads, [new(ready).django("loaddata", fixture, "-v", "0")])


def measure_all():
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", folder)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as data, Postgres(data) as postgres:
        measure("PostgreSQL", folder, postgres)
