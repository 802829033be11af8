// What a benchmark has found, in one shape for all of them: rows with their parameters and figures,
// of which a person sees some columns, and JSON and CSV show all.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "report/figure.h"

namespace drover::report {

struct Column {
  std::string head;
  // Text with keys of the row in braces, formatted as fmt does: "{gb_per_s:.2f} GB/s". {key:size}
  // is a number of bytes as "2 MiB"; what is null is "-".
  std::string cell;
};

// Another view of rows: a line for each text of `line`, a column for each of `column`.
struct Pivot {
  std::string head, line, column, cell;  // as Column::cell
  std::string side;                      // only rows of this "side"; empty: all
};

// What could not be measured, and why.
struct Skipped {
  std::string row, reason;
};

struct Table {
  std::string name;             // of the benchmark: "migrate"
  std::string title;            // what is measured, a few words
  std::string legend;           // how the columns are to be read
  nlohmann::json context = {};  // joins the document's
  std::vector<nlohmann::json> rows = {};
  std::vector<Column> columns = {};
  std::vector<Pivot> pivots = {};
  std::vector<Skipped> skipped = {};
  std::vector<std::string> notes = {};  // what follows from the rows
  Figure figure = {};
};

// "2 MiB", "4 KiB", "96 B": the largest unit of which it is a whole number.
std::string ExactBytes(uint64_t bytes);
std::string CellText(const std::string& cell, const nlohmann::json& row);

// Lines for a terminal, with notes and what was left out.
std::string TableText(const Table& table);
// Every key of the rows; those of objects in them as "phases_s/copy".
std::string TableCsv(const Table& table);
// Adds "rows" and "skipped", and what joins the "context".
void AddTable(const Table& table, nlohmann::json* document);
// The columns' texts: the first line is their heads. And a pivot's.
using Lines = std::vector<std::vector<std::string>>;
Lines LinesOf(const Table& table);
Lines LinesOf(const Table& table, const Pivot& pivot);

}  // namespace drover::report
