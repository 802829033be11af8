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

std::string ScriptFor(const Figure& figure, const std::string& path) {
  std::string script = fmt::format(
      "set terminal svg size 900,600 background rgb 'white'\nset output {}\nset title {}\n"
      "set xlabel {}\nset ylabel {}\nset logscale xy\nset format x '10^{{%L}}'\nset grid\n"
      "set key outside right\nplot ",
      Quoted(path), Quoted(figure.title), Quoted(figure.x), Quoted(figure.y));
  for (size_t i = 0; i < figure.curves.size(); ++i)
    script += fmt::format("{}'-' with linespoints pointsize 0.4 title {}", i == 0 ? "" : ", ",
                          Quoted(figure.curves[i].name));
  script += "\n";
  for (const Curve& curve : figure.curves) {
    for (const auto& [x, y] : curve.points) script += fmt::format("{} {}\n", x, y);
    script += "e\n";
  }
  return script;
}

}  // namespace

std::expected<void, Error> DrawFigure(const Figure& figure, const std::string& path) {
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
