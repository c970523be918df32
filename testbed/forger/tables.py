"""The two tables of a record, read and written by pyarrow: Parquet files, and the Delta log with
the statistics that it has of them.

What rows are as leaves is for leaves.py.
"""

import bisect
import io
import json
import pathlib
import uuid

import pyarrow as pa
import pyarrow.parquet as pq

import leaves

GROWING = ["seq", "received", "time", "request_received_timestamp", "stage_timestamp"]
WITHOUT_STATISTICS = {"text", "raw", "json"}
WITHOUT_DICTIONARY = {*GROWING, "audit_id", "json", "duplicate", "conflict", "dry_run", "truncated"}


class File:
    """A file of a table."""

    def __init__(self, folder, table, add):
        self.folder, self.table, self.add = pathlib.Path(folder), table, add
        self.cluster = add["partitionValues"]["cluster"]
        stats = json.loads(add["stats"])
        self.first, self.last = stats["minValues"]["seq"], stats["maxValues"]["seq"]
        self.listed, self._rows = self.path, None
        self.is_changed = self.is_gone = False
        # Bytes that are not made from its rows.
        self.data = None

    @property
    def path(self):
        return f"{self.table}/{self.add['path']}"

    @property
    def rows(self):
        if self._rows is None:
            self._rows = pq.ParquetFile(self.folder / self.path).read()
        return self._rows

    @rows.setter
    def rows(self, rows):
        self._rows, self.is_changed = rows, True

    def row(self, at):
        return self.rows.slice(at, 1).to_pylist()[0]

    def put(self, at, values):
        """Changes values of one row."""
        self.put_column({name: {at: value} for name, value in values.items()})

    def put_column(self, changes):
        """Changes values of columns."""
        rows = self.rows
        for name, values in changes.items():
            index = rows.schema.get_field_index(name)
            column = rows.column(index).to_pylist()
            for at, value in values.items():
                column[at] = value
            field = rows.schema.field(index)
            rows = rows.set_column(index, field, pa.array(column, field.type))
        self.rows = rows

    def encoded(self):
        """The bytes of the file, laid out as segment.md says."""
        out, paths = io.BytesIO(), pq.ParquetFile(self.folder / self.listed).schema
        paths = [paths.column(i).path for i in range(len(paths))]
        of_events = self.table == "events"
        growing = [path for path in paths if path in GROWING]
        pq.write_table(
            self.rows,
            out,
            row_group_size=65_536 if of_events else 1_048_576,
            version="1.0",
            use_dictionary=[path for path in paths if path not in WITHOUT_DICTIONARY],
            column_encoding={path: "DELTA_BINARY_PACKED" for path in growing},
            compression={path: "NONE" if path == "audit_id" else "ZSTD" for path in paths},
            compression_level={path: 3 for path in paths if path != "audit_id"},
            write_statistics=[path for path in paths if path not in WITHOUT_STATISTICS],
            write_page_index=True,
            data_page_size=1 << 20,
            max_rows_per_page=20_000,
            dictionary_pagesize_limit=1 << 20,
            store_schema=False,
        )
        return out.getvalue()

    def write(self):
        """Writes it as a new file, and takes the old one away."""
        data = self.encoded() if self.data is None else self.data
        seqs = self.rows.column("seq").to_pylist()
        self.first, self.last = min(seqs), max(seqs)
        folder = self.add["path"].rpartition("/")[0]
        name = f"{self.first:015}-{self.last:015}-{uuid.uuid4().hex}.parquet"
        (self.folder / self.listed).unlink()
        self.add |= {"path": f"{folder}/{name}", "size": len(data), "stats": self.statistics()}
        (self.folder / self.path).write_bytes(data)
        (self.folder / self.path).chmod(0o600)
        return data

    def statistics(self):
        known = ["seq", "received"] + (["time"] if self.table == "events" else [])
        values = {name: self.rows.column(name).to_pylist() for name in known}
        shown = lambda value: value if isinstance(value, int) else leaves.instant(value)
        nulls = {name: 0 for name in sorted(known)}
        if self.table == "events":
            nulls["twin"] = self.rows.column("twin").null_count
        return leaves.dumps(
            {
                "numRecords": self.rows.num_rows,
                "minValues": {name: shown(min(values[name])) for name in known},
                "maxValues": {name: shown(max(values[name])) for name in known},
                "nullCount": nulls,
            }
        ).decode()


class Table:
    """A table with its Delta log."""

    def __init__(self, folder, name):
        self.folder, self.log = pathlib.Path(folder), pathlib.Path(folder) / name / "_delta_log"
        if list(self.log.glob("*.checkpoint*")):
            raise ValueError("the log has checkpoints, which are not forged here")
        lines = lambda path: [json.loads(line) for line in path.read_text().splitlines()]
        self.commits = {path: lines(path) for path in sorted(self.log.glob("*.json"))}
        self.files = {}
        for action in [action for commit in self.commits.values() for action in commit]:
            if "add" in action:
                self.files[action["add"]["path"]] = File(folder, name, action["add"])
            if "remove" in action:
                del self.files[action["remove"]["path"]]

    def of(self, cluster):
        """Its files of a cluster, in the order of the log."""
        files = [file for file in self.files.values() if file.cluster == cluster]
        return sorted((file for file in files if not file.is_gone), key=lambda file: file.first)

    def write_log(self, kept):
        """Writes the log again; `kept` tells how many events up to a `seq` a cluster still has."""
        gone = {file.listed for file in self.files.values() if file.is_gone}
        name = self.log.parent.name
        for path, commit in self.commits.items():
            actions = []
            for action in commit:
                if "add" in action and f"{name}/{action['add']['path']}" in gone:
                    continue
                if "txn" in action:
                    cluster = action["txn"]["appId"].removeprefix("whodid:")
                    version = kept(cluster, action["txn"]["version"]) - 1
                    if version < 0:
                        continue
                    action["txn"]["version"] = version
                actions.append(action)
            path.write_bytes(b"".join(leaves.dumps(action) + b"\n" for action in actions))


