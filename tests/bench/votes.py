"""Votes: all for one choice, and spread over 800 choices, beside a server with one UPDATE per vote and Django, turn by turn. Each has
a database of its own on the same server."""

import os
import pathlib
import sqlite3
import statistics
import subprocess
import tempfile

from admin import create_database, gunicorn
from bench import CONNECTIONS, PROGRAMS, ROUNDS, Postgres, Process, free_port, polls, report, wrk

QUESTIONS = 200
SECRET = "s" * 32
# All requests are made before the first is sent.
SCRIPT = """
local requests, next = {}, 0
init = function()
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  wrk.headers["Cookie"] = "csrftoken=%(secret)s"
  for question, choice in string.gmatch("%(targets)s", "(%%d+):(%%d+)") do
    local body = "csrfmiddlewaretoken=%(secret)s&choice=" .. choice
    requests[#requests + 1] = wrk.format("POST", "/polls/" .. question .. "/vote/", nil, body)
  end
end
request = function()
  next = next %% #requests + 1
  return requests[next]
end
"""


class Database:
    """A migrated database with 200 questions of 4 choices; for others than polls without its own tables, indexes and triggers."""

    def __init__(self, folder, postgres, name):
        self.url = create_database(postgres, name) if postgres else f"sqlite://{folder}/{name}.sqlite3"
        self.file = None if postgres else f"{folder}/{name}.sqlite3"
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "SECRET_KEY": "k" * 32, "ALLOWED_HOSTS": "127.0.0.1", "DATABASE_URL": self.url}
        polls(self.environment, folder, "migrate")
        polls(self.environment, folder, "seed", "--random", str(QUESTIONS))
        if name != "polls":
            polls(self.environment, folder, "migrate", "polls", "zero", "-v", "0")
        self.targets = [tuple(row) for row in self.query("SELECT question_id, id FROM polls_app_choice ORDER BY id")]
        assert len(self.targets) == 4 * QUESTIONS

    def query(self, sql):
        """The rows, of integers."""
        if self.file:
            with sqlite3.connect(self.file) as connection:
                return connection.execute(sql).fetchall()
        programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        text = subprocess.run([programs / "psql", "-qAtc", sql, self.url], check=True, capture_output=True, text=True).stdout
        return [[int(value) for value in line.split("|")] for line in text.splitlines()]

    def votes(self):
        return self.query("SELECT sum(votes) FROM polls_app_choice")[0][0]

    def script(self, name, targets):
        path = pathlib.Path(self.folder, f"{name}.lua")
        path.write_text(SCRIPT % {"secret": SECRET, "targets": " ".join(f"{question}:{choice}" for question, choice in targets)})
        return path


def load(server, database, script):
    """Votes per second and the 99th percentile of their latency in ms. Every acknowledged vote has to be in the database."""
    before = database.votes()
    rate, p99, answered = wrk(server.port, "", script)
    counted = database.votes() - before
    # At the end each connection may have sent one more.
    assert answered <= counted <= answered + CONNECTIONS, (answered, counted)
    return rate, p99


def measure(name, folder, postgres=None):
    ours, handwritten, django = (Database(folder, postgres, part) for part in ("polls", "handwritten", "django"))
    port, workers = free_port(), os.cpu_count() or 1
    servers = {
        "polls": (ours, lambda: Process([PROGRAMS / "polls", "runserver", str(port)], port, ours.environment, folder)),
        "handwritten": (handwritten, lambda: Process([PROGRAMS / "examples/handwritten", str(port), handwritten.url], port)),
        "Django": (django, lambda: gunicorn(postgres, "django", workers, django.file)),
    }
    rates = {}
    for spread in (False, True):
        turns = {server: [] for server in servers}
        for _ in range(ROUNDS):
            for server, (database, start) in servers.items():
                targets = database.targets if spread else database.targets[:1]
                with start() as process:
                    process.first_answer("/livez")
                    rate, p99 = load(process, database, database.script("votes", targets))
                    turns[server].append((rate, p99, process.memory()))
        label = "spread over 800 choices" if spread else "for one choice"
        for server, results in turns.items():
            rate, p99, memory = (statistics.median(values) for values in zip(*results))
            rates[server, spread] = [turn[0] for turn in results]
            ratio = statistics.median(a / b for a, b in zip(rates["polls", spread], rates[server, spread]))
            values = {"votes/s": rate, "p99 ms": p99, "PSS MiB": memory}
            if server != "polls":
                values["polls has times that"] = ratio
            report(f"{name}: votes {label}: {server}", values)
    ratio = statistics.median(a / b for a, b in zip(rates["polls", True], rates["polls", False]))
    report(f"{name}: polls", {"spread of one choice": ratio})


def measure_all():
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", folder)
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as folder, Postgres(data) as postgres:
        measure("PostgreSQL", folder, postgres)
