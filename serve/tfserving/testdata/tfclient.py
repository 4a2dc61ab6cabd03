# Asks a running server with TensorFlow's own clients: tensorflow-serving-api by gRPC, JSON by REST.
# Arguments: address of REST, address of gRPC, file of reference outputs of the model "c".
import json
import sys
import urllib.error
import urllib.request

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (classification_pb2, get_model_metadata_pb2, get_model_status_pb2, inference_pb2,
                                     model_management_pb2, model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc,
                                     regression_pb2)

rest, rpc, reference = sys.argv[1:4]
channel = grpc.insecure_channel(rpc, options=[("grpc.default_authority", "localhost")])
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
models = model_service_pb2_grpc.ModelServiceStub(channel)


def predict(model, inputs, version=None, label=None, outputs=()):
    r = predict_pb2.PredictRequest()
    r.model_spec.name = model
    r.model_spec.signature_name = "serving_default"
    if version is not None:
        r.model_spec.version.value = version
    if label is not None:
        r.model_spec.version_label = label
    for name, value in inputs.items():
        r.inputs[name].CopyFrom(value if isinstance(value, tf.compat.v1.make_tensor_proto(0).__class__) else tf.make_tensor_proto(value))
    r.output_filter.extend(outputs)
    return stub.Predict(r, 10)


def post(path, body):
    req = urllib.request.Request(f"http://{rest}/v1/models/{path}", json.dumps(body).encode())
    with urllib.request.urlopen(req) as f:
        return json.load(f)


def get(path):
    with urllib.request.urlopen(f"http://{rest}/v1/models/{path}") as f:
        return json.load(f)


def refused(code, call):
    try:
        call()
    except grpc.RpcError as e:
        assert e.code() == code, (e.code(), e.details())
        return
    raise AssertionError(f"{code} was expected")


# Every type, by the arrays that TensorFlow writes and reads.
values = {
    "bool": np.array([[True, False], [False, True]]), "uint8": np.array([[0, 255], [1, 2]], np.uint8),
    "uint16": np.array([[0, 65535], [1, 2]], np.uint16), "uint32": np.array([[0, 2**32 - 1], [1, 2]], np.uint32),
    "uint64": np.array([[0, 2**64 - 1], [1, 2]], np.uint64), "int8": np.array([[-128, 127], [1, 2]], np.int8),
    "int16": np.array([[-2**15, 2**15 - 1], [1, 2]], np.int16), "int32": np.array([[-2**31, 2**31 - 1], [1, 2]], np.int32),
    "int64": np.array([[-2**63, 2**63 - 1], [1, 2]], np.int64), "float16": np.array([[0.5, -65504], [1, 2]], np.float16),
    "bfloat16": np.array([[0.5, -256], [1, 2]], tf.bfloat16.as_numpy_dtype), "float32": np.array([[0.1, -1e-20], [np.inf, 2]], np.float32),
    "float64": np.array([[0.1, -1e-200], [1, 2]], np.float64), "bytes": np.array([[b"a", b"\xff\x00"], [b"", b"b"]], object),
}
out = predict("all", values).outputs
assert len(out) == len(values), out.keys()
for name, want in values.items():
    got = tf.make_ndarray(out[name + "_out"])
    assert got.dtype == want.dtype and got.shape == want.shape and (got == want).all(), (name, got, want)

# A constant, which TensorFlow sends as one value.
got = tf.make_ndarray(predict("three", {"x": tf.make_tensor_proto(1.5, shape=[4, 3])}).outputs["y"])
assert got.shape == (4, 3) and (got == 1.5).all(), got
assert list(predict("three", {"x": np.ones((1, 3), np.float32)}).outputs["y"].float_val) == [1, 1, 1]

# A network, as Keras computed it.
with open(reference) as f:
    ref = json.load(f)
x, y = np.array(ref["inputs"], np.float32), np.array(ref["outputs"], np.float32)
meta = stub.GetModelMetadata(get_model_metadata_pb2.GetModelMetadataRequest(
    model_spec={"name": "c"}, metadata_field=["signature_def"]), 10)
