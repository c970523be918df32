#!/usr/bin/env python3
"""Checks an evidence bundle (docs/format/bundle.md) with Python's standard library and `openssl`.

Whose keys are to be believed is left to whoever runs it, and so is what the events mean.
"""
import argparse
import base64
import contextlib
import datetime
import functools
import hashlib
import hmac
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple

USAGE = """\
Checks that an evidence bundle is what its keys signed: that the signed tree of each log has every
event at its place, that opened values are those the events commit to, and that nothing is missing.

Take this program, the policy and the export key from somebody you trust, not from the bundle:
whoever made the bundle could have put anything there."""

# Everything that is read has a bound; docs/format/bundle.md names them.
FILES_MAX = 1_000_000
MANIFEST_MAX = 64 << 20
NOTE_MAX = 1 << 20
POLICY_MAX = 1 << 20
SCRIPT_MAX = 1 << 20
KEY_MAX = 4096
ENTRY_MAX = 65_535
PROOF_MAX = 2 << 20
RANGE_MAX = 256 << 20
DISCLOSURE_MAX = 64 << 20
DISCLOSURES_MAX = 4 << 30
HASHES_MAX = 63
SIGNATURES_MAX = 100
NUMBER_MAX = (1 << 63) - 1
FAILURES_SHOWN_MAX = 100

ED25519, COSIGNATURE = 0x01, 0x04
MANIFEST, MANIFEST_NOTE = "manifest.json", "manifest.note"
POLICY, EXPORT_KEY, SCRIPT = "policy.txt", "export.vkey", "verify.py"
CLUSTER = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
DECIMAL = r"(?:0|[1-9][0-9]{0,18})"
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
PLACE = re.compile(
    rf"({CLUSTER})/(?:(checkpoint|disclosures\.jsonl|range|stamp\.(?:checkpoint|tsr|hashes))"
    rf"|entries/({DECIMAL})\.json|proofs/({DECIMAL})\.tlog-proof)"
)

Key = namedtuple("Key", "name kind id key")
Note = namedtuple("Note", "text signatures")
Head = namedtuple("Head", "origin size root")


class Wrong(Exception):
    """Something in the bundle does not hold."""


class Stop(Exception):
    """Nothing can be checked, for a reason outside the bundle."""


# What reading hostile files may raise, and what `reason` has words for.
CAUGHT = (Wrong, OSError, ValueError, RecursionError)


def reason(error):
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, json.JSONDecodeError):
        return f"it is no JSON: {error.msg} at character {error.pos}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


def counted(count, what):
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def plain(text):
    """Text for a terminal: what could move the cursor or turn the direction is spelled out."""
    spelled = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(spelled)


class Report:
    """Counts what failed, and says it once."""

    def __init__(self, quiet):
        self.quiet = quiet
        self.failures = 0

    def say(self, text):
        if not self.quiet:
            print(plain(text))

    def fail(self, where, why):
        self.failures += 1
        if self.failures <= FAILURES_SHOWN_MAX:
            print(plain(f"FAILED {where}: {why}"), file=sys.stderr)

    @contextlib.contextmanager
    def about(self, where):
        """Says where it was that something inside did not hold."""
        try:
            yield
        except CAUGHT as error:
            self.fail(where, reason(error))


# Spelling. Of everything that is signed or hashed there is one spelling, so that two readers cannot
# read two things.


def decimal(text):
    if not re.fullmatch(DECIMAL, text) or int(text) > NUMBER_MAX:
        raise Wrong("a number is not a decimal of one spelling below 2^63")
    return int(text)


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Wrong("what should be base64 is not") from None
    if base64.b64encode(data).decode() != text:
        raise Wrong("base64 is not in its one spelling")
    return data


# The hashes near the root stand in every proof.
@functools.lru_cache(maxsize=1 << 14)
def a_hash(text):
    data = unbase64(text)
    if len(data) != 32:
        raise Wrong("a hash is not 32 bytes long")
    return data


def number(text):
    # Python would take its time over millions of digits.
    if len(text) > 20:
        raise Wrong("a number is too long")
    return int(text)


def distinct(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Wrong("a member stands twice in an object")
    return members


def refused(constant):
    raise Wrong(f"{constant} is no JSON")


STRICT = json.JSONDecoder(
    object_pairs_hook=distinct, parse_int=number, parse_constant=refused
)
# Objects as tuples of pairs, in order and with what stands twice; numbers as they are spelled.
PAIRS = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=refused
)


def record(value, what, /, **types):
    """An object with exactly these members."""
    if not isinstance(value, dict) or set(value) != set(types):
        raise Wrong(f"{what} does not have exactly the members {', '.join(types)}")
    for name, kind in types.items():
        # For Python, true is a number.
        if kind and type(value[name]) is not kind:
            raise Wrong(f"{name} of {what} is of another type")
        if kind is int and not 0 <= value[name] <= NUMBER_MAX:
            raise Wrong(f"{name} of {what} is out of bounds")
    return value


