#!/usr/bin/env bash
# Two hosts on one machine, as network namespaces with a wire between them: hosts.sh up [RATE] | down
set -eu
case $1 in
up)
    for i in 1 2; do ip netns add "simattn-host$i"; done
    ip link add wire1 netns simattn-host1 type veth peer name wire2 netns simattn-host2
    for i in 1 2; do
        host=simattn-host$i
        ip -n "$host" addr add "10.78.0.$i/24" dev "wire$i"
        ip -n "$host" link set "wire$i" up
        ip -n "$host" link set lo up
        [ -z "${2:-}" ] ||
            ip netns exec "$host" tc qdisc add dev "wire$i" root tbf rate "$2" burst 256k latency 50ms
    done
    ;;
down)
    for i in 1 2; do ip netns del "simattn-host$i" 2>/dev/null || true; done
    ;;
esac
