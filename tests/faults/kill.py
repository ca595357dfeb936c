#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ranks of train_moe_lm are killed and stopped at random moments, and join with another job.

Each blow must end the job in time, with a sentence that names the rank; the run must then go on from its saved state to
the numbers of a run that nobody disturbed, bit for bit, or, with another number of ranks, to its end. Whoever hangs, says
nothing, loses the state or ends with other numbers is a failure: the exit status is 1.

Ranks are stopped, or left to find out for themselves, between MPI_Init and MPI_Finalize: these two wait for all ranks
without a limit, and no library is there. A launcher that ends the job with its first rank is tried at any moment.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# Notes who is which rank, and gives one of them other options.
RANK = """rank=${OMPI_COMM_WORLD_RANK:-$PMI_RANK}
echo $$ >"pid.$rank.new" && mv "pid.$rank.new" "pid.$rank"
if [ "$rank" = "$ODD_RANK" ]; then exec "$1" $ODD_OPTIONS; fi
exec "$@"
"""
ALL_DONE = "all work is done and saved, but a rank did not reach the end of MPI_Finalize in time"
TIMES = {"balancer_share", "balancer_wall_share", "seconds_per_step"}  # all else that a run reports is the same in each run


class Failure(Exception):
    pass


class Job:
    """One start of the program under the launcher, in a folder of its own."""

    def __init__(self, setup, folder, ranks, options, survive=False, odd=None):
        self.folder, self.ranks = folder, ranks
        for old in folder.glob("pid.*"):
            old.unlink()
        command = [setup.launcher, *(setup.survive if survive else []), "-n", str(ranks)]
        command += ["sh", "-c", RANK, "rank", str(setup.program), *options]
        rank, others = odd or ("", [])
        environment = dict(os.environ, ODD_RANK=str(rank), ODD_OPTIONS=" ".join(others))
        self.out = open(folder / "output", "w+b")
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.out, stderr=subprocess.STDOUT, start_new_session=True)

    def pid(self, rank):
        file = self.folder / f"pid.{rank}"
        return int(file.read_text()) if file.exists() else None

    def text(self):
        self.out.seek(0)
        return self.out.read().decode(errors="replace")

    def wait_for_ranks(self, limit):
        """Until all ranks talk: what the program says then."""
        while "Domains:" not in self.text() and self.process.poll() is None and time.monotonic() - self.started < limit:
            time.sleep(0.01)

    def wait(self, limit):
        """The seconds that it took; what is left of it is ended in any case."""
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"hangs: not ended after {limit:.0f} s\n{self.text()}")
        finally:
            for pid in [self.pid(r) for r in range(self.ranks)] + [self.process.pid]:
                if pid and (pid == self.process.pid or self.is_ours(pid)):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            self.process.wait()
        return time.monotonic() - self.started

    def is_ours(self, pid):
        """Whether a rank of this job still has the number: it may have been given to another since."""
        try:
            return os.readlink(f"/proc/{pid}/cwd") == str(self.folder)
        except OSError:
            return False


class Setup:
    def __init__(self, options):
        self.program, self.launcher = options.program.resolve(), options.launcher
        self.ranks, self.random = options.ranks, random.Random(options.seed)
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="kill."))
        version = subprocess.run([self.launcher, "--version"], capture_output=True, text=True).stdout
        # With these the launcher lets the others live when a rank dies, so that they have to find out themselves.
        self.survive = ["--enable-recovery"] if "Open" in version else ["-disable-auto-cleanup"]
        self.options = ["--strategies", options.strategy, "--steps", str(options.steps), "--experts", "8", "--top-k", "2",
                        "--micro-batches", "4", "--text", str(self.texts()), "--state", "state", "--report", "report",
                        "--json", "table.json", "--save-every", "1", "--timeout"]
        self.timeout = str(options.timeout)
        self.limit = options.patience

    def texts(self):
        words = "alpha beta gamma delta expert router token load bias step".split()
        draw = random.Random(1)
        for domain in range(3):
            folder = self.work / "texts" / f"domain{domain}"
            folder.mkdir(parents=True)
            (folder / "text").write_text(" ".join(draw.choice(words[domain:]) for _ in range(40000)))
        return self.work / "texts"

    def folder(self, name):
        path = self.work / name
        path.mkdir()
        return path

    def numbers(self, folder):
        rows = json.loads((folder / "table.json").read_text())
        return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]

    def run_to_the_end(self, folder, ranks, resume):
        patient = self.options + [str(self.limit)]  # nobody is missing here, however slow the machine is
        job = Job(self, folder, ranks, patient + (["--resume"] if resume else []))
        took = job.wait(self.limit)
        if job.process.returncode != 0:
            raise Failure(f"{'resuming' if resume else 'starting'} with {ranks} ranks fails:\n{job.text()}")
        return took


def who_is_named(text, rank, pid):
    """By whom the rank is named, or None."""
    if re.search(rf"\brank {rank} (does not answer|has not arrived|of the|has )", text):
        return "moebal"
    if re.search(rf"\brank {rank} with PID\b", text) or re.search(rf"\bPID {pid} RUNNING AT\b", text):
        return "the launcher"
    return None


