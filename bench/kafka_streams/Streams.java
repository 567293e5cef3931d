import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.avro.Conversions;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;

/** The workloads in Kafka Streams. Arguments are name=value, as bench/streamers/job.py has them. */
public class Streams {
    static final int PREFIX = 5;
    static final long WINDOW_MS = 3_600_000L;
    static final long GRACE_MS = 20L * 365 * 86_400_000L;
    static final BigDecimal LEAST = new BigDecimal(5);

    /** Apache Avro's generic records, behind the five bytes of the registry's wire form. */
    static Serde<GenericRecord> avro(String text, int id) {
        Schema schema = new Schema.Parser().parse(text);
        GenericData data = new GenericData();
        data.setFastReaderEnabled(true);
        data.addLogicalTypeConversion(new Conversions.DecimalConversion());
        byte[] prefix = {0, (byte) (id >>> 24), (byte) (id >>> 16), (byte) (id >>> 8), (byte) id};
        // Serdes are shared by the stream threads; Avro's coders are not to be.
        ThreadLocal<BinaryDecoder> decoders = new ThreadLocal<>();
        ThreadLocal<BinaryEncoder> encoders = new ThreadLocal<>();
        ThreadLocal<ByteArrayOutputStream> outs = ThreadLocal.withInitial(() -> new ByteArrayOutputStream(256));
        ThreadLocal<GenericDatumReader<GenericRecord>> readers =
            ThreadLocal.withInitial(() -> new GenericDatumReader<>(schema, schema, data));
        ThreadLocal<GenericDatumWriter<GenericRecord>> writers =
            ThreadLocal.withInitial(() -> new GenericDatumWriter<>(schema, data));
        return Serdes.serdeFrom(
            (topic, record) -> {
                if (record == null) return null;
                try {
                    ByteArrayOutputStream out = outs.get();
                    out.reset();
                    out.write(prefix, 0, PREFIX);
                    BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(out, encoders.get());
                    encoders.set(encoder);
                    writers.get().write(record, encoder);
                    return out.toByteArray();
                } catch (IOException error) {
                    throw new RuntimeException(error);
                }
            },
            (topic, bytes) -> {
                if (bytes == null) return null;
                try {
                    BinaryDecoder decoder =
                        DecoderFactory.get().binaryDecoder(bytes, PREFIX, bytes.length - PREFIX, decoders.get());
                    decoders.set(decoder);
                    return readers.get().read(null, decoder);
                } catch (IOException error) {
                    throw new RuntimeException(error);
                }
            });
    }

