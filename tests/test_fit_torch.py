"""The whole path on PyTorch, seen from the outside."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import finetuner
from finetuner import api
from finetuner.errors import (
    DataError,
    ExportError,
    ModelError,
    TrainingError,
    UnknownNameError,
    UsageError,
)

torch = pytest.importorskip("torch")
pytest.importorskip("finetuner_torch")
nn = torch.nn

QUICK = {"epochs": 2, "batch_size": 12, "progress": False}


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(self.body(self.stem(x)).mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvNet()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image folder of four colours, told apart under noise."""
    root = tmp_path_factory.mktemp("colours")
    pick = np.random.default_rng(0)
    colours = {
        "red": (200, 60, 60),
        "green": (60, 200, 60),
        "blue": (60, 60, 200),
        "grey": [99] * 3,
    }
    for name, colour in colours.items():
        (root / name).mkdir()
        for number in range(10):
            pixels = np.clip(pick.normal(colour, 60, size=(20, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    """A tiny BERT in a Hugging Face directory, and labelled texts in a CSV."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    root = tmp_path_factory.mktemp("bert")
    words = "[PAD] [UNK] red green blue cat dog bird apple pear plum the a one runs flies falls"
    vocabulary = {word: index for index, word in enumerate(words.split())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(root / "tokenizer.json"))
    (root / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 32}))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(root)
    kinds = {"animal": "cat dog bird", "fruit": "apple pear plum", "colour": "red green blue"}
    rows = [
        f"{article} {noun} {verb},{kind}"
        for kind, nouns in kinds.items()
        for noun in nouns.split()
        for article in ("the", "a")
        for verb in ("runs", "flies")
    ]
    (root / "rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    return root


def test_an_image_folder_and_a_bare_module(home, folder, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = finetuner.fit(
        model, str(folder), learning_rate=1e-2, model_options={"image_size": 16}, **QUICK
    )
    assert run.status() == "finished"
    assert run.config.plan.head == "auto"
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), f"the user's {name} was changed"
    assert model.training
    embedder = finetuner.get_model(run.artifact_id)
    files = sorted(str(path) for path in folder.glob("*/*.png"))
    vectors = finetuner.encode(embedder, files)
    assert vectors.shape == (40, 16)
    one = finetuner.encode(embedder, [Image.open(files[3])])
    np.testing.assert_allclose(one[0], vectors[3], atol=1e-5)


def test_a_hugging_face_directory_from_the_command_line(home, text_model, tmp_path):
    def command(*words):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("finetuner")), *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: {text_model}\ntrain_data: {text_model / 'rows.csv'}\nepochs: 5\nbatch_size: 12\n"
    )
    out = command("fit", "--config", config, "--epochs", 2, "--run-name", "words", "--json")
    result = json.loads(out)
    assert result["name"] == "words"
    assert set(result["metrics"]) == {"before", "after"}
    listed = json.loads(command("runs", "--json"))
    assert [(row["name"], row["status"]) for row in listed] == [("words", "finished")]
    assert "learning: NTXentLoss" in command("logs", "words")
    vector = json.loads(command("encode", result["artifact_id"], "the cat runs").splitlines()[0])
    assert len(vector) == 16
    rows = text_model / "rows.csv"
    found = json.loads(command("evaluate", result["artifact_id"], rows, "--json"))
    assert found["queries"] == 36
    store = (tmp_path / "store").as_uri()
    address = command("push", "words", store, "--tag", "v2").strip()
    pulled = command("pull", f"{store}/words:v2", tmp_path / "pulled").strip()
    assert Path(pulled, "model.onnx").is_file()
    assert address.startswith(f"{store}/words@sha256:")
    exported = command("export", "words", tmp_path / "exported").strip()
    assert Path(exported, "manifest.json").is_file()
    plan = json.loads(command("inspect", text_model, "--json"))
    assert plan["features"]["layout"] == "sequence"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("fit", "nowhere", "rows.csv"), "rows.csv"),
        (("inspect", "nowhere"), "neither a path that exists nor a backbone"),
        (("fit", "--config", "none.yaml"), "cannot read the configuration"),
        (("encode", "file:///nowhere/shop", "x"), "shop"),
        (("logs", "nope"), "unknown run 'nope'"),
        (("pull", "s4://x/y", "z"), "s4"),
    ],
)
def test_a_users_error_is_one_message_without_a_traceback(home, tmp_path, words, message):
    done = subprocess.run(
        [str(Path(sys.executable).with_name("finetuner")), *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_docarray_documents_with_labels_in_tags(home, model):
    docarray = pytest.importorskip("docarray")
    pick = np.random.default_rng(0)
    docs = docarray.DocList[finetuner.Document](
        finetuner.Document(
            tensor=pick.normal(label, 0.5, size=(3, 16, 16)).astype(np.float32),
            tags={"finetuner_label": f"class {label}"},
        )
        for label in range(3)
        for _ in range(8)
    )
    run = finetuner.fit(model, docs, to_onnx=False, **QUICK)
    assert run.metrics()["after"]["queries"] == 6


@pytest.mark.parametrize("pooling", ["mean", "max", "gem"])
def test_naming_a_pooling_pools_the_feature_map(home, folder, model, pooling):
    plan = finetuner.inspect(model, str(folder), pooling=pooling, model_options={"image_size": 16})
    assert plan.pooling is not None
    assert plan.pooling.name == pooling
    run = finetuner.fit(
        model, str(folder), pooling=pooling, model_options={"image_size": 16}, **QUICK
    )
    assert finetuner.get_model(run.artifact_id).width == 16


def test_freezing_keeps_bits_and_a_projection_sets_the_width(home, folder, model, tmp_path):
    from safetensors.numpy import load_file

    run = finetuner.fit(
        model,
        str(folder),
        freeze="backbone",
        output_dim=7,
        model_options={"image_size": 16},
        **QUICK,
    )
    assert finetuner.get_model(run.artifact_id).width == 7
    weights = load_file(run.save_artifact(tmp_path) / "weights.safetensors")
    for name, value in model.state_dict().items():
        found = [w for key, w in weights.items() if key.endswith(name)]
        if not name.startswith("fc"):
            assert any(np.array_equal(value.numpy(), each) for each in found), name


LOSSES = ("TripletMarginLoss", "NTXentLoss", "SupConLoss", "ContrastiveLoss")
MINERS = (None, "all", "hard", "semi-hard", "easy-hard")
UNFIT = {(loss, miner) for loss in LOSSES[1:3] for miner in MINERS[1:]} | {
    ("ContrastiveLoss", miner) for miner in MINERS[1:]
}


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_trains_with_the_miners_that_fit_and_refuses_the_others(home, loss, miner):
    pick = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 8)
    points = (np.eye(4)[labels] @ pick.normal(size=(4, 6)) + pick.normal(size=(32, 6))).astype("f4")
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def fit():
        return finetuner.fit(
            net,
            (points, labels),
            eval_data=(points, labels),
            loss=loss,
            miner=miner,
            epochs=1,
            batch_size=16,
            to_onnx=False,
            progress=False,
        )

    if (loss, miner) in UNFIT:
        with pytest.raises(UsageError, match="miner"):
            fit()
    else:
        assert fit().status() == "finished"


class Nothing(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        self.fc(x)
        return "no tensor"


def labelled(rows=24, classes=3, width=6):
    pick = np.random.default_rng(0)
    return pick.normal(size=(rows, width)).astype("f4"), np.arange(rows) % classes


@pytest.mark.parametrize(
    ("net", "change", "error", "words"),
    [
        (Nothing(), {}, ModelError, "tensor"),
        (nn.Sequential(nn.Flatten()), {}, ModelError, "train"),
        (nn.Linear(5, 3), {}, ModelError, "6"),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), {"freeze": "until:2.wieght"},
         UnknownNameError, "layer"),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), {"head": "9"},
         UnknownNameError, "layer"),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), {"freeze": "backbone"},
         ModelError, "output_dim"),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), {"batch_size": 2},
         UsageError, "batch"),
        (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)), {"model_options": {"x": 1}},
         UnknownNameError, "option"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_used_is_refused_with_words(home, net, change, error, words):
    with pytest.raises(error, match=words):
        finetuner.fit(net, labelled(), **QUICK | change)


def test_dropout_is_off_unless_a_rate_or_the_models_own_is_asked_for(home):
    def loss(net, **options):
        options = {"epochs": 2, "model_options": options}
        run = finetuner.fit(net, labelled(48), to_onnx=False, **QUICK | options)
        assert run.config.model_options == options["model_options"]
        return run.result().history[-1]["loss"]

    def net(rate):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Dropout(rate), nn.ReLU(), nn.Linear(8, 3))

    assert loss(net(0.5)) == loss(net(0.5), dropout=0) == loss(net(0.1))
    assert loss(net(0.5), dropout="own") == loss(net(0.1), dropout=0.5)
    assert loss(net(0.5), dropout="own") != loss(net(0.5))


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (1.0, "dropout is 1.0: give a rate from 0 to below 1, or 'own'"),
        ("high", "dropout is 'high'"),
        (True, "dropout is True"),
        (0.1, "no dropout to set"),
    ],
)
def test_a_dropout_that_cannot_be_is_refused(home, rate, words):
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(UsageError, match=words):
        finetuner.fit(net, labelled(), **QUICK | {"model_options": {"dropout": rate}})


def test_an_unreadable_image_is_named_or_skipped_and_counted(home, folder, model, tmp_path):
    import shutil

    broken = tmp_path / "images"
    shutil.copytree(folder, broken)
    (broken / "red" / "3.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"3\.png"):
        finetuner.fit(model, str(broken), model_options={"image_size": 16}, **QUICK)
    run = finetuner.fit(
        model, str(broken), skip_unreadable=True, model_options={"image_size": 16}, **QUICK
    )
    assert "1 row" in run.logs()


def test_a_loss_that_explodes_stops_and_names_the_step(home):
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(TrainingError, match=r"epoch 1, step \d+ of .*checkpoint"):
        finetuner.fit(
            net,
            labelled(),
            eval_data=labelled(),
            learning_rate=1e38,
            run_name="nan",
            optimizer="sgd",
            **QUICK,
        )
    run = finetuner.get_run("nan")
    assert run.status() == "failed"
    assert any((run.directory / "checkpoints").glob("last-*"))


def test_only_a_bundle_is_loaded_and_every_byte_counts(home, folder, model, tmp_path):
    from finetuner.errors import ArtifactError, IntegrityError

    run = finetuner.fit(model, str(folder), model_options={"image_size": 16}, **QUICK)
    path = api.export(run.name, tmp_path / "bundle")
    onnx = path / "model.onnx"
    data = bytearray(onnx.read_bytes())
    data[len(data) // 2] ^= 1
    onnx.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        finetuner.get_model(path)
    (path / "weights.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(ArtifactError, match=r"weights\.pkl"):
        finetuner.get_model(path)


class Branching(nn.Module):
    """What it does depends on its numbers: no exporter can follow."""

    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x):
        hidden = self.body(x)
        return self.fc(hidden * 2 if hidden.sum() > 0 else hidden)


def test_what_was_trained_and_cannot_be_exported_is_kept_as_weights(home):
    live = {"model": Branching(), "train_data": labelled()}
    with pytest.raises(ExportError, match=r"resume_run\('branches', …\).* with to_onnx=False"):
        finetuner.fit(**live, eval_data=labelled(), run_name="branches", **QUICK)
    trained = finetuner.get_run("branches").logs().count("epoch 1")

    run = finetuner.resume_run("branches", **live, eval_data=labelled(), to_onnx=False)

    assert run.status() == "finished"
    assert not run.config.to_onnx
    assert run.logs().count("epoch 1") == trained
