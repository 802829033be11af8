// The fixture of every test of the flow: one engine on the model of the kernel, an application
// whose memory is known page by page, and a ledger of what the flow told about each page.
//
// When a test ends, every page is looked at: it is in one place, has the right content, nothing is
// registered any more, and the model has seen nothing that the real kernel would punish.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "flow/flow.h"
#include "kernel/failing_kernel.h"
#include "kernel/model/model_kernel.h"
#include "threads/posix_threads.h"

namespace drover::flow {

using kernel::Errno;
using kernel::FailingKernel;
using kernel::ModelKernel;
using kernel::model::ActionState;
using kernel::model::Application;
using kernel::model::Call;

// What the flow has told about each page. A page may be told once a job.
class Recorder final : public Observer {
 public:
  struct Fate {
    Outcome outcome;
    Why why;
  };
  using Ask = std::function<Next(const JobResult&)>;

  void PagesDone(uint64_t address, uint64_t pages, int32_t target, Outcome outcome,
                 Why why) override;
  Next GoOn(const JobResult& so_far) override { return ask ? ask(so_far) : Next::kGoOn; }

  // How many pages of the range had this fate.
  uint64_t Count(Range range, Outcome outcome) const;
  uint64_t Count(Range range, Why why) const;

  Ask ask;
  std::map<uint64_t, Fate> fates;  // by page
  uint64_t told_twice = 0;
};

class World {
 public:
  using MapOptions = Application::MapOptions;
  using Act = std::function<void(Call call, uint64_t nth)>;  // at every call, in its thread

  static ModelKernel::Options Nodes(uint32_t count);
  static ModelKernel::Options RoomForRings();  // two nodes, and addresses for --verify
  explicit World(const ModelKernel::Options& options = Nodes(2));
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // ---- the application's memory, of known content
  Range Map(uint64_t pages) { return Map(pages, MapOptions()); }
  Range Map(uint64_t pages, const MapOptions& options);  // nothing is touched
  Range MapFilled(uint64_t pages) { return MapFilled(pages, MapOptions()); }
  Range MapFilled(uint64_t pages, const MapOptions& options);
  Range MapFilledHuge(uint64_t huge_pages);
  void Fill(Range range);
  // What the application has done by itself: from now on the range must read so.
  void ExpectZeros(Range range);
  void ExpectNothing(Range range);  // unmapped, or a guard
  void ExpectMoved(Range range, uint64_t target);

  // ---- jobs
  Job ToSame() const;
  Job ToNode(int16_t node) const;
  Job WithHelper() const;  // to the same nodes, by threads:2, its helper anywhere
  // Runs it to its end and checks that the ledger adds up.
  const JobResult& Run(const Job& job);
  // Before MOVE number `nth` of the next job (1: the first). With all pages of one batch willing,
  // the first moves out and the second moves in.
  void BeforeMove(uint64_t nth, std::function<void()> act) { Before(Call::kMove, nth, act); }
  void Before(Call call, uint64_t nth, std::function<void()> act);
  // Inside the window of the next batch, before anything is copied.
  void InWindow(std::function<void()> act) { Before(Call::kProtect, 1, act); }

  // ---- what there is
  bool Present(uint64_t page);
  uint64_t FrameOf(uint64_t page);
  int32_t NodeOf(uint64_t page);
  bool WholeHuge(uint64_t slot);
  std::map<uint64_t, uint64_t> Frames(Range range);
  // Every page of the range was moved to another page frame.
  bool Relocated(Range range, const std::map<uint64_t, uint64_t>& before);

  // All that must hold after a test. Consumes the world: it touches and discards pages.
  void CheckAll();
  // The same, but for originals that the kernel refused to free.
  void CheckAllButAreas();
  void CheckContent();
  void CheckNothingRegistered();
  void CheckAreasEmpty();

  ModelKernel model;
  FailingKernel kernel;
  Application& app;
  Recorder recorder;
  JobResult result;
  Gate gate;
  YoungThreads young;
  Engine* engine = nullptr;

 private:
  void MakeEngineHere();
  void CheckLedger();

  static constexpr uint64_t kZeros = 0;
  std::unique_ptr<std::byte[]> stacks_;  // most of it is never touched
  std::unique_ptr<threads::PosixThreads> threads_;
  std::map<uint64_t, uint64_t> seeds_;  // what each page must read: its seed, or kZeros
  uint64_t last_seed_ = kZeros;
};

class Flow : public testing::Test {
 protected:
  Flow() : world_(World::Nodes(2)) {}
  void TearDown() override { world_.CheckAll(); }

  World world_;
};

}  // namespace drover::flow
