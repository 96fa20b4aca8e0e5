"""Votes: all for one choice, and spread over 800 choices, beside a server with one UPDATE per vote and Django, turn by turn. Each has
a database of its own on the same server."""

import hashlib
import hmac
import os
import pathlib
import secrets
import sqlite3
import statistics
import subprocess
import tempfile

from admin import create_database, gunicorn
from bench import CONNECTIONS, PROGRAMS, ROUNDS, SECONDS, Postgres, Process, free_port, polls, report, wrk

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


# A vote of a new browser with each request.
BALLOTS = """
local requests, next = {}, 0
init = function()
  wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
  for browser in io.lines("%(browsers)s") do
    wrk.headers["Cookie"] = "csrftoken=%(secret)s; polls_voter=" .. browser
    requests[#requests + 1] = wrk.format("POST", "/polls/%(question)d/vote/", nil, "csrfmiddlewaretoken=%(secret)s%(policy)s&choice=%(choice)d")
  end
end
request = function()
  next = next + 1
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

    def execute(self, sql):
        if self.file:
            with sqlite3.connect(self.file) as connection:
                connection.execute(sql)
        else:
            self.query(sql)

    def votes(self):
        return self.query("SELECT sum(votes) FROM polls_app_choice")[0][0]

    def script(self, name, targets):
        path = pathlib.Path(self.folder, f"{name}.lua")
        path.write_text(SCRIPT % {"secret": SECRET, "targets": " ".join(f"{question}:{choice}" for question, choice in targets)})
        return path

    def ballots(self, question, choice, count, policy):
        """A script with the votes of that many browsers, each with its signed cookie (`src/polls_app/voter_cookies.rs`)."""
        key = hashlib.sha256(b"polls.voters.browser" + self.environment["SECRET_KEY"].encode()).digest()
        browsers = pathlib.Path(self.folder, "browsers.txt")
        with browsers.open("w") as file:
            for _ in range(count):
                browser = secrets.token_hex(16)
                file.write(f"{browser}.{hmac.new(key, browser.encode(), 'sha256').hexdigest()}\n")
        path = pathlib.Path(self.folder, "ballots.lua")
        path.write_text(BALLOTS % {"secret": SECRET, "browsers": browsers, "question": question, "choice": choice, "policy": policy})
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
    measure_policy(name, servers["polls"])


def measure_policy(name, ours):
    """Votes for one choice of a question without options, and of one with one vote per browser: each of a browser of its own."""
    database, start = ours
    (question, choice), limited = database.targets[0], database.targets[4]
    database.execute(
        "INSERT INTO polls_question_options (question_id, policy, max_choices, results) "
        f"VALUES ({limited[0]}, 'browser', 1, 'always')"
    )
    rates = {"any number": [], "one per browser": []}
    for _ in range(ROUNDS):
        for policy, turns in rates.items():
            count = 40_000 * SECONDS
            if policy == "any number":
                script = database.ballots(question, choice, count, "")
            else:
                script = database.ballots(*limited, count, "&policy=browser")
            with start() as process:
                process.first_answer("/livez")
                turns.append(load(process, database, script)[0])
    for policy, turns in rates.items():
        cost = statistics.median(a / b for a, b in zip(rates["any number"], turns))
        report(f"{name}: votes for one choice, {policy}", {"votes/s": statistics.median(turns), "times the cost": cost})


def measure_all():
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", folder)
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as folder, Postgres(data) as postgres:
        measure("PostgreSQL", folder, postgres)
