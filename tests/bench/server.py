"""The server as such: latency with few and many connections, connections that rest or drip, and the end under load."""

import re
import resource
import select
import signal
import socket
import statistics
import subprocess
import threading
import time

from admin import Site, create_database, gunicorn
from bench import ROUNDS, SECONDS, report

CONNECTIONS = 10_000


def load(port, path, connections, seconds=SECONDS):
    """Requests per second, median and 99th percentile of the latency in ms, and how many answers were none or errors."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    text = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True).stdout
    units = {"us": 0.001, "ms": 1, "s": 1000}

    def latency(percentile):
        value, unit = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(value) * units[unit]

    failed = sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", text))
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), latency(50), latency(99), failed


def medians(turns):
    return [statistics.median(turn[index] for turn in turns) for index in range(3)]


def measure_latency(ours, theirs):
    for path in ["/polls/", "/admin/login/"]:
        for connections in [64, 1000]:
            pairs = []
            for _ in range(ROUNDS):
                mine = load(ours.port, path, connections)
                django = load(theirs.port, path, connections) if path == "/admin/login/" else None
                pairs.append((mine, django))
            rate, p50, p99 = medians([pair[0] for pair in pairs])
            failed = sum(pair[0][3] for pair in pairs)
            label = f"{path} at {connections} connections"
            report(label, {"req/s": rate, "p50 ms": p50, "p99 ms": p99, "failed": failed})
            if path == "/admin/login/":
                rate, p50, p99 = medians([pair[1] for pair in pairs])
                failed = sum(pair[1][3] for pair in pairs)
                report(f"{label}: Django", {"req/s": rate, "p50 ms": p50, "p99 ms": p99, "failed": failed})


def connect(port, count, words):
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for stream in opened:
        stream.sendall(words)
    return opened


def measure_crowd(site, kind, words, drip):
    """What normal visitors notice of connections that say `words`, and then a byte now and then if they drip."""
    with site.serve() as server:
        server.first_answer("/livez")
        load(server.port, "/polls/", 16, 1)
        alone = statistics.median(load(server.port, "/polls/", 16)[2] for _ in range(ROUNDS))
        before = server.memory()
        opened = connect(server.port, CONNECTIONS, words)
        time.sleep(1)
        most = server.memory()
        # What a connection no longer needs is given back after a moment.
        time.sleep(3)
        after = server.memory()
        stop = threading.Event()

        def go_on():
            while not stop.wait(2):
                for stream in opened:
                    try:
                        stream.send(b"x")
                    except OSError:
                        pass

        thread = threading.Thread(target=go_on)
        if drip:
            thread.start()
        beside = statistics.median(load(server.port, "/polls/", 16)[2] for _ in range(ROUNDS))
        most = max(most, after, server.memory())
        stop.set()
        if drip:
            thread.join()
        poll = select.poll()
        for stream in opened:
            poll.register(stream, select.POLLRDHUP)
        gone = len(poll.poll(0))
        for stream in opened:
            stream.close()
    values = {"KiB each": (after - before) * 1024 / CONNECTIONS, "MiB in all": after, "MiB at most": most}
    values |= {"p99 ms of 16 others": beside, "p99 ms without them": alone, "times": beside / alone, "closed meanwhile": gone}
    report(f"{CONNECTIONS:,} connections that {kind}", values)


def measure_end(site):
    """From SIGTERM to the end of the process, while 64 connections ask for pages without pause."""
    times = []
    for _ in range(5):
        with site.serve() as server:
            server.first_answer("/livez")
            wrk = subprocess.Popen(
                ["wrk", "-t1", "-c64", "-d2s", f"http://127.0.0.1:{server.port}/polls/"], stdout=subprocess.DEVNULL
            )
            time.sleep(1)
            start = time.perf_counter()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
            times.append((time.perf_counter() - start) * 1000)
            wrk.wait()
    report("from SIGTERM to the end, under load", {"ms": statistics.median(times), "ms at most": max(times)})


def measure(postgres):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    site = Site(create_database(postgres, "server"), 100)
    with site.serve() as ours, gunicorn(postgres, "server", 2) as theirs:
        ours.first_answer("/livez")
        theirs.first_answer("/admin/login/")
        measure_latency(ours, theirs)
    # All of them stay for as long as the measurement takes.
    site.environment["HEADER_TIMEOUT"] = "300"
    measure_crowd(site, "say nothing", b"", False)
    measure_crowd(site, "rest after a request", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", False)
    measure_crowd(site, "have asked for a page at once", b"GET /polls/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", False)
    measure_crowd(site, "drip", b"GET /polls/ HTTP/1.1\r\nX: ", True)
    measure_end(site)
