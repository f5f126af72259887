package dev.evergrant.spark;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Collections;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;

/**
 * {@code spark.plugins=dev.evergrant.spark.TokenFilePlugin}: the driver and every executor take up
 * the tokens that the evergrant agent beside them writes.
 *
 * <p>{@code spark.evergrant.tokenFile}: the file; absent: the environment's
 * HADOOP_TOKEN_FILE_LOCATION. {@code spark.evergrant.tokenFile.pollMs}: default 1000.
 */
public final class TokenFilePlugin implements SparkPlugin {
  private static final String FILE = "spark.evergrant.tokenFile";
  private static final String POLL_MS = "spark.evergrant.tokenFile.pollMs";

  @Override
  public DriverPlugin driverPlugin() {
    return new DriverPlugin() {
      private TokenFileWatcher watcher;

      @Override
      public Map<String, String> init(SparkContext context, PluginContext plugin) {
        watcher = start(plugin.conf(), context.hadoopConfiguration());
        return Collections.emptyMap();
      }

      @Override
      public void shutdown() {
        stop(watcher);
      }
    };
  }

  @Override
  public ExecutorPlugin executorPlugin() {
    return new ExecutorPlugin() {
      private TokenFileWatcher watcher;

      @Override
      public void init(PluginContext plugin, Map<String, String> extra) {
        watcher = start(plugin.conf(), new Configuration());
      }

      @Override
      public void shutdown() {
        stop(watcher);
      }
    };
  }

  private static TokenFileWatcher start(SparkConf spark, Configuration hadoop) {
    String path = spark.get(FILE, System.getenv("HADOOP_TOKEN_FILE_LOCATION"));
    if (path == null || path.isEmpty()) {
      throw new IllegalStateException(
          "no token file: set " + FILE + " or HADOOP_TOKEN_FILE_LOCATION");
    }
    try {
      return TokenFileWatcher.start(path, spark.getLong(POLL_MS, 1000), hadoop);
    } catch (IOException failed) {
      throw new UncheckedIOException(failed);
    }
  }

  private static void stop(TokenFileWatcher watcher) {
    if (watcher != null) {
      watcher.close();
    }
  }
}