signatures = get_model_metadata_pb2.SignatureDefMap()
assert meta.metadata["signature_def"].Unpack(signatures)
signature = signatures.signature_def["serving_default"]
(name, info), = signature.inputs.items()
assert info.dtype == tf.float32.as_datatype_enum and [d.size for d in info.tensor_shape.dim] == [-1] + list(x.shape[1:]), info
for version, label in ((None, None), (1, None), (None, "prod")):
    answer = predict("c", {name: x}, version, label)
    (probabilities,) = answer.outputs.values()
    assert answer.model_spec.version.value == 1
    np.testing.assert_allclose(tf.make_ndarray(probabilities), y, atol=1e-5)
np.testing.assert_allclose(post("c:predict", {"instances": x.tolist()})["predictions"], y, atol=1e-5)
np.testing.assert_allclose(post("c:predict", {"inputs": {name: x.tolist()}})["outputs"], y, atol=1e-5)

# Examples.
example = lambda **f: tf.train.Example(features=tf.train.Features(feature=f))
floats = lambda *v: tf.train.Feature(float_list=tf.train.FloatList(value=v))
texts = lambda *v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v))
r = classification_pb2.ClassificationRequest(model_spec={"name": "scores"})
r.input.example_list_with_context.examples.extend([example(a=floats(0.25, 0.75)), example(a=floats(1, 0), b=texts(b"no", b"yes"))])
r.input.example_list_with_context.context.CopyFrom(example(b=texts(b"cat", b"dog")))
rows = stub.Classify(r, 10).result.classifications
assert [[(c.label, c.score) for c in row.classes] for row in rows] == [[("cat", 0.25), ("dog", 0.75)], [("no", 1), ("yes", 0)]], rows
r = regression_pb2.RegressionRequest(model_spec={"name": "value"})
r.input.example_list.examples.extend([example(x=floats(2.5)), example(x=floats(-1))])
assert [v.value for v in stub.Regress(r, 10).result.regressions] == [2.5, -1]
r = inference_pb2.MultiInferenceRequest()
r.tasks.add(model_spec={"name": "value"}, method_name="tensorflow/serving/regress")
r.tasks.add(model_spec={"name": "value"}, method_name="tensorflow/serving/classify")
r.input.example_list.examples.append(example(x=floats(2.5)))
results = stub.MultiInference(r, 10).results
assert results[0].regression_result.regressions[0].value == 2.5 and results[1].classification_result.classifications[0].classes[0].score == 2.5
assert post("value:regress", {"examples": [{"x": 2.5}, {"x": [-1.0]}]}) == {"results": [2.5, -1]}
assert post("word:predict", {"instances": [{"b64": "YQ=="}, "b"]}) == {"predictions": [{"b64": "YQ=="}, {"b64": "Yg=="}]}

# State, and what is refused.
status = models.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "c"}), 10)
assert [(v.version, v.state) for v in status.model_version_status] == [(1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)]
parsed = json_format.ParseDict(get("c/versions/1"), get_model_status_pb2.GetModelStatusResponse())
assert parsed == status, parsed
reply = models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(config={"model_config_list": {"config": [{"name": "c"}]}}), 10)
assert reply.status.error_code == 0, reply
refused(grpc.StatusCode.NOT_FOUND, lambda: predict("nobody", {"x": 1.0}))
refused(grpc.StatusCode.NOT_FOUND, lambda: predict("three", {"x": np.ones((1, 3), np.float32)}, version=9))
refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: predict("three", {"z": np.ones((1, 3), np.float32)}))
refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: predict("three", {"x": np.ones((1, 4), np.float32)}))
refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: predict("three", {"x": np.ones((1, 3))}))
refused(grpc.StatusCode.INVALID_ARGUMENT, lambda: predict("three", {"x": np.ones((1, 3), np.float32)}, outputs=["z"]))
try:
    post("three:predict", {"instances": [[1, 2]]})
    raise AssertionError("it was not refused")
except urllib.error.HTTPError as e:
    assert e.code == 400 and "error" in json.load(e)
print("ok")
