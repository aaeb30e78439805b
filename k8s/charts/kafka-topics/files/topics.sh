#!/bin/bash
# Makes each topic, or brings it to its settings. It raises the number of partitions and never lowers it, deletes nothing, and
# stops at a topic whose replication is another than asked for: moving replicas is an operator's decision.
#
# Environment: BOOTSTRAP_SERVERS; REPLICATION; TOPICS, one "name partitions key=value,key=value" a line; CLIENT_CONFIG, a
# properties file; KAFKA_BIN, the folder of Kafka's commands.
set -euo pipefail

topics() { "$KAFKA_BIN/kafka-topics.sh" --bootstrap-server "$BOOTSTRAP_SERVERS" --command-config "$CLIENT_CONFIG" "$@"; }
configs() { "$KAFKA_BIN/kafka-configs.sh" --bootstrap-server "$BOOTSTRAP_SERVERS" --command-config "$CLIENT_CONFIG" "$@"; }

# A field of the summary line that kafka-topics.sh --describe prints.
field() { sed -n "s/.*$2: *\([0-9][0-9]*\).*/\1/p" <<<"$1" | head -n 1; }

failed=0
while read -r name partitions config; do
  [ -n "$name" ] || continue
  topics --create --if-not-exists --topic "$name" --partitions "$partitions" --replication-factor "$REPLICATION" </dev/null
  summary=$(topics --describe --topic "$name" </dev/null | grep -F 'PartitionCount' | head -n 1)
  present=$(field "$summary" PartitionCount)
  copies=$(field "$summary" ReplicationFactor)
  if [ "$copies" != "$REPLICATION" ]; then
    echo "$name: has $copies copies, wanted $REPLICATION. Reassign its partitions with kafka-reassign-partitions.sh." >&2
    failed=1
  fi
  if [ "$present" -lt "$partitions" ]; then
    topics --alter --topic "$name" --partitions "$partitions" </dev/null
  elif [ "$present" -gt "$partitions" ]; then
    echo "$name: has $present partitions, wanted $partitions. Kafka cannot take partitions away; write down $present." >&2
    failed=1
  fi
  if [ -n "$config" ]; then
    configs --alter --entity-type topics --entity-name "$name" --add-config "$config" </dev/null
  fi
  echo "$name: done"
done <<<"$TOPICS"
exit "$failed"
