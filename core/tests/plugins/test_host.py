from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest

from finetuner.contracts import CallbackRecord, LossRecord, MetricRecord, StoreRecord
from finetuner.errors import PluginError, UnknownNameError
from finetuner.plugins import Host, default_host, hookimpl


def loss(name="AcmeLoss"):
    return LossRecord(name, lambda xp, pairs: 0.0, consumes=("pairs",))


def plugin(**hooks):
    """An object whose attributes are hook implementations."""
    marked = {}
    for kind, function in hooks.items():
        function.__name__ = f"finetuner_{kind}"
        marked[function.__name__] = hookimpl(function)
    return SimpleNamespace(**marked)


def host_of(*plugins):
    return Host.discover(entry_points=(), extra=plugins)


def test_a_record_is_found_by_kind_and_name_with_its_provider(install, loss_plugin):
    host = Host.discover(install(loss_plugin("AcmeLoss")))
    assert host.get("losses", "AcmeLoss").consumes == ("pairs",)
    provided = host.records("losses")["AcmeLoss"]
    assert host.by_name("losses") == {"AcmeLoss": provided.record}
    assert (provided.plugin, provided.distribution) == ("acme", "acme-losses")
    assert (provided.origin.version, provided.origin.hook) == ("1.2", "finetuner_losses")


def test_installed_distributions_are_discovered_on_the_path(install, loss_plugin):
    install(loss_plugin("AcmeLoss"))
    host = Host.discover()
    assert host.get("losses", "AcmeLoss").name == "AcmeLoss"
    assert "core" in {info.name for info in host.plugins()}


def test_records_are_sorted_by_name_whatever_the_order_of_plugins(install, loss_plugin):
    late = install(loss_plugin("Beta"), distribution="a-first", name="a")
    early = install(loss_plugin("Alpha"), distribution="z-last", name="z")
    assert list(Host.discover(early + late).records("losses")) == ["Alpha", "Beta"]


def test_plugins_are_listed_by_distribution_then_name(install, loss_plugin):
    entries = install(loss_plugin("B"), distribution="zeta", name="a")
    entries += install(loss_plugin("A"), distribution="alpha", name="z")
    infos = Host.discover(entries).plugins()
    assert [(info.distribution, info.name) for info in infos] == [("alpha", "z"), ("zeta", "a")]
    assert infos[0].records == {"losses": ("A",)}
    assert infos[0].version == "1.2"
    assert infos[0].problem is None


def test_two_distributions_with_one_entry_point_name_are_both_seen(install, loss_plugin):
    entries = install(loss_plugin("One"), distribution="first", name="same")
    entries += install(loss_plugin("Two"), distribution="second", name="same")
    host = Host.discover(entries)
    assert list(host.records("losses")) == ["One", "Two"]
    assert [info.distribution for info in host.plugins()] == ["first", "second"]


def test_one_kind_is_asked_without_calling_the_hooks_of_others():
    called = []

    def losses():
        called.append("losses")
        yield loss()

    def metrics():
        called.append("metrics")
        yield MetricRecord("m", lambda ranking, k: ranking.first)

    host = host_of(plugin(losses=losses, metrics=metrics))
    host.get("losses", "AcmeLoss")
    host.records("losses")
    assert called == ["losses"]


def test_an_unknown_name_offers_the_near_ones():
    host = host_of(plugin(losses=lambda: [loss("TripletMarginLoss")]))
    with pytest.raises(UnknownNameError, match="did you mean 'TripletMarginLoss'") as caught:
        host.get("losses", "TripletMarginLos")
    assert str(caught.value).startswith("unknown loss 'TripletMarginLos'")
    assert "broken" not in str(caught.value)


def test_an_unknown_kind_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'losses'"):
        host_of().get("loss", "x")


def test_hosts_are_independent_of_one_another():
    first = host_of(plugin(losses=lambda: [loss("One")]))
    second = host_of(plugin(losses=lambda: [loss("Two")]))
    assert list(first.records("losses")) == ["One"]
    assert list(second.records("losses")) == ["Two"]


def test_the_default_host_is_made_once():
    assert default_host() is default_host()


