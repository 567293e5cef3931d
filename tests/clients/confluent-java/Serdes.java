import io.confluent.kafka.serializers.KafkaAvroDeserializer;
import io.confluent.kafka.serializers.KafkaAvroSerializer;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.Conversions;
import org.apache.avro.LogicalTypes;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * Confluent's serializers on Apache Kafka's own client, with the schemas and the registry they are told.
 *
 * <p>Arguments: bootstrap servers, the registry, the topic, the key's schema, the value's. Three ways of finding the
 * schema's id write one record each; then everything in the topic's only partition is read, one line a record: the key's
 * and the value's JSON, with a tab between.
 */
public class Serdes {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[0], registry = args[1], topic = args[2];
        Schema keys = new Schema.Parser().parse(args[3]), values = new Schema.Parser().parse(args[4]);
        List<Map<String, Object>> ways = List.of(
                Map.of(),
                Map.of("auto.register.schemas", false),
                Map.of("auto.register.schemas", false, "use.latest.version", true));
        for (int way = 0; way < ways.size(); way++) {
            Map<String, Object> config = new HashMap<>(ways.get(way));
            config.put("bootstrap.servers", bootstrap);
            config.put("schema.registry.url", registry);
            config.put("key.serializer", KafkaAvroSerializer.class);
            config.put("value.serializer", KafkaAvroSerializer.class);
            try (KafkaProducer<Object, Object> producer = new KafkaProducer<>(config)) {
                producer.send(new ProducerRecord<>(topic, key(keys, way), value(values, way))).get();
            }
        }
        Map<String, Object> config = Map.of(
                "bootstrap.servers", bootstrap,
                "schema.registry.url", registry,
                "key.deserializer", KafkaAvroDeserializer.class,
                "value.deserializer", KafkaAvroDeserializer.class);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<Object, Object> consumer = new KafkaConsumer<>(config)) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end) {
                consumer.poll(Duration.ofMillis(500))
                        .forEach(record -> System.out.println(record.key() + "\t" + record.value()));
            }
        }
    }

    private static GenericRecord key(Schema schema, int way) {
        GenericRecord key = new GenericData.Record(schema);
        key.put("order_id", "java-" + way);
        return key;
    }

    private static GenericRecord value(Schema schema, int way) {
        Schema total = schema.getField("total").schema();
        ByteBuffer digits = new Conversions.DecimalConversion()
                .toBytes(new BigDecimal("12.50"), total, LogicalTypes.fromSchema(total));
        GenericRecord value = new GenericData.Record(schema);
        value.put("order_id", "java-" + way);
        value.put("total", digits);
        value.put("status", new GenericData.EnumSymbol(schema.getField("status").schema(), "PAID"));
        value.put("note", way == 0 ? null : "way " + way);
        value.put("tags", List.of("a", "b"));
        return value;
    }
}
