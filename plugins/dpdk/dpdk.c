/* dpdk:channels=N[:ring=M]: DMA channels through DPDK's dmadev. Hardware where there are N devices
 * that copy by virtual addresses, else N skeleton devices, which are threads that copy by the CPU;
 * the report says which.
 *
 * One channel is one device, and each has one owner thread, because a dmadev is for one thread at a
 * time. Channel i of c gets the folios from n*i/c to n*(i+1)/c. What a device does not complete
 * successfully stays unmarked. One on which nothing is completed for a while is given up: the
 * answer comes without its folios, and their addresses are held for as long as it does not let go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <rte_dmadev.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "drover/migrator.h"
#include "eal.h"

enum { RING_DEFAULT = 512, BURST = 64 };
#define STUCK_NS UINT64_C(20000000)

struct channel {
  struct drover_engine* engine;
  pthread_t thread;
  int16_t device;
  uint64_t first, end;  /* its folios */
  atomic_uint answered; /* turns */
  atomic_uint let_go;
};

struct drover_engine {
  const struct drover_host* host;
  struct dpdk_devices devices;
  uint16_t ring;
  struct drover_folio* folios;
  atomic_uint turn; /* counts submissions; a futex */
  atomic_uint stop;
  struct channel channels[DPDK_CHANNELS_MAX];
};

