"""Follows a signal through silero-vad's model with Triton's client, and through ONNX Runtime in this process.

python silero.py HTTP_ADDRESS GRPC_ADDRESS MODEL.onnx
"""

import sys

import numpy as np
import onnxruntime
import tritonclient.grpc as tg
import tritonclient.http as th

http_address, grpc_address, path = sys.argv[1:]
here = onnxruntime.InferenceSession(path)
rng = np.random.default_rng(1)


def ask(module, client, x, state, **way):
    inputs = []
    for name, value, datatype in (("input", x, "FP32"), ("state", state, "FP32"), ("sr", np.array(16000, np.int64), "INT64")):
        i = module.InferInput(name, list(value.shape), datatype)
        i.set_data_from_numpy(value, **way)
        inputs.append(i)
    r = client.infer("silero", inputs, outputs=[module.InferRequestedOutput(n, **way) for n in ("output", "stateN")])
    return r.as_numpy("output"), r.as_numpy("stateN")


for module, client, way in (
    (th, th.InferenceServerClient(http_address), {"binary_data": True}),
    (th, th.InferenceServerClient(http_address), {"binary_data": False}),
    (tg, tg.InferenceServerClient(grpc_address), {}),
):
    state = want_state = np.zeros((2, 1, 128), np.float32)
    for step in range(8):
        x = rng.standard_normal((1, 576)).astype(np.float32) / 4
        want, want_state = here.run(["output", "stateN"], {"input": x, "state": want_state, "sr": np.array(16000, np.int64)})
        got, state = ask(module, client, x, state, **way)
        assert got.shape == want.shape and state.shape == want_state.shape
        assert np.abs(got - want).max() < 1e-5 and np.abs(state - want_state).max() < 1e-4, (step, got, want)
print("ok")
