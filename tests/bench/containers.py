"""The image: its size, from `docker start` to ready, and the memory of a container under load, beside Django's."""

import http.client
import os
import pathlib
import secrets
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 5
SECONDS = int(sys.argv[1])
CONNECTIONS = 64
ROOT = pathlib.Path(__file__).resolve().parent.parent
PREFIX = f"polls-bench-{os.getpid()}"
HARDENED = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=10001:10001", "--memory=256m"]


def docker(*args):
    return subprocess.run(["docker", *args], check=True, capture_output=True, text=True).stdout.strip()


def build_django():
    """Django and gunicorn on the packages that the tests' other images have."""
    with tempfile.TemporaryDirectory() as context:
        subprocess.run(["cp", "-r", ROOT / "django", f"{context}/site"], check=True)
        subprocess.run(["cp", "/etc/ssl/certs/ca-certificates.crt", context], check=True)
        file = ROOT / "containers/django.Containerfile"
        environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
        subprocess.run(["docker", "build", "-q", "-t", "polls-bench/django", "-f", file, context], check=True, capture_output=True, env=environment)


class Container:
    """One on the run's own network; `args` ends with the image and its command."""

    def __init__(self, label, *args):
        self.name = f"{PREFIX}-{label}"
        docker("create", "--name", self.name, f"--network={PREFIX}", f"--network-alias={label}", *args)

    def __enter__(self):
        docker("start", self.name)
        return self

    def __exit__(self, *_):
        docker("rm", "-f", "-v", self.name)

    def address(self):
        return docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.name)

    def wait(self, path):
        """Until the answer is 200, for a minute at most."""
        address, end = self.address(), time.monotonic() + 60
        while time.monotonic() < end:
            try:
                connection = http.client.HTTPConnection(address, 8000, timeout=5)
                connection.request("GET", path)
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.002)
        raise TimeoutError(self.name)

    def memory(self):
        """MiB, as Kubernetes counts them: without what the system could take back."""
        text = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", self.name).split(" / ")[0]
        number, unit = text[:-3], text[-3:]
        return float(number) * {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}[unit]

    def under_load(self, path):
        """Requests per second, and the most memory meanwhile."""
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", f"http://{self.address()}:8000{path}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            most = 0
            while load.poll() is None:
                most = max(most, self.memory())
            text = load.stdout.read()
        rate = next(line.split()[1] for line in text.splitlines() if line.startswith("Requests/sec"))
        return float(rate), most


def size(image):
    compressed = subprocess.run(f"docker save {image} | gzip -9 | wc -c", shell=True, check=True, capture_output=True, text=True).stdout
    return int(docker("image", "inspect", "-f", "{{.Size}}", image)) / 1e6, int(compressed) / 1e6


def start(label, path, *args):
    """Milliseconds from `docker start` to the first 200."""
    times = []
    for _ in range(ROUNDS):
        container = Container(label, *args)
        began = time.monotonic()
        with container:
            container.wait(path)
            times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


def main():
    build_django()
    docker("network", "create", "--internal", PREFIX)
    try:
        database = "initdb -A trust -D /tmp/data >/dev/null && echo 'host all all all trust' >>/tmp/data/pg_hba.conf"
        database += " && exec postgres -D /tmp/data -c listen_addresses=* -c unix_socket_directories=/tmp"
        with Container("database", "--user=999:999", "polls-standin/services", "sh", "-c", database) as postgres:
            deadline = time.monotonic() + 60
            while subprocess.run(["docker", "exec", postgres.name, "pg_isready", "-q", "-h", "127.0.0.1"]).returncode:
                if time.monotonic() > deadline:
                    raise TimeoutError("PostgreSQL")
                time.sleep(0.2)
            measure()
    finally:
        docker("network", "rm", PREFIX)


def measure():
    settings = [f"SECRET_KEY={secrets.token_urlsafe(48)}", "ALLOWED_HOSTS=*", "DATABASE_URL=postgres://postgres@database/postgres"]
    ours = [*HARDENED, *(f"--env={setting}" for setting in settings), "polls:e2e"]
    for command in (["migrate", "-v0"], ["seed"]):
        docker("run", "--rm", f"--network={PREFIX}", *ours, *command)
    django = ["--env=PGHOST=database", "--env=PGUSER=postgres", "--env=PGDATABASE=postgres", "polls-bench/django"]
    django += "/venv/bin/gunicorn wsgi -b 0.0.0.0:8000 -w 2 -k gthread --threads 4 --keep-alive 60".split()
    for label, image, path, args in [("polls", "polls:e2e", "/readyz", ours), ("django", "polls-bench/django", "/admin/login/", django)]:
        disk, compressed = size(image)
        print(f"{label}: {disk:.1f} MB, compressed {compressed:.1f} MB; start to the first 200 at {path} {start(label, path, *args):.0f} ms")
        with Container(label, *args) as container:
            container.wait(path)
            print(f"{label}: memory at rest {container.memory():.1f} MiB")
            for loaded in ["/admin/login/", "/polls/"] if label == "polls" else ["/admin/login/"]:
                rate, most = container.under_load(loaded)
                print(f"{label}: {loaded}, {CONNECTIONS} connections: {rate:,.0f} req/s, memory {most:.1f} MiB")


if __name__ == "__main__":
    main()
