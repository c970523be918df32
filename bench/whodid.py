"""The product in `cargo xtask bench`, asked over HTTP as its peers are.

usage: whodid.py URL TOKEN RUNS LITERALS

Prints for each question a line of JSON: `millis` of each run, and the `answer`.
"""

import http.client
import json
import sys
from urllib.parse import urlencode, urlsplit

import questions


def main(url, token, runs, literals):
    host = urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=600)
    headers = {"Authorization": f"Bearer {token}"}

    def ask(kind, what):
        if kind == "sql":
            connection.request("POST", "/api/v1/sql?limit=100000", what.encode(), headers)
        else:
            connection.request("GET", f"/api/v1/{kind}?{urlencode(what)}", headers=headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"{what}: {response.status} {body.decode()}")
        return body

    for kind, what in questions.whodid(json.loads(literals)):
        millis, body = questions.timed(lambda: ask(kind, what), int(runs))
        print(json.dumps({"millis": millis, "answer": lines(json.loads(body))}), flush=True)


def lines(answer):
    if isinstance(answer, dict):
        if answer["kind"] == "CountList":
            return [str(count["requests"]) for count in answer["items"]]
        return sorted({event["audit_id"] for event in answer["items"]})
    rows = []
    for row in answer:
        row.pop("request", None), row.pop("response", None)
        if "hour" in row:
            row["hour"] = row["hour"][:13]
        rows.append(" ".join(str(value) for value in row.values()))
    return sorted(set(rows))


main(*sys.argv[1:])
