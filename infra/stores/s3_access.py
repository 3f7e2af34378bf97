"""One way to S3 for Spark's connector, for boto3 and for the Python workers of both.

Endpoint, region and credentials are what the user gave in Spark's configuration (`spark.hadoop.fs.s3a.*`,
Hadoop's credential providers), or what boto3 finds in environment, profile or role; Spark's settings win.
"""

import os
from typing import Any

from pyspark.sql import SparkSession

from genremill.infra.stores import s3_client

CONNECTOR = "org.apache.hadoop.fs.s3a.S3AFileSystem"
MISSING = (
    "this Spark has no connector for s3a: URIs; infra/deploy/spark-defaults.conf names the packages of "
    "Hadoop's: copy it to a folder that SPARK_CONF_DIR names, or give them to spark-submit with --packages"
)
PROVIDERS = (
    "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider",
    "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider",
    "software.amazon.awssdk.auth.credentials.WebIdentityTokenFileCredentialsProvider",
    "software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider",
    "org.apache.hadoop.fs.s3a.auth.IAMInstanceCredentialsProvider",
)
"""S3A's default chain, and in it what boto3 has besides: a service account's token and a profile."""
RESILIENCE = {
    # Hadoop 3.5's default stream gives up where an answer breaks off: with 15 % of the answers broken, 2 of 8
    # small writes failed, as their commit reads what the tasks have left. This one asks again from there.
    "fs.s3a.input.stream.type": "classic",
    # Nor does it ask again for a part of many that Parquet asks for at once: with 20 % of the answers broken,
    # 9 of 40 jobs that read failed, and none without. Reading whole tables takes up to a tenth longer.
    "parquet.hadoop.vectored.io.enabled": "false",
    # Against a storage that answers nothing but 500, one request took 165 s to fail, and with nothing but 503
    # it would take hours; a task makes several. Now it takes half a minute, and a job a few.
    "fs.s3a.attempts.maximum": "3",
    "fs.s3a.retry.limit": "6",
    "fs.s3a.retry.interval": "100ms",
    "fs.s3a.retry.throttle.limit": "7",
    "fs.s3a.retry.throttle.interval": "100ms",
}
"""How Spark's connector meets faults: through those that pass, and not for long with those that stay."""
DEFAULTS = "-default.xml"
"""How the files end that hold Hadoop's own settings: nobody chose those."""

_FOR_BOTO3 = {
    "fs.s3a.endpoint": "AWS_ENDPOINT_URL_S3",
    "fs.s3a.endpoint.region": "AWS_DEFAULT_REGION",
    "fs.s3a.access.key": "AWS_ACCESS_KEY_ID",
    "fs.s3a.secret.key": "AWS_SECRET_ACCESS_KEY",
    "fs.s3a.session.token": "AWS_SESSION_TOKEN",
}


def share(spark: SparkSession) -> None:
    """Gives Spark's connector what boto3 knows, and boto3 here and in Python workers what Spark was told.

    Does nothing where Spark has no connector for S3.
    """
    context: Any = spark.sparkContext
    if not _has_connector(context):
        return
    hadoop = context._jsc.hadoopConfiguration()
    for name, value in _for_spark().items():
        if all(source.endswith(DEFAULTS) for source in hadoop.getPropertySources(name) or ()):
            hadoop.set(name, value)
    for name, variable in _FOR_BOTO3.items():
        if value := _text(hadoop.getPassword(name)):
            endpoint = name == "fs.s3a.endpoint"
            os.environ[variable] = f"https://{value}" if endpoint and "://" not in value else value
            context.environment[variable] = os.environ[variable]
    s3_client.forget()


def is_missing(error: str) -> bool:
    """Whether a Java error says that the connector is not there."""
    return f"ClassNotFoundException: Class {CONNECTOR} not found" in error


def _has_connector(context: Any) -> bool:  # noqa: ANN401
    loader = context._jvm.org.apache.spark.util.Utils.getContextOrSparkClassLoader()
    return loader.getResource(CONNECTOR.replace(".", "/") + ".class") is not None


def _for_spark() -> dict[str, str]:
    """Settings of S3A: how it meets faults, and what environment and profile stand for."""
    found = RESILIENCE | {"fs.s3a.aws.credentials.provider": ",".join(PROVIDERS)}
    if region := s3_client.region():
        found["fs.s3a.endpoint.region"] = region
    if endpoint := s3_client.custom_endpoint():
        found |= {"fs.s3a.endpoint": endpoint, "fs.s3a.path.style.access": "true"}
        found |= {"fs.s3a.connection.ssl.enabled": str(endpoint.startswith("https:")).lower()}
    return found


def _text(characters: Any) -> str:  # noqa: ANN401
    """What Hadoop keeps as an array of characters."""
    return "".join(characters) if characters is not None else ""
