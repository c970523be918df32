"""The peer of `cargo xtask bench`: the same events in ClickHouse, in columns made for them.

usage: clickhouse.py load FOLDER FILE | settle FOLDER | ask FOLDER RUNS LITERALS

`load` and `settle` print the bytes that the table takes, `ask` for each question a line of JSON.
"""

import json
import sys

from chdb.session import Session

import questions

COLUMNS = """
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD(3)),
    received DateTime64(6, 'UTC') CODEC(Delta, ZSTD(3)),
    level LowCardinality(String), stage LowCardinality(String), verb LowCardinality(String),
    username LowCardinality(String), address LowCardinality(String),
    agent LowCardinality(String), resource LowCardinality(String),
    namespace LowCardinality(String), subresource LowCardinality(String),
    audit_id UUID, code UInt16,
    uri String CODEC(ZSTD(3)), groups String CODEC(ZSTD(3)), extra String CODEC(ZSTD(3)),
    name String CODEC(ZSTD(3)), uid String CODEC(ZSTD(3)),
    request String CODEC(ZSTD(3)), response String CODEC(ZSTD(3)),
    annotations String CODEC(ZSTD(3))
"""

VALUES = """
    parseDateTime64BestEffortOrZero(JSONExtractString(line, 'stageTimestamp'), 6, 'UTC'),
    parseDateTime64BestEffortOrZero(JSONExtractString(line, 'requestReceivedTimestamp'), 6, 'UTC'),
    JSONExtractString(line, 'level'), JSONExtractString(line, 'stage'),
    JSONExtractString(line, 'verb'), JSONExtractString(line, 'user', 'username'),
    JSONExtractString(line, 'sourceIPs', 1), JSONExtractString(line, 'userAgent'),
    JSONExtractString(line, 'objectRef', 'resource'),
    JSONExtractString(line, 'objectRef', 'namespace'),
    JSONExtractString(line, 'objectRef', 'subresource'),
    toUUIDOrZero(JSONExtractString(line, 'auditID')),
    JSONExtractUInt(line, 'responseStatus', 'code'),
    JSONExtractString(line, 'requestURI'), JSONExtractRaw(line, 'user', 'groups'),
    JSONExtractRaw(line, 'user', 'extra'), JSONExtractString(line, 'objectRef', 'name'),
    JSONExtractString(line, 'user', 'uid'), JSONExtractRaw(line, 'requestObject'),
    JSONExtractRaw(line, 'responseObject'), JSONExtractRaw(line, 'annotations')
"""


def asked(literals):
    """Words as ClickHouse finds them without an index."""
    word = lambda text: (
        f"(hasTokenCaseInsensitive(request, '{text}') OR hasTokenCaseInsensitive(response, '{text}'))"
    )
    role = "JSONExtractString(request, 'roleRef', 'name')"
    hour = "formatDateTime(time, '%Y-%m-%dT%H')"
    return questions.sql(literals, "audit.events", word, role, "toString(audit_id)", hour)


def active_bytes(session):
    parts = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'audit'"
    return int(str(session.query(parts)).strip())


def main(action, folder, *rest):
    session = Session(folder)
    if action == "load":
        session.query("CREATE DATABASE audit")
        session.query(
            f"CREATE TABLE audit.events ({COLUMNS}) ENGINE = MergeTree ORDER BY time"
        )
        source = f"file('{rest[0]}', 'LineAsString', 'line String')"
        session.query(f"INSERT INTO audit.events SELECT {VALUES} FROM {source}")
        print(active_bytes(session))
    elif action == "settle":
        session.query("OPTIMIZE TABLE audit.events FINAL")
        print(active_bytes(session))
    else:
        runs, literals = rest
        for query, columns in zip(asked(json.loads(literals)), questions.COLUMNS):
            ask = lambda: str(session.query(query, "JSONCompactEachRow"))
            millis, rows = questions.timed(ask, int(runs))
            rows = [json.loads(row) for row in rows.splitlines()]
            print(json.dumps({"millis": millis, "answer": questions.lines(rows, columns)}), flush=True)


main(*sys.argv[1:])
