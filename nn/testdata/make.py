# Makes keras.json: what Keras 3.15.1 (TensorFlow 2.21) computes for activations, losses and optimisers on small inputs.
#   python make.py > keras.json     with keras==3.15.1 tensorflow-cpu==2.21.0
import json
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
from keras import ops

rng = np.random.default_rng(7)


def plain(a):
    return [float(v) for v in np.asarray(a, "f4").ravel()]


# Activations: values and the gradient of sum(w*f(x)).
import tensorflow as tf

x = np.concatenate([np.linspace(-8, 8, 33), rng.normal(size=15) * 2, [-30, 30, -0.5, 0.5, 0, 1e-3]]).astype("f4")
x = x.reshape(9, 6)
w = rng.normal(size=x.shape).astype("f4")
activations = {}
names = [
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax",
    "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh", "tanh_shrink", "threshold",
    "gelu_tanh", "swish", "hard_swish",
]
for name in names:
    f = {
        "threshold": lambda v: keras.activations.threshold(v, 0, 0),
        "gelu_tanh": lambda v: keras.activations.gelu(v, approximate=True),
    }.get(name) or keras.activations.get(name)
    v = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = f(v)
        total = tf.reduce_sum(y * w[:, : y.shape[1]])
    activations[name] = {"y": plain(y), "dx": plain(tape.gradient(total, v))}

# Losses: one value a row (before the mean) and the gradient of the mean.
losses = []
p = rng.uniform(0.02, 0.98, size=(5, 4)).astype("f4")
soft = (p / p.sum(1, keepdims=True)).astype("f4")
edge = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 1], [0.25, 0.25, 0.25, 0.25]], "f4")
logits = (rng.normal(size=(5, 4)) * 4).astype("f4")
hot = np.eye(4, dtype="f4")[[0, 1, 2, 3, 1]]
bits = np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 0, 1]], "f4")
values = rng.normal(size=(5, 4)).astype("f4")
classes = np.array([[0], [1], [2], [3], [1]], "f4")
K = keras.losses
for name, make, target, outputs in [
    ("mean_squared_error", K.MeanSquaredError, values, logits),
    ("binary_crossentropy", K.BinaryCrossentropy, bits, p),
    ("binary_crossentropy", K.BinaryCrossentropy, bits, edge),
    ("binary_crossentropy", lambda **k: K.BinaryCrossentropy(from_logits=True, **k), bits, logits),
    ("categorical_crossentropy", K.CategoricalCrossentropy, hot, soft),
    ("categorical_crossentropy", K.CategoricalCrossentropy, hot, p),
    ("categorical_crossentropy", K.CategoricalCrossentropy, hot, edge),
    ("categorical_crossentropy", lambda **k: K.CategoricalCrossentropy(from_logits=True, **k), hot, logits),
    ("sparse_categorical_crossentropy", K.SparseCategoricalCrossentropy, classes, soft),
    ("sparse_categorical_crossentropy", K.SparseCategoricalCrossentropy, classes, edge),
    ("sparse_categorical_crossentropy", lambda **k: K.SparseCategoricalCrossentropy(from_logits=True, **k), classes, logits),
]:
    v = tf.Variable(outputs)
    with tf.GradientTape() as tape:
        mean = make()(target, v)
    losses.append({
        "name": name, "from_logits": bool(getattr(make(), "_fn_kwargs", {}).get("from_logits", False)),
        "target": plain(target), "outputs": plain(outputs),
        "rows": plain(make(reduction="none")(target, v)), "dy": plain(tape.gradient(mean, v)),
    })

# Optimisers: a variable after each of six steps along the same gradients.
optimizers = []
start = rng.normal(size=7).astype("f4")
gradients = [(rng.normal(size=7) * s).astype("f4") for s in (1, 0.1, 3, 1e-4, 1, 0)]
O = keras.optimizers
for config, make in [
    ({"type": "sgd"}, lambda: O.SGD()),
    ({"type": "sgd", "learning_rate": 0.1, "momentum": 0.9}, lambda: O.SGD(0.1, momentum=0.9)),
    ({"type": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True}, lambda: O.SGD(0.1, momentum=0.9, nesterov=True)),
    ({"type": "rmsprop"}, lambda: O.RMSprop()),
    ({"type": "rmsprop", "learning_rate": 0.01, "rho": 0.8, "momentum": 0.5}, lambda: O.RMSprop(0.01, rho=0.8, momentum=0.5)),
    ({"type": "rmsprop", "learning_rate": 0.01, "centered": True}, lambda: O.RMSprop(0.01, centered=True)),
    ({"type": "rmsprop", "learning_rate": 0.01, "momentum": 0.3, "centered": True}, lambda: O.RMSprop(0.01, momentum=0.3, centered=True)),
    ({"type": "adam"}, lambda: O.Adam()),
    ({"type": "adam", "learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}, lambda: O.Adam(0.02, 0.8, 0.95, 1e-4)),
]:
    o, v, steps = make(), keras.Variable(start), []
    for g in gradients:
        o.apply([ops.convert_to_tensor(g)], [v])
        steps.append(plain(v))
    optimizers.append({"config": config, "steps": steps})

print(json.dumps({
    "activations": {"x": plain(x), "w": plain(w), "columns": x.shape[1], "of": activations},
    "losses": losses,
    "optimizers": {"start": plain(start), "gradients": [plain(g) for g in gradients], "of": optimizers},
}, separators=(",", ":")))
