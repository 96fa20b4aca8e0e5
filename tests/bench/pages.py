"""The public pages: ours with the access log and without, plain and compressed, beside a bare poem server with a fixed page of the same
size and Django, turn by turn. And the start, the memory, and the seed."""

import os
import statistics
import tempfile
import time

from admin import create_database, gunicorn
from bench import PROGRAMS, ROUNDS, Postgres, Process, free_port, polls, report, wrk

PATHS = ["/polls/", "/polls/1/", "/polls/1/results/"]
GZIP = ("Accept-Encoding: gzip",)


def measure(name, folder, postgres=None):
    url = create_database(postgres, "pages") if postgres else f"sqlite://{folder}/pages.sqlite3"
    environment = {"PATH": os.environ["PATH"], "SECRET_KEY": "k" * 32, "ALLOWED_HOSTS": "127.0.0.1", "DATABASE_URL": url}
    polls(environment, folder, "migrate")
    start = time.perf_counter()
    polls(environment, folder, "seed", "--random", "100000")
    report(f"{name}: seed --random 100000 (with 4 choices each)", {"seconds": time.perf_counter() - start})
    polls(environment, folder, "migrate", "polls_app", "zero", "-v", "0")
    polls(environment, folder, "migrate", "-v", "0")
    polls(environment, folder, "seed")

    def serve(**more):
        port = free_port()
        return Process([PROGRAMS / "polls", "runserver", str(port)], port, environment | more, folder)

    starts, memories = [], []
    for _ in range(5):
        with serve() as server:
            starts.append(server.first_answer("/polls/") * 1000)
            memories.append(server.memory())
    report(f"{name}: start to first page", {"ms": statistics.median(starts), "PSS MiB": statistics.median(memories)})

    django = gunicorn(postgres, "pages", os.cpu_count() or 1, None if postgres else f"{folder}/pages.sqlite3")
    with serve() as logged, serve(RUST_LOG="off") as quiet, django:
        for server in (logged, quiet, django):
            server.first_answer("/polls/")
        for path in PATHS:
            size = len(quiet.get(path)[1])
            port = free_port()
            with Process([PROGRAMS / "examples/bare_poem", str(port), str(size)], port) as bare:
                bare.first_answer("/")
                sides = {
                    "log off": (quiet, ()),
                    "log on": (logged, ()),
                    "log off, gzip": (quiet, GZIP),
                    "bare poem": (bare, ()),
                    "Django": (django, ()),
                }
                turns = {side: [] for side in sides}
                for _ in range(ROUNDS):
                    for side, (server, headers) in sides.items():
                        turns[side].append(wrk(server.port, path, headers=headers))
            rates = {side: [rate for rate, _, _ in results] for side, results in turns.items()}
            for side, results in turns.items():
                ratio = lambda other: statistics.median(a / b for a, b in zip(rates[side], rates[other]))
                values = {"req/s": statistics.median(rates[side]), "p99 ms": statistics.median(p99 for _, p99, _ in results)}
                if side not in ("bare poem", "Django"):
                    values |= {"of bare poem": ratio("bare poem"), "times Django": ratio("Django")}
                if side == "log off, gzip":
                    values["of plain"] = ratio("log off")
                report(f"{name}: {path} ({size:,} bytes): {side}", values)
        for side, server in (("log on", logged), ("log off", quiet), ("Django", django)):
            report(f"{name}: memory after all that: {side}", {"PSS MiB": server.memory()})


def measure_all():
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", folder)
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as folder, Postgres(data) as postgres:
        measure("PostgreSQL", folder, postgres)
