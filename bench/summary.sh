#!/usr/bin/env bash
# summary.sh FILE.json...: the medians of Google Benchmark reports as a Markdown table.
set -euo pipefail
awk '
  function value(line) { sub(/^[^:]*: */, "", line); sub(/,? *$/, "", line); gsub(/"/, "", line); return line }
  function number(v, scale) { return v == "" ? "" : sprintf("%.3g", v * scale) }
  BEGIN {
    print "| benchmark | median ms | spread % | GFLOP/s | GB/s | % of peak |"
    print "| --- | ---: | ---: | ---: | ---: | ---: |"
    split("ns us ms s", names); split("1e-6 1e-3 1 1e3", factors)
    for (i in names) to_ms[names[i]] = factors[i]
  }
  /"run_name":/ { run = value($0); aggregate = flops = bytes = roof = "" }
  /"aggregate_name":/ { aggregate = value($0) }
  /"real_time":/ { time = value($0) }
  /"time_unit":/ { unit = value($0) }
  /"FLOP\/s":/ { flops = value($0) }
  /"B\/s":/ { bytes = value($0) }
  /"%roof":/ { roof = value($0) }
  /"error_message":/ && !failed[run]++ { printf "| %s | failed: %s | | | | |\n", run, value($0); run = "" }
  /^    }/ && run != "" && aggregate == "median" { row = sprintf("| %s | %s |", run, number(time, to_ms[unit]))
    rest = sprintf("%s | %s | %s |", number(flops, 1e-9), number(bytes, 1e-9), number(roof, 1)) }
  /^    }/ && run != "" && aggregate == "cv" { printf "%s %s | %s\n", row, number(time, 100), rest }
' "$@"
