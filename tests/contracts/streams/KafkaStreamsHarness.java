import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.function.Consumer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestOutputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.test.TestRecord;

/**
 * Runs Kafka Streams' own TopologyTestDriver for the contract suite. Reads one JSON object on stdin, topology name ->
 * list of inputs [topic, key, value, timestamp], and writes topology name -> outputs [topic, key, value, timestamp].
 * Keys and values are text; keys with windows are written "key@start/end".
 */
public class KafkaStreamsHarness {
    static final Serde<String> TEXT = Serdes.String();
    static final Map<String, Consumer<StreamsBuilder>> TOPOLOGIES = new TreeMap<>();

    static Duration ms(long value) {
        return Duration.ofMillis(value);
    }

    static KStream<String, String> stream(StreamsBuilder builder, String topic) {
        return builder.stream(topic, Consumed.with(TEXT, TEXT));
    }

    static KTable<String, String> table(StreamsBuilder builder, String topic) {
        return builder.table(topic, Consumed.with(TEXT, TEXT));
    }

    static KTable<String, String> versioned(StreamsBuilder builder, String topic) {
        return builder.table(topic, Consumed.with(TEXT, TEXT),
            Materialized.<String, String>as(Stores.persistentVersionedKeyValueStore("versions", ms(100))));
    }

    static KGroupedStream<String, String> grouped(StreamsBuilder builder, String topic) {
        return stream(builder, topic).groupByKey(Grouped.with(TEXT, TEXT));
    }

    static void out(KStream<String, String> stream) {
        stream.to("out", Produced.with(TEXT, TEXT));
    }

    static void out(KTable<String, String> table) {
        out(table.toStream());
    }

    static void outLong(KTable<String, Long> table) {
        out(table.toStream().mapValues(n -> n == null ? null : n.toString()));
    }

    static <V> void outWindowed(KTable<Windowed<String>, V> table) {
        out(table.toStream().map((k, v) -> KeyValue.pair(
            k.key() + "@" + k.window().start() + "/" + k.window().end(), v == null ? null : v.toString())));
    }

    static boolean a(String value) {
        return value != null && value.startsWith("a");
    }

    static String head(String value) {
        return value.substring(0, 1);
    }

    static String foreignKey(String value) {
        return value.startsWith("-") ? null : value.substring(0, 1);
    }

    static TimeWindows tumbling() {
        return TimeWindows.ofSizeAndGrace(ms(10), ms(5));
    }

    static TimeWindows hopping() {
        return TimeWindows.ofSizeAndGrace(ms(10), ms(5)).advanceBy(ms(4));
    }

    static SlidingWindows sliding() {
        return SlidingWindows.ofTimeDifferenceAndGrace(ms(10), ms(5));
    }

    static SessionWindows session() {
        return SessionWindows.ofInactivityGapAndGrace(ms(5), ms(5));
    }

    static Materialized<String, String, org.apache.kafka.streams.state.WindowStore<org.apache.kafka.common.utils.Bytes, byte[]>> inWindows() {
        return Materialized.with(TEXT, TEXT);
    }

    /**
     * Kafka Streams forgets a window at the very stream time at which it closes: when time jumps, what
     * EmitStrategy.onWindowClose should give out is gone. Kept for longer, nothing is lost.
     */
    static <V> Materialized<String, V, org.apache.kafka.streams.state.WindowStore<org.apache.kafka.common.utils.Bytes, byte[]>> longKept(Serde<V> values) {
        return Materialized.<String, V, org.apache.kafka.streams.state.WindowStore<org.apache.kafka.common.utils.Bytes, byte[]>>with(TEXT, values).withRetention(ms(1000));
    }

    static String removed(String group, String value) {
        int at = group.indexOf(value);
        return at < 0 ? group : group.substring(0, at) + group.substring(at + value.length());
    }

