#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""report.py JSON [DOCS] [--other=JSON]...: the tables of a run of bench_moebal in Markdown, and what share of its ratios other
builds keep. With a folder: writes them into DOCS/performance.md between its two marks, and the plots DOCS/performance_*.svg.
bench/run.sh --docs calls it."""

import collections
import json
import pathlib
import sys

BEGIN, END = "<!-- begin: bench/report.py -->", "<!-- end: bench/report.py -->"
SHAPES = {
    "mixtral": "Mixtral 8/2", "olmoe": "OLMoE 64/8", "qwen3": "Qwen3 128/8", "gptoss": "gpt-oss 128/4", "switch": "Switch 128/1",
    "deepseek_v3": "DeepSeek-V3 256/8, groups, bias", "kimi_k2": "Kimi-K2 384/8, bias",
}
Pair = collections.namedtuple("Pair", "ours peer ratio")


class Run:
    def __init__(self, path):
        data = json.loads(pathlib.Path(path).read_text())
        self.context = data["context"]
        self.pairs = {}
        for b in data["benchmarks"]:
            if "ours_ns" in b:
                op, shape, tokens, peer = b["name"].removesuffix("/iterations:1").split("/")
                self.pairs[op, shape, int(tokens), peer] = Pair(b["ours_ns"], b["peer_ns"], b["ratio_med"])

    def get(self, op, shape, tokens, peer):
        return self.pairs.get((op, shape, tokens, peer))

    def ours(self, op, shape, tokens):
        """ns a token: the median over all the pairs that timed it."""
        found = sorted(p.ours for (o, s, t, _), p in self.pairs.items() if (o, s, t) == (op, shape, tokens))
        return found[len(found) // 2] if found else None

    def ratio(self, op, shape, tokens, peer):
        return (p := self.get(op, shape, tokens, peer)) and p.ratio

    def times_floor(self, op, shape, tokens, floor):
        return (p := self.get(op, shape, tokens, floor)) and 1 / p.ratio

    def tokens(self):
        return sorted({t for (op, _, t, _) in self.pairs if op == "route"})


def number(x):
    if x is None:
        return "–"
    return f"{x:.2f}" if x < 2 else f"{x:.1f}" if x < 20 else f"{x:.0f}"


def table(title, head, rows):
    rows = [[name, *map(number, values)] for name, *values in rows if any(v is not None for v in values)]
    if not rows:
        return []
    lines = [f"**{title}**", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def builds(run, others):
    """Ratios of other builds, each from its own run, as shares of this run's."""
    lines = []
    what = [("route", "scan", "route: x `scan`"), ("route", "torch", "route: x libtorch"), ("route_stats", "torch", "score sums: x libtorch"),
            ("plan", "counting_sort", "plan: x counting sort"), ("backward", "copy_floor", "backward: a copy in ours"),
            ("backward", "torch", "backward: x libtorch")]
    for other in others:
        def row(s):
            pairs = [(other.ratio(op, s, 4096, peer), run.ratio(op, s, 4096, peer)) for op, peer, _ in what]
            return tuple(v for theirs, native in pairs for v in (theirs, theirs and native and theirs / native))
        lines += table(f"Built with {other.context['flags'].strip()}: ratios, and their share of those above",
                       ["shape"] + [head for *_, title in what for head in (title, "share")],
                       [(name, *row(shape)) for shape, name in SHAPES.items()])
    return lines


def instructions():
    stored = pathlib.Path(__file__).parent / "results" / "instructions_avx2.json"
    if not stored.exists():
        return []
    data = json.loads(stored.read_text())
    counts = data["instructions_a_token"]
    pieces = list(dict.fromkeys(name.split("/")[0] for name in counts))
    return table(f"Instructions a token, counted by callgrind on {data['date']}: {data['compiler']}, {data['flags']}, T = {data['tokens']}",
                 ["shape"] + [f"`{piece}`" for piece in pieces],
                 [(name, *(counts.get(f"{piece}/{shape}") for piece in pieces)) for shape, name in SHAPES.items()])


