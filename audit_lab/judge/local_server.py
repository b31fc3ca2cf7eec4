"""The process that serves a GGUF file: llama.cpp's own server on loopback, until its standard input closes.

Run by its path, with its settings as one JSON object in the environment variable AUDIT_LAB_LOCAL_SERVER. It prints one
JSON line: `{"address": …}` or `{"error": …}`. A process of its own, so that native code that fails takes nothing with it,
and its memory is given back when it ends.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> int:
    """Serve until standard input closes; return the exit code."""
    chosen = json.loads(os.environ.pop("AUDIT_LAB_LOCAL_SERVER"))
    # llama.cpp writes its log to standard output: keep a way out for our one line, and send the rest to standard error.
    ours = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        import xllamacpp  # noqa: PLC0415 - an optional package, and only in this process
    except ImportError:
        ours.write(json.dumps({"error": "missing"}) + "\n")
        ours.flush()
        return 2
    params = xllamacpp.CommonParams()
    params.model.path = chosen["path"]
    params.n_ctx = chosen["context"] * chosen["slots"]
    params.n_parallel = chosen["slots"]
    params.cpuparams.n_threads = chosen["threads"]
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = [chosen["key"]]
    params.offline, params.ui, params.warmup = True, False, False
    params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
    try:
        server = xllamacpp.Server(params)
    except RuntimeError:
        ours.write(json.dumps({"error": "model"}) + "\n")
        ours.flush()
        return 1
    ours.write(json.dumps({"address": server.listening_address}) + "\n")
    ours.flush()
    sys.stdin.read()
    # Nothing is left to save: leave without waiting for answers that nobody will read.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