static void futex(atomic_uint* word, int operation, unsigned value) {
  syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

/* Folios [channel->first, channel->end) in order, as many on the ring as fit. */
static void copy_all(struct channel* channel, unsigned turn) {
  struct drover_engine* engine = channel->engine;
  uint64_t put = channel->first, done = channel->first;
  uint64_t progress_ns = engine->host->now_ns();
  int answered = 0, refused = 0;
  while (done < put || (put < channel->end && !answered && !refused)) {
    for (int i = 0; i < BURST && put < channel->end && !answered && !refused; ++i) {
      const struct drover_folio* folio = &engine->folios[put];
      const int index = rte_dma_copy(channel->device, 0, folio->source, folio->target,
                                     (uint32_t)folio->length_bytes, 0);
      if (index == -ENOSPC) break;
      refused = index < 0;
      put += index >= 0;
    }
    rte_dma_submit(channel->device, 0);
    enum rte_dma_status_code status[BURST];
    uint16_t last;
    const uint16_t count = rte_dma_completed_status(channel->device, 0, BURST, &last, status);
    for (uint16_t i = 0; i < count; ++i, ++done)
      if (status[i] == RTE_DMA_STATUS_SUCCESSFUL && !answered) engine->folios[done].copied = 1;
    const uint64_t now_ns = engine->host->now_ns();
    if (count > 0) progress_ns = now_ns;
    if (!answered && now_ns - progress_ns > STUCK_NS) {
      answered = 1; /* the rest is the CPU's; what is on the ring is waited for */
      atomic_store(&channel->answered, turn);
    }
    if (answered && atomic_load(&engine->stop)) return;
  }
  atomic_store(&channel->answered, turn);
}

static void* own_device(void* self) {
  struct channel* channel = self;
  struct drover_engine* engine = channel->engine;
  for (unsigned seen = 0;;) {
    unsigned turn;
    while ((turn = atomic_load(&engine->turn)) == seen && !atomic_load(&engine->stop))
      futex(&engine->turn, FUTEX_WAIT_PRIVATE, seen);
    if (atomic_load(&engine->stop)) return NULL;
    copy_all(channel, turn);
    atomic_store(&channel->let_go, turn);
    seen = turn;
  }
}

/* "channels=N[:ring=M]" */
static int read_options(const char* options, unsigned* channels, unsigned* ring, char* why,
                        size_t why_bytes) {
  *channels = 1;
  *ring = RING_DEFAULT;
  while (*options != '\0') {
    unsigned* const number = strncmp(options, "channels=", 9) == 0 ? channels
                             : strncmp(options, "ring=", 5) == 0   ? ring
                                                                   : NULL;
    char* end = NULL;
    const char* digits = strchr(options, '=');
    if (number != NULL && digits[1] >= '1' && digits[1] <= '9')
      *number = (unsigned)strtoul(digits + 1, &end, 10);
    if (end == NULL || (*end != '\0' && *end != ':')) {
      snprintf(why, why_bytes, "'%s' is no option; there are channels=N and ring=M", options);
      return EINVAL;
    }
    options = *end == ':' ? end + 1 : end;
  }
  if (*channels > DPDK_CHANNELS_MAX) {
    snprintf(why, why_bytes, "%u channels are too many; up to %d", *channels, DPDK_CHANNELS_MAX);
    return EINVAL;
  }
  if (*ring < 32 || *ring > 4096 || (*ring & (*ring - 1)) != 0) {
    snprintf(why, why_bytes, "a ring of %u is not possible; a power of two from 32 to 4096", *ring);
    return EINVAL;
  }
  return 0;
}

static void stop_threads(struct drover_engine* engine, uint32_t count) {
  atomic_store(&engine->stop, 1);
  atomic_fetch_add(&engine->turn, 1); /* whoever has seen no stop yet must not fall asleep */
  futex(&engine->turn, FUTEX_WAKE_PRIVATE, INT32_MAX);
  for (uint32_t i = 0; i < count; ++i) pthread_join(engine->channels[i].thread, NULL);
}

static int open_engine(const struct drover_host* host, const char* options,
                       struct drover_engine** engine, char* why, size_t why_bytes) {
  unsigned channels, ring;
  int error = read_options(options, &channels, &ring, why, why_bytes);
  if (error != 0) return error;
  struct drover_engine* made = host->allocate(host->context, sizeof *made);
  if (made == NULL) return ENOMEM;
  made->host = host;
  made->ring = (uint16_t)ring;
  error = dpdk_open_devices(channels, made->ring, &made->devices, why, why_bytes);
  if (error != 0) return error;
  for (uint32_t i = 0; i < channels; ++i) {
    struct channel* channel = &made->channels[i];
    channel->engine = made;
    channel->device = made->devices.ids[i];
    error = pthread_create(&channel->thread, NULL, own_device, channel);
    if (error != 0) {
      snprintf(why, why_bytes, "no thread for a channel: %s", strerror(error));
      stop_threads(made, i);
      dpdk_close_devices(&made->devices);
      return error;
    }
  }
  *engine = made;
  return 0;
}

static void close_engine(struct drover_engine* engine) {
  stop_threads(engine, engine->devices.count);
  dpdk_close_devices(&engine->devices);
}

static int all_have(struct drover_engine* engine, int let_go) {
  const unsigned turn = atomic_load(&engine->turn);
  for (uint32_t i = 0; i < engine->devices.count; ++i) {
    struct channel* channel = &engine->channels[i];
    if (atomic_load(let_go ? &channel->let_go : &channel->answered) != turn) return 0;
  }
  return 1;
}

static int submit(struct drover_engine* engine, struct drover_folio* folios, uint64_t count) {
  if (!all_have(engine, 1)) return DROVER_BUSY;
  if (count == 0) return DROVER_TOO_SMALL;
  engine->folios = folios;
  const uint64_t channels = engine->devices.count;
  for (uint64_t i = 0; i < channels; ++i) {
    engine->channels[i].first = count * i / channels;
    engine->channels[i].end = count * (i + 1) / channels;
  }
  atomic_fetch_add(&engine->turn, 1);
  futex(&engine->turn, FUTEX_WAKE_PRIVATE, INT32_MAX);
  return DROVER_TAKEN;
}

static int poll_engine(struct drover_engine* engine, uint64_t deadline_ns) {
  while (!all_have(engine, 0)) {
    if (engine->host->now_ns() >= deadline_ns) return 0;
    sched_yield(); /* the owners may want this CPU */
  }
  return 1;
}

static int holds_addresses(struct drover_engine* engine) {
  return !all_have(engine, 1);
}

static void report(struct drover_engine* engine, struct drover_migrator_report* what) {
  what->channels = engine->devices.count;
  what->hardware = (uint32_t)engine->devices.hardware;
  for (uint32_t i = 0; i < engine->devices.count; ++i) {
    clockid_t clock;
    struct timespec used;
    if (pthread_getcpuclockid(engine->channels[i].thread, &clock) == 0 &&
        clock_gettime(clock, &used) == 0)
      what->cpu_ns += (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
  }
}

static const struct drover_migrator dpdk = {
    .abi = DROVER_MIGRATOR_ABI,
    .size_bytes = sizeof(struct drover_migrator),
    .name = "dpdk",
    .description = "DMA channels through DPDK: channels=N[:ring=M]; hardware, or skeleton devices",
    .flags = DROVER_MIGRATOR_OWN_PROCESS | DROVER_MIGRATOR_CHANNELS,
    .alignment_bytes = 4096,
    .folio_bytes_max = UINT32_MAX,
    .open = open_engine,
    .close = close_engine,
    .submit = submit,
    .poll = poll_engine,
    .holds_addresses = holds_addresses,
    .report = report,
};

const struct drover_migrator* drover_migrator_describe(void);
const struct drover_migrator* drover_migrator_describe(void) {
  return &dpdk;
}
