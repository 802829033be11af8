#include "cli/published.h"

#include <fmt/format.h>

#include <string>

namespace drover::cli {
namespace {

constexpr const char* kRfc = "RFC v4 of batch copying and hardware offload, 2026-03";
constexpr const char* kThreads = "RFC of multi-threaded page migration, 2025-01";

nlohmann::json PublishedRow(const char* source, const std::string& page, const std::string& engine,
                            double gb_per_s) {
  return {{"side", "published"},
          {"source", source},
          {"page", page},
          {"engine", engine},
          {"gb_per_s", gb_per_s}};
}

// "kernel, 4 channels"; 0: as it is without.
std::string KernelWith(int count, const char* of_what) {
  if (count == 0) return "kernel, serial";
  return fmt::format("kernel, {} {}{}", count, of_what, count == 1 ? "" : "s");
}

}  // namespace

std::vector<nlohmann::json> RfcFolioSizes() {
  constexpr const char* kPages[] = {"4K", "16K", "64K", "256K", "1M", "2M"};
  constexpr struct {
    int channels;
    double gb_per_s[6], sd[6];
  } kLines[] = {
      {0, {3.55, 5.66, 6.16, 7.12, 6.93, 10.88}, {.19, .30, .09, .83, .09, .19}},
      {1, {2.63, 2.92, 3.16, 4.75, 7.38, 12.64}, {.26, .09, .13, .70, .18, .07}},
      {2, {3.20, 4.68, 5.16, 7.42, 8.05, 14.40}, {.12, .17, .36, 1.00, .05, .10}},
      {4, {3.78, 6.45, 7.36, 9.70, 11.68, 27.16}, {.16, .06, .18, .11, 2.37, .20}},
      {8, {4.32, 8.20, 9.45, 12.99, 13.18, 46.17}, {.24, .45, .26, 2.87, .08, .67}},
      {12, {4.35, 8.80, 11.65, 15.46, 14.69, 60.89}, {.16, .09, 2.71, 4.95, 4.10, .68}},
      {16, {4.40, 9.25, 11.02, 13.56, 18.04, 66.86}, {.19, .13, .26, .15, 7.11, .81}},
  };
  std::vector<nlohmann::json> rows;
  for (const auto& line : kLines)
    for (size_t i = 0; i < std::size(kPages); ++i) {
      rows.push_back(
          PublishedRow(kRfc, kPages[i], KernelWith(line.channels, "channel"), line.gb_per_s[i]));
      rows.back()["gb_per_s_sd"] = line.sd[i];
      rows.back()["channels"] = line.channels;
    }
  return rows;
}

std::vector<nlohmann::json> RfcTotals() {
  constexpr int kFolios[] = {1, 8, 16, 32, 64, 256, 512, 1024, 2048, 8192};
  constexpr double kBaseline[] = {7.34, 8.27, 7.56, 8.39, 9.37, 10.58, 10.78, 10.77, 10.87, 10.84};
  constexpr double kChannel[] = {6.17, 8.85, 9.12, 11.73, 12.18, 12.50, 12.68, 12.76, 12.81, 12.82};
  std::vector<nlohmann::json> rows;
  for (const int channels : {0, 1})
    for (size_t i = 0; i < std::size(kFolios); ++i) {
      rows.push_back(PublishedRow(kRfc, "2M", KernelWith(channels, "channel"),
                                  channels == 0 ? kBaseline[i] : kChannel[i]));
      rows.back()["channels"] = channels;
      rows.back()["folios"] = kFolios[i];
    }
  return rows;
}

std::vector<nlohmann::json> MultiThreaded() {
  constexpr int kCounts[] = {0, 1, 2, 4, 8, 16, 32};  // of copy threads; 0: as the kernel is
  constexpr struct {
    const char* page;
    int folios;
    double gb_per_s[7];
  } kLines[] = {
      {"64K", 32, {5.43, 4.90, 5.65, 7.31, 7.60, 8.61, 6.43}},
      {"64K", 256, {6.95, 6.89, 9.28, 14.67, 22.41, 23.39, 23.93}},
      {"64K", 512, {7.88, 7.26, 10.15, 17.53, 27.82, 27.88, 33.93}},
      {"64K", 768, {7.65, 7.42, 10.46, 18.59, 28.65, 29.67, 30.76}},
      {"64K", 1024, {7.46, 8.01, 10.90, 17.77, 27.04, 32.18, 38.80}},
      {"2M", 1, {5.94, 2.90, 6.90, 8.56, 11.16, 8.76, 6.41}},
      {"2M", 2, {7.67, 5.57, 7.11, 12.48, 17.37, 15.68, 14.10}},
      {"2M", 4, {8.01, 6.04, 10.25, 20.14, 22.52, 27.79, 25.28}},
      {"2M", 8, {8.42, 7.00, 11.41, 24.73, 33.96, 32.62, 39.55}},
      {"2M", 16, {9.41, 6.91, 12.23, 27.51, 43.95, 49.15, 51.38}},
      {"2M", 32, {10.23, 7.15, 13.03, 29.52, 49.49, 69.98, 71.51}},
      {"2M", 64, {9.40, 7.37, 13.88, 30.38, 52.00, 76.89, 79.41}},
      {"2M", 128, {8.59, 7.23, 14.20, 28.39, 49.98, 78.27, 90.18}},
      {"2M", 256, {8.43, 7.16, 14.59, 28.14, 48.78, 76.88, 92.28}},
      {"2M", 512, {8.31, 7.78, 14.40, 26.20, 43.31, 63.91, 75.21}},
      {"2M", 768, {8.30, 7.86, 14.83, 27.41, 46.25, 69.85, 81.31}},
      {"2M", 1024, {8.31, 7.90, 14.96, 27.62, 46.75, 71.76, 83.84}},
  };
  std::vector<nlohmann::json> rows;
  for (const auto& line : kLines)
    for (size_t i = 0; i < std::size(kCounts); ++i) {
      rows.push_back(
          PublishedRow(kThreads, line.page, KernelWith(kCounts[i], "thread"), line.gb_per_s[i]));
      rows.back()["threads"] = kCounts[i];
      rows.back()["folios"] = line.folios;
    }
  return rows;
}

}  // namespace drover::cli
