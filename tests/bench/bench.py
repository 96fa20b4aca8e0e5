"""The measurements of scripts/bench, and what they share. Everything runs on the loopback address and ends with the run."""

import glob
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PROGRAMS = pathlib.Path(sys.argv[1]).resolve()
SECONDS = int(sys.argv[2])
IS_JSON = "--json" in sys.argv
PARTS = [part for part in sys.argv[3:] if part != "--json"] or ["pages", "votes", "live", "admin", "server", "commands"]
ROUNDS = 3
CONNECTIONS = 64

# With --json, the results by their labels.
RESULTS = {}


def report(label, values):
    """Prints measured values, by their units."""
    RESULTS[label] = values
    texts = [f"{name} {value:,.2f}" if abs(value) < 100 else f"{name} {value:,.0f}" for name, value in values.items()]
    print(f"{label}: {', '.join(texts)}", file=sys.stderr if IS_JSON else sys.stdout, flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A server on a free port, ended with the block that it serves."""

    def __init__(self, command, port, environment=None, folder=None):
        self.port = port
        self.started = time.perf_counter()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def first_answer(self, path):
        """Seconds from the start of the process to the end of the first answer."""
        while True:
            try:
                self.get(path)
                return time.perf_counter() - self.started
            except OSError:
                assert self.process.poll() is None, "the server ended"
                time.sleep(0.0005)

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer, answer.read()

    def memory(self):
        """Proportional set size of the process and its children in MiB."""
        total = 0
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.getpgid(int(folder.name)) == self.process.pid:
                    total += int(re.search(r"^Pss:\s+(\d+)", (folder / "smaps_rollup").read_text(), re.M)[1])
            except (ProcessLookupError, FileNotFoundError):
                pass
        return total / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(30)


class Postgres(Process):
    """A private PostgreSQL server with fsync on, as in production."""

    def __init__(self, folder):
        [programs] = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1:]
        prefix = []
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
            prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        data, port = f"{folder}/data", free_port()
        quiet = {"stdout": subprocess.DEVNULL, "check": True, "cwd": "/"}
        subprocess.run([*prefix, f"{programs}/initdb", "-D", data, "-A", "trust", "-U", "postgres", "--locale=C"], **quiet)
        options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        super().__init__([*prefix, f"{programs}/postgres", "-D", data, *options], port, folder="/")
        ready = [f"{programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready).returncode:
            time.sleep(0.05)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


def wrk(port, path, script=None, headers=()):
    """Requests per second, the 99th percentile of the latency in ms, and the number of responses: all are successes, none is missing."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency"]
    for header in headers:
        command += ["-H", header]
    if script:
        command += ["-s", script]
    text = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in text and "Socket errors" not in text, text
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()
    rate, p99 = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    return rate, p99, int(re.search(r"(\d+) requests in", text)[1])


def polls(environment, folder, *arguments):
    subprocess.run([PROGRAMS / "polls", *arguments], env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main():
    report("the run", {"cores": os.cpu_count(), "turns": ROUNDS, "seconds each": SECONDS})
    if "pages" in PARTS:
        import pages

        pages.measure_all()
    if "votes" in PARTS:
        import votes as votes_part

        votes_part.measure_all()
    if "live" in PARTS:
        import live

        live.measure_all()
    if "admin" in PARTS:
        import admin

        with tempfile.TemporaryDirectory() as folder:
            admin.measure_lengths("SQLite", lambda count: f"sqlite://{folder}/{count}.sqlite3")
        with tempfile.TemporaryDirectory() as folder, Postgres(folder) as server:
            admin.measure_lengths("PostgreSQL", lambda count: admin.create_database(server, f"questions{count}"))
            admin.measure_beside_django(server)
    if "server" in PARTS:
        import server as server_part

        with tempfile.TemporaryDirectory() as folder, Postgres(folder) as postgres:
            server_part.measure(postgres)
    if "commands" in PARTS:
        import commands

        commands.measure_all()
    if IS_JSON:
        print(json.dumps(RESULTS, indent=2))


if __name__ == "__main__":
    # The parts import this module by its name: they shall not read the arguments anew.
    sys.modules["bench"] = sys.modules["__main__"]
    main()