    static {
        TOPOLOGIES.put("filter", b -> out(stream(b, "left").filter((k, v) -> a(v))));
        TOPOLOGIES.put("filter_not", b -> out(stream(b, "left").filterNot((k, v) -> a(v))));
        TOPOLOGIES.put("map", b -> out(stream(b, "left").map((k, v) -> KeyValue.pair(v, k))));
        TOPOLOGIES.put("map_values", b -> out(stream(b, "left").mapValues(v -> v == null ? null : v + v)));
        TOPOLOGIES.put("flat_map", b -> out(stream(b, "left").flatMap((k, v) ->
            v == null ? List.<KeyValue<String, String>>of() : List.of(KeyValue.pair(k, v), KeyValue.pair(v, k)))));
        TOPOLOGIES.put("flat_map_values", b -> out(stream(b, "left").flatMapValues(v ->
            v == null ? List.<String>of() : Arrays.asList(v.split("")))));
        TOPOLOGIES.put("select_key", b -> out(stream(b, "left").selectKey((k, v) -> v)));
        TOPOLOGIES.put("merge", b -> out(stream(b, "left").merge(stream(b, "right"))));
        TOPOLOGIES.put("split_merge", b -> {
            Map<String, KStream<String, String>> parts = stream(b, "left").split(Named.as("s-"))
                .branch((k, v) -> v == null, Branched.as("none"))
                .branch((k, v) -> a(v), Branched.as("a"))
                .defaultBranch(Branched.as("rest"));
            out(parts.get("s-a").mapValues(v -> "A:" + v).merge(parts.get("s-rest")).merge(parts.get("s-none")));
        });
        TOPOLOGIES.put("to_chosen", b -> stream(b, "left").to(
            (k, v, context) -> a(v) ? "out" : "out2", Produced.with(TEXT, TEXT)));
        TOPOLOGIES.put("repartition", b -> out(stream(b, "left").selectKey((k, v) -> v).repartition()));

        TOPOLOGIES.put("count", b -> outLong(grouped(b, "left").count()));
        TOPOLOGIES.put("reduce", b -> out(grouped(b, "left").reduce((x, y) -> x + y)));
        TOPOLOGIES.put("aggregate", b -> out(grouped(b, "left").aggregate(() -> ">", (k, v, s) -> s + v,
            Materialized.with(TEXT, TEXT))));
        TOPOLOGIES.put("aggregate_to_none", b -> out(grouped(b, "left").aggregate(() -> ">",
            (k, v, s) -> a(v) ? null : s + v, Materialized.with(TEXT, TEXT))));
        TOPOLOGIES.put("group_by", b -> outLong(stream(b, "left").filter((k, v) -> v != null)
            .groupBy((k, v) -> head(v), Grouped.with(TEXT, TEXT)).count()));
        TOPOLOGIES.put("cogroup", b -> out(grouped(b, "left").<String>cogroup((k, v, s) -> s + "l" + v)
            .cogroup(grouped(b, "right"), (k, v, s) -> s + "r" + v)
            .aggregate(() -> ">", Materialized.with(TEXT, TEXT))));

        TOPOLOGIES.put("table", b -> out(table(b, "left")));
        TOPOLOGIES.put("to_table", b -> out(stream(b, "left").toTable(Materialized.with(TEXT, TEXT))));
        TOPOLOGIES.put("table_filter", b -> out(table(b, "left").filter((k, v) -> a(v))));
        TOPOLOGIES.put("table_filter_kept", b -> out(table(b, "left").filter((k, v) -> a(v), Materialized.as("kept"))));
        TOPOLOGIES.put("table_map_values", b -> out(table(b, "left").mapValues(v -> v + v)));
        TOPOLOGIES.put("table_map_values_kept", b -> out(table(b, "left").mapValues(v -> v + v, Materialized.as("kept"))));
        TOPOLOGIES.put("table_filter_group", b -> out(table(b, "left").filter((k, v) -> !a(v))
            .groupBy((k, v) -> KeyValue.pair(head(v), v), Grouped.with(TEXT, TEXT))
            .reduce((x, y) -> x + y, KafkaStreamsHarness::removed)));
        TOPOLOGIES.put("table_group_count", b -> outLong(table(b, "left")
            .groupBy((k, v) -> KeyValue.pair(head(v), v), Grouped.with(TEXT, TEXT)).count()));
        TOPOLOGIES.put("table_group_reduce", b -> out(table(b, "left")
            .groupBy((k, v) -> KeyValue.pair(head(v), v), Grouped.with(TEXT, TEXT))
            .reduce((x, y) -> x + y, KafkaStreamsHarness::removed)));
        TOPOLOGIES.put("table_group_aggregate", b -> out(table(b, "left")
            .groupBy((k, v) -> KeyValue.pair(head(v), v), Grouped.with(TEXT, TEXT))
            .aggregate(() -> ">", (k, v, s) -> s + v, (k, v, s) -> removed(s, v), Materialized.with(TEXT, TEXT))));
        TOPOLOGIES.put("versioned_table_group", b -> outLong(versioned(b, "left")
            .groupBy((k, v) -> KeyValue.pair(head(v), v), Grouped.with(TEXT, TEXT)).count()));

        TOPOLOGIES.put("tumbling_count", b -> outWindowed(grouped(b, "left").windowedBy(tumbling()).count()));
        TOPOLOGIES.put("tumbling_reduce", b -> outWindowed(grouped(b, "left").windowedBy(tumbling()).reduce((x, y) -> x + y)));
        TOPOLOGIES.put("tumbling_on_close", b -> outWindowed(grouped(b, "left").windowedBy(tumbling())
            .emitStrategy(EmitStrategy.onWindowClose()).aggregate(() -> ">", (k, v, s) -> s + v, KafkaStreamsHarness.<String>longKept(TEXT))));
        TOPOLOGIES.put("hopping_aggregate", b -> outWindowed(grouped(b, "left").windowedBy(hopping())
            .aggregate(() -> ">", (k, v, s) -> s + v, inWindows())));
        TOPOLOGIES.put("hopping_on_close", b -> outWindowed(grouped(b, "left").windowedBy(hopping())
            .emitStrategy(EmitStrategy.onWindowClose()).count(KafkaStreamsHarness.<Long>longKept(Serdes.Long()))));
        TOPOLOGIES.put("sliding_count", b -> outWindowed(grouped(b, "left").windowedBy(sliding()).count()));
        TOPOLOGIES.put("sliding_aggregate", b -> outWindowed(grouped(b, "left").windowedBy(sliding())
            .aggregate(() -> ">", (k, v, s) -> s + v, inWindows())));
        TOPOLOGIES.put("sliding_on_close", b -> outWindowed(grouped(b, "left").windowedBy(sliding())
            .emitStrategy(EmitStrategy.onWindowClose()).count(KafkaStreamsHarness.<Long>longKept(Serdes.Long()))));
        TOPOLOGIES.put("session_count", b -> outWindowed(grouped(b, "left").windowedBy(session()).count()));
        TOPOLOGIES.put("session_reduce", b -> outWindowed(grouped(b, "left").windowedBy(session()).reduce((x, y) -> x + y)));
        TOPOLOGIES.put("session_aggregate", b -> outWindowed(grouped(b, "left").windowedBy(session())
            .aggregate(() -> ">", (k, v, s) -> s + v, (k, x, y) -> x + y, Materialized.with(TEXT, TEXT))));
        TOPOLOGIES.put("session_on_close", b -> outWindowed(grouped(b, "left").windowedBy(session())
            .emitStrategy(EmitStrategy.onWindowClose()).count()));
        TOPOLOGIES.put("cogroup_tumbling", b -> outWindowed(grouped(b, "left").<String>cogroup((k, v, s) -> s + "l" + v)
            .cogroup(grouped(b, "right"), (k, v, s) -> s + "r" + v).windowedBy(tumbling())
            .aggregate(() -> ">", inWindows())));
        TOPOLOGIES.put("suppress_tumbling", b -> outWindowed(grouped(b, "left").windowedBy(tumbling()).count()
            .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))));
        TOPOLOGIES.put("suppress_session", b -> outWindowed(grouped(b, "left").windowedBy(session()).count()
            .suppress(Suppressed.untilWindowCloses(Suppressed.BufferConfig.unbounded()))));
        TOPOLOGIES.put("suppress_for", b -> outLong(grouped(b, "left").count()
            .suppress(Suppressed.untilTimeLimit(ms(10), Suppressed.BufferConfig.unbounded()))));
        TOPOLOGIES.put("suppress_for_bounded", b -> outLong(grouped(b, "left").count()
            .suppress(Suppressed.untilTimeLimit(ms(30), Suppressed.BufferConfig.maxRecords(2).emitEarlyWhenFull()))));
        TOPOLOGIES.put("suppress_table", b -> out(table(b, "left")
            .suppress(Suppressed.untilTimeLimit(ms(10), Suppressed.BufferConfig.unbounded()))));

        StreamJoined<String, String, String> joined = StreamJoined.with(TEXT, TEXT, TEXT);
        JoinWindows close = JoinWindows.ofTimeDifferenceAndGrace(ms(5), ms(4));
        JoinWindows after = JoinWindows.ofTimeDifferenceAndGrace(ms(0), ms(4)).after(ms(8));
        JoinWindows before = JoinWindows.ofTimeDifferenceAndGrace(ms(2), ms(0)).before(ms(7));
        for (Map.Entry<String, JoinWindows> w : Map.of("", close, "_after", after, "_before", before).entrySet()) {
            TOPOLOGIES.put("stream_join" + w.getKey(), b -> out(stream(b, "left").join(stream(b, "right"),
                (x, y) -> x + "+" + y, w.getValue(), joined)));
            TOPOLOGIES.put("stream_left_join" + w.getKey(), b -> out(stream(b, "left").leftJoin(stream(b, "right"),
                (x, y) -> x + "+" + y, w.getValue(), joined)));
            TOPOLOGIES.put("stream_outer_join" + w.getKey(), b -> out(stream(b, "left").outerJoin(stream(b, "right"),
                (x, y) -> x + "+" + y, w.getValue(), joined)));
        }
        TOPOLOGIES.put("stream_join_rekeyed", b -> out(stream(b, "left").filter((k, v) -> v != null)
            .selectKey((k, v) -> head(v)).join(stream(b, "right"), (x, y) -> x + "+" + y, close, joined)));
        TOPOLOGIES.put("stream_left_join_rekeyed", b -> out(stream(b, "left")
            .selectKey((k, v) -> v == null ? null : head(v)).leftJoin(stream(b, "right"), (x, y) -> x + "+" + y, close, joined)));
        TOPOLOGIES.put("stream_table_left_join_rekeyed", b -> out(stream(b, "left")
            .selectKey((k, v) -> v == null || a(v) ? null : head(v)).leftJoin(table(b, "right"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("stream_table_join", b -> out(stream(b, "left").join(table(b, "right"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("stream_table_left_join", b -> out(stream(b, "left").leftJoin(table(b, "right"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("stream_versioned_join", b -> out(stream(b, "left").join(versioned(b, "right"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("stream_versioned_left_join", b -> out(stream(b, "left").leftJoin(versioned(b, "right"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("stream_filtered_table_join", b -> out(stream(b, "left").join(
            table(b, "right").filter((k, v) -> a(v)).mapValues(v -> v + "!"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("stream_global_join", b -> out(stream(b, "left").join(
            b.globalTable("right", Consumed.with(TEXT, TEXT)), (k, v) -> v == null ? null : head(v), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("stream_global_left_join", b -> out(stream(b, "left").leftJoin(
            b.globalTable("right", Consumed.with(TEXT, TEXT)), (k, v) -> v == null ? null : head(v), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("table_join", b -> out(table(b, "left").join(table(b, "right"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("table_left_join", b -> out(table(b, "left").leftJoin(table(b, "right"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("table_outer_join", b -> out(table(b, "left").outerJoin(table(b, "right"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("table_join_group", b -> outLong(table(b, "left").outerJoin(table(b, "right"),
                (x, y) -> x + "+" + y, Materialized.with(TEXT, TEXT))
            .groupBy((k, v) -> KeyValue.pair(head(v), v), Grouped.with(TEXT, TEXT)).count()));
        TOPOLOGIES.put("versioned_table_join", b -> out(versioned(b, "left").join(table(b, "right"), (x, y) -> x + "+" + y)));
        TOPOLOGIES.put("table_join_by", b -> out(table(b, "left").join(table(b, "right"),
            KafkaStreamsHarness::foreignKey, (x, y) -> x + "+" + y, Materialized.with(TEXT, TEXT))));
        TOPOLOGIES.put("table_left_join_by", b -> out(table(b, "left").leftJoin(table(b, "right"),
            KafkaStreamsHarness::foreignKey, (x, y) -> x + "+" + y, Materialized.with(TEXT, TEXT))));
        TOPOLOGIES.put("table_join_by_not_kept", b -> out(table(b, "left").join(table(b, "right"),
            KafkaStreamsHarness::foreignKey, (x, y) -> x + "+" + y)));

        TOPOLOGIES.put("process", b -> {
            b.addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("seen"), TEXT, TEXT));
            out(stream(b, "left").process(Punctual::new, "seen"));
        });
    }

    /** Counts records per key in a store, and gives out all counts every ten milliseconds of stream time. */
    static class Punctual implements Processor<String, String, String, String> {
        private KeyValueStore<String, String> seen;

        @Override
        public void init(ProcessorContext<String, String> context) {
            seen = context.getStateStore("seen");
            context.schedule(ms(10), PunctuationType.STREAM_TIME, time -> {
                try (var all = seen.all()) {
                    all.forEachRemaining(pair -> context.forward(new Record<>(pair.key, time + ":" + pair.value, time)));
                }
            });
        }

        @Override
        public void process(Record<String, String> record) {
            if (record.key() == null) return;
            String before = seen.get(record.key());
            seen.put(record.key(), record.value() == null ? null : (before == null ? "" : before) + record.value());
        }
    }

    static List<List<Object>> run(String name, List<List<Object>> inputs) {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, "test");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "none:1");
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        config.put(StreamsConfig.STATE_DIR_CONFIG, System.getProperty("state.dir"));
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_DSL_STORE_CONFIG, "in_memory");
        config.put("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", 0L);
        config.put("__emit.interval.ms.kstreams.windowed.aggregation__", 0L);
        if (System.getProperty("rocksdb") != null) config.remove(StreamsConfig.DEFAULT_DSL_STORE_CONFIG);
        StreamsBuilder builder = new StreamsBuilder();
        TOPOLOGIES.get(name).accept(builder);
        List<List<Object>> found = new ArrayList<>();
        try (TopologyTestDriver driver = new TopologyTestDriver(builder.build(config), config, Instant.ofEpochMilli(0))) {
            Map<String, TestOutputTopic<String, String>> outputs = new TreeMap<>();
            for (String topic : List.of("out", "out2")) {
                outputs.put(topic, driver.createOutputTopic(topic, new StringDeserializer(), new StringDeserializer()));
            }
            for (List<Object> input : inputs) {
                var topic = driver.createInputTopic((String) input.get(0), new StringSerializer(), new StringSerializer());
                topic.pipeInput((String) input.get(1), (String) input.get(2), ((Number) input.get(3)).longValue());
                List<List<Object>> one = new ArrayList<>();
                for (Map.Entry<String, TestOutputTopic<String, String>> output : outputs.entrySet()) {
                    while (!output.getValue().isEmpty()) {
                        TestRecord<String, String> r = output.getValue().readRecord();
                        one.add(Arrays.asList(output.getKey(), r.key(), r.value(), r.timestamp()));
                    }
                }
                found.add(Collections.singletonList(one));
            }
        }
        List<List<Object>> steps = new ArrayList<>();
        for (List<Object> step : found) {
            @SuppressWarnings("unchecked") List<Object> records = (List<Object>) step.get(0);
            steps.add(records);
        }
        return steps;
    }

    @SuppressWarnings("unchecked")
    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        Map<String, Object> cases = json.readValue(System.in, Map.class);
        Map<String, Object> found = new TreeMap<>();
        for (Map.Entry<String, Object> one : cases.entrySet()) {
            String name = one.getKey().split("#")[0];
            try {
                found.put(one.getKey(), run(name, (List<List<Object>>) one.getValue()));
            } catch (Throwable error) {
                java.io.StringWriter trace = new java.io.StringWriter();
                error.printStackTrace(new java.io.PrintWriter(trace));
                found.put(one.getKey(), "error: " + trace);
            }
        }
        found.put("", new ArrayList<>(TOPOLOGIES.keySet()));
        System.out.println(json.writeValueAsString(found));
    }
}
