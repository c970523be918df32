"""A peer of `cargo xtask bench`: VictoriaLogs, a server that is posted the lines and asked over HTTP.

usage: victorialogs.py load PROGRAM FOLDER FILE | settle PROGRAM FOLDER
     | ask PROGRAM FOLDER RUNS LITERALS

`load` and `settle` print the bytes of the folder, `ask` for each question a line of JSON. The server is
a child of this program, which ends it; what it takes is counted with it.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlencode

import questions

# One post has at most so many bytes.
POST_BYTES = 32 << 20

FIELDS = urlencode({
    "_time_field": "stageTimestamp",
    "_stream_fields": "verb,objectRef.resource",
    "_msg_field": "requestURI",
    "preserve_json_keys": "requestObject,responseObject",
})


@contextmanager
def server(program, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    log = open(folder + ".log", "w")
    command = [program, f"-storageDataPath={folder}", f"-httpListenAddr={address}",
               "-retentionPeriod=100y", "-futureRetention=100y", "-insert.maxLineSizeBytes=4MB"]
    child = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection(address, timeout=600)
                call(connection, "GET", "/health")
                break
            except OSError:
                time.sleep(0.05)
        yield connection
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait()


def call(connection, method, path, body=None):
    connection.request(method, path, body)
    response = connection.getresponse()
    answer = response.read()
    if response.status >= 300:
        raise SystemExit(f"{path}: {response.status} {answer.decode()}")
    return answer


def folder_bytes(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder)
               for name in names)


def load(connection, file):
    with open(file, "rb") as lines:
        while part := lines.readlines(POST_BYTES):
            call(connection, "POST", f"/insert/jsonline?{FIELDS}", b"".join(part))
    call(connection, "GET", "/internal/force_flush")


def main(action, program, folder, *rest):
    with server(program, folder) as connection:
        if action == "load":
            load(connection, rest[0])
        elif action == "settle":
            call(connection, "GET", "/internal/force_merge")
            settled = None
            while settled != (settled := folder_bytes(folder)):
                time.sleep(2)
        else:
            ask_all(connection, *rest)
            return
    print(folder_bytes(folder))


def ask_all(connection, runs, literals):
    for query in questions.logsql(json.loads(literals)):
        body = urlencode({"query": query})
        ask = lambda: call(connection, "GET", "/select/logsql/query?" + body)
        millis, answer = questions.timed(ask, int(runs))
        rows = [json.loads(line) for line in answer.splitlines()]
        print(json.dumps({"millis": millis, "answer": lines(rows)}), flush=True)


def lines(rows):
    shown = []
    for row in rows:
        row.pop("requestObject", None), row.pop("responseObject", None), row.pop("at", None)
        if "_time" in row and "verb" in row:
            row = {"hour": row["_time"][:13], "verb": row["verb"], "n": row["n"]}
        elif "n" in row:
            row["n"] = row.pop("n")
        shown.append(" ".join(row.values()))
    return sorted(set(shown))


main(*sys.argv[1:])
