#!/bin/sh
# What cargo calls in place of rustc (RUSTC_WRAPPER). It counts lines in the crates whose readers
# are fuzzed, so that the share reached is known, and leaves the fuzzer's own counters out of the
# numeric crates, which read nothing: they build in half the time and fill no corpus.
name=
source=
previous=
for argument in "$@"; do
    [ "$previous" = --crate-name ] && name=$argument
    case $argument in *.rs) source=$argument ;; esac
    previous=$argument
done
case $source in
*fuzz_targets/*)
    # Writes the lines that were counted when the process ends.
    exec "$@" -Clink-arg=-u__llvm_profile_runtime
    ;;
esac
case $name in
simattn | simattn_data | simattn_eval | simattn_hub | simattn_serve | simattn_train)
    exec "$@" -Cinstrument-coverage
    ;;
burn* | cubecl* | gemm* | pulp* | simattn_kernels | rayon* | syn | proc_macro2 | quote | num_*)
    for argument in "$@"; do
        shift
        case $argument in
        -Cpasses=sancov-module | -Cllvm-args=-sanitizer-coverage-* | -Cllvm-args=-simplifycfg-*) ;;
        *) set -- "$@" "$argument" ;;
        esac
    done
    ;;
esac
exec "$@"
