// A JVM with memory of known content: every word of a table says which one it is, and a thread goes
// on checking and rewriting them while garbage is made. At its end (SIGTERM) it says whether every
// word was right.
public class Ledger {
  static final int ARRAYS = 256, WORDS = 16384;  // 32 MiB
  static volatile boolean stop = false;
  static long wrong = 0, rounds = 0;

  public static void main(String[] arguments) throws Exception {
    long[][] table = new long[ARRAYS][WORDS];
    for (int i = 0; i < ARRAYS; i++) for (int k = 0; k < WORDS; k++) table[i][k] = (long) i << 32 | k;
    Thread main = Thread.currentThread();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      stop = true;
      try {
        main.join();
      } catch (InterruptedException end) {
      }
      System.out.println(wrong == 0 ? "every word was right" : wrong + " words were wrong");
    }));
    System.out.println("ready");
    for (; !stop; rounds++) {
      int i = (int) (rounds % ARRAYS);
      long[] fresh = new long[WORDS];  // the old one is garbage
      for (int k = 0; k < WORDS; k++) {
        if (table[i][k] != ((long) i << 32 | k)) wrong++;
        fresh[k] = table[i][k];
      }
      table[i] = fresh;
      Thread.sleep(1);
    }
  }
}
