#include "conformance/world.h"
#include "kernel/model/model_kernel.h"

namespace drover::conformance {
namespace {

using kernel::ModelKernel;
using kernel::model::Application;

ModelKernel::Options TwoNodes() {
  ModelKernel::Options options;
  options.arena_bytes = uint64_t{128} << 20;
  options.node_count = 2;
  return options;
}

class ModelActivity final : public Activity {
 public:
  ModelActivity(Application& application, uint64_t action)
      : application_(application), action_(action) {}
  bool Done() override { return application_.Finished(action_); }
  void Wait() override { application_.Wait(action_); }

 private:
  Application& application_;
  uint64_t action_;
};

class ModelChild final : public Child {
 public:
  ModelChild(Application& application, uint64_t child) : application_(application), child_(child) {}
  ~ModelChild() override { application_.EndChild(child_); }
  std::optional<uint64_t> ReadWord(uint64_t address) override {
    return application_.ChildReadWord(child_, address);
  }

 private:
  Application& application_;
  uint64_t child_;
};

class ModelWorld final : public World {
 public:
  ModelWorld() : kernel_(TwoNodes()), application_(kernel_.application()) {
    kernel_.AddThread(1, 0);
  }

  kernel::Kernel& kernel() override { return kernel_; }
  bool Has(Ability) override { return true; }

  uint64_t Map(uint64_t bytes, Rights rights, Backing backing) override {
    Application::MapOptions options;
    options.readable = rights.read;
    options.writable = rights.write;
    options.executable = rights.execute;
    options.shared = backing == Backing::kSharedAnonymous || backing == Backing::kSharedFile;
    options.file = backing == Backing::kPrivateFile || backing == Backing::kSharedFile ||
                   backing == Backing::kDiskFile;
    options.on_disk = backing == Backing::kDiskFile;
    return application_.Map(bytes, options);
  }
  void Protect(Range range, Rights rights) override {
    application_.Protect(range, rights.read, rights.write, rights.execute);
  }
  void Lock(Range range) override { application_.LockOnFault(range); }
  void Guard(Range range) override { application_.Guard(range); }
  void WriteWord(uint64_t address, uint64_t value) override {
    application_.WriteWord(address, value);
  }
  uint64_t ReadWord(uint64_t address) override {
    return application_.ReadWord(address).value_or(~uint64_t{0});
  }
  void Pin(Range range) override { application_.Pin(range); }
  void Unpin(Range range) override { application_.Unpin(range); }
  void RegisterElsewhere(Range range) override { application_.RegisterElsewhere(range); }

  std::unique_ptr<Activity> StartTouch(uint64_t address, bool write) override {
    return Started(application_.StartTouch(address, write));
  }
  std::unique_ptr<Activity> StartDiscard(Range range) override {
    return Started(application_.StartDiscard(range));
  }
  std::unique_ptr<Activity> StartUnmap(Range range) override {
    return Started(application_.StartUnmap(range));
  }
  std::unique_ptr<Activity> StartMapOver(Range range) override {
    return Started(application_.StartMapOver(range));
  }
  std::unique_ptr<Activity> StartRemap(Range range, uint64_t* target) override {
    return Started(application_.StartRemap(range, target));
  }
  std::unique_ptr<Activity> StartFork() override {
    child_ = application_.StartFork();
    return Started(child_);
  }
  std::unique_ptr<Child> TakeChild() override {
    return std::make_unique<ModelChild>(application_, child_);
  }
  void End() override {}

 private:
  std::unique_ptr<Activity> Started(uint64_t action) {
    return std::make_unique<ModelActivity>(application_, action);
  }

  ModelKernel kernel_;
  Application& application_;
  uint64_t child_ = 0;
};

}  // namespace

std::unique_ptr<World> MakeModelWorld() {
  return std::make_unique<ModelWorld>();
}

}  // namespace drover::conformance
