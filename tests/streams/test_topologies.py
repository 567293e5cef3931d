"""Topologies: sub-topologies, names, internal topics, partitions, what may change between two starts."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from ottla.errors import TopologyError
from ottla.streams import KStream, Materialized, StreamsBuilder, Topology, tumbling, within
from ottla.streams.topology.fingerprint import compare

JOIN = within(timedelta(seconds=1))


def text(builder: StreamsBuilder, topic: str) -> KStream[str, str]:
    return builder.stream(topic, key=str, value=str)


def counted(*, filtered: bool = False, name: str | None = None) -> Topology:
    builder = StreamsBuilder()
    words = text(builder, "words")
    if filtered:
        words = words.filter(lambda k, v: v != "")
    words.group_by(lambda k, v: v, key=str).count(store=name).to_stream().to("counts")
    return builder.build().named("app")


def test_a_repartition_topic_parts_a_topology() -> None:
    first, second = counted().subtopologies
    assert first.source_topics == ("words",)
    assert second.source_topics == first.sink_topics == ("words-count-by-key-repartition",)
    assert counted().source_topics == ("words", "app-words-count-by-key-repartition")


def test_streams_that_meet_are_one_sub_topology() -> None:
    builder = StreamsBuilder()
    text(builder, "a").join(text(builder, "b"), lambda a, b: a, JOIN)
    text(builder, "c").to("d")
    assert [sub.source_topics for sub in builder.build().subtopologies] == [("a", "b"), ("c",)]


def test_names_do_not_change_when_a_stateless_step_comes_in() -> None:
    assert set(counted().stores) == set(counted(filtered=True).stores) == {"words-count-store"}
    assert counted().fingerprint == counted(filtered=True).fingerprint


def test_a_topology_is_the_same_with_every_build() -> None:
    assert counted().describe() == counted().describe()
    assert json.loads(json.dumps(counted().fingerprint)) == counted().fingerprint


def test_a_store_that_is_gone_is_a_change_that_needs_a_decision() -> None:
    (fault,) = compare(counted().fingerprint, counted(name="other").fingerprint)
    assert "store 'words-count-store' is gone" in fault
    assert 'name="words-count-store"' in fault


def test_a_store_of_another_kind_or_type_is_refused() -> None:
    def with_store(kind: str) -> Topology:
        builder = StreamsBuilder()
        grouped = text(builder, "words").group_by_key()
        if kind == "windowed":
            grouped.windowed_by(tumbling(timedelta(1))).count(store="words")
        elif kind == "text":
            grouped.reduce(max, store="words")
        else:
            grouped.count(store="words")
        return builder.build()

    assert compare(with_store("count").fingerprint, with_store("count").fingerprint) == []
    assert "held kind 'timestamped' and would now hold 'window'" in "".join(
        compare(with_store("count").fingerprint, with_store("windowed").fingerprint)
    )
    assert "held value 'long' and would now hold 'text'" in "".join(
        compare(with_store("count").fingerprint, with_store("text").fingerprint)
    )


def test_a_store_in_another_sub_topology_is_refused() -> None:
    def with_source(first: bool) -> Topology:
        builder = StreamsBuilder()
        if first:
            text(builder, "new").to("out")
        text(builder, "words").group_by_key().count(store="words")
        return builder.build()

    (fault,) = compare(with_source(False).fingerprint, with_source(True).fingerprint)
    assert "belonged to sub-topology 0 and would now belong to 1" in fault


def test_internal_topics_have_as_many_partitions_as_what_is_written_to_them() -> None:
    assert counted().partition_counts({"words": 5}) == {
        "app-words-count-by-key-repartition": 5,
        "app-words-count-store-changelog": 5,
    }


def test_a_repartition_topic_beside_another_topic_has_as_many_partitions_as_that() -> None:
    builder = StreamsBuilder()
    text(builder, "a").select_key(lambda k, v: v, key=str).join(text(builder, "b"), lambda a, b: a, JOIN, name="joined")
    counts = builder.build().named("app").partition_counts({"a": 3, "b": 7})
    assert counts["app-joined-left-by-key-repartition"] == 7


def test_the_user_says_how_many_partitions() -> None:
    builder = StreamsBuilder()
    text(builder, "a").repartition(partitions=11, name="more").to("out")
    assert builder.build().named("app").partition_counts({"a": 3}) == {"app-more-repartition": 11}


@pytest.mark.parametrize("kind", ["stream", "table", "tables"])
def test_sides_of_a_join_with_different_partitions_are_refused(kind: str) -> None:
    builder = StreamsBuilder()
    if kind == "stream":
        text(builder, "a").join(text(builder, "b"), lambda a, b: a, JOIN, name="joined")
    elif kind == "table":
        text(builder, "a").join(builder.table("b", key=str, value=str), lambda a, b: a, name="joined")
    else:
        left = builder.table("a", key=str, value=str)
        left.join(builder.table("b", key=str, value=str), lambda a, b: a, name="joined", value=str)
    topology = builder.build().named("app")
    topology.partition_counts({"a": 3, "b": 3})
    with pytest.raises(TopologyError, match=r"join 'joined'.*a has 3, b has 4.*Repartition one side"):
        topology.partition_counts({"a": 3, "b": 4})


def test_a_join_by_foreign_key_needs_no_equal_partitions() -> None:
    builder = StreamsBuilder()
    left = builder.table("a", key=str, value=str)
    left.join_by(builder.table("b", key=str, value=str), lambda v: v, lambda a, b: a, name="joined")
    counts = builder.build().named("app").partition_counts({"a": 3, "b": 4})
    assert counts["app-joined-subscription-repartition"] == 4
    assert counts["app-joined-response-repartition"] == 3


def test_source_topics_that_do_not_exist_are_named() -> None:
    with pytest.raises(TopologyError, match="do not exist: words"):
        counted().partition_counts({})


def test_the_description_names_operators_topics_and_stores() -> None:
    described = counted(name="counts").describe()
    assert "Sub-topology 1\n" in described
    assert "count words-count (stores: counts)" in described
    assert "Sink words-to (topic: counts)" in described


def test_the_flowchart_draws_topics_operators_and_stores() -> None:
    chart = counted(name="counts").mermaid()
    assert chart.startswith("flowchart TB\n")
    assert '(["app-words-count-by-key-repartition"])' in chart
    assert '[("counts")]' in chart


def test_what_cannot_be_written_is_said_when_the_topology_is_built() -> None:
    with pytest.raises(TopologyError, match=r"how are the values written.*value=SomeType"):
        text(StreamsBuilder(), "words").map_values(lambda v: v.split()).to("out")


def test_two_operators_or_stores_by_one_name_are_refused() -> None:
    builder = StreamsBuilder()
    words = text(builder, "words")
    words.filter(lambda k, v: True, name="mine")
    with pytest.raises(TopologyError, match="two operators are called 'mine'"):
        words.filter(lambda k, v: True, name="mine")
    words.group_by_key().count(store="counts")
    with pytest.raises(TopologyError, match="two stores are called 'counts'"):
        words.group_by_key().count(store="counts")


def test_a_table_nobody_looks_into_is_kept_nowhere() -> None:
    builder = StreamsBuilder()
    builder.table("rows", key=str, value=str).filter(lambda k, v: True).to_stream().to("out")
    assert builder.build().stores == {}


def test_a_store_is_kept_as_the_user_says() -> None:
    builder = StreamsBuilder()
    kept = Materialized("counts", persistent=False, logged=False, changelog_config={"segment.bytes": "1000"})
    text(builder, "words").group_by_key().count(store=kept)
    topology = builder.build()
    spec = topology.stores["counts"]
    assert (spec.persistent, spec.logged, spec.changelog) == (False, False, None)
    assert topology.internal_topics == {}


def test_changelogs_of_windows_forget_after_their_retention() -> None:
    builder = StreamsBuilder()
    text(builder, "words").group_by_key().windowed_by(tumbling(timedelta(hours=1))).count(store="counts")
    config = builder.build().internal_topics["counts-changelog"].config
    assert config == {"cleanup.policy": "compact,delete", "retention.ms": str(25 * 3600 * 1000)}


def test_a_global_table_is_filled_by_a_sub_topology_of_its_own() -> None:
    builder = StreamsBuilder()
    table = builder.global_table("countries", key=str, value=str)
    text(builder, "words").join(table, lambda a, b: b, by=lambda k, v: v)
    topology = builder.build()
    assert [sub.is_global for sub in topology.subtopologies] == [False, True]
    assert (topology.source_topics, topology.global_topics) == (("words",), ("countries",))
    assert topology.internal_topics == {}


def test_joins_say_what_they_need() -> None:
    builder = StreamsBuilder()
    words, other = text(builder, "words"), text(builder, "other")
    with pytest.raises(TopologyError, match="needs a window"):
        words.join(other, lambda a, b: a)  # type: ignore[call-overload]
    with pytest.raises(TopologyError, match="takes no window"):
        words.join(builder.table("rows", key=str, value=str), lambda a, b: a, JOIN)  # type: ignore[call-overload]
    with pytest.raises(TopologyError, match="needs to know its key"):
        words.join(builder.global_table("rows2", key=str, value=str), lambda a, b: a)  # type: ignore[call-overload]
