#include "report/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace drover::report {
namespace {

std::string ValueText(const nlohmann::json& value, const std::string& form) {
  if (value.is_null()) return "-";
  if (form == "size") return ExactBytes(value.get<uint64_t>());
  const std::string all = form.empty() ? "{}" : "{:" + form + "}";
  if (value.is_string()) return fmt::format(fmt::runtime(all), value.get<std::string>());
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  const bool as_fraction = !form.empty() && form.back() == 'f';
  if (value.is_number_integer() && !as_fraction)
    return fmt::format(fmt::runtime(all), value.get<int64_t>());
  return fmt::format(fmt::runtime(all), value.get<double>());
}

// Text stands on the left, figures on the right.
std::string Aligned(const Lines& lines) {
  std::vector<size_t> width(lines[0].size());
  std::vector<bool> is_text(lines[0].size());
  for (const auto& line : lines)
    for (size_t i = 0; i < line.size(); ++i) width[i] = std::max(width[i], line[i].size());
  for (size_t i = 0; lines.size() > 1 && i < lines[0].size(); ++i)
    is_text[i] = std::any_of(lines.begin() + 1, lines.end(), [&](const auto& line) {
      return !line[i].empty() && line[i][0] >= 'A' && line[i] != "-";
    });
  std::string text;
  for (const auto& line : lines) {
    std::string one;
    for (size_t i = 0; i < line.size(); ++i)
      one += is_text[i] ? fmt::format("{:<{}}  ", line[i], width[i])
                        : fmt::format("{:>{}}  ", line[i], width[i]);
    one.erase(one.find_last_not_of(' ') + 1);
    text += one + '\n';
  }
  return text;
}

std::string CsvCell(const nlohmann::json& value) {
  if (value.is_null()) return {};
  if (!value.is_string()) return value.dump();
  std::string text = value.get<std::string>();
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

// Where it stands among those seen so far; behind them, where it is new.
size_t PlaceOf(const std::string& value, std::vector<std::string>* seen) {
  const auto at = std::find(seen->begin(), seen->end(), value);
  const auto place = static_cast<size_t>(at - seen->begin());
  if (at == seen->end()) seen->push_back(value);
  return place;
}

}  // namespace

std::string ExactBytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return fmt::format("{} {}", bytes, kUnits[unit]);
}

std::string CellText(const std::string& cell, const nlohmann::json& row) {
  std::string text;
  bool has_keys = false, has_values = false;
  for (size_t at = 0; at < cell.size();) {
    const size_t open = cell.find('{', at), close = cell.find('}', open);
    text += cell.substr(at, open - at);
    if (open == std::string::npos || close == std::string::npos) break;
    const std::string inside = cell.substr(open + 1, close - open - 1);
    const size_t colon = inside.find(':');
    const auto value = row.find(inside.substr(0, colon));
    has_keys = true, has_values = has_values || (value != row.end() && !value->is_null());
    text += ValueText(value == row.end() ? nlohmann::json() : *value,
                      colon == std::string::npos ? std::string() : inside.substr(colon + 1));
    at = close + 1;
  }
  return has_keys && !has_values ? "-" : text;
}

Lines LinesOf(const Table& table) {
  Lines lines(1);
  for (const Column& column : table.columns) lines[0].push_back(column.head);
  for (const auto& row : table.rows) {
    auto& line = lines.emplace_back();
    for (const Column& column : table.columns) line.push_back(CellText(column.cell, row));
  }
  return lines;
}

Lines LinesOf(const Table& table, const Pivot& pivot) {
  std::vector<std::string> columns, heads = {pivot.head};
  Lines lines(1);
  for (const auto& row : table.rows) {
    if (!pivot.side.empty() && row.value("side", "") != pivot.side) continue;
    const size_t line = PlaceOf(CellText(pivot.line, row), &heads);
    const size_t column = PlaceOf(CellText(pivot.column, row), &columns) + 1;
    if (line >= lines.size()) lines.resize(line + 1);
    if (column >= lines[line].size()) lines[line].resize(column + 1);
    lines[line][column] = CellText(pivot.cell, row);
  }
  columns.insert(columns.begin(), std::string());
  lines[0] = columns;
  for (size_t i = 0; i < lines.size(); ++i) {
    lines[i].resize(columns.size());
    lines[i][0] = heads[i];
  }
  return lines;
}

std::string TableText(const Table& table) {
  std::string text = table.legend + "\n\n";
  if (!table.rows.empty()) {
    if (table.pivots.empty()) text += Aligned(LinesOf(table));
    for (const Pivot& pivot : table.pivots)
      if (const Lines lines = LinesOf(table, pivot); lines.size() > 1)
        text += Aligned(lines) + '\n';
  }
  for (const std::string& note : table.notes) text += note + '\n';
  for (const auto& skipped : table.skipped)
    text += fmt::format("left out: {} ({})\n", skipped.row, skipped.reason);
  return text;
}

std::string TableCsv(const Table& table) {
  std::vector<std::string> names;
  std::vector<nlohmann::json> rows;
  for (const auto& row : table.rows) {
    rows.push_back(row.flatten());
    for (const auto& [name, value] : rows.back().items()) (void)PlaceOf(name, &names);
  }
  std::string text;
  for (const std::string& name : names)
    text += (text.empty() ? "" : ",") + name.substr(1);  // "/phases_s/copy"
  if (!names.empty()) text += '\n';
  for (const auto& row : rows) {
    for (size_t i = 0; i < names.size(); ++i) {
      const auto value = row.find(names[i]);
      text += (i == 0 ? "" : ",") + (value == row.end() ? std::string() : CsvCell(*value));
    }
    text += '\n';
  }
  return text;
}

void AddTable(const Table& table, nlohmann::json* document) {
  if (!table.context.is_null()) (*document)["context"].update(table.context);
  (*document)["rows"] = table.rows;
  if (!table.notes.empty()) (*document)["notes"] = table.notes;
  (*document)["skipped"] = nlohmann::json::array();
  for (const auto& skipped : table.skipped)
    (*document)["skipped"].push_back({{"row", skipped.row}, {"reason", skipped.reason}});
}

}  // namespace drover::report
