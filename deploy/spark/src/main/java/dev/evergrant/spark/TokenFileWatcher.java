package dev.evergrant.spark;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.LinkedHashSet;
import java.util.Set;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.security.Credentials;
import org.apache.hadoop.security.UserGroupInformation;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Adds the tokens of a Hadoop token file to the users of this JVM, now and whenever the file is
 * replaced. A JVM reads HADOOP_TOKEN_FILE_LOCATION once, at login; without this it goes on with the
 * tokens of that moment until they end.
 *
 * <p>Needs Hadoop only, so any Hadoop client may use it: {@code TokenFileWatcher.start(path, 1000,
 * conf)}. Open connections go on as they are; the next ones find the new tokens, since an entry is
 * replaced under its alias. Nothing is ever removed from a user: Hadoop has no call for it.
 */
public final class TokenFileWatcher implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(TokenFileWatcher.class);

  private final Path path;
  private final long pollMs;
  private final Configuration conf;
  private final Set<UserGroupInformation> users;
  private final Thread thread;
  private volatile boolean closed;
  private Object seen;

  private TokenFileWatcher(Path path, long pollMs, Configuration conf) throws IOException {
    this.path = path;
    this.pollMs = pollMs;
    this.conf = conf;
    // Spark runs tasks as a user of its own, which is the current one here; file systems that were
    // opened before belong to the login user.
    this.users = new LinkedHashSet<>();
    users.add(UserGroupInformation.getCurrentUser());
    users.add(UserGroupInformation.getLoginUser());
    this.thread = new Thread(this::watch, "evergrant-token-file");
    thread.setDaemon(true);
  }

  /**
   * Reads the file once, then watches it in a daemon thread.
   *
   * @param path the token file; it may not be there yet
   * @param pollMs how often its name is looked at, at least 100
   */
  public static TokenFileWatcher start(String path, long pollMs, Configuration conf)
      throws IOException {
    if (pollMs < 100) {
      throw new IllegalArgumentException("poll interval below 100 ms: " + pollMs);
    }
    TokenFileWatcher watcher = new TokenFileWatcher(new File(path).toPath(), pollMs, conf);
    watcher.look();
    watcher.thread.start();
    return watcher;
  }

  private void watch() {
    while (!closed) {
      try {
        Thread.sleep(pollMs);
        look();
      } catch (InterruptedException ended) {
        return;
      } catch (RuntimeException unexpected) {
        // Whatever it was, the next look may do better; a dead watcher would be an outage later.
        LOG.warn("Looking at {} failed: {}", path, unexpected.getClass().getName());
      }
    }
  }

  private void look() {
    Object found = mark();
    if (found == null || found.equals(seen)) {
      return;
    }
    try {
      Credentials credentials = Credentials.readTokenStorageFile(path.toFile(), conf);
      for (UserGroupInformation user : users) {
        user.addCredentials(credentials);
      }
      seen = found;
      LOG.info("Added {} Hadoop tokens from {}", credentials.numberOfTokens(), path);
    } catch (IOException unreadable) {
      // The agent replaces the file whole, so this is somebody else's file, or no permission.
      LOG.warn("{} can't be read as a token file: {}", path, unreadable.toString());
      seen = found;
    }
  }

  /** What changes when the file is replaced, even within a clock tick; null while there is none. */
  private Object mark() {
    try {
      BasicFileAttributes facts = Files.readAttributes(path, BasicFileAttributes.class);
      return facts.fileKey() + "/" + facts.lastModifiedTime() + "/" + facts.size();
    } catch (NoSuchFileException missing) {
      return null;
    } catch (IOException unreadable) {
      LOG.warn("{} can't be looked at: {}", path, unreadable.toString());
      return null;
    }
  }

  @Override
  public void close() {
    closed = true;
    thread.interrupt();
  }
}