def markdown(run, others):
    c, sizes = run.context, run.tokens()
    per_shape = lambda f: [(name, *f(shape)) for shape, name in SHAPES.items()]
    x = lambda *key: run.ratio(*key)
    lines = [
        f"{c['date'][:10]}, {c['cpu']}, {c['num_cpus']} CPUs, measured clock {float(c['ghz']):.2f} GHz,"
        f" load {float(c['load']):.1f} at the start, libtorch {c.get('libtorch', 'not there')}"
        f"{', --quick' if c['quick'] == 'yes' else ''}."
        f" {c['compiler']}, {c['flags'].strip()}."
        " fp32, one thread, iid with expert bias, T = 4096 unless said. Times in ns a token; x: how many times as long the peer took.",
        "",
    ]
    against = lambda op, s, *peers: (run.ours(op, s, 4096), *(x(op, s, 4096, peer) for peer in peers))
    lines += table("Routing, with counts",
                   ["shape", "ours", "x `scan`", "x `naive`", "x `eigen`", "x libtorch", "with score sums", "x `scan`", "x libtorch",
                    "times without"],
                   per_shape(lambda s: (*against("route", s, "scan", "naive", "eigen", "torch"),
                                        *against("route_stats", s, "scan", "torch"),
                                        run.times_floor("route_stats", s, 4096, "route"))))
    lines += table("Plan, way back and the whole step",
                   ["shape", "plan", "x counting sort", "x libtorch", "from ids: x counting sort", "route with ranks: times without",
                    "route + plan", "x `scan`", "x libtorch", "backward", "x by hand", "x libtorch", "step", "x by hand", "x libtorch"],
                   per_shape(lambda s: (*against("plan", s, "counting_sort", "torch"), x("plan_ids", s, 4096, "counting_sort"),
                                        run.times_floor("route_ranks", s, 4096, "route"),
                                        *against("route_plan", s, "scan", "torch"),
                                        *against("backward", s, "handwritten", "torch"), *against("pipeline", s, "handwritten", "torch"))))
    floors = [("route", "read_floor", "a read"), ("route", "exp_floor", "all scores"), ("backward", "copy_floor", "backward: a copy")]
    big = [t for t in sizes if t >= 4096]
    lines += table("Ours in floors", ["shape"] + [f"{name}, T = {t}" for t in big for _, _, name in floors],
                   per_shape(lambda s: tuple(run.times_floor(op, s, t, floor) for t in big for op, floor, _ in floors)))
    lines += table("Number of tokens", ["shape"] + [f"T = {t}{what}" for t in sizes for what in ("", ", x `scan`")],
                   per_shape(lambda s: tuple(v for t in sizes for v in (run.ours("route", s, t), x("route", s, t, "scan")))))
    kinds = sorted({op.split(":")[1] for (op, *_, peer) in run.pairs if peer == "iid"})
    lines += table("Unkind data: times as long as iid", ["shape", *kinds],
                   per_shape(lambda s: tuple(run.times_floor("route:" + k, s, 4096, "iid") for k in kinds)))
    lines += table("Odd numbers of experts (softmax, K = 8): a logit, times as long as", ["E", "the multiple of 64 below", "above"],
                   [(f"{e}", run.times_floor("route:per_logit", f"e{e}", 4096, f"e{e // 64 * 64}"),
                     run.times_floor("route:per_logit", f"e{e}", 4096, f"e{-(-e // 64) * 64}")) for e in (60, 72, 160, 288)])
    lines += table("Two threads: x one. Warm: call after call; cold: the second thread sleeps before each call",
                   ["shape"] + [f"T = {t}, {what}" for t in big for what in ("warm", "cold")],
                   [(f"busy loops {w}", *(x("busy_loops:2threads", w, 1, "one_thread") for _ in big for _ in (0, 1)))
                    for w in ("before", "after")]
                   + per_shape(lambda s: tuple(x(op, s, t, "one_thread") for t in big for op in ("route:2threads", "route:2threads_cold"))))
    lines += table("Once a step, or less: µs", ["", "ours", "x by hand", "x libtorch"],
                   [(what, hand.ours / 1e3, hand.ratio, x(op, s, n, "torch"))
                    for what, op, s, n, peer in [*((f"a step of the balancer, {name}", "balance_step", s, 4096, "handwritten")
                                                   for s, name in SHAPES.items()),
                                                 ("a layer's placement (EPLB), 256 experts", "eplb", "deepseek_v3", 58, "naive")]
                    if (hand := run.get(op, s, n, peer))])
    lines += table("Dispatch, the local part, 8 ranks: from ids to who sends what where", ["shape", "every rank", "x counting sort",
                                                                                           "nodes first", "x counting sort"],
                   per_shape(lambda s: (*against("dispatch_plan", s, "counting_sort"),
                                        *against("dispatch_plan_two_level", s, "counting_sort"))))
    lines += builds(run, others) + instructions()
    for name, caption in PLOTS.items():
        lines += [f"![{caption}](performance_{name}.svg)", ""]
    return "\n".join(lines)


