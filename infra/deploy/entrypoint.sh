#!/bin/bash
# The entry point that Spark on Kubernetes expects: `driver …` and `executor` start Spark with the environment
# variables that Spark sets. Any other command runs as it is, for example `docker run genremill genremill doctor`.
set -euo pipefail

case "${1:-}" in
driver)
    shift
    # Exit code 3 (finished with more rejects than the limit) becomes 0. The tables are current, and most schedulers
    # would rerun the job after any other code. The log contains the number of rejects.
    exec tini -s -e 3 -- "$SPARK_HOME/bin/spark-submit" \
        --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" \
        --conf "spark.executorEnv.SPARK_DRIVER_POD_IP=$SPARK_DRIVER_BIND_ADDRESS" \
        --deploy-mode client "$@"
    ;;
executor)
    options=()
    for ((at = 0; ; at++)); do
        name="SPARK_JAVA_OPT_$at"
        [ -n "${!name+set}" ] || break
        options+=("${!name}")
    done
    exec tini -s -- java "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
        -cp "${SPARK_CONF_DIR:-$SPARK_HOME/conf}:$SPARK_HOME/jars/*:${SPARK_EXTRA_CLASSPATH:-}:$PWD" \
        org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
        --driver-url "$SPARK_DRIVER_URL" \
        --executor-id "$SPARK_EXECUTOR_ID" \
        --cores "$SPARK_EXECUTOR_CORES" \
        --app-id "$SPARK_APPLICATION_ID" \
        --hostname "$SPARK_EXECUTOR_POD_IP" \
        --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
        --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
*)
    exec tini -s -- "$@"
    ;;
esac
