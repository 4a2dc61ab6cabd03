"""Answers with ONNX Runtime in Python, for the tests to compare with.

A line of standard input is {"model": path, "inputs": {name: {"type", "shape", "data" in base64 | "strings"}}}; the answer
is a line with the outputs in their order, in the same form."""
import base64
import json
import sys

import numpy as np
import onnxruntime

sessions = {}


def session(path):
    if path not in sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        sessions[path] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return sessions[path]


def decode(t):
    if t["type"] == "bytes":
        return np.array(t["strings"], dtype=object).reshape(t["shape"])
    return np.frombuffer(base64.b64decode(t["data"]), dtype=t["type"]).reshape(t["shape"])


def encode(a):
    a = np.asarray(a)
    if a.dtype == object:
        return {"type": "bytes", "shape": a.shape, "strings": a.ravel().tolist()}
    return {"type": a.dtype.name, "shape": a.shape, "data": base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()}


for line in sys.stdin:
    ask = json.loads(line)
    out = session(ask["model"]).run(None, {name: decode(t) for name, t in ask["inputs"].items()})
    print(json.dumps([encode(o) for o in out]), flush=True)
