"""Holds SavedModels against what the network itself answered: loads them by TensorFlow, asks serving_default, compares."""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np
import tensorflow as tf

worst = {}
for case in json.load(open(sys.argv[1])):
    loaded = tf.saved_model.load(case["file"])
    ask = loaded.signatures["serving_default"]
    given, gives = case["names"]
    x = np.array(case["x"], np.float32).reshape(-1, *case["in"])
    (answer,) = ask(**{given: tf.constant(x)}).items()
    assert answer[0] == gives, (answer[0], gives)
    y = answer[1].numpy()
    want = np.array(case["y"], np.float32).reshape(-1, *case["out"])
    assert y.shape == want.shape, (case["file"], y.shape, want.shape)
    worst[case["file"].split("/")[-1]] = float(np.max(np.abs(y - want) / np.maximum(1, np.abs(want))))
json.dump(worst, sys.stdout)
