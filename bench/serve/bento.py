# The network of the benchmark as a service of BentoML: the same weights, in numpy.
import os

import bentoml
import numpy as np

BATCH = int(os.environ["BENCH_BATCH"])


@bentoml.service(workers=int(os.environ["BENCH_WORKERS"]), traffic={"timeout": 60})
class MLP:
    def __init__(self) -> None:
        w = np.load(os.environ["BENCH_WEIGHTS"])
        self.layers = [(w[f"w{i}"], w[f"b{i}"]) for i in range(3)]

    def network(self, x):
        x = np.asarray(x, dtype=np.float32)
        for i, (w, b) in enumerate(self.layers):
            x = x @ w + b
            if i < 2:
                np.maximum(x, 0, out=x)
        x = np.exp(x - x.max(axis=1, keepdims=True))
        return x / x.sum(axis=1, keepdims=True)

    if BATCH:
        @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=int(os.environ["BENCH_LATENCY"]))
        def predict(self, x: np.ndarray) -> np.ndarray:
            return self.network(x)
    else:
        @bentoml.api
        def predict(self, x: np.ndarray) -> np.ndarray:
            return self.network(x)
