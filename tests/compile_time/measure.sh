#!/usr/bin/env bash
# Processor seconds (median of 3) and object size of programs that include segnet, at -O0, and of the same programs with LibTorch where
# it is installed. Exit 1 when one is over its budget.
set -euo pipefail
cd "$(dirname "$0")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
TIMEFORMAT='%U %S'

# measure FILE FLAG...: sets seconds and kib.
measure() {
  local source=$1 runs
  shift
  runs=$(for _ in 1 2 3; do { time g++ -std=c++20 -O0 "$@" -c "$source" -o "$work/object.o" 2>"$work/errors"; } 2>&1 || exit 1; done) ||
    { cat "$work/errors" >&2; exit 1; }
  seconds=$(awk '{ print $1 + $2 }' <<<"$runs" | sort -n | sed -n 2p)
  kib=$(($(stat -c %s "$work/object.o") / 1024))
}

torch=$(compgen -G '/usr/include/torch/csrc/api/include/torch/torch.h' || true)
over=0
echo "$(g++ --version | head -n 1), -O0"
echo
echo "| program | segnet s | KiB | budget s | LibTorch s | KiB |"
echo "| --- | ---: | ---: | ---: | ---: | ---: |"
while read -r program budget what; do
  measure "$program.cpp" -fopenmp -I ../../include
  ours=$seconds row="| $what | $seconds | $kib | $budget"
  if [[ -n $torch && -e torch/$program.cpp ]]; then
    measure "torch/$program.cpp" -I /usr/include/torch/csrc/api/include
    row+=" | $seconds | $kib |"
  else
    row+=" | | |"
  fi
  echo "$row"
  if awk -v a="$ours" -v b="$budget" 'BEGIN { exit !(a > b) }'; then over=1; fi
done <<'TABLE'
umbrella 3 the whole library, included
one_operation 1.5 one operation, included
convolution 3.5 the smallest convolution program
unet_training 8 a training step of a U-Net
TABLE
exit $over
