# The network of the benchmark as a runtime of MLServer: the same weights, in numpy.
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class MLP(MLModel):
    async def load(self) -> bool:
        w = np.load(self.settings.parameters.uri)
        self.layers = [(w[f"w{i}"], w[f"b{i}"]) for i in range(3)]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        for i, (w, b) in enumerate(self.layers):
            x = x @ w + b
            if i < 2:
                np.maximum(x, 0, out=x)
        x = np.exp(x - x.max(axis=1, keepdims=True))
        x /= x.sum(axis=1, keepdims=True)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", x)])
