/* Plugins that are wrong in one way each: WRONG_... says in which. */
#include <stdio.h>

#include "drover/migrator.h"

static int open_engine(const struct drover_host* host, const char* options,
                       struct drover_engine** engine, char* why, size_t why_bytes) {
  (void)host, (void)options;
#ifdef WRONG_OPEN
  snprintf(why, why_bytes, "there is no such device; plug one in");
  return 19;
#else
  (void)why, (void)why_bytes;
  *engine = (struct drover_engine*)why;
  return 0;
#endif
}
static void close_engine(struct drover_engine* engine) { (void)engine; }
static int submit(struct drover_engine* engine, struct drover_folio* folios, uint64_t count) {
  (void)engine, (void)folios, (void)count;
  return DROVER_UNSUPPORTED;
}
static int poll_engine(struct drover_engine* engine, uint64_t deadline_ns) {
  (void)engine, (void)deadline_ns;
  return 1;
}

static const struct drover_migrator wrong = {
#ifdef WRONG_ABI
    .abi = DROVER_MIGRATOR_ABI + 1,
#else
    .abi = DROVER_MIGRATOR_ABI,
#endif
#ifdef WRONG_SIZE
    .size_bytes = 16,
#else
    .size_bytes = sizeof(struct drover_migrator),
#endif
#ifdef WRONG_NAME
    .name = "threads",
#else
    .name = "wrong",
#endif
    .description = "for tests",
#ifdef WRONG_FLAG
    .flags = UINT64_C(1) << 40,
#elif defined(WRONG_HOUSE)
    .flags = DROVER_MIGRATOR_OWN_PROCESS | DROVER_MIGRATOR_FREESTANDING,
#endif
#ifdef WRONG_ALIGNMENT
    .alignment_bytes = 4097,
#endif
    .open = open_engine,
    .close = close_engine,
#ifndef WRONG_CALL
    .submit = submit,
#endif
    .poll = poll_engine,
};

#ifndef WRONG_SYMBOL
const struct drover_migrator* drover_migrator_describe(void);
const struct drover_migrator* drover_migrator_describe(void) { return &wrong; }
#endif
#ifdef WRONG_CALL
int (*unused)(struct drover_engine*, struct drover_folio*, uint64_t) = submit;
#endif
#ifdef WRONG_SYMBOL
const struct drover_migrator* another_name(void);
const struct drover_migrator* another_name(void) { return &wrong; }
#endif
