"""URIs with a secret are an error, and no message repeats the secret."""

import pytest

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs.nights import mlflow_export


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIA:hush@bucket/warehouse",
        "s3a://AKIA:hu/hush@bucket/warehouse",
        "s3a://hush@bucket/warehouse",
        "https://ada:hush@host/tracks.csv",
        "https://bucket.s3.amazonaws.com/tracks.csv?X-Amz-Signature=hush",
        "s3a://bucket/tracks.csv?X-Amz-Security-Token=hush",
        "hdfs://ada:hush@host/tracks.csv",
    ],
)
def test_a_uri_with_a_secret_is_an_error_that_does_not_repeat_it(uri: str) -> None:
    for take in (storage.absolute_uri, storage.is_object, storage.inventory, Warehouse.at):
        with pytest.raises(UsageError, match="expected a URI without credentials or a query") as caught:
            take(uri)
        assert "hush" not in str(caught.value)
        assert "AKIA" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["file:///data/ada@host/x", "file:///data/a:b//c@d", "s3a://bucket/a:b@c", "s3a://bucket/@"]
)
def test_a_name_that_looks_like_a_secret_is_accepted(uri: str) -> None:
    assert storage.absolute_uri(uri).endswith(uri.rpartition("/")[2])


@pytest.mark.parametrize("uri", ["https://ada:hush@host", "http://hush@host:5000/mlflow"])
def test_an_mlflow_uri_with_a_secret_is_an_error_that_does_not_repeat_it(uri: str) -> None:
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        mlflow_export.check(uri)
    assert "hush" not in str(caught.value)
