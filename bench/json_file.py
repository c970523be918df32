"""A peer of `cargo xtask bench`: DuckDB on the file as it came, nothing loaded.

usage: json_file.py ask FILE RUNS LITERALS
"""

import json
import sys

import duckdb

import questions

COLUMNS = """
    {auditID: 'VARCHAR', stage: 'VARCHAR', verb: 'VARCHAR', stageTimestamp: 'TIMESTAMP',
     "user": 'STRUCT(username VARCHAR)', sourceIPs: 'VARCHAR[]', requestObject: 'JSON',
     responseObject: 'JSON', responseStatus: 'STRUCT(code INTEGER)',
     objectRef: 'STRUCT(resource VARCHAR, "namespace" VARCHAR, "name" VARCHAR, subresource VARCHAR)'}
"""

VIEW = """
    CREATE VIEW events AS SELECT auditID AS audit_id, stage, verb, stageTimestamp AS time,
        "user".username AS username, sourceIPs[1] AS address, responseStatus.code AS code,
        objectRef.resource AS resource, objectRef."namespace" AS namespace,
        objectRef."name" AS name, coalesce(objectRef.subresource, '') AS subresource,
        requestObject::VARCHAR AS request, responseObject::VARCHAR AS response
    FROM read_ndjson('{file}', columns = {columns}, ignore_errors = true,
                     maximum_object_size = 67108864)
"""


def main(_action, file, runs, literals):
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.execute(VIEW.format(file=file, columns=COLUMNS))
    word = lambda text: (
        f"regexp_matches(concat_ws(' ', request, response),"
        f" '(?i)(^|[^a-z0-9]){text}([^a-z0-9]|$)')"
    )
    role = "json_extract_string(request, '$.roleRef.name')"
    hour = "strftime(time, '%Y-%m-%dT%H')"
    asked = questions.sql(json.loads(literals), "events", word, role, "audit_id", hour)
    for query, columns in zip(asked, questions.COLUMNS):
        ask = lambda: connection.execute(query).fetchall()
        millis, rows = questions.timed(ask, int(runs))
        answer = questions.lines(rows, columns)
        print(json.dumps({"millis": millis, "answer": answer}), flush=True)


main(*sys.argv[1:])
