#!/usr/bin/env bash
# Fuzzes each target for some minutes, one at a time, and prints the table of all runs so far.
#
#   fuzz/run.sh MINUTES [TARGET...]    builds, makes the seeds, fuzzes, prints the table
#   fuzz/run.sh build                  only builds
#   fuzz/run.sh table [TARGET...]      only prints the table
#
# docs/fuzzing.md says what is needed. Everything kept between calls is in state/ (the ledger),
# corpus/ and artifacts/; none of it is in git.
set -euo pipefail
cd "$(dirname "$0")"

export RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER="$PWD/rustc.sh"
# Memory that a process may request and may use: this finds lengths that are believed unchecked.
ASKED_KIB=$((8 << 20))
FILLED_MIB=3000
built=target/$(rustc -vV | sed -n 's/^host: //p')/release

build() {
    nice -n 10 cargo fuzz build --fuzz-dir . --release --sanitizer none --no-cfg-fuzzing \
        --codegen-units 16
    RUSTC_WRAPPER='' nice -n 10 cargo build --quiet --release --package coverage
}

table() {
    RUSTC_WRAPPER='' cargo run --quiet --release --package coverage -- "$built" "$@"
}

child=
stop() {
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
    stopped=yes
}

# Sets `spent` to the CPU time of finished processes, in hundredths of a second.
count_spent() {
    # Not in a subshell, which would count only its own processes.
    times >state/times
    spent=$(awk 'NR == 2 { split($1 " " $2, t, /[ms ]+/)
                           print int(6000 * (t[1] + t[3]) + 100 * (t[2] + t[4])) }' state/times)
}

# One process over one target, at most $2 seconds; the outcome goes into the ledger.
once() {
    local target=$1 seconds=$2 log=state/$1.log status=0 before
    : >"$log"
    count_spent
    before=$spent
    (
        ulimit -v "$ASKED_KIB"
        export RAYON_NUM_THREADS=1 LLVM_PROFILE_FILE=/dev/null
        exec nice -n 15 "$built/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" \
            -max_total_time="$seconds" -timeout=0 -rss_limit_mb="$FILLED_MIB" -max_len=65536 \
            -len_control=0 -print_final_stats=1 -verbosity=1 >"$log" 2>&1
    ) &
    child=$!
    wait "$child" || status=$?
    # The signal that stops this script ends the wait before the process.
    [ -z "$stopped" ] || wait "$child" || true
    child=
    local executions cpu find=
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    count_spent
    cpu=$(((spent - before + 50) / 100))
    if [ "$status" -ne 0 ] && [ -z "$stopped" ]; then
        find=$(grep -m1 -oE "panicked at [^ ]+|an input takes more|out-of-memory|memory allocation of|deadly signal" "$log" ||
            echo "status $status")
        artifact=$(sed -n 's/^.*Test unit written to //p' "$log" | tail -1)
        printf '%s\t%s\t%s\n' "$target" "$find" "${artifact:--}" >>state/finds.tsv
        # An input of the corpus that breaks the target stops every run at its start.
        [ -z "$artifact" ] || for input in "corpus/$target"/*; do
            cmp -s "$input" "$artifact" && rm "$input" || true
        done
    fi
    printf '%s\t%s\t%s\t%s\t%s\n' "$(date -u +%FT%TZ)" "$target" "$cpu" \
        "${executions:-0}" "${find:--}" >>state/runs.tsv
}

fuzz() {
    local target=$1 end=$((SECONDS + $2)) quick=0 begun
    mkdir -p "corpus/$target" "artifacts/$target" state
    SIMATTN_FUZZ_SEEDS="corpus/$target" LLVM_PROFILE_FILE=/dev/null "$built/$target" \
        >/dev/null 2>&1 || echo "$target: its own seeds break it" >&2
    while [ -z "$stopped" ] && [ $((end - SECONDS)) -gt 1 ] && [ "$quick" -lt 20 ]; do
        begun=$SECONDS
        once "$target" $((end - SECONDS))
        # A target that keeps ending at once has a find that must be fixed first.
        [ $((SECONDS - begun)) -ge 2 ] && quick=0 || quick=$((quick + 1))
    done
    # Folders of processes that have ended.
    for folder in /dev/shm/simattn-fuzz-*; do
        [ -d "/proc/${folder##*-}" ] || rm -rf "$folder"
    done
}

stopped=
trap stop INT TERM HUP
case ${1-} in
build) build ;;
table) table "${@:2}" ;;
'' | *[!0-9]*)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
*)
    minutes=$1
    shift
    [ $# -gt 0 ] || set -- $(cargo fuzz list --fuzz-dir .)
    build
    for target; do
        [ -n "$stopped" ] || fuzz "$target" $((minutes * 60))
    done
    table "$@"
    ;;
esac
