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

    def get(kind, what):
        if kind == "sql":
            connection.request("POST", "/api/v1/sql?limit=100000", what.encode(), headers)
        else:
            connection.request("GET", f"/api/v1/{kind}?{urlencode(what)}", headers=headers)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"{what}: {response.status} {body.decode()}")
        return body

    def ask(kind, what):
        bodies = [get(kind, what)]
        # What does not fit on the largest page is on the pages before it.
        is_all = kind == "events" and what["limit"] == questions.PAGE
        while is_all and b'"left_out":0' not in bodies[-1]:
            oldest = json.loads(bodies[-1])["items"][0]["time"]
            bodies.append(get(kind, what | {"q": f"{what['q']} time:<={oldest}"}))
        return bodies

    for kind, what in questions.whodid(json.loads(literals)):
        millis, bodies = questions.timed(lambda: ask(kind, what), int(runs))
        answer = sorted({line for body in bodies for line in lines(json.loads(body))})
        print(json.dumps({"millis": millis, "answer": answer}), flush=True)


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