def strike(setup, number, duration, reference):
    """One blow and what follows. Returns words to count, or None where the run was over before."""
    folder = setup.folder(f"blow{number}")
    blow = setup.random.choice(["killed", "killed, and the launcher lets the others live", "stopped"])
    victim = setup.random.randrange(setup.ranks)
    moment = setup.random.uniform(0, duration)
    other = setup.random.choice([1, 2, 4]) if setup.random.random() < 0.25 else None

    job = Job(setup, folder, setup.ranks, setup.options + [setup.timeout], survive="live" in blow)
    if blow != "killed":
        job.wait_for_ranks(setup.limit)
        moment *= 0.7
    time.sleep(moment)
    pid = job.pid(victim)
    if job.process.poll() is None and pid is not None and job.is_ours(pid):
        os.kill(pid, signal.SIGSTOP if blow == "stopped" else signal.SIGKILL)
    else:
        pid = None
    in_time = not (folder / "table.json").exists()  # else all is written, and what is left is MPI_Finalize
    try:
        job.wait(setup.limit)
    except Failure:
        if in_time:
            raise
    if pid is None or not in_time or (job.process.returncode == 0 and (folder / "table.json").exists()):
        shutil.rmtree(folder)
        return None
    if ALL_DONE in job.text():  # only MPI_Finalize was left, and nobody can ask for names any more
        if setup.numbers(folder) != reference:
            raise Failure(f"other numbers where all was done:\n{setup.numbers(folder)}\n{reference}")
        shutil.rmtree(folder)
        return f"{blow} when all was done and saved; told, without a name", "the same numbers at once"
    by = who_is_named(job.text(), victim, pid)
    if by is None:
        raise Failure(f"rank {victim} was {blow} after {moment:.2f} s and is not named:\n{job.text()}")

    saved = (folder / "state" / "train_moe_lm.state").exists()
    setup.run_to_the_end(folder, (other or setup.ranks) if saved else setup.ranks, resume=saved)
    numbers = setup.numbers(folder)
    if saved and other:
        same = [row["steps"] for row in numbers] == [row["steps"] for row in reference]
        end = "resumed with another number of ranks, to the end"
    else:
        same = numbers == reference
        end = "resumed to the same numbers" if saved else "begun anew (nothing was saved yet), the same numbers"
    if not same:
        raise Failure(f"other numbers after {end}:\n{numbers}\n{reference}")
    shutil.rmtree(folder)
    return f"{blow}; named by {by}", end


def disagree(setup, number, option, value, words):
    folder = setup.folder(f"odd{number}")
    victim = setup.ranks - 1
    options = setup.options + [setup.timeout]
    others = list(options)
    others[others.index(option) + 1] = value
    job = Job(setup, folder, setup.ranks, options, odd=(victim, others))
    job.wait(setup.limit)
    needed = f"rank {victim} has {words}"
    if job.process.returncode == 0 or needed not in job.text():
        raise Failure(f"one rank with {option} {value}: needed '{needed}', had:\n{job.text()}")
    return f"one rank with {option} {value}: '{needed}'"


def versions(setup, programs):
    command = [setup.launcher, "-n", str(setup.ranks - 1), programs[0], ":", "-n", "1", programs[1]]
    job = subprocess.run(command, capture_output=True, text=True, timeout=setup.limit)
    text = job.stdout + job.stderr
    needed = f"rank {setup.ranks - 1} has version "
    if job.returncode == 0 or needed not in text:
        raise Failure(f"another version on one rank: needed '{needed}', had:\n{text}")
    return "one rank with another version of the library: '" + re.search(rf"{needed}.*", text).group(0) + "'"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path, help="train_moe_lm, built with MPI")
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--launcher", default="mpiexec")
    parser.add_argument("--ranks", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--strategy", default="bias-global-softmax")
    parser.add_argument("--timeout", type=float, default=2, help="of the program, in seconds")
    parser.add_argument("--patience", type=float, default=120, help="seconds after which a job counts as hung")
    parser.add_argument("--versions", nargs=2, help="two programs that make a communicator, of two versions")
    options = parser.parse_args()
    setup = Setup(options)

    counts, failures = collections.Counter(), []

    def tried(f, *arguments):
        try:
            return f(setup, *arguments)
        except Failure as failure:
            failures.append(str(failure))
            print("FAILED:", failure, flush=True)
            return ()

    folder = setup.folder("reference")
    duration = setup.run_to_the_end(folder, setup.ranks, resume=False)
    reference = setup.numbers(folder)
    again = setup.folder("again")
    duration = min(duration, setup.run_to_the_end(again, setup.ranks, resume=False))
    if setup.numbers(again) != reference:
        raise SystemExit("two runs that nobody disturbs have other numbers")

    blows = attempts = 0
    while blows < options.times and attempts < 3 * options.times + 10:
        attempts += 1
        result = tried(strike, attempts, duration, reference)
        if result is None:
            counts["over before the blow (not counted)"] += 1
            continue
        blows += 1
        counts.update(result)
        if result:
            print(f"{blows:4}:", "; ".join(result), flush=True)
    odd = [("--experts", "16", "experts = 16, rank 0 has 8"), ("--top-k", "1", "top_k = 1, rank 0 has 2"),
           ("--strategies", "loss-global", 'strategies = ["loss-global"], rank 0 has ')]
    for number, case in enumerate(odd):
        counts[tried(disagree, number, *case) or "one rank that differs: not found"] += 1
    if options.versions:
        counts[tried(versions, options.versions) or "another version: not found"] += 1

    print(f"{blows} blows on {setup.ranks} ranks, {len(failures)} failures")
    for words, n in sorted(counts.items()):
        print(f"{n:5} {words}")
    if failures:
        print("the folders of the failures are in", setup.work)
        return 1
    shutil.rmtree(setup.work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
