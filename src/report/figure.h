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

enum class Axis {
  kLinear,  // from 0 on
  kPowersOfTen,
  kBytes,        // logarithmic, in KiB, MiB, GiB
  kPowersOfTwo,  // counts: 1, 2, 4
};

struct Figure {
  std::string title, x, y;  // what is along the axes, with its unit
  std::vector<Curve> curves;
  Axis x_axis = Axis::kPowersOfTen, y_axis = Axis::kPowersOfTen;
};

// Behind the points of the curve of that name, which is begun where there is none.
void AddPoint(Figure* figure, const std::string& curve, double x, double y);

// Writes an SVG file, or a PNG file where the name ends so. kUnavailable: gnuplot is not installed.
[[nodiscard]] std::expected<void, Error> DrawFigure(const Figure& figure, const std::string& path);

}  // namespace drover::report
