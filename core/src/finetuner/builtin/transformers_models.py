"""What is known of Hugging Face transformers models beyond what their dataflow shows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from finetuner.adaptation.flow import Flow
from finetuner.adaptation.head import find_head
from finetuner.contracts.graph import ModelGraph
from finetuner.contracts.records import AdapterRecord, HeadDecision

HIDDEN = "last_hidden_state"
BARE = re.compile(r"(?<!LMHead)(?<!DoubleHeads)Model$")
LANGUAGE_HEAD = re.compile(r"(ForMaskedLM|ForCausalLM|LMHeadModel|ForPreTraining)$")

CAUSAL = frozenset(
    {"bloom", "codegen", "falcon", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neo", "gpt_neox"}
    | {"gptj", "llama", "mistral", "mpt", "olmo", "olmo2", "openai-gpt", "opt", "phi", "phi3"}
    | {"qwen2", "qwen3", "stablelm", "starcoder2"}
)
"""Model types whose positions see only what comes before them."""


def is_transformers(graph: ModelGraph) -> bool:
    """Whether the model comes from the transformers library."""
    return graph.facts.get("library") == "transformers"


def pooling_of(graph: ModelGraph) -> str:
    """``last`` for causal models, whose last position alone has seen the text, else ``mean``."""
    config = graph.facts.get("config")
    kind = config.get("model_type") if isinstance(config, Mapping) else None
    return "last" if kind in CAUSAL else "mean"


def decide_bare(graph: ModelGraph) -> HeadDecision | None:
    """A bare encoder has no head; its last hidden state holds one vector per position."""
    outputs = [name for name, _ in graph.outputs]
    if not BARE.search(str(graph.facts.get("class", ""))) or HIDDEN not in outputs:
        return None
    return HeadDecision(
        f"a bare {graph.facts['class']} gives hidden states, no answers",
        output=HIDDEN,
        pooling=pooling_of(graph),
    )


def decide_language_head(graph: ModelGraph) -> HeadDecision | None:
    """A language-modelling head goes whole, its transform and tied decoder too.

    The base model is the child that holds the token embeddings; every other child
    that runs belongs to the head.
    """
    if not LANGUAGE_HEAD.search(str(graph.facts.get("class", ""))):
        return None
    ran = [op.layer.partition(".")[0] for op in graph.operations if op.layer]
    base = next(
        (op.layer.partition(".")[0] for op in graph.operations if op.kind == "embedding"), None
    )
    head = tuple(dict.fromkeys(name for name in ran if name != base))
    if base is None or not head:
        return None
    reason = f"the language-modelling head of {graph.facts['class']} is everything behind {base}"
    return HeadDecision(reason, head=head, pooling=pooling_of(graph))


def decide_causal_classifier(graph: ModelGraph) -> HeadDecision | None:
    """A causal classifier scores every position and reads the last that is no padding."""
    name = str(graph.facts.get("class", ""))
    if not name.endswith("ForSequenceClassification") or pooling_of(graph) != "last":
        return None
    flow = Flow.of(graph)
    output, tensor = graph.outputs[0]
    finding = find_head(flow, output, flow.final(tensor))
    if not finding.layers:
        return None
    reason = f"{name} scores positions that see only what comes before them"
    return HeadDecision(reason, head=finding.layers, pooling="last")


TRANSFORMERS_ADAPTERS: tuple[AdapterRecord, ...] = (
    AdapterRecord("transformers-bare", is_transformers, decide_bare),
    AdapterRecord("transformers-causal-classifier", is_transformers, decide_causal_classifier),
    AdapterRecord("transformers-language-model", is_transformers, decide_language_head),
)
