"""The peer of `cargo xtask bench`: the same events in ClickHouse, in columns made for them.

usage: clickhouse.py load FOLDER FILE | settle FOLDER | query FOLDER

`load` and `settle` print the bytes that the table takes, `query` the milliseconds of each query.
"""

import sys
import time

from chdb.session import Session

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

# The same as the product is asked, in the same order.
QUERIES = [
    "SELECT count(DISTINCT audit_id) FROM audit.events"
    " WHERE verb = 'delete' AND namespace = 'pay-qa'",
    "SELECT count(DISTINCT audit_id) FROM audit.events"
    " WHERE hasTokenCaseInsensitive(request, 'hostPID')"
    " OR hasTokenCaseInsensitive(response, 'hostPID')",
]


def active_bytes(session):
    parts = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'audit'"
    return int(str(session.query(parts)).strip())


def main(action, folder, file=None):
    session = Session(folder)
    if action == "load":
        session.query("CREATE DATABASE audit")
        session.query(
            f"CREATE TABLE audit.events ({COLUMNS}) ENGINE = MergeTree ORDER BY time"
        )
        source = f"file('{file}', 'LineAsString', 'line String')"
        session.query(f"INSERT INTO audit.events SELECT {VALUES} FROM {source}")
        print(active_bytes(session))
    elif action == "settle":
        session.query("OPTIMIZE TABLE audit.events FINAL")
        print(active_bytes(session))
    else:
        for query in QUERIES:
            started = time.monotonic()
            session.query(query)
            print(1000 * (time.monotonic() - started))


main(*sys.argv[1:])
