"""The backend passes core's conformance suite, and a run makes a real model better."""

from copy import deepcopy

import numpy as np
import pytest
from finetuner_sklearn.backend import SklearnBackend
from finetuner_sklearn.chain import Chain, read
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.feature_extraction import DictVectorizer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

import finetuner
from finetuner.contracts import InputSpec
from finetuner.testing import BackendCase, BackendTests

X, Y = load_digits(return_X_y=True)
X = X.astype(np.float32)


def fitted(*steps):
    return make_pipeline(*steps).fit(X[:400], Y[:400])


def perceptron(activation):
    return MLPClassifier((12, 6), activation=activation, max_iter=20, tol=1.0, random_state=0)


MODEL = fitted(StandardScaler(), PCA(10), perceptron("tanh"))


class TestContract(BackendTests):
    @pytest.fixture
    def case(self):
        return BackendCase(
            backend=SklearnBackend(),
            model=lambda: deepcopy(MODEL),
            inputs=lambda rows, seed: {"array": X[seed * 8 : seed * 8 + rows]},
            specs=(InputSpec("array", "float32", (None, 64)),),
            model_weights=lambda model: read(model)[1],
            state_weights=lambda state: {n: state.parameters[n] for n in state.model.parameters},
            frozen_layer="pca",
            split_at="mlpclassifier.0",
        )


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_the_chain_gives_what_the_model_gives(activation):
    model = fitted(StandardScaler(), PCA(10, whiten=True), perceptron(activation))
    chain = Chain(*read(model), "array", 64)
    values = chain.forward(chain.parameters, {"array": X[:5]})
    np.testing.assert_allclose(values[-1], model.predict_proba(X[:5]), atol=1e-6)


def test_a_trained_projection_makes_search_better(tmp_path):
    options = {"freeze": "backbone", "output_dim": 4, "batch_size": 20, "learning_rate": 0.02}
    data = {"train_data": (X[:400], Y[:400]), "eval_data": (X[400:900], Y[400:900])}
    run = finetuner.fit(
        fitted(StandardScaler(), PCA(20)), epochs=2, home=tmp_path, **data, **options
    )
    assert run.metrics()["after"]["map@r"] > run.metrics()["before"]["map@r"] + 0.1
    assert finetuner.encode(finetuner.get_model(run.artifact_id), X[:3]).shape == (3, 4)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (PCA(3), "this PCA is not fitted: call fit first"),
        (fitted(QuantileTransformer(n_quantiles=9)), "'quantiletransformer' is a Quantile"),
        (DictVectorizer().fit([{"red": 1}]), "'dictvectorizer' is a DictVectorizer"),
    ],
)
def test_what_cannot_be_read_is_named(model, message):
    with pytest.raises(finetuner.errors.ModelError, match=message):
        SklearnBackend().load(model, {})
