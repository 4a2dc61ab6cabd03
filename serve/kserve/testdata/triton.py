"""Asks a server that speaks the Open Inference Protocol with Triton's own client, in every way that client has.

python triton.py HTTP_ADDRESS GRPC_ADDRESS REFERENCE.json
"""

import json
import queue
import sys
import threading

import numpy as np
import tritonclient.grpc as tg
import tritonclient.http as th
from tritonclient.utils import InferenceServerException

http_address, grpc_address, reference = sys.argv[1:]
ref = json.load(open(reference))
X = np.array(ref["inputs"], np.float32)
Y = np.array(ref["outputs"], np.float32)

http = th.InferenceServerClient(http_address, concurrency=4)
grpc = tg.InferenceServerClient(grpc_address)


def near(got, want=Y):
    assert got.dtype == np.float32 and got.shape == want.shape, (got.dtype, got.shape)
    assert np.abs(got - want).max() < 1e-5, np.abs(got - want).max()


def refused(f, *words):
    try:
        f()
    except InferenceServerException as e:
        for w in words:
            assert w in e.message(), e.message()
        return
    raise AssertionError("was not refused")


def described(c, is_grpc):
    """Health, metadata, configuration, repository, statistics."""
    assert c.is_server_live() and c.is_server_ready()
    assert c.is_model_ready("digits") and c.is_model_ready("digits", "1") and not c.is_model_ready("nope")
    as_json = {"as_json": True} if is_grpc else {}
    server = c.get_server_metadata(**as_json)
    assert server["name"] == "lineshaft" and "binary_tensor_data" in server["extensions"]
    m = c.get_model_metadata("digits", **as_json)
    assert m["inputs"][0]["datatype"] == "FP32" and [int(d) for d in m["inputs"][0]["shape"]][0] == -1, m
    config = c.get_model_config("digits", **as_json)
    config = config["config"] if is_grpc else config
    assert config["max_batch_size"] > 0 and config["input"][0]["data_type"] == "TYPE_FP32", config
    before = c.get_model_repository_index(**as_json)
    before = before.get("models", []) if is_grpc else before
    assert {"digits", "text", "spare"} <= {v["name"] for v in before}, before
    c.load_model("spare")
    assert c.is_model_ready("spare")
    c.unload_model("spare")
    assert not c.is_model_ready("spare")
    stats = c.get_inference_statistics("digits", **as_json)["model_stats"][0]
    assert stats["name"] == "digits" and int(stats["inference_count"]) > 0, stats
    refused(lambda: c.get_model_metadata("nope"), "nope")
    refused(lambda: c.load_model("nope"), "nope")


def names(c, is_grpc, model="digits"):
    m = c.get_model_metadata(model, **({"as_json": True} if is_grpc else {}))
    return m["inputs"][0]["name"], m["outputs"][0]["name"]


x, y = names(http, False)

# HTTP: binary and JSON, in and out.
for binary_in in (True, False):
    i = th.InferInput(x, list(X.shape), "FP32")
    i.set_data_from_numpy(X, binary_data=binary_in)
    near(http.infer("digits", [i]).as_numpy(y))  # no outputs named: all, binary
    for binary_out in (True, False):
        r = http.infer("digits", [i], outputs=[th.InferRequestedOutput(y, binary_data=binary_out)], request_id="a7", model_version="1", priority=1, timeout=5_000_000)
        near(r.as_numpy(y))
        assert r.get_response()["id"] == "a7" and r.get_response()["model_version"] == "1"
    for algorithm in ("gzip", "deflate"):
        near(http.infer("digits", [i], request_compression_algorithm=algorithm, response_compression_algorithm=algorithm).as_numpy(y))
    top = http.infer("digits", [i], outputs=[th.InferRequestedOutput(y, class_count=2)]).as_numpy(y)
    assert top.shape == (len(X), 2) and [int(v.split(b":")[1]) for v in top[:, 0]] == list(Y.argmax(1)), top
    pending = [http.async_infer("digits", [i]) for _ in range(20)]
    for p in pending:
        near(p.get_result().as_numpy(y))

# gRPC: raw, asynchronous, in a stream, compressed.
i = tg.InferInput(x, list(X.shape), "FP32")
i.set_data_from_numpy(X)
near(grpc.infer("digits", [i]).as_numpy(y))
r = grpc.infer("digits", [i], outputs=[tg.InferRequestedOutput(y)], request_id="b8", model_version="1", priority=2, timeout=5_000_000, compression_algorithm="gzip")
near(r.as_numpy(y))
assert r.get_response().id == "b8"
top = grpc.infer("digits", [i], outputs=[tg.InferRequestedOutput(y, class_count=2)]).as_numpy(y)
assert [int(v.split(b":")[1]) for v in top[:, 0]] == list(Y.argmax(1)), top