PLOTS = {"ratios": "Routing: times as long as the library, per shape", "tokens": "Time a token against the number of tokens",
         "experts": "Time a token against the number of experts"}


def plots(run, folder):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "moebal", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    import matplotlib.pyplot as plt

    def save(figure, name):
        figure.tight_layout()
        figure.savefig(folder / f"performance_{name}.svg", metadata={"Date": None})
        plt.close(figure)

    figure, axes = plt.subplots(figsize=(7.5, 3.2))
    peers = [p for p in ("scan", "naive", "eigen", "torch") if run.get("route", "qwen3", 4096, p)]
    for i, peer in enumerate(peers):
        axes.bar([j + (i - (len(peers) - 1) / 2) * 0.2 for j in range(len(SHAPES))],
                 [run.ratio("route", s, 4096, peer) or 0 for s in SHAPES], 0.2, label=peer)
    axes.set(ylabel="times as long as ours", xticks=range(len(SHAPES)),
             xticklabels=[n.split(",")[0].replace(" ", "\n") for n in SHAPES.values()])
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    save(figure, "ratios")

    def line(axes, points, *style, **more):
        points = [(a, b) for a, b in points if b is not None]
        if points:
            axes.plot(*zip(*points), *style, **more)

    peer_ns = lambda *key: (p := run.get(*key)) and p.peer
    figure, both = plt.subplots(1, 2, figsize=(7.5, 3.2))
    for axes, shape in zip(both, ("qwen3", "deepseek_v3")):
        line(axes, [(t, run.ours("route", shape, t)) for t in run.tokens()], "o-", label="ours")
        for peer in ("scan", "torch", "exp_floor", "read_floor"):
            line(axes, [(t, peer_ns("route", shape, t, peer)) for t in run.tokens()], ".--" if "floor" in peer else ".-", label=peer)
        axes.set(xscale="log", yscale="log", xlabel="tokens", ylabel="ns a token", title=SHAPES[shape].split(",")[0])
        axes.legend(fontsize=7)
    save(figure, "tokens")

    figure, axes = plt.subplots(figsize=(5, 3.2))
    experts = sorted(int(s[1:]) for (op, s, _, peer) in run.pairs if op == "route" and peer == "read_floor" and s[1:].isdigit())
    line(axes, [(e, run.ours("route", f"e{e}", 4096)) for e in experts], "o-", label="ours")
    for peer in ("scan", "exp_floor", "read_floor"):
        line(axes, [(e, peer_ns("route", f"e{e}", 4096, peer)) for e in experts], ".--" if "floor" in peer else ".-", label=peer)
    axes.set(xscale="log", yscale="log", xlabel="experts (softmax, K = 8, T = 4096)", ylabel="ns a token")
    axes.set_xticks([e for e in experts if e & (e - 1) == 0], [str(e) for e in experts if e & (e - 1) == 0])
    axes.set_xticks([], minor=True)
    axes.legend(fontsize=7)
    save(figure, "experts")


def main():
    others = [Run(word.removeprefix("--other=")) for word in sys.argv[1:] if word.startswith("--other=")]
    paths = [word for word in sys.argv[1:] if not word.startswith("--other=")]
    if len(paths) not in (1, 2):
        sys.exit(__doc__)
    run = Run(paths[0])
    text = markdown(run, others)
    if len(paths) == 1:
        return print(text)
    folder = pathlib.Path(paths[1])
    page = folder / "performance.md"
    before, mark, rest = page.read_text().partition(BEGIN)
    if not mark or END not in rest:
        sys.exit(f"report.py: {page}: needed the lines {BEGIN} and {END}, had not both")
    page.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])
    plots(run, folder)


if __name__ == "__main__":
    main()
