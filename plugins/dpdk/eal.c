#define _GNU_SOURCE
#include "eal.h"

#include <errno.h>
#include <pthread.h>
#include <rte_bus_vdev.h>
#include <rte_dmadev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static enum { NOT_YET, STARTED, FAILED } state = NOT_YET;
static int start_error;
static unsigned next_name; /* of a skeleton: a name is not used twice */
static uint8_t taken[64];  /* by device id: some engine has it */

/* In a thread of its own: EAL takes the calling thread for its main one. */
static void* start(void* unused) {
  (void)unused;
  char lcores[32];
  snprintf(lcores, sizeof lcores, "0@(0-%ld)", sysconf(_SC_NPROCESSORS_CONF) - 1);
  char* arguments[] = {"drover",         "--no-huge", "--no-shconf",     "--iova-mode=va",
                       "--no-pci",       "-m",        "4",               "--lcores",
                       lcores,           "--no-telemetry", "--log-level=error", NULL};
  const int count = (int)(sizeof arguments / sizeof arguments[0]) - 1;
  if (rte_eal_init(count, arguments) < 0) start_error = rte_errno != 0 ? rte_errno : EIO;
  return NULL;
}

static int start_once(char* why, size_t why_bytes) {
  if (state == NOT_YET) {
    /* A run-time folder that is not there is fatal to EAL. */
    const char* folder = getenv("XDG_RUNTIME_DIR");
    struct stat info;
    if (folder != NULL && (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))) {
      snprintf(why, why_bytes, "XDG_RUNTIME_DIR (%s) is no folder, which DPDK needs; unset it",
               folder);
      return ENOTDIR;
    }
    pthread_t thread;
    const int error = pthread_create(&thread, NULL, start, NULL);
    if (error != 0) {
      snprintf(why, why_bytes, "no thread for DPDK: %s", strerror(error));
      return error;
    }
    pthread_join(thread, NULL);
    state = start_error == 0 ? STARTED : FAILED;
  }
  if (state == STARTED) return 0;
  snprintf(why, why_bytes, "DPDK does not start: %s (once only in a process)",
           strerror(start_error));
  return start_error;
}

static int configure(int16_t id, uint16_t ring) {
  const struct rte_dma_conf device = {.nb_vchans = 1};
  const struct rte_dma_vchan_conf channel = {.direction = RTE_DMA_DIR_MEM_TO_MEM, .nb_desc = ring};
  int error = rte_dma_configure(id, &device);
  if (error == 0) error = rte_dma_vchan_setup(id, 0, &channel);
  if (error == 0) error = rte_dma_start(id);
  return -error;
}

/* Hardware that reads and writes by virtual addresses, whatever stands there. */
static int fits(int16_t id) {
  struct rte_dma_info info;
  const uint64_t needed = RTE_DMA_CAPA_MEM_TO_MEM | RTE_DMA_CAPA_SVA | RTE_DMA_CAPA_OPS_COPY;
  return rte_dma_info_get(id, &info) == 0 && (info.dev_capa & needed) == needed &&
         strstr(info.dev_name, "skeleton") == NULL && !taken[id];
}

static void take_hardware(uint32_t count, struct dpdk_devices* devices) {
  int16_t found[DPDK_CHANNELS_MAX];
  uint32_t there = 0;
  for (int16_t id = 0; id < 64 && there < count; ++id)
    if (rte_dma_is_valid(id) && fits(id)) found[there++] = id;
  if (there < count) return;
  devices->hardware = 1;
  for (uint32_t i = 0; i < count; ++i) devices->ids[i] = found[i];
  devices->count = count;
}

static int make_skeletons(uint32_t count, struct dpdk_devices* devices, char* why,
                          size_t why_bytes) {
  for (uint32_t i = 0; i < count; ++i) {
    char* const name = devices->names[i];
    snprintf(name, sizeof devices->names[i], "dma_skeleton%u", next_name++);
    const int error = rte_vdev_init(name, "");
    const int id = error == 0 ? rte_dma_get_dev_id_by_name(name) : -1;
    if (id < 0) {
      snprintf(why, why_bytes, "DPDK makes no skeleton device (%s); install librte-dma-skeleton",
               strerror(error != 0 ? -error : ENODEV));
      name[0] = '\0';
      return ENODEV;
    }
    devices->ids[i] = (int16_t)id;
    devices->count = i + 1;
  }
  return 0;
}

static void close_all(struct dpdk_devices* devices) {
  for (uint32_t i = 0; i < devices->count; ++i) {
    rte_dma_stop(devices->ids[i]);
    taken[devices->ids[i]] = 0;
    if (devices->names[i][0] != '\0') rte_vdev_uninit(devices->names[i]);
  }
  devices->count = 0;
}

int dpdk_open_devices(uint32_t count, uint16_t ring, struct dpdk_devices* devices, char* why,
                      size_t why_bytes) {
  memset(devices, 0, sizeof *devices);
  pthread_mutex_lock(&mutex);
  int error = start_once(why, why_bytes);
  if (error == 0) take_hardware(count, devices);
  if (error == 0 && !devices->hardware) error = make_skeletons(count, devices, why, why_bytes);
  for (uint32_t i = 0; error == 0 && i < devices->count; ++i) {
    error = configure(devices->ids[i], ring);
    taken[devices->ids[i]] = 1;
    if (error != 0)
      snprintf(why, why_bytes, "DPDK's device %d cannot be used with a ring of %u: %s",
               devices->ids[i], ring, strerror(error));
  }
  if (error != 0) close_all(devices);
  pthread_mutex_unlock(&mutex);
  return error;
}

void dpdk_close_devices(struct dpdk_devices* devices) {
  pthread_mutex_lock(&mutex);
  close_all(devices);
  pthread_mutex_unlock(&mutex);
}
