/* A plugin with a thread of its own, for tests of what is late:
 *
 *   slow[:late=MS][:hold=MS]   answers so late; holds addresses so long behind its answer
 *
 * With neither it copies beside the mover. Uses libc: not for other programs' processes. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drover/migrator.h"

struct drover_engine {
  const struct drover_host* host;
  unsigned late_ms, hold_ms;
  pthread_t thread;
  struct drover_folio* folios;
  uint64_t count;
  atomic_uint asked, answered, let_go, stop;
};

static void nap_ms(unsigned ms) {
  const struct timespec nap = {ms / 1000, (long)(ms % 1000) * 1000000};
  nanosleep(&nap, NULL);
}

static void* work(void* self) {
  struct drover_engine* engine = self;
  const struct timespec blink = {0, 20000};
  while (!atomic_load(&engine->stop)) {
    const unsigned asked = atomic_load(&engine->asked);
    if (asked == atomic_load(&engine->answered)) {
      nanosleep(&blink, NULL);
      continue;
    }
    if (engine->late_ms > 0) nap_ms(engine->late_ms);
    for (uint64_t i = 0; i < engine->count; ++i) {
      struct drover_folio* folio = &engine->folios[i];
      engine->host->copy(folio->target, folio->source, folio->length_bytes);
      folio->copied = 1;
    }
    atomic_store(&engine->answered, asked);
    if (engine->hold_ms > 0) nap_ms(engine->hold_ms);
    atomic_store(&engine->let_go, asked);
  }
  return NULL;
}

static int open_engine(const struct drover_host* host, const char* options,
                       struct drover_engine** engine, char* why, size_t why_bytes) {
  struct drover_engine* made = host->allocate(host->context, sizeof *made);
  if (made == NULL) return ENOMEM;
  made->host = host;
  const char* late = strstr(options, "late=");
  const char* hold = strstr(options, "hold=");
  if (late != NULL) made->late_ms = (unsigned)atoi(late + 5);
  if (hold != NULL) made->hold_ms = (unsigned)atoi(hold + 5);
  if (pthread_create(&made->thread, NULL, work, made) != 0) {
    snprintf(why, why_bytes, "no thread");
    return EAGAIN;
  }
  *engine = made;
  return 0;
}

static void close_engine(struct drover_engine* engine) {
  atomic_store(&engine->stop, 1);
  pthread_join(engine->thread, NULL);
}

static int submit(struct drover_engine* engine, struct drover_folio* folios, uint64_t count) {
  if (atomic_load(&engine->asked) != atomic_load(&engine->let_go)) return DROVER_BUSY;
  if (count == 0) return DROVER_TOO_SMALL;
  engine->folios = folios;
  engine->count = count;
  atomic_fetch_add(&engine->asked, 1);
  return DROVER_TAKEN;
}

static int poll_engine(struct drover_engine* engine, uint64_t deadline_ns) {
  do {
    if (atomic_load(&engine->asked) == atomic_load(&engine->answered)) return 1;
  } while (engine->host->now_ns() < deadline_ns);
  return 0;
}

static int holds_addresses(struct drover_engine* engine) {
  return atomic_load(&engine->asked) != atomic_load(&engine->let_go);
}

static void report(struct drover_engine* engine, struct drover_migrator_report* what) {
  clockid_t clock;
  struct timespec used;
  if (pthread_getcpuclockid(engine->thread, &clock) == 0 && clock_gettime(clock, &used) == 0)
    what->cpu_ns = (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static const struct drover_migrator slow = {
    .abi = DROVER_MIGRATOR_ABI,
    .size_bytes = sizeof(struct drover_migrator),
    .name = "slow",
    .description = "copies on a thread of its own, late where it is asked to",
    .folio_bytes_max = 2 << 20,
    .folios_max = 4096,
    .open = open_engine,
    .close = close_engine,
    .submit = submit,
    .poll = poll_engine,
    .holds_addresses = holds_addresses,
    .report = report,
};

const struct drover_migrator* drover_migrator_describe(void);
const struct drover_migrator* drover_migrator_describe(void) { return &slow; }
