"""Asks a server that speaks the Open Inference Protocol with KServe's own client.

python kserve.py HTTP_ADDRESS GRPC_ADDRESS REFERENCE.json
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

http_address, grpc_address, reference = sys.argv[1:]
base = "http://" + http_address
ref = json.load(open(reference))
X = np.array(ref["inputs"], np.float32)
Y = np.array(ref["outputs"], np.float32)


def near(response, name):
    got = next(o for o in response.outputs if o.name == name).as_numpy()
    assert np.abs(got.reshape(Y.shape) - Y).max() < 1e-5


async def main():
    rest = InferenceRESTClient(RESTConfig(protocol="v2", retries=1))
    assert await rest.is_server_live(base) and await rest.is_server_ready(base)
    assert await rest.is_model_ready(base, "digits")
    x, y = sys.stdin.read().split()
    for binary in (True, False):
        i = InferInput(x, list(X.shape), "FP32")
        i.set_data_from_numpy(X, binary_data=binary)
        outputs = [RequestedOutput(y, {"binary_data": binary})]
        near(await rest.infer(base, InferRequest("digits", [i], request_id="r1", request_outputs=outputs), model_name="digits"), y)

    i = InferInput(x, list(X.shape), "FP32")
    i.set_data_from_numpy(X, binary_data=True)
    async with InferenceGRPCClient(grpc_address) as grpc:
        assert await grpc.is_server_live() and await grpc.is_server_ready() and await grpc.is_model_ready("digits")
        near(await grpc.infer(InferRequest("digits", [i], request_id="g1")), y)
        i.set_data_from_numpy(X, binary_data=False)
        near(await grpc.infer(InferRequest("digits", [i])), y)
        words = InferInput("in0", [1, 2], "BYTES")
        words.set_data_from_numpy(np.array([[b"a", "轴".encode()]], dtype=np.object_), binary_data=True)
        r = await grpc.infer(InferRequest("text", [words]))
        assert list(r.outputs[0].as_numpy().ravel()) == [b"a", "轴".encode()], r
    await rest.close()


asyncio.run(main())
print("ok")
