"""The admin's measurements: long lists against short ones, and pages beside Django under gunicorn."""

import http.client
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time
import urllib.parse

from bench import PROGRAMS, ROUNDS, SECONDS, Process, free_port, polls, report

LIST = "/admin/polls_app/question/"
PASSWORD = "k3Lm-91xz"
KEY = "benchmark-key-0123456789-benchmark-key-0123456789-abc"
DJANGO = pathlib.Path(__file__).resolve().parent.parent / "django"
PYTHON = pathlib.Path(os.environ.get("BENCH_PYTHON", "python3")).absolute()
CONNECTIONS = 16


def create_database(server, name):
    programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    subprocess.run([programs / "createdb", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", name], check=True)
    return f"postgres://postgres@127.0.0.1:{server.port}/{name}"


class Site:
    """A migrated site with questions and a superuser, and its server."""

    def __init__(self, url, questions):
        self.folder = tempfile.TemporaryDirectory()
        self.environment = {
            "PATH": os.environ["PATH"],
            "SECRET_KEY": KEY,
            "ALLOWED_HOSTS": "127.0.0.1",
            "DATABASE_URL": url,
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        }
        polls(self.environment, self.folder.name, "migrate")
        polls(self.environment, self.folder.name, "seed", "--random", str(questions))
        polls(self.environment, self.folder.name, "createsuperuser", "--noinput", "--username", "admin", "--email", "")

    def settle(self):
        """Lets PostgreSQL finish what it does after many rows have come, so that it is not measured."""
        url = self.environment["DATABASE_URL"]
        if url.startswith("postgres"):
            programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
            subprocess.run([programs / "psql", "-q", "-c", "VACUUM ANALYZE", "-c", "CHECKPOINT", url], check=True)

    def serve(self, **more):
        port = free_port()
        return Process([PROGRAMS / "polls", "runserver", str(port)], port, self.environment | more, self.folder.name)


class Browser:
    """One connection that keeps its cookies."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.cookies = {}

    def request(self, method, path, fields=None):
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        body = None
        if fields:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urllib.parse.urlencode(fields)
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        page = answer.read().decode()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                cookie, _, rest = value.partition("=")
                self.cookies[cookie] = rest.split(";")[0]
        return answer.status, page

    def log_in(self):
        _, page = self.request("GET", "/admin/login/")
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)', page)[1]
        fields = {"csrfmiddlewaretoken": token, "username": "admin", "password": PASSWORD}
        status, _ = self.request("POST", "/admin/login/", fields)
        assert status == 302, status

    def milliseconds(self, path, tries=100):
        times = []
        for _ in range(tries):
            start = time.perf_counter()
            status, _ = self.request("GET", path)
            times.append((time.perf_counter() - start) * 1000)
            assert status == 200, (path, status)
        return statistics.median(times)


def measure_lengths(name, url):
    """The pages with a million questions against those with a hundred; the public ones from the database."""
    results = {}
    for count in (100, 1_000_000):
        site = Site(url(count), count)
        site.settle()
        with site.serve(PAGE_CACHE_SIZE="0") as server:
            server.first_answer("/livez")
            browser = Browser(server.port)
            browser.log_in()
            browser.request("GET", LIST)
            last = count // 100
            pages = {
                "index": "/polls/",
                "question": "/polls/50/",
                "results": "/polls/50/results/",
                "first page": LIST,
                "page in the middle": f"{LIST}?p={max(last // 2, 1)}",
                "last page": f"{LIST}?p={last}",
                "by text": f"{LIST}?o=1",
                "by date, latest first": f"{LIST}?o=-2",
                "search for what is there": f"{LIST}?q=a",
                "search for what is not": f"{LIST}?q=zzzz",
                "change form": f"{LIST}1/change/",
            }
            results[count] = {label: browser.milliseconds(path) for label, path in pages.items()}
    for label, short in results[100].items():
        long = results[1_000_000][label]
        report(f"{name}: {label}", {"ms of 100": short, "ms of 1,000,000": long, "times": long / short})


def wrk(port, path, session):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", f"Cookie: sessionid={session}"]
    text = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in text, text
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])


def gunicorn(server, database, workers, file=None):
    """Django under gunicorn with threads and connections that stay, on a database of a PostgreSQL server or on a file of SQLite."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "SECRET_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1"}
    if file:
        environment["DJANGO_SQLITE"] = file
    else:
        environment |= {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres", "PGDATABASE": database}
    command = [PYTHON, "-m", "gunicorn", "wsgi", "-b", f"127.0.0.1:{port}", "-w", str(workers)]
    return Process([*command, "-k", "gthread", "--threads", "4", "--keep-alive", "60"], port, environment, DJANGO)


def measure_beside_django(server):
    """Lists and forms on one database, with one session, turn by turn."""
    site = Site(create_database(server, "beside"), 100)
    workers = os.cpu_count() or 1
    with site.serve() as ours, gunicorn(server, "beside", workers) as theirs:
        ours.first_answer("/livez")
        theirs.first_answer("/admin/login/")
        browser = Browser(ours.port)
        browser.log_in()
        session = browser.cookies["sessionid"]
        _, page = browser.request("GET", LIST)
        question = re.search(r"/question/(\d+)/change/", page)[1]
        for label, path in [("changelist of 100 rows", LIST), ("change form, 4 choices", f"{LIST}{question}/change/")]:
            pairs = [(wrk(ours.port, path, session), wrk(theirs.port, path, session)) for _ in range(ROUNDS)]
            mine, django = (statistics.median(turn[side] for turn in pairs) for side in (0, 1))
            ratio = statistics.median(a / b for a, b in pairs)
            report(f"PostgreSQL: {label}", {"req/s": mine, f"Django ({workers} workers of 4 threads) req/s": django, "times": ratio})