# Keys and signed notes (c2sp.org/signed-note).

# Points of small order: under such a key anybody can sign. Without the sign in the last bit.
WEAK = {
    bytes.fromhex(key)
    for key in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
}
# SubjectPublicKeyInfo of an Ed25519 key, up to the key (RFC 8410).
SPKI = bytes.fromhex("302a300506032b6570032100")
# RFC 8032 §7.1, test 2: key, message, signature.
KNOWN = tuple(
    bytes.fromhex(part)
    for part in (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    )
)


def is_name(name):
    is_other = (c == "+" or c.isspace() or c < " " or "\x7f" <= c <= "\x9f" for c in name)
    return bool(name) and not any(is_other)


def key_id(name, kind, key):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def parse_key(vkey, kind):
    """Reads a key of one kind: name, ID and base64 of kind and key, with `+` between them."""
    parts = vkey.split("+", 2)
    if len(parts) != 3 or not is_name(parts[0]):
        raise Wrong("a key is not name+ID+base64")
    name, shown_id, data = parts[0], parts[1], unbase64(parts[2])
    if len(data) != 33 or data[0] != kind:
        raise Wrong(f"the key {name} is of another type")
    key = data[1:]
    if key[:31] + bytes([key[31] & 0x7F]) in WEAK:
        raise Wrong(f"under the key {name} anybody can sign")
    if key_id(name, kind, key).hex() != shown_id:
        raise Wrong(f"the ID of the key {name} is another key's")
    return Key(name, kind, key_id(name, kind, key), key)


def parse_note(data):
    """Reads text with signatures below it. Nobody has looked whether they are right."""
    text, empty, rest = data.decode().rpartition("\n\n")
    text += "\n"
    if not empty or any(c < " " and c != "\n" for c in text):
        raise Wrong("it is no signed note")
    lines = rest.split("\n")
    if lines.pop() or not 1 <= len(lines) <= SIGNATURES_MAX:
        raise Wrong("it has no signature, too many, or half of one")
    return Note(text, [parse_signature(line) for line in lines])


def parse_signature(line):
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not is_name(parts[1]):
        raise Wrong("the line of a signature cannot be read")
    data = unbase64(parts[2])
    if len(data) < 4:
        raise Wrong("a signature is too short")
    return parts[1], data[:4], data[4:]


def signed(note, key):
    """The times at which a key signed, 0 where it says none. One forged signature is too many."""
    times = []
    for name, id_, signature in note.signatures:
        if (name, id_) != (key.name, key.id):
            continue
        message, at = note.text.encode(), 0
        if key.kind == COSIGNATURE:
            at, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = b"cosignature/v1\ntime %d\n" % at + message
        if len(signature) != 64 or at > NUMBER_MAX or not ed25519(key.key, message, signature):
            raise Wrong(f"the signature of {key.name} is not valid")
        times.append(at)
    return times


def ed25519(key, message, signature):
    """Whether a signature is right. A process each, so it is asked once for each checkpoint."""
    trust_openssl()
    return openssl(key, message, signature)


@functools.lru_cache(maxsize=None)
def trust_openssl():
    """An `openssl` that cannot do it, or says yes to everything, must not decide."""
    key, message, signature = KNOWN
    answers = [openssl(key, each, signature) for each in (message, message + b"\n")]
    if answers != [True, False]:
        raise Stop("`openssl` cannot check Ed25519 signatures; OpenSSL 3.0 or later is needed")


def openssl(key, message, signature):
    program = shutil.which("openssl")
    if not program:
        raise Stop("there is no `openssl` on this machine; install OpenSSL 3.0 or later")
    try:
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("key", "message", "signature")]
            for path, data in zip(paths, (SPKI + key, message, signature)):
                with open(path, "wb") as file:
                    file.write(data)
            command = [program, "pkeyutl", "-verify", "-pubin", "-keyform", "DER"]
            command += ["-inkey", paths[0], "-rawin", "-in", paths[1], "-sigfile", paths[2]]
            ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        raise Stop(f"`openssl` cannot be run: {reason(error)}") from None
    return ended.returncode == 0


def stamp_time(data, answer, authority):
    """When an authority has seen this data, as its answer says; checked if one is believed."""
    program = shutil.which("openssl")
    if not program:
        raise Stop("there is no `openssl` on this machine; install OpenSSL 3.0 or later")
    try:
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("data", "answer")]
            for path, content in zip(paths, (data, answer)):
                with open(path, "wb") as file:
                    file.write(content)

            def run(*words):
                return subprocess.run(
                    [program, "ts", *words], stdin=subprocess.DEVNULL, capture_output=True
                )

            if authority:
                said = run("-verify", "-data", paths[0], "-in", paths[1], "-CAfile", authority)
                if said.returncode:
                    raise Wrong("the authority has not stamped this checkpoint")
            said = run("-reply", "-in", paths[1], "-text")
    except OSError as error:
        raise Stop(f"`openssl` cannot be run: {reason(error)}") from None
    text = said.stdout.decode(errors="replace")
    at = re.search(r"^Time stamp: (.+)$", text, re.MULTILINE)
    # Even where nobody is believed, it has to be about this.
    rows = re.findall(r"^ +[0-9a-f]{4} - ((?:[0-9a-f]{2}[ -]){1,16})", text, re.MULTILINE)
    digest = "".join(rows)
    digest = digest.replace(" ", "").replace("-", "")
    if said.returncode or not at or hashlib.sha256(data).hexdigest() not in digest:
        raise Wrong("it is no answer of a time-stamping authority about this checkpoint")
    return at[1]


