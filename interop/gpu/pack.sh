#!/usr/bin/env bash
# Packs what a machine with an NVIDIA GPU, but without Rust and without a network, needs to check
# and to time simattn; see measure.py --packed.
set -euo pipefail

usage="usage: interop/gpu/pack.sh OUT.tar.xz [--peer FILE] [--text FOLDER]
                           [--skip-build] [--skip-losses]

The pack has the release binary and the tests of the GPU kernels, built with cuda-nvrtc, measure.py
and the configurations that it trains.
  --peer FILE     the PyTorch program to compare with
  --text FOLDER   text (.txt), of which some 4 million tokens are prepared; without it the
                  other machine trains on the embedded stories
  --skip-build    take what the last call built
  --skip-losses   leave out the first 200 losses of training on this CPU, which take minutes; the
                  other machine then computes them on its own CPU if time is left"

fail() { echo "pack: $1" >&2; exit "${2:-1}"; }

out= peer= text= build=1 losses=1
while [ $# -gt 0 ]; do
    case "$1" in
        --peer | --text)
            [ $# -ge 2 ] || fail "$1 needs a value" 2
            if [ "$1" = --peer ]; then peer=$2; else text=$2; fi
            shift ;;
        --skip-build) build= ;;
        --skip-losses) losses= ;;
        --help | -h) echo "$usage"; exit 0 ;;
        -*) fail "$1: no such option; see --help" 2 ;;
        *) [ -z "$out" ] || fail "one archive at a time: $out or $1" 2; out=$1 ;;
    esac
    shift
done
[ -n "$out" ] || fail "name the archive, such as OUT.tar.xz; see --help" 2
[ -z "$peer" ] || [ -f "$peer" ] || fail "--peer $peer: no such file" 2
[ -z "$text" ] || [ -d "$text" ] || fail "--text $text: no such folder" 2
[ -d "$(dirname "$out")" ] || fail "$(dirname "$out"): no such folder" 2
for tool in python3 strip tar xz git; do
    command -v "$tool" >/dev/null || fail "$tool is needed" 2
done

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
messages=$target/gpu-pack.json
largest=$((60 << 20))
suites=(cube_attention cube_sas_attention cube_step_ops cube_losses cube_optimizer cube_half
    decoding_on_device gpu)
# 16 MB make some 4 million tokens of 4,096 pieces.
text_bytes=16000000

work=$(mktemp -d)
lock=
finish() {
    # Cargo writes the patch below into it.
    if [ -n "$lock" ]; then cp -p "$work/Cargo.lock" "$lock"; fi
    rm -rf "$work" "$out.part"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
changed=$(git -C "$root" status --porcelain)

if [ -n "$build" ]; then
    command -v cargo >/dev/null || fail "cargo is needed, or --skip-build" 2
    cp -p "$root/Cargo.lock" "$work/Cargo.lock"
    lock=$root/Cargo.lock
    # The same packages in both calls, so that they share what they are built on.
    common=(--release --features cuda-nvrtc
        --config "patch.crates-io.cubecl-llvm.path=\"$here/cubecl-llvm\""
        -p simattn-cli -p simattn-kernels -p simattn -p simattn-train
        --message-format=json-render-diagnostics)
    tests=()
    for suite in "${suites[@]}"; do tests+=(--test "$suite"); done
    echo "pack: building" >&2
    mkdir -p "$target"
    (cd "$root" && cargo build "${common[@]}" --bin simattn) >"$work/messages" ||
        fail "the build failed"
    (cd "$root" && cargo test "${common[@]}" "${tests[@]}" --no-run) >>"$work/messages" ||
        fail "the tests' build failed"
    cp -p "$work/Cargo.lock" "$lock"
    lock=
    mv "$work/messages" "$messages"
fi
[ -f "$messages" ] || fail "$messages is missing: call without --skip-build first" 2

pack=$work/simattn-gpu
mkdir -p "$pack/suites" "$pack/configs"
python3 "$here/packed/manifest.py" executables "$messages" simattn "${suites[@]}" \
    >"$work/executables" || exit 1
while IFS=$'\t' read -r name path; do
    [ -f "$path" ] || fail "$path is missing: call without --skip-build" 2
    case "$name" in
        simattn) to=$pack/simattn ;;
        *) to=$pack/suites/$name ;;
    esac
    strip -o "$to" "$path" || fail "$path cannot be stripped"
done <"$work/executables"
cp "$here/measure.py" "$pack/"
mkdir "$pack/packed"
cp "$here"/packed/*.py "$pack/packed/"
cp "$here"/packed/configs/*.toml "$pack/configs/"
if [ -n "$peer" ]; then cp "$peer" "$pack/peer.py"; fi

simattn() {
    "$pack/simattn" "$@" >"$work/output" 2>&1 || fail "simattn $1: $(tail -n 1 "$work/output")"
}
data=()
if [ -n "$text" ]; then
    echo "pack: preparing tokens" >&2
    mkdir "$work/text"
    taken=0
    while IFS= read -r -d '' file; do
        [ "$taken" -lt "$text_bytes" ] || break
        # Numbered, because files of two folders may have one name.
        number=$(find "$work/text" -type f | wc -l)
        cp "$file" "$work/text/$number-$(basename "$file")"
        taken=$((taken + $(stat -c %s "$file")))
    done < <(find -L "$text" -type f -name '*.txt' -print0 | sort -z)
    [ "$taken" -gt 0 ] || fail "--text $text: no .txt with text in it" 2
    # The smallest run that trains a tokenizer and saves it.
    simattn train "$pack/configs/sas-10m.toml" --data "$work/text" --steps 1 --batch 1 \
        --context 16 --set model.layers=1 --set train.evaluation_batches=1 --device cpu --out "$work/tokenizer"
    simattn prepare --tokenizer "$work/tokenizer/tokenizer.json" --validation-fraction 0.1 \
        --out "$pack/tokens" "$work/text"
    grep '^tokens' "$work/output" >&2
    data=(--data "$pack/tokens")
fi
if [ -n "$losses" ]; then
    echo "pack: training 200 steps on the CPU" >&2
    simattn train "$pack/configs/sas-10m.toml" "${data[@]}" --steps 200 --device cpu \
        --out "$work/losses"
    cp "$work/losses/metrics.jsonl" "$pack/losses.jsonl"
fi

python3 "$here/packed/manifest.py" write "$pack" "$root" "${changed:+changed}"
echo "pack: compressing" >&2
# One large window: the binaries have most of their code in common.
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -cf - simattn-gpu |
    xz --x86 --lzma2=preset=3,dict=512MiB >"$out.part"
size=$(stat -c %s "$out.part")
shown=$(awk -v size="$size" 'BEGIN { printf "%.1f MiB", size / 1048576 }')
[ "$size" -le "$largest" ] ||
    fail "$out would have $shown, more than the $((largest >> 20)) MiB allowed"
mv "$out.part" "$out"
echo "$out: $shown"
