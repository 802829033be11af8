#include "flow/stand_back.h"

#include "flow/world.h"

namespace drover::flow {
namespace {

using kernel::SocketKind;

constexpr char kMounts[] =
    "21 1 8:1 / / rw,relatime - ext4 /dev/vda rw\n"
    "33 21 0:40 / /mnt/far rw shared:7 - nfs4 server:/export rw,vers=4.2\n"
    "34 21 0:41 / /mnt/host rw - 9p share rw\n"
    "35 21 0:42 / /mnt/objects rw - ceph 10.0.0.1:/ rw\n";

StandBackSet Seen(World& world) {
  return LookAt({.kernel = world.model});
}

TEST_F(Flow, StandsBackFromNothingInAPlainProcess) {
  world_.model.AddDescriptor("/dev/null");
  world_.model.AddDescriptor("socket:[7]");
  world_.model.AddDescriptor("/var/lib/data");
  EXPECT_EQ(Seen(world_), 0u);
}

TEST_F(Flow, StandsBackFromSocketsThatReachMemoryByTheirOwnWays) {
  world_.model.AddDescriptor("socket:[7]", SocketKind::kKernelTls);
  EXPECT_EQ(Seen(world_), SetOf(StandBackFrom::kKernelTls));
  world_.model.AddDescriptor("socket:[8]", SocketKind::kXdp);
  EXPECT_EQ(Seen(world_), SetOf(StandBackFrom::kKernelTls) | SetOf(StandBackFrom::kXdp));
}

struct OpenFile {
  const char* mount;
  const char* flags;
  bool stands_back;
};

// O_DIRECT is 040000; 0100000 is O_LARGEFILE.
TEST_F(Flow, StandsBackFromDirectIoOnFarFileSystemsAlone) {
  for (const OpenFile& file : {OpenFile{"33", "0140002", true}, OpenFile{"33", "0100002", false},
                               OpenFile{"34", "040002", true}, OpenFile{"35", "040000", true},
                               OpenFile{"21", "0140002", false}}) {
    World world;
    world.model.AddDescriptor("/mnt/far/file");
    world.model.SetFile("/proc/self/mountinfo", kMounts);
    world.model.SetFile("/proc/self/fdinfo/0", std::string("pos:\t0\nflags:\t") + file.flags +
                                                   "\nmnt_id:\t" + file.mount + "\nino:\t5\n");
    EXPECT_EQ(Seen(world) != 0, file.stands_back) << file.mount << " " << file.flags;
  }
}

TEST_F(Flow, StandsBackFromATracer) {
  world_.model.SetFile("/proc/self/status", "Name:\tx\nTracerPid:\t0\n");
  EXPECT_EQ(Seen(world_), 0u);
  world_.model.SetFile("/proc/self/status", "Name:\tx\nTracerPid:\t77\n");
  EXPECT_EQ(Seen(world_), SetOf(StandBackFrom::kTracer));
}

TEST_F(Flow, NamesAllReasonsAndMovesNothing) {
  const Range range = world_.MapFilled(8);
  for (const char* target : {"/dev/kvm", "/dev/vfio/7", "anon_inode:[userfaultfd]"})
    world_.model.AddDescriptor(target);
  const JobResult& result = world_.Run(world_.ToSame());
  EXPECT_EQ(result.own_path_trouble, Trouble::kStandsBack);
  EXPECT_EQ(result.own_path_detail, SetOf(StandBackFrom::kKvm) | SetOf(StandBackFrom::kDevices) |
                                        SetOf(StandBackFrom::kOwnUserfault));
  EXPECT_EQ(world_.recorder.Count(range, Why::kOwnPathRefused), 8u);
  EXPECT_EQ(world_.Run(world_.ToNode(1)).moved_kernel_path, 8u);
}

// What a hook has heard of while the job runs takes the rest of it to the kernel path; what can be
// looked for again is forgotten by the next job, what cannot is not.
TEST_F(Flow, StandsBackInTheMiddleOfAJob) {
  for (const StandBackFrom from : {StandBackFrom::kKvm, StandBackFrom::kPiFutex}) {
    World world;
    threads::Word seen = 0;
    world.engine->seen_calls = &seen;
    const Range range = world.MapFilled(64);
    Job job = world.ToNode(1);
    job.batch_bytes = 16 * kPageBytes;
    uint64_t asked = 0;
    world.recorder.ask = [&](const JobResult&) {
      if (++asked == 3) seen = SetOf(from);
      return Next::kGoOn;
    };
    const JobResult& result = world.Run(job);
    EXPECT_EQ(result.own_path_detail, SetOf(from));
    EXPECT_GT(result.moved_own_path, 0u);
    EXPECT_GT(result.moved_kernel_path, 0u);
    EXPECT_EQ(world.recorder.Count(range, Outcome::kMoved), 64u);
    world.recorder.ask = nullptr;
    const bool for_good = from == StandBackFrom::kPiFutex;
    EXPECT_EQ(world.Run(world.ToNode(0)).own_path_trouble,
              for_good ? Trouble::kStandsBack : Trouble::kNone);
    world.CheckAll();
  }
}

}  // namespace
}  // namespace drover::flow
