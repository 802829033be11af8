// Figures, drawn by gnuplot.
#pragma once

#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "drover/engine.h"

namespace drover::report {

struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

struct Figure {
  std::string title, x, y;  // both axes are logarithmic
  std::vector<Curve> curves;
};

// Writes an SVG file. kUnavailable: gnuplot is not installed.
[[nodiscard]] std::expected<void, Error> DrawFigure(const Figure& figure, const std::string& path);

}  // namespace drover::report