    /** A decimal as its text, which loses nothing. */
    static Serde<BigDecimal> decimal() {
        return Serdes.serdeFrom(
            (topic, value) -> value == null ? null : value.toPlainString().getBytes(StandardCharsets.US_ASCII),
            (topic, bytes) -> bytes == null ? null : new BigDecimal(new String(bytes, StandardCharsets.US_ASCII)));
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> job = new HashMap<>();
        for (String argument : arguments) {
            int at = argument.indexOf('=');
            job.put(argument.substring(0, at), argument.substring(at + 1));
        }
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, job.get("application"));
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, job.get("bootstrap"));
        config.put(StreamsConfig.STATE_DIR_CONFIG, job.get("state_dir"));
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, job.get("threads"));
        config.put(
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
            job.get("guarantee").equals("exactly_once") ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        config.put(
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, (long) (Double.parseDouble(job.get("commit_interval_s")) * 1000));
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, Long.parseLong(job.get("cache_bytes")));
        config.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        config.put("auto.offset.reset", "earliest");
        // The bench lets records loose by a commit, so they are read committed with either guarantee.
        config.put(StreamsConfig.consumerPrefix("isolation.level"), "read_committed");
        for (String extra : System.getProperty("bench.extra", "").split(",")) {
            if (!extra.isEmpty()) config.put(extra.split("=")[0], extra.split("=")[1]);
        }

        StreamsBuilder builder = new StreamsBuilder();
        Serde<GenericRecord> orderSerde = avro(job.get("order_schema"), 0);
        Schema resultSchema = new Schema.Parser().parse(job.get("result_schema"));
        Serde<GenericRecord> resultSerde = avro(job.get("result_schema"), Integer.parseInt(job.get("result_id")));
        Schema orderSchema = new Schema.Parser().parse(job.get("order_schema"));
        int orderId = orderSchema.getField("order_id").pos();
        int customerId = orderSchema.getField("customer_id").pos();
        int amount = orderSchema.getField("total_amount").pos();

        KStream<String, GenericRecord> orders =
            builder.stream(job.get("orders"), Consumed.with(Serdes.String(), orderSerde));
        switch (job.get("workload")) {
            case "customer_totals" ->
                byCustomer(orders, orderSerde, customerId)
                    .aggregate(
                        () -> BigDecimal.ZERO,
                        (key, order, total) -> total.add((BigDecimal) order.get(amount)),
                        Materialized.<String, BigDecimal, KeyValueStore<Bytes, byte[]>>as("totals")
                            .withKeySerde(Serdes.String())
                            .withValueSerde(decimal()))
                    .toStream()
                    .to(job.get("output"), Produced.with(Serdes.String(), decimal()));
            case "windowed" ->
                byCustomer(orders, orderSerde, customerId)
                    .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(WINDOW_MS), Duration.ofMillis(GRACE_MS)))
                    .aggregate(
                        () -> BigDecimal.ZERO,
                        (key, order, total) -> total.add((BigDecimal) order.get(amount)),
                        Materialized.<String, BigDecimal, WindowStore<Bytes, byte[]>>as("revenue")
                            .withKeySerde(Serdes.String())
                            .withValueSerde(decimal())
                            .withRetention(Duration.ofMillis(WINDOW_MS + GRACE_MS)))
                    .toStream()
                    .to(
                        job.get("output"),
                        Produced.with(WindowedSerdes.timeWindowedSerdeFrom(String.class, WINDOW_MS), decimal()));
            case "stateless" ->
                orders
                    .filter((key, order) -> ((BigDecimal) order.get(amount)).compareTo(LEAST) > 0)
                    .mapValues(
                        order -> {
                            GenericRecord result = new GenericData.Record(resultSchema);
                            result.put(0, order.get(orderId));
                            result.put(1, order.get(customerId));
                            result.put(2, ((BigDecimal) order.get(amount)).doubleValue());
                            return result;
                        })
                    .to(job.get("output"), Produced.with(Serdes.String(), resultSerde));
            case "join" -> {
                Serde<GenericRecord> customerSerde = avro(job.get("customer_schema"), 0);
                var customers = builder.table(job.get("customers"), Consumed.with(Serdes.String(), customerSerde));
                orders
                    .join(
                        customers,
                        (order, customer) -> {
                            GenericRecord result = new GenericData.Record(resultSchema);
                            result.put(0, order.get(orderId));
                            result.put(1, customer.get(1));
                            result.put(2, ((BigDecimal) order.get(amount)).doubleValue());
                            return result;
                        },
                        Joined.with(Serdes.String(), orderSerde, customerSerde))
                    .to(job.get("output"), Produced.with(Serdes.String(), resultSerde));
            }
            default -> throw new IllegalArgumentException(job.get("workload"));
        }

        CountDownLatch stopped = new CountDownLatch(1);
        KafkaStreams streams = new KafkaStreams(builder.build(config), config);
        streams.setUncaughtExceptionHandler(
            error -> {
                error.printStackTrace();
                Runtime.getRuntime().halt(1);
                return null;
            });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(10));
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }

    static KGroupedStream<String, GenericRecord> byCustomer(
            KStream<String, GenericRecord> orders, Serde<GenericRecord> serde, int customerId) {
        return orders.groupBy(
            (key, order) -> order.get(customerId).toString(), Grouped.with("by-customer", Serdes.String(), serde));
    }
}
