"""The same access to S3 for Spark's connector, for boto3 and for Python workers.

Endpoint, region and credentials come from Spark's configuration (`spark.hadoop.fs.s3a.*`, Hadoop's credential
providers), or else from what boto3 finds in the environment, a profile or a role.
"""

import os
from typing import Any

from pyspark.sql import SparkSession

from genremill.infra.stores import s3_client

CONNECTOR = "org.apache.hadoop.fs.s3a.S3AFileSystem"
MISSING = (
    "this Spark has no connector for s3a: URIs; copy infra/deploy/spark-defaults.conf, which lists its "
    "packages, to the folder in SPARK_CONF_DIR, or pass these packages to spark-submit with --packages"
)
PROVIDERS = (
    "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider",
    "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider",
    "software.amazon.awssdk.auth.credentials.WebIdentityTokenFileCredentialsProvider",
    "software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider",
    "org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider",
)
"""The defaults of S3A, and two that boto3 also has: the token of a service account, and a profile."""
RESILIENCE = {
    # The default stream of Hadoop 3.5 fails if a response breaks off: with 15 % broken responses, 2 of 8
    # small writes failed, because their commit reads files of the tasks. This stream continues with a new
    # request.
    "fs.s3a.input.stream.type": "classic",
    # It does not repeat vectored reads of Parquet either: with 20 % broken responses, 9 of 40 jobs failed,
    # and none without vectored reads. Reading whole tables takes up to 10 % longer.
    "parquet.hadoop.vectored.io.enabled": "false",
    # If all responses are 500, one request took 165 s to fail; if all are 503, it would take hours; and a
    # task sends several requests. With these settings a request fails after half a minute, and a job after a
    # few minutes.
    "fs.s3a.attempts.maximum": "3",
    "fs.s3a.retry.limit": "6",
    "fs.s3a.retry.interval": "100ms",
    "fs.s3a.retry.throttle.limit": "7",
    "fs.s3a.retry.throttle.interval": "100ms",
}
"""Settings with which Spark's connector survives temporary failures, and reports permanent ones early."""
DEFAULTS = "-default.xml"
"""Suffix of the files that hold Hadoop's own defaults, in contrast to settings of the user."""

_FOR_BOTO3 = {
    "fs.s3a.endpoint": "AWS_ENDPOINT_URL_S3",
    "fs.s3a.endpoint.region": "AWS_DEFAULT_REGION",
    "fs.s3a.access.key": "AWS_ACCESS_KEY_ID",
    "fs.s3a.secret.key": "AWS_SECRET_ACCESS_KEY",
    "fs.s3a.session.token": "AWS_SESSION_TOKEN",
}


def share(spark: SparkSession) -> None:
    """Passes the settings of boto3 to Spark's connector, and Spark's to boto3 here and in Python workers.

    Does nothing if Spark has no connector for S3.
    """
    context: Any = spark.sparkContext
    loader = context._jvm.org.apache.spark.util.Utils.getContextOrSparkClassLoader()
    if loader.getResource(CONNECTOR.replace(".", "/") + ".class") is None:
        return
    hadoop = context._jsc.hadoopConfiguration()
    for name, value in _for_spark().items():
        if all(source.endswith(DEFAULTS) for source in hadoop.getPropertySources(name) or ()):
            hadoop.set(name, value)
    for name, variable in _FOR_BOTO3.items():
        if value := "".join(hadoop.getPassword(name) or ()):
            endpoint = name == "fs.s3a.endpoint"
            os.environ[variable] = f"https://{value}" if endpoint and "://" not in value else value
            context.environment[variable] = os.environ[variable]
    s3_client.forget()


def is_missing(error: str) -> bool:
    """Whether a Java error means that the connector is missing."""
    return f"ClassNotFoundException: Class {CONNECTOR} not found" in error


def _for_spark() -> dict[str, str]:
    """Settings of S3A: retries, and the values of environment and profile."""
    settings = RESILIENCE | {"fs.s3a.aws.credentials.provider": ",".join(PROVIDERS)}
    if region := s3_client.region():
        settings["fs.s3a.endpoint.region"] = region
    if endpoint := s3_client.custom_endpoint():
        settings |= {"fs.s3a.endpoint": endpoint, "fs.s3a.path.style.access": "true"}
        settings |= {"fs.s3a.connection.ssl.enabled": str(endpoint.startswith("https:")).lower()}
    return settings