def test_a_store_is_found_under_each_of_its_schemes():
    record = StoreRecord(("acme", "acmes"), open=lambda url: None)
    host = host_of(plugin(stores=lambda: [record]))
    assert host.get("stores", "acmes") is record
    assert list(host.records("stores")) == ["acme", "acmes"]


def test_a_call_of_a_record_can_be_guarded_with_a_note():
    def build():
        raise ValueError("no tracker")

    host = host_of(plugin(callbacks=lambda: [CallbackRecord("tracker", build)]))
    provided = host.records("callbacks")["tracker"]
    with pytest.raises(ValueError, match="no tracker") as caught, host.guard(provided):
        provided.record.build()
    (note,) = caught.value.__notes__
    assert "'SimpleNamespace'" in note
    assert "finetuner_callbacks" in note


# What goes wrong


def test_a_plugin_that_cannot_be_imported_harms_nobody_else(install, loss_plugin):
    entries = install("import module_that_is_not_there", distribution="acme-broken")
    entries += install(loss_plugin("Good"), distribution="acme-good", name="good")
    host = Host.discover(entries)
    assert host.get("losses", "Good").name == "Good"
    broken, good = host.plugins()
    assert good.problem is None
    assert "ModuleNotFoundError" in broken.problem
    assert "module_that_is_not_there" in broken.problem


def test_a_plugin_that_exits_when_imported_does_not_end_the_process(install):
    (info,) = Host.discover(install("raise SystemExit('needs a licence')")).plugins()
    assert "needs a licence" in info.problem


def test_an_unknown_name_mentions_the_broken_plugins_that_may_have_had_it(install):
    host = Host.discover(install("import module_that_is_not_there"))
    with pytest.raises(UnknownNameError, match="module_that_is_not_there") as caught:
        host.get("losses", "AcmeLoss")
    assert "plugin 'acme' of acme-losses 1.2" in str(caught.value)
    assert "finetuner plugins" in str(caught.value)


def test_asking_for_what_a_broken_plugin_is_named_after_raises_its_cause(install):
    host = Host.discover(install("raise RuntimeError('driver too old')", name="acme"))
    with pytest.raises(PluginError, match="driver too old") as caught:
        host.get("backends", "acme")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "acme-losses 1.2" in caught.value.__notes__[0]
    assert "acme-losses 1.2" in caught.value.__cause__.__notes__[0]


@pytest.mark.parametrize("asked", ["finetuner-core~=0.2.0", "finetuner_core (<0.1)"])
def test_a_plugin_for_another_core_is_not_imported(install, asked):
    entries = install("imported = True", requires=("numpy", asked))
    module = entries[0].module
    host = Host.discover(entries, core_version="0.1.3")
    (info,) = host.plugins()
    assert "finetuner-core" in info.problem
    assert "0.1.3 is installed" in info.problem
    assert module not in sys.modules


@pytest.mark.parametrize(
    "requires",
    [
        (),
        ("finetuner-core~=0.1.0",),
        ("finetuner-core ~= 0.1.0 ; python_version > '3'",),
        ("finetuner-core>=9 ; extra == 'next'",),
        ("finetuner-core-extras>=9",),
    ],
)
def test_a_plugin_for_this_core_is_imported(install, loss_plugin, requires):
    host = Host.discover(install(loss_plugin("L"), requires=requires), core_version="0.1.3")
    assert list(host.records("losses")) == ["L"]


def test_a_requirement_that_cannot_be_read_is_a_problem(install):
    host = Host.discover(install("", requires=("finetuner-core~~0.1",)))
    assert "finetuner-core~~0.1" in host.plugins()[0].problem


MISSPELT = """
from finetuner.contracts import LossRecord
from finetuner.plugins import hookimpl

@hookimpl
def finetuner_loses():
    yield from ()

@hookimpl
def finetuner_losses():
    yield LossRecord("AcmeLoss", lambda xp, pairs: 0.0, consumes=("pairs",))
"""


def test_a_misspelt_hook_is_a_problem_with_the_near_names(install):
    (info,) = Host.discover(install(MISSPELT)).plugins()
    assert "unknown hook 'finetuner_loses'" in info.problem
    assert "'finetuner_losses'" in info.problem
    assert info.records == {}


def test_a_name_of_a_plugin_with_a_misspelt_hook_raises_the_problem(install):
    host = Host.discover(install(MISSPELT))
    assert host.records("losses") == {}
    with pytest.raises(PluginError, match="finetuner_loses"):
        host.get("losses", "AcmeLoss")


