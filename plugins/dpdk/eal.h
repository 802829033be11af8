/* DPDK's environment, started once in a process and never ended. */
#ifndef DROVER_DPDK_EAL_H
#define DROVER_DPDK_EAL_H

#include <stddef.h>
#include <stdint.h>

enum { DPDK_CHANNELS_MAX = 16 };

/* Devices that are configured and started, one for each channel. */
struct dpdk_devices {
  uint32_t count;
  int hardware; /* else DPDK's skeleton: a thread that copies by the CPU */
  int16_t ids[DPDK_CHANNELS_MAX];
  char names[DPDK_CHANNELS_MAX][32];
};

/* 0, or an errno value with a line in `why`. Takes about 0.1 s the first time. */
int dpdk_open_devices(uint32_t count, uint16_t ring, struct dpdk_devices* devices, char* why,
                      size_t why_bytes);
void dpdk_close_devices(struct dpdk_devices* devices);

#endif
