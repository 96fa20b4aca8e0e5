"""The measurements of scripts/bench: the public pages. Everything runs on the loopback address and ends with the run."""

import glob
import http.client
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
PARTS = sys.argv[3:] or ["pages", "votes", "admin", "server"]
ROUNDS = 3
CONNECTIONS = 64

VOTE = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
wrk.headers["Cookie"] = "csrftoken={secret}"
wrk.body = "csrfmiddlewaretoken={secret}&choice={choice}"
"""


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


def wrk(port, path, script=None):
    """Requests per second, and the 99th percentile of the latency as wrk writes it."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency"]
    if script:
        command += ["-s", script]
    text = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in text, text
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), re.search(r"99%\s+(\S+)", text)[1]


def polls(environment, folder, *arguments):
    subprocess.run([PROGRAMS / "polls", *arguments], env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def votes(server):
    """All votes of question 1, as its page of results says."""
    return int(re.search(r"([\d,]+) votes?<", server.get("/polls/1/results/")[1].decode())[1].replace(",", ""))


def measure(name, url):
    with tempfile.TemporaryDirectory() as folder:
        environment = {"PATH": os.environ["PATH"], "SECRET_KEY": "k" * 32, "ALLOWED_HOSTS": "127.0.0.1", "DATABASE_URL": url}
        polls(environment, folder, "migrate")
        polls(environment, folder, "seed")
        serve = lambda port: Process([PROGRAMS / "polls", "runserver", str(port)], port, environment, folder)
        starts, memories = [], []
        for _ in range(5):
            with serve(free_port()) as server:
                starts.append(server.first_answer("/polls/") * 1000)
                memories.append(server.memory())
        start = time.perf_counter()
        polls(environment, folder, "seed", "--random", "100000")
        print(f"{name}: seed --random 100000 (with 4 choices each) {time.perf_counter() - start:.1f} s")
        polls(environment, folder, "migrate", "polls_app", "zero", "-v", "0")
        polls(environment, folder, "migrate", "-v", "0")
        polls(environment, folder, "seed")
        print(f"{name}: start to first page {statistics.median(starts):.0f} ms, PSS after it {statistics.median(memories):.1f} MiB")

        with serve(free_port()) as server:
            server.first_answer("/livez")
            page = server.get("/polls/1/")[1].decode()
            secret, choice = "s" * 32, re.search(r'value="(\d+)" required', page)[1]
            script = pathlib.Path(folder, "vote.lua")
            script.write_text(VOTE.format(secret=secret, choice=choice))
            for path, lua in [("/polls/", None), ("/polls/1/", None), ("/polls/1/results/", None), ("/polls/1/vote/", script)]:
                size = 0 if lua else len(server.get(path)[1])
                port = free_port()
                before = votes(server)
                with Process([PROGRAMS / "examples/bare_poem", str(port), str(size)], port) as bare:
                    bare.first_answer("/")
                    pairs = [(wrk(server.port, path, lua), wrk(bare.port, path, lua)) for _ in range(ROUNDS)]
                ours, theirs = ([turn[side][0] for turn in pairs] for side in (0, 1))
                ratio = statistics.median(a / b for a, b in zip(ours, theirs))
                slowest = max((turn[0][1] for turn in pairs), key=len)
                note = f", p99 {slowest}"
                if lua:
                    note += f", {votes(server) - before:,} votes counted"
                print(
                    f"{name}: {path:<18} {statistics.median(ours):>9,.0f} req/s, bare poem {statistics.median(theirs):>9,.0f} req/s "
                    f"({size:,} bytes): {ratio:.2f}{note}",
                    flush=True,
                )
            print(f"{name}: PSS after all that {server.memory():.1f} MiB", flush=True)


def main():
    print(f"{os.cpu_count()} cores, {ROUNDS} turns of {SECONDS} s each, medians", flush=True)
    if "pages" in PARTS:
        with tempfile.TemporaryDirectory() as folder:
            measure("SQLite", f"sqlite://{folder}/db.sqlite3")
        with tempfile.TemporaryDirectory() as folder, Postgres(folder) as server:
            measure("PostgreSQL", f"postgres://postgres@127.0.0.1:{server.port}/postgres")
    if "votes" in PARTS:
        import votes as votes_part

        votes_part.measure_all()
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


if __name__ == "__main__":
    # The parts import this module by its name: they shall not read the arguments anew.
    sys.modules["bench"] = sys.modules["__main__"]
    main()
