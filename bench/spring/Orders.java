import java.lang.management.ManagementFactory;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Deserializer;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.listener.BatchMessageListener;
import org.springframework.kafka.listener.ConcurrentMessageListenerContainer;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.MessageListener;

/** Reads a topic of orders with spring-kafka: bootstrap, topic, partitions, group, records, schema, record or batch. */
public class Orders {
    static final int PREFIX = 5;
    static long count, quantity, started, cpu, records;
    static final CountDownLatch done = new CountDownLatch(1);

    static class Avro implements Deserializer<GenericRecord> {
        private final GenericDatumReader<GenericRecord> reader;
        private BinaryDecoder decoder;

        Avro(String schema) {
            reader = new GenericDatumReader<>(new Schema.Parser().parse(schema));
        }

        @Override
        public GenericRecord deserialize(String topic, byte[] value) {
            try {
                decoder = DecoderFactory.get().binaryDecoder(value, PREFIX, value.length - PREFIX, decoder);
                return reader.read(null, decoder);
            } catch (java.io.IOException error) {
                throw new RuntimeException(error);
            }
        }
    }

    static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    /** Several container threads may call it. */
    static synchronized void one(GenericRecord order) {
        if (count == 0) {
            started = System.nanoTime();
            cpu = cpuNanos();
        }
        count++;
        quantity += (Long) ((GenericRecord) ((List<?>) order.get("items")).get(0)).get("quantity");
        if (count == records) {
            double seconds = (System.nanoTime() - started) / 1e9;
            double spent = (cpuNanos() - cpu) / 1e9;
            System.out.printf(
                "{\"records\": %d, \"quantity\": %d, \"seconds\": %f, \"cpu\": %f}%n", count, quantity, seconds, spent);
            done.countDown();
        }
    }

    public static void main(String[] args) throws Exception {
        records = Long.parseLong(args[4]);
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", args[0]);
        config.put("group.id", args[3]);
        config.put("auto.offset.reset", "earliest");
        config.put("enable.auto.commit", false);
        config.put("isolation.level", "read_committed");
        String schema = args[5];
        var factory = new DefaultKafkaConsumerFactory<byte[], GenericRecord>(
            config, ByteArrayDeserializer::new, () -> new Avro(schema));
        var properties = new ContainerProperties(args[1]);
        if (args[6].equals("batch")) {
            properties.setMessageListener((BatchMessageListener<byte[], GenericRecord>) batch -> {
                for (ConsumerRecord<byte[], GenericRecord> record : batch) one(record.value());
            });
        } else {
            properties.setMessageListener((MessageListener<byte[], GenericRecord>) record -> one(record.value()));
        }
        var container = new ConcurrentMessageListenerContainer<>(factory, properties);
        container.setConcurrency(Integer.parseInt(args[2]));
        container.start();
        done.await();
        container.stop();
    }
}
