package dev.evergrant.interop;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerTaskEnd;

/**
 * Reads and writes HDFS on executors for a given time and says on standard output how it went:
 * {@code rounds=N failedTasks=N executors=N}. Knows nothing of evergrant.
 *
 * <p>Arguments: folder on HDFS, seconds.
 */
public final class LongJob {
  private static final int PARTITIONS = 4;
  private static final int LINES = 100;

  public static void main(String[] args) throws Exception {
    String folder = args[0];
    long end = System.nanoTime() + Long.parseLong(args[1]) * 1_000_000_000L;
    AtomicInteger failed = new AtomicInteger();
    Set<String> executors = ConcurrentHashMap.newKeySet();
    int rounds = 0;
    try (JavaSparkContext spark = new JavaSparkContext(new SparkConf().setAppName("long-job"))) {
      spark.sc().addSparkListener(new SparkListener() {
        @Override
        public void onTaskEnd(SparkListenerTaskEnd task) {
          executors.add(task.taskInfo().executorId());
          if (!task.taskInfo().successful()) {
            failed.incrementAndGet();
          }
        }
      });
      List<Integer> numbers = new ArrayList<>();
      for (int number = 0; number < LINES; number++) {
        numbers.add(number);
      }
      while (System.nanoTime() < end) {
        rounds++;
        String file = folder + "/round-" + rounds;
        spark.parallelize(numbers, PARTITIONS).saveAsTextFile(file);
        long lines = spark.textFile(file, PARTITIONS).count();
        if (lines != LINES) {
          throw new IllegalStateException("read " + lines + " lines of round " + rounds);
        }
        // Without the pause the connections would never be idle, and an open one needs no token.
        Thread.sleep(2500);
        System.out.println("round " + rounds + " done, failed tasks so far " + failed.get());
      }
    } finally {
      System.out.println(
          "rounds=" + rounds + " failedTasks=" + failed.get() + " executors=" + executors.size());
    }
  }
}