# Checkpoints and whose signatures make one (c2sp.org/tlog-checkpoint, c2sp.org/tlog-policy).


def parse_checkpoint(text):
    lines = text.split("\n")
    if len(lines) < 4 or "" in lines[:-1]:
        raise Wrong("a checkpoint has fewer than three lines, or an empty one")
    head = Head(lines[0], decimal(lines[1]), a_hash(lines[2]))
    if head.size == 0:
        raise Wrong("a tree without leaves proves nothing")
    return head


class Policy:
    """The logs that are believed, and the witnesses that must have seen a checkpoint."""

    def __init__(self, text):
        self.logs, self.members, self.quorum, self.grouped = [], {}, None, set()
        for at, line in enumerate(text.split("\n"), 1):
            try:
                if any((c < " " and c != "\t") or c == "\x7f" for c in line):
                    raise Wrong("it has control characters")
                self.add([word for word in re.split("[ \t]", line) if word])
            except Wrong as error:
                raise Wrong(f"line {at} of the policy: {error}") from None
        if self.quorum is None:
            raise Wrong("the policy has no quorum")

    def add(self, words):
        if not words or words[0].startswith("#"):
            return
        kind, count = words[0], len(words)
        if kind == "log" and count in (2, 3):
            self.logs.append(self.new(parse_key(words[1], ED25519), self.logs))
        elif kind == "witness" and count in (3, 4):
            witnesses = [member for member in self.members.values() if isinstance(member, Key)]
            self.name(words[1], self.new(parse_key(words[2], COSIGNATURE), witnesses))
        elif kind == "group" and count >= 4:
            self.name(words[1], self.group(words[2], words[3:]))
        elif kind == "quorum" and count == 2 and self.quorum is None:
            if words[1] != "none" and words[1] not in self.members:
                raise Wrong(f"nothing above is called {words[1]}")
            self.quorum = words[1]
        else:
            raise Wrong(f"`{kind}` cannot be read here")

    def new(self, key, others):
        if any(key.key == other.key for other in others):
            raise Wrong("the key is there already")
        return key

    def name(self, name, member):
        if name == "none" or name in self.members:
            raise Wrong(f"the name {name} is taken")
        self.members[name] = member

    def group(self, count, names):
        for name in names:
            if name not in self.members or name in self.grouped:
                raise Wrong(f"{name} is not named above, or in a group already")
            self.grouped.add(name)
        needed = {"any": 1, "all": len(names)}.get(count)
        needed = decimal(count) if needed is None else needed
        if not 1 <= needed <= len(names):
            raise Wrong("a group asks for more members than it has, or for none")
        return needed, names

    def of(self, origin):
        logs = [log for log in self.logs if log.name == origin]
        if not logs:
            raise Wrong(f"the policy knows no log {origin}")
        return logs

    def check(self, note, origin):
        """Checks who signed the checkpoint of a log, and returns which witnesses saw it when."""
        logs = self.of(origin)
        if not any([signed(note, log) for log in logs]):
            raise Wrong(f"it is not signed by {origin}")
        seen, has_seen = {}, {"none": True}
        # Groups name only what stands above them.
        for name, member in self.members.items():
            if isinstance(member, Key):
                times = signed(note, member)
                if times:
                    seen[name] = max(times)
                has_seen[name] = bool(times)
            else:
                needed, names = member
                has_seen[name] = sum(has_seen[other] for other in names) >= needed
        if not has_seen[self.quorum]:
            raise Wrong(f"its cosignatures are no quorum of the policy: {self.quorum}")
        return seen


def moment(seconds):
    try:
        at = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return f"in second {seconds}"
    return at.isoformat() + "Z"


# The tree (RFC 6962 §2.1, RFC 9162 §2.1.3.2).


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of_path(size, index, root, path):
    if index >= size:
        raise Wrong("its index is not below the size of the tree")
    at, last = index, size - 1
    for sibling in path:
        if last == 0:
            raise Wrong("it has too many hashes")
        if at % 2 == 1 or at == last:
            root = node_hash(sibling, root)
            # At the right edge, levels without a sibling are passed over.
            while at % 2 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise Wrong("it has too few hashes")
    return root


def nodes(begin, end):
    """The fewest full subtrees that cover the leaves [begin, end), as (level, index)."""
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        yield level, begin >> level
        begin += 1 << level


