#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The same layers as bench/gpu.cu in PyTorch, eager and compiled, as a JSON array on the standard output.

Ends with 77 where there is no PyTorch with CUDA. Times: CUDA events around a replayed CUDA graph (median of nine); what cannot be
captured is timed launch by launch, and says so in "how"."""
import json
import sys

try:
    import torch
except ImportError:
    sys.exit(77)
if not torch.cuda.is_available():
    sys.exit(77)


def softmax_top_k(logits, k, over_chosen):
    scores = torch.softmax(logits.float(), -1)
    weights, ids = torch.topk(scores, k, -1)
    if over_chosen:
        weights = weights / weights.sum(-1, keepdim=True)
    return ids, weights, scores


def sigmoid_top_k(logits, bias, k, scale, groups=None, kept=None):
    scores = torch.sigmoid(logits.float())
    keys = scores + bias
    if groups:
        by_group = keys.view(keys.shape[0], groups, -1)
        best = by_group.topk(2, -1).values.sum(-1).topk(kept, -1).indices
        mask = torch.zeros_like(by_group[:, :, 0]).scatter_(1, best, 1.0)
        keys = by_group.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).view_as(keys)
    ids = torch.topk(keys, k, -1).indices
    weights = scores.gather(1, ids)
    return ids, weights / weights.sum(-1, keepdim=True) * scale, scores


def models():
    yield "mixtral", 8, 2, lambda x, b: softmax_top_k(x, 2, True)
    yield "qwen3", 128, 8, lambda x, b: softmax_top_k(x, 8, True)
    yield "plain_256", 256, 8, lambda x, b: softmax_top_k(x, 8, False)
    yield "deepseek_v3", 256, 8, lambda x, b: sigmoid_top_k(x, b, 8, 2.5, 8, 4)
    yield "kimi_k2", 384, 8, lambda x, b: sigmoid_top_k(x, b, 8, 2.827)


def with_statistics(route, experts):
    """ids, weights, and what the Switch loss reads: counts and mean scores."""

    def run(x, b):
        ids, weights, scores = route(x, b)
        counts = torch.zeros(experts, dtype=torch.int64, device=x.device)
        counts = counts.scatter_add(0, ids.flatten(), torch.ones_like(ids.flatten()))
        return ids, weights, counts, (scores / scores.sum(-1, keepdim=True)).sum(0)

    return run


def microseconds(work, times):
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    how = "graph"
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(times):
                work()
        launch = graph.replay
    except RuntimeError:
        torch.cuda.synchronize()
        how = "launches"

        def launch():
            for _ in range(times):
                work()

    took = []
    for run in range(11):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        launch()
        end.record()
        end.synchronize()
        if run >= 2:
            took.append(begin.elapsed_time(end))
    return sorted(took)[len(took) // 2] * 1e3 / times, how


def main():
    tokens = [int(t) for t in sys.argv[1:]] or [1, 64, 1024, 4096, 16384, 65536]
    rows = []
    for name, experts, top_k, route in models():
        compiled = torch.compile(with_statistics(route, experts), dynamic=False)
        for count in tokens:
            x = torch.randn(count, experts, device="cuda").to(torch.bfloat16)
            bias = torch.zeros(experts, device="cuda")
            for form, run in (("eager", with_statistics(route, experts)), ("compiled", compiled)):
                try:
                    us, how = microseconds(lambda: run(x, bias), 20 if count <= 4096 else 5)
                except Exception as error:  # a compiler that is not there is no reason to lose the rest
                    print(f"gpu_torch.py: {name}, T = {count}, {form}: {error}", file=sys.stderr)
                    continue
                rows.append({"op": "route", "model": name, "T": count, "E": experts, "K": top_k, "form": form, "how": how,
                             "us": round(us, 3)})
    print(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1))


main()
