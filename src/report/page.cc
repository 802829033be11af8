#include "report/page.h"

#include <fmt/format.h>

namespace drover::report {
namespace {

constexpr const char* kStyle =
    "body{font-family:sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0;font-size:90%}"
    "th,td{border:1px solid #bbb;padding:.2em .6em;text-align:right}"
    "th{background:#eee}td:first-child,th:first-child{text-align:left}"
    "code{background:#f3f3f3;padding:.1em .3em}svg{max-width:100%;height:auto}";

std::string Escaped(const std::string& text) {
  std::string escaped;
  for (const char c : text) switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      default:
        escaped += c;
    }
  return escaped;
}

std::string HtmlTable(const Lines& lines) {
  std::string html = "<table>\n";
  for (size_t i = 0; i < lines.size(); ++i) {
    html += "<tr>";
    for (const std::string& cell : lines[i])
      html += fmt::format("<{0}>{1}</{0}>", i == 0 ? "th" : "td", Escaped(cell));
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

std::string Tables(const Table& table) {
  if (table.rows.empty()) return "<p>No row could be measured.</p>\n";
  if (table.pivots.empty()) return HtmlTable(LinesOf(table));
  std::string html;
  for (const Pivot& pivot : table.pivots)
    if (const Lines lines = LinesOf(table, pivot); lines.size() > 1) html += HtmlTable(lines);
  return html;
}

// Without the line that only a file has.
std::string Inline(const std::string& svg) {
  const size_t begin = svg.find("<svg");
  return begin == std::string::npos ? std::string() : svg.substr(begin);
}

std::string SectionHtml(const Section& section) {
  std::string html = fmt::format("<h2>{}</h2>\n<p>To repeat: <code>{}</code></p>\n",
                                 Escaped(section.heading), Escaped(section.command));
  if (!section.error.empty())
    return html + fmt::format("<p>Not measured: {}</p>\n", Escaped(section.error));
  html += fmt::format("<p>{}</p>\n", Escaped(section.table.legend)) + Tables(section.table);
  for (const std::string& note : section.table.notes) html += "<p>" + Escaped(note) + "</p>\n";
  if (!section.table.skipped.empty()) {
    html += "<p>Left out:</p>\n<ul>\n";
    for (const auto& skipped : section.table.skipped)
      html += fmt::format("<li>{}: {}</li>\n", Escaped(skipped.row), Escaped(skipped.reason));
    html += "</ul>\n";
  }
  return html + Inline(section.svg);
}

}  // namespace

std::string PageOf(const std::string& title,
                   const std::vector<std::pair<std::string, std::string>>& machine,
                   const std::vector<Section>& sections) {
  std::string html = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>"
      "<style>{1}</style></head><body>\n<h1>{0}</h1>\n",
      Escaped(title), kStyle);
  Lines lines = {{"", "this machine"}};
  for (const auto& [name, what] : machine) lines.push_back({name, what});
  html += HtmlTable(lines);
  for (const Section& section : sections) html += SectionHtml(section);
  return html + "</body></html>\n";
}

}  // namespace drover::report