class Tree:
    """The root of a tree whose full subtrees come from left to right, without gaps."""

    def __init__(self):
        self.hashes = []

    def add(self, level, index, root):
        while index % 2 == 1:
            root = node_hash(self.hashes.pop(), root)
            level, index = level + 1, index >> 1
        self.hashes.append(root)

    def root(self):
        return functools.reduce(lambda right, left: node_hash(left, right), self.hashes[::-1])


def check_proof(data, seq, leaf, checkpoint, head):
    """Checks a c2sp.org/tlog-proof against the checkpoint that all proofs of a log hold."""
    # A newline ends the last line before the checkpoint, another is the empty line.
    if not data.endswith(b"\n\n" + checkpoint):
        raise Wrong("it does not hold the checkpoint of the bundle")
    lines = data[: -len(checkpoint) - 2].decode().split("\n")
    if lines.pop(0) != "c2sp.org/tlog-proof@v1" or not lines:
        raise Wrong("it is no proof file")
    if lines[0].startswith("extra "):
        # Nobody vouches for it.
        unbase64(lines.pop(0)[len("extra "):])
    if not lines or lines.pop(0) != f"index {seq}":
        raise Wrong("it is about another index than its name says, or has none")
    if len(lines) > HASHES_MAX:
        raise Wrong(f"it has more than {HASHES_MAX} hashes")
    if root_of_path(head.size, seq, leaf, [a_hash(line) for line in lines]) != head.root:
        raise Wrong("it leads to another root than the checkpoint's")


# Entries (docs/format/entry.md).

HEAD_NAMES = ["v", "seq", "cluster", "source", "received"]
SHAPES = (["event"], ["raw"], ["raw", "bytes", "sha256"])
# Of the log of what was done with the record.
META, META_SHAPES = "meta", (["record"],)


def commitment(value):
    """The commitment that stands in the place of a value, or None: `{"$c":"…"}`."""
    if not isinstance(value, tuple) or len(value) != 1 or value[0][0] != "$c":
        return None
    is_one = isinstance(value[0][1], str) and len(value[0][1]) == 44
    return value[0][1] if is_one else None


def read_entry(data, cluster, seq):
    """Checks that an entry is that of an event, and returns its commitments by member."""
    head = '{"v":1,"seq":%d,"cluster":"%s","source":"' % (seq, cluster)
    if not data.startswith(head.encode()) or not data.endswith(b"}"):
        raise Wrong("the entry is of another event than its name says")
    entry = PAIRS.decode(data.decode())
    names = [name for name, _ in entry]
    shapes = META_SHAPES if cluster == META else SHAPES
    if names[:5] != HEAD_NAMES or names[5:] not in shapes:
        raise Wrong("the entry does not have the members of an entry")
    received, (name, value) = entry[4][1], entry[5]
    if not isinstance(received, str) or not TIME.fullmatch(received):
        raise Wrong("the entry does not say when it was received")
    members = ((name, value),) if name == "raw" else value
    if not isinstance(members, tuple) or len({name for name, _ in members}) != len(members):
        raise Wrong("the event is no object, or has a member twice")
    if cluster == META:
        return {}
    found = ((name, commitment(value)) for name, value in members)
    return {name: commits for name, commits in found if commits}


# The bundle as files: each is read once, and what was read is what was hashed.


class Folder:
    """The files of a folder. Links are not followed: they lead out of the bundle."""

    def __init__(self, path, report):
        self.path, self.sizes = path, {}
        todo = [""]
        while todo:
            prefix = todo.pop()
            with os.scandir(os.path.join(path, prefix)) as found:
                for item in found:
                    name = prefix + item.name
                    if item.is_dir(follow_symlinks=False):
                        todo.append(name + "/")
                    elif item.is_file(follow_symlinks=False):
                        self.sizes[name] = item.stat(follow_symlinks=False).st_size
                    else:
                        report.fail(name, "it is neither a file nor a folder")
            if len(self.sizes) > FILES_MAX or len(todo) > FILES_MAX:
                raise Wrong(f"it has more than {FILES_MAX} files")

    def open(self, name):
        return open(os.path.join(self.path, name), "rb")


class Slice(io.RawIOBase):
    """A part of a file, read on its own."""

    def __init__(self, file, at, size):
        self.file, self.at, self.end = file, at, at + size

    def readable(self):
        return True

    def readinto(self, buffer):
        self.file.seek(self.at)
        data = self.file.read(min(len(buffer), self.end - self.at))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


