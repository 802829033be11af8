#include "report/figure.h"

#include <fmt/format.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include <algorithm>

namespace drover::report {
namespace {

// Between double quotes of gnuplot's.
std::string Quoted(std::string text) {
  std::erase_if(text, [](char c) { return c == '"' || c == '\\' || c == '\n' || c == '`'; });
  return '"' + text + '"';
}

const char* TerminalFor(const std::string& path) {
  return path.ends_with(".png") ? "pngcairo size 1200,800 background rgb 'white'"
                                : "svg size 900,600 background rgb 'white'";
}

// `of`: "x" or "y".
std::string AxisScript(char of, Axis axis) {
  switch (axis) {
    case Axis::kLinear:
      return fmt::format("set {}range [0:*]\n", of);
    case Axis::kPowersOfTen:
      return fmt::format("set logscale {0}\nset format {0} '10^{{%L}}'\n", of);
    case Axis::kBytes:
      return fmt::format("set logscale {0} 2\nset format {0} '%.0b %BB'\n", of);
    case Axis::kPowersOfTwo:
      return fmt::format("set logscale {0} 2\nset format {0} '%.0f'\n", of);
  }
  return {};
}

std::string ScriptFor(const Figure& figure, const std::string& path) {
  std::string script = fmt::format(
      "set terminal {}\nset output {}\nset title {}\nset xlabel {}\nset ylabel {}\n",
      TerminalFor(path), Quoted(path), Quoted(figure.title), Quoted(figure.x), Quoted(figure.y));
  script += AxisScript('x', figure.x_axis) + AxisScript('y', figure.y_axis);
  script += "set grid\nset key outside right\nplot ";
  for (size_t i = 0; i < figure.curves.size(); ++i)
    script += fmt::format("{}'-' with linespoints pointsize 0.7 title {}", i == 0 ? "" : ", ",
                          Quoted(figure.curves[i].name));
  script += "\n";
  for (const Curve& curve : figure.curves) {
    for (const auto& [x, y] : curve.points) script += fmt::format("{} {}\n", x, y);
    script += "e\n";
  }
  return script;
}

}  // namespace

void AddPoint(Figure* figure, const std::string& curve, double x, double y) {
  auto at = std::find_if(figure->curves.begin(), figure->curves.end(),
                         [&](const Curve& each) { return each.name == curve; });
  if (at == figure->curves.end()) at = figure->curves.insert(at, {curve, {}});
  at->points.emplace_back(x, y);
}

std::expected<void, Error> DrawFigure(const Figure& figure, const std::string& path) {
  if (figure.curves.empty())
    return std::unexpected(Error{Error::Kind::kFailed, "there is nothing to draw"});
  // One that ends early must not end this program.
  struct sigaction ignore{}, before{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  FILE* const gnuplot = popen("command -v gnuplot >/dev/null || exit 127; exec gnuplot", "w");
  bool written = gnuplot != nullptr;
  if (written) {
    const std::string script = ScriptFor(figure, path);
    written = fwrite(script.data(), 1, script.size(), gnuplot) == script.size();
  }
  const int status = gnuplot == nullptr ? -1 : pclose(gnuplot);
  sigaction(SIGPIPE, &before, nullptr);
  constexpr int kNoSuchCommand = 127;
  if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == kNoSuchCommand)
    return std::unexpected(Error{Error::Kind::kUnavailable,
                                 "figures are drawn by gnuplot; `apt install gnuplot-nox`"});
  if (!written || status != 0)
    return std::unexpected(
        Error{Error::Kind::kFailed, fmt::format("gnuplot could not write {}", path)});
  return {};
}

}  // namespace drover::report
