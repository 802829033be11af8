/* A copy engine for drover, as a start for your own: it copies on the mover's thread, folio by
 * folio, until the deadline, and leaves every Nth folio to drover where it is asked to.
 *
 *   sample[:leave=N]
 *
 * It uses no libc in submit and poll, so it may also work in programs under `drover run`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drover/migrator.h"

struct drover_engine {
  const struct drover_host* host;
  uint64_t leave; /* 0: none */
  /* The list in hand. */
  struct drover_folio* folios;
  uint64_t count, next;
};

static int open_engine(const struct drover_host* host, const char* options,
                       struct drover_engine** engine, char* why, size_t why_bytes) {
  unsigned long leave = 0;
  if (*options != '\0') {
    char* end = NULL;
    if (strncmp(options, "leave=", 6) == 0 && options[6] >= '1' && options[6] <= '9')
      leave = strtoul(options + 6, &end, 10);
    if (end == NULL || *end != '\0') {
      snprintf(why, why_bytes, "'%s' is no option; there is leave=N, with N from 1 on", options);
      return EINVAL;
    }
  }
  struct drover_engine* made = host->allocate(host->context, sizeof *made);
  if (made == NULL) {
    snprintf(why, why_bytes, "no memory");
    return ENOMEM;
  }
  made->host = host;
  made->leave = leave;
  *engine = made;
  return 0;
}

static void close_engine(struct drover_engine* engine) {
  (void)engine; /* its memory is the host's */
}

static int submit(struct drover_engine* engine, struct drover_folio* folios, uint64_t count) {
  if (engine->folios != NULL) return DROVER_BUSY;
  if (count == 0) return DROVER_TOO_SMALL;
  engine->folios = folios;
  engine->count = count;
  engine->next = 0;
  return DROVER_TAKEN;
}

static int poll_engine(struct drover_engine* engine, uint64_t deadline_ns) {
  const struct drover_host* host = engine->host;
  while (engine->next < engine->count) {
    struct drover_folio* folio = &engine->folios[engine->next++];
    if (engine->leave == 0 || engine->next % engine->leave != 0) {
      host->copy(folio->target, folio->source, folio->length_bytes);
      folio->copied = 1;
    }
    if (engine->next < engine->count && host->now_ns() >= deadline_ns) return 0;
  }
  engine->folios = NULL;
  return 1;
}

static const struct drover_migrator sample = {
    .abi = DROVER_MIGRATOR_ABI,
    .size_bytes = sizeof(struct drover_migrator),
    .name = "sample",
    .description = "copies on the mover's thread; leave=N leaves every Nth folio to the CPU",
    .flags = DROVER_MIGRATOR_FREESTANDING,
    .alignment_bytes = 4096,
    .open = open_engine,
    .close = close_engine,
    .submit = submit,
    .poll = poll_engine,
};

const struct drover_migrator* drover_migrator_describe(void);
const struct drover_migrator* drover_migrator_describe(void) {
  return &sample;
}
