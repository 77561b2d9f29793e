"""The entry point: a record, and nothing heavy is imported until it is used."""

from finetuner.contracts import BackendRecord
from finetuner.plugins import hookimpl


@hookimpl
def finetuner_backends():
    def load():
        from finetuner_sklearn.backend import SklearnBackend

        return SklearnBackend()

    yield BackendRecord("sklearn", framework="sklearn", load=load)
