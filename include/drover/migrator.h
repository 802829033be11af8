/* The binary interface of drover's copy engines ("migrators"), version 1. C11; nothing else is
 * needed to write one. docs/migrators.md is the same text with an example, for people.
 *
 * A plugin is a shared object that exports one function, drover_migrator_describe. drover opens an
 * engine of it, hands it lists of folios to copy (parts of a batch of pages whose threads wait
 * meanwhile), asks for the answer, and closes it. What an engine does not mark as copied drover
 * copies by the CPU: an honest failure costs time and never data.
 *
 * Threads. `open` and `close` are called on an ordinary thread and may block and use libc.
 * `submit`, `poll` and `holds_addresses` are called on one thread, the mover, while memory of the
 * program is absent: whoever touches that memory waits for the mover. So these three must not
 * block, must not call malloc or anything that takes a lock, and may touch only
 *   - the folios' sources (to read) and targets (to write), and the list of folios;
 *   - the plugin's own code and variables, and memory that drover_host.allocate gave.
 * The same holds for threads that the plugin starts itself, as long as they work on a submission.
 * Everything else may be what is being moved, and the mover would wait for itself for ever.
 *
 * An engine is never used by two drover threads at a time, but for `report`.
 */
#ifndef DROVER_MIGRATOR_H
#define DROVER_MIGRATOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Another number is another interface: drover refuses a plugin that was built for one. */
#define DROVER_MIGRATOR_ABI 1u

/* The name of the one function that a plugin exports: const struct drover_migrator* (*)(void). What
 * it returns, and all that it points to, stays as it is until the plugin is unloaded. */
#define DROVER_MIGRATOR_SYMBOL "drover_migrator_describe"

/* One or more pages that are copied as one. */
struct drover_folio {
  uint64_t source;       /* address, a multiple of 4096 */
  uint64_t target;       /* likewise; never overlaps the source or another folio */
  uint64_t length_bytes; /* a multiple of 4096; in a move 4096 or 2 MiB, all of a list the same */
  uint64_t copied;       /* 0; the engine sets 1 once every byte is at the target */
};

/* Answers of submit. */
enum {
  DROVER_TAKEN = 0,       /* poll is called until it answers 1 */
  DROVER_BUSY = 1,        /* at work on an earlier list: an engine refuses, it never queues */
  DROVER_TOO_SMALL = 2,   /* not worth the set-up; the answer to an empty list, too */
  DROVER_UNSUPPORTED = 3, /* it cannot copy such folios */
};

/* Flags of a migrator. */
/* submit, poll and holds_addresses, and the plugin's own threads, use no libc, no thread-local
 * storage and no floating-point state beyond what the compiler saves: they may run on drover's raw
 * threads in another program's process. Without this flag the engine works in drover's own process
 * (its benchmarks and tests, and programs that link the library) alone. */
#define DROVER_MIGRATOR_FREESTANDING (UINT64_C(1) << 0)
/* Needs a process of its own: never in a program that `drover run` has started. */
#define DROVER_MIGRATOR_OWN_PROCESS (UINT64_C(1) << 1)
/* Works only on memory that stays where it is in RAM (mlock): not on a live program's pages. */
#define DROVER_MIGRATOR_PINNED (UINT64_C(1) << 2)
/* Has a number of channels, set by the option channels=N. */
#define DROVER_MIGRATOR_CHANNELS (UINT64_C(1) << 3)

/* What drover offers to an engine; valid from open until close has returned. */
struct drover_host {
  uint32_t abi;        /* DROVER_MIGRATOR_ABI of this drover */
  uint32_t size_bytes; /* of this struct: later fields may be absent */
  void* context;       /* for the calls below */
  /* Zeroed whole pages that are never moved, for what the mover's calls touch; about 15 MiB in all.
   * Only inside open. Freed by drover behind close. NULL: there are none. */
  void* (*allocate)(void* context, uint64_t length_bytes);
  /* Copies on the calling thread, as fast as drover knows how on this CPU. Any thread. */
  void (*copy)(uint64_t target, uint64_t source, uint64_t length_bytes);
  /* CLOCK_MONOTONIC, without libc. Any thread. */
  uint64_t (*now_ns)(void);
};

/* What an engine is, as it stands. */
struct drover_migrator_report {
  uint32_t size_bytes; /* set by drover: fields beyond it must not be written */
  uint32_t channels;   /* at work; 1 where that means nothing */
  uint32_t hardware;   /* 1: a device does the copying; 0: a CPU does */
  uint32_t reserved;
  uint64_t cpu_ns; /* CPU time of the plugin's own threads since open */
};

struct drover_engine; /* the plugin's own */

struct drover_migrator {
  uint32_t abi;            /* DROVER_MIGRATOR_ABI */
  uint32_t size_bytes;     /* sizeof(struct drover_migrator) */
  const char* name;        /* 1 to 23 of a-z, 0-9 and -, beginning with a letter */
  const char* description; /* one line */
  uint64_t flags;          /* DROVER_MIGRATOR_...; unknown ones are refused */
  /* drover does not offer what lies outside these; 0: no bound. */
  uint64_t alignment_bytes; /* of sources and targets; a power of two */
  uint64_t folio_bytes_max; /* of one folio */
  uint64_t folios_max;      /* of one submission */
  /* Makes an engine. `options` is what stands behind the name's colon, "" where nothing does. 0:
   * done. Else an errno value, with a line in `why` that says what is wrong and the way out.
   * Several engines of one plugin may be open. */
  int (*open)(const struct drover_host* host, const char* options, struct drover_engine** engine,
              char* why, size_t why_bytes);
  /* No submission is under way, and holds_addresses has answered 0. */
  void (*close)(struct drover_engine* engine);
  /* DROVER_TAKEN: the list and the memory that it names belong to the engine until poll has
   * answered 1, and it answers DROVER_BUSY until then. */
  int (*submit)(struct drover_engine* engine, struct drover_folio* folios, uint64_t count);
  /* 1: done, the marks are final. 0: not yet. Returns at `deadline_ns` (CLOCK_MONOTONIC) at the
   * latest; may work on the calling thread till then. The program's threads wait meanwhile. */
  int (*poll)(struct drover_engine* engine, uint64_t deadline_ns);
  /* 1: somebody may still read sources or write targets of an earlier list, although its answer was
   * given. Their addresses are used for nothing else until this answers 0. NULL: never. */
  int (*holds_addresses)(struct drover_engine* engine);
  /* NULL: one channel, no hardware, no threads of its own. Any thread. */
  void (*report)(struct drover_engine* engine, struct drover_migrator_report* report);
};

#ifdef __cplusplus
}
#endif

#endif
