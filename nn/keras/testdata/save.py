# Writes models of all kinds to folder argv[1] with Keras, and prints what they answer to the rows of argv[2] (JSON) and
# their weights after one more step.
import json
import os
import sys

import keras
import numpy as np
from keras import layers as L
from keras import optimizers as O

folder, x = sys.argv[1], np.array(json.loads(sys.argv[2]), "f4").reshape(8, 2, 3)
keras.utils.set_random_seed(5)
out = {}


def save(name, model, loss=None):
    y = model.predict(x, verbose=0)
    n = y.shape[1]
    entry = {"Outputs": y.reshape(8, -1).tolist()}
    target = None
    if loss:
        sparse = "sparse" in (loss if isinstance(loss, str) else loss.name)
        target = np.arange(8) % n if sparse else np.eye(n, dtype="f4")[np.arange(8) % n]
        model.fit(x, target, batch_size=8, epochs=2, shuffle=False, verbose=0)
        entry["Outputs"] = model.predict(x, verbose=0).tolist()
        entry["Loss"] = loss if isinstance(loss, str) else loss.name
        entry["Iterations"] = int(model.optimizer.iterations)
    for ext in (".keras", ".h5"):  # in this order: saving as .h5 takes the optimizer out of what .keras would save
        model.save(os.path.join(folder, name + ext))
        out[name + ext] = entry
    if loss:
        model.fit(x, target, batch_size=8, epochs=1, shuffle=False, verbose=0)
        entry["After"] = [float(v) for w in model.trainable_weights for v in np.asarray(w).ravel()]


def chain(kind, *layers):
    if kind == "sequential":
        return keras.Sequential([keras.Input((2, 3)), *layers])
    i = o = keras.Input((2, 3))
    for layer in layers:
        o = layer(o)
    return keras.Model(i, o)


optimizers = {
    "sgd": lambda: O.SGD(0.1), "momentum": lambda: O.SGD(0.1, momentum=0.9), "nesterov": lambda: O.SGD(0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda: O.RMSprop(0.01), "rmsprop-momentum": lambda: O.RMSprop(0.01, momentum=0.4),
    "rmsprop-centered": lambda: O.RMSprop(0.01, centered=True), "rmsprop-full": lambda: O.RMSprop(0.01, 0.8, momentum=0.4, centered=True),
    "adam": lambda: O.Adam(0.01), "adam-other": lambda: O.Adam(0.02, 0.8, 0.95, 1e-4),
}
for kind in ("sequential", "functional"):
    for name, make in optimizers.items():
        m = chain(kind, L.Flatten(), L.Dense(5, activation="tanh"), L.Dropout(0.0), L.Dense(4, activation="softmax"))
        m.compile(make(), "categorical_crossentropy", metrics=["accuracy"])
        save(f"{kind}-{name}", m, "categorical_crossentropy")
K = keras.losses
for loss, last in (
    ("mean_squared_error", None), ("binary_crossentropy", "sigmoid"), ("sparse_categorical_crossentropy", "softmax"),
    (K.BinaryCrossentropy(from_logits=True), None), (K.CategoricalCrossentropy(from_logits=True), None),
    (K.SparseCategoricalCrossentropy(from_logits=True), None), (K.CategoricalCrossentropy(), "softmax"),
):
    m = chain("sequential", L.Flatten(), L.Dense(3, activation=last))
    m.compile("adam", loss)
    save(f"loss-{len(out)}", m, loss)
names = [n for n in keras.src.activations.ALL_OBJECTS_DICT if n not in ("threshold", "glu")]
for name in names:
    save(f"activation-{name}", chain("sequential", L.Dense(5, activation=name), L.Activation(name), L.Flatten()))
adapted = L.Normalization()
adapted.adapt(x)
whole = L.Normalization(axis=None, mean=0.3, variance=2.0)
for i, layers in enumerate([
    [L.Dense(4), L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(2)],
    [L.BatchNormalization(scale=False), L.BatchNormalization(center=False, epsilon=1e-5), L.Flatten()],
    [L.Dense(4, use_bias=False), L.LayerNormalization(), L.LeakyReLU(negative_slope=0.2), L.Flatten()],
    [L.LayerNormalization(scale=False), L.LayerNormalization(center=False, epsilon=1e-5), L.ELU(), L.Flatten()],
    [L.ReLU(max_value=6), L.Softmax(), L.Flatten()],
    [L.Rescaling(1 / 255, offset=0.5), L.Flatten(), L.Dropout(0.3), L.Dense(3)],
    [adapted, L.Flatten()], [whole, L.Flatten()],
    [L.Normalization(mean=[0.1, 0.2, 0.3], variance=[1, 2, 3]), L.Flatten()],
    [L.LeakyReLU(), L.Flatten()], [L.LeakyReLU(negative_slope=0.01), L.Flatten()], [L.ELU(alpha=0.5), L.Flatten()],
    [L.ReLU(max_value=2, negative_slope=0.1, threshold=0.5), L.Flatten()], [L.Softmax(axis=2), L.Flatten(), L.Softmax(axis=1)],
]):
    for kind in ("sequential", "functional"):
        save(f"layers-{kind}-{i}", chain(kind, *layers))
m = keras.Sequential([keras.Input((2, 3)), *[L.Dense(3, name="layer_with_a_rather_long_name_" + "x" * 200 + str(i)) for i in range(90)], L.Flatten()])
save("long", m)
save("float64", keras.Sequential([keras.Input((2, 3)), L.Flatten(), L.Dense(2, dtype="float64")]))
print(json.dumps(out))
