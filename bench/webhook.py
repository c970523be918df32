"""A sender in `cargo xtask bench`: events as kube-apiserver's webhook backend posts them, over TLS.

usage: webhook.py URL CA TOKEN READ_TOKEN LOSE FILE

Posts the lines of FILE in lists of 400 over four connections, without one line in LOSE (0 for none).
Prints a line of JSON: `seconds` from the first post until the last event is found by a search, `answer_ms`
with `p50` and `p99`, and how many posts were `refused` and sent again.
"""

import http.client
import json
import ssl
import sys
import threading
import time
from urllib.parse import urlencode, urlsplit

EVENTS = 400
CONNECTIONS = 4
HEAD = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['


class Bodies:
    """The bodies of a file, for several threads."""

    def __init__(self, file, lose):
        self.lines, self.lose, self.read = open(file, "rb"), lose, 0
        self.lock, self.last = threading.Lock(), b""

    def next(self):
        with self.lock:
            items = []
            for line in self.lines:
                self.read += 1
                if not self.lose or self.read % self.lose:
                    items.append(line.rstrip(b"\n"))
                if len(items) == EVENTS:
                    break
            self.last = items[-1] if items else self.last
        return HEAD + b",".join(items) + b"]}" if items else None


def main(url, ca, token, read_token, lose, file):
    host, context = urlsplit(url).netloc, ssl.create_default_context(cafile=ca)
    bodies, millis, refused, faults = Bodies(file, int(lose)), [], [], []

    def post(connection, body):
        began = time.perf_counter()
        while True:
            connection.request("POST", "/ingest/default", body,
                               {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status == 200:
                return millis.append(1_000 * (time.perf_counter() - began))
            if response.status not in (429, 503):
                raise OSError(f"{response.status} {answer.decode()}")
            refused.append(response.status)
            time.sleep(0.05)

    def send():
        try:
            connection = http.client.HTTPSConnection(host, timeout=60, context=context)
            while body := bodies.next():
                post(connection, body)
        except OSError as error:
            faults.append(str(error))

    began = time.perf_counter()
    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise SystemExit(faults[0])
    connection = http.client.HTTPSConnection(host, timeout=60, context=context)
    query = urlencode({"q": f"audit_id:{json.loads(bodies.last)['auditID']}", "limit": 1})
    connection.request("GET", f"/api/v1/events?{query}", headers={"Authorization": f"Bearer {read_token}"})
    found = json.loads(connection.getresponse().read())
    if not found.get("items"):
        raise SystemExit(f"the last event is not found: {found}")
    seconds, millis = time.perf_counter() - began, sorted(millis)
    part = {f"p{percent}": millis[len(millis) * percent // 100] for percent in (50, 99)}
    print(json.dumps({"seconds": seconds, "answer_ms": part, "refused": len(refused)}))


main(*sys.argv[1:])
