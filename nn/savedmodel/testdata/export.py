"""Exports networks from Keras, with what they answer: cases.json in the folder that is named, a folder for each."""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
cases = {
    "mnist": [layers.Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(32, activation="relu"), layers.Dropout(0.2), layers.Dense(10, activation="softmax")],
    "bare": [layers.Input((5,)), layers.Dense(3, use_bias=False)],
    "normal": [layers.Input((6,)), layers.Normalization(mean=[1.0, 2, 3, 4, 5, 6], variance=[1.0, 2, 3, 4, 5, 6]), layers.Dense(4, activation="tanh"), layers.BatchNormalization(), layers.Dense(2)],
    "elu": [layers.Input((6,)), layers.Dense(4, activation="elu"), layers.Dense(4, activation="selu"), layers.Dense(4, activation="sigmoid")],
    "silu": [layers.Input((6,)), layers.Dense(4, activation="silu"), layers.Dense(4, activation="softplus"), layers.Dense(1)],
    "relu6": [layers.Input((6,)), layers.Dense(4, activation="relu6"), layers.LeakyReLU(0.2), layers.Dense(4, activation="log_softmax")],
    "other": [layers.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)],
}
out = {}
for name, chain in cases.items():
    model = keras.Sequential(chain)
    for w in model.weights:
        value = np.random.normal(size=w.shape)
        w.assign(value**2 + 0.1 if "variance" in w.path else value)
    model.export(os.path.join(sys.argv[1], name), verbose=False)
    x = np.random.normal(size=(7, *model.input_shape[1:])).astype(np.float32)
    out[name] = {"x": x.flatten().tolist(), "y": np.array(model(x)).flatten().tolist()}
json.dump(out, open(os.path.join(sys.argv[1], "cases.json"), "w"))
