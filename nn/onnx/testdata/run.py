"""Holds ONNX files against what the network itself answered: checks the file, runs it by ONNX Runtime, compares."""

import json
import sys

import numpy as np
import onnx
import onnxruntime

worst = {}
for case in json.load(open(sys.argv[1])):
    model = onnx.load(case["file"])
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(case["file"], providers=["CPUExecutionProvider"])
    (given,), (gives,) = session.get_inputs(), session.get_outputs()
    assert [given.name, gives.name] == case["names"], (given.name, gives.name)
    assert given.shape == ["batch", *case["in"]] and gives.shape == ["batch", *case["out"]], (given.shape, gives.shape)
    x = np.array(case["x"], np.float32).reshape(-1, *case["in"])
    (y,) = session.run(None, {given.name: x})
    want = np.array(case["y"], np.float32).reshape(-1, *case["out"])
    worst[case["file"].split("/")[-1]] = float(np.max(np.abs(y - want) / np.maximum(1, np.abs(want))))
    for row in range(2):  # a batch is rows that are independent
        (one,) = session.run(None, {given.name: x[row : row + 1]})
        np.testing.assert_allclose(one[0], y[row], rtol=1e-4, atol=1e-5)
json.dump(worst, sys.stdout)
