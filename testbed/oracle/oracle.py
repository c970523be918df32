#!/usr/bin/env python3
"""Asks verifiers of transparency logs that others wrote in Python what they think of ours.

Requests come as JSON lines on standard input, one line of verdicts for each goes to standard
output, in the same order; README.md has the protocol. What has to be accepted, and what refused,
is left to whoever asks.
"""
import base64
import functools
import json
import sys

import proofbundle.checkpoint
import proofbundle.merkle
import proofbundle.tlogproof
import pymerkle
from proofbundle.errors import ProofBundleError


class Refused(Exception):
    """Why an oracle refuses."""


def unless(is_so, why):
    if not is_so:
        raise Refused(why)


def text(data):
    """proofbundle reads text; bytes that are none it cannot be asked about."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(str(error)) from error


def origin(r):
    """A log's key is named as its origin."""
    return r["log"].split("+", 1)[0]


def proofbundle_proof(r):
    verdict = proofbundle.tlogproof.verify_tlog_proof(
        text(r["file"]),
        r["entry"],
        r["log"],
        r["witnesses"],
        threshold=len(r["witnesses"]),
        expected_origin=origin(r),
    )
    unless(verdict["ok"], verdict.get("detail", "not ok"))


def pymerkle_proof(r):
    """pymerkle knows proofs, but neither files nor signatures: these proofbundle reads for it."""
    file = proofbundle.tlogproof.parse_tlog_proof(text(r["file"]))
    head = proofbundle_open(file["checkpoint"], r)
    pymerkle_verify_inclusion(
        file["index"], head["tree_size"], head["root"], r["entry"], file["proof"]
    )


def proofbundle_checkpoint(r):
    proofbundle_open(text(r["note"]), r)


def proofbundle_open(note, r):
    if r["witnesses"]:
        verdict = proofbundle.checkpoint.verify_witnessed_checkpoint(
            note,
            r["log"],
            r["witnesses"],
            threshold=len(r["witnesses"]),
            expected_origin=origin(r),
        )
    else:
        verdict = proofbundle.checkpoint.verify_checkpoint(note, r["log"])
    unless(verdict["ok"] and verdict["origin"] == origin(r), "not signed as it has to be")
    return verdict


def proofbundle_inclusion(r):
    is_in = proofbundle.merkle.verify_inclusion(
        r["entry"], r["index"], r["size"], r["path"], r["root"]
    )
    unless(is_in, "not in the tree")


def pymerkle_inclusion(r):
    pymerkle_verify_inclusion(r["index"], r["size"], r["root"], r["entry"], r["path"])


def pymerkle_verify_inclusion(index, size, root, entry, path):
    unless(0 <= index < size < pymerkle.proof.MAX_SIZE, "no such leaf")
    leaf = pymerkle.hasher.MerkleHasher("sha256").hash_buff(entry)
    # It counts leaves from 1, begins a path with the leaf itself, and wants to be told on which
    # side each hash stands; it makes that up from index and size, and so may we.
    rule, _ = pymerkle.core._inclusion_path_layout(index + 1, size)
    proof = pymerkle.InclusionProof("sha256", True, size, index + 1, rule, [leaf, *path])
    pymerkle.verify_inclusion(leaf, root, proof, index=index + 1, size=size, algorithm="sha256")


def proofbundle_consistency(r):
    is_consistent = proofbundle.merkle.verify_consistency(
        r["old"], r["new"], r["path"], r["old_root"], r["new_root"]
    )
    unless(is_consistent, "it does not follow")


def proofbundle_root(r):
    unless(proofbundle.merkle.merkle_tree_hash(r["entries"]) == r["root"], "another root")


def pymerkle_root(r):
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in r["entries"]:
        tree.append_entry(entry)
    unless(tree.get_root() == r["root"], "another root")


def number(r, index):
    return f"{r['before']}{index}{r['behind']}".encode()


def proofbundle_root_of_numbers(r):
    unless(proofbundle_numbers(r["before"], r["behind"], r["size"]) == r["root"], "another root")


@functools.cache
def proofbundle_numbers(before, behind, size):
    """The same root is asked for again and again."""
    around = {"before": before, "behind": behind}
    return proofbundle.merkle.merkle_tree_hash([number(around, i) for i in range(size)])


def pymerkle_root_of_numbers(r):
    tree = pymerkle_numbers(r["before"], r["behind"])
    for index in range(tree.get_size(), r["size"]):
        tree.append_entry(number(r, index))
    unless(tree.get_root(r["size"]) == r["root"], "another root")


@functools.cache
def pymerkle_numbers(_before, _behind):
    """One tree has all smaller ones in it."""
    return pymerkle.InmemoryTree(algorithm="sha256")


CHECKS = {
    "proof": {"proofbundle": proofbundle_proof, "pymerkle": pymerkle_proof},
    "checkpoint": {"proofbundle": proofbundle_checkpoint},
    "inclusion": {"proofbundle": proofbundle_inclusion, "pymerkle": pymerkle_inclusion},
    # pymerkle has consistency proofs of its own, which go down to a leaf.
    "consistency": {"proofbundle": proofbundle_consistency},
    "tiles": {},
    "root": {"proofbundle": proofbundle_root, "pymerkle": pymerkle_root},
    "root-of-numbers": {
        "proofbundle": proofbundle_root_of_numbers,
        "pymerkle": pymerkle_root_of_numbers,
    },
}

# What is bytes, and has come in base64.
BYTES = ("file", "note", "entry", "root", "old_root", "new_root")
LISTS = ("path", "entries")


def read(line):
    r = json.loads(line)
    for name in BYTES:
        if name in r:
            r[name] = base64.b64decode(r[name], validate=True)
    for name in LISTS:
        if name in r:
            r[name] = [base64.b64decode(item, validate=True) for item in r[name]]
    return r


def ask(name, check, r):
    # Any other exception ends the program: as a refusal it would look like a verdict.
    try:
        check(r)
    except (Refused, ProofBundleError, pymerkle.InvalidProof) as error:
        return {"oracle": name, "accepted": False, "why": str(error) or type(error).__name__}
    return {"oracle": name, "accepted": True}


def main():
    for line in sys.stdin.buffer:
        r = read(line)
        verdicts = [ask(name, check, r) for name, check in CHECKS[r["check"]].items()]
        print(json.dumps({"verdicts": verdicts}))


if __name__ == "__main__":
    main()