def test_a_hook_without_the_mark_is_not_passed_over(install):
    host = Host.discover(install("def finetuner_losses():\n    yield 1\n"))
    assert "finetuner_losses is not marked with @hookimpl" in host.plugins()[0].problem


def test_a_hook_that_takes_arguments_is_a_problem():
    host = host_of(plugin(losses=lambda config: []))
    assert "cannot be registered" in host.plugins()[0].problem


def test_a_hook_wrapper_is_refused():
    def finetuner_losses():
        return (yield)

    wrapper = SimpleNamespace(finetuner_losses=hookimpl(wrapper=True)(finetuner_losses))
    assert "hook wrapper" in host_of(wrapper).plugins()[0].problem


def test_duplicates_across_distributions_are_refused_naming_both(install, loss_plugin):
    entries = install(loss_plugin("Same"), distribution="first", version="1.0")
    entries += install(loss_plugin("Same"), distribution="second", version="2.0")
    entries += install(loss_plugin("Other"), distribution="third")
    host = Host.discover(entries)
    with pytest.raises(PluginError, match=r"'Same'.*first 1\.0.*second 2\.0"):
        host.get("losses", "Same")
    assert list(host.records("losses")) == ["Other"]
    assert ["'Same'" in (info.problem or "") for info in host.plugins()] == [True, True, False]


def test_one_plugin_giving_a_name_twice_is_refused_too():
    host = host_of(plugin(losses=lambda: [loss("Same"), loss("Same")]))
    with pytest.raises(PluginError, match="'Same' is provided by"):
        host.get("losses", "Same")


def raising_midway():
    yield loss("Early")
    raise OSError("disk on fire")


def test_a_hook_that_raises_midway_gives_nothing_and_names_its_plugin():
    host = host_of(plugin(losses=raising_midway), plugin(losses=lambda: [loss("Good")]))
    assert list(host.records("losses")) == ["Good"]
    with pytest.raises(PluginError, match="disk on fire") as caught:
        host.get("losses", "Early")
    assert isinstance(caught.value.__cause__, OSError)
    assert "hook finetuner_losses" in caught.value.__cause__.__notes__[0]
    with pytest.raises(UnknownNameError, match="disk on fire"):
        host.get("losses", "Late")


@pytest.mark.parametrize(
    ("returned", "complaint"),
    [
        (None, "returned None; it must yield LossRecords"),
        (loss(), "returned an object of type LossRecord"),
        ("AcmeLoss", "returned an object of type str"),
        ([("AcmeLoss", 1)], "yielded an object of type tuple"),
        ([MetricRecord("m", lambda ranking, k: 0)], "in place of a LossRecord"),
        ([loss("")], "must be a non-empty str, not ''"),
        ([loss("  ")], "must be a non-empty str"),
        ([loss(7)], "must be a non-empty str, not 7"),
    ],
)
def test_what_is_no_record_of_the_hook_is_refused(returned, complaint):
    host = host_of(plugin(losses=lambda: returned), plugin(losses=lambda: [loss("Good")]))
    assert list(host.records("losses")) == ["Good"]
    assert complaint in host.plugins()[0].problem


@pytest.mark.parametrize("schemes", ["file", (), ("s3", "")])
def test_a_store_needs_a_tuple_of_schemes(schemes):
    host = host_of(plugin(stores=lambda: [StoreRecord(schemes, open=lambda url: None)]))
    assert host.records("stores") == {}
    assert host.plugins()[0].problem


def test_what_is_left_out_is_said_once_in_the_log(caplog):
    host = host_of(plugin(losses=raising_midway))
    with caplog.at_level(logging.WARNING, "finetuner.plugins"):
        host.records("losses")
        host.records("losses")
    (record,) = caplog.records
    assert "disk on fire" in record.getMessage()


def test_an_unmatched_name_of_the_caller_s_gets_near_names_and_causes():
    host = host_of(plugin(losses=raising_midway))
    error = host.unknown("losses", "acme:hard", ["acme:*", "other"])
    assert error.kind == "loss"
    assert error.known == ("acme:*", "other")
    assert "disk on fire" in str(error)
