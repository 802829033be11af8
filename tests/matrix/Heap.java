// A JVM whose heap is a graph of known content. Each thread owns one: it replaces parts of it, makes garbage, and goes
// through all of it again and again; parts wander from thread to thread. It works until its standard input ends, then
// says what it has found. Heap SEED THREADS NODES
import java.util.Random;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;

public class Heap {
  // What a node holds follows from its key alone, so that every copy of it can be checked.
  static final class Node {
    final long key;
    final long[] words;
    final String text;
    final Node twin;  // a second object of the same key, reached by reference only

    Node(long key, boolean hasTwin) {
      this.key = key;
      words = new long[8 + (int) (key & 31)];
      for (int i = 0; i < words.length; i++) words[i] = mixed(key + i);
      text = Long.toHexString(mixed(~key));
      twin = hasTwin ? new Node(key, false) : null;
    }

    boolean right(long due) {
      if (key != due || words.length != 8 + (int) (key & 31)) return false;
      for (int i = 0; i < words.length; i++) if (words[i] != mixed(key + i)) return false;
      return text.equals(Long.toHexString(mixed(~key))) && (twin == null || twin.right(due));
    }
  }

  static long mixed(long word) {
    word = (word ^ word >>> 30) * 0xbf58476d1ce4e5b9L;
    word = (word ^ word >>> 27) * 0x94d049bb133111ebL;
    return word ^ word >>> 31;
  }

  static final AtomicLong wrong = new AtomicLong(), rounds = new AtomicLong();
  static final ArrayBlockingQueue<Node> wandering = new ArrayBlockingQueue<>(256);
  static volatile boolean stop = false;

  static final class Worker extends Thread {
    final Random random;
    final long[] keys;
    final Node[] nodes;

    Worker(long seed, int count) {
      random = new Random(seed);
      keys = new long[count];
      nodes = new Node[count];
      for (int i = 0; i < count; i++) replace(i);
    }

    void replace(int i) {
      keys[i] = random.nextLong();
      nodes[i] = new Node(keys[i], true);
    }

    // A node that another thread has made comes in the place of one of ours, which goes on its way.
    void exchange(int i) {
      Node come = wandering.poll();
      if (!wandering.offer(nodes[i])) return;
      if (come == null) {
        replace(i);
        return;
      }
      keys[i] = come.key;
      nodes[i] = come;
    }

    void check() {
      for (int i = 0; i < nodes.length; i++) if (!nodes[i].right(keys[i])) wrong.incrementAndGet();
    }

    @Override public void run() {
      try {
        while (!stop) {
          for (int n = 0; n < nodes.length / 8; n++) replace(random.nextInt(nodes.length));
          for (int n = 0; n < 64; n++) exchange(random.nextInt(nodes.length));
          check();
          rounds.incrementAndGet();
        }
        check();
      } catch (Throwable trouble) {
        wrong.incrementAndGet();
        trouble.printStackTrace();
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    Worker[] workers = new Worker[Integer.parseInt(arguments[1])];
    for (int i = 0; i < workers.length; i++)
      workers[i] = new Worker(Long.parseLong(arguments[0]) + i, Integer.parseInt(arguments[2]));
    for (Worker worker : workers) worker.start();
    System.out.println("ready");
    while (System.in.read() >= 0) {
    }
    stop = true;
    for (Worker worker : workers) worker.join();
    long collections = 0;
    for (var collector : java.lang.management.ManagementFactory.getGarbageCollectorMXBeans())
      collections += collector.getCollectionCount();
    System.out.println("rounds " + rounds + " collections " + collections + " wrong " + wrong);
    System.exit(wrong.get() == 0 ? 0 : 1);
  }
}
