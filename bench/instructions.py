#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""instructions.py PROGRAM STORED FLAGS [--store]: instructions a token of the library's pieces, counted by callgrind, against the
figures in STORED. Fails where one takes over 3 % more; figures of another compiler or other flags are not compared. --store
writes them. bench/run.sh --instructions calls it."""

import datetime
import json
import pathlib
import re
import subprocess
import sys
import tempfile

TOKENS = 1024  # Ours::least_rows
ALLOWED = 1.03


def count(program):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", program], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        counts = {}
        for part in pathlib.Path(folder).iterdir():
            text = part.read_text()
            name = re.search(r"^desc: Trigger: Client Request: (\S+)$", text, re.M)
            if name:
                counts[name[1]] = round(int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1]) / TOKENS, 1)
    if not counts:
        sys.exit(f"instructions.py: needed callgrind's dumps of {program}, had none")
    return counts


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[4:] not in ([], ["--store"]):
        sys.exit(__doc__)
    program, stored, flags = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    compiler = subprocess.run(["g++", "-dumpfullversion"], check=True, capture_output=True, text=True).stdout.strip()
    now = {"date": datetime.date.today().isoformat(), "compiler": f"g++ {compiler}", "flags": flags, "tokens": TOKENS,
           "instructions_a_token": dict(sorted(count(program).items()))}
    before = json.loads(stored.read_text()) if stored.exists() else {}
    same = all(before.get(key) == now[key] for key in ("compiler", "flags"))
    known = before.get("instructions_a_token", {}) if same else {}
    more = []
    for name, n in now["instructions_a_token"].items():
        ratio = n / known[name] if name in known else None
        print(f"{name:28} {n:10.1f}" + (f" {ratio:7.3f}" if ratio else ""))
        if ratio and ratio > ALLOWED:
            more.append(name)
    if not same:
        print(f"not compared: stored are {before.get('compiler')}, {before.get('flags')}; here {now['compiler']}, {flags}")
    if "--store" in sys.argv:
        stored.write_text(json.dumps(now, indent=1) + "\n")
    elif more:
        sys.exit(f"instructions.py: over {ALLOWED - 1:.0%} more than on {before['date']}: {', '.join(more)}")


if __name__ == "__main__":
    main()
