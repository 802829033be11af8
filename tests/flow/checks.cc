// What the world has, and what must hold after every test.
#include "flow/world.h"

namespace drover::flow {

bool World::Present(uint64_t page) {
  kernel::PageEntry entry;
  EXPECT_EQ(model.ReadEntries(page, {&entry, 1}), Errno::kOk);
  return entry.present();
}

uint64_t World::FrameOf(uint64_t page) {
  kernel::PageEntry entry;
  EXPECT_EQ(model.ReadEntries(page, {&entry, 1}), Errno::kOk);
  return entry.frame();
}

int32_t World::NodeOf(uint64_t page) {
  int32_t node = -1;
  EXPECT_EQ(model.QueryNodes({&page, 1}, {&node, 1}), Errno::kOk);
  return node;
}

bool World::WholeHuge(uint64_t slot) {
  kernel::PageRegion region;
  uint64_t walk_end = 0;
  const auto found = model.Scan({slot, kHugeBytes}, kernel::kPagePresent, 0, kernel::kPageHuge,
                                {&region, 1}, &walk_end);
  return found.has_value() && *found == 1 && region.start == slot &&
         region.end == slot + kHugeBytes && (region.categories & kernel::kPageHuge) != 0;
}

std::map<uint64_t, uint64_t> World::Frames(Range range) {
  std::map<uint64_t, uint64_t> frames;
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
    frames[page] = FrameOf(page);
  return frames;
}

bool World::Relocated(Range range, const std::map<uint64_t, uint64_t>& before) {
  for (uint64_t page = range.start; page < range.end(); page += kPageBytes)
    if (!Present(page) || FrameOf(page) == before.at(page)) return false;
  return true;
}

void World::CheckAll() {
  CheckAreasEmpty();
  CheckAllButAreas();
}

void World::CheckAllButAreas() {
  EXPECT_EQ(model.UnreadMessages(), 0u) << "events were left unread";
  CheckContent();
  CheckNothingRegistered();
  for (const std::string& complaint : model.Complaints()) ADD_FAILURE() << complaint;
}

void World::CheckContent() {
  for (const auto& [page, seed] : seeds_) {
    // Whoever would wait now would wait for ever.
    const uint64_t touch = app.StartTouch(page, false);
    if (!app.Finished(touch)) {
      ADD_FAILURE() << std::hex << page << " is a hole that nobody fills";
      continue;
    }
    if (app.Wait(touch) == ActionState::kKilled) continue;  // protected against reading
    if (seed != kZeros) {
      EXPECT_EQ(app.CountWrong({page, kPageBytes}, seed), 0u) << std::hex << page;
      continue;
    }
    for (uint64_t at = page; at < page + kPageBytes; at += sizeof(uint64_t))
      if (app.ReadWord(at) != uint64_t{0}) {
        ADD_FAILURE() << std::hex << page << " has come back from the dead";
        break;
      }
  }
}

void World::CheckAreasEmpty() {
  std::vector<kernel::PageEntry> entries(kAreaBytes / kPageBytes);
  for (const Areas& areas : engine->areas)
    for (const uint64_t area :
         {areas.area_small, areas.area_huge, areas.pool_small, areas.pool_huge}) {
      EXPECT_EQ(model.ReadEntries(area, entries), Errno::kOk);
      uint64_t left = 0;
      for (const auto& entry : entries) left += entry.holds_page();
      EXPECT_EQ(left, 0u) << "pages are left in an area of the engine";
    }
}

// A registration makes a mapping of its own. A discard in it raises an event, and waits for it.
void World::CheckNothingRegistered() {
  for (uint64_t at = 0;;) {
    const auto mapping = model.NextMapping(at);
    if (!mapping.has_value()) break;
    at = mapping->range.end();
    const uint64_t discard = app.StartDiscard({mapping->range.start, kPageBytes});
    if (!app.Finished(discard))
      ADD_FAILURE() << std::hex << mapping->range.start << " is still registered";
    while (model.ReadMessage().has_value()) {
    }
  }
}

}  // namespace drover::flow
