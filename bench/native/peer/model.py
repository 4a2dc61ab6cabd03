"""Writes the network as ONNX, and quantised by ONNX Runtime's own tool: model.py DIR WIDTH,WIDTH,…

DIR holds w0.f32, b0.f32, …, as Keras has them; the last layer ends in softmax, the others in relu.
"""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

folder, widths = sys.argv[1], [int(w) for w in sys.argv[2].split(",")]
nodes, weights, x = [], [], "x"
for i in range(len(widths) - 1):
    w = np.fromfile(f"{folder}/w{i}.f32", np.float32).reshape(widths[i], widths[i + 1])
    b = np.fromfile(f"{folder}/b{i}.f32", np.float32)
    weights += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
    last = i == len(widths) - 2
    y = "y" if last else f"a{i}"
    nodes.append(helper.make_node("Gemm", [x, f"w{i}", f"b{i}"], [f"z{i}"]))
    nodes.append(helper.make_node("Softmax", [f"z{i}"], [y], axis=-1) if last else helper.make_node("Relu", [f"z{i}"], [y]))
    x = y
graph = helper.make_graph(
    nodes,
    "mnist",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", widths[0]])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", widths[-1]])],
    weights,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.checker.check_model(model)
onnx.save(model, f"{folder}/model.onnx")
quantize_dynamic(f"{folder}/model.onnx", f"{folder}/int8.onnx", per_channel=True, weight_type=QuantType.QInt8)
os.sync()
