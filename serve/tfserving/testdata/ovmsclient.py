# Asks a running server with ovmsclient, by gRPC and REST. Arguments: address of REST, address of gRPC.
import sys

import numpy as np
from ovmsclient import InvalidInputError, ModelNotFoundError, make_grpc_client, make_http_client, make_tensor_proto

rest, rpc = sys.argv[1:3]
x = np.array([[1, 2, 3], [4, 5, 6.5]], np.float32)
for what, client in (("grpc", make_grpc_client(rpc)), ("http", make_http_client(rest))):
    assert (client.predict({"x": x}, "three") == x).all(), what
    assert (client.predict({"x": make_tensor_proto(x) if what == "grpc" else x.tolist()}, "three", 1) == x).all(), what
    words = client.predict({"word": [b"a", b"bc"]}, "word")
    want = [b"a", b"bc"] if what == "grpc" else [{"b64": "YQ=="}, {"b64": "YmM="}]
    assert np.asarray(words).tolist() == want, (what, words)
    meta = client.get_model_metadata("three")
    if what == "http":  # it reads OpenVINO's names of fields and gives TensorFlow Serving's document as it is
        signature = meta["metadata"]["signature_def"]["signature_def"]["serving_default"]
        meta = {"model_version": int(meta["model_spec"]["version"]), "inputs": {
            k: {"dtype": v["dtype"], "shape": [int(d["size"]) for d in v["tensor_shape"]["dim"]]} for k, v in signature["inputs"].items()}}
    assert meta["model_version"] == 1 and meta["inputs"]["x"]["dtype"] == "DT_FLOAT" and meta["inputs"]["x"]["shape"] == [-1, 3], (what, meta)
    assert client.get_model_status("three")[1]["state"] == "AVAILABLE", what
    for error, call in ((ModelNotFoundError, lambda: client.predict({"x": x}, "nobody")), (InvalidInputError, lambda: client.predict({"x": x[:, :2]}, "three"))):
        try:
            call()
            raise AssertionError(f"{what}: {error} was expected")
        except error:
            pass
print("ok")
