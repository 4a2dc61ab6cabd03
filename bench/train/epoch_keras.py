# The network of the benchmark in Keras, at its best: argv[1] is the folder with MNIST's files, argv[2] the variant
# (data: numpy or tfdata; jit: yes or no; steps per execution), as "tfdata,no,32", argv[3] the threads. Each line on
# standard input starts an epoch; each epoch answers with a line of JSON. One fit runs them all.
import gzip
import json
import os
import resource
import sys
import time

threads = int(sys.argv[3])
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(threads)


def read(name, skip):
    for end in ("", ".gz"):
        path = os.path.join(sys.argv[1], name + end)
        if os.path.exists(path):
            return np.frombuffer((gzip.open if end else open)(path, "rb").read(), "u1")[skip:]
    sys.exit(f"{name} is not in {sys.argv[1]}")


def part(name):
    x = read(f"{name}-images-idx3-ubyte", 16).reshape(-1, 784).astype("float32") / 255
    return x, np.eye(10, dtype="float32")[read(f"{name}-labels-idx1-ubyte", 8)]


(x, y), (vx, vy) = part("train"), part("t10k")
data, jit, steps = sys.argv[2].split(",")
keras.utils.set_random_seed(1)
L = keras.layers
m = keras.Sequential([
    keras.Input((784,)), L.Dense(512, activation="relu"), L.Dropout(0.2), L.Dense(512, activation="relu"), L.Dropout(0.2),
    L.Dense(10, activation="softmax"),
])
m.compile("adam", "categorical_crossentropy", metrics=["accuracy"], jit_compile=jit == "yes", steps_per_execution=int(steps))


def cpu():
    r = resource.getrusage(resource.RUSAGE_SELF)
    return r.ru_utime + r.ru_stime


class Turns(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if not sys.stdin.readline():
            os._exit(0)
        self.at = time.monotonic(), cpu()

    def on_epoch_end(self, epoch, logs=None):
        wall, used = time.monotonic() - self.at[0], cpu() - self.at[1]
        print(json.dumps({"wall": wall, "cpu": used, "accuracy": logs["val_accuracy"]}), flush=True)


args = {"epochs": 1000000, "verbose": 0, "callbacks": [Turns()]}
if data == "numpy":
    m.fit(x, y, batch_size=128, validation_data=(vx, vy), validation_batch_size=128, **args)
else:
    train = tf.data.Dataset.from_tensor_slices((x, y)).cache().shuffle(len(x)).batch(128).prefetch(2)
    m.fit(train, validation_data=tf.data.Dataset.from_tensor_slices((vx, vy)).batch(128).cache(), **args)
