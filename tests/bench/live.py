"""Live results: the memory of the server with many streams, and the votes per second beside them."""

import os
import resource
import select
import signal
import socket
import statistics
import tempfile
import time

import votes
from bench import PROGRAMS, ROUNDS, Postgres, Process, free_port, report

STREAMS = 10_000
# Connections of one address, of which a server admits a part only.
PER_ADDRESS = 500


class Watchers:
    """A process that opens streams of a question's results, and reads them."""

    def __init__(self, port, question):
        read, write = os.pipe()
        self.id = os.fork()
        if self.id == 0:
            try:
                watch(port, question, write)
            finally:
                os._exit(0)
        os.close(write)
        self.pipe = os.fdopen(read)
        assert self.pipe.readline() == "open\n", "the streams cannot be opened"

    def end(self):
        """The number of events that were received on all streams, and the seconds that the CPU took to receive them."""
        os.kill(self.id, signal.SIGTERM)
        events, seconds = self.pipe.readline().split()
        os.waitpid(self.id, 0)
        return int(events), float(seconds)


def watch(port, question, write):
    resource.setrlimit(resource.RLIMIT_NOFILE, (STREAMS + 100, STREAMS + 100))
    poll, streams, events = select.epoll(), {}, 0
    request = f"GET /polls/{question}/events/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    for number in range(STREAMS):
        stream = socket.create_connection(("127.0.0.1", port), source_address=(f"127.0.1.{1 + number // PER_ADDRESS}", 0))
        stream.sendall(request)
        head = stream.recv(4096)
        assert head.startswith(b"HTTP/1.1 200 "), head
        stream.setblocking(False)
        streams[stream.fileno()] = stream
        poll.register(stream.fileno(), select.EPOLLIN)
    is_over = False

    def end(*_):
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, end)
    opened = time.process_time()
    os.write(write, b"open\n")
    while not is_over:
        for number, _ in poll.poll(0.2, 1024):
            data = streams[number].recv(4096)
            assert data, "a stream has ended"
            events += data.count(b"data: ")
    os.write(write, f"{events} {time.process_time() - opened}\n".encode())


def measure(name, folder, postgres=None):
    database, port = votes.Database(folder, postgres, "polls"), free_port()
    environment = database.environment | {"MAX_CONNECTIONS": "25000"}
    question, choice = database.targets[0]
    rates, memory, bare, received, share = {False: [], True: []}, [], [], [], []
    for _ in range(ROUNDS):
        for is_watched, turns in rates.items():
            with Process([PROGRAMS / "polls", "runserver", str(port)], port, environment, folder) as server:
                server.first_answer("/livez")
                watchers = Watchers(port, question) if is_watched else None
                start = time.monotonic()
                turns.append(votes.load(server, database, database.script("votes", [(question, choice)]))[0])
                took = time.monotonic() - start
                (memory if is_watched else bare).append(server.memory())
                if watchers:
                    events, seconds = watchers.end()
                    received.append(events / STREAMS / took)
                    share.append(100 * seconds / took / (os.cpu_count() or 1))
    ratio = statistics.median(a / b for a, b in zip(rates[True], rates[False]))
    report(f"{name}: {STREAMS} streams", {
        "PSS MiB": statistics.median(memory), "without": statistics.median(bare),
        "votes/s": statistics.median(rates[True]), "of those without": ratio, "events/s each": statistics.median(received),
        "% of the CPUs for the client": statistics.median(share),
    })


def measure_all():
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", folder)
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as folder, Postgres(data) as postgres:
        measure("PostgreSQL", folder, postgres)
