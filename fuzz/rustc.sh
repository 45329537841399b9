#!/bin/sh
# What cargo calls in place of rustc (RUSTC_WRAPPER). It counts lines in the crates whose readers
# are fuzzed, so that the share reached can be told, and leaves the fuzzer's own counters out of
# the numeric crates, which read nothing: they build in half the time and fill no corpus.
name=
previous=
for argument in "$@"; do
    [ "$previous" = --crate-name ] && name=$argument
    previous=$argument
done
case $name in
simattn | simattn_data | simattn_eval | simattn_hub | simattn_train)
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
    exec "$@"
    ;;
esac
exec "$@"
