"""What others read in the Delta tables of a record: the same questions to DuckDB and to Spark, an
answer a line on standard output, as JSON: {"reader": …, "question": …, "sql": …, "answer": …}.

    readers.py duckdb|spark RECORD [--hide]    (Spark finds the jars of Delta in $JARS, with colons)

`--hide` overlooks one row of the events: whoever compares has to notice.
"""

import json
import os
import pathlib
import sys

# Each in the words that both know.
QUESTIONS = {
    "events": "SELECT count(*) FROM events",
    "addresses": "SELECT count(DISTINCT request_uri) FROM events",
    "clusters": "SELECT cluster, count(*) FROM events GROUP BY cluster ORDER BY 1",
    "verbs": "SELECT verb, count(*) FROM events GROUP BY verb ORDER BY 1",
    "namespaces": "SELECT namespace, count(*) FROM events WHERE namespace LIKE 'p%' "
    "GROUP BY namespace ORDER BY 1",
    "denied": "SELECT actor, count(*) FROM events WHERE outcome = 'denied' GROUP BY actor ORDER BY 1",
    "leaves": "SELECT min(seq) AS a, max(seq) AS b, sum(seq) AS c FROM events",
    "codes": "SELECT code, count(*) FROM events GROUP BY code ORDER BY 1",
    "marks": "SELECT count(*) FROM events WHERE duplicate OR conflict",
    "groups": "SELECT count(*) FROM events WHERE user_groups IS NOT NULL",
    "bodies": "SELECT member, count(*), sum(length(json)) AS n FROM bodies GROUP BY member ORDER BY 1",
    "both": "SELECT count(*) FROM events e JOIN bodies b ON e.cluster = b.cluster AND e.seq = b.seq "
    "WHERE e.verb = 'patch'",
}


def duckdb(record):
    import duckdb as module
    import duckdb_extension_delta

    connection = module.connect()
    # By its path: by its name it would be looked for on the network.
    folder = pathlib.Path(duckdb_extension_delta.__file__).parent
    (extension,) = folder.rglob("delta.duckdb_extension")
    connection.execute(f"LOAD '{extension}'")
    for table in ("events", "bodies"):
        connection.sql(f"CREATE VIEW {table} AS SELECT * FROM delta_scan('{record}/{table}')")
    return lambda question: connection.sql(question).fetchall()


def spark(record):
    from pyspark.sql import SparkSession

    settings = {
        "spark.jars": os.environ["JARS"].replace(":", ","),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.log.level": "ERROR",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master("local[2]").appName("readers")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    for table in ("events", "bodies"):
        session.read.format("delta").load(f"{record}/{table}").createOrReplaceTempView(table)
    return lambda question: session.sql(question).collect()


def main():
    reader, record = sys.argv[1:3]
    ask = {"duckdb": duckdb, "spark": spark}[reader](record)
    for question, text in QUESTIONS.items():
        if "--hide" in sys.argv:
            text = text.replace(
                "FROM events", "FROM (SELECT * FROM events WHERE NOT (cluster = 'a' AND seq = 7))"
            )
        answer = [[str(cell) for cell in row] for row in ask(text)]
        asked = {"reader": reader, "question": question, "sql": QUESTIONS[question]}
        print(json.dumps({**asked, "answer": answer}), flush=True)


if __name__ == "__main__":
    main()