done = queue.Queue()
for _ in range(20):
    grpc.async_infer("digits", [i], callback=lambda result, error: done.put((result, error)))
for _ in range(20):
    result, error = done.get(timeout=30)
    assert error is None, error
    near(result.as_numpy(y))

answers = queue.Queue()
grpc.start_stream(callback=lambda result, error: answers.put((result, error)))
for n in range(30):
    one = tg.InferInput(x, [1, *X.shape[1:]], "FP32")
    one.set_data_from_numpy(X[n % len(X) : n % len(X) + 1])
    grpc.async_stream_infer("nope" if n == 7 else "digits", [one], request_id=str(n), enable_empty_final_response=True)
for n in range(30):
    result, error = answers.get(timeout=30)
    if n == 7:
        assert "nope" in error.message(), error
        continue
    assert error is None, error
    assert result.get_response().id == str(n) and result.get_response().parameters["triton_final_response"].bool_param
    near(result.as_numpy(y), Y[n % len(X) : n % len(X) + 1])
grpc.stop_stream()

# The lists of each type, which Triton's client no longer fills itself.
from tritonclient.grpc import service_pb2  # noqa: E402

q = service_pb2.ModelInferRequest(model_name="digits")
t = q.inputs.add(name=x, datatype="FP32", shape=X.shape)
t.contents.fp32_contents.extend(X.ravel().tolist())
a = grpc._client_stub.ModelInfer(q)
assert not a.raw_output_contents
near(np.array(a.outputs[0].contents.fp32_contents, np.float32).reshape(Y.shape))

# Strings.
words = np.array([["línea".encode(), b""], [b"\x00\x01", "轴".encode()]], dtype=np.object_)
for m, c in ((th, http), (tg, grpc)):
    xs, ys = names(c, c is grpc, "text")
    i = m.InferInput(xs, [2, 2], "BYTES")
    i.set_data_from_numpy(words)
    assert (c.infer("text", [i]).as_numpy(ys) == words).all()
i = th.InferInput(xs, [1, 2], "BYTES")
i.set_data_from_numpy(np.array([["a\"\\\n", "轴"]], dtype=np.object_), binary_data=False)
r = http.infer("text", [i], outputs=[th.InferRequestedOutput(ys, binary_data=False)])
assert r.get_response()["outputs"][0]["data"] == ["a\"\\\n", "轴"], r.get_response()

# Every numeric type, by every way.
types = {
    "BOOL": np.array([[True, False]]), "UINT8": np.array([[0, 255]], np.uint8), "UINT16": np.array([[1, 65535]], np.uint16),
    "UINT32": np.array([[1, 2**32 - 1]], np.uint32), "UINT64": np.array([[1, 2**64 - 1]], np.uint64), "INT8": np.array([[-128, 127]], np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], np.int16), "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], np.int64), "FP16": np.array([[0.5, np.inf]], np.float16), "FP32": np.array([[0.1, np.nan]], np.float32),
    "FP64": np.array([[0.1, -1e300]], np.float64),
}
for datatype, value in types.items():
    for m, c, ways in ((th, http, ({"binary_data": True}, {"binary_data": False})), (tg, grpc, ({},))):
        for way in ways:
            if datatype == "FP16" and not way.get("binary_data", True):
                continue  # the client refuses to
            i = m.InferInput("in0", list(value.shape), datatype)
            i.set_data_from_numpy(value, **way)
            got = c.infer("echo" + datatype.lower(), [i], outputs=[m.InferRequestedOutput("out0", **way)]).as_numpy("out0")
            assert got.dtype == value.dtype and np.array_equal(got, value, equal_nan=datatype.startswith("FP")), (datatype, way, got)

# What is wrong is refused in words that the client shows.
i = th.InferInput(x, [1, 3], "FP32")
i.set_data_from_numpy(np.zeros((1, 3), np.float32))
refused(lambda: http.infer("digits", [i]), "shape")
i = tg.InferInput(x, [1, 3], "INT32")
i.set_data_from_numpy(np.zeros((1, 3), np.int32))
refused(lambda: grpc.infer("digits", [i]), "FP32", "INT32")

described(http, False)
described(grpc, True)

# Many at once from many threads.
def many(n):
    c = th.InferenceServerClient(http_address)
    i = th.InferInput(x, list(X.shape), "FP32")
    i.set_data_from_numpy(X)
    for _ in range(20):
        near(c.infer("digits", [i]).as_numpy(y))
    finished.append(n)


finished = []
threads = [threading.Thread(target=many, args=(n,)) for n in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert len(finished) == 4
print("ok")
