// The promotion join on Kafka Streams: left join of purchases with acts of the 5 minutes before, keyed by user.
//   Peer drain <events>              a backlog of half purchases, half acts; first to last result
//   Peer latency <seconds> <warmup>  100 acts and 100 purchases a second; purchase sent -> affected result read
// BOOT names the brokers. Prints one line of JSON. Its topics peer.* are made anew: 6 partitions, 3 copies, 2 in sync.
// Only affected purchases are timed: Kafka Streams says "no" after window and grace.
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;

public class Peer {
  static final String BOOT = System.getenv("BOOT");
  static final List<String> TOPICS = List.of("peer.purchase", "peer.promo", "peer.out");
  static final String PAD = "x".repeat(150);
  static final String RUN = "peer-" + System.currentTimeMillis();

  public static void main(String[] args) throws Exception {
    makeTopics();
    try {
      if (args[0].equals("drain")) drain(Integer.parseInt(args[1]) / 2);
      else latency(Integer.parseInt(args[1]), Integer.parseInt(args[2]));
    } finally {
      removeTopics();
    }
    System.exit(0);
  }

  static void makeTopics() throws Exception {
    removeTopics();
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", BOOT))) {
      List<NewTopic> topics = new ArrayList<>();
      for (String topic : TOPICS)
        topics.add(new NewTopic(topic, 6, (short) 3).configs(Map.of("min.insync.replicas", "2")));
      admin.createTopics(topics).all().get();
    }
    Thread.sleep(2_000);
  }

  static void removeTopics() throws Exception {
    try (Admin admin = Admin.create(Map.of("bootstrap.servers", BOOT))) {
      // Those that an earlier run's streams made for themselves as well.
      List<String> there = new ArrayList<>();
      for (String name : admin.listTopics().names().get())
        if (TOPICS.contains(name) || name.startsWith("peer-")) there.add(name);
      if (!there.isEmpty()) admin.deleteTopics(there).all().get();
      for (int tries = 0; tries < 50; tries += 1) {
        Set<String> left = admin.listTopics().names().get();
        if (there.stream().noneMatch(left::contains)) return;
        Thread.sleep(200);
      }
    }
  }

  static KafkaStreams streams(int commitMs, String lingerMs, String offsets, boolean snappy) {
    Properties p = new Properties();
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, RUN);
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, BOOT);
    p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
    p.put(StreamsConfig.STATE_DIR_CONFIG, System.getProperty("java.io.tmpdir") + "/" + RUN);
    p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 3);
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, commitMs);
    p.put(StreamsConfig.POLL_MS_CONFIG, 10);
    p.put(StreamsConfig.producerPrefix(ProducerConfig.ACKS_CONFIG), "all");
    p.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), lingerMs);
    if (snappy) p.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "snappy");
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), offsets);
    StreamsBuilder b = new StreamsBuilder();
    KStream<String, String> purchases = b.stream("peer.purchase"), acts = b.stream("peer.promo");
    JoinWindows before =
        JoinWindows.ofTimeDifferenceAndGrace(Duration.ofMinutes(5), Duration.ofSeconds(30)).after(Duration.ZERO);
    purchases.leftJoin(acts, (purchase, act) -> purchase + "|" + (act == null ? 0 : 1), before).to("peer.out");
    return new KafkaStreams(b.build(), p);
  }

  static KafkaConsumer<String, String> reader() {
    String text = StringDeserializer.class.getName();
    KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", BOOT, "group.id",
        RUN + "-reader", "key.deserializer", text, "value.deserializer", text, "auto.offset.reset", "latest"));
    c.subscribe(List.of("peer.out"));
    while (c.assignment().isEmpty()) c.poll(Duration.ofMillis(200));
    c.poll(Duration.ofMillis(500));
    return c;
  }

  static KafkaProducer<String, String> writer(String lingerMs, String compression) {
    String text = StringSerializer.class.getName();
    return new KafkaProducer<>(Map.of("bootstrap.servers", BOOT, "key.serializer", text, "value.serializer", text,
        "acks", "all", "linger.ms", lingerMs, "compression.type", compression, "batch.size", "65536"));
  }

  static void drain(int pairs) throws Exception {
    long base = System.currentTimeMillis() - 3_600_000;
    Random random = new Random(1);
    try (var p = writer("10", "snappy")) {
      for (int i = 0; i < pairs; i += 1) {
        long at = base + i * 5L;
        String user = "user:" + random.nextInt(50_000);
        p.send(new ProducerRecord<>("peer.promo", null, at, user, "a" + i + "|" + PAD));
        String buyer = i % 2 == 0 ? user : "user:" + random.nextInt(50_000);
        p.send(new ProducerRecord<>("peer.purchase", null, at + 1, buyer, "p" + i + "|" + PAD));
      }
    }
    var c = reader();
    KafkaStreams s = streams(100, "10", "earliest", true);
    long started = System.nanoTime(), first = 0, last = started, results = 0;
    s.start();
    while (System.nanoTime() - last < 5_000_000_000L || (results == 0 && System.nanoTime() - started < 60_000_000_000L)) {
      int count = c.poll(Duration.ofMillis(100)).count();
      if (count == 0) continue;
      if (first == 0) first = System.nanoTime();
      results += count;
      last = System.nanoTime();
    }
    System.out.printf(Locale.ROOT, "{\"events\":%d,\"results\":%d,\"eventsPerSecond\":%.0f,\"secondsWithStart\":%.3f}%n",
        2 * pairs, results, 2 * pairs / ((last - first) / 1e9), (last - started) / 1e9);
    s.close(Duration.ofSeconds(10));
  }

  static void latency(int seconds, int warmUp) throws Exception {
    KafkaStreams s = streams(1_000, "0", "latest", false);
    s.start();
    while (s.state() != KafkaStreams.State.RUNNING) Thread.sleep(100);
    var c = reader();
    Map<String, Long> sent = new ConcurrentHashMap<>();
    List<Double> tookMs = new ArrayList<>();
    long begin = System.nanoTime(), until = begin + (seconds + warmUp + 5) * 1_000_000_000L;
    Thread reading = new Thread(() -> {
      while (System.nanoTime() < until)
        for (var record : c.poll(Duration.ofMillis(100))) {
          if (!record.value().endsWith("|1")) continue;
          Long at = sent.remove(record.value().substring(0, record.value().indexOf('|')));
          long now = System.nanoTime();
          if (at != null && at - begin > warmUp * 1_000_000_000L) tookMs.add((now - at) / 1e6);
        }
    });
    reading.start();
    try (var p = writer("0", "none")) {
      long next = System.nanoTime();
      for (int i = 0; i < (seconds + warmUp) * 100; i += 1) {
        p.send(new ProducerRecord<>("peer.promo", RUN + "u" + i, "a" + i + PAD));
        // As ours: by a user who acted a second ago.
        if (i >= 100) {
          String id = RUN + "p" + i;
          sent.put(id, System.nanoTime());
          p.send(new ProducerRecord<>("peer.purchase", RUN + "u" + (i - 100), id + "|" + PAD));
        }
        next += 10_000_000L;
        long wait = next - System.nanoTime();
        if (wait > 0) Thread.sleep(wait / 1_000_000, (int) (wait % 1_000_000));
      }
      reading.join();
    }
    Collections.sort(tookMs);
    System.out.printf(Locale.ROOT, "{\"count\":%d,\"p50Ms\":%.1f,\"p99Ms\":%.1f,\"p999Ms\":%.1f,\"maxMs\":%.1f,\"lost\":%d}%n",
        tookMs.size(), at(tookMs, 0.5), at(tookMs, 0.99), at(tookMs, 0.999), at(tookMs, 1), sent.size());
    s.close(Duration.ofSeconds(10));
  }

  static double at(List<Double> sorted, double share) {
    return sorted.isEmpty() ? -1 : sorted.get(Math.min(sorted.size() - 1, (int) (sorted.size() * share)));
  }
}
