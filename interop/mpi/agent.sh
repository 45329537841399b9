#!/usr/bin/env bash
# Stands in for ssh: runs the command in the network namespace of the host 10.78.0.N.
while [[ $1 = -* ]]; do shift; done
name=simattn-host${1##*.}
shift
exec ip netns exec "$name" bash -c "$*"