class Store:
    """A record."""

    def __init__(self, folder, cache=None):
        self.folder = pathlib.Path(folder)
        self.events, self.bodies = Table(folder, "events"), Table(folder, "bodies")
        self.meta = leaves.Meta(folder)
        # Leaves of events that are removed, by cluster, in order.
        self.removed = {}
        self.cache = {} if cache is None else cache

    def clusters(self):
        return sorted(path.name for path in (self.folder / "keys").iterdir())

    def body_texts(self, cluster):
        texts = {}
        for file in self.bodies.of(cluster):
            columns = [file.rows.column(name).to_pylist() for name in ("seq", "member", "json")]
            texts |= {(seq, member): text for seq, member, text in zip(*columns)}
        return texts

    def leaf_hashes(self, cluster):
        """The hashes of all leaves of a cluster; of files that are known they are known."""
        bodies, hashes = None, []
        for file in self.events.of(cluster):
            overlaps = lambda body: body.first <= file.last and file.first <= body.last
            known = (file.path, *(body.path for body in self.bodies.of(cluster) if overlaps(body)))
            if known not in self.cache:
                bodies = self.body_texts(cluster) if bodies is None else bodies
                self.cache[known] = list(self.hashes_of(file, bodies))
            hashes += self.cache[known]
        return hashes

    def hashes_of(self, file, bodies):
        keys = {}
        rows = file.rows
        is_raw = [reason is not None for reason in rows.column("raw_reason").to_pylist()]
        # Of bytes that are no event most columns are null; reading them would take longest.
        events = rows.filter(pa.array([not raw for raw in is_raw])).to_pylist()
        few = ["seq", "received", "source", "raw", "raw_reason", "raw_size"]
        raws = rows.select(few).filter(pa.array(is_raw)).to_pylist()
        for row in sorted(events + raws, key=lambda row: row["seq"]):
            number, rest = divmod(row["seq"], leaves.KEY_FILE_LEAVES)
            if number not in keys:
                path = self.folder / "keys" / file.cluster / f"{number:012}.keys"
                keys[number] = path.read_bytes()
            begin = 32 * (rest // leaves.WIDTH)
            key = keys[number][begin : begin + 32]
            yield leaves.leaf_hash(leaves.entry(row, file.cluster, key, bodies))

    def tree(self, cluster):
        return leaves.Tree(self.leaf_hashes(cluster))

    def remove(self, cluster, first, last):
        """Removes leaves, and moves those behind them up, as if they had never been."""
        count = last + 1 - first
        is_gone = lambda seq: first <= seq <= last
        for table in [self.events, self.bodies]:
            for file in [file for file in table.of(cluster) if file.last >= first]:
                seqs = file.rows.column("seq").to_pylist()
                rows = file.rows.filter(pa.array([not is_gone(seq) for seq in seqs]))
                file.is_gone = rows.num_rows == 0
                file.rows = rows
                self.move_up(file, first, last, count)
        self.removed.setdefault(cluster, []).extend(range(first, last + 1))

    def move_up(self, file, first, last, count):
        moved = lambda seq: seq - count if seq > last else seq
        seqs = file.rows.column("seq").to_pylist()
        changes = {"seq": {at: moved(seq) for at, seq in enumerate(seqs)}}
        if file.table == "events":
            # A mark would name an event that is not there any more.
            twins = file.rows.column("twin").to_pylist()
            marked = {at: twin for at, twin in enumerate(twins) if twin is not None}
            lost = [at for at, twin in marked.items() if first <= twin <= last]
            twins = {at: moved(twin) for at, twin in marked.items()}
            changes["twin"] = twins | dict.fromkeys(lost)
            changes["duplicate"] = changes["conflict"] = dict.fromkeys(lost, False)
        file.put_column(changes)

    def write(self):
        """Writes what was changed; returns of each new file its old path, its path, its bytes."""
        written = []

        def kept(cluster, last):
            return last + 1 - bisect.bisect_right(self.removed.get(cluster, []), last)

        for table in [self.bodies, self.events]:
            for file in table.files.values():
                if file.is_gone:
                    (self.folder / file.listed).unlink()
                elif file.is_changed or file.data:
                    data = file.write()
                    written.append((file.listed, file.path, data))
            table.write_log(kept)
        # All that it has is in segments, and would come back from it. The newest file has nothing.
        for path in sorted((self.folder / "wal").glob("*.wal")):
            path.unlink()
        path.write_bytes(b"WdWal001")
        return written