class Tar:
    """The files of a plain ustar archive. Extensions are refused: tools read them differently."""

    BLOCK = 512

    def __init__(self, path, report):
        self.file, self.sizes, self.at = open(path, "rb"), {}, {}
        end, at = os.path.getsize(path), 0
        while True:
            self.file.seek(at)
            header = self.file.read(self.BLOCK)
            if not header.strip(b"\0"):
                break
            name, size, is_file = self.member(header)
            at += self.BLOCK
            if name in self.sizes:
                report.fail(name, "it is in the archive twice")
            if is_file:
                self.sizes[name], self.at[name] = size, at
            at += -(-size // self.BLOCK) * self.BLOCK
            if at > end or len(self.sizes) > FILES_MAX:
                raise Wrong("the archive ends within a file, or has too many")
        self.file.seek(at)
        # What stands behind the end, other readers may read.
        while rest := self.file.read(1 << 20):
            if rest.strip(b"\0"):
                raise Wrong("the archive has something behind its end")

    def member(self, header):
        if len(header) != self.BLOCK or header[257:263] not in (b"ustar\0", b"ustar "):
            raise Wrong("it is no tar archive in the format ustar, or is cut off")
        blanked = header[:148] + b" " * 8 + header[156:]
        if self.octal(header[148:156]) != sum(blanked):
            raise Wrong("a header of the archive has another checksum")
        name = header[:100].split(b"\0")[0]
        prefix = header[345:500].split(b"\0")[0]
        name = (prefix + b"/" + name if prefix else name).decode()
        kind, size = header[156:157], self.octal(header[124:136])
        if kind not in (b"0", b"\0", b"5"):
            raise Wrong(f"{name} in the archive is no plain file; unpack it and check the folder")
        if kind == b"5":
            name = name.rstrip("/")
        name = name[2:] if name.startswith("./") else name
        if any(part in ("", ".", "..") for part in name.split("/")) and (kind, name) != (b"5", "."):
            raise Wrong(f"{name} in the archive leads out of it, or has no one spelling")
        if kind == b"5" and size:
            raise Wrong(f"{name} in the archive is a folder with bytes")
        return name, size, kind != b"5"

    def octal(self, field):
        digits = field.rstrip(b" \0")
        if not re.fullmatch(rb" *[0-7]+", digits):
            raise Wrong("a header of the archive has no number where one has to be")
        return int(digits, 8)

    def open(self, name):
        return io.BufferedReader(Slice(self.file, self.at[name], self.sizes[name]))


class Bundle:
    """Files with the SHA-256 that the manifest has for each."""

    def __init__(self, files):
        self.files, self.listed = files, {}

    def bounded(self, name, size_max):
        if name not in self.files.sizes:
            raise Wrong("it is missing")
        if self.files.sizes[name] > size_max:
            raise Wrong(f"it is longer than {size_max} bytes")
        return self.files.open(name)

    def unlisted(self, name, size_max):
        with self.bounded(name, size_max) as file:
            data = file.read(size_max + 1)
        if len(data) > size_max:
            raise Wrong(f"it is longer than {size_max} bytes")
        return data

    def read(self, name, size_max):
        data = self.unlisted(name, size_max)
        self.compare(name, hashlib.sha256(data))
        return data

    def compare(self, name, digest):
        if self.listed.get(name) != digest.hexdigest():
            raise Wrong("the manifest has another SHA-256 for it, or none")

    def lines(self, name, size_max, line_max):
        """The lines, numbered. Only at the end is it sure that the manifest lists them so."""
        digest = hashlib.sha256()
        with self.bounded(name, size_max) as file:
            at = 0
            while line := file.readline(line_max + 1):
                digest.update(line)
                at += 1
                if not line.endswith(b"\n"):
                    raise Wrong(f"line {at} is too long, or has no end")
                yield at, line[:-1].decode()
        self.compare(name, digest)


# The manifest.


def read_manifest(data):
    manifest = record(
        STRICT.decode(data.decode()), "the manifest",
        format=int, made=str, query=str, purpose=str, logs=list, files=dict,
    )
    if manifest["format"] != 1:
        raise Wrong(f"it is of format {manifest['format']}, and this program knows format 1")
    if not TIME.fullmatch(manifest["made"]):
        raise Wrong("it does not say when it was made")
    for log in manifest["logs"]:
        record(log, "a log", cluster=str, origin=str, size=int, events=int, range=None)
        if not re.fullmatch(CLUSTER, log["cluster"]):
            raise Wrong(f"{log['cluster']} is not the name of a cluster")
        if log["range"] is not None:
            record(log["range"], "a range", **{"from": int, "to": int, "withheld": int})
    clusters = [log["cluster"] for log in manifest["logs"]]
    if not set(clusters) - {META} or len(set(clusters)) != len(clusters):
        raise Wrong("it has no log, or one twice")
    for name, digest in manifest["files"].items():
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise Wrong(f"it has no SHA-256 for {name}")
    return manifest


def places(manifest, report):
    """The listed files of each log: the names of the single ones, and which events have which."""
    found = {log["cluster"]: (set(), set(), set()) for log in manifest["logs"]}
    for name in manifest["files"]:
        match = PLACE.fullmatch(name)
        if match and match[1] in found:
            single, entries, proofs = found[match[1]]
            with report.about(name):
                if match[2]:
                    single.add(match[2])
                elif match[3]:
                    entries.add(decimal(match[3]))
                else:
                    proofs.add(decimal(match[4]))
        elif name not in (POLICY, EXPORT_KEY, SCRIPT):
            report.fail(name, "no file of a bundle has this name")
    return found


def check_files(bundle, manifest, report):
    known = {*manifest["files"], MANIFEST, MANIFEST_NOTE}
    for name in sorted(set(bundle.files.sizes) - known):
        report.fail(name, "the manifest does not list it")


def check_manifest_note(bundle, manifest, key):
    note = parse_note(bundle.unlisted(MANIFEST_NOTE, NOTE_MAX))
    if note.text != f"whodid export\n{hashlib.sha256(manifest).hexdigest()}\n":
        raise Wrong("it is about another manifest")
    if not signed(note, key):
        raise Wrong(f"it is not signed by {key.name}")


# A log of the bundle.


def check_origin(log, export_key):
    """A log speaks for one cluster: that it is named after, within the record that exported."""
    if not export_key:
        return
    record_name = export_key.name[: -len("/export")]
    names = f"{re.escape(record_name)}/{re.escape(log['cluster'])}(?:/(?:[2-9]|[1-9][0-9]+))?"
    if not re.fullmatch(names, log["origin"]):
        raise Wrong(f"{log['origin']} is not a log of this cluster in {record_name}")


class Log:
    """What is known of one log while its files are checked."""

    def __init__(self, bundle, log, listed, report):
        self.bundle, self.log, self.report = bundle, log, report
        self.cluster, (self.single, self.entries, self.proofs) = log["cluster"], listed
        # By event: the hash of its entry, and what that commits to.
        self.leaves, self.commitments, self.opened = {}, {}, set()
        self.head, self.seen = None, {}
        self.stamped, self.records = None, {}

    def path(self, name):
        return f"{self.cluster}/{name}"

    def check(self, policy, export_key, authority):
        failures = self.report.failures
        with self.report.about(MANIFEST):
            check_origin(self.log, export_key)
        self.check_events(self.check_checkpoint(policy))
        if "disclosures.jsonl" in self.single:
            with self.report.about(self.path("disclosures.jsonl")):
                self.check_disclosures()
        with self.report.about(self.path("range")):
            self.check_range()
        if self.single & {"stamp.checkpoint", "stamp.tsr", "stamp.hashes"}:
            old = None
            with self.report.about(self.path("stamp.tsr")):
                old = self.check_stamp(policy, authority)
            with self.report.about(self.path("stamp.hashes")):
                if old:
                    self.check_growth(old)
        if failures == self.report.failures:
            self.say()

    def say(self):
        def say(text):
            self.report.say(f"{self.cluster}: {text}")

        say(f"log {self.head.origin}, of size {self.head.size}")
        for witness, at in self.seen.items():
            say(f"seen by {witness} {moment(at)}")
        if self.stamped:
            say(self.stamped)
        if self.cluster == META:
            say(counted(len(self.leaves), "record") + " of what was done with the log's events")
            for seq in sorted(self.leaves):
                say(f"record {seq}: {self.records[seq]}")
            return
        values = sum(len(members) for members in self.commitments.values())
        events = counted(len(self.leaves), "event")
        say(f"{events}; {len(self.opened)} of {counted(values, 'committed value')} opened")
        if self.log["range"]:
            begin, end, withheld = (self.log["range"][name] for name in ("from", "to", "withheld"))
            whole = counted(end - begin, "event")
            say(f"{end - begin - withheld} of {whole} from {begin} to {end - 1} shown")

    def check_checkpoint(self, policy):
        """Returns its bytes; what it says is kept even if nobody vouches for it."""
        data = b""
        with self.report.about(self.path("checkpoint")):
            data = self.bundle.read(self.path("checkpoint"), NOTE_MAX)
            note = parse_note(data)
            self.head = parse_checkpoint(note.text)
            if (self.head.origin, self.head.size) != (self.log["origin"], self.log["size"]):
                raise Wrong("it is of another log or another size than the manifest says")
            if policy:
                self.seen = policy.check(note, self.head.origin)
        return data

    def check_events(self, checkpoint):
        if not self.log["events"] == len(self.entries) == len(self.proofs):
            self.report.fail(
                self.path("entries"),
                f"the manifest says {self.log['events']} events, and lists {len(self.entries)} "
                f"entries and {len(self.proofs)} proofs",
            )
        for seq in sorted(self.entries | self.proofs):
            event, leaf = f"event {self.cluster}/{seq}", None
            self.commitments[seq] = None
            name = self.path(f"entries/{seq}.json")
            with self.report.about(f"{name}, {event}"):
                data = self.bundle.read(name, ENTRY_MAX)
                leaf = leaf_hash(data)
                self.leaves[seq] = leaf
                self.commitments[seq] = read_entry(data, self.cluster, seq)
                if self.cluster == META:
                    self.records[seq] = data[data.index(b'"received":') :].decode()
            name = self.path(f"proofs/{seq}.tlog-proof")
            with self.report.about(f"{name}, {event}"):
                data = self.bundle.read(name, PROOF_MAX)
                if leaf and self.head:
                    check_proof(data, seq, leaf, checkpoint, self.head)

    def check_disclosures(self):
        name, last = self.path("disclosures.jsonl"), -1
        for at, line in self.bundle.lines(name, DISCLOSURES_MAX, DISCLOSURE_MAX):
            with self.report.about(f"{name}, line {at}"):
                seq, member = self.check_disclosure(line)
                if (seq, member) in self.opened or seq < last:
                    raise Wrong("it stands there already, or in another order than the events")
                self.opened.add((seq, member))
                last = seq
        if last < 0:
            raise Wrong("it opens nothing")

    def check_disclosure(self, line):
        value = STRICT.decode(line)
        record(value, "a disclosure", seq=int, member=str, salt=str, value=str)
        seq, member, salt = value["seq"], value["member"], unbase64(value["salt"])
        in_order = {name: value[name] for name in ("seq", "member", "salt", "value")}
        if json.dumps(in_order, ensure_ascii=False, separators=(",", ":")) != line:
            raise Wrong("it is not in its one spelling")
        where = f"{member} of event {self.cluster}/{seq}"
        if len(salt) != 16:
            raise Wrong(f"the salt for {where} is not 16 bytes long")
        if seq not in self.commitments:
            raise Wrong(f"event {self.cluster}/{seq} is not in the bundle")
        # An entry that was refused above has been reported there.
        commitments = self.commitments[seq]
        if commitments is not None:
            if member not in commitments:
                raise Wrong(f"the entry has no commitment for {where}")
            message = member.encode() + b"\0" + value["value"].encode()
            commits = base64.b64encode(hmac.digest(salt, message, "sha256")).decode()
            if commits != commitments[member]:
                raise Wrong(f"{where} is not what the entry commits to")
        return seq, member

    def check_stamp(self, policy, authority):
        """That a time-stamping authority has seen the tree (RFC 3161), and it grew to this one."""
        data = self.bundle.read(self.path("stamp.checkpoint"), NOTE_MAX)
        answer = self.bundle.read(self.path("stamp.tsr"), NOTE_MAX)
        note = parse_note(data)
        old = parse_checkpoint(note.text)
        if policy and not any([signed(note, log) for log in policy.of(old.origin)]):
            raise Wrong(f"what was stamped is not signed by {old.origin}")
        if not self.head or old.origin != self.head.origin or old.size > self.head.size:
            raise Wrong("what was stamped is of another log, or of a larger tree")
        at = stamp_time(data, answer, authority)
        believed = "" if authority else "; by whom, nobody looked: pass --tsa-ca"
        self.stamped = f"the first {old.size} leaves were stamped {at}{believed}"
        return old

    def check_growth(self, old):
        lines = (line for _, line in self.bundle.lines(self.path("stamp.hashes"), RANGE_MAX, 128))
        if next(lines, "") != f"stamp {old.size}":
            raise Wrong("stamp.hashes is of another size than what was stamped")
        tree = Tree()
        for side, begin, end in (("left ", 0, old.size), ("right ", old.size, self.head.size)):
            for level, index in nodes(begin, end):
                line = next(lines, "")
                if not line.startswith(side):
                    raise Wrong(f"a line of stamp.hashes should begin with {side!r}")
                tree.add(level, index, a_hash(line[len(side):]))
            expected = old.root if end == old.size else self.head.root
            if tree.root() != expected:
                raise Wrong("the tree did not grow from what was stamped")
        if next(lines, None) is not None:
            raise Wrong("stamp.hashes has more lines than the tree has hashes")
        if self.head.size == old.size and old.root != self.head.root:
            raise Wrong("the tree did not grow from what was stamped")

    def check_range(self):
        stated = self.log["range"]
        if stated is None:
            if "range" in self.single:
                raise Wrong("the manifest does not say that there is a range")
            return
        begin, end, withheld = stated["from"], stated["to"], stated["withheld"]
        if not begin < end <= self.log["size"]:
            raise Wrong("it is empty, or not within the tree")
        shown = sum(begin <= seq < end for seq in self.leaves)
        if withheld != end - begin - shown:
            raise Wrong(f"{withheld} of {end - begin} withheld, says the manifest; {shown} shown")
        root = self.range_root(self.path("range"), begin, end)
        if self.head and root != self.head.root:
            raise Wrong("it leads to another root than the checkpoint's")

    def range_root(self, name, begin, end):
        """The root of the tree that the hashes of a range and the entries shown make up."""
        lines = (line for _, line in self.bundle.lines(name, RANGE_MAX, 128))

        def take(prefix):
            line = next(lines, "")
            if not line.startswith(prefix):
                raise Wrong(f"a line should begin with {prefix!r}")
            return a_hash(line[len(prefix):])

        if next(lines, "") != f"range {begin} {end}":
            raise Wrong("its first line is not that of the range in the manifest")
        tree = Tree()
        for level, index in nodes(0, begin):
            tree.add(level, index, take("left "))
        for seq in range(begin, end):
            leaf = self.leaves.get(seq)
            tree.add(0, seq, leaf if leaf else take(f"leaf {seq} "))
        for level, index in nodes(end, self.log["size"]):
            tree.add(level, index, take("right "))
        # To the end also because only there the SHA-256 is compared.
        if next(lines, None) is not None:
            raise Wrong("it has more lines than the range has hashes")
        return tree.root()


# The whole.


def outside(path, size_max, parse):
    """Reads what was given on the command line."""
    try:
        with open(path, "rb") as file:
            data = file.read(size_max + 1)
        if len(data) > size_max:
            raise Wrong(f"it is longer than {size_max} bytes")
        return parse(data.decode())
    except CAUGHT as error:
        raise Stop(f"{path}: {reason(error)}") from None


def parse_export_key(text):
    key = parse_key(text[:-1] if text.endswith("\n") else text, ED25519)
    if not key.name.endswith("/export"):
        raise Wrong(f"{key.name} is not the name of an export key")
    return key


def trusted(bundle, given, name, size_max, parse, what, report):
    """A key or policy: that of the command line, else that of the bundle, which vouches for it."""
    trust = outside(given, size_max, parse) if given else None
    with report.about(name):
        data = bundle.read(name, size_max)
        if not given:
            trust = parse(data.decode())
            print(
                f"note: {what} is the bundle's own, which proves nothing to you; pass yours",
                file=sys.stderr,
            )
    return trust


def check(path, arguments, report):
    bundle = manifest = None
    with report.about(path):
        bundle = Bundle(Folder(path, report) if os.path.isdir(path) else Tar(path, report))
    if not bundle:
        return
    with report.about(MANIFEST):
        data = bundle.unlisted(MANIFEST, MANIFEST_MAX)
        manifest = read_manifest(data)
    if not manifest:
        return
    bundle.listed = manifest["files"]
    check_files(bundle, manifest, report)
    listed = places(manifest, report)
    with report.about(SCRIPT):
        bundle.read(SCRIPT, SCRIPT_MAX)
    policy = trusted(
        bundle, arguments.policy, POLICY, POLICY_MAX, Policy, "the policy (--policy)", report
    )
    key = trusted(
        bundle, arguments.export_key, EXPORT_KEY, KEY_MAX, parse_export_key,
        "the export key (--export-key)", report,
    )
    with report.about(MANIFEST_NOTE):
        if key:
            check_manifest_note(bundle, data, key)
            report.say(f"manifest: signed by {key.name}; made {manifest['made']}")
    report.say(f"query: {manifest['query']}")
    report.say(f"purpose: {manifest['purpose']}")
    for log in manifest["logs"]:
        Log(bundle, log, listed[log["cluster"]], report).check(policy, key, arguments.tsa_ca)
    if not report.failures:
        events = (log["events"] for log in manifest["logs"] if log["cluster"] != META)
        events = counted(sum(events), "event")
        logs = counted(len(manifest["logs"]), "log")
        report.say(f"verified: {events} of {logs}, in {counted(len(bundle.listed), 'file')}")


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="verify.py", description=USAGE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument(
        "bundle", nargs="?", metavar="DIR|FILE.tar", default=here,
        help="the bundle; without it, the folder in which this program is",
    )
    parser.add_argument("--policy", metavar="FILE", help="whose checkpoints you believe")
    parser.add_argument("--export-key", metavar="FILE", help="whose manifests you believe")
    parser.add_argument("--tsa-ca", metavar="FILE", help="whose time stamps you believe, PEM")
    parser.add_argument("--quiet", action="store_true", help="print only what fails, and notes")
    return parser.parse_args(argv)


def main(argv):
    """0 if everything holds, 1 if something does not, 2 if nothing could be checked."""
    arguments = parse_arguments(argv)
    report = Report(arguments.quiet)
    try:
        if not os.path.exists(arguments.bundle):
            raise Stop(f"{arguments.bundle}: there is no such file or folder")
        check(arguments.bundle, arguments, report)
    except Stop as stop:
        print(plain(f"error: {stop}"), file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except Exception as error:  # A fault of this program, or no memory: no verdict is a refusal.
        report.fail(arguments.bundle, f"could not be checked: {type(error).__name__}: {error}")
    if report.failures:
        more = report.failures - FAILURES_SHOWN_MAX
        more = f", {more} of them not shown" if more > 0 else ""
        print(f"NOT verified: {counted(report.failures, 'failure')}{more}", file=sys.stderr)
    return 1 if report.failures else 0


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except (BrokenPipeError, KeyboardInterrupt):
        # Nobody reads on, or waits: there is no verdict, and nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
